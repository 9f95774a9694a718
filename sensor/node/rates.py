"""Rates: counters and a time go in, and a record of rates and totals comes out for each second that is over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sensor.clock import rfc3339
from sensor.cluster.messages import Counts
from sensor.counters import CATALOGUE
from sensor.outputs.stats import Stats, Tally

EVERY_S = 1.0

QUEUE_DROPS = tuple(name for name, each in CATALOGUE.items() if each.loss == "engine")
"""Counters of what was lost behind the decoder; a node tells of those that it has."""

_CAPTURE = ("kernel_packets", "packets_delivered", "ring_drops", "nic_drops")


@dataclass(frozen=True, slots=True)
class Totals:
    """The counts of a node since its start."""

    single: Mapping[str, int]
    """By the name of the field of `Stats`."""
    refused: Mapping[str, int] = field(default_factory=dict)
    queue_drops: Mapping[str, int] = field(default_factory=dict)


def totals(counts: Counts, alerts: int = 0, more: Mapping[str, int] | None = None) -> Totals:
    """The totals of one worker, or of all together; `more` counters are the node's own."""
    counters = {**counts.counters, **(more or {})}
    single = {name: counters.get(name, 0) for name in _CAPTURE}
    single |= {"bytes": counts.bytes, "flows": counts.flows, "observations": counts.observations, "alerts": alerts}
    queue_drops = {name: counters[name] for name in QUEUE_DROPS if name in counters}
    return Totals(single, counts.refused, queue_drops)


class Accounts:
    """Makes the records of one run. Times are seconds of a clock that never goes back."""

    def __init__(self, now: float, every_s: float = EVERY_S) -> None:
        self._then, self._every_s = now, every_s
        self._last = Totals({})

    def is_due(self, now: float) -> bool:
        """Return whether a second is over; counting before that is not needed."""
        return now - self._then >= self._every_s

    def close(self, found: Totals, now: float, time_ns: int, hints: Sequence[str] = ()) -> Stats:
        """The record of the time since the last one, however long: after a pause there is one for all of it."""
        seconds, last = max(now - self._then, 0.0), self._last
        self._then, self._last = now, found
        single: dict[str, Any] = _tallies(found.single, last.single, seconds)
        return Stats(
            time=rfc3339(time_ns),
            seconds=round(seconds, 6),
            refused=_tallies(found.refused, last.refused, seconds),
            queue_drops=_tallies(found.queue_drops, last.queue_drops, seconds),
            hints=list(hints),
            **single,
        )


def _tallies(now: Mapping[str, int], last: Mapping[str, int], seconds: float) -> dict[str, Tally]:
    return {name: Tally(total, _rate(total - last.get(name, 0), seconds)) for name, total in now.items()}


def _rate(more: int, seconds: float) -> float:
    """Return the rate a second; a total that fell comes of restarted workers, and gives none."""
    return round(max(more, 0) / seconds, 3) if seconds else 0.0
