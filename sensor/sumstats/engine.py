"""SumStats on a worker: several definitions, each with its open epoch, all on the packet clock.

What happens comes back in order as `Crossings` and `EpochEnd`. It depends on the observations and the clock alone, not
on how they were cut into batches, as long as `advance` is called after the observations made up to that time.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from sensor.hash import new_key
from sensor.sumstats.definition import Definition
from sensor.sumstats.epochs import Epochs
from sensor.sumstats.partial import Partial
from sensor.sumstats.query import Selection
from sensor.sumstats.series import MOST_EPOCHS, Series
from sensor.sumstats.store import Crossed
from sensor.sumstats.window import Window


@dataclass(frozen=True, slots=True)
class Crossings:
    """Keys that reached levels of the threshold in one epoch, in order of time."""

    sumstat: str
    epoch: int
    at: np.ndarray
    """Which observation of the batch did it, level by level (int64, ascending)."""
    ts: np.ndarray
    """Its time (int64)."""
    level: np.ndarray
    """Which level it reached (int64, from 0)."""
    value: np.ndarray
    """By which value (float64)."""
    partial: Partial
    """Each key as it was in the window right after that observation."""


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """An epoch (where windows hop, a pane) is over on this worker: one each time that it enters another."""

    sumstat: str
    epoch: int
    following: int
    """The epoch that it has entered: nothing was observed in those between."""
    start: int
    end: int
    """Where it ended: its full length, or where input ended or the epoch was ended by hand."""
    partial: Partial
    """All its keys; none where nothing was observed."""
    lost: int = 0
    """Observations that are not in it, or not wholly, for want of room."""
    restarts: bool = False
    """The clock restarts: what follows has nothing to do with what came before."""


@dataclass(frozen=True, slots=True)
class EpochEnds:
    """Epochs with few keys each that were over one after the other."""

    sumstat: str
    series: Series
    following: int
    """The epoch that was entered after the last of them; nothing was observed between any two."""
    start: int
    """Where the first of them begins."""

    def singly(self) -> Iterator[EpochEnd]:
        """Each of them."""
        length, epochs = self.series.definition.pane_ns, self.series.epochs.tolist()
        columns = self.series.partials(), epochs, [*epochs[1:], self.following]
        for partial, epoch, following in zip(*columns, strict=True):
            start = self.start + (epoch - epochs[0]) * length
            yield EpochEnd(self.sumstat, epoch, following, start, start + length, partial)

    def halves(self) -> "tuple[EpochEnds, EpochEnds]":
        """The first of them, and the others; there must be two."""
        middle, epochs = len(self.series) // 2, self.series.epochs
        following, length = int(epochs[middle]), self.series.definition.pane_ns
        start = self.start + (following - int(epochs[0])) * length
        return (
            EpochEnds(self.sumstat, self.series.part(0, middle), following, self.start),
            EpochEnds(self.sumstat, self.series.part(middle, len(epochs)), self.following, start),
        )


Happening = Crossings | EpochEnd | EpochEnds

_FEW = 64
"""Observations of an epoch that need not be reduced by themselves."""

_MANY = 4096
"""Observations that are reduced at once, where none of their epochs has more than a few."""


class _Open:
    """The open epoch of one definition."""

    def __init__(self, definition: Definition, secret: np.ndarray, members: int, percent: float) -> None:
        self._definition = definition
        self._late = 0
        self.window = Window(definition, secret, members, percent)
        self._epochs = Epochs(definition.pane_ns)
        self.index, self._start, self.now = -1, 0, 0
        self._is_open = False

    @property
    def counters(self) -> dict[str, int]:
        return {**self.window.counters, "late": self._late}

    def start(self, now: int, *, numbers_on: bool) -> list[EpochEnd]:
        """End what is open where the clock was last, and begin again at `now`; `numbers_on`: by later numbers."""
        length, following = self._definition.pane_ns, self.index + 1
        if length:
            following = max(following, now // length) if numbers_on else now // length
        epochs = Epochs(length, following - now // length if length else 0)
        ended = [replace(end, restarts=True) for end in self.close(self.now, following)]
        self.window.enter(following)
        self._epochs, self.now = epochs, now
        self.index, self._is_open = following, True
        self._start = epochs.start(following) if self._definition.pane_ns else now
        return ended

    @property
    def entered(self) -> int:
        return self.index + (not self._is_open)

    def start_of(self, epoch: int) -> int:
        return self._epochs.start(epoch) if self._definition.pane_ns else self._start

    def observe(
        self,
        keys: np.ndarray,
        ts: np.ndarray,
        values: Mapping[str, np.ndarray | None],
        applies: Mapping[str, np.ndarray | None],
        seen: np.ndarray,
    ) -> list[Happening]:
        happened: list[Happening] = []
        edges, epochs, at = *self._edges(ts), 0
        while at < len(edges) - 1:
            stop = self._few(edges, at)
            part = slice(edges[at], edges[stop])
            happened += self.advance(int(ts[part.start]))
            own = {name: array if array is None else array[part] for name, array in values.items()}
            masks = {name: mask if mask is None else mask[part] for name, mask in applies.items()}
            if stop > at + 1:
                passed = self.window.observe_many(keys[part], seen[part], own, masks, epochs[part])
                happened.append(self._pass(passed, int(epochs[part.stop]), ts[part]))
            else:
                crossed = self.window.observe(keys[part], seen[part], own, masks)
                self.now = max(self.now, int(ts[part.stop - 1]))
                if len(crossed.at):
                    happened.append(self._crossing(crossed, part.start + crossed.at, ts))
            at = stop
        return happened

    def _crossing(self, crossed: Crossed, at: np.ndarray, ts: np.ndarray) -> Crossings:
        name = self._definition.name
        return Crossings(name, self.index, at, ts[at], crossed.level, crossed.value, crossed.partial)

    def _edges(self, ts: np.ndarray) -> tuple[list[int], np.ndarray]:
        """Return where the observations of each epoch begin, and the end; and the epoch of each observation.

        What is late for the open epoch is counted in that.
        """
        edges, epochs = [0, len(ts)] if len(ts) else [0], np.empty(0, np.int64)
        if not self._definition.pane_ns or not len(ts):
            return edges, epochs
        if self._epochs.index(int(ts.max())) == self._epochs.index(int(ts.min())) >= self.index:
            return edges, epochs
        indices = self._epochs.indices(ts)
        open_then = np.maximum(np.maximum.accumulate(indices), self.index)
        self._late += int(np.count_nonzero(indices < open_then))
        return [0, *(np.flatnonzero(np.diff(open_then)) + 1).tolist(), len(ts)], open_then

    def _few(self, edges: list[int], at: int) -> int:
        """Up to which edge the epochs are so small that they are reduced at once: neither the first nor the last."""
        stop, last = at, min(len(edges) - 2, at + MOST_EPOCHS)
        if at and self.window.takes_many:
            while stop < last and edges[stop + 1] - edges[stop] <= _FEW and edges[stop + 1] - edges[at] <= _MANY:
                stop += 1
        return max(stop, at + 1)

    def _pass(self, passed: Series, following: int, ts: np.ndarray) -> EpochEnds:
        """Go on to another epoch, having gone through some; `ts`: the times of what was observed in them."""
        ended = EpochEnds(self._definition.name, passed, following, self._start)
        self.window.passed(passed, following)
        self.index, self._start = following, self._epochs.start(following)
        self.now = max(self.now, int(ts.max()))
        return ended

    def advance(self, now: int) -> list[EpochEnd]:
        """End the epoch if `now` is past it, and enter the one that `now` lies in."""
        self.now = max(self.now, now)
        if not self._definition.pane_ns or self._epochs.index(now) <= self.index:
            return []
        following = self._epochs.index(now)
        ended = self.close(self._epochs.start(self.index + 1), following)
        self.index, self._start, self._is_open = following, self._epochs.start(following), True
        return ended

    def close(self, end: int, following: int) -> list[EpochEnd]:
        """End the epoch that is open, if any."""
        if not self._is_open:
            return []
        self._is_open = False
        partial, lost = self.window.hop(following)
        return [EpochEnd(self._definition.name, self.index, following, self._start, end, partial, lost)]

    def enter(self, epoch: int) -> None:
        if not self._definition.epoch_ns:
            self.index = max(self.index, epoch)

    def next(self, now: int) -> list[EpochEnd]:
        if self._definition.epoch_ns:
            raise ValueError(f"the epochs of {self._definition.name} end by the clock, not by hand")
        ended = self.close(now, self.index + 1)
        self.index, self._start, self._is_open = self.index + 1, now, True
        return ended

    def finish(self, now: int) -> list[EpochEnd]:
        """End what is open, for good: at the end of its full length at most."""
        return [*self.advance(now), *self.close(now, self.index + 1)]

    def silence(self, keys: np.ndarray, until: int) -> None:
        """Count these keys no more until the first epoch that begins at `until` (ns) or later."""
        since = self._epochs.index(until - 1) if self._definition.pane_ns else self.index
        self.window.silence(keys, since + 1)


class SumStats:
    """All SumStats of a worker. Call `start` first.

    Epochs are cut and numbered from 1970 on, so that all nodes agree. Where the clock begins anew, those of nodes that
    are `in_step`, whose clocks all do so at once, are numbered on, so that no number stands for two.
    `members` is how many observe. What one alone reports as `Crossings` are just that; of several, that a key has grown
    by its share of its first level (or to `percent` of it, where a value may fall as well); with 0, nothing is reported
    before an epoch's end.
    """

    def __init__(
        self,
        definitions: Iterable[Definition],
        *,
        in_step: bool = False,
        secret: np.ndarray | None = None,
        members: int = 1,
        percent: float = 0.2,
    ) -> None:
        secret = new_key() if secret is None else secret
        self._in_step = in_step
        self._open = {definition.name: _Open(definition, secret, members, percent) for definition in definitions}

    @property
    def counters(self) -> dict[str, dict[str, int]]:
        """Of each SumStat: those of its `Store`, and `late`, observations from before the open epoch."""
        return {name: each.counters for name, each in self._open.items()}

    def start(self, now: int) -> list[EpochEnd]:
        """Begin at the first time of the packet clock, and again where it restarts: what is open is over."""
        return [end for each in self._open.values() for end in each.start(now, numbers_on=self._in_step)]

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
        return self._open[sumstat].observe(keys, ts, values, applies or {}, ts if seen is None else seen)

    def advance(self, now: int) -> list[EpochEnd]:
        """End the epochs that the packet clock has passed, after all observations up to `now` were given."""
        return [end for each in self._open.values() for end in each.advance(now)]

    def next_epoch(self, sumstat: str, now: int) -> list[EpochEnd]:
        """End the epoch of a SumStat whose epochs end by hand; ValueError if they do not."""
        return self._open[sumstat].next(now)

    def enter(self, sumstat: str, epoch: int) -> None:
        """Let the open epoch of a SumStat whose epochs end by hand be that one, unless it is a later one."""
        self._open[sumstat].enter(epoch)

    def finish(self, now: int) -> list[EpochEnd]:
        """End what is open: there is no more input."""
        return [end for each in self._open.values() for end in each.finish(now)]

    def epoch(self, sumstat: str) -> int:
        """Return which epoch (where windows hop, pane) of a SumStat is open."""
        return self._open[sumstat].index

    def entered(self, sumstat: str) -> int:
        """Which epoch is open; where none is, before the first and after the last, the one that would be next."""
        return self._open[sumstat].entered

    def start_of(self, sumstat: str, epoch: int) -> int:
        """Return where an epoch begins (ns); of those that end by hand, only that of the open one is known."""
        return self._open[sumstat].start_of(epoch)

    def now(self, sumstat: str) -> int:
        """The time (ns) that a SumStat has come to."""
        return self._open[sumstat].now

    def answer(self, sumstat: str, selection: Selection) -> Partial:
        """Return what is known of some keys in the open window."""
        return self._open[sumstat].window.answer(selection)

    def measure(self, sumstat: str, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which keys (uint64, (m, words)) are known in the open window (bool), and by which value each of those."""
        return self._open[sumstat].window.measure(keys)

    def view(self, sumstat: str, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, Partial]:
        """Which keys (uint64, (m, words)) are known in the open window (bool), by which value, and what of each."""
        return self._open[sumstat].window.view(keys)

    def silence(self, sumstat: str, keys: np.ndarray, until: int) -> None:
        """Count keys (uint64, (m, key_words)) no more until the first epoch that begins at a time (int64 ns) or later.

        For those whose alert is suppressed until then: they cost no more than a look-up.
        """
        self._open[sumstat].silence(keys, until)
