"""The arena: room for states that grow, in blocks of uint64 words, each owned by one row of one column.

Blocks come in size classes (a block of class c has 1 << c words). One that a row has outgrown goes to a list of free
ones of its class, so memory never holds more than what rows need at once, times a constant. A kernel takes and gives
blocks itself; where none is left it stops at that observation, having changed nothing of it, and is called again from
there once the arena has grown, or, at its cap, has been told to refuse.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np

from sensor._jit import njit
from sensor.sumstats.calculation import Setting, StateColumn

NO_BLOCK = -1
"""In place of an offset: the row owns no block; from `allocate`: there is none, so the observation is refused."""
GROW = -2
"""From `allocate`: there is none until the arena has grown, so the kernel has to stop before this observation."""

_TOP, _IS_FINAL, REFUSED, _FREE = 0, 1, 2, 3
_CLASSES = 40
_FIRST_WORDS = 1 << 10


@njit
def allocate(words, book, size_class):
    """A block of that class: its offset, or NO_BLOCK or GROW. What is in it is left over from whoever had it."""
    head = book[_FREE + size_class]
    if head >= 0:
        book[_FREE + size_class] = np.int64(words[head])
        return head
    size = np.int64(1) << size_class
    if book[_TOP] + size > words.shape[0]:
        return NO_BLOCK if book[_IS_FINAL] else GROW
    offset = book[_TOP]
    book[_TOP] = offset + size
    return offset


@njit
def release(words, book, size_class, offset):
    """Give a block back."""
    words[offset] = np.uint64(book[_FREE + size_class])
    book[_FREE + size_class] = offset


@njit
def _release(state, numbers, words, book):
    for row in range(numbers.shape[0]):
        if numbers[row] < 0 and state[row]["block"] >= 0:
            release(words, book, np.int64(state[row]["size_class"]), state[row]["block"])


def _aligned(words: int) -> np.ndarray:
    """Room for so many words that starts at a cache line."""
    room = np.empty(words + 8, np.uint64)
    start = -room.ctypes.data % 64 // 8
    return room[start : start + words]


class Arena:
    """Blocks of words, `max_bytes` of them at most. `words` and `book` are what kernels are given."""

    def __init__(self, max_bytes: int) -> None:
        self._limit = max(max_bytes // 8, 1)
        self.words = _aligned(min(_FIRST_WORDS, self._limit))
        self.book = np.empty(_FREE + _CLASSES, np.int64)
        self.clear()
        self.book[REFUSED] = 0

    @property
    def refused(self) -> int:
        """How often a kernel counted at `book[REFUSED]` that it had to refuse something."""
        return int(self.book[REFUSED])

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self.words.nbytes + self.book.nbytes

    def clear(self) -> None:
        """Take back all blocks."""
        self.book[_TOP] = 0
        self.book[_FREE:] = NO_BLOCK
        self.book[_IS_FINAL] = len(self.words) == self._limit

    def run(self, kernel: Callable[[int], int], n: int) -> None:
        """Call `kernel` with where to start until it has come to `n`; it returns where it stopped for lack of room."""
        done = kernel(0)
        while done < n:
            self._grow()
            done = kernel(done)

    def _grow(self) -> None:
        words = _aligned(min(2 * len(self.words), self._limit))
        words[: len(self.words)] = self.words
        self.words = words
        self.book[_IS_FINAL] = len(words) == self._limit


class ArenaColumn(StateColumn):
    """A column whose rows own a block each at most: their fields have `block` (<i8) and `size_class` (<i1 or wider).

    A derived class says what `empty_field` is and does the rest of a `StateColumn`, but `clear` and `renumber`.
    """

    holds_more: ClassVar[bool] = True
    empty_field: ClassVar[np.ndarray]

    def __init__(self, setting: Setting) -> None:
        self.arena = Arena(setting.max_bytes)
        self.state = np.empty(0, self.empty_field.dtype)

    @property
    def empty(self) -> np.ndarray:
        """The field of a row in which nothing was observed."""
        return self.empty_field

    @property
    def counters(self) -> Mapping[str, int]:
        """`elements_refused`: observations for which there was no room."""
        return {"elements_refused": self.arena.refused}

    @property
    def nbytes(self) -> int:
        """Memory of the blocks."""
        return self.arena.nbytes

    def attach(self, state: np.ndarray) -> None:
        """Take the fields of all rows."""
        self.state = state

    def clear(self) -> None:
        """Take back all blocks."""
        self.arena.clear()

    def renumber(self, numbers: np.ndarray) -> None:
        """Take back the blocks of rows that are forgotten; the others keep theirs under their new number."""
        _release(self.state, numbers, self.arena.words, self.arena.book)
