"""One epoch of one SumStat on one node: the state of every key, fed by observations or by merging what others know.

Observations are applied in order, kernel by kernel, a chunk at a time. Each kernel notes the state right after every
observation, so the crossings, and the state of the key at that very observation, do not depend on the batches. A
column that cannot go back to what it noted is rehearsed on a copy of the rows that the chunk touches, and then applied
up to each crossing in turn.

When there is no room for another key, the lightest quarter of the keys makes it: those furthest from their first level,
or, where there is no threshold, those least observed.
"""

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from sensor._jit import njit
from sensor.sumstats.calculation import HEADER, Arrays, RowBatch, Setting, checked, checked_counts
from sensor.sumstats.definition import Definition
from sensor.sumstats.judge import Judge, Memory
from sensor.sumstats.observation_batch import Given
from sensor.sumstats.partial import Partial, Result, joined, results
from sensor.sumstats.query import Selection
from sensor.sumstats.support import Rows, Support
from sensor.sumstats.table import Table

_CHUNK = 1 << 13
"""Observations whose intermediate arrays stay in the second-level cache. A chunk ends at a multiple of it, counted from
the first observation: what is done between chunks happens at the same observation however batches are cut."""

_IN_CACHE = 1 << 10
"""Rows whose records stay in the second-level cache while one field after the other is read."""


@njit
def _tally(headers, rows, ts, applies, after):
    """Count each observation in its row's header; if `after` is not empty, copy the header there as it goes."""
    watch = after.shape[0] > 0
    for i in range(rows.shape[0]):
        row = rows[i]
        if row < 0:
            continue
        header = headers[row]
        if applies[i]:
            header["num"] += 1
            header["begin"] = min(header["begin"], ts[i])
            header["end"] = max(header["end"], ts[i])
        if watch:
            after[i] = header


@njit
def _merge_headers(headers, rows, other):
    for i in range(rows.shape[0]):
        if rows[i] >= 0:
            into = headers[rows[i]]
            into["num"] += other[i]["num"]
            into["begin"] = min(into["begin"], other[i]["begin"])
            into["end"] = max(into["end"], other[i]["end"])


@dataclass(frozen=True, slots=True)
class Crossed:
    """The levels that fired, in order of the observations, and the lower before the higher."""

    at: np.ndarray
    """Which observation (or row, where rows were judged) fired it (int64, ascending)."""
    level: np.ndarray
    """Which level (int64)."""
    value: np.ndarray
    """What was compared with it (float64); where several reducers must reach theirs, the first one's."""
    partial: Partial
    """The key as it was right after that observation."""

    def take(self, definition: Definition, rows: np.ndarray) -> "Crossed":
        """Some of them, by number (int64)."""
        return Crossed(self.at[rows], self.level[rows], self.value[rows], self.partial.take(definition, rows))


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Some observations, with what was noted of them."""

    rows: np.ndarray
    batches: Mapping[str, RowBatch]
    values: Mapping[str, np.ndarray]
    headers: dict[str, np.ndarray]
    states: dict[str, Arrays]
    later: list[str]
    """The reducers whose columns do not remember, and are updated once it is known what crosses."""

    @classmethod
    def now(cls, rows: np.ndarray) -> "_Chunk":
        """No observations: some rows, each once, as they are."""
        return cls(rows, {}, {}, {}, {}, [])

    @property
    def is_now(self) -> bool:
        """True if it is that."""
        return not self.batches


class Store:
    """The states of all keys, in rows, in order of their first observation.

    `secret` keys the tables; no result depends on it. `memory` tells what is known of new keys from before. One that
    does not judge never fires a level.
    """

    def __init__(
        self,
        definition: Definition,
        secret: np.ndarray,
        *,
        judges: bool = True,
        memory: Memory | None = None,
    ) -> None:
        self.definition = definition
        self._judge = Judge(definition, definition.threshold if judges else None, memory)
        self._memory = memory
        room = definition.room
        self._setting = Setting(secret, room.sketch_key, room.column_bytes)
        self._table = Table(room.layout, room.rows, secret, stops=True)
        self._columns = {each.name: each.column(self._setting) for each in definition.reducers}
        self._headers: dict[str, np.ndarray] = {}
        self._observations, self._keys_evicted, self._observations_evicted = 0, 0, 0
        self._relieved, self._known_lost, self._capacity = 0, 0, -1
        self._unsettled: list[np.ndarray] = []
        self._resize(0)

    def __len__(self) -> int:
        """Return the number of keys."""
        return self._table.used

    @property
    def nbytes(self) -> int:
        """Memory held."""
        own = len(self) * self._judge.row_bytes
        return own + self._table.nbytes + sum(column.nbytes for column in self._columns.values())

    @property
    def counters(self) -> Counter[str]:
        """What was given, and what became of what is not in the results.

        `observations`; `keys_evicted` for want of room and the `observations_evicted` with them; `passed_over`,
        observations of keys with nothing more to say; `threshold_faults`; and those of the columns.
        """
        counts = Counter(
            observations=self._observations,
            keys_evicted=self._keys_evicted,
            observations_evicted=self._observations_evicted,
            passed_over=self._judge.passed_over,
            threshold_faults=self._judge.faults,
        )
        for column in self._columns.values():
            counts.update(column.counters)
        return counts

    def observe(
        self,
        keys: np.ndarray,
        ts: np.ndarray,
        values: Mapping[str, np.ndarray | None],
        applies: Mapping[str, np.ndarray | None] | None = None,
    ) -> Crossed:
        """Apply observations in order; give the crossings.

        `keys` is uint64 (n, key_words), `ts` int64 (n,). `values` has, for every reducer of each stream observed, what
        it takes: float64 (n,), where None counts each as 1, or uint64 (n, words). `applies` masks a stream (bool (n,)):
        where false, the observation leaves its reducers as they are. ValueError says what does not fit.
        """
        given = Given.check(self.definition, keys, ts, values, applies or {})
        parts, start = [], 0
        while start < len(ts):
            done, crossed = self._apply(given, start)
            parts += [crossed] if crossed else []
            start += done
        if not parts:
            return self._nothing
        return Crossed(
            np.concatenate([part.at for part in parts]),
            np.concatenate([part.level for part in parts]),
            np.concatenate([part.value for part in parts]),
            Partial.join([part.partial for part in parts]),
        )

    def merge(self, partial: Partial, wanted: np.ndarray | None = None) -> None:
        """Merge what another node knows, of all keys or of those `wanted` (bool, (m,)). ValueError: it is malformed."""
        self._check(partial)
        if wanted is not None and not wanted.all():
            partial = partial.take(self.definition, np.flatnonzero(wanted))
        for part in partial.parts(self.definition, _CHUNK):
            self._merge(part)

    def _check(self, partial: Partial) -> None:
        """Check what must be right before a partial can be cut into parts; the columns check their own."""
        keys = checked({"keys": partial.keys}, "keys", np.dtype(np.uint64), len(partial))
        if keys.shape[1:] != (self.definition.key_words,):
            raise ValueError(f"{self.definition.name}: keys of {keys.shape[1:]} words")
        for name in self.definition.streams:
            checked(partial.headers, name, HEADER, len(keys))
        for reducer in self.definition.reducers:
            states = partial.states.get(reducer.name, {})
            for name in reducer.flat:
                checked_counts(states, name, len(keys))

    def _merge(self, partial: Partial) -> None:
        keys = np.ascontiguousarray(partial.keys)
        left = np.ones(len(keys), np.bool_)
        while True:
            rows, done = self._find(keys, left)
            for name in self.definition.streams:
                _merge_headers(self._headers[name], rows, partial.headers[name])
            for name, column in self._columns.items():
                column.merge(rows, partial.states.get(name, {}))
                column.compact(rows)
            if done == len(keys):
                return
            left[:done] = False
            self._evict()

    def absorb(self, support: Support, counts: Callable[[Rows], np.ndarray] | None = None) -> None:
        """Apply what supports the keys that are held, of no other: all, or the rows that `counts` says (bool)."""
        for every in () if self.definition.keeps_history else support:  # history was applied as it came
            found = self.lookup(every.keys)
            taken = np.flatnonzero(found >= 0)
            rows, own = found[taken], every[taken]
            if counts is not None:
                is_counted = counts(own)
                rows, own = rows[is_counted], own[is_counted]
            for start in range(0, len(rows), _CHUNK):
                part = slice(start, start + _CHUNK)
                self._absorb(rows[part], own[part])

    def _absorb(self, rows: np.ndarray, own: Rows) -> None:
        batch = RowBatch(rows, own.ts, np.ones(len(rows), np.bool_))
        _tally(self._headers[own.stream], rows, own.ts, batch.applies, np.zeros(0, HEADER))
        for reducer in self.definition.streams[own.stream]:
            column = self._columns[reducer.name]
            column.update(batch, own.values[reducer.name], watch=False)
            column.compact(rows)

    def judge(self, rows: np.ndarray | None = None) -> Crossed:
        """Fire what some keys, or all, have reached by now and not fired; `at` tells which of the rows."""
        rows = np.arange(len(self)) if rows is None else rows
        at, level, value = self._crossings(rows.copy(), _Chunk.now(rows))
        crossed = Crossed(at, level, value, self.partial(rows[at]))
        if self._memory and len(at):
            self._memory.note(crossed.partial.keys, level)
        return crossed

    def partial(self, rows: np.ndarray | None = None) -> Partial:
        """The states of some keys, by row, or of all that still have something to say: a copy."""
        rows = np.flatnonzero(~self._judge.done(len(self))) if rows is None else rows
        headers = {name: np.empty(len(rows), HEADER) for name in self._headers}
        for start in range(0, len(rows), _IN_CACHE):  # the records of so many rows lie side by side
            part = slice(start, start + _IN_CACHE)
            for name, header in self._headers.items():
                headers[name][part] = header[rows[part]]
        states = {name: column.view(rows, column.measure(rows)) for name, column in self._columns.items()}
        return Partial(self._table.words[rows], headers, states)

    def results(self, rows: np.ndarray | None = None) -> list[Result]:
        """The results of some keys, or of all, by row."""
        return results(self.definition, self.partial(rows))

    def compared(self, rows: np.ndarray) -> np.ndarray:
        """What the levels of the threshold are compared with (of several reducers, the first one's value): float64."""
        nums = _total([header["num"][rows] for header in self._headers.values()])
        return self._judge.compared(nums, lambda name: self._value(name, rows, _Chunk.now(rows)))[0]

    def reached(self, rows: np.ndarray) -> np.ndarray:
        """Return how many levels of the threshold, from the lowest on, some rows are at or over now (int64)."""
        nums = _total([header["num"][rows] for header in self._headers.values()])
        return self._judge.reached(rows, nums, lambda name: self._value(name, rows, _Chunk.now(rows)))

    def nums(self, rows: np.ndarray) -> np.ndarray:
        """Return how many observations some rows have, all streams together (int64); -1: there is no such row."""
        nums, held = np.full(len(rows), -1), rows >= 0
        nums[held] = _total([header["num"][rows[held]] for header in self._headers.values()])
        return nums

    @property
    def keys(self) -> np.ndarray:
        """All keys, by row (uint64, (m, key_words)): a copy."""
        return self._table.words.copy()

    def lookup(self, keys: np.ndarray) -> np.ndarray:
        """The rows of keys (uint64, (m, key_words)); -1 where there is none."""
        return self._table.lookup(np.ascontiguousarray(keys))

    def select(self, selection: Selection) -> np.ndarray:
        """The rows that a query asks for (int64)."""
        if selection.is_key:
            rows = self.lookup(np.array([selection.value], np.uint64))
            return rows[rows >= 0]
        rows = np.flatnonzero(selection.matches(self._table.words) & ~self._judge.done(len(self)))
        if not selection.top:
            return rows
        values = self._value(selection.by, rows, _Chunk.now(rows))
        top: np.ndarray = rows[selection.first(values, self._table.words[rows])]
        return top

    def drop(self, keys: np.ndarray) -> None:
        """Forget some keys (uint64, (m, key_words)), not for want of room."""
        stays = np.ones(len(self), np.bool_)
        rows = self.lookup(keys)
        stays[rows[rows >= 0]] = False
        if not stays.all():
            self._compact()
            self._keep(stays)

    @property
    def evicted(self) -> int:
        """Keys that had to make room for others, ever."""
        return self._keys_evicted

    def refresh(self, keys: np.ndarray) -> None:
        """Ask again what is known of some keys from before."""
        rows = self.lookup(keys)
        self._judge.refresh(rows[rows >= 0], keys[rows >= 0])

    @property
    def lost(self) -> int:
        """Observations since the last `clear` that are not in the results, or not wholly, for want of room."""
        return self._lost_ever - self._known_lost

    @property
    def _lost_ever(self) -> int:
        return self._observations_evicted + self._refused

    @property
    def _refused(self) -> int:
        return sum(sum(column.counters.values()) for column in self._columns.values())

    def clear(self) -> None:
        """Forget all keys, and go on counting in the same room: the next epoch is likely to need as much."""
        self._known_lost = self._lost_ever
        self._unsettled.clear()
        self._judge.clear()
        self._table.clear()
        for column in self._columns.values():
            column.clear()
        self._resize(0)

    def _apply(self, given: Given, start: int) -> tuple[int, Crossed | None]:
        """Apply observations from `start` on, up to the end of the chunk or where there is no room; and how many."""
        end = start + _CHUNK - self._observations % _CHUNK
        masks = {name: mask[start:end] for name, mask in given.applies.items()}
        rows, done = self._find(given.keys[start:end], functools.reduce(np.logical_or, masks.values()))
        part = slice(start, start + done)
        rows = rows[:done]
        self._observations += done
        self._judge.pass_over(rows)
        crossed = None
        if (rows >= 0).any():
            crossed = self._take(rows, given.ts[part], {name: mask[:done] for name, mask in masks.items()}, given, part)
        if start + done < min(end, len(given.ts)):
            self._evict()
        elif self._observations % _CHUNK == 0:
            self._compact()
            self._relieve()
        return done, crossed

    def _take(
        self, rows: np.ndarray, ts: np.ndarray, masks: Mapping[str, np.ndarray], given: Given, part: slice
    ) -> Crossed | None:
        """Apply the observations whose rows were found; the crossings, if any."""
        watch = self._judge.threshold is not None
        batches = {stream: RowBatch(rows, ts, mask) for stream, mask in masks.items()}
        values = {name: array[part] for name, array in given.values.items()}
        chunk, later = _Chunk(rows, batches, values, {}, {}, []), []
        for stream, batch in batches.items():
            chunk.headers[stream] = np.zeros(len(rows) * watch, HEADER)
            _tally(self._headers[stream], rows, ts, batch.applies, chunk.headers[stream])
            for reducer in self.definition.streams[stream]:
                column = self._columns[reducer.name]
                if column.remembers:
                    chunk.states[reducer.name] = column.update(batch, values[reducer.name], watch=watch)
                else:
                    later.append(reducer.name)
        chunk.later.extend(later)
        at, level, value = self._crossings(rows, chunk)
        viewed = self._update_later(later, chunk, at)
        crossed = None
        if len(at):
            crossed = Crossed(part.start + at, level, value, self._view(rows[at], at, chunk, viewed))
            if self._memory:
                self._memory.note(crossed.partial.keys, level)
        self._unsettled.append(rows)
        return crossed

    def _compact(self) -> None:
        """Tidy up what was touched; at the ends of chunks, or else it would depend on how batches are cut."""
        rows = np.concatenate([np.empty(0, np.int64), *self._unsettled])
        self._unsettled.clear()
        for column in self._columns.values():
            column.compact(rows)

    def _rehearse(self, name: str, rows: np.ndarray, chunk: _Chunk) -> np.ndarray:
        """The values of a column that does not remember, before it is updated: after each observation of the chunk.

        Found out on a copy of the rows that may reach their next level within the chunk; NaN for the others.
        """
        reducer, column = self.definition.reducer(name), self._columns[name]
        batch, taken = chunk.batches[reducer.stream], chunk.values[name]
        own, local = np.unique(rows, return_inverse=True)
        added = np.bincount(local, weights=np.where(batch.applies & (chunk.rows >= 0), reducer.weights(taken), 0.0))
        num = self._headers[reducer.stream]["num"][own]
        may = self._judge.may_fire(own, name, reducer.ceiling(num, column.measure(own), added))
        if not may.any():
            return np.full(len(rows), np.nan)
        copied = np.where(may, np.cumsum(may) - 1, -1)
        copy = reducer.column(self._setting)
        copy.attach(np.full(int(may.sum()), column.empty))
        copy.merge(np.arange(int(may.sum())), column.view(own[may], column.measure(own[may])))
        batch = RowBatch(np.where(chunk.rows >= 0, copied[local], -1), batch.ts, batch.applies)
        values = reducer.values(chunk.headers[reducer.stream]["num"], copy.update(batch, taken, watch=True))
        return np.where(may[local], values, np.nan)

    def _update_later(self, names: list[str], chunk: _Chunk, at: np.ndarray) -> dict[str, Arrays]:
        """Update the columns that do not remember, crossing by crossing; their views at each."""
        views: dict[str, list[Arrays]] = {name: [] for name in names}
        done = 0
        for stop in [*(at + 1).tolist(), len(chunk.rows)] if names else []:
            for name in names:
                column = self._columns[name]
                if stop > done:
                    batch = chunk.batches[self.definition.reducer(name).stream]
                    column.update(batch[done:stop], chunk.values[name][done:stop], watch=False)
                if len(views[name]) < len(at):
                    row = chunk.rows[stop - 1 : stop]
                    views[name].append(column.view(row, column.measure(row)))
            done = max(done, stop)
        return {name: joined(each) for name, each in views.items() if each}

    def _crossings(self, rows: np.ndarray, chunk: _Chunk) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fire what was reached, as noted in the chunk or else as it is now; see `Judge.fire`."""
        kept = np.flatnonzero(rows >= 0) if self._judge.threshold else np.empty(0, np.int64)
        if not len(kept):
            return kept, kept, np.empty(0)
        own = rows[kept]
        nums = [
            chunk.headers[name]["num"][kept] if name in chunk.headers else header["num"][own]
            for name, header in self._headers.items()
        ]
        valid = np.where(rows < 0, own[0], rows)
        values = functools.cache(lambda name: self._value(name, valid, chunk)[kept])
        at, level, value = self._judge.fire(own, _total(nums), values)
        rows[kept] = own
        return kept[at], level, value

    def _value(self, name: str, rows: np.ndarray, chunk: _Chunk) -> np.ndarray:
        """The value of a reducer for some rows, as noted in the chunk or else as it is now."""
        reducer = self.definition.reducer(name)
        with np.errstate(all="ignore"):  # what comes of no observations, and of infinite ones
            if name in chunk.states:
                return reducer.values(chunk.headers[reducer.stream]["num"], chunk.states[name])
            if name in chunk.later:
                return self._rehearse(name, rows, chunk)
            own, local = (rows, slice(None)) if chunk.is_now else np.unique(rows, return_inverse=True)
            now = reducer.values(self._headers[reducer.stream]["num"][own], self._columns[name].measure(own))
            return now[local]

    def _view(self, rows: np.ndarray, at: np.ndarray, chunk: _Chunk, viewed: Mapping[str, Arrays]) -> Partial:
        """Rows as they were right after the observations `at` of the chunk that was just applied."""
        states = dict(viewed)
        for name, column in self._columns.items():
            if name not in states:
                measured = column.measure(rows)
                if name in chunk.states and column.remembers:
                    measured = {array: after[at] for array, after in chunk.states[name].items()}
                states[name] = column.view(rows, measured)
        now = self._headers.items()
        headers = {name: chunk.headers[name][at] if name in chunk.headers else each[rows] for name, each in now}
        return Partial(self._table.words[rows], headers, {name: states[name] for name in self._columns})

    @functools.cached_property
    def _nothing(self) -> Crossed:
        nothing = np.empty(0, np.int64)
        return Crossed(nothing, nothing, np.empty(0), self.partial(nothing))

    def _find(self, keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, int]:
        """The rows of keys, and how many were found or added before there was no room; -1 for the others."""
        before = len(self)
        rows, done = self._table.find(keys, wanted)
        rows[done:] = -1
        self._resize(before)
        return rows, done

    def _resize(self, before: int) -> None:
        """Follow the table, whose rows from `before` on are new."""
        capacity = self._table.capacity
        if capacity == self._capacity and before == len(self):
            return
        if capacity != self._capacity:
            self._capacity = capacity
            self._headers = {name: self._table.field(f"stream {name}") for name in self.definition.streams}
            for name, column in self._columns.items():
                column.attach(self._table.field(name))
        self._judge.add(self._table.words[before:], before, capacity)

    def _relieve(self) -> None:
        """Make room where a column had none since the last time."""
        if self._refused > self._relieved and len(self) > 1:
            self._evict()
        self._relieved = self._refused

    def _evict(self) -> None:
        """Forget the lightest quarter of the keys, the older of those that are equally light first.

        A key that has nothing more to say is no loss: the judge's memory has what matters of it.
        """
        self._compact()
        rows = np.arange(len(self))
        nums = _total([header["num"][: len(self)] for header in self._headers.values()])
        near = self._judge.nearness(rows, lambda name: self._value(name, rows, _Chunk.now(rows)))
        stays = ~_lightest(near, np.where(np.isinf(near), 0, nums), max(len(rows) // 4, 1))
        lost = ~stays & ~self._judge.done(len(rows))
        self._keys_evicted += int(np.count_nonzero(lost))
        self._observations_evicted += int(nums[lost].sum())
        self._keep(stays)

    def _keep(self, stays: np.ndarray) -> None:
        """Forget the other rows; those that stay (bool) are numbered anew."""
        numbers = np.where(stays, np.cumsum(stays) - 1, -1)
        for column in self._columns.values():
            column.renumber(numbers)
        self._judge.keep(stays)
        self._table.keep(stays)


def _total(counts: list[np.ndarray]) -> np.ndarray:
    """Those of all streams together."""
    total: np.ndarray = functools.reduce(np.add, counts)
    return total


def _lightest(near: np.ndarray, nums: np.ndarray, n: int) -> np.ndarray:
    """Which `n` come first by (near, num, number): bool. By selection, as sorting a million takes ten times as long."""
    chosen, among, left = np.zeros(len(near), np.bool_), np.arange(len(near)), n
    for weights in (near, nums):
        own = weights[among]
        limit = own.min()
        if np.count_nonzero(own == limit) < left:  # in a flood all are equally light, which selection is slow on
            limit = np.partition(own, left - 1)[left - 1]
        chosen[among[own < limit]] = True
        among, left = among[own == limit], left - int(np.count_nonzero(own < limit))
    chosen[among[:left]] = True
    return chosen
