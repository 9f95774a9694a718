"""Following: keys whose alert stands, counted on from their window until they rest, so that its figures stay true.

Each pane is merged once, when it is over. A key rests when nothing was observed of it in the panes of a whole window.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from sensor.sumstats.definition import Definition
from sensor.sumstats.partial import Partial
from sensor.sumstats.store import Store
from sensor.sumstats.support import keys_among
from sensor.sumstats.table import Keys

MOST_FOLLOWED = 65_536
"""Keys of a SumStat; those that cross beyond them are not followed."""


class Following:
    """The followed keys of one SumStat."""

    def __init__(self, definition: Definition, secret: np.ndarray) -> None:
        self._definition, self._secret = definition, secret
        self._store = Store(definition, secret)
        self.last: dict[bytes, int] = {}
        """The last pane in which something was observed of each."""
        self._ended: set[bytes] = set()
        """The keys whose rows are left to be given up."""

    @property
    def keys(self) -> np.ndarray:
        """All of them (uint64, (m, words))."""
        return self._words(list(self.last))

    def restore(self, partial: Partial, last: Mapping[bytes, int]) -> None:
        """Go on from what was known of all keys."""
        self.clear()
        self._store.merge(partial)
        self.last = dict(last)

    def begin(self, window: Partial, pane: int) -> int:
        """Follow keys, of which so much is known after a pane; for how many, from the first on, there was room."""
        room = max(MOST_FOLLOWED - len(self.last), 0)
        if room < len(window):
            window = window.take(self._definition, np.arange(room))
        if len(window):
            if self._ended and not self._ended.isdisjoint(words.tobytes() for words in window.keys):
                self._forget()
            self._store.merge(window)
            self.last.update((words.tobytes(), pane) for words in window.keys)
        return len(window)

    def add_pane(self, pane: int, partials: Iterable[Partial], rested: np.ndarray) -> None:
        """A pane is over: count on, but keys that had rested before it began."""
        if len(self.last) == len(rested):
            return
        gone = {words.tobytes() for words in rested}
        awake = self._words([key for key in self.last if key not in gone]) if gone or self._ended else self._store.keys
        known, held, touched = Keys(awake, self._secret), list(partials), []
        for partial in held:
            is_known = known.has(partial.keys)
            if is_known.any():
                self._store.merge(partial, is_known)
                touched.append(partial.keys[is_known])
        for partial in held:
            self._store.absorb(partial.support, lambda rows: known.has(rows.keys))
            touched += keys_among(partial.support, known)
        self.last.update((words.tobytes(), pane) for keys in touched for words in keys)

    def touched(self, pane: int) -> np.ndarray:
        """The keys of which the last that was observed was so in a pane."""
        return self._words(sorted(key for key, last in self.last.items() if last == pane))

    def resting(self, pane: int) -> np.ndarray:
        """The keys of which nothing was observed in the window that ends with a pane."""
        first = pane - self._definition.panes
        return self._words(sorted(key for key, last in self.last.items() if last <= first))

    def values(self, keys: np.ndarray) -> np.ndarray:
        """Return what levels are compared with (float64), of followed keys."""
        return self._store.compared(self._store.lookup(keys))

    def partial(self, keys: np.ndarray) -> Partial:
        """Return what is known of followed keys."""
        return self._store.partial(self._store.lookup(keys))

    def end(self, keys: np.ndarray) -> None:
        """Follow keys no more."""
        for words in keys:
            del self.last[words.tobytes()]
            self._ended.add(words.tobytes())
        if len(self._ended) > len(self.last):  # to move up the rows that stay takes long
            self._forget()

    def _forget(self) -> None:
        """Give up the rows of keys that are not followed any more."""
        if self.last:
            self._store.drop(self._words(list(self._ended)))
        else:
            self._store.clear()
        self._ended.clear()

    def clear(self) -> None:
        """Follow none."""
        self._store.clear()
        self.last.clear()
        self._ended.clear()

    def _words(self, keys: list[bytes]) -> np.ndarray:
        words = self._definition.key_words
        return np.frombuffer(b"".join(keys), np.uint64).reshape(len(keys), words)
