"""`sensor replay`: capture files in, alerts and a summary out."""

import contextlib
import logging
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from sensor._jit import COMPILED, compiled_now
from sensor.cli.main import FAILURE, FOUND, NO_PERMISSION, fail
from sensor.config import Settings, configure
from sensor.detection import DetectionError

if TYPE_CHECKING:
    from sensor.capture import Savefiles
    from sensor.node import Standalone
    from sensor.outputs.summary import Summary

_NOTICES = 3


def detection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose and set detections, for every command that runs or lists them."""
    for option in (
        click.option(
            "--set",
            "assignments",
            multiple=True,
            metavar="NAME.OPTION=VALUE",
            help="Set an option: port_scan.ports=20, for some keys port_scan.ports@orig_h:10.0.0.0/8=40 (repeatable).",
        ),
        click.option(
            "--plugin", "plugins", multiple=True, metavar="FILE.py", help="Load detections from a file (repeatable)."
        ),
        click.option(
            "--detection", "names", multiple=True, metavar="NAME", help="Run this detection only (repeatable)."
        ),
    ):
        function = option(function)
    return function


def configured(names: tuple[str, ...], plugins: tuple[str, ...], assignments: tuple[str, ...]) -> Settings:
    """The settings asked for; what is wrong with the asking is a usage error of one line."""
    try:
        return configure(names, plugins, assignments)
    except DetectionError as error:
        raise fail(str(error), 2) from None


@click.command("replay")
@click.argument("inputs", nargs=-1, required=True, metavar="FILE... | DIR | -")
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines: alerts as they happen, then a summary.")
@click.option("--exit-code", is_flag=True, help="Exit with 10 when an alert was raised.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress bar.")
@detection_options
def command(
    inputs: tuple[str, ...],
    as_json: bool,
    exit_code: bool,
    quiet: bool,
    names: tuple[str, ...],
    plugins: tuple[str, ...],
    assignments: tuple[str, ...],
) -> None:
    """Read capture files (pcap or pcapng, plain, gzip or zstd) and name the scanners in them.

    Several files are merged by time; a directory stands for the captures in it, - for standard input.

    Exit codes: 0 done, 1 an input is missing or damaged (what could be read was processed), 2 usage, 10 alerts with
    --exit-code, 77 no permission to read.
    """
    logging.basicConfig(format="sensor: %(message)s", stream=sys.stderr, force=True)
    settings = configured(names, plugins, assignments)
    from sensor.capture import CaptureError, open_savefiles

    try:
        with open_savefiles(inputs, stdin=sys.stdin.buffer) as source:
            summary = _run(source, settings, as_json, quiet or not sys.stderr.isatty())
    except CaptureError as error:
        raise fail(str(error), NO_PERMISSION if isinstance(error.__cause__, PermissionError) else FAILURE) from None
    for notice in _brief(source.skipped):
        click.echo(f"sensor: {notice}", err=True)
    for damage in summary.damage:
        click.echo(f"sensor: damaged: {damage}", err=True)
    if summary.damage or _is_unaccounted(summary):
        sys.exit(FAILURE)
    sys.exit(FOUND if exit_code and summary.alerts else 0)


def _run(source: "Savefiles", settings: Settings, as_json: bool, quiet: bool) -> "Summary":
    from rich.console import Console

    from sensor.cli.progress import ProgressBar
    from sensor.node import Standalone
    from sensor.outputs.json_lines import JsonLines
    from sensor.outputs.terminal import Terminal

    if not COMPILED:
        click.echo("sensor: kernels are not compiled (no Numba, or NUMBA_DISABLE_JIT is set): right but slow", err=True)
    terminal = Terminal(sys.stdout)
    node = Standalone(settings, [JsonLines(sys.stdout) if as_json else terminal], early=source.progress[1] is None)
    on_stdout = sys.stdout.isatty()
    with contextlib.ExitStack() as stack:
        stack.callback(_stop_on_signals(node))
        if quiet or (as_json and on_stdout):
            return node.run(source, lambda done, packets: None)
        bar = ProgressBar(terminal.console if on_stdout else Console(stderr=True), source.progress[1])
        stack.callback(_tell_of_compiling)
        return node.run(source, stack.enter_context(bar).update)


def _brief(notices: list[str]) -> list[str]:
    """The first few of what may be many lines, and how many more there are."""
    more = len(notices) - _NOTICES
    return notices if more <= 1 else [*notices[:_NOTICES], f"and {more} more files that are no captures"]


def _tell_of_compiling() -> None:
    if compiled_now():
        click.echo("sensor: kernels were compiled, which took most of these seconds; the next run finds them", err=True)


def _stop_on_signals(node: "Standalone") -> Callable[[], None]:
    """Let the first INT or TERM end the run in order, with its summary, and a second one at once."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, frame: FrameType | None) -> None:
        restore()
        node.stop()

    for number in before:
        signal.signal(number, stop)
    return restore


def _is_unaccounted(summary: "Summary") -> bool:
    from sensor.node import unaccounted

    lost = unaccounted(summary)
    if lost:
        click.echo(f"sensor: {lost} packets are neither decoded nor refused by name: please report this", err=True)
    return lost != 0
