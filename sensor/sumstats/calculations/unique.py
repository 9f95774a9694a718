"""UNIQUE: how many distinct elements were observed, exactly, and which.

Elements are entries of one table for all keys; those of a key are linked, newest first, so the first `count` of them
are the state as it was when it held `count`, whatever has come since in the same batch.

Where a key may hold `max` elements, it keeps those with the `max` lowest priorities, a hash under a fixed key, of all
that it has seen: unlike the first `max`, these are the same in any order and after any merge (KMV, Bar-Yossef et al.,
2002). A key that has more is cut back now and then, and from then on refuses at once what lies above its `bar`.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from sensor._jit import njit
from sensor.hash import hash_rows, hash_words
from sensor.sumstats.calculation import (
    Arrays,
    ElementReducer,
    RowBatch,
    Setting,
    StateColumn,
    Value,
    checked,
    checked_counts,
    extended,
    rows_of,
)
from sensor.sumstats.table import Layout, Table

_NO_BAR = np.uint64(2**64 - 1)
_ELEMENTS = np.dtype([("newest", "<i4"), ("count", "<i4"), ("bar", "<u8"), ("saturated", "?")], align=True)
_EMPTY = np.array((-1, 0, _NO_BAR, False), _ELEMENTS)
_DEAD = np.uint64(2**64 - 1)  # the row of an entry that was cut

_PRIORITY_KEY = np.array([0x756E697175650001, 0x6B65657020746865], np.uint64)
# Fixed, so that every worker and every run keeps the same elements. Who chooses elements of low priority chooses what
# is shown of his own traffic, no more; the table is keyed by the secret.

_MOST_ELEMENTS = 1 << 30  # links are int32

_SLACK = 8  # below this many over twice `max`, cutting a key back costs more than the room it holds
_CHUNK = 1 << 14
_NO_COUNTS, _NO_FLAGS = np.empty(0, np.int64), np.empty(0, np.bool_)
_NO_TIMES = np.empty(0, np.int64)
_LATEST = np.iinfo(np.int64).max


@njit
def _compose(key, rows, applies, elements, state, entries, wanted):
    """Fill `entries` with (row, element), and `wanted` with whether to look for it: not if it lies above the bar."""
    for i in range(rows.shape[0]):
        row = rows[i]
        wanted[i] = False
        if row < 0 or not applies[i]:
            continue
        bar = state[row]["bar"]
        if bar != _NO_BAR and hash_words(key, elements[i]) > bar:
            continue
        wanted[i] = True
        entries[i, 0] = np.uint64(row)
        for w in range(elements.shape[1]):
            entries[i, w + 1] = elements[i, w]


@njit
def _link(rows, wanted, found, fresh, limit, state, older, counts, flags):
    """Link new entries (numbered from `fresh` on) to their rows; note each row's count and flag after each element.

    Return the greatest count that a row has come to.
    """
    watch = counts.shape[0] > 0
    greatest = 0
    for i in range(rows.shape[0]):
        row, entry = rows[i], found[i]
        if row < 0:
            continue
        if entry == fresh:
            fresh += 1
            older[entry] = state[row]["newest"]
            state[row]["newest"] = entry
            state[row]["count"] += 1
            greatest = max(greatest, state[row]["count"])
        if wanted[i] and (entry < 0 or state[row]["count"] > limit):
            state[row]["saturated"] = True
        if watch:
            counts[i] = state[row]["count"]
            flags[i] = state[row]["saturated"]
    return greatest


@njit
def _date(found, when, times):
    """Let each element that was found have the earliest of its times."""
    for i in range(found.shape[0]):
        if found[i] >= 0:
            times[found[i]] = min(times[found[i]], when[i])


@njit
def _walk(rows, counts, state, older, out):
    """Fill `out` with the first `counts[j]` entries of each row, oldest first, one row after the other."""
    end = 0
    for j in range(rows.shape[0]):
        entry = state[rows[j]]["newest"]
        for _ in range(state[rows[j]]["count"] - counts[j]):
            entry = older[entry]
        end += counts[j]
        for k in range(counts[j]):
            out[end - 1 - k] = entry
            entry = older[entry]


@njit
def _move(owners, numbers, as_they_are, older, state, stays, moved):
    """Number entries anew without the dead and those of rows without a number, and write the rows' new numbers.

    The newest of a row is the last of its entries, as entries are numbered in order of arrival.
    """
    n = 0
    for entry in range(owners.shape[0]):
        stays[entry] = owners[entry] != _DEAD and (as_they_are or numbers[np.int64(owners[entry])] >= 0)
        if not stays[entry]:
            continue
        row = np.int64(owners[entry])
        moved[entry] = n
        older[n] = moved[older[entry]] if older[entry] >= 0 else -1
        state[row]["newest"] = n
        if not as_they_are:
            owners[entry] = np.uint64(numbers[row])
        n += 1


def bytes_per_element(words: int, *, is_dated: bool = False) -> int:
    """What an element of so many words costs: its entry with the row's number, its slots, its link, and its time."""
    return 8 * (1 + words) + 8 + 4 + 8 * is_dated


def priorities(elements: np.ndarray) -> np.ndarray:
    """The priority of each element (uint64, (n, words)): uint64, the same in every run."""
    out = np.empty(len(elements), np.uint64)
    hash_rows(_PRIORITY_KEY, np.ascontiguousarray(elements), out)
    return out


def lowest(counts: np.ndarray, elements: np.ndarray, limit: int) -> np.ndarray:
    """Index, by owner and then priority, of the `limit` elements of lowest priority of each of the owners.

    `counts` (int64, (m,)) says how many of the `elements` belong to each owner in turn.
    """
    owner = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((*elements.T[::-1], priorities(elements), owner))
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen: np.ndarray = order[place < limit]
    return chosen


@cache
def _entries_of_words(words: int, *, is_dated: bool) -> Layout:
    return Layout.of(1 + words, [("when", np.dtype(np.int64), _LATEST)] if is_dated else [])


class Elements(StateColumn):
    """The distinct elements of every key of one reducer."""

    holds_more: ClassVar[bool] = True
    remembers: ClassVar[bool] = True

    def __init__(self, reducer: "Unique", setting: Setting) -> None:
        self._max = reducer.max
        self._words = reducer.words
        size = bytes_per_element(reducer.words, is_dated=reducer.is_dated)
        limit = min(max(setting.max_bytes // size, 1), _MOST_ELEMENTS)
        self._entries = Table(_entries_of_words(reducer.words, is_dated=reducer.is_dated), limit, setting.secret)
        self._older = np.empty(0, np.int32)
        self._state = np.empty(0, _ELEMENTS)
        self._dead, self._greatest = 0, 0

    @property
    def counters(self) -> Mapping[str, int]:
        """`elements_refused`: observations of an element for which there was no room."""
        return {"elements_refused": self._entries.refused}

    @property
    def nbytes(self) -> int:
        """Memory held for elements."""
        return self._entries.nbytes + self._older.nbytes

    @property
    def empty(self) -> np.ndarray:
        """No elements."""
        return _EMPTY

    def attach(self, state: np.ndarray) -> None:
        """Take the fields of all rows."""
        self._state = state

    def update(self, batch: RowBatch, values: np.ndarray, *, watch: bool) -> Arrays:
        """Add the elements in order."""
        counts, flags = np.zeros(len(values) * watch, np.int64), np.zeros(len(values) * watch, np.bool_)
        self._add(batch.rows, batch.applies, values, _NO_TIMES, counts, flags)
        return {"count": counts, "saturated": flags}

    def measure(self, rows: np.ndarray) -> Arrays:
        """Return how many elements each row holds, `max` and more, and whether it refused any."""
        return {"count": self._state["count"][rows].astype(np.int64), "saturated": self._state["saturated"][rows]}

    def view(self, rows: np.ndarray, measured: Arrays) -> Arrays:
        """With `elements` (uint64, (sum of count, words)): each row's, oldest first, `max` at most."""
        counts = measured["count"]
        entries = self._entries_of(rows, counts)
        elements = self._entries.words[entries, 1:]
        over = counts > self._max if self._max else np.zeros(len(counts), np.bool_)
        if over.any():
            stays = np.repeat(~over, counts)
            of_over = np.flatnonzero(~stays)
            stays[of_over[lowest(counts[over], elements[of_over], self._max)]] = True
            elements, counts, entries = elements[stays], np.where(over, self._max, counts), entries[stays]
        return {"count": counts, "saturated": measured["saturated"], "elements": elements, **self._dates(entries)}

    def _dates(self, entries: np.ndarray) -> Arrays:
        """Return what else is told of some entries."""
        return {}

    def merge(self, rows: np.ndarray, states: Arrays) -> None:
        """Add the elements of others."""
        counts = checked_counts(states, "elements", len(rows))
        flags = checked(states, "saturated", _NO_FLAGS.dtype, len(rows))
        elements = checked(states, "elements", np.dtype(np.uint64), int(counts.sum()))
        if elements.shape[1:] != (self._words,):
            raise ValueError(f"elements of UNIQUE must be of {self._words} words, not {elements.shape[1:]}")
        when = self._checked_times(states, len(elements))
        self._state["saturated"][rows[flags & (rows >= 0)]] = True
        owners = np.repeat(rows, counts)
        applies = np.ones(len(owners), np.bool_)
        for start in range(0, len(owners), _CHUNK):
            part = slice(start, start + _CHUNK)
            self._add(owners[part], applies[part], elements[part], when[part], _NO_COUNTS, _NO_FLAGS)

    def _checked_times(self, states: Arrays, elements: int) -> np.ndarray:
        """The times of the elements of a merge, if they have any."""
        return _NO_TIMES

    def clear(self) -> None:
        """Forget all elements."""
        self._entries.clear()
        self._older = np.empty(0, np.int32)
        self._dead, self._greatest = 0, 0

    def compact(self, rows: np.ndarray) -> None:
        """Cut back rows that hold more than they need."""
        too_many = 2 * self._max + _SLACK
        if not self._max or self._greatest < too_many:
            return
        self._greatest = 0
        rows = rows[rows >= 0]
        self._cut(np.unique(rows[self._state["count"][rows] >= too_many]))
        if self._dead > 1024 and 2 * self._dead > self._entries.used:
            self._compact()

    def _add(
        self,
        rows: np.ndarray,
        applies: np.ndarray,
        elements: np.ndarray,
        when: np.ndarray,
        counts: np.ndarray,
        flags: np.ndarray,
    ) -> None:
        entries = np.empty((len(rows), 1 + self._words), np.uint64)
        wanted = np.empty(len(rows), np.bool_)
        _compose(_PRIORITY_KEY, rows, applies, elements, self._state, entries, wanted)
        fresh = self._entries.used
        found, _ = self._entries.find(entries, wanted)
        if len(self._older) != self._entries.capacity:
            self._older = extended(self._older, self._entries.capacity, -1)
        limit = self._max or _MOST_ELEMENTS
        if len(when):
            _date(found, when, self._entries.field("when"))
        greatest = _link(rows, wanted, found, fresh, limit, self._state, self._older, counts, flags)
        self._greatest = max(self._greatest, greatest)

    def _entries_of(self, rows: np.ndarray, counts: np.ndarray) -> np.ndarray:
        out = np.empty(int(counts.sum()), np.int64)
        _walk(rows, counts, self._state, self._older, out)
        return out

    def _cut(self, rows: np.ndarray) -> None:
        """Leave each row its `max` elements of lowest priority, oldest first as they were."""
        counts = self.measure(rows)["count"]
        entries = self._entries_of(rows, counts)
        words = self._entries.words
        kept = lowest(counts, words[entries, 1:], self._max)
        self._state["bar"][rows] = priorities(words[entries[kept[self._max - 1 :: self._max]], 1:])
        dies = np.ones(len(entries), np.bool_)
        dies[kept] = False
        words[entries[dies], 0] = _DEAD
        self._dead += int(dies.sum())
        lives = entries[~dies].reshape(len(rows), self._max)
        self._older[lives[:, 0]] = -1
        self._older[lives[:, 1:]] = lives[:, :-1]
        self._state["newest"][rows] = lives[:, -1]
        self._state["count"][rows] = self._max

    def renumber(self, numbers: np.ndarray) -> None:
        """Give up the elements of rows that are forgotten; those of the others belong to their new number."""
        self._compact(numbers)

    def _compact(self, numbers: np.ndarray | None = None) -> None:
        """Give back the room of the dead, and of rows that get no number (none: they all keep theirs)."""
        owners = self._entries.words[:, 0]
        stays, moved = np.empty(len(owners), np.bool_), np.empty(len(owners), np.int32)
        own = np.arange(0) if numbers is None else numbers
        _move(owners, own, numbers is None, self._older, self._state, stays, moved)
        self._entries.keep(stays)
        self._dead = 0


class DatedElements(Elements):
    """The same, each with the earliest time that came with it. An observed value has it as one more word.

    It cannot tell the times as they were in the middle of a batch, so it does not claim to remember.
    """

    remembers: ClassVar[bool] = False

    def update(self, batch: RowBatch, values: np.ndarray, *, watch: bool) -> Arrays:
        """Add the elements in order."""
        counts, flags = np.zeros(len(values) * watch, np.int64), np.zeros(len(values) * watch, np.bool_)
        elements, when = np.ascontiguousarray(values[:, :-1]), np.ascontiguousarray(values[:, -1]).view(np.int64)
        self._add(batch.rows, batch.applies, elements, when, counts, flags)
        return {"count": counts, "saturated": flags}

    def _dates(self, entries: np.ndarray) -> Arrays:
        """With `when` (int64): the time of each element."""
        return {"when": self._entries.field("when")[entries]}

    def _checked_times(self, states: Arrays, elements: int) -> np.ndarray:
        when = checked(states, "when", _NO_TIMES.dtype, elements)
        if when.ndim != 1:
            raise ValueError(f"an element of UNIQUE has one time, not {when.shape[1:]}")
        return when


@dataclass(frozen=True, slots=True)
class Distinct(Value):
    """The result of UNIQUE."""

    unique: int
    """Distinct elements, `max` at most."""
    saturated: bool
    """There were more than that."""
    sample: tuple[tuple[int, ...], ...]
    """`keep` of them, by priority: the same ones however the observations were split."""
    times: tuple[int, ...] | None = None
    """When each of them came first (ns), earliest first; None where they are not dated."""

    @property
    def count(self) -> int:
        """The same as `unique`."""
        return self.unique

    def reached(self, n: float) -> int | None:
        """When (ns) there were `n` distinct elements; None: there are fewer. ValueError where they are not dated."""
        times = self._dated()
        if not n <= len(times):
            return None
        place = max(math.ceil(n), 1)
        return times[place - 1] if place <= len(times) else None

    def until(self, ts: int) -> int:
        """Return how many distinct elements there were at a time (ns). ValueError where they are not dated."""
        return bisect_right(self._dated(), ts)

    def _dated(self) -> tuple[int, ...]:
        if self.times is None:
            raise ValueError("the elements have no times: declare Unique(..., when=...)")
        return self.times


@dataclass(frozen=True)
class Unique(ElementReducer):
    """The number of distinct elements, each of `words` uint64 words."""

    max: int = 0
    """Most elements that a key holds and counts; 0: as many as all keys may hold together."""
    keep: int = 0
    """How many of them a result shows."""
    is_dated: bool = False
    """Whether one more word, after the element, says when it came (int64 ns)."""

    calculation: ClassVar[str] = "UNIQUE"
    grows: ClassVar[bool] = True
    is_exact: ClassVar[bool] = True

    @property
    def flat(self) -> tuple[str, ...]:
        """The elements, and their times."""
        return ("elements", "when") if self.is_dated else ("elements",)

    @property
    def element_words(self) -> int:
        """uint64 words of an element, and its time."""
        return self.words + self.is_dated

    def check(self) -> None:
        """Raise ValueError naming an option that is out of range."""
        super().check()
        if self.max < 0 or self.keep < 0:
            raise ValueError(f"{self.name}: max and keep must be at least 0")

    def column(self, setting: Setting) -> StateColumn:
        """An empty column."""
        return DatedElements(self, setting) if self.is_dated else Elements(self, setting)

    def values(self, num: np.ndarray, states: Arrays) -> np.ndarray:
        """The count."""
        counts = states["count"].astype(np.float64)
        return np.minimum(counts, self.max) if self.max else counts

    def ceiling(self, num: np.ndarray, states: Arrays, added: np.ndarray) -> np.ndarray:
        """As many more as are added."""
        ceiling: np.ndarray = states["count"] + added
        return ceiling

    def results(self, headers: np.ndarray, states: Arrays) -> list[Value]:
        """A `Distinct` a key."""
        counts, elements = states["count"], states["elements"]
        shown = elements[lowest(counts, elements, self.keep)].tolist() if self.keep else []
        ends = np.cumsum(np.minimum(counts, self.keep)).tolist()
        samples = [tuple(map(tuple, shown[start:end])) for start, end in zip([0, *ends], ends, strict=False)]
        flags, times = states["saturated"].tolist(), self._times(states)
        rows = zip(rows_of(headers), counts.tolist(), flags, samples, times, strict=True)
        return [Distinct(*header, *of_key) for header, *of_key in rows]

    def _times(self, states: Arrays) -> list[tuple[int, ...] | None]:
        """The times of the elements of each key, earliest first."""
        counts = states["count"]
        if not self.is_dated:
            return [None] * len(counts)
        when, ends = states["when"], np.cumsum(counts).tolist()
        ordered = when[np.lexsort((when, np.repeat(np.arange(len(counts)), counts)))].tolist()
        return [tuple(ordered[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
