"""`sensor manager`: merge, judge and alert on what workers report."""

import asyncio
import logging
import sys
from pathlib import Path

import click

from sensor.cli.main import FOUND, USAGE, fail
from sensor.cli.replay import configured, detection_options, stop_on_signals


@click.command("manager")
@click.option(
    "--listen", default="127.0.0.1:47700", show_default=True, metavar="HOST:PORT", help="Or unix:PATH. Port 0: any."
)
@click.option(
    "--state", type=click.Path(path_type=Path), help="Folder of the journal and of the alerts; without, none is kept."
)
@click.option("--workers", default="", metavar="NAME,...", help="Wait for these from the start; others may join.")
@click.option("--until-done", is_flag=True, help="End when the input of all workers has ended.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines: alerts as they happen, then a summary.")
@click.option("--exit-code", is_flag=True, help="Exit with 10 when an alert was raised.")
@detection_options
def command(
    listen: str,
    state: Path | None,
    workers: str,
    until_done: bool,
    as_json: bool,
    exit_code: bool,
    names: tuple[str, ...],
    plugins: tuple[str, ...],
    assignments: tuple[str, ...],
) -> None:
    """Run a manager: workers dial in and report, and alerts come out.

    With --state it goes on after a crash where it was, and writes each alert once to alerts.jsonl there. It listens on
    loopback or on a Unix socket only: the bus has no certificates yet.

    Exit codes: 0 done, 1 failure, 2 usage or an address where it may not listen, 10 alerts with --exit-code.
    """
    logging.basicConfig(format="sensor: %(message)s", stream=sys.stderr, force=True)
    settings = configured(names, plugins, assignments)
    from sensor.cluster.endpoint import BusError
    from sensor.cluster.journal import JournalError
    from sensor.node.manager import ManagerNode
    from sensor.outputs.json_lines import JsonLines
    from sensor.outputs.terminal import Terminal

    members = [name for name in workers.split(",") if name]
    node = ManagerNode(
        settings,
        [JsonLines(sys.stdout) if as_json else Terminal(sys.stdout)],
        members=members,
        state=state,
        until_done=until_done,
    )

    def ready(address: str) -> None:
        click.echo(f"sensor: the manager listens at {address}", err=True)

    restore = stop_on_signals(node)
    try:
        summary = asyncio.run(node.run(listen, ready=ready))
    except BusError as error:
        raise fail(str(error), USAGE) from None
    except (JournalError, ValueError, OSError) as error:
        raise fail(str(error)) from None
    finally:
        restore()
    sys.exit(FOUND if exit_code and summary.alerts else 0)
