"""The history: what befell the workers of a run, by which the names in `missing` are justified.

Packet time is that of the input as it was drawn, which never steps back; virtual time is that of the run.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from math import inf


@dataclass
class History:
    """What may have cost a worker an epoch."""

    away: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    """By worker: from when to when (virtual s) a manager that was there had no connection to it."""
    gaps: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    """By worker: between which packet times (ns) what it saw may be lost, or it saw nothing."""
    given_up: set[tuple[str, int, str]] = field(default_factory=set)
    """SumStat, epoch and worker of results that found no room in its spool."""
    admitted: dict[str, float] = field(default_factory=dict)
    """When (virtual s) it was first durable that a worker has joined that was not waited for."""
    removed: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By worker: up to where something is missing for its being removed, at most: how often packet time had stepped
    back, and the packet clock (ns)."""
    died: dict[str, int] = field(default_factory=dict)
    """The workers that were killed, with the last epoch ending by hand that one had open then; -1: there are none."""
    told: dict[tuple[str, int], float] = field(default_factory=dict)
    """By SumStat and epoch: when (virtual s) its result was first told."""
    _away_since: dict[str, float] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)
    _lost_since: dict[str, float] = field(default_factory=dict)

    def gone(self, name: str, now: float) -> None:
        """A manager begins to wait for a worker, or has lost its connection."""
        self.back(name, now)
        self._away_since[name] = now

    def back(self, name: str, now: float) -> None:
        """It has said hello."""
        if name in self._away_since:
            self.away[name].append((self._away_since.pop(name), now))

    def is_first_and_late(self, name: str) -> bool:
        """Whether it says hello for the first time, and others have said something by then."""
        is_late = name not in self._known and bool(self._known)
        self._known.add(name)
        return is_late

    def lost(self, name: str, safe: float) -> None:
        """It is dead, and what it saw from a packet time on may be lost with it."""
        self._lost_since[name] = min(safe, self._lost_since.get(name, safe))

    def begun(self, name: str, place: float) -> None:
        """It observes again, from a packet time on."""
        if name in self._lost_since:
            self.gaps[name].append((self._lost_since.pop(name), place))

    def finish(self, step: int) -> None:
        """The run is over: what is away, or lost, stays so. `step`: how far (ns) packet time steps back, if at all."""
        for name, since in self._away_since.items():
            self.away[name].append((since, inf))
        for name in list(self._lost_since):
            run, clock = self.removed.get(name, (0, inf))
            self.begun(name, clock + max(run, 0) * step)
