"""HLL_UNIQUE: about how many distinct elements were observed, in little memory however many they are.

HyperLogLog (Flajolet et al., 2007) on 64 bit hashes under `sketch_key`. What a key holds depends on the set of these
hashes alone, never on their order, so that merging is the union of sets: the same state after any split.

- Exact, up to 32 hashes: they themselves, the first two in the row's field, and each other in the line of the cache
  that its bits say, or the next with room.
- Sparse, while that takes at most half of the room of the next: 26 bits of each hash with the rank of the rest (as in
  HyperLogLog++, Heule et al., 2013), counted linearly over 2**26.
- Dense: 2**b registers of a byte, and their sum of powers, kept exactly, so that an estimate costs the same at any b.

The estimate is Ertl's improved raw estimator (arXiv:1702.01284, algorithm 4), without bias from nothing to 2**60. As in
Zeek's hll_unique.zeek, b is chosen so that the relative error, of standard deviation 1.04 / 2**(b / 2), is at most
`error_margin` with probability `confidence`.
"""

import math
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import ClassVar

import numpy as np

from sensor.hash import hash_words
from sensor.sumstats.arena import NO_BLOCK, ArenaColumn
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
from sensor.sumstats.sketches.hyperloglog import (
    DENSE,
    EXACT,
    FIRST_SPARSE,
    FIXED_BITS,
    INDEX_BITS,
    LINE,
    MOST_EXACT,
    ONE,
    SPARSE,
    ZERO,
    collect,
    forget_rows,
    hash_elements,
    malformed,
    merge,
    update,
)

LEAST_BITS, MOST_BITS = 4, 18
"""Of the index of a register."""

_SKETCH = np.dtype(
    [
        ("block", "<i4"),  # where it starts, in lines; so the record of a row with a key of two words fills a line
        ("number", "<u2"),  # of hashes or of entries
        ("kind", "u1"),  # the phase, and in the low 4 bits the size class of the block
        ("saturated", "?"),
        ("first", "<u8"),  # the first hash; dense: the sum of 2**-rank over all registers, in units of 2**(b - 63)
        ("second", "<u8"),  # the second hash; dense: how many registers are still 0
    ],
    align=True,
)
_EMPTY = np.array((NO_BLOCK, 0, EXACT, False, 0, 0), _SKETCH)
_MOST_LINES = 1 << 31  # that `block` can tell
_PIECE = 1 << 10  # observations whose rows and blocks stay in the first caches
_ALPHA = 0.5 / math.log(2)


def index_bits(error_margin: float, confidence: float) -> int:
    """How many bits number the registers, so that the error keeps to the margin: OptimalB of Zeek's HyperLogLog."""
    least = 2 * math.log2(1.04 / error_margin)
    bits = math.floor(least) + 1
    while math.erf(2 ** ((bits - least) / 2) / math.sqrt(2)) < confidence:
        bits += 1
    return bits


@cache
def _of_zeros(bits: int) -> np.ndarray:
    """m sigma(C / m) of Ertl's estimator for each number C of registers that are still 0, of m = 2**bits."""
    power = np.arange(1 << bits) / (1 << bits)
    total, factor, before = power.copy(), 0.5, np.zeros(1 << bits)
    while (total != before).any():
        power, factor, before = power * power, 2 * factor, total
        total = total + power * factor
    return np.append(total * (1 << bits), np.inf)


def _measured(fields: np.ndarray) -> dict[str, np.ndarray]:
    """Return what an estimate needs of some rows."""
    phases = fields["kind"] >> 4
    is_dense = phases == DENSE
    return {
        "phase": phases,
        "number": np.where(is_dense, fields["second"].astype(np.int64), fields["number"]),
        "power_sum": np.where(is_dense, fields["first"], ZERO),
        "saturated": fields["saturated"].copy(),
    }


class Sketches(ArenaColumn):
    """The sketch of every key of one reducer."""

    empty_field: ClassVar[np.ndarray] = _EMPTY

    def __init__(self, reducer: "HllUnique", setting: Setting) -> None:
        most = 8 * LINE * _MOST_LINES
        super().__init__(replace(setting, max_bytes=min(setting.max_bytes, most)))
        self._bits = reducer.bits
        self._key = setting.sketch_key
        self._spread = np.uint64(hash_words(setting.secret, np.empty(0, np.uint64))) | ONE

    def update(self, batch: RowBatch, values: np.ndarray, *, watch: bool) -> Arrays:
        """Add the elements in order."""
        hashes, after = np.empty(len(values), np.uint64), np.zeros(len(values) * watch, _SKETCH)
        hash_elements(self._key, values, hashes)
        arena, places = self.arena, np.empty(_PIECE, np.int64)
        given, own = (batch.rows, batch.applies, hashes, self.state), (self._bits, self._spread, places, after)
        arena.run(lambda start: update(start, *given, arena.words, arena.book, *own), len(values))
        return _measured(after) if watch else {}

    def measure(self, rows: np.ndarray) -> Arrays:
        """The phase of each row, its number of what that holds, and the sum of powers."""
        return _measured(self.state[rows])

    def view(self, rows: np.ndarray, measured: Arrays) -> Arrays:
        """With `cells` (uint64, (sum of count,)): the hashes, the entries in pairs, or the registers in eights."""
        states = _measured(self.state[rows])
        counts = self._cells(states["phase"], states["number"])
        ends = np.cumsum(counts)
        cells = np.zeros(int(counts.sum()), np.uint64)
        collect(rows, self.state, self.arena.words, ends, cells)
        return {**states, "count": counts, "cells": cells}

    def merge(self, rows: np.ndarray, states: Arrays) -> None:
        """Add what others hold."""
        counts = checked_counts(states, "cells", len(rows))
        flags = checked(states, "saturated", np.dtype(np.bool_), len(rows))
        cells = checked(states, "cells", np.dtype(np.uint64), int(counts.sum()))
        phases = checked(states, "phase", np.dtype(np.uint8), len(rows))
        numbers = checked(states, "number", np.dtype(np.int64), len(rows))
        sums = checked(states, "power_sum", np.dtype(np.uint64), len(rows))
        if any(array.ndim != 1 for array in (counts, flags, cells, phases, numbers, sums)):
            raise ValueError("a state of HLL_UNIQUE is of arrays of one dimension")
        ends = np.cumsum(counts)
        odd = (numbers < 0) | (numbers > self._most(phases)) | (counts != self._cells(phases, numbers))
        odd |= (phases == SPARSE) & (numbers < 1)
        if odd.any() or malformed(phases, numbers, sums, ends, cells, self._bits) >= 0:
            raise ValueError("a state of HLL_UNIQUE is not one that elements lead to")
        arena, own = self.arena, (self._bits, self._spread)
        given = rows, phases, flags, ends, cells, self.state
        arena.run(lambda start: merge(start, *given, arena.words, arena.book, *own), len(rows))

    def renumber(self, numbers: np.ndarray) -> None:
        """Take back the blocks of rows that are forgotten; the others keep theirs under their new number."""
        forget_rows(self.state, numbers, self.arena.words, self.arena.book)

    def _cells(self, phases: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Words that a view takes for each row."""
        sparse_or_dense = np.where(phases == SPARSE, (numbers + 1) // 2, 1 << (self._bits - 3))
        cells: np.ndarray = np.where(phases == EXACT, numbers, sparse_or_dense)
        return cells

    def _most(self, phases: np.ndarray) -> np.ndarray:
        """The greatest number that each phase has; below 0 for one that there is not."""
        most = np.full(256, -1, np.int64)
        most[[EXACT, DENSE]] = MOST_EXACT, 1 << self._bits
        if self._bits - 4 >= FIRST_SPARSE:
            most[SPARSE] = 3 << (self._bits - 5)
        of_each: np.ndarray = most[phases]
        return of_each


@dataclass(frozen=True, slots=True)
class Cardinality(Value):
    """The result of HLL_UNIQUE."""

    hll_unique: int
    """Distinct elements, estimated."""
    is_exact: bool
    """They were few, and this is their number."""
    saturated: bool
    """Elements were refused for lack of room, so there were more."""


@dataclass(frozen=True)
class HllUnique(ElementReducer):
    """The number of distinct elements, each of `words` uint64 words, estimated."""

    error_margin: float = 0.01
    """The relative error of most estimates is at most this."""
    confidence: float = 0.95
    """The probability that it is."""

    calculation: ClassVar[str] = "HLL_UNIQUE"
    grows: ClassVar[bool] = True
    flat: ClassVar[tuple[str, ...]] = ("cells",)

    @cached_property
    def bits(self) -> int:
        """Bits of the index of a register."""
        return index_bits(self.error_margin, self.confidence)

    def check(self) -> None:
        """Raise ValueError naming an option that is out of range."""
        super().check()
        if not (0 < self.error_margin < 1 and 0 < self.confidence < 1):
            raise ValueError(f"{self.name}: error_margin and confidence must lie between 0 and 1")
        if not LEAST_BITS <= self.bits <= MOST_BITS:
            raise ValueError(
                f"{self.name}: error_margin {self.error_margin} with confidence {self.confidence} needs 2**{self.bits}"
                f" registers, and there may be from 2**{LEAST_BITS} to 2**{MOST_BITS}"
            )

    def column(self, setting: Setting) -> StateColumn:
        """An empty column."""
        return Sketches(self, setting)

    def values(self, num: np.ndarray, states: Arrays) -> np.ndarray:
        """The estimate."""
        return self._estimates(states)

    def results(self, headers: np.ndarray, states: Arrays) -> list[Value]:
        """A `Cardinality` a key."""
        estimates, flags = np.rint(self._estimates(states)).astype(np.int64), states["saturated"]
        is_exact = (states["phase"] == EXACT) & ~flags
        rows = zip(rows_of(headers), estimates.tolist(), is_exact.tolist(), flags.tolist(), strict=True)
        return [Cardinality(*header, *values) for header, *values in rows]

    def ceiling(self, num: np.ndarray, states: Arrays, added: np.ndarray) -> np.ndarray:
        """What so many elements, all new, can make of it: each fills a register, or takes at most half from the sum.

        Where a row may go on with registers meanwhile, anything.
        """
        dense = states["phase"] == DENSE
        filled = np.minimum(states["number"][dense], added[dense]).astype(np.int64)
        halves = (added[dense] / 2 * 2.0 ** (FIXED_BITS - self.bits)).clip(0, 2.0**62).astype(np.uint64)
        power_sum = states["power_sum"][dense]
        slots, number = 2.0**INDEX_BITS, states["number"] + added
        has_sparse = self.bits - 4 >= FIRST_SPARSE
        most_entries = 3 << (self.bits - 5) if has_sparse else MOST_EXACT
        most = np.where(number <= most_entries, -slots * np.log1p(-np.minimum(number, slots / 2) / slots), np.inf)
        most[dense] = self._estimates(
            {
                "phase": states["phase"][dense],
                "number": states["number"][dense] - filled,
                "power_sum": power_sum - np.minimum(power_sum, halves),
            }
        )
        return most

    def _estimates(self, states: Arrays) -> np.ndarray:
        phase, number = states["phase"], states["number"]
        estimates = number.astype(np.float64)
        sparse, dense = phase == SPARSE, phase == DENSE
        slots, registers = 2.0**INDEX_BITS, 2.0**self.bits
        estimates[sparse] = -slots * np.log1p(-number[sparse] / slots)
        powers = states["power_sum"][dense] / 2.0 ** (FIXED_BITS - self.bits)
        estimates[dense] = _ALPHA * registers**2 / (_of_zeros(self.bits)[number[dense]] + powers)
        return estimates
