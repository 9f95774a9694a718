"""The window: what an epoch's values are taken over, made of panes where it hops.

A window of one pane is the epoch itself. One of several hops by a pane at a time, so that what straddles a boundary is
seen whole by some window: observations go both into the open pane, which is what other nodes are sent, once, and into
the window, which the thresholds are judged on. A hop puts together anew, from the panes that the window still holds,
just the keys of the pane that it leaves behind.

A level that fired in a pane may fire again in the first window without that pane. A key that has fired goes on being
counted: whether that stands, others say when the pane is over, and only what they `silence` is counted no more.

Whether a worker judges the window depends on how many observe. One alone judges as the manager would, observation by
observation. One of several only watches for keys that have grown by its share of a threshold, which are worth asking
all about. One whose crossings are to be told when their epoch is over does neither, and needs no window but its panes.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from sensor.sumstats.definition import Definition
from sensor.sumstats.observation_batch import Given
from sensor.sumstats.partial import Partial
from sensor.sumstats.query import Selection
from sensor.sumstats.series import Series, of_series
from sensor.sumstats.store import Crossed, Store
from sensor.sumstats.support import Log, Rows, Support, among
from sensor.sumstats.suppression import Quiet
from sensor.sumstats.table import Keys

_ROOMY_KEYS, _ROOMY_BYTES = 1 << 13, 1 << 30
"""From this much room on, a few thousand observations never want for it."""


@dataclass(frozen=True)
class _OpenPane:
    """What the open pane needs to know of keys: whether they count at its start, whatever they fire in it."""

    quiet: Quiet
    index: Callable[[], int]

    def recall(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """No levels, and whether each key counts."""
        counts = self.quiet.counts(keys, self.index(), at_start=True)
        return np.zeros((len(keys), 1), np.bool_), counts

    def note(self, keys: np.ndarray, levels: np.ndarray) -> None:
        """Nothing fires: a pane is not judged."""


@dataclass(frozen=True)
class _Watch:
    """What a window that is only watched needs to know of keys: whether they count. A key is reported once a window."""

    quiet: Quiet
    index: Callable[[], int]

    def recall(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """No levels, and whether each key counts."""
        return np.zeros((len(keys), 1), np.bool_), self.quiet.counts(keys, self.index())

    def note(self, keys: np.ndarray, levels: np.ndarray) -> None:
        """That a key has grown makes it no quieter."""


class Window:
    """The open window of one definition on a worker, one of so many `members`; 0: it judges nothing."""

    def __init__(self, definition: Definition, secret: np.ndarray, members: int = 1, percent: float = 0.2) -> None:
        original, definition = definition, replace(definition, wants_results=True)
        self._definition, self._secret = definition, secret
        self._quiet = Quiet(definition, secret)
        self._is_alone = members == 1
        if self._is_alone:
            self._store = Store(definition, secret, memory=self)
        if self._is_alone and definition.panes == 1:
            self._pane = self._store
        else:
            self._pane = Store(definition, secret, judges=False, memory=_OpenPane(self._quiet, lambda: self._index))
        if members > 1 and definition.threshold:
            threshold = definition.threshold.share(definition.growing, members, percent)
            self._store = Store(
                replace(definition, threshold=threshold), secret, memory=_Watch(self._quiet, lambda: self._index)
            )
        elif not self._is_alone:
            self._store = self._pane
        self._log = Log(original)
        self._supports, self._keeps_history = bool(original.supporting), original.keeps_history
        self._closed: deque[tuple[int, Partial]] = deque()
        self._index, self._evicted = 0, 0
        self._many: Store | None = None  # of panes that are reduced at once
        self._is_roomy = definition.max_keys >= _ROOMY_KEYS and definition.max_bytes >= _ROOMY_BYTES

    @property
    def counters(self) -> dict[str, int]:
        """Those of the store that is judged, and `quiet_refused`, keys that found no room to be remembered."""
        counts = self._store.counters + (Counter() if self._many is None else self._many.counters)
        if self._supports:
            counts["observations_evicted"] += self._log.refused
        return {**dict.fromkeys(self._store.counters, 0), **counts, "quiet_refused": self._quiet.refused}

    @property
    def takes_many(self) -> bool:
        """True if panes may be reduced at once: none of them is judged, and no key is quiet."""
        is_plain = self._pane is self._store and not (self._is_alone or self._keeps_history)
        return is_plain and self._is_roomy and self._quiet.is_empty

    def observe(
        self,
        keys: np.ndarray,
        ts: np.ndarray,
        values: Mapping[str, np.ndarray | None],
        applies: Mapping[str, np.ndarray | None],
    ) -> Crossed:
        """Apply observations of the open pane, in order; see `Store.observe`."""
        if not (self._supports or self._keeps_history):
            return self._observe(keys, ts, values, applies)
        given = Given.check(self._definition, keys, ts, values, applies)
        if self._keeps_history:
            self._log.note(given)
            return self._observe(given.keys, given.ts, given.values, given.applies)
        before = self._log.observed
        own = self._log.keep(given)
        if len(own) < len(ts):
            given = given.take(own)
        crossed = self._observe(given.keys, given.ts, given.values, given.applies)
        if not len(crossed.at):
            return crossed
        crossed = replace(crossed, at=own[crossed.at])
        return self._completed(crossed, before + crossed.at) if self._is_alone else crossed

    def _observe(
        self,
        keys: np.ndarray,
        ts: np.ndarray,
        values: Mapping[str, np.ndarray | None],
        applies: Mapping[str, np.ndarray | None],
    ) -> Crossed:
        if self._pane is not self._store:
            self._pane.observe(keys, ts, values, applies)
        return self._store.observe(keys, ts, values, applies)

    def _completed(self, crossed: Crossed, order: np.ndarray) -> Crossed:
        """Return what crossed, with its support up to the observation of the pane (int64) that made each key cross."""
        parts, numbers = [], crossed.partial.rounds()
        for own in numbers:
            parts.append(self._complete(crossed.partial.take(self._definition, own), order[own]))
        back = np.argsort(np.concatenate(numbers))
        return replace(crossed, partial=Partial.join(parts).take(self._definition, back))

    def _complete(self, partial: Partial, order: np.ndarray) -> Partial:
        """Some keys, each once, with their support up to an observation of the open pane (int64)."""
        store = Store(self._definition, self._secret, judges=False)
        store.merge(partial)
        until = order[np.argsort(store.lookup(partial.keys))]  # by row
        for index, closed in self._closed:
            store.absorb(among(closed.support, self._counting(index)))
        store.absorb(self._log.support(), lambda rows: rows.order <= until[store.lookup(rows.keys)])
        return store.partial(store.lookup(partial.keys))

    def _support_of(self, wanted: Callable[[np.ndarray], np.ndarray]) -> Support:
        """The support of the keys of the window that are wanted, and count."""
        panes = [(index, closed.support) for index, closed in self._closed] + [(self._index, self._log.support())]
        panes = panes if self._supports else []
        found: list[Rows] = []
        for index, support in panes:
            found += among(among(support, wanted), self._counting(index))
        return tuple(found)

    def _counting(self, index: int) -> Callable[[np.ndarray], np.ndarray]:
        """Tells which keys count in a pane of the window."""
        return lambda keys: self._quiet.counts(keys, index, at_start=index == self._index)

    def observe_many(
        self,
        keys: np.ndarray,
        ts: np.ndarray,
        values: Mapping[str, np.ndarray | None],
        applies: Mapping[str, np.ndarray | None],
        panes: np.ndarray,
    ) -> Series:
        """Apply observations of several panes in order, which end with that; nothing was observed in the first yet."""
        if self._many is None:
            self._many = Store(of_series(self._definition), self._secret, judges=False)
        numbered = np.column_stack([keys, panes.view(np.uint64)])
        self._many.observe(numbered, ts, values, applies)
        series = Series(self._definition, np.unique(panes), self._many.partial())
        self._many.clear()
        return series

    def passed(self, series: Series, following: int) -> None:
        """Go on to another pane after those."""
        self._index = following
        if self._definition.panes > 1:
            last = list(zip(series.epochs.tolist(), series.partials(), strict=True))[-self._definition.panes :]
            self._closed.extend(last)
            self._forget()

    def enter(self, index: int) -> None:
        """Begin at a pane, with nothing known of any before."""
        self._closed.clear()
        self._quiet.clear()
        self._store.clear()
        self._pane.clear()
        self._log.clear()
        self._index = index

    def hop(self, following: int) -> tuple[Partial, int]:
        """End the open pane and go on to another; give what was observed in it, and how many observations it lost."""
        lost = self._pane.lost + (self._log.lost if self._supports else 0)
        partial = replace(self._pane.partial(), support=self._log.clear())
        ended, self._index = self._index, following
        self._pane.clear()
        if self._definition.panes > 1:
            self._closed.append((ended, partial))
        if self._pane is self._store:
            self._forget()
        else:
            self._move()
            self._evicted = self._pane.evicted
            self._store.refresh(self._quiet.keys)
        self._quiet.expire(following)
        return partial, lost

    def _forget(self) -> list[np.ndarray]:
        """Drop the expired panes and return the keys of each."""
        first = self._index - self._definition.panes + 1
        gone = [partial.keys for index, partial in self._closed if index < first and len(partial)]
        self._closed = deque(each for each in self._closed if each[0] >= first)
        return gone

    def _move(self) -> None:
        """Drop expired panes and recompute their keys."""
        gone = self._forget()
        if not self._closed:
            self._store.clear()
        elif self._pane.evicted > self._evicted:  # what a pane gave up may still be in the window
            self._store.clear()
            for index, closed in self._closed:
                self._store.merge(closed, self._quiet.counts(closed.keys, index))
        elif gone:
            left = Keys(np.concatenate(gone), self._secret)
            self._store.drop(left.words)
            for index, closed in self._closed:
                self._store.merge(closed, left.has(closed.keys) & self._quiet.counts(closed.keys, index))

    def silence(self, keys: np.ndarray, since: int) -> None:
        """Count keys no more from the next pane on until that one; in this one they have fired and do not count anyway.

        When exactly in this pane it is said, which no two runs agree on, makes no difference.
        """
        self._quiet.silence(keys, self._index, since)

    def answer(self, selection: Selection) -> Partial:
        """Return what is known of some keys."""
        store = self._store
        if store is self._pane and self._definition.panes > 1:
            store = Store(self._definition, self._secret, judges=False)
            for index, closed in self._closed:
                store.merge(closed, self._quiet.counts(closed.keys, index))
            store.merge(self._pane.partial())
        return replace(store.partial(store.select(selection)), support=self._support_of(selection.matches))

    def measure(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which of these keys (uint64, (m, words)) are known (bool), and by which value each of those."""
        rows = self._store.lookup(keys)
        return rows >= 0, self._store.compared(rows[rows >= 0])

    def view(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, Partial]:
        """Return which of these keys (uint64, (m, words)) are known (bool), by which value each, and what of each.

        One alone tells of each with its support; one of several, what it has of all of them.
        """
        rows = self._store.lookup(keys)
        rows, known = rows[rows >= 0], rows >= 0
        partial = self._store.partial(rows)
        if self._supports and self._is_alone:
            partial = self._complete(partial, np.full(len(rows), self._log.observed))
        elif self._supports:
            partial = replace(partial, support=self._support_of(Keys(keys, self._secret).has))
        return known, self._store.compared(rows), partial

    def recall(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which levels keys have fired in the window, and whether they count."""
        return self._quiet.fired(keys, self._index), self._quiet.counts(keys, self._index)

    def note(self, keys: np.ndarray, levels: np.ndarray) -> None:
        """Keys have fired levels in the open pane."""
        self._quiet.fire(keys, levels, self._index)
