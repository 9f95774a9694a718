"""What was asked of keys before their epoch was over: at which value, so that it is asked again as that grows.

A crossing is judged for good when its epoch is over. Until then whoever judges is asked when a level is reached, and
each time that the value has grown by half of what it was, so that what it comes to is known early at a cost that does
not grow with it.
"""

from functools import cache

import numpy as np

from sensor.sumstats.definition import Definition
from sensor.sumstats.suppression import room_for
from sensor.sumstats.table import Layout, Table

ANSWERED = np.inf
"""In place of a value: a level that is not asked about again before its epoch is over."""


def growth(values: np.ndarray) -> np.ndarray:
    """By how much values (float64) must grow to be worth asking about again."""
    grown: np.ndarray = np.where(values == 0, 1.0, np.abs(values) / 2)
    return grown


class Asked:
    """The levels that were asked about in open epochs; a key for which there is no room is asked about again."""

    def __init__(self, definition: Definition, secret: np.ndarray) -> None:
        self._definition, self._secret = definition, secret
        self._panes: dict[int, Table] = {}

    def ask(self, keys: np.ndarray, levels: np.ndarray, values: np.ndarray, pane: int) -> np.ndarray:
        """Which levels (int64) that keys have reached by some values are to be asked about (bool), and note that."""
        last = np.full(len(keys), np.nan)
        if pane in self._panes:
            table = self._panes[pane]
            rows = table.lookup(np.ascontiguousarray(keys))
            last = np.where(rows >= 0, table.field("value")[rows, levels], np.nan)
        due: np.ndarray = np.isnan(last) | ((values > last) & (values >= last + growth(last)))
        self.note(keys[due], levels[due], values[due], pane)
        return due

    def note(self, keys: np.ndarray, levels: np.ndarray, values: np.ndarray, pane: int) -> None:
        """Keys (uint64, (m, words)) were asked about at these values of levels."""
        if pane not in self._panes:
            layout = _values(self._definition.key_words, max(self._definition.levels, 1))
            self._panes[pane] = Table(layout, room_for(self._definition), self._secret)
        rows, _ = self._panes[pane].find(np.ascontiguousarray(keys), np.ones(len(keys), np.bool_))
        self._panes[pane].field("value")[rows[rows >= 0], levels[rows >= 0]] = values[rows >= 0]

    def of(self, keys: np.ndarray, pane: int) -> np.ndarray:
        """Return which levels of keys were asked about in an epoch (bool, (m, levels))."""
        asked = np.zeros((len(keys), max(self._definition.levels, 1)), np.bool_)
        if pane in self._panes:
            rows = self._panes[pane].lookup(np.ascontiguousarray(keys))
            asked = ~np.isnan(self._panes[pane].field("value")[rows]) & (rows >= 0)[:, np.newaxis]
        return asked

    def expire(self, pane: int) -> None:
        """This epoch, and all before it, are over."""
        for old in [each for each in self._panes if each <= pane]:
            del self._panes[old]

    def clear(self) -> None:
        """Forget all."""
        self._panes.clear()


@cache
def _values(words: int, levels: int) -> Layout:
    return Layout.of(words, [("value", np.dtype((np.float64, (levels,))), np.nan)])
