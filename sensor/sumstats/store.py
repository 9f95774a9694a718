"""One epoch of one SumStat on one node: the state of every key, fed by observations or by merging what others know.

Observations are applied in order, kernel by kernel, a chunk at a time. Each kernel notes the state right after every
observation, so the crossings, and the state of the key at that very observation, do not depend on the batches.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sensor._jit import njit
from sensor.sumstats.calculation import HEADER, Arrays, Batch, checked, extended
from sensor.sumstats.definition import Definition
from sensor.sumstats.partial import Partial, Result, results
from sensor.sumstats.table import Field, Table

_EARLIEST, _LATEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
_NO_HEADER = np.array((0, _LATEST, _EARLIEST), HEADER)
_CHUNK = 1 << 13  # observations whose intermediate arrays stay in the second-level cache


@njit
def _tally(headers, rows, ts, applies, after):
    """Count each observation in its row's header; if `after` is not empty, copy the header there as it goes."""
    watch = after.shape[0] > 0
    for i in range(rows.shape[0]):
        row = rows[i]
        if row < 0:
            continue
        header = headers[row]
        if applies[i]:
            header["num"] += 1
            header["begin"] = min(header["begin"], ts[i])
            header["end"] = max(header["end"], ts[i])
        if watch:
            after[i] = header


@njit
def _merge_headers(headers, rows, other):
    for i in range(rows.shape[0]):
        if rows[i] >= 0:
            into = headers[rows[i]]
            into["num"] += other[i]["num"]
            into["begin"] = min(into["begin"], other[i]["begin"])
            into["end"] = max(into["end"], other[i]["end"])


@njit
def _first(rows, reached, crossed, at):
    """Note the first place at which each row has reached its thresholds, unless it had before; return how many."""
    n = 0
    for i in range(rows.shape[0]):
        row = rows[i]
        if row >= 0 and reached[i] and not crossed[row]:
            crossed[row] = True
            at[n] = i
            n += 1
    return n


@dataclass(frozen=True, slots=True)
class Crossed:
    """The crossings of one batch, in order: a key each, once in an epoch."""

    at: np.ndarray
    """Which observation made it (int64, ascending)."""
    partial: Partial
    """The key as it was right after that observation."""


class Store:
    """The states of all keys, in rows, in order of their first observation.

    `secret` keys the tables; no result depends on it.
    """

    def __init__(self, definition: Definition, secret: np.ndarray) -> None:
        self.definition = definition
        self._columns = {each.name: each.column(secret, definition.max_elements) for each in definition.reducers}
        headers: list[Field] = [(f"stream {name}", HEADER, _NO_HEADER) for name in definition.streams]
        states: list[Field] = [(name, each.empty.dtype, each.empty) for name, each in self._columns.items()]
        self._table = Table(definition.key_words, definition.max_keys, secret, headers + states)
        self._headers: dict[str, np.ndarray] = {}
        self._crossed = np.empty(0, np.bool_)
        self._observations = 0
        self._resize()

    def __len__(self) -> int:
        """How many keys."""
        return self._table.used

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self._crossed.nbytes + self._table.nbytes + sum(column.nbytes for column in self._columns.values())

    @property
    def counters(self) -> Counter[str]:
        """`observations` given; `keys_refused`, those dropped (or keys not merged) at the cap; those of the columns."""
        counts = Counter(observations=self._observations, keys_refused=self._table.refused)
        for column in self._columns.values():
            counts.update(column.counters)
        return counts

    def observe(
        self,
        keys: np.ndarray,
        ts: np.ndarray,
        values: Mapping[str, np.ndarray | None],
        applies: Mapping[str, np.ndarray | None] | None = None,
    ) -> Crossed:
        """Apply observations in order; give the crossings.

        `keys` is uint64 (n, key_words), `ts` int64 (n,). `values` has, for every reducer of each stream observed, what
        it takes: float64 (n,), where None counts each as 1, or uint64 (n, words). `applies` masks a stream (bool (n,)):
        where false, the observation leaves its reducers as they are. ValueError says what does not fit.
        """
        given = self._given(keys, ts, values, applies or {})
        parts = [self._apply(given, start) for start in range(0, len(ts), _CHUNK)]
        parts = [part for part in parts if len(part.at)]
        if not parts:
            nothing = np.empty(0, np.int64)
            return Crossed(nothing, self.partial(nothing))
        return Crossed(np.concatenate([part.at for part in parts]), Partial.join([part.partial for part in parts]))

    def merge(self, partial: Partial) -> np.ndarray:
        """Merge what another node knows; give the rows that thereby reached all thresholds for the first time.

        ValueError says what is malformed; what was merged before that stays.
        """
        keys = np.ascontiguousarray(_shaped(partial.keys, np.uint64, (len(partial), self.definition.key_words), "keys"))
        headers = {name: checked(partial.headers, name, HEADER, len(keys)) for name in self._headers}
        rows = self._table.find(keys, np.ones(len(keys), np.bool_))
        self._resize()
        for name, header in headers.items():
            _merge_headers(self._headers[name], rows, header)
        for name, column in self._columns.items():
            column.merge(rows, partial.states.get(name, {}))
            column.settle(rows)
        crossed: np.ndarray = rows[self._first(rows, self._judged(rows))]
        return crossed

    def partial(self, rows: np.ndarray | None = None) -> Partial:
        """What is known of some keys, or of all, by row: a copy."""
        rows = np.arange(len(self)) if rows is None else rows
        headers = {name: header[rows] for name, header in self._headers.items()}
        states = {name: column.view(rows, column.measure(rows)) for name, column in self._columns.items()}
        return Partial(self._table.words[rows], headers, states)

    def results(self, rows: np.ndarray | None = None) -> list[Result]:
        """The results of some keys, or of all, by row."""
        return results(self.definition, self.partial(rows))

    def reached(self, rows: np.ndarray | None = None) -> np.ndarray:
        """The rows, of some or of all, that are at or over all thresholds now."""
        rows = np.arange(len(self)) if rows is None else rows
        reached: np.ndarray = rows[self._judged(rows)]
        return reached

    def clear(self) -> None:
        """Forget all keys, and go on counting in the same room: the next epoch is likely to need as much."""
        self._table.clear()
        self._crossed = np.empty(0, np.bool_)
        for column in self._columns.values():
            column.clear()
        self._resize()

    def _given(
        self,
        keys: np.ndarray,
        ts: np.ndarray,
        values: Mapping[str, np.ndarray | None],
        applies: Mapping[str, np.ndarray | None],
    ) -> "_Given":
        n = len(ts)
        streams = {self.definition.reducer(name).stream for name in values if name in self._columns}
        expected = {each.name for each in self.definition.reducers if each.stream in streams}
        if set(values) != expected or not set(applies) <= streams:
            raise ValueError(f"{self.definition.name}: values for {sorted(values)}, expected {sorted(expected)}")
        words = {each.name: each.element_words for each in self.definition.reducers}
        return _Given(
            np.ascontiguousarray(_shaped(keys, np.uint64, (n, self.definition.key_words), "keys")),
            np.ascontiguousarray(_shaped(ts, np.int64, (n,), "ts")),
            {name: _observed(name, array, n, words[name]) for name, array in values.items()},
            {name: _mask(applies.get(name), n) for name in streams},
        )

    def _apply(self, given: "_Given", start: int) -> Crossed:
        part = slice(start, start + _CHUNK)
        watch = bool(self.definition.thresholds)
        masks = {name: mask[part] for name, mask in given.applies.items()}
        rows = self._table.find(given.keys[part], np.logical_or.reduce(list(masks.values())))
        self._observations += len(rows)
        self._resize()
        headers, states = {}, {}
        for stream, mask in masks.items():
            batch = Batch(rows, given.ts[part], mask)
            headers[stream] = np.zeros(len(rows) * watch, HEADER)
            _tally(self._headers[stream], rows, batch.ts, mask, headers[stream])
            for reducer in self.definition.streams[stream]:
                values = given.values[reducer.name][part]
                states[reducer.name] = self._columns[reducer.name].update(batch, values, watch=watch)
        at = self._first(rows, self._judged(rows, headers, states))
        crossed = Crossed(start + at, self._view(rows[at], at, headers, states))
        for column in self._columns.values():
            column.settle(rows)
        return crossed

    def _judged(
        self, rows: np.ndarray, headers: Mapping[str, np.ndarray] = {}, states: Mapping[str, Arrays] = {}
    ) -> np.ndarray:
        """Whether each row (-1: no) reaches all thresholds, by the states given or else as they are now."""
        thresholds = self.definition.thresholds
        reached = (rows >= 0) & bool(thresholds)
        for name, least in thresholds.items():
            reducer = self.definition.reducer(name)
            header = headers[reducer.stream] if name in states else self._headers[reducer.stream][rows]
            measured = states[name] if name in states else self._columns[name].measure(rows)
            reached &= reducer.values(header["num"], measured) >= least
        return reached

    def _first(self, rows: np.ndarray, reached: np.ndarray) -> np.ndarray:
        at = np.empty(np.count_nonzero(reached), np.int64)
        return at[: _first(rows, reached, self._crossed, at)]

    def _view(
        self, rows: np.ndarray, at: np.ndarray, headers: Mapping[str, np.ndarray], states: Mapping[str, Arrays]
    ) -> Partial:
        """Rows as they were right after the observations `at` of the chunk that was just applied."""
        viewed = {}
        for name, column in self._columns.items():
            measured = column.measure(rows)
            if name in states:
                measured = {array: after[at] for array, after in states[name].items()}
            viewed[name] = column.view(rows, measured)
        tallied = {name: headers[name][at] if name in headers else now[rows] for name, now in self._headers.items()}
        return Partial(self._table.words[rows], tallied, viewed)

    def _resize(self) -> None:
        rows = self._table.capacity
        if len(self._crossed) == rows:
            return
        self._crossed = extended(self._crossed, rows, False)
        self._headers = {name: self._table.field(f"stream {name}") for name in self.definition.streams}
        for name, column in self._columns.items():
            column.attach(self._table.field(name))


@dataclass(frozen=True, slots=True)
class _Given:
    keys: np.ndarray
    ts: np.ndarray
    values: Mapping[str, np.ndarray]
    applies: Mapping[str, np.ndarray]


def _shaped(array: np.ndarray, dtype: type, shape: tuple[int, ...], what: str) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{what} must be {dtype.__name__} {shape}, not {array.dtype} {array.shape}")
    return array


def _observed(name: str, values: np.ndarray | None, n: int, words: int) -> np.ndarray:
    if words:
        elements = np.asarray(values)
        columns = elements[:, np.newaxis] if elements.ndim == 1 else elements
        return np.ascontiguousarray(_shaped(columns, np.uint64, (n, words), name))
    floats = np.ones(n) if values is None else np.ascontiguousarray(values, np.float64)
    return _shaped(floats, np.float64, (n,), name)


def _mask(applies: np.ndarray | None, n: int) -> np.ndarray:
    if applies is None:
        return np.ones(n, np.bool_)
    return np.ascontiguousarray(_shaped(applies, np.bool_, (n,), "applies"))
