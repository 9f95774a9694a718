"""`sensor query`: what all workers together know now of a key, or which keys have the most."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from sensor.cli.main import USAGE, fail
from sensor.cli.state import failures, manager_option, state_option

if TYPE_CHECKING:
    from sensor.cluster.messages import KeyResult, PresentEpoch

_PART = re.compile(r"\s*(\w+)\s*[=:]\s*(.+?)\s*")


@click.command("query")
@click.argument("sumstat")
@click.argument("parts", metavar="[KEY...]", nargs=-1)
@click.option("--top", default=10, show_default=True, metavar="N", help="So many keys at most, the greatest first.")
@click.option("--by", default="", metavar="REDUCER", help="Order by this one; else by that of the threshold.")
@manager_option
@state_option
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines: the keys of each epoch, then the epoch.")
def command(
    sumstat: str, parts: tuple[str, ...], top: int, by: str, address: str | None, state: Path, as_json: bool
) -> None:
    """Ask a manager what all its workers know now of a key, in the epochs that are not over.

    SUMSTAT is DETECTION.NAME, such as port_scan.scan; a misspelt one is answered with all names. KEY says what parts of
    the key must be: orig_h=10.0.0.1, or orig_h=10.0.0.0/8,probe=1; without any, all keys are meant. What is asked
    changes nothing of what is counted or told.

    Exit codes: 0 done, also if something is missing, which is then said; 1 the manager cannot be reached, or is asked
    too much at once; 2 usage; 77 no permission.
    """
    from sensor.cluster.messages import RequestKey
    from sensor.node.contact import Contact
    from sensor.node.observer import ask_keys

    with failures():
        manager = Contact.find(address, state)
        try:
            result = ask_keys(manager, RequestKey(1, sumstat, _key(parts), top, by))
        except UnicodeEncodeError:
            raise fail("an argument is not UTF-8", USAGE) from None
        except TimeoutError as error:
            raise fail(f"the manager at {manager.address} cannot be reached: {error}") from None
    if result.reason:
        raise fail(result.reason, USAGE if result.fatal else 1)
    for epoch in result.epochs:
        _write_json(result, epoch) if as_json else _write_table(result, epoch)
    if not result.epochs and not as_json:
        click.echo(f"No epoch of {result.sumstat} is open.")


def _key(texts: Iterable[str]) -> dict[str, str]:
    """The parts by name; a usage error says how they are written."""
    key: dict[str, str] = {}
    for text in [part for each in texts for part in each.split(",")]:
        found = _PART.fullmatch(text)
        if found is None or found[1] in key:
            raise fail(f"{text!r}: write each part of a key once, as PART=VALUE, such as orig_h=10.0.0.1", USAGE)
        key[found[1]] = found[2]
    return key


def _write_json(result: "KeyResult", epoch: "PresentEpoch") -> None:
    from sensor.clock import rfc3339

    for row in epoch.rows:
        click.echo(row.decode())
    record = {
        "event_type": "epoch",
        "sumstat": result.sumstat,
        "epoch": epoch.epoch,
        "start": rfc3339(epoch.start),
        "end": rfc3339(epoch.end) if epoch.end else None,
        "by": result.by,
        "keys": epoch.keys,
        "workers": epoch.workers,
        "complete": epoch.complete,
        "missing": epoch.missing,
        "left": epoch.left,
        "within": epoch.within,
    }
    click.echo(msgspec.json.encode(record).decode())


_PIPED = 4096  # columns: nothing is cut that no terminal shows
_REDUCERS = 2  # that a table has room for, beside the one that it is ordered by


def _write_table(result: "KeyResult", epoch: "PresentEpoch") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = None if sys.stdout.isatty() else _PIPED
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True, width=width)
    rows: list[dict[str, Any]] = [msgspec.json.decode(row) for row in epoch.rows]
    console.print(Text(_title(result, epoch)))
    if rows:
        names = list(dict.fromkeys(name for row in rows for name in row["key"]))
        every = [name for name in rows[0]["values"] if name != result.by]
        reducers = every[:_REDUCERS]
        table = Table(*names, result.by, *reducers, "seen", "first seen", "last seen", box=None)
        for row in rows:
            key = [_shown(row["key"].get(name)) for name in names]
            others = [_shown(_figure(row, name)) for name in reducers]
            times = [row[name][:19].replace("T", " ") for name in ("first_seen", "last_seen")]
            table.add_row(*map(Text, [*key, _shown(row["value"]), *others, _shown(row["num"]), *times]))
        console.print(table)
        if len(every) > len(reducers):
            console.print(Text(f"--json shows {', '.join(every[_REDUCERS:])} too"))
    for row in (each for each in rows if each["alert"]):
        about = ", ".join(_shown(part) for part in row["key"].values())
        console.print(Text(f"alert {row['alert']} stands about {about}"))
    for line in _shortfalls(epoch, len(rows)):
        console.print(Text(line))
    console.print()


def _figure(row: dict[str, Any], name: str) -> Any:
    """What a reducer is asked for: its number, or else the first thing that it has to say."""
    return row["figures"][name] if name in row["figures"] else next(iter(row["values"][name].values()), None)


def _title(result: "KeyResult", epoch: "PresentEpoch") -> str:
    from sensor.clock import rfc3339

    start, end = (rfc3339(each)[:19].replace("T", " ") for each in (epoch.start, epoch.end))
    span = f"{start} to {end[11:] if end[:10] == start[:10] else end}" if epoch.end else f"from {start} on"
    return f"{result.sumstat}, {span}, of {', '.join(epoch.workers) or 'nobody yet'}: {epoch.keys:,} keys"


def _shortfalls(epoch: "PresentEpoch", shown: int) -> list[str]:
    """What the reader should know that is not in the table."""
    lines = []
    if epoch.missing:
        lines.append(f"incomplete: nothing, or not all, from {', '.join(epoch.missing)}")
    if epoch.left:
        known = "" if epoch.within is None else f": a value may be too small by {epoch.within:,.0f} at most"
        lines.append(f"workers had no room to tell of {epoch.left:,} keys of the least values{known}")
    if 0 < shown < epoch.keys:
        lines.append(f"the first {shown:,} of {epoch.keys:,}")
    return lines


def _shown(value: Any) -> str:
    from sensor.outputs.terminal import printable

    if isinstance(value, float):
        return f"{value:,.0f}" if value == int(value) else f"{value:,.3g}"
    if isinstance(value, list):
        return f"{len(value)} kept"
    return "-" if value is None else printable(str(value))
