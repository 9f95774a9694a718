"""Periods in which a live capture saw nothing because its interface was down or gone."""

from collections import deque
from dataclasses import dataclass

KEPT = 256
"""Gaps kept one by one; beyond that the oldest are dropped, and stay in the sums."""


@dataclass(frozen=True, slots=True)
class Gap:
    """One gap: interface, start and end in ns since the epoch by the system's clock, and reason."""

    interface: str
    start: int
    end: int
    reason: str


class Gaps:
    """Records the gaps of one interface."""

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
        """True if there is a gap now."""
        return self._start is not None

    @property
    def reason(self) -> str:
        """The reason for the present gap; "": there is none."""
        return self._reason if self.is_open else ""

    def ns(self, now: int) -> int:
        """Return the length of all gaps (ns), including one still open."""
        return self._ns + (0 if self._start is None else max(0, now - self._start))

    def begin(self, now: int, reason: str) -> None:
        """Start a gap now; for a gap already open only the reason changes."""
        self._reason = reason
        if self._start is None:
            self._start, self.count = now, self.count + 1

    def end(self, now: int) -> None:
        """End the gap, if there is one."""
        if self._start is not None:
            gap = Gap(self._interface, self._start, max(now, self._start), self._reason)
            self.kept.append(gap)
            self._ns += gap.end - gap.start
            self._start = None
