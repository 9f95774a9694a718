"""SAMPLE: a uniform sample, without replacement, of the observations of each key.

Each observation has a priority, a hash of its element and of when it came, and a key keeps the `size` observations of
lowest priority of all (bottom-k: Cohen and Kaplan, 2007). Any `size` of them are as likely as any other to be these,
and those of a union are among those of its parts. Zeek keeps a reservoir (Vitter's R) instead, whose merge has a bias.
Here is what an observation becomes; `least.py` keeps the least of them, in blocks of the arena.

The hash is keyed, so that who sends traffic cannot choose what is kept, and no random number is drawn, so that the
sample is the same in every run. A key's observations at one time, if they come one after the other, are numbered, and
the hash takes the number in: without it, equal elements at one time would be kept together or not at all. Any split
over nodes gives the very sample of the whole as long as those of one key and one time are not split; if they are, the
sample is as uniform, except between equal elements.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sensor._jit import njit
from sensor.hash import hash_words
from sensor.sumstats.bottom_k import BottomK, LeastColumn, arrived, by_key, checked_flat
from sensor.sumstats.calculation import Arrays, RowBatch, Setting, StateColumn, Value, rows_of


@njit(allocates=True)
def _draw(key, rows, ts, applies, elements, state, owners, entries):
    """Fill `entries` with (priority, element), and `owners` with the row: -1 if that is above its bar already."""
    width = elements.shape[1]
    hashed = np.empty(width + 2, np.uint64)
    for i in range(rows.shape[0]):
        owners[i] = -1
        row = rows[i]
        if row < 0 or not applies[i]:
            continue
        hashed[width] = np.uint64(ts[i])
        hashed[width + 1] = np.uint64(arrived(state[row], ts[i]))
        for w in range(width):
            hashed[w] = elements[i, w]
        priority = hash_words(key, hashed)
        if priority > state[row]["bar"]:
            continue
        owners[i] = row
        entries[i, 0] = priority
        for w in range(width):
            entries[i, w + 1] = elements[i, w]


class Samples(LeastColumn):
    """The observations of lowest priority of every key: the entries are (priority, element)."""

    def __init__(self, reducer: "Sample", setting: Setting) -> None:
        super().__init__(reducer, setting, head=1)
        self._key = setting.sketch_key

    def update(self, batch: RowBatch, values: np.ndarray, *, watch: bool) -> Arrays:
        """Draw from the observations."""
        owners, entries = np.empty(len(values), np.int64), np.empty((len(values), self.width), np.uint64)
        _draw(self._key, batch.rows, batch.ts, batch.applies, values, self.state, owners, entries)
        self.keep(owners, entries)
        return {}

    def view(self, rows: np.ndarray, measured: Arrays) -> Arrays:
        """`count`, `saturated`; flat: `priorities`, `elements`, those of a row in ascending order."""
        counts, entries = self.kept(rows)
        priorities, elements = entries[:, 0].copy(), entries[:, 1:].copy()
        return {"count": counts, "saturated": self.saturated(rows), "priorities": priorities, "elements": elements}

    def merge(self, rows: np.ndarray, states: Arrays) -> None:
        """Draw from the samples of others."""
        counts, flags, elements = self.checked_elements(rows, states)
        priorities = checked_flat(states, "priorities", np.uint64, len(elements))
        self.merge_entries(rows, counts, flags, np.column_stack([priorities, elements]))


@dataclass(frozen=True, slots=True)
class Sampled(Value):
    """The result of SAMPLE."""

    sample_elements: int
    """Observations that the sample was drawn from."""
    samples: tuple[tuple[int, ...], ...]
    """The elements drawn, in an order that says nothing: the same ones however the observations were split."""
    saturated: bool
    """There was no room for some."""


@dataclass(frozen=True)
class Sample(BottomK):
    """A sample of `size` of the observed elements, each of `words` uint64 words."""

    size: int = 5
    """Most elements that a key keeps."""

    calculation: ClassVar[str] = "SAMPLE"
    flat: ClassVar[tuple[str, ...]] = ("priorities", "elements")

    def column(self, setting: Setting) -> StateColumn:
        """An empty column."""
        return Samples(self, setting)

    def results(self, headers: np.ndarray, states: Arrays) -> list[Value]:
        """A `Sampled` a key."""
        samples = by_key(states["count"], states["elements"])
        rows = zip(rows_of(headers), samples, states["saturated"].tolist(), strict=True)
        return [Sampled(*header, header[0], sample, flag) for header, sample, flag in rows]
