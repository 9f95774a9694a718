"""`sensor status`: how a cluster is."""

import sys

import click
import msgspec

from sensor.cli.main import USAGE, fail


@click.command("status")
@click.option("--manager", "address", default="127.0.0.1:47700", show_default=True, metavar="HOST:PORT|unix:PATH")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
def command(address: str, as_json: bool) -> None:
    """Show the nodes of a manager: state, packet clock, lag, packets, losses, versions; and epochs and alerts.

    Exit codes: 0 done, 1 the manager cannot be reached, 2 usage.
    """
    from sensor.cluster.endpoint import BusError
    from sensor.node.observer import ask_status

    try:
        status = ask_status(address)
    except BusError as error:
        raise fail(str(error), USAGE) from None
    except TimeoutError as error:
        raise fail(f"the manager at {address} cannot be reached: {error}") from None
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
