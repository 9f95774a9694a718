"""What a store is given to observe: columns, checked against the definition before anything is counted."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sensor.sumstats.definition import Definition


@dataclass(frozen=True, slots=True)
class Given:
    """Observations in order, in just the form that kernels take."""

    keys: np.ndarray
    """uint64 (n, key_words)."""
    ts: np.ndarray
    """int64 (n,)."""
    values: Mapping[str, np.ndarray]
    """By reducer: float64 (n,), or uint64 (n, words)."""
    applies: Mapping[str, np.ndarray]
    """By stream: bool (n,)."""

    @classmethod
    def check(
        cls,
        definition: Definition,
        keys: np.ndarray,
        ts: np.ndarray,
        values: Mapping[str, np.ndarray | None],
        applies: Mapping[str, np.ndarray | None],
    ) -> "Given":
        """Bring columns into that form; ValueError says what does not fit the definition."""
        n = len(ts)
        words = {each.name: each.element_words for each in definition.reducers}
        streams = {definition.reducer(name).stream for name in values if name in words}
        expected = {each.name for each in definition.reducers if each.stream in streams}
        if not values or set(values) != expected or not set(applies) <= streams:
            raise ValueError(f"{definition.name}: values for {sorted(values)}, expected {sorted(expected)}")
        return cls(
            np.ascontiguousarray(_shaped(keys, np.uint64, (n, definition.key_words), "keys")),
            np.ascontiguousarray(_shaped(ts, np.int64, (n,), "ts")),
            {name: _observed(name, array, n, words[name]) for name, array in values.items()},
            {name: _mask(applies.get(name), n) for name in streams},
        )

    def take(self, rows: np.ndarray) -> "Given":
        """Some of them, by number (int64)."""
        values = {name: array[rows] for name, array in self.values.items()}
        return Given(self.keys[rows], self.ts[rows], values, {name: mask[rows] for name, mask in self.applies.items()})


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
