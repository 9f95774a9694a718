"""The table that gives each distinct row of words a number, in order of arrival: open addressing, keyed, capped.

SumStats use it twice: keys to rows, and (row, element) to the entries of UNIQUE. What belongs to a row lies beside its
words in one record, so that a key that is not in the cache costs two misses, its slot and its record, whatever is
reduced. A slot is the number of a row and, in the bits left over, a tag from its hash, so that a record is hardly ever
read in vain. Nothing that is read out follows the secret order of the slots.

Records are filled in when their row is added, so room that was never used is never touched and costs no memory. A table
that is never used has none: many are made for a handful of keys, or for nothing, and thrown away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from sensor._jit import njit
from sensor.hash import hash_rows, hash_words

Field = tuple[str, np.dtype[Any], Any]
"""A field of the records: its name, its dtype, and its value in a new row."""

_FIRST = 64  # rows of a new table: most detections see few keys
_LOOK = -2  # in place of a row: not where it would be first, look further
_CACHE_LINE = 8  # in words of 8 bytes
_LOW = np.uint64(2**32 - 1)
_ONE, _32 = np.uint64(1), np.uint64(32)
_SLOTS_OF_TWO = 3  # slots for every two rows: an unknown key reads 5 on average, a known one 2
_WRAP = 3  # slots that stand a second time past the end
_REFUSE, _STOP = 1, 2  # what a table does that is full and may not grow
_FEW = 64  # rows for which one kernel that does all costs less than several that each do one thing well
_NO_SLOTS = np.zeros(0, np.uint32)
_NO_ROOM = np.empty(0, np.uint8)
_AHEAD = 8  # times as many rows as there is room for


@njit
def _first_slot(hashed, slots):
    """The low half of a hash, spread over any number of slots (Lemire, 2016: no division)."""
    return np.int64(((hashed & _LOW) * np.uint64(slots - _WRAP)) >> _32)


@njit
def _guess(slots, bits, records, words, wanted, hashes, rows):
    """Fill in the rows that are found at their first slot or the next three: nearly all, if they are known.

    One loop after the other, because the processor waits for many reads at once only while a loop does little else
    (measured at a million keys: 73 ns instead of 217). The second reads the records for the third, and for the
    kernels that reduce; its sum is of no interest.
    """
    row_mask = (_ONE << bits) - _ONE
    for i in range(rows.shape[0]):
        tag, slot = hashes[i] >> (_32 + bits), _first_slot(hashes[i], slots.shape[0])
        first, second = np.uint64(slots[slot]), np.uint64(slots[slot + 1])
        third, fourth = np.uint64(slots[slot + 2]), np.uint64(slots[slot + 3])
        later = third if third >> bits == tag else fourth
        later = second if second >> bits == tag else later
        rows[i] = np.int64((first if first >> bits == tag else later) & row_mask) - 1
    read = np.uint64(0)
    for line in range(0, records.shape[1], _CACHE_LINE):
        for i in range(rows.shape[0]):
            read ^= records[max(rows[i], 0), line]
    if records.shape[1] % _CACHE_LINE > 1:
        for i in range(rows.shape[0]):
            read ^= records[max(rows[i], 0), records.shape[1] - 1]
    for i in range(rows.shape[0]):
        at, same = max(rows[i], 0), rows[i] >= 0
        for w in range(words.shape[1]):
            same &= records[at, w] == words[i, w]
        found = at if same else _LOOK
        rows[i] = found if wanted[i] else -1
    return read


@njit
def _place(slots, bits, records, words, tag, slot):
    """The slot of a row of words, or the free one where it belongs, and the row (-1: free)."""
    row_mask, width = (_ONE << bits) - _ONE, words.shape[0]
    while True:
        entry = np.uint64(slots[slot])
        row = np.int64(entry & row_mask) - 1
        if row < 0:
            return slot, row
        if entry >> bits == tag:
            w = 0
            while w < width and records[row, w] == words[w]:
                w += 1
            if w == width:
                return slot, row
        slot += 1
        if slot >= slots.shape[0] - _WRAP:
            slot = 0


@njit
def _enter(slots, slot, entry):
    """Write a slot, and its double past the end, which spares `_guess` from wrapping around."""
    slots[slot] = entry
    if slot < _WRAP:
        slots[slots.shape[0] - _WRAP + slot] = entry


@njit
def _add(slots, bits, records, empty, state, words, tag, slot):
    """Give a new row to words that belong in a free slot; -1, and nothing done, if there is no room."""
    row = state[0]
    if row == records.shape[0]:
        return -1
    for w in range(empty.shape[0]):
        records[row, w] = empty[w]
    for w in range(words.shape[0]):
        records[row, w] = words[w]
    state[0] = row + 1
    _enter(slots, slot, np.uint32((tag << bits) | np.uint64(row + 1)))
    return row


@njit
def _look(slots, bits, records, empty, state, words, hashes, start, rows):
    """Fill in the rows that are still to be looked for, adding new ones; return how far it came.

    It stops where there is no room. `state` is the rows in use, those refused, and what to do when full: 0, stop (to
    grow), `_REFUSE` or `_STOP`.
    """
    for i in range(start, rows.shape[0]):
        if rows[i] != _LOOK:
            continue
        tag, slot = hashes[i] >> (_32 + bits), _first_slot(hashes[i], slots.shape[0])
        slot, row = _place(slots, bits, records, words[i], tag, slot)
        if row < 0 and state[0] == records.shape[0]:
            if state[2] != _REFUSE:
                return i
            state[1] += 1
        elif row < 0:
            row = state[0]
            for w in range(empty.shape[0]):
                records[row, w] = empty[w]
            for w in range(words.shape[1]):
                records[row, w] = words[i, w]
            state[0] = row + 1
            _enter(slots, slot, np.uint32((tag << bits) | np.uint64(row + 1)))
        rows[i] = row
    return rows.shape[0]


@njit
def _find(slots, bits, records, words, hashes, rows):
    """Fill in the rows of those that are there, and -1 for others."""
    for i in range(rows.shape[0]):
        tag, slot = hashes[i] >> (_32 + bits), _first_slot(hashes[i], slots.shape[0])
        _, rows[i] = _place(slots, bits, records, words[i], tag, slot)


@njit
def _find_few(secret, slots, bits, records, empty, state, words, wanted, start, rows):
    """Do what `_guess` and `_look` do, one row after the other: a few rows are in the cache anyway."""
    for i in range(start, rows.shape[0]):
        rows[i] = -1
        if not wanted[i]:
            continue
        hashed = hash_words(secret, words[i])
        tag, slot = hashed >> (_32 + bits), _first_slot(hashed, slots.shape[0])
        slot, row = _place(slots, bits, records, words[i], tag, slot)
        if row < 0:
            row = _add(slots, bits, records, empty, state, words[i], tag, slot)
            if row < 0 and state[2] != _REFUSE:
                return i
            state[1] += row < 0
        rows[i] = row
    return rows.shape[0]


@njit
def _look_up_few(secret, slots, bits, records, words, rows):
    """Fill in the rows of those that are there, and -1 for others."""
    for i in range(rows.shape[0]):
        hashed = hash_words(secret, words[i])
        tag, slot = hashed >> (_32 + bits), _first_slot(hashed, slots.shape[0])
        _, rows[i] = _place(slots, bits, records, words[i], tag, slot)


@njit
def _index(slots, bits, hashes):
    """Enter rows, all distinct, into empty slots."""
    for row in range(hashes.shape[0]):
        slot = _first_slot(hashes[row], slots.shape[0])
        while slots[slot] > 0:
            slot += 1
            if slot >= slots.shape[0] - _WRAP:
                slot = 0
        _enter(slots, slot, np.uint32(((hashes[row] >> (_32 + bits)) << bits) | np.uint64(row + 1)))


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """How the records of a table look: to be made once for all tables that are alike."""

    empty: np.ndarray
    """The record of a new row: structured, (1,)."""
    empty_words: np.ndarray
    """The same as uint64."""
    no_records: np.ndarray
    """Structured, (0,)."""

    @classmethod
    def of(cls, width: int, fields: Sequence[Field] = ()) -> "Layout":
        """The layout of rows of `width` words with some fields beside them."""
        layout = [("words", np.uint64, (width,)), *((name, dtype) for name, dtype, _ in fields)]
        empty = np.zeros(1, np.dtype(layout, align=True))
        for name, _, value in fields:
            empty[name] = value
        return cls(empty, empty.view(np.uint64), np.empty(0, empty.dtype))

    @property
    def row_bytes(self) -> int:
        """Bytes of a row: its record and its share of the slots."""
        return self.empty.itemsize + 4 * _SLOTS_OF_TWO // 2


class Table:
    """Distinct rows of uint64 words, numbered from 0; at most `limit` of them (2**30).

    When it is full, later ones are refused and counted, or, if it `stops`, `find` comes back for room to be made.
    """

    def __init__(self, layout: Layout, limit: int, secret: np.ndarray, *, stops: bool = False) -> None:
        self._layout, self._limit = layout, limit
        self._when_full = _STOP if stops else _REFUSE
        self._secret = secret
        self._state = np.zeros(3, np.int64)
        self._records, self._slots, self._room = layout.no_records, _NO_SLOTS, _NO_ROOM

    @property
    def used(self) -> int:
        """Rows in use."""
        return int(self._state[0])

    @property
    def refused(self) -> int:
        """Rows of words that found the table full, each time that they came."""
        return int(self._state[1])

    @property
    def words(self) -> np.ndarray:
        """The words of each row, (used, width)."""
        return self._records["words"][: self.used]

    @property
    def capacity(self) -> int:
        """Rows there is room for at present."""
        return len(self._records)

    @property
    def nbytes(self) -> int:
        """Memory held by rows and slots."""
        return self.used * self._records.itemsize + self._slots.nbytes

    def field(self, name: str) -> np.ndarray:
        """A field of every row, to read and write; another array once `capacity` has changed."""
        return self._records[name]

    def find(self, words: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, int]:
        """The row of each of `words` (uint64, (n, width)), new ones added; -1 where not wanted or refused.

        And how many were looked for: fewer than n if the table is full and stops, just before the first new one.
        """
        if not self.capacity:
            self._reserve(min(_FIRST, self._limit))
        rows = np.empty(len(words), np.int64)
        is_few = len(words) <= _FEW
        if not is_few:
            hashes = self._hashes(words)
            _guess(self._slots, self._bits, self._all_words, words, wanted, hashes, rows)
        done = 0
        while True:
            own = (self._slots, self._bits, self._all_words, self._layout.empty_words, self._state)
            if is_few:
                done = _find_few(self._secret, *own, words, wanted, done, rows)
            else:
                done = _look(*own, words, hashes, done, rows)
            if done == len(words) or self._state[2] == _STOP:
                return rows, done
            self._reserve(min(2 * self.capacity, self._limit))

    def lookup(self, words: np.ndarray) -> np.ndarray:
        """The row of each of `words`, none added; -1 where it is not there."""
        rows = np.empty(len(words), np.int64)
        if not self.used:
            rows.fill(-1)
            return rows
        if len(words) <= _FEW:
            whole = np.ascontiguousarray(words)  # so that the kernel is of one kind
            _look_up_few(self._secret, self._slots, self._bits, self._all_words, whole, rows)
        else:
            _find(self._slots, self._bits, self._all_words, words, self._hashes(words), rows)
        return rows

    def keep(self, rows: np.ndarray) -> None:
        """Forget all others; those kept (bool, (used,)) are numbered anew, in the same order."""
        kept = self._records[: self.used][rows]
        self._records[: len(kept)] = kept
        self._state[0] = len(kept)
        self._reserve(self.capacity)

    def clear(self) -> None:
        """Forget all rows. The room stays, or half of it where not a quarter was used."""
        if not self.used and self.capacity <= _FIRST:
            return
        spare = 4 * self.used < self.capacity
        self._state[0] = 0
        self._reserve(max(self.capacity // 2, min(_FIRST, self._limit)) if spare else self.capacity)

    def _reserve(self, rows: int) -> None:
        if rows != self.capacity:
            self._resize(rows)
        self._state[2] = self._when_full if rows == self._limit else 0
        self._bits = np.uint64(rows.bit_length())
        slots = max(_SLOTS_OF_TWO * rows // 2, 2 * _WRAP) + _WRAP
        if slots != len(self._slots):
            self._slots = np.empty(slots, np.uint32)
        self._slots.fill(0)  # not np.zeros, whose pages are small: 7 ns a read more
        if self.used:
            _index(self._slots, self._bits, self._hashes(np.ascontiguousarray(self.words)))

    def _resize(self, rows: int) -> None:
        """Let the records in use have room for `rows`, which starts at a cache line.

        To touch memory for the first time costs more than all that is done with it. So addresses are set aside for more
        rows than are needed now, which take no memory until they are in use, and are not copied.
        """
        line, dtype, used = 8 * _CACHE_LINE, self._records.dtype, self.used
        is_in_place = self.capacity < rows and rows * dtype.itemsize + line <= len(self._room)
        if not is_in_place:
            self._room = np.empty(min(_AHEAD * rows, self._limit) * dtype.itemsize + line, np.uint8)
        start = -self._room.__array_interface__["data"][0] % line
        records: np.ndarray = np.ndarray(rows, dtype, self._room, start)
        if used and not is_in_place:
            records[:used] = self._records[:used]
        self._records = records
        self._all_words: np.ndarray = np.ndarray((rows, dtype.itemsize // 8), np.uint64, self._room, start)

    def _hashes(self, words: np.ndarray) -> np.ndarray:
        hashes = np.empty(len(words), np.uint64)
        hash_rows(self._secret, words, hashes)
        return hashes


@cache
def _keys_alone(width: int) -> Layout:
    return Layout.of(width)


class Keys:
    """A set of rows of words."""

    def __init__(self, words: np.ndarray, secret: np.ndarray) -> None:
        self._table = Table(_keys_alone(words.shape[1]), max(len(words), 1), secret)
        self._table.find(np.ascontiguousarray(words), np.ones(len(words), np.bool_))

    @property
    def words(self) -> np.ndarray:
        """Each of them once (uint64, (m, width))."""
        return np.ascontiguousarray(self._table.words)

    def lookup(self, words: np.ndarray) -> np.ndarray:
        """Which of them some rows of words (uint64, (n, width)) are (int64), in the order of the first; -1: none."""
        return self._table.lookup(np.ascontiguousarray(words))

    def has(self, words: np.ndarray) -> np.ndarray:
        """Return which of some rows of words (uint64, (n, width)) are among them (bool)."""
        found: np.ndarray = self._table.lookup(words) >= 0
        return found
