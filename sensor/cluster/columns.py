"""Partial results as they are sent: the raw bytes of their columns, whose types both ends know from the definition.

Data from a peer is checked as far as possible: the number of bytes here, counts and values by merging it into a
separate store, which raises ValueError for anything that observations cannot produce.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sensor.cluster.messages import Observed, PackedPartial
from sensor.sumstats import Definition, Keys, Partial, Rows, Selection, Store, among

_SECRET = np.zeros(2, np.uint64)  # a fixed hash key, for tables that results are never read from
_KEPT_BYTES = 1 << 20  # largest store for checks that is reused


def pack(partial: Partial) -> PackedPartial:
    """Return a partial result as bytes."""
    headers = {name: header.tobytes() for name, header in partial.headers.items()}
    states = {name: {each: array.tobytes() for each, array in own.items()} for name, own in partial.states.items()}
    return PackedPartial(partial.keys.tobytes(), headers, states, list(map(_pack_rows, partial.support)))


def _pack_rows(rows: Rows) -> Observed:
    values = {name: array.tobytes() for name, array in rows.values.items()}
    return Observed(rows.stream, rows.keys.tobytes(), rows.ts.tobytes(), values)


class Unpacked(PackedPartial, frozen=True):
    """A partial result passed as an object within the process; no decoder creates one."""

    partial: Any = None


def as_it_is(partial: Partial) -> PackedPartial:
    """Wrap a partial result, unchanged, for a manager in the same process."""
    return Unpacked(b"", {}, {}, [], partial)


@dataclass(frozen=True, slots=True)
class _Kind:
    """The type and row shape of an array."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """Shape of a row."""
    row_bytes: int

    @classmethod
    def of(cls, like: np.ndarray) -> "_Kind":
        return cls(like.dtype, like.shape[1:], like.dtype.itemsize * math.prod(like.shape[1:]))

    def unpack(self, data: bytes | None) -> np.ndarray:
        """Return the array from bytes; merging checks its number of rows. ValueError if it is missing or cut short."""
        if data is None or len(data) % self.row_bytes:
            raise ValueError(f"a column of {self.dtype} is missing or cut short")
        return np.frombuffer(data, self.dtype).reshape(-1, *self.shape).copy()


def nbytes(partial: Partial) -> int:
    """Return the number of bytes of its columns."""
    arrays = [array for own in partial.states.values() for array in own.values()]
    own = partial.keys.nbytes + sum(array.nbytes for array in [*partial.headers.values(), *arrays])
    return own + sum(rows.nbytes for rows in partial.support)


def values_of(definition: Definition, partial: Partial, name: str) -> np.ndarray:
    """Return a reducer's value for each key (float64), as it would be compared with a threshold."""
    reducer = definition.reducer(name)
    return reducer.values(partial.headers[reducer.stream]["num"], partial.states[name])


def fit(definition: Definition, partial: Partial, by: str, most: int) -> tuple[Partial, int, float]:
    """Keep as many keys as fit into about `most` bytes, at least one, the greatest by reducer `by` first.

    Returns them, the number of dropped keys, and the greatest value among those.
    """
    size = nbytes(partial)
    if size <= most:
        return partial, 0, 0.0
    values = values_of(definition, partial, by)
    order = Selection(top=len(partial), by=by).first(values, partial.keys)
    n = max(1, len(partial) * most // size)
    fitting = _with_support(definition, partial, order[:n])
    while n > 1 and nbytes(fitting) > 2 * most:  # keys with the greatest values may take more bytes than others
        n //= 2
        fitting = _with_support(definition, partial, order[:n])
    below = values[order[n]] if n < len(partial) else 0.0
    return fitting, len(partial) - n, float(np.nan_to_num(below))


def _with_support(definition: Definition, partial: Partial, keys: np.ndarray) -> Partial:
    """Return the keys at the given indices (int64) with the observations that support them."""
    own = partial.take(definition, keys)
    return replace(own, support=among(partial.support, Keys(own.keys, _SECRET).has))


class Packing:
    """Unpacks bytes into partial results of one definition."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._store = self._new_store()
        empty = self._store.partial()
        self._headers = {name: _Kind.of(like) for name, like in empty.headers.items()}
        self._states = {
            name: {each: _Kind.of(like) for each, like in own.items()} for name, own in empty.states.items()
        }

    def unpack(self, columns: PackedPartial) -> Partial:
        """Return the partial result; ValueError says what is invalid."""
        if isinstance(columns, Unpacked):
            within: Partial = columns.partial
            return within
        keys = unpack_keys(columns.keys, self._definition.key_words)
        headers = {name: kind.unpack(columns.headers.get(name)) for name, kind in self._headers.items()}
        states = {
            name: {each: kind.unpack(columns.states.get(name, {}).get(each)) for each, kind in own.items()}
            for name, own in self._states.items()
        }
        return Partial(keys, headers, states, tuple(map(self._unpack_rows, columns.support)))

    def _unpack_rows(self, observed: Observed) -> Rows:
        stream = observed.stream
        if stream not in self._definition.logged:
            raise ValueError(f"{self._definition.name}: {stream!r} is no stream whose observations are kept")
        keys = unpack_keys(observed.keys, self._definition.key_words)
        values = {}
        for reducer in self._definition.streams[stream]:
            dtype, words = (np.uint64, reducer.element_words) if reducer.element_words else (np.float64, 1)
            numbers = unpack_numbers(observed.values.get(reducer.name, b""), dtype, len(keys) * words)
            values[reducer.name] = numbers.reshape(len(keys), words) if reducer.element_words else numbers
        ts = unpack_numbers(observed.ts, np.int64, len(keys))
        return Rows(stream, keys, ts, values, np.zeros(len(keys), np.int64))

    def check(self, partial: Partial) -> None:
        """Raise ValueError if it holds values that no observations produce, or a key twice."""
        store, evicted = self._store, self._store.evicted
        try:
            store.merge(partial)
            if len(store) + store.evicted - evicted < len(partial):
                raise ValueError(f"{self._definition.name}: a partial result has a key twice")
        finally:
            if store.nbytes > _KEPT_BYTES:
                self._store = self._new_store()
            elif len(store):
                store.clear()

    def _new_store(self) -> Store:
        return Store(self._definition, _SECRET, judges=False)


def unpack_keys(data: bytes, words: int) -> np.ndarray:
    """Return keys (uint64, (m, words)) from bytes; ValueError if the length does not fit."""
    if len(data) % (8 * words):
        raise ValueError(f"{len(data)} bytes are no keys of {words} words")
    return np.frombuffer(data, np.uint64).reshape(-1, words).copy()


def unpack_numbers(data: bytes, dtype: Any, n: int) -> np.ndarray:
    """Return one number of `dtype` for each of `n` keys; ValueError if the length does not fit."""
    size = np.dtype(dtype).itemsize
    if len(data) != n * size:
        raise ValueError(f"{len(data)} bytes are not {n} numbers of {size}")
    return np.frombuffer(data, dtype).copy()
