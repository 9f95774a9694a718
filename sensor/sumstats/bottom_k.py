"""Keeps the least few of the entries that are put to a key: what SAMPLE, FIRST and LAST have in common.

An entry is a row of uint64 words, compared word by word; equal ones are all kept. The least `size` of many are the
same in whatever order and grouping they came, so merging is exact. They lie in a block of the arena that grows up to
`size`, as a heap with the greatest at its root (Williams, 1964): one more costs log2(size) moves at most. A row that is
full knows its `bar`, the first word of that root; what lies above it is refused without a look at the block.

Where the arena has no room for one more, the key goes on as if `size` were what it holds: the greatest drops out, which
is counted (`elements_refused`) and flagged (`saturated`). Only a key that holds nothing then gets nothing.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sensor._jit import njit
from sensor.sumstats.arena import GROW, NO_BLOCK, REFUSED, ArenaColumn, allocate, release
from sensor.sumstats.calculation import Arrays, ElementReducer, Setting, checked, checked_counts

MOST_ORDER = 2**31 - 1
"""The greatest number that `arrived` gives: later observations all have it."""

_NO_BAR = np.uint64(2**64 - 1)
_FIELD = np.dtype(
    [
        ("block", "<i8"),
        ("bar", "<u8"),
        ("ts", "<i8"),  # of the row's last observation, and its number
        ("order", "<i4"),
        ("count", "<i2"),
        ("size_class", "<i1"),
        ("saturated", "?"),
    ],
    align=True,
)
_EMPTY = np.array((NO_BLOCK, _NO_BAR, 0, -1, 0, -1, False), _FIELD)

_MOST_ENTRIES = 4096


@njit
def arrived(fields, ts):
    """Number an observation among those of its key that came with the same time, one after the other, from 0."""
    order = 0
    if fields["ts"] == ts:
        order = min(np.int64(fields["order"]) + 1, MOST_ORDER)
    fields["ts"] = ts
    fields["order"] = order
    return order


@njit
def _is_less(left, a, right, b, width):
    for w in range(width):
        if left[a + w] != right[b + w]:
            return left[a + w] < right[b + w]
    return False


@njit
def _copy(source, a, target, b, width):
    for w in range(width):
        target[b + w] = source[a + w]


@njit
def _room(fields, words, book, width, first_class):
    """The row's block, with room for one more entry; or NO_BLOCK or GROW, and nothing has changed."""
    old, used = fields["block"], np.int64(fields["count"]) * width
    size_class = np.int64(fields["size_class"])
    if old >= 0 and used + width <= np.int64(1) << size_class:
        return old
    larger = max(size_class + 1, first_class)
    block = allocate(words, book, larger)
    if block >= 0 and old >= 0:
        _copy(words, old, words, block, used)
        release(words, book, size_class, old)
    if block >= 0:
        fields["block"] = block
        fields["size_class"] = larger
    return block


@njit
def _push(words, block, count, entries, entry, width):
    """Add an entry to a heap of `count`."""
    hole = count
    while hole > 0:
        parent = (hole - 1) >> 1
        if not _is_less(words, block + parent * width, entries, entry, width):
            break
        _copy(words, block + parent * width, words, block + hole * width, width)
        hole = parent
    _copy(entries, entry, words, block + hole * width, width)


@njit
def _replace(words, block, count, entries, entry, width):
    """Put an entry in place of the greatest of a heap of `count`."""
    hole, child = 0, 1
    while child < count:
        at = block + child * width
        if child + 1 < count and _is_less(words, at, words, at + width, width):
            child, at = child + 1, at + width
        if not _is_less(entries, entry, words, at, width):
            break
        _copy(words, at, words, block + hole * width, width)
        hole, child = child, 2 * child + 1
    _copy(entries, entry, words, block + hole * width, width)


@njit
def _touch(rows, state, words, width):
    """Read the first and last word of the blocks of rows (-1: passed over), for `_keep` to find them in the cache.

    The processor waits for many reads at once only while a loop does little else (measured with LAST at 100 thousand
    keys: 110 ns an observation instead of 165). The sum is of no interest.
    """
    read = np.uint64(0)
    for i in range(rows.shape[0]):
        if rows[i] < 0:
            continue
        fields = state[rows[i]]
        if fields["count"] > 0:
            block = fields["block"]
            read ^= words[block] ^ words[block + np.int64(fields["count"]) * width - 1]
    return read


@njit
def _keep(rows, entries, width, size, first_class, state, words, book, start):
    """Put entries, `width` words each, to their rows (-1: passed over); return how far it came."""
    for i in range(start, rows.shape[0]):
        if rows[i] < 0:
            continue
        fields, entry = state[rows[i]], i * width
        count = np.int64(fields["count"])
        block = fields["block"]
        if count < size:
            room = _room(fields, words, book, width, first_class)
            if room == GROW:
                return i
            if room >= 0:
                _push(words, room, count, entries, entry, width)
                fields["count"] = count + 1
                if count + 1 == size:
                    fields["bar"] = words[room]
                continue
            book[REFUSED] += 1
            fields["saturated"] = True
        if count > 0 and _is_less(entries, entry, words, block, width):
            _replace(words, block, count, entries, entry, width)
            if count == size:
                fields["bar"] = words[block]
    return rows.shape[0]


@njit(allocates=True)
def _collect(rows, state, words, width, out):
    """Fill `out` with the entries of each row, ascending, one row after the other: heaps, taken apart from the end."""
    entry = np.empty(width, np.uint64)
    start = 0
    for j in range(rows.shape[0]):
        fields = state[rows[j]]
        count = np.int64(fields["count"])
        _copy(words, fields["block"], out, start, count * width)
        for last in range(count - 1, 0, -1):
            at = start + last * width
            _copy(out, at, entry, 0, width)
            _copy(out, start, out, at, width)
            _replace(out, start, last, entry, 0, width)
        start += count * width


def by_key(counts: np.ndarray, elements: np.ndarray) -> list[tuple[tuple[int, ...], ...]]:
    """The elements of each row, as a result shows them."""
    shown, ends = list(map(tuple, elements.tolist())), np.cumsum(counts).tolist()
    return [tuple(shown[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def checked_flat(states: Arrays, name: str, dtype: type, entries: int) -> np.ndarray:
    """One of the arrays of a merge, a number each; ValueError where it cannot be that."""
    array = checked(states, name, np.dtype(dtype), entries)
    if array.ndim != 1:
        raise ValueError(f"a state needs one number each of {name!r}, not {array.shape[1:]}")
    return array


class LeastColumn(ArenaColumn):
    """The least entries of every key. An entry has `head` words, which a derived class makes, and then the element."""

    empty_field: ClassVar[np.ndarray] = _EMPTY

    def __init__(self, reducer: "BottomK", setting: Setting, head: int) -> None:
        super().__init__(setting)
        self.width = head + reducer.words
        self._words, self._size = reducer.words, reducer.size
        self._first_class = (self.width - 1).bit_length()

    def measure(self, rows: np.ndarray) -> Arrays:
        """Nothing: no threshold looks at it."""
        return {}

    def keep(self, rows: np.ndarray, entries: np.ndarray) -> None:
        """Put entries (uint64, (n, width)) to rows; -1: passed over."""
        flat, arena = entries.reshape(-1), self.arena
        options = self.width, self._size, self._first_class
        _touch(rows, self.state, arena.words, self.width)
        arena.run(lambda start: _keep(rows, flat, *options, self.state, arena.words, arena.book, start), len(rows))

    def kept(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how many entries each row holds, and those of all, ascending within a row."""
        counts = self.state["count"][rows].astype(np.int64)
        entries = np.empty((int(counts.sum()), self.width), np.uint64)
        _collect(rows, self.state, self.arena.words, self.width, entries.reshape(-1))
        return counts, entries

    def saturated(self, rows: np.ndarray) -> np.ndarray:
        """Return whether there was no room for some of what the row was to hold."""
        flags: np.ndarray = self.state["saturated"][rows]
        return flags

    def checked_elements(self, rows: np.ndarray, states: Arrays) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`count`, `saturated` and `elements` of a merge; ValueError says what is malformed."""
        counts = checked_counts(states, "elements", len(rows))
        if counts.ndim != 1 or counts.max(initial=0) > self._size:
            raise ValueError(f"a state has one count a row, of at most {self._size} elements")
        flags = checked_flat(states, "saturated", np.bool_, len(rows))
        elements = checked(states, "elements", np.dtype(np.uint64), int(counts.sum()))
        if elements.shape[1:] != (self._words,):
            raise ValueError(f"elements must be of {self._words} words, not {elements.shape[1:]}")
        return counts, flags, elements

    def merge_entries(self, rows: np.ndarray, counts: np.ndarray, flags: np.ndarray, entries: np.ndarray) -> None:
        """Put entries, `counts` of each row in turn, to rows, and flag those that were flagged elsewhere."""
        self.state["saturated"][rows[flags & (rows >= 0)]] = True
        self.keep(np.repeat(rows, counts), entries)


@dataclass(frozen=True)
class BottomK(ElementReducer):
    """A reducer that keeps some of the elements observed."""

    size: int = 1
    """Most elements that a key keeps."""

    is_judged: ClassVar[bool] = False

    def check(self) -> None:
        """Raise ValueError naming an option that is out of range."""
        super().check()
        if not 1 <= self.size <= _MOST_ENTRIES:
            raise ValueError(f"{self.name}: size must be from 1 to {_MOST_ENTRIES}")

    def values(self, num: np.ndarray, states: Arrays) -> np.ndarray:
        """Nothing to compare with a threshold."""
        return np.full(len(num), np.nan)
