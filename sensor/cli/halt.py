"""The halt: what INT and TERM do to a replay, which then says how far it came, and that it is not whole."""

import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable
from typing import BinaryIO

import msgspec

from sensor.alerts import AlertRecord, AlertUpdate
from sensor.outputs.interface import Output
from sensor.outputs.stats import Stats
from sensor.outputs.summary import Summary

GRACE_S = 0.5
"""How long a pipe may take to come to its end: a terminal's INT is for its writer too, whose last packets count."""
_ANSWER = b"sensor: interrupted: finishing with what has been read; once more ends at once\n"
_WITHIN_A_PACKET = "the file ends inside a packet"
_BY_US = "it was ended by SIGTERM"  # a worker that had not yet begun


class Halt:
    """Ends a run in order. `begin` says of what, and how many bytes it has to read.

    Where that is not known, of a pipe, its writer has `GRACE_S` to end it; then all that is in it is read.
    """

    def __init__(self, pipe: BinaryIO | None = None) -> None:
        self._pipe = pipe
        self._total: int | None = None
        self._stop: Callable[[], None] = lambda: None
        self._number, self._is_cut, self._done = 0, False, 0
        self._timer = threading.Timer(GRACE_S, self._cut_pipe)
        self._timer.daemon = True

    def begin(self, total: int | None, stop: Callable[[], None]) -> None:
        """Set what a signal is to end."""
        self._total, self._stop = total, stop

    def noting(self, progress: Callable[[int, int], None]) -> Callable[[int, int], None]:
        """Whom to tell how many bytes were read, who tells `progress`."""

        def note(done: int, packets: int) -> None:
            self._done = done
            progress(done, packets)

        return note

    def heard(self, number: int) -> None:
        """A signal has come. It is answered at once: to finish may take long, on a machine that has much to do."""
        self._number = number
        with contextlib.suppress(OSError):
            os.write(2, _ANSWER)
        if self._total is None:
            self._timer.start()
        else:
            self._cut()

    def close(self) -> None:
        """The input is over."""
        self._timer.cancel()

    def may_go_on(self) -> bool:
        """Return whether to read on."""
        return not self._is_cut

    @property
    def is_short(self) -> bool:
        """True if a part of the input was not read."""
        return self._is_cut and self._done != self._total

    @property
    def exit_code(self) -> int:
        """As a shell has it of what a signal ends."""
        return 128 + self._number

    def describe(self) -> str:
        """Return how far the replay came, for people."""
        of_all = "" if self._total is None else f" of {self._total:,}"
        return f"interrupted by {signal.Signals(self._number).name}: stopped at byte {self._done:,}{of_all}"

    def marked(self, record: Summary) -> Summary:
        """A summary that says whether it is of the whole. What the halt did, to a pipe's writer too, is no damage."""
        if not self._number:
            return record
        damage = [each for each in record.damage if not self._is_of_the_halt(each)]
        return msgspec.structs.replace(record, interrupted=self.is_short, damage=damage)

    def _is_of_the_halt(self, damage: str) -> bool:
        if self.is_short:
            return damage.startswith("-: ") or damage.endswith(_BY_US)
        return damage.startswith("-: ") and _WITHIN_A_PACKET in damage

    def _cut_pipe(self) -> None:
        if not (self._pipe and has_ended(self._pipe)):
            self._cut()

    def _cut(self) -> None:
        self._is_cut = True
        self._stop()


def has_ended(pipe: BinaryIO) -> bool:
    """Return whether a pipe has no writer any more; what was written may still be unread."""
    poll = select.poll()
    poll.register(pipe, 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))


class Halted:
    """An output whose summary says whether the run is whole."""

    def __init__(self, output: Output, halt: Halt) -> None:
        self._output, self._halt = output, halt

    def alert(self, record: AlertRecord) -> None:
        """Write an alert."""
        self._output.alert(record)

    def update(self, record: AlertUpdate) -> None:
        """Write what became of an alert."""
        self._output.update(record)

    def stats(self, record: Stats) -> None:
        """Write what a second was like."""
        self._output.stats(record)

    def summary(self, record: Summary) -> None:
        """Write the closing record."""
        self._output.summary(self._halt.marked(record))
