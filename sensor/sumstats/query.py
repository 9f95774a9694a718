"""Queries: one key, the keys of a prefix, the top of them, or all. Zeek's `request_key`, and more."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, slots=True)
class Selection:
    """The keys whose words, masked, are `value`; with `top`, so many of them that have the most of reducer `by`."""

    mask: tuple[int, ...] = ()
    value: tuple[int, ...] = ()
    is_key: bool = False
    """The value is a whole key."""
    top: int = 0
    by: str = ""

    @classmethod
    def key(cls, words: Iterable[int]) -> "Selection":
        """One key, by its words."""
        return cls(value=tuple(words), is_key=True)

    @property
    def all(self) -> "Selection":
        """The same keys, however great their values: what must be asked for where values are still to be merged."""
        return replace(self, top=0, by="")

    def matches(self, keys: np.ndarray) -> np.ndarray:
        """Return which keys (uint64, (m, words)) it is about, whatever their values (bool)."""
        if self.is_key:
            return np.asarray((keys == np.array(self.value, np.uint64)).all(axis=1))
        if not self.mask:
            return np.ones(len(keys), np.bool_)
        matching: np.ndarray = (keys & np.array(self.mask, np.uint64) == np.array(self.value, np.uint64)).all(axis=1)
        return matching

    def first(self, values: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """Index of the `top` greatest values, greatest first; equal ones by key, NaN last."""
        order: np.ndarray = np.lexsort((*keys.T[::-1], -values))
        return order[: self.top]
