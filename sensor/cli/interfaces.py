"""`sensor interfaces`: what there is to capture from."""

import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sensor.capture.interfaces import Interface


@click.command("interfaces")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a line and interface.")
def command(as_json: bool) -> None:
    """List the network interfaces: state, driver, speed, MTU, offloads, promiscuity, and what they have seen and lost.

    Those with a * are what -i auto takes. Counts are since the driver was loaded. Needs no privilege.

    Exit codes: 0 done, 2 usage.
    """
    from sensor.capture.interfaces import automatic, list_interfaces

    found = list_interfaces()
    taken = {each.name for each in automatic(found)}
    if as_json:
        import msgspec

        for each in found:
            row = {"event_type": "interface", "auto": each.name in taken, **msgspec.to_builtins(each)}
            click.echo(msgspec.json.encode(row).decode())
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names = ("interface", "state", "driver", "speed", "mtu", "offloads", "promiscuous", "packets", "dropped", "missed")
    table = Table(*names, box=None)
    for each in found:
        table.add_row(*map(Text, _row(each, is_taken=each.name in taken)))
    width = None if sys.stdout.isatty() else 160
    Console(file=sys.stdout, highlight=False, soft_wrap=True, width=width).print(table)


def _row(each: "Interface", *, is_taken: bool) -> list[str]:
    counts: dict[str, Any] = each.statistics
    return [
        f"{each.name}{'*' if is_taken else ''}",
        each.state if each.linktype is not None else f"{each.state}, not read",
        each.driver or each.kind or "-",
        "-" if each.speed is None else f"{each.speed} Mbit/s",
        str(each.mtu),
        ",".join(name for name, is_on in each.offloads.items() if is_on) or "-",
        "yes" if each.promiscuity else "no",
        *(f"{counts.get(name, 0):,}" for name in ("rx_packets", "rx_dropped", "rx_missed_errors")),
    ]
