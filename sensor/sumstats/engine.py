"""SumStats on a worker: several definitions, each with its open epoch, all on the packet clock.

What happens comes back in order as `Crossing` and `EpochEnd`. It depends on the observations and the clock alone, not
on how they were cut into batches, as long as `advance` is called after the observations made up to that time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sensor.hash import new_key
from sensor.sumstats.definition import Definition
from sensor.sumstats.epochs import Epochs
from sensor.sumstats.partial import Partial
from sensor.sumstats.store import Store


@dataclass(frozen=True, slots=True)
class Crossing:
    """Keys that crossed the thresholds in one epoch, in order of time."""

    sumstat: str
    epoch: int
    at: np.ndarray
    """Which observation of the batch did it, key by key (int64, ascending)."""
    ts: np.ndarray
    """Its time (int64)."""
    partial: Partial
    """Each key as it was right after that observation."""


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """An epoch in which anything was observed is over on this worker; there is one a SumStat an epoch."""

    sumstat: str
    epoch: int
    start: int
    end: int
    """Where it ended: its full length, or where input ended or the epoch was ended by hand."""
    partial: Partial
    """All its keys."""


Happening = Crossing | EpochEnd


class _Window:
    """The open epoch of one definition."""

    def __init__(self, definition: Definition, secret: np.ndarray) -> None:
        self._definition = definition
        self._late = 0
        self._store = Store(definition, secret)
        self._epochs = Epochs(definition.epoch_ns, 0)
        self._index, self._start, self._now = -1, 0, 0

    @property
    def counters(self) -> dict[str, int]:
        return {**self._store.counters, "late": self._late}

    def start(self, now: int, origin: int | None) -> list[EpochEnd]:
        """End what is open where the clock was last, and begin again at `now`, in epochs cut from `origin` or there."""
        ended = self.close(self._now)
        self._now = self._start = now
        if not self._definition.epoch_ns:
            return ended
        self._epochs = Epochs(self._definition.epoch_ns, now, self._index)
        if origin is not None:
            self._epochs = Epochs(self._definition.epoch_ns, origin)
            self._enter(self._epochs.index(now))
        return ended

    def observe(
        self,
        keys: np.ndarray,
        ts: np.ndarray,
        values: Mapping[str, np.ndarray | None],
        applies: Mapping[str, np.ndarray | None],
        seen: np.ndarray,
    ) -> list[Happening]:
        happened: list[Happening] = []
        for part in self._parts(ts):
            happened += self.advance(int(ts[part.start]))
            own = {name: array if array is None else array[part] for name, array in values.items()}
            masks = {name: mask if mask is None else mask[part] for name, mask in applies.items()}
            crossed = self._store.observe(keys[part], seen[part], own, masks)
            self._now = max(self._now, int(ts[part.stop - 1]))
            if len(crossed.at):
                at = part.start + crossed.at
                happened.append(Crossing(self._definition.name, self._index, at, ts[at], crossed.partial))
        return happened

    def _parts(self, ts: np.ndarray) -> list[slice]:
        """The runs of observations of one epoch; what is late for the open epoch is counted in that."""
        if not self._definition.epoch_ns or not len(ts):
            return [slice(0, len(ts))] if len(ts) else []
        indices = self._epochs.indices(ts)
        open_then = np.maximum(np.maximum.accumulate(indices), self._index)
        self._late += int(np.count_nonzero(indices < open_then))
        edges = [0, *(np.flatnonzero(np.diff(open_then)) + 1).tolist(), len(ts)]
        return [slice(start, end) for start, end in pairwise(edges)]

    def advance(self, now: int) -> list[EpochEnd]:
        """End the epoch if `now` is past it, and enter the one that `now` lies in."""
        self._now = max(self._now, now)
        if not self._definition.epoch_ns or self._epochs.index(now) <= self._index:
            return []
        ended = self.close(self._epochs.start(self._index + 1))
        self._enter(self._epochs.index(now))
        return ended

    def close(self, end: int) -> list[EpochEnd]:
        """End the epoch, in silence if nothing was observed in it; the next begins there."""
        ended = []
        if len(self._store):
            ended = [EpochEnd(self._definition.name, self._index, self._start, end, self._store.partial())]
        self._store.clear()
        self._index, self._start = self._index + 1, end
        return ended

    def next(self, now: int) -> list[EpochEnd]:
        if self._definition.epoch_ns:
            raise ValueError(f"the epochs of {self._definition.name} end by the clock, not by hand")
        return self.close(now)

    def _enter(self, index: int) -> None:
        self._index, self._start = index, self._epochs.start(index)


class SumStats:
    """All SumStats of a worker. Call `start` first.

    `origin` is where epochs are cut from: 0 live, so that all nodes agree; None on replay, which is where `start` says.
    """

    def __init__(
        self, definitions: Iterable[Definition], *, origin: int | None = None, secret: np.ndarray | None = None
    ) -> None:
        secret = new_key() if secret is None else secret
        self._origin = origin
        self._windows = {definition.name: _Window(definition, secret) for definition in definitions}

    @property
    def counters(self) -> dict[str, dict[str, int]]:
        """Of each SumStat: those of its `Store`, and `late`, observations from before the open epoch."""
        return {name: window.counters for name, window in self._windows.items()}

    def start(self, now: int) -> list[EpochEnd]:
        """Begin at the first time of the packet clock, and again where it restarts: what is open is over."""
        return [end for window in self._windows.values() for end in window.start(now, self._origin)]

    def observe(
        self,
        sumstat: str,
        keys: np.ndarray,
        ts: np.ndarray,
        values: Mapping[str, np.ndarray | None],
        applies: Mapping[str, np.ndarray | None] | None = None,
        *,
        seen: np.ndarray | None = None,
    ) -> list[Happening]:
        """Apply observations, in order of time (int64 ns of the packet clock), to one SumStat; see `Store.observe`.

        seen: what results give as begin and end, where that is another time than the one that epochs go by.
        """
        return self._windows[sumstat].observe(keys, ts, values, applies or {}, ts if seen is None else seen)

    def advance(self, now: int) -> list[EpochEnd]:
        """End the epochs that the packet clock has passed, after all observations up to `now` were given."""
        return [end for window in self._windows.values() for end in window.advance(now)]

    def next_epoch(self, sumstat: str, now: int) -> list[EpochEnd]:
        """End the epoch of a SumStat whose epochs end by hand; ValueError if they do not."""
        return self._windows[sumstat].next(now)

    def finish(self, now: int) -> list[EpochEnd]:
        """End what is open: there is no more input."""
        return self.advance(now) + [end for window in self._windows.values() for end in window.close(now)]
