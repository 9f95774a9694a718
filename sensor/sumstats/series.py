"""A series: several epochs, each with few keys, that are over one after the other, as one partial result.

Where input is quiet, most epochs have a handful of keys, and to reduce, send and check each by itself costs a hundred
calls of NumPy for next to nothing. In a series a key is followed by one more word, the number of its epoch.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from sensor.sumstats.calculation import Arrays
from sensor.sumstats.definition import Definition
from sensor.sumstats.partial import Partial

MOST_EPOCHS = 4096
"""Epochs in a series."""


def of_series(definition: Definition) -> Definition:
    """Return what a store, and the check of what a peer sends, go by: keys with an epoch's number, and no threshold."""
    return replace(definition, key_words=definition.key_words + 1, threshold=None)


class Series:
    """What one node knows of the keys of some epochs (int64, ascending). ValueError says what in it cannot be."""

    def __init__(self, definition: Definition, epochs: np.ndarray, whole: Partial) -> None:
        self.definition, self.epochs, self.whole = definition, epochs, whole
        if not 0 < len(epochs) <= MOST_EPOCHS or (np.diff(epochs) <= 0).any():
            raise ValueError(f"{definition.name}: a series of {len(epochs)} epochs that do not ascend")
        own = whole.keys[:, -1].view(np.int64)
        bounds = np.append(np.searchsorted(own, epochs), len(own))
        if bounds[0] or not np.array_equal(np.repeat(epochs, np.diff(bounds)), own):
            raise ValueError(f"{definition.name}: a series has keys that are of none of its epochs")
        self.bounds: list[int] = bounds.tolist()
        """Where the keys of each epoch begin, and the end of all."""
        flat = [each.name for each in definition.reducers if each.flat]
        self._of_each: list[Any] | None = None
        self._ends = {name: np.cumsum(whole.states[name]["count"]) for name in flat}

    def __len__(self) -> int:
        """Return how many epochs."""
        return len(self.epochs)

    def partials(self) -> Iterator["Piece"]:
        """Return what is known of each epoch."""
        return (Piece(self, at) for at in range(len(self)))

    def of_each(self, find: Callable[[Partial, list[int]], list[Any]]) -> list[Any]:
        """Return what is found once for all epochs: each has the keys from one bound to the next."""
        if self._of_each is None:
            self._of_each = find(self.whole, self.bounds)
        return self._of_each

    def part(self, start: int, stop: int) -> "Series":
        """Some of the epochs."""
        return Series(self.definition, self.epochs[start:stop], self.cut(start, stop))

    def cut(self, start: int, stop: int) -> Partial:
        """The keys of some of the epochs, with their numbers."""
        keys = slice(self.bounds[start], self.bounds[stop])
        states: dict[str, Arrays] = {}
        for reducer in self.definition.reducers:
            arrays, items = self.whole.states[reducer.name], keys
            if reducer.flat:
                ends = self._ends[reducer.name]
                items = slice(*(int(ends[at - 1]) if at else 0 for at in (keys.start, keys.stop)))
            states[reducer.name] = {
                name: array[items if name in reducer.flat else keys] for name, array in arrays.items()
            }
        return Partial(self.whole.keys[keys], {name: each[keys] for name, each in self.whole.headers.items()}, states)


class Piece(Partial):
    """What is known of one epoch of a series: cut out of it where somebody looks."""

    __slots__ = ("at", "series")
    series: Series
    at: int

    def __init__(self, series: Series, at: int) -> None:
        object.__setattr__(self, "series", series)
        object.__setattr__(self, "support", ())
        object.__setattr__(self, "at", at)

    def __len__(self) -> int:
        """Return the number of keys."""
        bounds: list[int] = self.series.bounds
        return bounds[self.at + 1] - bounds[self.at]

    def __getattr__(self, name: str) -> Any:
        """One of the columns, all of which are cut out now: the slot of each is empty up to then."""
        if name not in ("keys", "headers", "states"):
            raise AttributeError(name)
        own = self.series.cut(self.at, self.at + 1)
        object.__setattr__(self, "keys", np.ascontiguousarray(own.keys[:, :-1]))
        object.__setattr__(self, "headers", own.headers)
        object.__setattr__(self, "states", own.states)
        return getattr(self, name)
