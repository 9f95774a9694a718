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

from sensor._jit import njit
from sensor.sumstats.arena import GROW, NO_BLOCK, REFUSED, ArenaColumn, give, take
from sensor.sumstats.calculation import (
    Arrays,
    Batch,
    Column,
    Reducer,
    Setting,
    Value,
    checked,
    checked_counts,
    rows_of,
)

_LEAST, _GREATEST = 1e-9, 1e19
_LN_2, _SQRT_HALF = math.log(2.0), math.sqrt(0.5)

# A word of a block is a bucket, in the upper 16 bits so that words sort as buckets do, and its count.
_SHIFT = np.uint64(48)
_ONES = np.uint64(2**48 - 1)
_ZERO = 1 << 15  # what is added to a bucket, which may be negative, to make it the upper bits
_MOST = 1 << 46  # of a count: 2**16 of them still fit an int64
_NOTHING = 1 << 16  # in place of a bucket

_AHEAD = 512  # observations whose blocks are read before they are counted
_FIRST_CLASS = 1  # two buckets: half of what a key that sees one value takes is its field anyway
_FIELD = np.dtype([("block", "<i8"), ("count", "<i4"), ("size_class", "<i1"), ("saturated", "?")], align=True)


@njit
def _logarithm(value):
    """The natural one, to some units in the last place: the series of the inverse hyperbolic tangent."""
    part, exponent = math.frexp(value)
    if part < _SQRT_HALF:
        part = part * 2.0
        exponent = exponent - 1
    ratio = (part - 1.0) / (part + 1.0)
    square = ratio * ratio
    series = 1.0 / 21.0
    for divisor in (19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0):
        series = series * square + 1.0 / divisor
    return exponent * _LN_2 + 2.0 * ratio * series


@njit
def _exponent(value, scale):
    """The power of gamma that is the upper bound of the bucket of a positive value; `scale` is 1 / log(gamma)."""
    return np.int64(math.ceil(_logarithm(value) * scale))


@njit
def _bucket(values, applies, scale, lowest, most, buckets):
    """The bucket of each value: 0 for zero, 1 to `most` by magnitude, mirrored for negative ones."""
    for i in range(values.shape[0]):
        value = values[i]
        magnitude = min(abs(value), _GREATEST)
        if not applies[i] or math.isnan(value):
            buckets[i] = _NOTHING
        elif magnitude < _LEAST:
            buckets[i] = 0
        else:
            bucket = min(max(_exponent(magnitude, scale) - lowest + 1, 1), most)
            buckets[i] = bucket if value > 0.0 else -bucket


@njit
def _position(words, block, count, code):
    """How many words of a block, which ascend, are of lower buckets.

    Buckets are distinct integers, so where few are missing between the first and the last, little is left to search.
    """
    if count == 0:
        return 0
    first, last = np.int64(words[block] >> _SHIFT), np.int64(words[block + count - 1] >> _SHIFT)
    low, high = min(max(count - 1 - (last - code), 0), count), max(min(count, code - first), 0)
    while low < high:
        middle = (low + high) >> 1
        if np.int64(words[block + middle] >> _SHIFT) < code:
            low = middle + 1
        else:
            high = middle
    return low


@njit
def _enlarge(field, words, book):
    """Give a row a block of twice the size; what `take` says if there is none."""
    block, count = field["block"], field["count"]
    size_class = np.int64(field["size_class"])
    larger = _FIRST_CLASS if block < 0 else size_class + 1
    taken = take(words, book, larger)
    if taken < 0:
        return taken
    for k in range(count):
        words[taken + k] = words[block + k]
    if block >= 0:
        give(words, book, size_class, block)
    field["block"] = taken
    field["size_class"] = larger
    return taken


@njit
def _count(field, code, more, words, book):
    """Add to the count of a bucket; whether that was done, or refused for good: if not, the arena has to grow."""
    block, count = field["block"], np.int64(field["count"])
    place = _position(words, block, count, code)
    if place < count and np.int64(words[block + place] >> _SHIFT) == code:
        have = np.int64(words[block + place] & _ONES)
        words[block + place] += np.uint64(min(more, _MOST - have))
        return True
    if block < 0 or count == np.int64(1) << np.int64(field["size_class"]):
        block = _enlarge(field, words, book)
        if block == GROW:
            return False
        if block == NO_BLOCK:
            field["saturated"] = True
            book[REFUSED] += 1
            return True
    for k in range(block + count, block + place, -1):
        words[k] = words[k - 1]
    words[block + place] = (np.uint64(code) << _SHIFT) | np.uint64(more)
    field["count"] = count + 1
    return True


@njit
def _ranked(words, start, count, q):
    """The bucket of the quantile, by the `count` words from `start` on."""
    total = np.int64(0)
    for k in range(start, start + count):
        total += np.int64(words[k] & _ONES)
    rank = min(np.int64(math.floor(q * np.float64(total - 1))), total - 1)
    for k in range(start, start + count):
        rank -= np.int64(words[k] & _ONES)
        if rank < 0:
            return np.int64(words[k] >> _SHIFT) - _ZERO
    return _NOTHING


@njit
def _touch(state, rows, words):
    """Read from the blocks of some rows, so that they are in the cache; what is returned is of no interest.

    A loop that does no more waits for many reads at once: 125 ns an observation instead of 220 at a million keys.
    """
    read = np.uint64(0)
    for i in range(rows.shape[0]):
        if rows[i] >= 0 and state[rows[i]]["block"] >= 0:
            read ^= words[state[rows[i]]["block"] + np.int64(state[rows[i]]["count"] >> 1)]
    return read


@njit
def _add(state, rows, buckets, counts, start, q, words, book, after):
    """Add to buckets of rows; if `after` is not empty, note the bucket of the quantile each time.

    Return how far it came, and what `_touch` read, which the compiler would leave out otherwise.
    """
    watch, read = after.shape[0] > 0, np.uint64(0)
    for i in range(start, rows.shape[0]):
        if i == start or i % _AHEAD == 0:
            read ^= _touch(state, rows[i : i + _AHEAD], words)
        if rows[i] < 0:
            continue
        field = state[rows[i]]
        if buckets[i] != _NOTHING and not _count(field, buckets[i] + _ZERO, counts[i], words, book):
            return i, read
        if watch:
            after[i] = _ranked(words, field["block"], np.int64(field["count"]), q)
    return rows.shape[0], read


@njit
def _gather(state, rows, words, out):
    end = 0
    for j in range(rows.shape[0]):
        block = state[rows[j]]["block"]
        for k in range(state[rows[j]]["count"]):
            out[end] = words[block + k]
            end += 1


@njit
def _rank_all(counts, words, q, out):
    """The bucket of the quantile of each key, which has so many of the words, one key after the other."""
    start = 0
    for j in range(counts.shape[0]):
        out[j] = _ranked(words, start, counts[j], q)
        start += counts[j]


class Buckets(ArenaColumn):
    """The counted buckets of every key: a block of words, ascending."""

    empty_field: ClassVar[np.ndarray] = np.array((-1, 0, 0, False), _FIELD)

    def __init__(self, reducer: "Quantile", setting: Setting) -> None:
        super().__init__(setting)
        self._reducer = reducer

    def update(self, batch: Batch, values: np.ndarray, *, watch: bool) -> Arrays:
        """Count the values in order."""
        own, buckets = self._reducer, np.empty(len(values), np.int64)
        _bucket(values, batch.applies, own.scale, own.lowest, own.most, buckets)
        after = np.full(len(values) * watch, _NOTHING, np.int64)
        self._add(batch.rows, buckets, np.ones(len(values), np.int64), after)
        return {"bucket": after} if watch else {}

    def measure(self, rows: np.ndarray) -> Arrays:
        """`bucket`, that of the quantile."""
        counts, words = self._gathered(rows)
        return {"bucket": _buckets(counts, words, self._reducer.q)}

    def view(self, rows: np.ndarray, measured: Arrays) -> Arrays:
        """`count` of each row and whether it is `saturated`; its `buckets` (int64, ascending) and their `counts`."""
        counts, words = self._gathered(rows)
        buckets = (words >> _SHIFT).astype(np.int64) - _ZERO
        flags = self.state["saturated"][rows]
        return {"count": counts, "saturated": flags, "buckets": buckets, "counts": (words & _ONES).astype(np.int64)}

    def merge(self, rows: np.ndarray, states: Arrays) -> None:
        """Add the counts of others."""
        lengths = checked_counts(states, "buckets", len(rows))
        flags = checked(states, "saturated", np.dtype(np.bool_), len(rows))
        buckets = checked(states, "buckets", np.dtype(np.int64), int(lengths.sum()))
        counts = checked(states, "counts", np.dtype(np.int64), len(buckets))
        if buckets.ndim > 1 or counts.ndim > 1 or flags.ndim > 1 or lengths.ndim > 1:
            raise ValueError("the arrays of QUANTILE must have one dimension")
        most = self._reducer.most
        if ((counts < 1) | (counts > _MOST) | (buckets < -most) | (buckets > most)).any():
            raise ValueError("a bucket of QUANTILE is none, or its count is")
        owners = np.repeat(np.arange(len(rows)), lengths)
        if ((np.diff(buckets) <= 0) & (np.diff(owners) == 0)).any():
            raise ValueError("the buckets of QUANTILE must ascend")
        self.state["saturated"][rows[flags & (rows >= 0)]] = True
        self._add(rows[owners], buckets, counts, np.empty(0, np.int64))

    def _add(self, rows: np.ndarray, buckets: np.ndarray, counts: np.ndarray, after: np.ndarray) -> None:
        arena, q = self.arena, self._reducer.q
        given = self.state, rows, buckets, counts
        arena.run(lambda start: _add(*given, start, q, arena.words, arena.book, after)[0], len(rows))

    def _gathered(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many buckets each row has, and their words."""
        counts = self.state["count"][rows].astype(np.int64)
        words = np.empty(int(counts.sum()), np.uint64)
        _gather(self.state, rows, self.arena.words, words)
        return counts, words


def _buckets(counts: np.ndarray, words: np.ndarray, q: float) -> np.ndarray:
    out = np.empty(len(counts), np.int64)
    _rank_all(counts, words, q, out)
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
        return 1.0 / float(_logarithm(self.gamma))

    @cached_property
    def lowest(self) -> int:
        """The power of gamma that is the upper bound of bucket 1."""
        return int(_exponent(_LEAST, self.scale))

    @cached_property
    def most(self) -> int:
        """The last bucket."""
        return int(_exponent(_GREATEST, self.scale)) - self.lowest + 1

    @cached_property
    def middles(self) -> np.ndarray:
        """The value that stands for each bucket, from the lowest negative one on; last, NaN for `_NOTHING`.

        By multiplying one after the other, which gives the same bits everywhere, and is off by 1e-11 at most.
        """
        up = np.cumprod(np.full(self.lowest + self.most - 1, self.gamma))
        down = np.cumprod(np.full(-self.lowest, 1.0 / self.gamma))[::-1]
        positive = np.concatenate([down, [1.0], up]) * (2.0 / (self.gamma + 1.0))
        return np.concatenate([-positive[::-1], [0.0], positive, [np.nan]])

    def column(self, setting: Setting) -> Column:
        """An empty column."""
        return Buckets(self, setting)

    def values(self, num: np.ndarray, states: Arrays) -> np.ndarray:
        """The quantile, or NaN."""
        if "bucket" in states:
            buckets = states["bucket"]
        else:
            words = ((states["buckets"] + _ZERO).astype(np.uint64) << _SHIFT) | states["counts"].astype(np.uint64)
            buckets = _buckets(np.ascontiguousarray(states["count"]), words, self.q)
        values: np.ndarray = self.middles[np.minimum(buckets, self.most + 1) + self.most]
        return values

    def results(self, headers: np.ndarray, states: Arrays) -> list[Value]:
        """A `Ranked` a key."""
        values = self.values(headers["num"], states).tolist()
        rows = zip(rows_of(headers), values, states["saturated"].tolist(), strict=True)
        return [Ranked(*header, None if math.isnan(value) else value, flag) for header, value, flag in rows]
