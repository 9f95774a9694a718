"""Stretches of time in which a live capture saw nothing because its interface was down or gone."""

from collections import deque
from dataclasses import dataclass

KEPT = 256
"""Gaps remembered one by one; of more, the oldest are forgotten, and stay in the sums."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Of which interface, from when to when, in ns since the epoch by the system's clock, and why."""

    interface: str
    start: int
    end: int
    reason: str


class Gaps:
    """Takes down the gaps of one interface."""

    def __init__(self, interface: str) -> None:
        self._interface = interface
        self.kept: deque[Gap] = deque(maxlen=KEPT)
        self.count = 0
        """Gaps begun."""
        self._ns = 0
        self._start: int | None = None
        self._reason = ""

    @property
    def is_open(self) -> bool:
        """Whether there is a gap now."""
        return self._start is not None

    @property
    def reason(self) -> str:
        """Why there is a gap now; "": there is none."""
        return self._reason if self.is_open else ""

    def ns(self, now: int) -> int:
        """Length of all gaps, the one that may be open included."""
        return self._ns + (0 if self._start is None else max(0, now - self._start))

    def begin(self, now: int, reason: str) -> None:
        """There is a gap from now on; of one that is open only the reason changes."""
        self._reason = reason
        if self._start is None:
            self._start, self.count = now, self.count + 1

    def end(self, now: int) -> None:
        """The gap, if there is one, is over."""
        if self._start is not None:
            gap = Gap(self._interface, self._start, max(now, self._start), self._reason)
            self.kept.append(gap)
            self._ns += gap.end - gap.start
            self._start = None
