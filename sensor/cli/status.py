"""`sensor status`: how a cluster is."""

import sys
from pathlib import Path

import click
import msgspec

from sensor.cli.main import fail
from sensor.cli.state import failures, manager_option, state_option


@click.command("status")
@manager_option
@state_option
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
def command(address: str | None, state: Path, as_json: bool) -> None:
    """Show the nodes of a manager: state, packet clock, lag, packets, pace, losses, version; and epochs and alerts.

    Loss is what rings and cards lost, of what came to the interfaces: since the start, and over the last ten seconds.

    Exit codes: 0 done, 1 the manager cannot be reached, 2 usage, 77 no permission.
    """
    from sensor.node.contact import Contact
    from sensor.node.observer import ask_status

    with failures():
        manager = Contact.find(address, state)
        try:
            status = ask_status(manager)
        except TimeoutError as error:
            raise fail(f"the manager at {manager.address} cannot be reached: {error}") from None
    if as_json:
        click.echo(msgspec.json.encode(status).decode())
        return
    from rich.console import Console
    from rich.table import Table

    from sensor.clock import rfc3339
    from sensor.outputs.terminal import printable

    names = ("node", "state", "packet clock", "lag", "packets", "packets/s", "loss", "loss now", "refused", "version")
    table = Table(*names, box=None)
    for node in status.nodes:
        clock = "-" if node.watermark is None else rfc3339(node.watermark)[:19].replace("T", " ")
        lag = "-" if node.lag_s is None else f"{node.lag_s:.1f}s"
        pace = "-" if node.packets_per_second is None else f"{node.packets_per_second:,.0f}"
        losses = [_percent(node.loss), _percent(node.loss_now)]
        counts = [f"{node.packets:,}", pace, *losses, f"{node.lost:,}"]
        table.add_row(node.name, node.state, clock, lag, *counts, node.version)
    width = None if sys.stdout.isatty() else 160
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True, width=width)
    console.print(table)
    incomplete = f", {status.epochs_incomplete:,} of them incomplete" if status.epochs_incomplete else ""
    alerts = f"{status.alerts:,} alerts" + (f" ({status.withdrawn:,} withdrawn)" if status.withdrawn else "")
    console.print(f"{status.epochs_closed:,} epochs{incomplete}, {alerts}; sensor {status.version}")
    for hint in status.hints:
        console.print(printable(hint), markup=False)


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{part:.2%}"
