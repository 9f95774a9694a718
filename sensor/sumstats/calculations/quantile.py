"""QUANTILE: a value that a given part of the observed values do not exceed, to within a relative error.

Values are counted in buckets whose bounds are powers of `gamma = (1 + error) / (1 - error)`, negative ones in mirrored
buckets, and every value of a bucket lies within `error` of its middle, `2 * gamma**i / (gamma + 1)` (DDSketch: Masson,
Rim and Lee, 2019). The state is the counts, so merging adds them: it is the same in any order, and as if all had been
observed in one place. The result is within `error` of the value that has rank `floor(q * (n - 1))` of the n observed.

Magnitudes below 1e-9 count as zero, those above 1e19 as 1e19. That bounds the buckets (6,451 at an error of 0.01,
64,475 at 0.001), so none is ever given up. NaN is passed over. A bucket counts to 2**46, so that no sum overflows.

A value is put into its bucket by additions, multiplications and one division, which give the same bits on all machines
and uncompiled; the logarithm of a library does not. A value on the bound of two buckets may fall into either by
rounding, but into the same one everywhere.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from sensor.sumstats.arena import ArenaColumn
from sensor.sumstats.calculation import (
    Arrays,
    Reducer,
    RowBatch,
    Setting,
    StateColumn,
    Value,
    checked,
    checked_counts,
    rows_of,
)
from sensor.sumstats.sketches.ddsketch import (
    GREATEST,
    LEAST,
    MOST,
    NOTHING,
    ONES,
    SHIFT,
    ZERO,
    add,
    buckets_of,
    exponent_of,
    gather,
    logarithm,
    rank_all,
)

_FIELD = np.dtype([("block", "<i8"), ("count", "<i4"), ("size_class", "<i1"), ("saturated", "?")], align=True)


class Buckets(ArenaColumn):
    """The counted buckets of every key: a block of words, ascending."""

    empty_field: ClassVar[np.ndarray] = np.array((-1, 0, 0, False), _FIELD)

    def __init__(self, reducer: "Quantile", setting: Setting) -> None:
        super().__init__(setting)
        self._reducer = reducer

    def update(self, batch: RowBatch, values: np.ndarray, *, watch: bool) -> Arrays:
        """Count the values in order."""
        own, buckets = self._reducer, np.empty(len(values), np.int64)
        buckets_of(values, batch.applies, own.scale, own.lowest, own.most, buckets)
        after = np.full(len(values) * watch, NOTHING, np.int64)
        self._add(batch.rows, buckets, np.ones(len(values), np.int64), after)
        return {"bucket": after} if watch else {}

    def measure(self, rows: np.ndarray) -> Arrays:
        """`bucket`, that of the quantile."""
        counts, words = self._gathered(rows)
        return {"bucket": _buckets(counts, words, self._reducer.q)}

    def view(self, rows: np.ndarray, measured: Arrays) -> Arrays:
        """`count` of each row and whether it is `saturated`; its `buckets` (int64, ascending) and their `counts`."""
        counts, words = self._gathered(rows)
        buckets = (words >> SHIFT).astype(np.int64) - ZERO
        flags = self.state["saturated"][rows]
        return {"count": counts, "saturated": flags, "buckets": buckets, "counts": (words & ONES).astype(np.int64)}

    def merge(self, rows: np.ndarray, states: Arrays) -> None:
        """Add the counts of others."""
        lengths = checked_counts(states, "buckets", len(rows))
        flags = checked(states, "saturated", np.dtype(np.bool_), len(rows))
        buckets = checked(states, "buckets", np.dtype(np.int64), int(lengths.sum()))
        counts = checked(states, "counts", np.dtype(np.int64), len(buckets))
        if buckets.ndim > 1 or counts.ndim > 1 or flags.ndim > 1 or lengths.ndim > 1:
            raise ValueError("the arrays of QUANTILE must have one dimension")
        most = self._reducer.most
        if ((counts < 1) | (counts > MOST) | (buckets < -most) | (buckets > most)).any():
            raise ValueError("a bucket of QUANTILE is none, or its count is")
        owners = np.repeat(np.arange(len(rows)), lengths)
        if ((np.diff(buckets) <= 0) & (np.diff(owners) == 0)).any():
            raise ValueError("the buckets of QUANTILE must ascend")
        self.state["saturated"][rows[flags & (rows >= 0)]] = True
        self._add(rows[owners], buckets, counts, np.empty(0, np.int64))

    def _add(self, rows: np.ndarray, buckets: np.ndarray, counts: np.ndarray, after: np.ndarray) -> None:
        arena, q = self.arena, self._reducer.q
        given = self.state, rows, buckets, counts
        arena.run(lambda start: add(*given, start, q, arena.words, arena.book, after)[0], len(rows))

    def _gathered(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how many buckets each row has, and their words."""
        counts = self.state["count"][rows].astype(np.int64)
        words = np.empty(int(counts.sum()), np.uint64)
        gather(self.state, rows, self.arena.words, words)
        return counts, words


def _buckets(counts: np.ndarray, words: np.ndarray, q: float) -> np.ndarray:
    out = np.empty(len(counts), np.int64)
    rank_all(counts, words, q, out)
    return out


@dataclass(frozen=True, slots=True)
class Ranked(Value):
    """The result of QUANTILE."""

    quantile: float | None
    """None with no observation."""
    saturated: bool
    """There was no room for some."""


@dataclass(frozen=True)
class Quantile(Reducer):
    """The value at rank `q` of those observed, to within a relative `error`."""

    q: float = 0.5
    """Which part of the values are not greater: 0 is the minimum, 0.5 the median, 1 the maximum."""
    error: float = 0.01
    """Most that the result is off, as a part of the true value: 0.001 to 0.1."""

    calculation: ClassVar[str] = "QUANTILE"
    flat: ClassVar[tuple[str, ...]] = ("buckets", "counts")

    def check(self) -> None:
        """Raise ValueError naming an option that is out of range."""
        super().check()
        if not 0.0 <= self.q <= 1.0:
            raise ValueError(f"{self.name}: q must be from 0 to 1, not {self.q}")
        if not 0.001 <= self.error <= 0.1:
            raise ValueError(f"{self.name}: error must be from 0.001 to 0.1, not {self.error}")

    @property
    def gamma(self) -> float:
        """The ratio of the bounds of a bucket."""
        return (1.0 + self.error) / (1.0 - self.error)

    @cached_property
    def scale(self) -> float:
        """1 / log(gamma)."""
        return 1.0 / float(logarithm(self.gamma))

    @cached_property
    def lowest(self) -> int:
        """The power of gamma that is the upper bound of bucket 1."""
        return int(exponent_of(LEAST, self.scale))

    @cached_property
    def most(self) -> int:
        """The last bucket."""
        return int(exponent_of(GREATEST, self.scale)) - self.lowest + 1

    @cached_property
    def middles(self) -> np.ndarray:
        """The value that stands for each bucket, from the lowest negative one on; last, NaN for `NOTHING`.

        By multiplying one after the other, which gives the same bits everywhere, and is off by 1e-11 at most.
        """
        up = np.cumprod(np.full(self.lowest + self.most - 1, self.gamma))
        down = np.cumprod(np.full(-self.lowest, 1.0 / self.gamma))[::-1]
        positive = np.concatenate([down, [1.0], up]) * (2.0 / (self.gamma + 1.0))
        return np.concatenate([-positive[::-1], [0.0], positive, [np.nan]])

    def column(self, setting: Setting) -> StateColumn:
        """An empty column."""
        return Buckets(self, setting)

    def values(self, num: np.ndarray, states: Arrays) -> np.ndarray:
        """The quantile, or NaN."""
        if "bucket" in states:
            buckets = states["bucket"]
        else:
            words = ((states["buckets"] + ZERO).astype(np.uint64) << SHIFT) | states["counts"].astype(np.uint64)
            buckets = _buckets(np.ascontiguousarray(states["count"]), words, self.q)
        values: np.ndarray = self.middles[np.minimum(buckets, self.most + 1) + self.most]
        return values

    def results(self, headers: np.ndarray, states: Arrays) -> list[Value]:
        """A `Ranked` a key."""
        values = self.values(headers["num"], states).tolist()
        rows = zip(rows_of(headers), values, states["saturated"].tolist(), strict=True)
        return [Ranked(*header, None if math.isnan(value) else value, flag) for header, value, flag in rows]
