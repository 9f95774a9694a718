"""Partial results as they travel: the raw bytes of their columns, whose types both ends know from the definition.

What a peer sends is believed only as far as it can be checked: the number of bytes here, counts and values by merging
it into a store of its own, which raises ValueError for anything that observations could not have led to.
"""

from typing import Any

import numpy as np

from sensor.cluster.messages import Columns
from sensor.sumstats import Definition, Partial, Store

_SECRET = np.zeros(2, np.uint64)  # of stores that are thrown away


def pack(partial: Partial) -> Columns:
    """A partial result as bytes."""
    headers = {name: header.tobytes() for name, header in partial.headers.items()}
    states = {name: {each: array.tobytes() for each, array in own.items()} for name, own in partial.states.items()}
    return Columns(partial.keys.tobytes(), headers, states)


class Packing:
    """Turns bytes back into partial results of one definition."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._empty = Store(definition, _SECRET, judges=False).partial()

    def unpack(self, columns: Columns) -> Partial:
        """The partial result; ValueError says what in it cannot be."""
        keys = unpack_keys(columns.keys, self._definition.key_words)
        headers = {name: _array(columns.headers.get(name), like) for name, like in self._empty.headers.items()}
        states = {
            name: {each: _array(columns.states.get(name, {}).get(each), like) for each, like in own.items()}
            for name, own in self._empty.states.items()
        }
        return Partial(keys, headers, states)

    def check(self, partial: Partial) -> None:
        """Raise ValueError if it holds what no observations lead to, or a key twice."""
        store = Store(self._definition, _SECRET, judges=False)
        store.merge(partial)
        if len(store) + store.evicted < len(partial):
            raise ValueError(f"{self._definition.name}: a partial result has a key twice")


def unpack_keys(data: bytes, words: int) -> np.ndarray:
    """Keys (uint64, (m, words)) from bytes; ValueError if they are none."""
    if len(data) % (8 * words):
        raise ValueError(f"{len(data)} bytes are no keys of {words} words")
    return np.frombuffer(data, np.uint64).reshape(-1, words).copy()


def unpack_numbers(data: bytes, dtype: Any, n: int) -> np.ndarray:
    """Numbers, one for each of `n` keys; ValueError if they are not so many."""
    size = np.dtype(dtype).itemsize
    if len(data) != n * size:
        raise ValueError(f"{len(data)} bytes are not {n} numbers of {size}")
    return np.frombuffer(data, dtype).copy()


def _array(data: bytes | None, like: np.ndarray) -> np.ndarray:
    """An array of the same type; of how many rows, is checked where it is merged."""
    row = like.dtype.itemsize * int(np.prod(like.shape[1:], dtype=np.int64))
    if data is None or len(data) % row:
        raise ValueError(f"a column of {like.dtype} is missing or cut short")
    return np.frombuffer(data, like.dtype).reshape(-1, *like.shape[1:]).copy()
