"""`sensor interfaces`: what there is to capture from."""

import threading
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sensor.capture.live.interfaces import Interface
    from sensor.capture.live.rates import Rates


@click.command("interfaces")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a line and interface.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, 60),
    default=1.0,
    show_default=True,
    metavar="S",
    help="Count for so long what passes now; 0: totals only.",
)
def command(as_json: bool, seconds: float) -> None:
    """List the network interfaces: state, driver, speed, MTU, offloads, promiscuity, and what they have seen and lost.

    Those with a * are what -i auto takes. Rates are of what is received now; totals are since the driver was loaded.
    Needs no privilege.

    Exit codes: 0 done, 2 usage.
    """
    from sensor.capture.live.interfaces import automatic, list_interfaces
    from sensor.capture.live.rates import measure

    rates = measure(seconds, threading.Event().wait) if seconds else {}
    found = list_interfaces()
    taken = {each.name for each in automatic(found)}
    if as_json:
        import msgspec

        for each in found:
            row = {"event_type": "interface", "auto": each.name in taken, **msgspec.to_builtins(each)}
            click.echo(msgspec.json.encode(row | {"rates": rates.get(each.name)}).decode())
        return
    _write_table(found, taken, rates if seconds else None)


def _write_table(found: "list[Interface]", taken: set[str], rates: "dict[str, Rates] | None") -> None:
    from sensor.cli.table import write_table

    now = () if rates is None else ("packets/s", "Mbit/s", "drops/s")
    names = ("interface", "state", "driver", "speed", "mtu", "offloads", "promiscuous", *now)
    columns = [*names, "packets", "dropped", "missed"]
    rows = []
    for each in found:
        passing = [] if rates is None else _passing(rates.get(each.name))
        rows.append([*_about(each, is_taken=each.name in taken), *passing, *_totals(each)])
    write_table(columns, rows, [columns.index(name) for name in ("promiscuous", "driver", "mtu", "offloads")])


def _about(each: "Interface", *, is_taken: bool) -> list[str]:
    return [
        f"{each.name}{'*' if is_taken else ''}",
        each.state if each.linktype is not None else f"{each.state}, not read",
        each.driver or each.kind or "-",
        "-" if each.speed is None else f"{each.speed} Mbit/s",
        str(each.mtu),
        ",".join(name for name, is_on in each.offloads.items() if is_on) or "-",
        "yes" if each.promiscuity else "no",
    ]


def _passing(rates: "Rates | None") -> list[str]:
    if rates is None:
        return ["-", "-", "-"]
    return [f"{rates.packets_per_second:,.0f}", f"{rates.bits_per_second / 1e6:,.3f}", f"{rates.drops_per_second:,.0f}"]


def _totals(each: "Interface") -> list[str]:
    counts: dict[str, Any] = each.statistics
    return [f"{counts.get(name, 0):,}" for name in ("rx_packets", "rx_dropped", "rx_missed_errors")]
