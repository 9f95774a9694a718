"""The workload: what a simulated cluster observes and judges, small and rich enough to go wrong in many ways.

Keys are few and skewed, so that some reach their levels only by what several workers have seen together. Each
observation also adds a power of `WORKERS_BASE` that tells its worker: a sum of these says how many of whose are in it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random

import numpy as np

from sensor.clock import SECOND
from sensor.sumstats import Happening, SumStats
from tools.simulation.detections import definitions

PACE = 180 * SECOND
"""Nanoseconds of the packet clock in one second of virtual time: an epoch takes ten seconds, a suppression twenty."""
WORKERS_BASE = 1024
MOST_WORKERS = 8
"""So many powers of `WORKERS_BASE` add up without rounding: a SUM is exact to about 106 bits."""

_STEP = 3 * 3600 * SECOND
_SPANS = 1.25  # epochs, at least
_LINE = 900 * SECOND
"""All epochs and panes are whole multiples of it long."""


def names(workers: int) -> list[str]:
    """The workers' names."""
    return [f"worker-{at + 1}" for at in range(workers)]


def number(name: str) -> int:
    """Which of the workers has that name, from 0."""
    return int(name.rpartition("-")[2]) - 1


@dataclass(frozen=True)
class Observations:
    """Observations in order of time, as columns."""

    ts: np.ndarray
    """int64 ns."""
    key: np.ndarray
    amount: np.ndarray
    element: np.ndarray
    worker: np.ndarray
    """Which worker sees it, from 0."""

    def __len__(self) -> int:
        return len(self.ts)

    def where(self, chosen: np.ndarray | slice) -> "Observations":
        """Some of them."""
        return Observations(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def earlier(self, by: int) -> "Observations":
        """The same, so many nanoseconds earlier."""
        return replace(self, ts=self.ts - by) if by else self

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """What reducers take, by their names."""
        by = float(WORKERS_BASE) ** self.worker.astype(np.float64)
        return {"total": self.amount, "by": by, "hosts": self.element.astype(np.uint64)[:, np.newaxis]}


@dataclass(frozen=True)
class Workload:
    """What all workers together are to observe, cut into blocks."""

    observations: Observations
    edges: Sequence[int]
    """Where blocks begin and end (ns): the packet clock comes to each, whoever has observed something."""
    restart: int | None = None
    """Which block begins with packet time stepping back; all other times in here go on as if it had not."""
    skews: dict[int, int] = field(default_factory=dict)
    """By worker: how far (ns) its packet clock is ahead of `edges`, or behind. Times of observations say it already."""

    @property
    def start(self) -> int:
        """The first time of the packet clock."""
        return self.edges[0]

    @property
    def earliest(self) -> int:
        """The first time of the clock that is furthest behind."""
        return self.edges[0] + min(0, *self.skews.values(), 0)

    @property
    def latest(self) -> int:
        """The last time of the clock that is furthest ahead."""
        return self.edges[-1] + max(0, *self.skews.values(), 0)

    @property
    def length_s(self) -> float:
        """How long it takes in virtual time."""
        return (self.edges[-1] - self.edges[0]) / PACE

    def shift(self, block: int) -> int:
        """By how much (ns) packet time has stepped back in a block."""
        return _STEP if self.restart is not None and block >= self.restart else 0

    def stepping_back(self, random: Random) -> "Workload":
        """The same, but that its packet time steps back by hours somewhere."""
        return replace(self, restart=random.randrange(1, len(self.edges) - 1))

    def shared_with(self, worker: int, since: int, random: Random) -> "Workload":
        """The same, but that another worker sees some of what is observed from some time (ns) on."""
        own = self.observations
        is_its = np.array([random.random() < 0.3 for _ in range(len(own))]) & (own.ts >= since)
        return replace(self, observations=replace(own, worker=np.where(is_its, worker, own.worker)))

    def skewed(self, skews: dict[int, int]) -> "Workload":
        """The same, but that the packet clocks of some workers differ by so much (ns)."""
        own = self.observations
        late = replace(own, ts=own.ts + np.array([skews.get(worker, 0) for worker in own.worker.tolist()], np.int64))
        return replace(self, observations=late.where(np.argsort(late.ts, kind="stable")), skews=skews)

    def edges_of(self, worker: int) -> list[int]:
        """Where blocks begin and end by the packet clock (ns) of a worker."""
        return [edge + self.skews.get(worker, 0) for edge in self.edges]

    def first_block(self, now: float) -> int:
        """Which block begins next at a virtual time (s)."""
        at = int(np.searchsorted(np.array(self.edges), self.start + int(now * PACE)))
        return min(at, len(self.edges) - 1)

    def panes(self, length: int) -> np.ndarray:
        """The pane of each observation (int64), of panes so long (ns), numbered on where packet time steps."""
        panes: np.ndarray = self.observations.ts // length
        if self.restart is not None:
            at, shift = self.edges[self.restart], self.shift(self.restart)
            again = self.first_again(length) + (self.observations.ts - shift) // length - (at - shift) // length
            panes = np.where(self.observations.ts < at, panes, again)
        return panes

    def first_again(self, length: int) -> int:
        """The first pane after packet time has stepped back; one that never comes, if it does not."""
        return self.edges[self.restart] // length + 1 if self.restart is not None else 1 << 62

    def blocks(self, worker: int) -> list[Observations]:
        """The observations of a worker, block by block; those of a block have its end's time at most."""
        own = self.observations.where(self.observations.worker == worker)
        places = np.searchsorted(own.ts, np.array(self.edges_of(worker)), side="left").tolist()
        return [own.where(slice(*places[at : at + 2])) for at in range(len(self.edges) - 1)]


def observe(engine: SumStats, observations: Observations, names: tuple[str, ...]) -> Iterator[Happening]:
    """Give observations to the SumStats of some detections; what happens."""
    keys, columns = observations.key[:, np.newaxis], observations.columns
    for definition in definitions(names).values():
        values = {each.name: columns[each.name] for each in definition.reducers}
        yield from engine.observe(definition.name, keys, observations.ts, values)


def draw(random: Random, workers: int) -> Workload:
    """A workload for so many workers."""
    length = round((_SPANS + random.random() * 0.75) * 10 * PACE)
    start = (1_888_880 + random.randrange(200)) * _LINE + random.choice([0, random.randrange(_LINE)])
    edges = [start]
    while edges[-1] < start + length:
        edges.append(edges[-1] + round(random.uniform(4, 8) * PACE))
    rows = [_row(random, start, edges[-1], workers) for _ in range(random.randint(60, 120))]
    rows.sort()
    ts, key, amount, element, worker = (np.array(column) for column in zip(*rows, strict=True))
    return Workload(Observations(ts, key.astype(np.uint64), amount.astype(np.float64), element, worker), edges)


def _row(random: Random, start: int, end: int, workers: int) -> tuple[int, int, int, int, int]:
    at = random.randrange(start, end)
    if random.random() < 0.2:  # some come together, and on the line between epochs
        at = min(max(start, at - at % _LINE), end - 1)
    key = min(int(random.expovariate(0.45)), 9) + 1
    element = min(int(random.expovariate(0.12)), 30)
    return at, key, random.randint(1, 4), element, random.randrange(workers)
