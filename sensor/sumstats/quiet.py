"""Quiet keys: those whose levels have fired, or whose alert is suppressed, and when they count again.

A window that hops sees the same observations several times over, and an alert may stand for an hour: what is remembered
here is what keeps a level from firing twice an epoch, and a key that has nothing more to say from costing more than a
look-up. Time is counted in panes (in epochs, where they do not hop).
"""

import numpy as np

from sensor.sumstats.definition import Definition
from sensor.sumstats.table import Table

_NEVER = np.iinfo(np.int64).min


class Quiet:
    """What is remembered of a definition's keys: as many as it holds, and one beyond them may fire in each window."""

    def __init__(self, definition: Definition, secret: np.ndarray) -> None:
        self._definition = definition
        levels = np.dtype((np.int64, (max(definition.levels, 1),)))
        fields = [("since", np.dtype(np.int64), _NEVER), ("fired", levels, _NEVER)]
        self._table = Table(definition.key_words, definition.max_keys, secret, fields)

    def __len__(self) -> int:
        """How many keys."""
        return self._table.used

    @property
    def keys(self) -> np.ndarray:
        """Them (uint64, (m, words))."""
        return self._table.words.copy()

    @property
    def refused(self) -> int:
        """Keys that found no room."""
        return self._table.refused

    def fire(self, keys: np.ndarray, levels: np.ndarray, pane: int) -> None:
        """Note that each key (uint64, (m, words)) fired a level in a pane.

        One that has fired all, and whose results nobody wants, does not count again before a window without that pane.
        """
        rows = self._rows(keys)
        self._table.field("fired")[rows[rows >= 0], levels[rows >= 0]] = pane
        threshold = self._definition.threshold
        if threshold and not self._definition.wants_results:
            is_done = self.fired(keys, pane).sum(axis=1) >= threshold.counts[threshold.rule_of(keys)]
            self.silence(keys[is_done], pane + self._definition.panes)

    def silence(self, keys: np.ndarray, since: int) -> None:
        """Note that what is observed of these keys before the pane `since` does not count."""
        rows = self._rows(keys)
        rows = rows[rows >= 0]
        known = self._table.field("since")
        known[rows] = np.maximum(known[rows], since)

    def counts(self, keys: np.ndarray, pane: int) -> np.ndarray:
        """Whether what is observed of each key in a pane counts (bool, (m,))."""
        if not len(self):
            return np.ones(len(keys), np.bool_)
        rows = self._table.lookup(keys)
        counted: np.ndarray = (rows < 0) | (self._table.field("since")[rows] <= pane)
        return counted

    def fired(self, keys: np.ndarray, pane: int) -> np.ndarray:
        """Which levels each key has fired in the window that ends with a pane (bool, (m, levels))."""
        rows = self._table.lookup(keys)
        within = self._table.field("fired")[rows] > pane - self._definition.panes
        fired: np.ndarray = within & (rows >= 0)[:, np.newaxis]
        return fired

    def expire(self, pane: int) -> None:
        """Forget the keys that are as good as new in this pane."""
        used, first = slice(0, len(self)), pane - self._definition.panes
        # What counts from `since` on must not count in the panes before it that are still part of the window.
        lasts = (self._table.field("fired")[used] > first).any(axis=1) | (self._table.field("since")[used] > first)
        if not lasts.all():
            self._table.keep(lasts)

    def clear(self) -> None:
        """Forget all keys."""
        self._table.clear()

    def _rows(self, keys: np.ndarray) -> np.ndarray:
        rows, _ = self._table.find(np.ascontiguousarray(keys), np.ones(len(keys), np.bool_))
        return rows
