"""The watch: a worker's keys that approach a threshold, and how much each may grow unreported.

When all members' views of a key are merged, the distance to its next level is divided into shares. If values only grow,
the sum has not crossed while no member's own value has grown by its share (distributed countdown: Keralapura, Cormode
and Ramamirtham, 2006). So few messages are needed per key, and no crossing waits for the epoch's end.

A key that has crossed is watched as well, with one worker or several: it is checked again as it grows.
"""

from functools import cache

import numpy as np

from sensor.hash import new_key
from sensor.sumstats.table import Layout, Table

_ROOM = 1 << 30  # table limit above any number of watched keys


class Watch:
    """The watched keys of one SumStat, at most `most`: beyond that, the one watched longest is evicted."""

    def __init__(self, words: int, most: int) -> None:
        self._table, self._most = Table(_watched(words), _ROOM, new_key()), most
        self.let_go = 0

    def __len__(self) -> int:
        return self._table.used

    @property
    def keys(self) -> np.ndarray:
        """The watched keys (uint64, (m, words))."""
        return self._table.words.copy()

    def report(self, keys: np.ndarray, values: np.ndarray, shares: np.ndarray | None = None) -> None:
        """Record reported values (float64) of keys (uint64, (m, words)); `shares` (float64): also watch new keys."""
        keys = np.ascontiguousarray(keys)
        rows, before = self._table.lookup(keys), self._table.used
        if shares is not None:
            rows, _ = self._table.find(keys, np.ones(len(keys), np.bool_))
            new = rows >= before
            self._table.field("share")[rows[new]] = shares[new]
        self._table.field("base")[rows[rows >= 0]] = values[rows >= 0]
        excess = self._table.used - self._most
        if excess > 0:
            self._table.keep(np.arange(self._table.used) >= excess)
            self.let_go += excess

    def share(self, keys: np.ndarray, shares: np.ndarray) -> None:
        """Set how much each key may grow from its last reported value (float64)."""
        rows = self._table.lookup(np.ascontiguousarray(keys))
        self._table.field("share")[rows[rows >= 0]] = shares[rows >= 0]

    def grown(self, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return which watched keys have grown by their share (bool); a fallen value becomes the new base."""
        rows = self._table.lookup(np.ascontiguousarray(keys))
        base = np.fmin(self._table.field("base")[rows], values)
        self._table.field("base")[rows] = base
        found: np.ndarray = values >= base + self._table.field("share")[rows]
        return found

    def tell_again(self) -> None:
        """Make every watched key due for a report, as earlier reports may not have arrived."""
        base, share = self._table.field("base"), self._table.field("share")
        base[np.isfinite(share)] = -np.inf

    def forget(self, keys: np.ndarray) -> None:
        """Stop watching keys."""
        rows = self._table.lookup(np.ascontiguousarray(keys))
        rows = rows[rows >= 0]
        if len(rows):
            stays = np.ones(self._table.used, np.bool_)
            stays[rows] = False
            self._table.keep(stays)

    def clear(self) -> None:
        """Stop watching all keys."""
        self._table.clear()


@cache
def _watched(words: int) -> Layout:
    """Return the row layout: the value last reported or requested, and how much it may grow from there."""
    return Layout.of(words, [("base", np.dtype(np.float64), 0.0), ("share", np.dtype(np.float64), np.inf)])
