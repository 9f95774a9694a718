"""Quiet keys: those whose levels have fired, or whose alert is suppressed, and when they count again.

A window that hops sees the same observations several times over, a key may be evicted and come back, and an alert may
stand for an hour: what is remembered here is what keeps a level from firing twice an epoch, and a key that has nothing
more to say from costing more than a look-up. Time is counted in panes (in epochs, where they do not hop).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from sensor.sumstats.definition import Definition
from sensor.sumstats.table import Layout, Table

_NEVER = np.iinfo(np.int64).min
_LEAST_ROOM = 1 << 12  # keys, however few are held at once: many may come and go within an epoch


@dataclass(frozen=True, slots=True)
class QuietMemory:
    """What is remembered, as columns."""

    keys: np.ndarray
    """uint64, (m, words)."""
    starts: np.ndarray
    """From which pane on each is quiet (int64)."""
    ends: np.ndarray
    """And up to which."""
    again: np.ndarray
    """In which it last fell quiet after it had counted (int64)."""
    fired: Mapping[int, tuple[np.ndarray, np.ndarray]]
    """By pane: the keys that fired, and which level each."""


class Quiet:
    """What is remembered of a definition's keys: as many as it holds, and one beyond them may fire once more."""

    def __init__(self, definition: Definition, secret: np.ndarray) -> None:
        self._definition, self._secret = definition, secret
        self._room = room_for(definition)
        self._spans = Table(_spans(definition.key_words), self._room, secret)
        self._fired: dict[int, Table] = {}
        self._refused = 0

    @property
    def is_empty(self) -> bool:
        """True if nothing is remembered."""
        return not self._fired and not self._spans.used

    @property
    def keys(self) -> np.ndarray:
        """The keys of which something is remembered, some more than once (uint64, (m, words))."""
        return np.concatenate([self._spans.words, *(table.words for table in self._fired.values())])

    @property
    def refused(self) -> int:
        """Keys that found no room."""
        return self._refused + self._spans.refused + sum(table.refused for table in self._fired.values())

    def fire(self, keys: np.ndarray, levels: np.ndarray, pane: int) -> None:
        """Note that each key (uint64, (m, words)) fired a level in a pane.

        One that has fired all, and whose results nobody wants, does not count again before a window without that pane.
        """
        if pane not in self._fired:
            layout = _fired(self._definition.key_words, max(self._definition.levels, 1))
            self._fired[pane] = Table(layout, self._room, self._secret)
        rows = _rows(self._fired[pane], keys)
        self._fired[pane].field("fired")[rows[rows >= 0], levels[rows >= 0]] = True
        threshold = self._definition.threshold
        if threshold and not self._definition.wants_results:
            is_done = self.fired(keys, pane).sum(axis=1) >= threshold.counts[threshold.rule_of(keys)]
            self.silence(keys[is_done], pane, pane + self._definition.panes)

    def silence(self, keys: np.ndarray, start: int, since: int) -> None:
        """Note that what is observed of these keys in the panes from `start` up to `since` does not count."""
        rows = _rows(self._spans, keys)
        rows = rows[rows >= 0]
        starts, ends, again = (self._spans.field(name) for name in ("start", "since", "again"))
        starts[rows] = np.where(ends[rows] >= start, np.minimum(starts[rows], start), start)
        again[rows] = np.where(ends[rows] > start, again[rows], start)  # up to then it counted, if only just
        ends[rows] = np.maximum(ends[rows], since)

    def resume(self, keys: np.ndarray, pane: int) -> None:
        """Let what is observed of these keys count again from a pane on."""
        rows = self._spans.lookup(keys)
        rows = rows[rows >= 0]
        ends = self._spans.field("since")
        ends[rows] = np.minimum(ends[rows], pane)

    def counts(self, keys: np.ndarray, pane: int, *, at_start: bool = False) -> np.ndarray:
        """Whether what is observed of keys in a pane counts (bool, (m,)); `at_start`: before they fell quiet in it."""
        if not self._spans.used:
            return np.ones(len(keys), np.bool_)
        rows = self._spans.lookup(keys)
        starts, ends, again = (self._spans.field(name)[rows] for name in ("start", "since", "again"))
        counted: np.ndarray = (rows < 0) | (pane < starts) | (pane >= ends) | (at_start & (pane == again))
        return counted

    def was_quiet(self, keys: np.ndarray, pane: int) -> np.ndarray:
        """Return whether some of what was observed of keys in the window that ends with a pane may not count (bool)."""
        if not self._spans.used:
            return np.zeros(len(keys), np.bool_)
        rows = self._spans.lookup(keys)
        quiet: np.ndarray = (rows >= 0) & (self._spans.field("since")[rows] > pane + 1 - self._definition.panes)
        return quiet

    def fired(self, keys: np.ndarray, pane: int) -> np.ndarray:
        """Return which levels each key has fired within an epoch's length of a pane (bool, (m, levels))."""
        fired = np.zeros((len(keys), max(self._definition.levels, 1)), np.bool_)
        for other, table in self._fired.items():
            if abs(other - pane) < self._definition.panes:
                rows = table.lookup(keys)
                fired |= table.field("fired")[rows] & (rows >= 0)[:, np.newaxis]
        return fired

    def fired_in(self, pane: int) -> tuple[np.ndarray, np.ndarray]:
        """The keys that fired in a pane (uint64, (m, words)), and which level each (int64), those of a key in order."""
        table = self._fired.get(pane)
        if table is None:
            return np.empty((0, self._definition.key_words), np.uint64), np.empty(0, np.int64)
        rows, levels = np.nonzero(table.field("fired")[: table.used])
        return table.words[rows], levels

    def expire(self, pane: int) -> None:
        """Forget what no longer matters in this pane and those to come."""
        if self.is_empty:
            return
        first = pane - self._definition.panes
        for old in [each for each in self._fired if each <= first]:
            self._refused += self._fired.pop(old).refused
        # What counts from `since` on must not count in the panes before it that are still part of the window.
        lasts = self._spans.field("since")[: self._spans.used] > first
        if not lasts.all():
            self._spans.keep(lasts)

    @property
    def memory(self) -> "QuietMemory":
        """All that is remembered."""
        starts, ends, again = (
            self._spans.field(name)[: self._spans.used].copy() for name in ("start", "since", "again")
        )
        fired = {pane: self.fired_in(pane) for pane in self._fired}
        return QuietMemory(self._spans.words.copy(), starts, ends, again, fired)

    def restore(self, memory: "QuietMemory") -> None:
        """Remember that instead."""
        self.clear()
        for pane, (keys, levels) in memory.fired.items():
            self.fire(keys, levels, pane)
        self._spans.clear()
        rows = _rows(self._spans, memory.keys)
        for name, own in (("start", memory.starts), ("since", memory.ends), ("again", memory.again)):
            self._spans.field(name)[rows] = own

    def clear(self) -> None:
        """Forget all keys."""
        self._spans.clear()
        self._fired.clear()


def room_for(definition: Definition) -> int:
    """Of how many keys something is remembered."""
    return max(definition.max_keys, _LEAST_ROOM)


@cache
def _spans(words: int) -> Layout:
    return Layout.of(words, [(name, np.dtype(np.int64), _NEVER) for name in ("start", "since", "again")])


@cache
def _fired(words: int, levels: int) -> Layout:
    return Layout.of(words, [("fired", np.dtype((np.bool_, (levels,))), False)])


def _rows(table: Table, keys: np.ndarray) -> np.ndarray:
    rows, _ = table.find(np.ascontiguousarray(keys), np.ones(len(keys), np.bool_))
    return rows
