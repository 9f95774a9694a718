"""`sensor replay`: capture files in, alerts and a summary out."""

import contextlib
import functools
import io
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

import click

from sensor._jit import COMPILED, compiled_now, is_cold, turns
from sensor.cli.capture import check_filter, files, tell_left_out
from sensor.cli.capture_options import capture_option
from sensor.cli.detection_options import Chosen, detection_options
from sensor.cli.main import FAILURE, FOUND, NO_PERMISSION, fail
from sensor.cli.streams import UnwritableError
from sensor.config import Settings
from sensor.words import amount

if TYPE_CHECKING:
    from sensor.capture import Capture, Savefiles
    from sensor.cli.halt import Halt
    from sensor.node.run_monitor import RunMonitor
    from sensor.node.tee import Recorded
    from sensor.outputs.interface import Output
    from sensor.outputs.summary import Summary


_AT_ONCE: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
_PAUSE_MS = 100  # how long standard input may give nothing until a halt is heeded


class Stoppable(Protocol):
    """A run that a signal can end in order."""

    def stop(self) -> None:
        """Take no further input."""


def output_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of what is written, for every command that tells alerts."""
    for option in (
        click.option("--exit-code", is_flag=True, help="Exit with 10 when an alert stands."),
        click.option(
            "--json", "as_json", is_flag=True, help="Write JSON lines: alerts as they happen, then a summary."
        ),
    ):
        function = option(function)
    return function


def outcome(summary: "Summary", *, is_failed: bool, tells: bool) -> int:
    """The exit code of a run that came to its end: a failure goes before alerts, which it `tells` with --exit-code."""
    if is_failed or _has_raised(summary):
        return FAILURE
    return FOUND if tells and summary.alerts > summary.alerts_withdrawn else 0


def _has_raised(summary: "Summary") -> bool:
    """Return whether a detection raised, so that its results cannot be relied on."""
    return any(summary.detection_faults.values()) or summary.counters.get("sumstats_threshold_faults", 0) > 0


class Reloadable(Protocol):
    """A run that can go on with other settings."""

    def reload(self, load: Callable[[], Settings]) -> None:
        """Read them, and take them if they are right."""


@click.command("replay")
@click.argument("inputs", nargs=-1, required=True, metavar="FILE... | DIR | -")
@output_options
@click.option("-q", "--quiet", is_flag=True, help="Show no progress bar.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, help="Share the work among so many processes.")
@capture_option("filter_text")
@detection_options
def command(
    inputs: tuple[str, ...],
    as_json: bool,
    exit_code: bool,
    quiet: bool,
    workers: int,
    filter_text: str,
    chosen: Chosen,
) -> None:
    """Read capture files (pcap or pcapng, plain, gzip or zstd) and find the scans in them.

    Several files are merged by time; a directory stands for the captures in it, - for standard input, of which alerts
    are told at once. It is read once, however many workers there are.

    Exit codes: 0 done, 1 an input is missing or damaged (what could be read was processed), none of its packets could
    be read, or a detection raised, 2 usage, 10 alerts with --exit-code, 77 no permission to read, 130 interrupted (143
    by TERM) before all was read. Of several the first that holds of 77, 2, 130, 1 and 10.
    """
    logging.basicConfig(format="sensor: %(message)s", stream=sys.stderr, force=True)
    settings = chosen.settings()
    check_filter(filter_text)
    workers = _as_many_as_may_be(settings, workers)
    from sensor.capture import CaptureError
    from sensor.cli.halt import Halt

    passed = ["--filter", filter_text, *(part for each in inputs for part in ("--replay", each)), *chosen.options]
    stdin = getattr(sys.stdin, "buffer", None)
    halt = Halt(None if isinstance(stdin, io.BytesIO) else stdin)  # which is a test's
    try:
        with _opened(inputs, filter_text, _heeding(stdin, halt), workers) as (source, seen):
            shared = _shared(stdin, is_alone=len(inputs) == 1) if workers > 1 and "-" in inputs else None
            accounting = functools.partial(_accounting, filter_text)
            if workers > 1:
                start = _cluster(settings, workers, passed, shared, accounting)
            else:
                start = _standalone(settings, seen, accounting)
            total = None if shared else source.progress[1]
            summary = _run(total, start, as_json, quiet or not sys.stderr.isatty(), halt)
    except CaptureError as error:
        raise fail(str(error), NO_PERMISSION if isinstance(error.__cause__, PermissionError) else FAILURE) from None
    tell_left_out(source)
    if summary.interrupted:
        click.echo(f"sensor: {halt.describe()}", err=True)
    for damage in summary.damage:
        click.echo(f"sensor: damaged: {damage}", err=True)
    for hint in summary.hints:
        click.echo(f"sensor: {hint}", err=True)
    if summary.interrupted:
        sys.exit(halt.exit_code)
    is_whole = len(summary.workers) == workers  # the packets of a worker that is missing are counted nowhere
    is_failed = bool(summary.damage) or (is_whole and (_is_unaccounted(summary) or _is_blind(summary)))
    sys.exit(outcome(summary, is_failed=is_failed, tells=exit_code))


def _as_many_as_may_be(settings: Settings, workers: int) -> int:
    """Return the number of workers: one where epochs end by hand, as only one worker sees the event that ends them."""
    definitions = [each for detection in settings.make() for each in detection.define().values()]
    by_hand = [each.name for each in definitions if not each.epoch_ns]
    if workers == 1 or not by_hand:
        return workers
    click.echo(f"sensor: one worker does it all, as epochs of {', '.join(by_hand)} end by hand", err=True)
    return 1


def _heeding(stdin: BinaryIO | None, halt: "Halt") -> BinaryIO | None:
    """Standard input that ends when the run is halted, though nothing comes."""
    from sensor.node.polled_stdin import attended

    if stdin is None or isinstance(stdin, io.BytesIO):  # which is a test's, and never waits
        return stdin
    return attended(stdin, halt.may_go_on, pause_ms=_PAUSE_MS)


@contextlib.contextmanager
def _opened(
    inputs: Sequence[str], filter_text: str, stdin: BinaryIO | None, workers: int
) -> "Iterator[tuple[Savefiles, Capture]]":
    """The inputs, and what is seen of them; several workers are to have every byte of standard input, so not that."""
    from sensor.capture import CaptureError, Savefiles

    named = [each for each in inputs if each != "-" or workers == 1]
    if len(named) < len(inputs) - 1:
        raise CaptureError("-: standard input can be read only once; name it once")
    if not named:
        yield (nothing := Savefiles()), nothing
        return
    with files(named, filter_text, stdin) as opened:
        yield opened


def _shared(stdin: BinaryIO | None, *, is_alone: bool) -> "Recorded":
    """Standard input for several workers. CaptureError, before they are started, where it is no capture."""
    from sensor.capture import open_savefiles
    from sensor.node.tee import Recorded

    if stdin is None:
        raise fail("-: no standard input is open; name a file")
    recorded = Recorded(stdin)
    if is_alone:  # beside others it may be damaged
        open_savefiles(["-"], stdin=cast("BinaryIO", recorded)).close()
    return recorded


Run = tuple[Stoppable, Callable[[], "Summary"]]
Start = Callable[["Sequence[Output]", Callable[[int, int], None]], Run]
"""Makes a node of outputs and of whom to tell its progress; and gives it with what runs it."""


def _accounting(filter_text: str) -> "RunMonitor":
    from sensor.node.run_monitor import RunMonitor

    return RunMonitor(is_replay=True, filter_text=filter_text)


def _standalone(settings: Settings, source: "Capture", accounting: "Callable[[], RunMonitor]") -> Start:
    from sensor.node import Standalone

    def start(outputs: "Sequence[Output]", progress: Callable[[int, int], None]) -> Run:
        node = Standalone(settings, outputs, early=source.progress[1] is None)
        return node, lambda: node.run(source, progress, accounting())

    return start


def _cluster(
    settings: Settings,
    workers: int,
    options: Sequence[str],
    stdin: "Recorded | None",
    accounting: "Callable[[], RunMonitor]",
) -> Start:
    from sensor.node.local import LocalCluster
    from sensor.node.warm import warm_up

    def start(outputs: "Sequence[Output]", progress: Callable[[int, int], None]) -> Run:
        if is_cold():  # here it is said, and done once
            warm_up(settings)
        node = LocalCluster(
            settings,
            outputs,
            workers=workers,
            options=options,
            progress=progress,
            accounting=accounting(),
            stdin=stdin,
        )
        return node, node.run

    return start


def _run(total: int | None, start: Start, as_json: bool, quiet: bool, halt: "Halt") -> "Summary":
    from rich.console import Console

    from sensor.cli.halt import Halted
    from sensor.cli.progress import ProgressBar
    from sensor.outputs.kinds import open_outputs
    from sensor.outputs.outlet import Outlet
    from sensor.outputs.terminal import Terminal

    if not COMPILED:
        click.echo("sensor: kernels are not compiled (no Numba, or NUMBA_DISABLE_JIT is set): right but slow", err=True)
    outlet = Outlet(sys.stdout, lambda trouble: node.stop())  # who would be told reads nothing, or no more
    [output] = open_outputs(["json" if as_json else "table"], outlet)
    on_stdout = sys.stdout.isatty()
    with contextlib.ExitStack() as stack:
        progress: Callable[[int, int], None] = lambda done, packets: None  # noqa: E731
        if not (quiet or (as_json and on_stdout)):
            console = output.console if on_stdout and isinstance(output, Terminal) else Console(stderr=True)
            bar = ProgressBar(console, total)
            stack.callback(_tell_of_compiling)
            turns.is_silent = True
            progress = stack.enter_context(bar).update
        node, run = start([Halted(output, halt)], halt.noting(progress))
        halt.begin(total, node.stop)
        stack.callback(halt.close)
        stack.enter_context(stop_on_signals(node, halt.heard))
        summary = halt.marked(run())
    outlet.hurry()
    if outlet.error is not None:
        raise UnwritableError(outlet.error)
    return summary


def _tell_of_compiling() -> None:
    if compiled_now():
        click.echo("sensor: kernels were compiled, which took most of these seconds; the next run finds them", err=True)


@contextlib.contextmanager
def reload_on_signal(node: Reloadable, load: Callable[[], Settings]) -> Iterator[None]:
    """Meanwhile let HUP have the settings read again."""
    before = signal.signal(signal.SIGHUP, lambda number, frame: node.reload(load))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@contextlib.contextmanager
def stop_on_signals(node: Stoppable, heard: Callable[[int], None] | None = None) -> Iterator[None]:
    """Meanwhile let the first INT or TERM end the run in order, with its summary, and a second one at once.

    `heard` is told which came, and ends the run in place of this.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, frame: FrameType | None) -> None:
        for each, handler in before.items():  # a shell ignores INT for what it runs in the background
            signal.signal(each, _AT_ONCE[each] if handler == signal.SIG_IGN else handler)
        heard(number) if heard else node.stop()

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        restore()


def _is_unaccounted(summary: "Summary") -> bool:
    from sensor.node import unaccounted

    lost = unaccounted(summary)
    if lost:
        what = "neither decoded nor refused by name"
        click.echo(f"sensor: {amount(lost, 'packet')} {what}: please report this", err=True)
    return lost != 0


def _is_blind(summary: "Summary") -> bool:
    from sensor.node.unread import is_blind

    return is_blind(summary.packets_read, summary.refused, summary.counters)
