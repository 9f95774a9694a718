"""HLL_UNIQUE: about how many distinct elements were observed, in little memory however many they are.

HyperLogLog (Flajolet et al., 2007) on 64 bit hashes under `sketch_key`. What a key holds depends on the set of these
hashes alone, never on their order, so that merging is the union of sets: the same state after any split.

- Exact, up to 32 hashes: they themselves, the first two of them in the row's field.
- Sparse, while that takes at most half of the room of the next: 26 bits of each hash with the rank of the rest (as in
  HyperLogLog++, Heule et al., 2013), counted linearly over 2**26.
- Dense: 2**b registers of a byte, and their sum of powers, kept exactly, so that an estimate costs the same at any b.

The estimate is Ertl's improved raw estimator (arXiv:1702.01284, algorithm 4), without bias from nothing to 2**60. As in
Zeek's hll_unique.zeek, b is chosen so that the relative error, of standard deviation 1.04 / 2**(b / 2), is at most
`error_margin` with probability `confidence`.
"""

import math
from dataclasses import dataclass
from functools import cache, cached_property
from typing import ClassVar

import numpy as np

from sensor._jit import borrow, njit
from sensor.hash import hash_words
from sensor.sumstats.arena import NO_BLOCK, REFUSED, ArenaColumn, give, take
from sensor.sumstats.calculation import (
    Arrays,
    Batch,
    Column,
    Reducer,
    Setting,
    Value,
    checked,
    checked_counts,
    rows_of,
)

EXACT, SPARSE, DENSE = 0, 1, 2
"""What a row holds: hashes, entries of an index and a rank, or registers."""
MOST_EXACT = 32
"""Hashes that a row holds before it goes on with less of each."""
LEAST_BITS, MOST_BITS = 4, 18
"""Of the index of a register."""

_SKETCH = np.dtype(
    [
        ("block", "<i8"),
        ("first", "<u8"),  # the first hash; dense: the sum of 2**-rank over all registers, in units of 2**(b - 63)
        ("second", "<u8"),  # the second hash; where hashes fill a block, both are a filter of 128 bits
        ("number", "<i4"),  # of hashes, of entries, or of the registers that are still 0
        ("size_class", "<i1"),
        ("phase", "<u1"),
        ("saturated", "?"),
    ],
    align=True,
)
_EMPTY = np.array((NO_BLOCK, 0, 0, 0, 0, EXACT, False), _SKETCH)

_LINE = 8  # words of a line of the cache
_FIRST_EXACT = 3  # class of the first block of hashes: such a line
_FIRST_SPARSE = 5  # 64 slots for the 33 entries or fewer that are there at first
_INDEX_BITS = 26
_MOST_RANK = 64 - _INDEX_BITS + 1
_FIXED_BITS = 63  # a rank is at most 63 - b, so that the sum of powers is whole and its greatest, 2**62, fits
_PIECE = 1 << 10  # observations whose rows and blocks stay in the first caches
_ALPHA = 0.5 / math.log(2)

_PLACE = np.uint64(63)  # of a bit in one of the words of the filter
_ZERO, _ONE = np.uint64(0), np.uint64(1)
_6, _32, _38, _64 = np.uint64(6), np.uint64(32), np.uint64(38), np.uint64(64)
_BYTE, _RANK, _HALF = np.uint64(0xFF), np.uint64(0x3F), np.uint64(0xFFFFFFFF)


@njit
def _hash(key, elements, hashes):
    key, elements = borrow(key), borrow(elements)
    for i in range(elements.shape[0]):
        hashes[i] = max(hash_words(key, elements[i]), _ONE)  # 0 is an empty word


@njit
def _rank(rest, most):
    """The place of the first bit that is set, from 1 at the top, or `most` if that is less."""
    rank = 1
    for step in (32, 16, 8, 4, 2, 1):
        if rest >> np.uint64(64 - step) == _ZERO:
            rest = rest << np.uint64(step)
            rank += step
    return min(rank, most)


@njit
def _entry(value):
    """26 bits of a hash and the rank of the other 38, as a sparse row holds them."""
    rank = _rank(value << np.uint64(_INDEX_BITS), _MOST_RANK)
    return ((value >> _38) << _6) | np.uint64(rank)


@njit
def _home(entry, size_class, spread):
    """Where an entry would be first.

    Multiplied by a secret, as a sender may know the key of the hashes; the multiplier shows in no result.
    """
    return np.int64(((entry >> _6) * spread) >> (_64 - np.uint64(size_class + 1)))


@njit
def _most_entries(size_class):
    """Three quarters of the slots."""
    return 3 << (size_class - 1)


@njit
def _touch(rows, hashes, state, words, bits, spread, places):
    """Read each row's field, then its block where the element may be; of hashes, the line of the newest and one before.

    The processor waits for many reads at once only while a loop does little else: see `sensor.sumstats.table`. What was
    read is noted, so that no compiler leaves it out.
    """
    read = _ZERO
    for i in range(rows.shape[0]):
        if rows[i] >= 0:
            read ^= state[rows[i]]["first"]
    for i in range(rows.shape[0]):
        places[i, 0], places[i, 1] = 0, 0
        if rows[i] < 0 or state[rows[i]]["block"] < 0:
            continue
        block, size_class = state[rows[i]]["block"], np.int64(state[rows[i]]["size_class"])
        before = 0
        if state[rows[i]]["phase"] == EXACT:
            place = min(np.int64(state[rows[i]]["number"]), (1 << size_class) - 1)
            before = _LINE if place >= _LINE else 0
        elif state[rows[i]]["phase"] == SPARSE:
            place = _home((hashes[i] >> _38) << _6, size_class, spread) >> 1
        else:
            place = np.int64(hashes[i] >> (_64 - np.uint64(bits))) >> 3
        places[i, 0] = block + place
        places[i, 1] = block + place - before
    for i in range(rows.shape[0]):
        read ^= words[places[i, 0]] ^ words[places[i, 1]]
    places[0, 0] = np.int64(read & _BYTE)


@njit
def _room(field, size_class, words, book):
    """A block for a row, or what `take` says instead; if that is to refuse, flag and count it."""
    block = take(words, book, size_class)
    if block == NO_BLOCK:
        field["saturated"] = True
        book[REFUSED] += 1
    return block


@njit
def _blank_room(field, size_class, words, book):
    """The same, all zeros."""
    block = _room(field, size_class, words, book)
    if block >= 0:
        for at in range(block, block + (1 << size_class)):
            words[at] = _ZERO
    return block


@njit
def _move(field, phase, number, block, size_class, words, book):
    """Let a row own another block instead."""
    if field["block"] >= 0:
        give(words, book, np.int64(field["size_class"]), field["block"])
    field["block"] = block
    field["size_class"] = size_class
    field["phase"] = phase
    field["number"] = number


@njit
def _hash_at(field, k, words):
    """The k-th hash of an exact row."""
    if field["block"] >= 0:
        return words[field["block"] + k]
    return field["first"] if k == 0 else field["second"]


@njit
def _note(field, value):
    """Set the bit of a hash in the row's filter."""
    side = (value >> _6) & _ONE
    field["first"] |= (side ^ _ONE) << (value & _PLACE)
    field["second"] |= side << (value & _PLACE)


@njit
def _find_exact(field, value, words):
    """Whether an exact row has that hash; newest first, and the filter spares most new ones the search."""
    first, second = field["first"], field["second"]
    if field["block"] < 0:
        return first == value or second == value
    side = first if (value >> _6) & _ONE == _ZERO else second
    if (side >> (value & _PLACE)) & _ONE != _ZERO:
        for at in range(field["block"] + field["number"] - 1, field["block"] - 1, -1):
            if words[at] == value:
                return True
    return False


@njit
def _add_exact(field, value, words, book):
    """Add a new hash to a row that holds hashes; 0, or what `take` says instead of a larger block."""
    number, block = np.int64(field["number"]), field["block"]
    if number == 0:
        field["first"] = value
    elif number == 1:
        field["second"] = value
    else:
        size_class = np.int64(field["size_class"])
        if block < 0:
            block = _enlarge(field, _FIRST_EXACT, words, book)
        elif number == 1 << size_class:
            block = _enlarge(field, size_class + 1, words, book)
        if block < 0:
            return block
        words[block + number] = value
        _note(field, value)
    field["number"] = number + 1
    return 0


@njit
def _enlarge(field, size_class, words, book):
    """Move the hashes of a row to a block of that class; give it, or what `take` says instead."""
    block, number = _room(field, size_class, words, book), np.int64(field["number"])
    if block < 0:
        return block
    for k in range(number):
        words[block + k] = _hash_at(field, k, words)
    if field["block"] < 0:
        field["first"] = _ZERO
        field["second"] = _ZERO
        for k in range(number):
            _note(field, words[block + k])
    _move(field, EXACT, number, block, size_class, words, book)
    return block


@njit
def _held(words, block, slot):
    """The entry in a slot; 0: none."""
    return (words[block + (slot >> 1)] >> np.uint64((slot & 1) << 5)) & _HALF


@njit
def _slot(words, block, size_class, entry, spread):
    """The slot of the entry of the same index, or the empty one where it belongs; there is always an empty one."""
    mask = (2 << size_class) - 1
    slot = _home(entry, size_class, spread)
    while True:
        held = _held(words, block, slot)
        if held == _ZERO or held >> _6 == entry >> _6:
            return slot
        slot = (slot + 1) & mask


@njit
def _put(words, block, size_class, entry, spread):
    """Put an entry where it belongs, unless one of greater rank is there; give by how many entries there are more."""
    slot = _slot(words, block, size_class, entry, spread)
    held = _held(words, block, slot)
    if entry > held:
        words[block + (slot >> 1)] += (entry - held) << np.uint64((slot & 1) << 5)
    return 1 if held == _ZERO else 0


@njit
def _to_sparse(field, size_class, words, book, spread):
    """Turn a row's hashes into entries, or give its entries more room; give its block, or what `take` says instead."""
    block, number = _blank_room(field, size_class, words, book), 0
    if block < 0:
        return block
    if field["phase"] == EXACT:
        for k in range(field["number"]):
            number += _put(words, block, size_class, _entry(_hash_at(field, k, words)), spread)
    else:
        for k in range(2 << np.int64(field["size_class"])):
            entry = _held(words, field["block"], k)
            if entry != _ZERO:
                number += _put(words, block, size_class, entry, spread)
    _move(field, SPARSE, number, block, size_class, words, book)
    return block


@njit
def _register(words, block, index):
    return (words[block + (index >> 3)] >> np.uint64((index & 7) << 3)) & _BYTE


@njit
def _raise(field, block, index, rank, words, bits):
    """Raise a register to a rank, and keep the row's number of zeros and its sum of powers."""
    held = np.int64(_register(words, block, index))
    if rank <= held:
        return
    words[block + (index >> 3)] += np.uint64(rank - held) << np.uint64((index & 7) << 3)
    if held == 0:
        field["number"] -= 1
    else:
        field["first"] -= _ONE << np.uint64(_FIXED_BITS - bits - held)
    field["first"] += _ONE << np.uint64(_FIXED_BITS - bits - rank)


@njit
def _raise_for_hash(field, block, value, words, bits):
    """Raise the register of a hash; most that come raise nothing, and need no rank to tell."""
    index, rest = np.int64(value >> (_64 - np.uint64(bits))), value << np.uint64(bits)
    held = _register(words, block, index)
    if held == _ZERO or rest >> (_64 - held) == _ZERO:
        _raise(field, block, index, _rank(rest, _FIXED_BITS - bits), words, bits)


@njit
def _raise_for_entry(field, block, entry, words, bits):
    """As if for the hash that the entry was made of."""
    index, rest = np.int64(entry >> np.uint64(6 + _INDEX_BITS - bits)), (entry >> _6) << np.uint64(38 + bits)
    rank = _INDEX_BITS - bits + np.int64(entry & _RANK)
    if rest != _ZERO:
        rank = _rank(rest, _FIXED_BITS)
    _raise(field, block, index, min(rank, _FIXED_BITS - bits), words, bits)


@njit
def _to_dense(field, words, book, bits):
    """Turn a row's hashes or entries into registers; give its block, or what `take` says instead."""
    block = _blank_room(field, bits - 3, words, book)
    if block < 0:
        return block
    first, second = field["first"], field["second"]
    old, number = field["block"], field["number"]
    field["first"] = _ZERO
    field["number"] = 1 << bits
    if field["phase"] == EXACT:
        for k in range(number):
            value = words[old + k] if old >= 0 else first if k == 0 else second
            _raise_for_hash(field, block, value, words, bits)
    else:
        for k in range(2 << np.int64(field["size_class"])):
            entry = _held(words, old, k)
            if entry != _ZERO:
                _raise_for_entry(field, block, entry, words, bits)
    _move(field, DENSE, field["number"], block, bits - 3, words, book)
    return block


@njit
def _leave_exact(field, words, book, bits, spread):
    """Turn a row's hashes into what follows on them at so many bits."""
    if bits - 4 >= _FIRST_SPARSE:
        return _to_sparse(field, _FIRST_SPARSE, words, book, spread)
    return _to_dense(field, words, book, bits)


@njit
def _add_entry(field, entry, words, book, bits, spread):
    """Add an entry to a row that is sparse or dense; False: there is no room yet, and nothing has changed."""
    if field["phase"] == SPARSE:
        block, size_class = field["block"], np.int64(field["size_class"])
        is_full = field["number"] == _most_entries(size_class)
        if is_full and _held(words, block, _slot(words, block, size_class, entry, spread)) == _ZERO:
            if size_class < bits - 4:
                block = _to_sparse(field, size_class + 1, words, book, spread)
            else:
                block = _to_dense(field, words, book, bits)
            if block < 0:
                return block == NO_BLOCK
    if field["phase"] == SPARSE:
        field["number"] += _put(words, field["block"], np.int64(field["size_class"]), entry, spread)
    else:
        _raise_for_entry(field, field["block"], entry, words, bits)
    return True


@njit
def _add(field, value, words, book, bits, spread):
    """Add a hash to a row; False: there is no room yet, and nothing has changed."""
    if field["phase"] == DENSE:
        _raise_for_hash(field, field["block"], value, words, bits)
        return True
    if field["phase"] == EXACT:
        if _find_exact(field, value, words):
            return True
        is_full = field["number"] == MOST_EXACT
        block = _leave_exact(field, words, book, bits, spread) if is_full else _add_exact(field, value, words, book)
        if block < 0 or not is_full:
            return block >= 0 or block == NO_BLOCK
        if field["phase"] == DENSE:
            _raise_for_hash(field, block, value, words, bits)
            return True
    return _add_entry(field, _entry(value), words, book, bits, spread)


@njit
def _update(start, rows, applies, hashes, state, words, book, bits, spread, places, after):
    """Add hashes to their rows, from the `start`-th on; if `after` is not empty, copy each row's field there.

    Return how many are done: the next finds no room until the arena has grown.
    """
    rows, hashes, state, words, book = borrow(rows), borrow(hashes), borrow(state), borrow(words), borrow(book)
    watch = after.shape[0] > 0
    for begin in range(start, rows.shape[0], places.shape[0]):
        end = min(begin + places.shape[0], rows.shape[0])
        _touch(rows[begin:end], hashes[begin:end], state, words, bits, spread, places)
        for i in range(begin, end):
            row = rows[i]
            if row < 0:
                continue
            if applies[i] and not _add(state[row], hashes[i], words, book, bits, spread):
                return i
            if watch:
                after[i] = state[row]
    return rows.shape[0]


@njit
def _merge_cells(field, phase, cells, words, book, bits, spread):
    """Merge what a row of another node holds; False: there is no room yet. To merge a part twice changes nothing."""
    block = np.int64(0)
    if phase == SPARSE and field["phase"] == EXACT:
        block = _to_sparse(field, _FIRST_SPARSE, words, book, spread)
    if phase == DENSE and field["phase"] != DENSE:
        block = _to_dense(field, words, book, bits)
    if block < 0:
        return block == NO_BLOCK
    for k in range(cells.shape[0]):
        if phase == EXACT:
            if not _add(field, cells[k], words, book, bits, spread):
                return False
        elif phase == SPARSE:
            for entry in (cells[k] & _HALF, cells[k] >> _32):
                if entry != _ZERO and not _add_entry(field, entry, words, book, bits, spread):
                    return False
        elif cells[k] != _ZERO and cells[k] != words[field["block"] + k]:
            for index in range(k << 3, (k + 1) << 3):
                _raise(field, field["block"], index, np.int64(_register(cells, 0, index)), words, bits)
    return True


@njit
def _merge(start, rows, phases, flags, ends, cells, state, words, book, bits, spread):
    """Merge from the `start`-th row on; `ends` is where the cells of each end. Return how many are done."""
    state, words, book, cells = borrow(state), borrow(words), borrow(book), borrow(cells)
    for j in range(start, rows.shape[0]):
        if rows[j] < 0:
            continue
        field, begin = state[rows[j]], ends[j - 1] if j > 0 else 0
        if not _merge_cells(field, phases[j], cells[begin : ends[j]], words, book, bits, spread):
            return j
        if flags[j]:
            field["saturated"] = True
    return rows.shape[0]


@njit
def _collect(rows, state, words, ends, cells):
    """Fill `cells` with what each row holds, in ascending order: hashes, entries in pairs, or registers."""
    for j in range(rows.shape[0]):
        field, begin = state[rows[j]], ends[j - 1] if j > 0 else 0
        own = cells[begin : ends[j]]
        if field["phase"] == DENSE:
            own[:] = words[field["block"] : field["block"] + own.shape[0]]
            continue
        n = 0
        if field["phase"] == EXACT:
            for k in range(field["number"]):
                own[k] = _hash_at(field, k, words)
            own.sort()
            continue
        entries = np.empty(field["number"], np.uint64)
        for k in range(2 << np.int64(field["size_class"])):
            entry = _held(words, field["block"], k)
            if entry != _ZERO:
                entries[n] = entry
                n += 1
        entries.sort()
        for k in range(n):
            own[k >> 1] |= entries[k] << np.uint64((k & 1) << 5)


@njit
def _are_registers(cells, number, power_sum, bits):
    """Whether these are registers of ranks in range, one at least, and have that many zeros and that sum."""
    zeros, total = 0, _ZERO
    for index in range(8 * cells.shape[0]):
        rank = np.int64(_register(cells, 0, index))
        if rank > _FIXED_BITS - bits:
            return False
        if rank == 0:
            zeros += 1
        else:
            total += _ONE << np.uint64(_FIXED_BITS - bits - rank)
    return zeros == number and total == power_sum and total > _ZERO


@njit
def _are_entries(cells, number):
    """Whether these are that many entries, of ascending index and a rank in range, and nothing after them."""
    last = -1
    for k in range(2 * cells.shape[0]):
        entry = _held(cells, 0, k)
        if k >= number:
            return entry == _ZERO
        index, rank = np.int64(entry >> _6), np.int64(entry & _RANK)
        if index <= last or rank < 1 or rank > _MOST_RANK:
            return False
        last = index
    return True


@njit
def _malformed(phases, numbers, power_sums, ends, cells, bits):
    """The first state that no set of hashes leads to, or -1; the number of its cells is right."""
    for j in range(phases.shape[0]):
        begin = ends[j - 1] if j > 0 else 0
        own, is_sound = cells[begin : ends[j]], True
        if phases[j] == DENSE:
            is_sound = _are_registers(own, numbers[j], power_sums[j], bits)
        elif phases[j] == SPARSE:
            is_sound = _are_entries(own, numbers[j])
        else:
            for k in range(own.shape[0]):
                is_sound = is_sound and own[k] > (own[k - 1] if k > 0 else _ZERO)
        if not is_sound:
            return j
    return -1


def index_bits(error_margin: float, confidence: float) -> int:
    """How many bits number the registers, so that the error keeps to the margin: OptimalB of Zeek's HyperLogLog."""
    least = 2 * math.log2(1.04 / error_margin)
    bits = math.floor(least) + 1
    while math.erf(2 ** ((bits - least) / 2) / math.sqrt(2)) < confidence:
        bits += 1
    return bits


@cache
def _of_zeros(bits: int) -> np.ndarray:
    """m sigma(C / m) of Ertl's estimator for each number C of registers that are still 0, of m = 2**bits."""
    power = np.arange(1 << bits) / (1 << bits)
    total, factor, before = power.copy(), 0.5, np.zeros(1 << bits)
    while (total != before).any():
        power, factor, before = power * power, 2 * factor, total
        total = total + power * factor
    return np.append(total * (1 << bits), np.inf)


def _measured(fields: np.ndarray) -> dict[str, np.ndarray]:
    """What an estimate needs of some rows."""
    return {
        "phase": fields["phase"].copy(),
        "number": fields["number"].astype(np.int64),
        "power_sum": np.where(fields["phase"] == DENSE, fields["first"], _ZERO),
        "saturated": fields["saturated"].copy(),
    }


class Sketches(ArenaColumn):
    """The sketch of every key of one reducer."""

    empty_field: ClassVar[np.ndarray] = _EMPTY

    def __init__(self, reducer: "HllUnique", setting: Setting) -> None:
        super().__init__(setting)
        self._bits = reducer.bits
        self._key = setting.sketch_key
        self._spread = np.uint64(hash_words(setting.secret, np.empty(0, np.uint64))) | _ONE

    def update(self, batch: Batch, values: np.ndarray, *, watch: bool) -> Arrays:
        """Add the elements in order."""
        hashes, after = np.empty(len(values), np.uint64), np.zeros(len(values) * watch, _SKETCH)
        _hash(self._key, values, hashes)
        arena, places = self.arena, np.empty((_PIECE, 2), np.int64)
        given, own = (batch.rows, batch.applies, hashes, self.state), (self._bits, self._spread, places, after)
        arena.run(lambda start: _update(start, *given, arena.words, arena.book, *own), len(values))
        return _measured(after) if watch else {}

    def measure(self, rows: np.ndarray) -> Arrays:
        """The phase of each row, its number of what that holds, and the sum of powers."""
        return _measured(self.state[rows])

    def view(self, rows: np.ndarray, measured: Arrays) -> Arrays:
        """With `cells` (uint64, (sum of count,)): the hashes, the entries in pairs, or the registers in eights."""
        states = _measured(self.state[rows])
        counts = self._cells(states["phase"], states["number"])
        ends = np.cumsum(counts)
        cells = np.zeros(int(counts.sum()), np.uint64)
        _collect(rows, self.state, self.arena.words, ends, cells)
        return {**states, "count": counts, "cells": cells}

    def merge(self, rows: np.ndarray, states: Arrays) -> None:
        """Add what others hold."""
        counts = checked_counts(states, "cells", len(rows))
        flags = checked(states, "saturated", np.dtype(np.bool_), len(rows))
        cells = checked(states, "cells", np.dtype(np.uint64), int(counts.sum()))
        phases = checked(states, "phase", np.dtype(np.uint8), len(rows))
        numbers = checked(states, "number", np.dtype(np.int64), len(rows))
        sums = checked(states, "power_sum", np.dtype(np.uint64), len(rows))
        if any(array.ndim != 1 for array in (counts, flags, cells, phases, numbers, sums)):
            raise ValueError("a state of HLL_UNIQUE is of arrays of one dimension")
        ends = np.cumsum(counts)
        odd = (numbers < 0) | (numbers > self._most(phases)) | (counts != self._cells(phases, numbers))
        odd |= (phases == SPARSE) & (numbers < 1)
        if odd.any() or _malformed(phases, numbers, sums, ends, cells, self._bits) >= 0:
            raise ValueError("a state of HLL_UNIQUE is not one that elements lead to")
        arena, own = self.arena, (self._bits, self._spread)
        given = rows, phases, flags, ends, cells, self.state
        arena.run(lambda start: _merge(start, *given, arena.words, arena.book, *own), len(rows))

    def _cells(self, phases: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Words that a view takes for each row."""
        sparse_or_dense = np.where(phases == SPARSE, (numbers + 1) // 2, 1 << (self._bits - 3))
        cells: np.ndarray = np.where(phases == EXACT, numbers, sparse_or_dense)
        return cells

    def _most(self, phases: np.ndarray) -> np.ndarray:
        """The greatest number that each phase has; below 0 for one that there is not."""
        most = np.full(256, -1, np.int64)
        most[[EXACT, DENSE]] = MOST_EXACT, 1 << self._bits
        if self._bits - 4 >= _FIRST_SPARSE:
            most[SPARSE] = 3 << (self._bits - 5)
        of_each: np.ndarray = most[phases]
        return of_each


@dataclass(frozen=True, slots=True)
class Cardinality(Value):
    """The result of HLL_UNIQUE."""

    hll_unique: int
    """Distinct elements, estimated."""
    is_exact: bool
    """They were few, and this is their number."""
    saturated: bool
    """Elements were refused for lack of room, so there were more."""


@dataclass(frozen=True)
class HllUnique(Reducer):
    """The number of distinct elements, each of `words` uint64 words, estimated."""

    words: int = 1
    """Words of an element: 2 for an address."""
    error_margin: float = 0.01
    """The relative error of most estimates is at most this."""
    confidence: float = 0.95
    """The probability that it is."""

    calculation: ClassVar[str] = "HLL_UNIQUE"
    flat: ClassVar[tuple[str, ...]] = ("cells",)

    @property
    def element_words(self) -> int:
        """uint64 words of an element."""
        return self.words

    @cached_property
    def bits(self) -> int:
        """Bits of the index of a register."""
        return index_bits(self.error_margin, self.confidence)

    def check(self) -> None:
        """Raise ValueError naming an option that is out of range."""
        super().check()
        if self.words < 1:
            raise ValueError(f"{self.name}: words must be at least 1")
        if not (0 < self.error_margin < 1 and 0 < self.confidence < 1):
            raise ValueError(f"{self.name}: error_margin and confidence must lie between 0 and 1")
        if not LEAST_BITS <= self.bits <= MOST_BITS:
            raise ValueError(
                f"{self.name}: error_margin {self.error_margin} with confidence {self.confidence} needs 2**{self.bits}"
                f" registers, and there may be from 2**{LEAST_BITS} to 2**{MOST_BITS}"
            )

    def column(self, setting: Setting) -> Column:
        """An empty column."""
        return Sketches(self, setting)

    def values(self, num: np.ndarray, states: Arrays) -> np.ndarray:
        """The estimate."""
        return self._estimates(states)

    def results(self, headers: np.ndarray, states: Arrays) -> list[Value]:
        """A `Cardinality` a key."""
        estimates, flags = np.rint(self._estimates(states)).astype(np.int64), states["saturated"]
        is_exact = (states["phase"] == EXACT) & ~flags
        rows = zip(rows_of(headers), estimates.tolist(), is_exact.tolist(), flags.tolist(), strict=True)
        return [Cardinality(*header, *values) for header, *values in rows]

    def _estimates(self, states: Arrays) -> np.ndarray:
        phase, number = states["phase"], states["number"]
        estimates = number.astype(np.float64)
        sparse, dense = phase == SPARSE, phase == DENSE
        slots, registers = 2.0**_INDEX_BITS, 2.0**self.bits
        estimates[sparse] = -slots * np.log1p(-number[sparse] / slots)
        powers = states["power_sum"][dense] / 2.0 ** (_FIXED_BITS - self.bits)
        estimates[dense] = _ALPHA * registers**2 / (_of_zeros(self.bits)[number[dense]] + powers)
        return estimates
