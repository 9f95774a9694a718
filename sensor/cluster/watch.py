"""The watch: keys of a worker that are on their way to a threshold, and by how much each may grow unreported.

When all members' views of a key are merged, what is left to its level is shared out: as long as no member's own value
has grown by its share since, all together have not crossed, if values only grow (distributed countdown: Keralapura,
Cormode and Ramamirtham, 2006). So the messages about a key are few, and no crossing waits for the epoch's end.

A key that has crossed is watched, too, by one worker as by several: it is asked about again as it grows.
"""

from functools import cache

import numpy as np

from sensor.hash import new_key
from sensor.sumstats.table import Layout, Table

_ROOM = 1 << 30  # more than are ever watched


class Watch:
    """The watched keys of one SumStat, `most` of them at once: beyond that, the one watched longest is let go."""

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
        """The values of keys were told; with `shares`, those that were not watched are from now on."""
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
        """Keys may grow by so much from what was last told of them."""
        rows = self._table.lookup(np.ascontiguousarray(keys))
        self._table.field("share")[rows[rows >= 0]] = shares[rows >= 0]

    def grown(self, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Which of the watched keys have grown by their share (bool); a value that has fallen grows from there."""
        rows = self._table.lookup(np.ascontiguousarray(keys))
        base = np.fmin(self._table.field("base")[rows], values)
        self._table.field("base")[rows] = base
        found: np.ndarray = values >= base + self._table.field("share")[rows]
        return found

    def tell_again(self) -> None:
        """What was told may not have arrived: each key has grown enough."""
        base, share = self._table.field("base"), self._table.field("share")
        base[np.isfinite(share)] = -np.inf

    def forget(self, keys: np.ndarray) -> None:
        """Watch keys no more."""
        rows = self._table.lookup(np.ascontiguousarray(keys))
        rows = rows[rows >= 0]
        if len(rows):
            stays = np.ones(self._table.used, np.bool_)
            stays[rows] = False
            self._table.keep(stays)

    def clear(self) -> None:
        """Watch none."""
        self._table.clear()


@cache
def _watched(words: int) -> Layout:
    """By row: the value when the key was last reported, or asked for, and by how much it may grow from there."""
    return Layout.of(words, [("base", np.dtype(np.float64), 0.0), ("share", np.dtype(np.float64), np.inf)])
