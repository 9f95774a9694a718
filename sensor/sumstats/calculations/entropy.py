"""ENTROPY: how evenly a key's observations spread over their elements, in bits, from exact counts.

Shannon's `log2(N) - sum(c * log2(c)) / N`, where each distinct element was observed c times and all together N times:
0 if all are equal, log2(d) if d elements come equally often. N and the sum are kept as observations come, the sum
twofold, where each term that is added is later subtracted again without a rest, so that it is the same in any order.
The result is rounded to 2**-42 bits, far above the noise of the logarithms, so that it reaches a round threshold.

The elements of a key and their counts are slots of an open-addressed block (linear probing, deletion by moving back:
Knuth, 6.4). Where a key may have `max` elements, it keeps those of lowest priority, a hash under `sketch_key`: the
lowest are the same in any order and after any merge (KMV, Bar-Yossef et al., 2002). Once it has `max`, the greatest
priority kept, its bar, only falls: an element that is kept in the end was never above it, so all of its observations
were counted, and one that was given up never comes back. The priorities kept are a heap behind the slots.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sensor.hash import hash_rows, hash_words
from sensor.sumstats.arena import ArenaColumn
from sensor.sumstats.calculation import (
    Arrays,
    ElementReducer,
    RowBatch,
    Setting,
    StateColumn,
    Value,
    checked,
    checked_counts,
    rows_of,
)
from sensor.sumstats.sketches.element_counts import (
    MOST,
    ONE,
    BlockLayout,
    add_all,
    gather,
    tally,
)

_NAMES = ("unique", "total", "high", "low")
_MEASURED = np.dtype([("unique", "<i8"), ("total", "<i8"), ("high", "<f8"), ("low", "<f8")])
"""Distinct elements, N, and the sum of c * log2(c) as `double_double` holds it: what the entropy is made of."""
_FIELD = np.dtype(
    [
        ("block", "<i8"),
        ("total", "<i8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("unique", "<i4"),
        ("size_class", "<i1"),
        ("saturated", "?"),
    ],
    align=True,
)
_MOST_UNIQUE = 2**31 - 1
_CLASSES = 40  # of blocks
_UNIT = 2.0**-42


def _layout(reducer: "Entropy", setting: Setting) -> BlockLayout:
    stride = 1 + reducer.words
    slots_of = (1 << np.arange(_CLASSES, dtype=np.int64)) // (stride + (reducer.max > 0))
    first_class = int(np.argmax(slots_of >= 2))
    most, spread = reducer.max or _MOST_UNIQUE, np.uint64(hash_words(setting.secret, np.empty(0, np.uint64))) | ONE
    return BlockLayout(stride, slots_of, first_class, most, setting.sketch_key, spread)


class ElementCounts(ArenaColumn):
    """The elements of every key and how often each was observed."""

    empty_field: ClassVar[np.ndarray] = np.array((-1, 0, 0.0, 0.0, 0, 0, False), _FIELD)

    def __init__(self, reducer: "Entropy", setting: Setting) -> None:
        super().__init__(setting)
        self._max, self._words = reducer.max, reducer.words
        self._layout = _layout(reducer, setting)

    def update(self, batch: RowBatch, values: np.ndarray, *, watch: bool) -> Arrays:
        """Count the elements in order."""
        after = np.zeros(len(values) * watch, _MEASURED)
        self._add(batch.rows, batch.applies, values, np.ones(len(values), np.int64), after)
        return {name: after[name] for name in _NAMES} if watch else {}

    def measure(self, rows: np.ndarray) -> Arrays:
        """How many elements each row has (`unique`), their `total`, and the sum of c * log2(c) (`high`, `low`)."""
        state = self.state[rows]
        return {name: state[name].astype(_MEASURED[name]) for name in _NAMES}

    def view(self, rows: np.ndarray, measured: Arrays) -> Arrays:
        """`count` of each row and whether it is `saturated`; its `elements` and their `counts`, by priority."""
        lengths = self.state["unique"][rows].astype(np.int64)
        n = int(lengths.sum())
        elements, counts, priorities = (
            np.empty((n, self._words), np.uint64),
            np.empty(n, np.int64),
            np.empty(n, np.uint64),
        )
        gather(self.state, rows, self.arena.words, self._layout.key, elements, counts, priorities)
        order = np.lexsort((*elements.T[::-1], priorities, np.repeat(np.arange(len(rows)), lengths)))
        flags = self.state["saturated"][rows]
        return {"count": lengths, "saturated": flags, "elements": elements[order], "counts": counts[order]}

    def merge(self, rows: np.ndarray, states: Arrays) -> None:
        """Add the counts of others."""
        lengths = checked_counts(states, "elements", len(rows))
        flags = checked(states, "saturated", np.dtype(np.bool_), len(rows))
        elements = checked(states, "elements", np.dtype(np.uint64), int(lengths.sum()))
        counts = checked(states, "counts", np.dtype(np.int64), len(elements))
        if elements.shape[1:] != (self._words,) or counts.ndim > 1 or flags.ndim > 1 or lengths.ndim > 1:
            raise ValueError(f"elements of ENTROPY must be of {self._words} words, and all else one a row")
        if ((counts < 1) | (counts > MOST)).any() or (self._max and (lengths > self._max).any()):
            raise ValueError("an element of ENTROPY was counted out of bounds, or there are too many")
        owners = np.repeat(np.arange(len(rows)), lengths)
        if not self._ascend(owners, elements):
            raise ValueError("the elements of ENTROPY must ascend by priority")
        self.state["saturated"][rows[flags & (rows >= 0)]] = True
        self._add(rows[owners], np.ones(len(owners), np.bool_), elements, counts, np.empty(0, _MEASURED))

    def _ascend(self, owners: np.ndarray, elements: np.ndarray) -> bool:
        """Return whether the elements of each owner come by priority and then by themselves, no two of them equal."""
        priorities = np.empty(len(elements), np.uint64)
        hash_rows(self._layout.key, elements, priorities)
        ranks = np.column_stack([owners.astype(np.uint64), priorities, elements])
        before, after = ranks[:-1], ranks[1:]
        differs = np.argmax(before != after, axis=1)[:, np.newaxis]
        return bool((np.take_along_axis(before, differs, 1) < np.take_along_axis(after, differs, 1)).all())

    def _add(
        self, rows: np.ndarray, applies: np.ndarray, elements: np.ndarray, counts: np.ndarray, after: np.ndarray
    ) -> None:
        arena, layout, priorities = self.arena, self._layout, np.empty(len(rows), np.uint64)
        hash_rows(layout.key, elements, priorities)
        given = self.state, rows, applies, elements, priorities, counts
        arena.run(lambda start: add_all(*given, start, layout, arena.words, arena.book, after)[0], len(rows))


@dataclass(frozen=True, slots=True)
class Evenness(Value):
    """The result of ENTROPY."""

    entropy: float | None
    """In bits; None with no observation."""
    unique: int
    """Distinct elements, `max` at most."""
    saturated: bool
    """There were more than that, which count for nothing, or there was no room for some."""


@dataclass(frozen=True)
class Entropy(ElementReducer):
    """The entropy, in bits, of the distribution of the elements, each of `words` uint64 words."""

    max: int = 0
    """Most distinct elements that a key counts; 0: as many as there is room for."""

    calculation: ClassVar[str] = "ENTROPY"
    flat: ClassVar[tuple[str, ...]] = ("elements", "counts")

    def check(self) -> None:
        """Raise ValueError naming an option that is out of range."""
        super().check()
        if not 0 <= self.max < _MOST_UNIQUE:
            raise ValueError(f"{self.name}: max must be from 0 to {_MOST_UNIQUE - 1}")

    def column(self, setting: Setting) -> StateColumn:
        """An empty column."""
        return ElementCounts(self, setting)

    def values(self, num: np.ndarray, states: Arrays) -> np.ndarray:
        """The entropy, or NaN."""
        if "total" not in states:
            states = _tallied(states)
        total = np.where(states["total"] > 0, states["total"], np.nan)
        bits = np.maximum(np.log2(total) - states["high"] / total, 0.0)
        rounded: np.ndarray = np.rint(bits / _UNIT) * _UNIT
        return rounded

    def ceiling(self, num: np.ndarray, states: Arrays, added: np.ndarray) -> np.ndarray:
        """Mixing in a part p of something else adds no more than p of its entropy, and that of the choice between both.

        Where elements are given up for others (`max`), what is left may be anything.
        """
        if self.max:
            return np.full(len(num), np.inf)
        part = np.minimum(added / np.maximum(states["total"] + added, 1), 0.5)
        choice = -(part * np.log2(np.maximum(part, _UNIT)) + (1 - part) * np.log2(1 - part))
        mixed = choice + np.log2(np.maximum(added, 1)) * 2 * part
        ceiling: np.ndarray = np.nan_to_num(self.values(num, states)) + mixed
        return ceiling

    def results(self, headers: np.ndarray, states: Arrays) -> list[Value]:
        """A `Spread` a key."""
        values, flags = self.values(headers["num"], states).tolist(), states["saturated"].tolist()
        rows = zip(rows_of(headers), values, states["count"].tolist(), flags, strict=True)
        return [Evenness(*header, value if unique else None, unique, flag) for header, value, unique, flag in rows]


def _tallied(states: Arrays) -> Arrays:
    """Viewed states as measured."""
    out = np.zeros(len(states["count"]), _MEASURED)
    tally(np.ascontiguousarray(states["count"]), np.ascontiguousarray(states["counts"]), out)
    return {name: out[name] for name in _NAMES}
