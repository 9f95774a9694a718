"""FIRST and LAST: the elements that were observed first, or last, at each key.

Zeek's LAST, and its mirror image. What counts is when something was observed, not when this was told: a key's
observations at one time, if they come one after the other, are numbered, and all go by (time, number, element). So what
comes late finds its place, and merging is exact, commutative and associative, while Zeek's merge of two queues knows no
times. Any split over nodes gives what the whole gives as long as observations of one key and one time are not split; if
they are, each node's stay in order, and those of several nodes go by their numbers.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sensor._jit import njit
from sensor.sumstats.bottom_k import MOST_ORDER, BottomK, LeastColumn, arrived, by_key, checked_flat
from sensor.sumstats.calculation import Arrays, RowBatch, Setting, StateColumn, Value, rows_of

_SIGN = np.uint64(1 << 63)  # turns a signed time into a word that sorts as it does


@njit
def _place(flip, rows, ts, applies, elements, state, owners, entries):
    """Fill `entries` with (time, order, element), and `owners` with the row: -1 if that is above its bar already."""
    for i in range(rows.shape[0]):
        owners[i] = -1
        row = rows[i]
        if row < 0 or not applies[i]:
            continue
        order = np.uint64(arrived(state[row], ts[i]))
        time = np.uint64(ts[i]) ^ _SIGN ^ flip
        if time > state[row]["bar"]:
            continue
        owners[i] = row
        entries[i, 0] = time
        entries[i, 1] = order ^ flip
        for w in range(elements.shape[1]):
            entries[i, w + 2] = elements[i, w] ^ flip


class Ends(LeastColumn):
    """The first or last elements of every key: the entries are (time, order, element), every bit flipped for LAST."""

    def __init__(self, reducer: "_End", setting: Setting) -> None:
        super().__init__(reducer, setting, head=2)
        self._flip = np.uint64(0 if reducer.step > 0 else 2**64 - 1)

    def update(self, batch: RowBatch, values: np.ndarray, *, watch: bool) -> Arrays:
        """Put the elements in their place."""
        owners, entries = np.empty(len(values), np.int64), np.empty((len(values), self.width), np.uint64)
        _place(self._flip, batch.rows, batch.ts, batch.applies, values, self.state, owners, entries)
        self.keep(owners, entries)
        return {}

    def view(self, rows: np.ndarray, measured: Arrays) -> Arrays:
        """`count`, `saturated`; flat: `ts`, `order`, `elements`, a row's from its end on (LAST: newest first)."""
        counts, entries = self.kept(rows)
        entries ^= self._flip
        return {
            "count": counts,
            "saturated": self.saturated(rows),
            "ts": (entries[:, 0] ^ _SIGN).view(np.int64),
            "order": entries[:, 1].astype(np.int64),
            "elements": entries[:, 2:].copy(),
        }

    def merge(self, rows: np.ndarray, states: Arrays) -> None:
        """Put the elements of others in their place."""
        counts, flags, elements = self.checked_elements(rows, states)
        ts = checked_flat(states, "ts", np.int64, len(elements))
        order = checked_flat(states, "order", np.int64, len(elements))
        if ((order < 0) | (order > MOST_ORDER)).any():
            raise ValueError(f"the order of an element is from 0 to {MOST_ORDER}")
        entries = np.column_stack([ts.view(np.uint64) ^ _SIGN, order.view(np.uint64), elements])
        self.merge_entries(rows, counts, flags, entries ^ self._flip)


@dataclass(frozen=True, slots=True)
class Latest(Value):
    """The result of LAST."""

    last_elements: tuple[tuple[int, ...], ...]
    """The last `size` elements, oldest first."""
    saturated: bool
    """There was no room for some."""


@dataclass(frozen=True, slots=True)
class Earliest(Value):
    """The result of FIRST."""

    first_elements: tuple[tuple[int, ...], ...]
    """The first `size` elements, oldest first."""
    saturated: bool
    """There was no room for some."""


class _End(BottomK):
    flat: ClassVar[tuple[str, ...]] = ("ts", "order", "elements")
    step: ClassVar[int]  # from the outermost element to the next, in time
    result: ClassVar[type[Latest] | type[Earliest]]

    def column(self, setting: Setting) -> StateColumn:
        """An empty column."""
        return Ends(self, setting)

    def results(self, headers: np.ndarray, states: Arrays) -> list[Value]:
        """An `Earliest` or a `Latest` a key."""
        elements = by_key(states["count"], states["elements"])
        rows = zip(rows_of(headers), elements, states["saturated"].tolist(), strict=True)
        return [self.result(*header, own[:: self.step], flag) for header, own, flag in rows]


@dataclass(frozen=True)
class Last(_End):
    """The last `size` of the observed elements, each of `words` uint64 words."""

    calculation: ClassVar[str] = "LAST"
    step: ClassVar[int] = -1
    result: ClassVar[type[Latest]] = Latest


@dataclass(frozen=True)
class First(_End):
    """The first `size` of the observed elements, each of `words` uint64 words."""

    calculation: ClassVar[str] = "FIRST"
    step: ClassVar[int] = 1
    result: ClassVar[type[Earliest]] = Earliest
