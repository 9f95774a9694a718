"""Support: observations of streams that no threshold is about, kept as they came until a key is judged by them.

In ordinary traffic nearly every key has support and nothing else, such as connections that succeed. To reduce each of
those would cost a row of several hundred bytes and the look-ups of many columns; as it came it is copied, and read
again for the few keys that come near a level.

Where levels depend on the order of observations (Zeek's checks), all of them are kept beside the states, as history.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sensor.sumstats.definition import Definition
from sensor.sumstats.observation_batch import Given
from sensor.sumstats.table import Keys

_CHUNK = 1 << 14
"""Rows that are joined to one array, so that there are few to search."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Observations of one stream, in order."""

    stream: str
    keys: np.ndarray
    """uint64, (n, key_words)."""
    ts: np.ndarray
    """int64, (n,)."""
    values: Mapping[str, np.ndarray]
    """By reducer of the stream: float64 (n,), or uint64 (n, words)."""
    order: np.ndarray
    """int64, (n,): which of all observations of its pane each was; 0 where another node tells of it."""

    def __len__(self) -> int:
        """How many."""
        return len(self.ts)

    def __getitem__(self, index: slice | np.ndarray) -> "Rows":
        """Some of them: a slice, or as a mask or numbers say."""
        values = {name: array[index] for name, array in self.values.items()}
        return Rows(self.stream, self.keys[index], self.ts[index], values, self.order[index])

    @property
    def nbytes(self) -> int:
        """Memory held."""
        own = self.keys.nbytes + self.ts.nbytes + self.order.nbytes
        return own + sum(array.nbytes for array in self.values.values())

    @staticmethod
    def join(parts: "Sequence[Rows]") -> "Rows":
        """Those of one stream, one after the other; there must be at least one."""
        first = parts[0]
        if len(parts) == 1:
            return first
        values = {name: np.concatenate([part.values[name] for part in parts]) for name in first.values}
        keys, ts, order = (np.concatenate([getattr(part, name) for part in parts]) for name in ("keys", "ts", "order"))
        return Rows(first.stream, keys, ts, values, order)


Support = tuple[Rows, ...]
"""Of one stream or several, in no order."""


def among(support: Support, wanted: Callable[[np.ndarray], np.ndarray]) -> Support:
    """Those rows whose keys (uint64, (n, words)) are wanted (bool)."""
    found = [rows[wanted(rows.keys)] for rows in support]
    return tuple(rows for rows in found if len(rows))


def keys_among(support: Support, keys: Keys) -> list[np.ndarray]:
    """Those of some keys that are supported (uint64, (n, words)), maybe more than once."""
    return [rows.keys[keys.has(rows.keys)] for rows in support]


def in_order(definition: Definition, parts: Sequence[Rows]) -> Given:
    """Observations in order of time, and then of stream and of what was observed, whoever kept which."""
    names = list(definition.streams)
    parts = [*parts, *(_no_rows(definition, name) for name in names)]
    stream = np.concatenate([np.full(len(rows), names.index(rows.stream)) for rows in parts])
    ts, values = np.concatenate([rows.ts for rows in parts]), dict[str, np.ndarray]()
    for reducer in definition.reducers:
        nothing = _no_rows(definition, reducer.stream).values[reducer.name]
        own = [
            rows.values.get(reducer.name, np.zeros((len(rows), *nothing.shape[1:]), nothing.dtype)) for rows in parts
        ]
        values[reducer.name] = np.concatenate(own)
    columns = [column for each in values.values() for column in (each.T if each.ndim > 1 else [each])]
    order = np.lexsort((*columns, stream, ts))
    applies = {name: stream == at for at, name in enumerate(names)}
    return Given(np.concatenate([rows.keys for rows in parts]), ts, values, applies).take(order)


def _no_rows(definition: Definition, stream: str) -> Rows:
    kinds = {
        each.name: (np.uint64, (0, each.element_words)) for each in definition.streams[stream] if each.element_words
    }
    values = {each.name: np.empty(0) for each in definition.streams[stream]}
    values |= {name: np.empty(shape, dtype) for name, (dtype, shape) in kinds.items()}
    none = np.empty(0, np.int64)
    return Rows(stream, np.empty((0, definition.key_words), np.uint64), none, values, none)


class Log:
    """The support or history of the open pane: its share of half the memory at most, the latest refused and counted."""

    def __init__(self, definition: Definition) -> None:
        self._reducers = {name: [each.name for each in definition.streams[name]] for name in definition.logged}
        self._room = definition.max_bytes // 2 // definition.panes
        self._chunks: list[Rows] = []
        self._latest: dict[str, list[Rows]] = {}
        self._nbytes, self._known_refused = 0, 0
        self.observed = 0
        """Observations of all streams in this pane."""
        self.refused = 0
        """Observations for which there was no room, ever."""

    @property
    def lost(self) -> int:
        """Observations refused in this pane."""
        return self.refused - self._known_refused

    def keep(self, given: Given) -> np.ndarray:
        """Keep what is support alone; the numbers (int64) of the other observations."""
        is_judged = np.zeros(len(given.ts), np.bool_)
        for stream in given.applies.keys() - self._reducers.keys():
            is_judged |= given.applies[stream]
        for stream in sorted(given.applies.keys() & self._reducers.keys()):
            rows = np.flatnonzero(given.applies[stream] & ~is_judged)
            if len(rows):
                values = {name: given.values[name][rows] for name in self._reducers[stream]}
                self._keep(Rows(stream, given.keys[rows], given.ts[rows], values, self.observed + rows))
        self.observed += len(given.ts)
        return np.flatnonzero(is_judged)

    def note(self, given: Given) -> None:
        """Keep all observations."""
        for stream in sorted(given.applies):
            rows = np.flatnonzero(given.applies[stream])
            if len(rows):
                values = {name: given.values[name][rows] for name in self._reducers[stream]}
                self._keep(Rows(stream, given.keys[rows], given.ts[rows], values, self.observed + rows))
        self.observed += len(given.ts)

    def _keep(self, rows: Rows) -> None:
        fitting = max(self._room - self._nbytes, 0) * len(rows) // rows.nbytes
        if fitting < len(rows):
            self.refused += len(rows) - fitting
            rows = rows[:fitting]
        self._nbytes += rows.nbytes
        latest = self._latest.setdefault(rows.stream, [])
        latest.append(rows)
        if sum(map(len, latest)) >= _CHUNK:
            self._chunks.append(Rows.join(latest))
            latest.clear()

    def support(self) -> Support:
        """All that there is, in few parts."""
        for latest in self._latest.values():
            latest[:] = [Rows.join(latest)] if latest else []
        return (*self._chunks, *(rows for latest in self._latest.values() for rows in latest))

    def clear(self) -> Support:
        """Forget all, for the next pane; what there was."""
        support = self.support()
        self._chunks.clear()
        self._latest.clear()
        self._nbytes, self.observed, self._known_refused = 0, 0, self.refused
        return support
