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
    """Show the nodes of a manager: state, packet clock, lag, packets, losses, versions; and epochs and alerts.

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

    table = Table("node", "state", "packet clock", "lag", "packets", "lost", "version", box=None)
    for node in status.nodes:
        clock = "-" if node.watermark is None else rfc3339(node.watermark)[:19].replace("T", " ")
        lag = "-" if node.lag_s is None else f"{node.lag_s:.1f}s"
        table.add_row(node.name, node.state, clock, lag, f"{node.packets:,}", f"{node.lost:,}", node.version)
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    console.print(table)
    incomplete = f", {status.epochs_incomplete:,} of them incomplete" if status.epochs_incomplete else ""
    console.print(f"{status.epochs_closed:,} epochs{incomplete}, {status.alerts:,} alerts; sensor {status.version}")
