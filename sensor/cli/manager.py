"""`sensor manager`: merge, judge and alert on what workers report."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from sensor.cli.detection_options import Chosen, detection_options
from sensor.cli.main import fail
from sensor.cli.replay import outcome, output_options, stop_on_signals
from sensor.cli.state_dir import default_state, failures
from sensor.cli.stats import RunOutputs, stats_option

if TYPE_CHECKING:
    from sensor.node.cluster_admission import ClusterAdmission
    from sensor.pki.credentials import Credentials


_REFUSAL = b"sensor: HUP is not taken: a manager does not read its settings again; start it anew with others\n"


@contextlib.contextmanager
def refuse_reload() -> Iterator[None]:
    """Meanwhile let HUP, as of a terminal that is closed, end nothing."""

    def refuse(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            os.write(2, _REFUSAL)  # what it came amid may be writing there by other means

    before = signal.signal(signal.SIGHUP, refuse)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@click.command("manager")
@click.option(
    "--listen",
    show_default="that of the cluster, or 127.0.0.1:47700",
    metavar="HOST:PORT",
    help="Or unix:PATH. Port 0: any.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    show_default="where `sensor cluster init` made a cluster; else none",
    metavar="DIR",
    help="Folder of the journal and of the alerts; without, none is kept.",
)
@click.option("--workers", default="", metavar="NAME,...", help="Wait for these from the start; others may join.")
@click.option("--until-done", is_flag=True, help="End when the input of all workers has ended.")
@stats_option
@output_options
@detection_options
@refuse_reload()
def command(
    listen: str | None,
    state: Path | None,
    workers: str,
    until_done: bool,
    stats: bool,
    as_json: bool,
    exit_code: bool,
    chosen: Chosen,
) -> None:
    """Run a manager: workers dial in and report, and alerts come out.

    With --state it goes on after a crash where it was, and writes each alert once to alerts.jsonl there. For workers of
    other hosts make a cluster first, with `sensor cluster init`: they are let in by certificate, and while the manager
    runs, who was invited may join. Without one it listens on loopback or on a Unix socket only.

    Exit codes: 0 done, 1 failure, also of a detection, 2 usage or an address where it may not listen, 10 alerts with
    --exit-code, 77 no permission.
    """
    logging.basicConfig(format="sensor: %(message)s", stream=sys.stderr, force=True)
    settings = chosen.settings()
    from sensor.node.manager_address import DEFAULT, local_socket
    from sensor.node.manager_node import ManagerNode
    from sensor.storage.journal import JournalError

    listens = [listen or DEFAULT]
    with failures():
        state, gate, mine = _cluster(state, listen)
        if state and mine:
            settings = settings.of_cluster(mine.secret)
            listens = [listen or mine.address, local_socket(state)]
    members = [name for name in workers.split(",") if name]
    telling = RunOutputs(as_json=as_json, stats=stats)
    node = ManagerNode(
        settings,
        telling.outputs,
        members=members,
        state=state,
        until_done=until_done,
        gate=gate,
        accounting=telling.accounting(),
    )

    def ready(where: list[str]) -> None:
        joining = f"; nodes that were invited join at {where[-1]}" if gate else ""
        click.echo(f"sensor: the manager listens at {where[0]}{joining}", err=True)

    try:
        with stop_on_signals(node), failures():
            summary = asyncio.run(node.run(*listens, ready=ready))
    except (JournalError, ValueError) as error:
        raise fail(str(error)) from None
    sys.exit(outcome(summary, is_failed=not telling.has_told_all(), tells=exit_code))


def _cluster(
    state: Path | None, listen: str | None
) -> tuple[Path | None, "ClusterAdmission | None", "Credentials | None"]:
    """The folder, with the cluster that is in it, if there is one and the address is not another on this host."""
    from sensor.bus.endpoint import Endpoint
    from sensor.node.manager_address import CLUSTER, credentials

    folder = state or default_state()
    mine = credentials(folder)
    if mine is None or (listen and listen != mine.address and Endpoint.parse(listen).is_local):
        return state, None, None
    from sensor.node.cluster_admission import ClusterAdmission

    return folder, ClusterAdmission(folder / CLUSTER), mine
