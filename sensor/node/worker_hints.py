"""Hints of workers: what they say that looks wrong at their end, as their manager says it on."""

from collections.abc import Callable, Sequence

from sensor.bus.outbox import Rate
from sensor.clock import elapsed_s
from sensor.words import printable

MOST = 64
"""Hints of one worker that are heard."""
_PER_SECOND, _BURST = 0.2, 20.0
"""Hints of one worker that are said: whatever it sends, a log does not fill with it."""


class WorkerHints:
    """Says each hint of a worker when it is new; those of a worker are few, and workers are as many as members."""

    def __init__(self, clock: Callable[[], float] = elapsed_s) -> None:
        self._clock = clock
        self._now: dict[str, list[str]] = {}
        self._last: dict[str, list[str]] = {}
        self._rates: dict[str, Rate] = {}
        self.unsaid = 0
        """Hints that were not said, as there were too many of one worker."""

    @property
    def hints(self) -> list[str]:
        """The current hints of workers."""
        return _lines(self._now)

    @property
    def said(self) -> list[str]:
        """The latest hints of workers, current or past."""
        return _lines(self._last)

    def update(self, worker: str, hints: Sequence[str]) -> list[str]:
        """A worker says what looks wrong now; what of it is to be said here, and what is over, such as a lull."""
        found = [printable(each) for each in hints[:MOST]]
        new = [each for each in found if each not in self._now.get(worker, ())]
        over = [each for each in self._now.get(worker, ()) if each not in found]
        self._now[worker] = found
        if found:
            self._last[worker] = found
        lines = [*(_end_of(each) for each in over if not new), *new]
        return [f"{worker}: {each}" for each in lines if self._may_say(worker)]

    def forget(self, worker: str) -> None:
        """A worker is gone: nothing is known of how it looks there now."""
        self._now.pop(worker, None)

    def _may_say(self, worker: str) -> bool:
        rate = self._rates.setdefault(worker, Rate(_PER_SECOND, _BURST, self._clock))
        if rate.spend(0.0):
            self.unsaid += 1
            return False
        rate.spend(1.0)
        return True


def _end_of(hint: str) -> str:
    interface, is_lull, _ = hint.partition(": no packets for ")
    return f"{interface}: packets come again" if is_lull else f"over: {hint}"


def _lines(hints: dict[str, list[str]]) -> list[str]:
    return [f"{worker}: {each}" for worker in sorted(hints) for each in hints[worker]]
