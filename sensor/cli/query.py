"""`sensor query`: what all workers together know now of a key, or which keys have the most."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from sensor.cli.main import USAGE, fail
from sensor.cli.state_dir import failures, manager_option, state_option
from sensor.words import amount, printable

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
    from sensor.node.manager_address import ManagerAddress
    from sensor.node.observer import ask_keys

    with failures():
        manager = ManagerAddress.find(address, state)
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


_TIMES = {"first seen": "first_seen", "last seen": "last_seen"}


def _write_table(result: "KeyResult", epoch: "PresentEpoch") -> None:
    from sensor.cli.table import write_line, write_table

    rows: list[dict[str, Any]] = [msgspec.json.decode(row) for row in epoch.rows]
    write_line(_title(result, epoch))
    if rows:
        names = list(dict.fromkeys(name for row in rows for name in row["key"]))
        reducers = [name for name in rows[0]["values"] if name != result.by]
        table = [
            [
                *(_shown(row["key"].get(name)) for name in names),
                _shown(row["value"]),
                *(_shown(_figure(row, name)) for name in reducers),
                _shown(row["num"]),
                *(row[name][:19].replace("T", " ") for name in _TIMES.values()),
            ]
            for row in rows
        ]
        columns = [*names, result.by, *reducers, "seen", *_TIMES]
        *others, seen, begin, end = range(len(names) + 1, len(columns))
        write_table(columns, table, [begin, end, seen, *reversed(others)])
    for row in (each for each in rows if each["alert"]):
        about = ", ".join(_shown(part) for part in row["key"].values())
        write_line(f"alert {row['alert']} stands about {about}")
    for line in _shortfalls(epoch, len(rows)):
        write_line(line)
    click.echo()


def _figure(row: dict[str, Any], name: str) -> Any:
    """Return the result of a reducer: its number, or the first of its values."""
    figures: dict[str, Any] = row.get("figures", {})
    return figures[name] if name in figures else next(iter(row["values"][name].values()), None)


def _title(result: "KeyResult", epoch: "PresentEpoch") -> str:
    from sensor.clock import rfc3339

    start, end = (rfc3339(each)[:19].replace("T", " ") for each in (epoch.start, epoch.end))
    span = f"{start} to {end[11:] if end[:10] == start[:10] else end}" if epoch.end else f"from {start} on"
    who = ", ".join(epoch.workers) or "nobody yet"
    return f"{result.sumstat}, {span}, of {who}: {amount(epoch.keys, 'key')}"


def _shortfalls(epoch: "PresentEpoch", shown: int) -> list[str]:
    """Return what the reader should know beside the table."""
    lines = []
    if epoch.missing:
        lines.append(f"incomplete: nothing, or not all, from {', '.join(epoch.missing)}")
    if epoch.left:
        known = "" if epoch.within is None else f": a value may be too small by {epoch.within:,.0f} at most"
        lines.append(f"workers had no room to tell of {amount(epoch.left, 'key')} of the least values{known}")
    if 0 < shown < epoch.keys:
        lines.append(f"the first {shown:,} of {epoch.keys:,}")
    return lines


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value == int(value) else f"{value:,.3g}" if abs(value) < 100 else f"{value:,.1f}"
    if isinstance(value, list):
        return f"{len(value)} kept"
    return "-" if value is None else printable(str(value))
