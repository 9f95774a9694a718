"""The pace: each worker's current packet rate and loss, from the counts in its heartbeats."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

SPAN_S = 10.0
"""Averaging interval of the current rate: a burst of one second is not a rate."""
_STEP_S = 1.0  # between two counts that are kept
_STALE_S = 5.0


class Pace(NamedTuple):
    """The rate and loss of one worker over the last seconds."""

    packets_per_second: float
    """For a capture, as the kernel counted them, lost ones included."""
    loss: float | None
    """Fraction lost in the ring or by the card, 0.0 to 1.0; None: it is no capture, or no packets arrived."""
    is_capture: bool


class _Count(NamedTuple):
    is_capture: bool
    at: float
    packets: int
    came: int
    lost: int


@dataclass(slots=True)
class _Counts:
    incarnation: int
    kept: deque[_Count] = field(default_factory=lambda: deque(maxlen=int(SPAN_S / _STEP_S) + 1))


def loss(counters: Mapping[str, int]) -> float | None:
    """Return the fraction of arrived packets lost in the ring or by the card; None: no capture, or none arrived."""
    came, lost = _came(counters)
    return lost / came if came else None


def _came(counters: Mapping[str, int]) -> tuple[int, int]:
    """Return how many packets arrived at a capture, and how many of them were lost."""
    nic = counters.get("nic_drops", 0)
    return counters.get("kernel_packets", 0) + nic, counters.get("ring_drops", 0) + nic


class Paces:
    """The paces of workers by name; at most one per member."""

    def __init__(self) -> None:
        self._workers: dict[str, _Counts] = {}

    def note(self, name: str, incarnation: int, packets: int, counters: Mapping[str, int], now: float) -> None:
        """Record a worker's packets and counters, both counted since it began, at time `now` (s)."""
        worker = self._workers.get(name)
        if worker is None or worker.incarnation != incarnation:
            worker = self._workers[name] = _Counts(incarnation)
        if not worker.kept or now - worker.kept[-1].at >= _STEP_S:
            came, lost = _came(counters)
            packets = counters.get("kernel_packets", packets)
            worker.kept.append(_Count("kernel_packets" in counters, now, packets, came, lost))

    def of(self, name: str, now: float) -> Pace | None:
        """Return the pace of a worker at time `now` (s); None: too few or no recent counts."""
        kept = list(self._workers[name].kept) if name in self._workers else []
        if len(kept) < 2 or now - kept[-1].at >= _STALE_S:
            return None
        since = next(each for each in kept if kept[-1].at - each.at <= SPAN_S)
        first, last = (since, kept[-1]) if since is not kept[-1] else (kept[-2], kept[-1])
        came = last.came - first.came
        rate = max(last.packets - first.packets, 0) / (last.at - first.at)
        return Pace(rate, (last.lost - first.lost) / came if came > 0 else None, last.is_capture)
