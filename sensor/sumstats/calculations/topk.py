"""TOPK: the heaviest elements of each key, with how far each count may be off.

Weighted Space-Saving (Metwally, Agrawal, El Abbadi, 2005): a key keeps `size` elements at most. One more takes the
place of the lightest and inherits its count, as its epsilon: that much of the count may be owed to others. The greatest
count ever lost so is the `floor` of the summary. Always, of the true weights:

- of an element that is kept, it is at least count - epsilon and at most count; epsilon is at most the floor;
- of any other element, it is at most the floor;
- the floor is at most N / size, N being the weight of all observations; where there was no room for `size` elements
  (`saturated`), the number of those for which there was takes its place.

Merging keeps all three (Agarwal et al., Mergeable Summaries, 2012): what one side does not keep may have weighed its
floor there, so that is added to count and epsilon; the `size` heaviest stay, and the floor becomes the sum of both or,
if more, the greatest count left out. The third holds because the sum of (count - floor) plus size * floor never exceeds
N: an observation adds its weight to it, a merge adds the sums, and leaving out only lowers it. Zeek's merge adds no
floors: of "xxx" and "xxppppqqqqqppp" in two places it says that x came exactly three times.

While at most `size` elements were seen, all is exact. Beyond, merging is still commutative, and associative within the
bound. The lightest, among equal counts, is the one of least hash under the sketch key, and a merge leaves out those of
the highest words: the summary alone decides what becomes of it, not its history. Weights and counts end at 2**62.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sensor.hash import hash_rows
from sensor.sumstats.arena import NO_BLOCK, ArenaColumn
from sensor.sumstats.calculation import (
    Arrays,
    ElementReducer,
    RowBatch,
    Setting,
    StateColumn,
    Value,
    checked,
    checked_counts,
    rows_of,
)
from sensor.sumstats.sketches.space_saving import (
    BESIDE,
    INDEXED,
    MOST,
    has_twins,
    merge,
    read_ahead,
    update,
    view,
)

_MOST_WORDS = 1 << 10
_MOST_SIZE = 1 << 15  # slots of an index have 16 bits for a tag and 16 for the number of an entry

_SUMMARY = np.dtype(
    [
        ("block", "<i8"),
        ("floor", "<i8"),
        ("greatest", "<i8"),  # count of any entry, for a threshold
        ("count", "<i4"),  # entries
        ("size_class", "<i1"),
        ("saturated", "?"),
        ("is_stuck", "?"),  # the block will not grow, there being no room
        ("has_heap", "?"),
    ],
    align=True,
)
_EMPTY = np.array((NO_BLOCK, 0, 0, 0, 0, False, False, False), _SUMMARY)
_CLASSES = 40

_INT64 = np.dtype(np.int64)
_Entries = tuple[np.ndarray, np.ndarray, np.ndarray]

_AHEAD = 512  # observations whose blocks are read ahead of their use


def capacities(words: int, size: int) -> np.ndarray:
    """Return how many entries of elements of so many words a block of each class has (int64), `size` at most."""
    blocks = np.int64(1) << np.arange(_CLASSES)
    fits = blocks // (words + BESIDE)
    indexed = (blocks - blocks // 8) // (words + BESIDE + 2)
    return np.minimum(np.where(np.arange(_CLASSES) < INDEXED, fits, indexed), size)


class Summaries(ArenaColumn):
    """The heaviest elements of every key of one reducer."""

    empty_field: ClassVar[np.ndarray] = _EMPTY

    def __init__(self, reducer: "TopK", setting: Setting) -> None:
        super().__init__(setting)
        self._reducer = reducer
        self._key = np.append(setting.sketch_key, setting.secret[0] | np.uint64(1))
        self._capacities = capacities(reducer.words, reducer.size)

    def update(self, batch: RowBatch, values: np.ndarray, *, watch: bool) -> Arrays:
        """Take the elements in order; with `watch`, note the count of the heaviest of the row."""
        after = np.zeros(len(values) * watch, np.int64)
        for start in range(0, len(values), _AHEAD):
            part = slice(start, start + _AHEAD)
            self._take(batch[part], values[part], after[part])
        return {"greatest": after}

    def measure(self, rows: np.ndarray) -> Arrays:
        """The count of the heaviest element of each row; 0: it has none."""
        return {"greatest": self.state["greatest"][rows]}

    def view(self, rows: np.ndarray, measured: Arrays) -> Arrays:
        """The summary of each row as it is now: `count` of the entries, each row's in order, heaviest first."""
        state = self.state[rows]
        ends = np.cumsum(state["count"], dtype=np.int64)
        n = int(ends[-1]) if len(ends) else 0
        order, elements = np.arange(n), np.empty((n, self._reducer.words), np.uint64)
        counts, epsilons = np.empty(n, np.int64), np.empty(n, np.int64)
        view(self.arena.words, self.state, rows, ends, order, elements, counts, epsilons)
        return {
            "count": state["count"].astype(np.int64),
            "floor": state["floor"].copy(),
            "saturated": state["saturated"].copy(),
            "elements": elements[order],
            "counts": counts[order],
            "epsilons": epsilons[order],
        }

    def merge(self, rows: np.ndarray, states: Arrays) -> None:
        """Merge other summaries into rows."""
        count, floors, saturated, entries = self._summaries(states, len(rows))
        ends, hashes = np.cumsum(count), self._hashes(entries[0])
        most = int(count.max(initial=0))
        if has_twins(ends, entries[0], hashes, self._key[2], np.zeros(2 << most.bit_length(), np.int64)):
            raise ValueError("a summary of TOPK has an element twice")
        self.state["saturated"][rows[saturated & (rows >= 0)]] = True
        room = self._reducer.size + most
        union = np.empty((room, self._reducer.words), np.uint64), np.empty(room, np.int64), np.empty(room, np.int64)
        self._run(merge, rows, floors, ends, entries, hashes, union)

    def _take(self, batch: RowBatch, values: np.ndarray, after: np.ndarray) -> None:
        hashes = self._hashes(values)
        read_ahead(self.arena.words.view(np.uint32), self._key[2], self.state, batch.rows, hashes)
        self._run(update, batch.rows, batch.applies, values, self._reducer.words, hashes, after)

    def _hashes(self, elements: np.ndarray) -> np.ndarray:
        hashes = np.empty(len(elements), np.uint64)
        hash_rows(self._key, elements[:, : self._reducer.words], hashes)
        return hashes

    def _run(self, kernel: Callable[..., int], rows: np.ndarray, *more: Any) -> None:
        def run(start: int) -> int:
            words = self.arena.words
            own = self._key, words, words.view(np.uint32), self.arena.book, self.state, self._capacities
            return kernel(*own, rows, *more, start)

        self.arena.run(run, len(rows))

    def _summaries(self, states: Arrays, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, _Entries]:
        """The arrays of a merge, each one possible in itself: count, floor, saturated, and the entries."""
        elements = np.asarray(states.get("elements"))
        if elements.ndim != 2 or elements.shape[1] != self._reducer.words:
            raise ValueError(f"elements of TOPK must be of {self._reducer.words} words, not {elements.shape}")
        elements = checked(states, "elements", np.dtype(np.uint64), len(elements))
        count, floor = checked_counts(states, "elements", rows), checked(states, "floor", _INT64, rows)
        saturated = checked(states, "saturated", np.dtype(np.bool_), rows)
        counts, epsilons = (checked(states, name, _INT64, len(elements)) for name in ("counts", "epsilons"))
        if any(array.ndim != 1 for array in (count, floor, saturated, counts, epsilons)):
            raise ValueError("a state of TOPK has numbers where it may have but one")
        floors = np.repeat(floor, count)
        fits = (floor >= 0).all() and (floor <= MOST).all() and (count <= self._reducer.size).all()
        fits = fits and (counts >= np.maximum(floors, 1)).all() and (counts <= MOST).all()
        if not (fits and (epsilons >= 0).all() and (epsilons <= floors).all()):
            raise ValueError("a state of TOPK has counts that no observations lead to")
        return count, floor, saturated, (elements, counts, epsilons)


@dataclass(frozen=True, slots=True)
class Heaviest(Value):
    """The result of TOPK."""

    topk: tuple[tuple[tuple[int, ...], int, int], ...]
    """Words of the element, count, epsilon: the heaviest first, equal ones by their words.

    The true weight is at least count - epsilon and at most count.
    """
    floor: int
    """The most that any other element may weigh; 0: there is no other."""
    saturated: bool
    """There was no room for `size` elements, so that the floor is higher than it should be."""


@dataclass(frozen=True)
class TopK(ElementReducer):
    """The heaviest elements, each of `words` uint64 words."""

    size: int = 500
    """Most elements that a key keeps: no count is off by more than all observations' weight divided by this."""
    is_weighted: bool = False
    """Whether one more word, after the element, says what the observation weighs (uint64); otherwise each weighs 1."""

    calculation: ClassVar[str] = "TOPK"
    flat: ClassVar[tuple[str, ...]] = ("elements", "counts", "epsilons")

    @property
    def element_words(self) -> int:
        """uint64 words of an element, and its weight."""
        return self.words + self.is_weighted

    def check(self) -> None:
        """Raise ValueError naming an option that is out of range."""
        super().check()
        if not (self.words <= _MOST_WORDS and 1 <= self.size <= _MOST_SIZE):
            raise ValueError(f"{self.name}: words must be from 1 to {_MOST_WORDS}, size from 1 to {_MOST_SIZE}")

    def column(self, setting: Setting) -> StateColumn:
        """An empty column."""
        return Summaries(self, setting)

    def values(self, num: np.ndarray, states: Arrays) -> np.ndarray:
        """The count of the heaviest element, or NaN."""
        greatest = states["greatest"]
        return np.where(greatest > 0, greatest, np.nan)

    def weights(self, values: np.ndarray) -> np.ndarray:
        """The weight of each observation."""
        return values[:, -1].astype(np.float64) if self.is_weighted else np.ones(len(values))

    def ceiling(self, num: np.ndarray, states: Arrays, added: np.ndarray) -> np.ndarray:
        """As much more as is added: a new element inherits the floor, which is no more than the heaviest has."""
        ceiling: np.ndarray = states["greatest"] + added
        return ceiling

    def results(self, headers: np.ndarray, states: Arrays) -> list[Value]:
        """A `Heaviest` a key."""
        elements = map(tuple, states["elements"].tolist())
        entries = list(zip(elements, states["counts"].tolist(), states["epsilons"].tolist(), strict=True))
        ends = np.cumsum(states["count"]).tolist()
        topks = [tuple(entries[first:end]) for first, end in zip([0, *ends], ends, strict=False)]
        rows = zip(rows_of(headers), topks, states["floor"].tolist(), states["saturated"].tolist(), strict=True)
        return [Heaviest(*header, topk, floor, flag) for header, topk, floor, flag in rows]
