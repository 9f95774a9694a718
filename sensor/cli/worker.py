"""`sensor worker`: observe for a manager elsewhere."""

import functools
import logging
import re
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from sensor.cli.capture import check_filter, files, live, live_by, tell_gaps, tell_left_out, tell_losses
from sensor.cli.capture_options import Interfaces, interface_options
from sensor.cli.detection_options import Chosen, detection_options
from sensor.cli.main import FAILURE, NO_PERMISSION, USAGE, fail, reason
from sensor.cli.replay import reload_on_signal, stop_on_signals
from sensor.cli.state_dir import failures, hand_over, manager_option, state_option
from sensor.cli.stats import RunOutputs, stats_option

if TYPE_CHECKING:
    from sensor.bell import Bell
    from sensor.capture import Capture
    from sensor.capture.live.interface_capture import InterfaceCapture
    from sensor.config import Settings
    from sensor.node.manager_address import ManagerAddress
    from sensor.node.worker_node import WorkerNode
    from sensor.privileges import User


def _share(context: click.Context, option: click.Parameter, value: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", value)
    if not match or not 1 <= int(match[1]) <= int(match[2]) <= 1024:
        raise click.BadParameter(f"{value!r} is no share; write the number of this worker and of how many, such as 2/4")
    return int(match[1]) - 1, int(match[2])


@click.command("worker")
@manager_option
@state_option
@click.option("--replay", "inputs", multiple=True, metavar="FILE", help="Read a capture file or folder (repeatable).")
@interface_options
@stats_option
@click.option("--name", default="", help="This worker's name: that of its certificate, or the host's.")
@click.option(
    "--share",
    default="1/1",
    callback=_share,
    metavar="I/N",
    help="Track the I-th of N parts of the hosts; the other workers read the same files.",
)
@click.option("--spool", type=click.Path(path_type=Path), help="Folder for results that do not fit into memory.")
@click.option("--parent", type=int, hidden=True, help="End with this process.")
@click.option("--opener", type=int, hidden=True, help="Descriptor of a socket to a process that opens interfaces.")
@click.option("--no-nic-counters", is_flag=True, hidden=True, help="Another worker reports the NIC counters.")
@detection_options
def command(
    address: str | None,
    state: Path,
    inputs: tuple[str, ...],
    interfaces: Interfaces,
    stats: bool,
    name: str,
    share: tuple[int, int],
    spool: Path | None,
    parent: int | None,
    opener: int | None,
    no_nic_counters: bool,
    chosen: Chosen,
) -> None:
    """Observe, and report to a manager, until INT or TERM, or until the input has ended and the manager has all of it.

    What cannot be delivered is held, in memory and then in --spool, and delivered when the manager is back.

    Exit codes: 0 done, 1 an input is missing or damaged, none of it can be read, or the manager refuses, 2 usage, 77 no
    permission to read.
    """
    logging.basicConfig(format="sensor: %(message)s", stream=sys.stderr, force=True)
    if inputs and click.get_current_context().get_parameter_source("names_given") is not ParameterSource.COMMANDLINE:
        interfaces = replace(interfaces, names_given=())  # a settings file's
    if bool(inputs) == bool(interfaces.names):
        raise click.UsageError("what to observe? Give either -i IFACE (or -i auto) or --replay FILE")
    settings = chosen.settings()
    check_filter(interfaces.filter_text)
    user = interfaces.successor() if interfaces.names else None
    from sensor.capture import CaptureError
    from sensor.node.worker_node import Place, RefusedError, WorkerNode

    with failures():
        manager, own, settings = _place(address, state, name, settings)
        if user:
            hand_over(user, manager.address, manager.folder, spool)
        node = WorkerNode(settings, Place(own, manager, share, spool, parent, replays=not interfaces.names))
    try:
        if interfaces.names:
            source = functools.partial(_capture, interfaces, user, opener, node.bell, is_first=not no_nic_counters)
            about = {"is_share": opener is not None, "filter_text": interfaces.filter_text}
            _observe(node, source, settings, chosen, RunOutputs(stats=stats, is_silent=True), about)
        elif _replay(node, inputs, interfaces.filter_text, is_alone=share[1] == 1):
            sys.exit(FAILURE)
    except CaptureError as error:
        is_forbidden = isinstance(error.__cause__, PermissionError) or "CAP_NET_RAW" in str(error)
        raise fail(str(error), NO_PERMISSION if is_forbidden else FAILURE) from None
    except RefusedError as error:
        raise fail(str(error)) from None
    except OSError as error:
        raise fail(reason(error), NO_PERMISSION if isinstance(error, PermissionError) else FAILURE) from None


def _place(
    address: str | None, state: Path, name: str, settings: "Settings"
) -> tuple["ManagerAddress", str, "Settings"]:
    """Find the manager and this worker's name; with the settings as they hold in its cluster."""
    from sensor.node.manager_address import ManagerAddress

    manager = ManagerAddress.find(address, state)
    if manager.secret:
        settings = settings.of_cluster(manager.secret)
    mine = manager.credentials
    if mine and (mine.role != "worker" or name not in ("", mine.name)):
        as_whom = f"{mine.role} {mine.name}"
        raise fail(f"this host has joined as {as_whom}: invite it as a worker, or leave out --name", USAGE)
    return manager, name or (mine.name if mine else socket.gethostname().split(".")[0].lower()), settings


def _replay(node: "WorkerNode", inputs: tuple[str, ...], filter_text: str, *, is_alone: bool) -> bool:
    """Observe capture files; whether they are damaged, or none of them can be read."""
    from sensor.node.polled_stdin import attended
    from sensor.node.run_monitor import RunMonitor

    stdin = None if sys.stdin is None else attended(sys.stdin.buffer, node.attend, bell=node.bell)
    with stop_on_signals(node), files(inputs, filter_text, stdin) as (source, seen):
        whole = RunMonitor(is_replay=is_alone, filter_text=filter_text)
        node.run(seen, whole)
        tell_left_out(source)
        for hint in whole.said:
            click.echo(f"sensor: {hint}", err=True)
        return bool(seen.damage) or whole.is_blind


def _observe(
    node: "WorkerNode",
    source: Callable[[], "AbstractContextManager[tuple[Capture, Sequence[InterfaceCapture]]]"],
    settings: "Settings",
    chosen: Chosen,
    outputs: RunOutputs,
    about: dict[str, Any],
) -> None:
    """Observe interfaces."""
    from sensor.node.warm import warm_up

    warm_up(settings)
    with stop_on_signals(node), reload_on_signal(node, chosen.load), source() as (capture, taps):
        node.run(capture, outputs.accounting(taps, **about))
        tell_gaps(taps)
        if not about["is_share"]:
            tell_losses(capture.counters)


def _capture(
    interfaces: Interfaces, user: "User | None", opener: int | None, bell: "Bell", *, is_first: bool
) -> "AbstractContextManager[tuple[Capture, Sequence[InterfaceCapture]]]":
    if opener is None:
        return live(interfaces, user, bell)
    return live_by(interfaces, user, socket.socket(fileno=opener), bell, is_first=is_first)
