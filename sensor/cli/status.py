"""`sensor status`: how a cluster is."""

from pathlib import Path

import click
import msgspec

from sensor.cli.main import fail
from sensor.cli.state_dir import failures, manager_option, state_option
from sensor.words import amount, in_order


@click.command("status")
@manager_option
@state_option
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
def command(address: str | None, state: Path, as_json: bool) -> None:
    """Show the nodes of a manager: state, packet clock, lag, packets, pace, losses, version; and epochs and alerts.

    Loss is what rings and cards lost, of what came to the interfaces: since the start, and over the last ten seconds.

    Exit codes: 0 done, 1 the manager cannot be reached, 2 usage, 77 no permission.
    """
    from sensor.node.manager_address import ManagerAddress
    from sensor.node.observer import ask_status

    with failures():
        manager = ManagerAddress.find(address, state)
        try:
            status = ask_status(manager)
        except TimeoutError as error:
            raise fail(f"the manager at {manager.address} cannot be reached: {error}") from None
    nodes = sorted(status.nodes, key=lambda node: in_order(node.name))
    if as_json:
        click.echo(msgspec.json.encode(msgspec.structs.replace(status, nodes=nodes)).decode())
        return
    from sensor.cli.table import write_line, write_table
    from sensor.clock import rfc3339

    names = ("node", "state", "packet clock", "lag", "packets", "packets/s", "loss", "loss now", "refused", "version")
    rows = []
    for node in nodes:
        clock = "-" if node.watermark is None else rfc3339(node.watermark)[:19].replace("T", " ")
        lag = "-" if node.lag_s is None else f"{node.lag_s:.1f}s"
        pace = "-" if node.packets_per_second is None else f"{node.packets_per_second:,.0f}"
        losses = [_percent(node.loss), _percent(node.loss_now)]
        counts = [f"{node.packets:,}", pace, *losses, f"{node.lost:,}"]
        rows.append([node.name, node.state, clock, lag, *counts, node.version])
    spare = [names.index(name) for name in ("version", "refused", "packet clock", "loss", "packets")]
    write_table(names, rows, spare)
    incomplete = f", {status.epochs_incomplete:,} of them incomplete" if status.epochs_incomplete else ""
    alerts = amount(status.alerts, "alert") + (f" ({status.withdrawn:,} withdrawn)" if status.withdrawn else "")
    write_line(f"{amount(status.epochs_closed, 'epoch')}{incomplete}, {alerts}; sensor {status.version}")
    for hint in status.hints:
        write_line(hint)


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{part:.2%}"
