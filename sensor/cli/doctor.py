"""`sensor doctor`: whether this machine is ready for live capture."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sensor.cli.capture_options import capture_option
from sensor.cli.main import FAILURE, NO_PERMISSION
from sensor.cli.state_dir import state_option

if TYPE_CHECKING:
    from rich.console import Console

    from sensor.node.doctor import Check

_SIGNS = {"ok": "✔", "warning": "!", "failed": "✘", "skipped": "-"}
_WORDS = {"ok": "ok", "warning": "!", "failed": "x", "skipped": "-"}
"""The same for a terminal or a file that takes no more than ASCII."""
_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}
_WIDTH = len("filter memory")  # the longest name


@click.command("doctor")
@click.option(
    "-i", "--interface", "interfaces", multiple=True, metavar="IFACE", help="Or auto, the default. Repeat for several."
)
@capture_option("ring")
@click.option("--manager", "address", metavar="HOST:PORT", help="One to reach, or unix:PATH; else that of --state.")
@state_option
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a line and check.")
@click.option("--fix", "is_fixing", is_flag=True, help="First run those of the commands that can be undone.")
def command(
    interfaces: tuple[str, ...], ring: int, address: str | None, state: Path, as_json: bool, is_fixing: bool
) -> None:
    """Find out whether this machine is ready for live capture, and how to fix what is not.

    Looked at are the permission to capture, kernels, libpcap, the clock, memory for rings, and the manager if there is
    one to reach; and of each interface its link, its offloads, and for up to 3 seconds, in promiscuous mode, its
    traffic. Nothing is changed without --fix; with it, `ip link set IFACE up` and `ethtool -K IFACE ... off` are run
    first, where they are called for, as the user you are.

    Exit codes: 0 nothing failed, though there may be warnings; 1 something failed; 2 usage; 77 nothing failed but for
    want of permission.
    """
    from sensor.bus.endpoint import BusError, Endpoint
    from sensor.node.doctor import Question, examine, fix

    try:
        if address is not None:
            Endpoint.parse(address)
    except BusError as error:
        raise click.BadParameter(str(error), param_hint="--manager") from None
    names = interfaces or ("auto",)
    if is_fixing:
        fix(names, lambda line: click.echo(f"sensor: {line}", err=True))
    checks = examine(Question(names, ring, address, state))
    done = _write_json(checks) if as_json else _write_text(checks, is_fixing=is_fixing)
    sys.exit(_code(done))


def _code(checks: "Iterable[Check]") -> int:
    forbidden = {check.is_forbidden for check in checks if check.is_forbidden or check.state == "failed"}
    return 0 if not forbidden else NO_PERMISSION if forbidden == {True} else FAILURE


def _write_json(checks: "Iterable[Check]") -> "list[Check]":
    import msgspec

    done = []
    for check in checks:
        done.append(check)
        record = {
            "event_type": "check",
            "check": check.name,
            "interface": check.interface,
            "state": check.state,
            "finding": check.finding,
            "mend": None if check.mend is None else str(check.mend),
        }
        click.echo(msgspec.json.encode(record).decode())
    return done


def _write_text(checks: "Iterable[Check]", *, is_fixing: bool) -> "list[Check]":
    from rich.console import Console

    console, done = Console(file=sys.stdout, highlight=False, soft_wrap=True), []
    for check in checks:
        done.append(check)
        _write(console, check)
    console.print()
    console.print(_closing(Counter(str(check.state) for check in done)))
    fixable = sum(check.mend is not None and check.mend.is_safe for check in done)
    if fixable and not is_fixing:
        console.print(f"With --fix, it runs {fixable} of these commands first.")
    return done


def _write(console: "Console", check: "Check") -> None:
    from rich.text import Text

    from sensor.words import printable

    signs = _SIGNS if (console.encoding or "").startswith("utf") else _WORDS
    width = max(map(len, signs.values()))
    line = Text(signs[check.state].ljust(width), style=_STYLES[check.state])
    of = "" if check.interface is None else f"{check.interface}: "
    line.append(Text(f" {check.name:<{_WIDTH}}  {printable(of + check.finding)}", style="default"))
    console.print(line)
    if check.mend is not None:
        console.print(Text(f"{'':{width + _WIDTH + 3}}fix: {check.mend}", style="bold"))


def _closing(counts: Mapping[str, int]) -> str:
    failed, warnings = counts["failed"], counts["warning"]
    told = f"{warnings} {'warning' if warnings == 1 else 'warnings'}"
    if failed:
        also = f", and there {'is' if warnings == 1 else 'are'} {told}" if warnings else ""
        return f"Not ready for live capture: {failed} of these checks failed{also}."
    return f"Ready for live capture{f', with {told}' if warnings else ''}."
