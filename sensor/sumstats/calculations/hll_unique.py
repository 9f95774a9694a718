"""HLL_UNIQUE: about how many distinct elements were observed, in little memory however many they are.

HyperLogLog (Flajolet et al., 2007) on 64 bit hashes under `sketch_key`. What a key holds depends on the set of these
hashes alone, never on their order, so that merging is the union of sets: the same state after any split.

- Exact, up to 32 hashes: they themselves, the first two in the row's field, and each other in the line of the cache
  that its bits say, or the next with room.
- Sparse, while that takes at most half of the room of the next: 26 bits of each hash with the rank of the rest (as in
  HyperLogLog++, Heule et al., 2013), counted linearly over 2**26.
- Dense: 2**b registers of a byte, and their sum of powers, kept exactly, so that an estimate costs the same at any b.

The estimate is Ertl's improved raw estimator (arXiv:1702.01284, algorithm 4), without bias from nothing to 2**60. As in
Zeek's hll_unique.zeek, b is chosen so that the relative error, of standard deviation 1.04 / 2**(b / 2), is at most
`error_margin` with probability `confidence`.
"""

import math
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import ClassVar

import numpy as np

from sensor._jit import njit
from sensor.hash import hash_rows, hash_words
from sensor.sumstats.arena import NO_BLOCK, REFUSED, ArenaColumn, give, take
from sensor.sumstats.calculation import (
    Arrays,
    Batch,
    Column,
    ElementReducer,
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
        ("block", "<i4"),  # where it starts, in lines; so the record of a row with a key of two words fills a line
        ("number", "<u2"),  # of hashes or of entries
        ("kind", "u1"),  # the phase, and in the low 4 bits the size class of the block
        ("saturated", "?"),
        ("first", "<u8"),  # the first hash; dense: the sum of 2**-rank over all registers, in units of 2**(b - 63)
        ("second", "<u8"),  # the second hash; dense: how many registers are still 0
    ],
    align=True,
)
_EMPTY = np.array((NO_BLOCK, 0, EXACT, False, 0, 0), _SKETCH)

_LINE_BITS = 3  # a line of the cache has 8 words
_LINE = 1 << _LINE_BITS
_MOST_LINES = 1 << 31  # that `block` can tell
_FIRST_EXACT, _LAST_EXACT = 3, 5  # classes of blocks of hashes
_FIRST_SPARSE = 5  # 64 slots for the 33 entries or fewer that are there at first
_INDEX_BITS = 26
_MOST_RANK = 64 - _INDEX_BITS + 1
_FIXED_BITS = 63  # a rank is at most 63 - b, so that the sum of powers is whole and its greatest, 2**62, fits
_PIECE = 1 << 10  # observations whose rows and blocks stay in the first caches
_ALPHA = 0.5 / math.log(2)

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_6, _26, _32, _38 = np.uint64(6), np.uint64(_INDEX_BITS), np.uint64(32), np.uint64(64 - _INDEX_BITS)
_63, _64 = np.uint64(63), np.uint64(64)
_BYTE, _RANK, _HALF = np.uint64(0xFF), np.uint64(0x3F), np.uint64(0xFFFFFFFF)


@njit
def _hash(key, elements, hashes):
    hash_rows(key, elements, hashes)
    for i in range(hashes.shape[0]):
        hashes[i] = max(hashes[i], _ONE)  # 0 is an empty word


@njit
def _rank(rest, most):
    """The place of the first bit that is set, from 1 at the top, or `most` if that is less; mostly 1 or 2."""
    rank = 1
    while rank < most and rest >> _63 == _ZERO:
        rest = rest << _ONE
        rank += 1
    return rank


@njit
def _is_known(rest, held):
    """Whether the rank of a hash, which is that of `rest`, is at most the one held; 0: none is held."""
    return (rest >> (_63 - held)) >> _ONE != _ZERO


@njit
def _phase(field):
    return field["kind"] >> 4


@njit
def _size_class(field):
    return np.int64(field["kind"] & 15)


@njit
def _block(field):
    """Where a row's block starts, in words; below 0: it has none."""
    return np.int64(field["block"]) << _LINE_BITS


@njit
def _entry(value):
    """26 bits of a hash and the rank of the other 38, as a sparse row holds them."""
    rank = _rank(value << _26, _MOST_RANK)
    return ((value >> _38) << _6) | np.uint64(rank)


@njit
def _home(index, size_class, spread):
    """The word, of the two slots where an entry of that index would be first.

    Multiplied by a secret, as a sender may know the key of the hashes; the multiplier shows in no result.
    """
    return np.int64((index * spread) >> (_64 - np.uint64(size_class)))


@njit
def _most_entries(size_class):
    """Three quarters of the slots."""
    return 3 << (size_class - 1)


@njit
def _own_line(value, size_class):
    """Where in a block of hashes the line of a hash starts."""
    return np.int64(value & _63) & ((1 << size_class) - _LINE)


@njit
def _first_word(field, value, bits, spread):
    """Where a hash is looked for first, or what was made of it, in a row with a block."""
    size_class, phase = _size_class(field), _phase(field)
    if phase == EXACT:
        return _block(field) + _own_line(value, size_class)
    if phase == SPARSE:
        return _block(field) + _home(value >> _38, size_class, spread)
    return _block(field) + (np.int64(value >> (_64 - np.uint64(bits))) >> 3)


@njit
def _touch(rows, hashes, state, words, bits, spread, places):
    """Read each row's field, then its block where the hash may be: blocks start at a line of the cache.

    The processor waits for many reads at once only while a loop does little else: see `sensor.sumstats.table`. What was
    read is noted, so that no compiler leaves it out.
    """
    for i in range(rows.shape[0]):
        has_block = rows[i] >= 0 and state[rows[i]]["block"] >= 0
        places[i] = _first_word(state[rows[i]], hashes[i], bits, spread) if has_block else 0
    read = _ZERO
    for i in range(rows.shape[0]):
        read ^= words[places[i]]
    places[0] = np.int64(read & _BYTE)


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
        give(words, book, _size_class(field), _block(field))
    field["block"] = block >> _LINE_BITS
    field["kind"] = phase << 4 | size_class
    field["number"] = number


@njit
def _used_of_line(words, start, value):
    """How many words of a line of hashes are in use, which are the first; -1: that hash is there."""
    line = words[start : start + _LINE]
    if line.shape[0] != _LINE:  # never; the compiler sees that nothing below is out of bounds: 14 ns instead of 32
        return -1
    used, same = 0, 0
    for k in range(_LINE):
        used += line[k] != _ZERO
        same += line[k] == value
    return -1 if same else used


@njit
def _free_word(words, block, size_class, value):
    """Where a new hash belongs in a block of hashes; -1: it is there. There is always an empty word."""
    line = _own_line(value, size_class)
    used = _used_of_line(words, block + line, value)
    while used == _LINE:
        line = (line + _LINE) & ((1 << size_class) - 1)
        used = _used_of_line(words, block + line, value)
    return block + line + used if used >= 0 else -1


@njit
def _add_exact(field, value, words, book):
    """Add a hash to a row that may hold one more; 0, or what `take` says instead of a block."""
    number = np.int64(field["number"])
    if number < 2:
        if number == 0:
            field["first"] = value
        else:
            field["second"] = value
        field["number"] = number + 1
        return 0
    at = _free_word(words, _block(field), _size_class(field), value) if number > 2 else 0
    if at >= 0 and (number == 2 or number == 1 << _size_class(field)):
        block = _enlarge(field, _FIRST_EXACT if number == 2 else _LAST_EXACT, words, book)
        if block < 0:
            return block
        at = _free_word(words, block, _size_class(field), value)
    if at >= 0:
        words[at] = value
        field["number"] = number + 1
    return 0


@njit
def _enlarge(field, size_class, words, book):
    """Move the hashes of a row to a block of that class; give it, or what `take` says instead."""
    block = _blank_room(field, size_class, words, book)
    if block < 0:
        return block
    if field["block"] >= 0:
        for at in range(_block(field), _block(field) + (1 << _size_class(field))):
            if words[at] != _ZERO:
                words[_free_word(words, block, size_class, words[at])] = words[at]
    _move(field, EXACT, np.int64(field["number"]), block, size_class, words, book)
    return block


@njit
def _held(words, block, slot):
    """The entry in a slot; 0: none."""
    return (words[block + (slot >> 1)] >> np.uint64((slot & 1) << 5)) & _HALF


@njit
def _slot(words, block, size_class, entry, spread):
    """The slot of the entry of the same index, or the empty one where it belongs; there is always an empty one."""
    mask = (2 << size_class) - 1
    slot = _home(entry >> _6, size_class, spread) << 1
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
def _hash_places(field):
    """How many places there are for hashes in an exact row."""
    return 2 if field["block"] < 0 else 2 + (1 << _size_class(field))


@njit
def _hash_at(field, place, words):
    """The hash in a place of an exact row; 0: none."""
    if place < 2:
        return field["first"] if place == 0 else field["second"]
    return words[_block(field) + place - 2]


@njit
def _to_sparse(field, size_class, words, book, spread):
    """Turn a row's hashes into entries, or give its entries more room; give its block, or what `take` says instead."""
    block, number = _blank_room(field, size_class, words, book), 0
    if block < 0:
        return block
    if _phase(field) == EXACT:
        for place in range(_hash_places(field)):
            value = _hash_at(field, place, words)
            if value != _ZERO:
                number += _put(words, block, size_class, _entry(value), spread)
    else:
        for slot in range(2 << _size_class(field)):
            entry = _held(words, _block(field), slot)
            if entry != _ZERO:
                number += _put(words, block, size_class, entry, spread)
    field["first"], field["second"] = _ZERO, _ZERO
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
        field["second"] -= _ONE
    else:
        field["first"] -= _ONE << np.uint64(_FIXED_BITS - bits - held)
    field["first"] += _ONE << np.uint64(_FIXED_BITS - bits - rank)


@njit
def _raise_for_hash(field, block, value, words, bits):
    """Raise the register of a hash; most that come raise nothing, and need no rank to tell."""
    index, rest = np.int64(value >> (_64 - np.uint64(bits))), value << np.uint64(bits)
    if not _is_known(rest, _register(words, block, index)):
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
def _registers_class(bits):
    """The size class of their block, a line at least."""
    return max(bits - 3, _LINE_BITS)


@njit
def _to_dense(field, words, book, bits):
    """Turn a row's hashes or entries into registers; give its block, or what `take` says instead."""
    block = _blank_room(field, _registers_class(bits), words, book)
    if block < 0:
        return block
    first, second, old = field["first"], field["second"], _block(field)
    field["first"], field["second"] = _ZERO, _ONE << np.uint64(bits)
    if _phase(field) == EXACT:
        for place in range(_hash_places(field)):
            value = words[old + place - 2] if place >= 2 else first if place == 0 else second
            if value != _ZERO:
                _raise_for_hash(field, block, value, words, bits)
    else:
        for slot in range(2 << _size_class(field)):
            entry = _held(words, old, slot)
            if entry != _ZERO:
                _raise_for_entry(field, block, entry, words, bits)
    _move(field, DENSE, 0, block, _registers_class(bits), words, book)
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
    if _phase(field) == SPARSE:
        block, size_class = _block(field), _size_class(field)
        is_full = field["number"] == _most_entries(size_class)
        if is_full and _held(words, block, _slot(words, block, size_class, entry, spread)) == _ZERO:
            if size_class < bits - 4:
                block = _to_sparse(field, size_class + 1, words, book, spread)
            else:
                block = _to_dense(field, words, book, bits)
            if block < 0:
                return block == NO_BLOCK
    if _phase(field) == SPARSE:
        field["number"] += _put(words, _block(field), _size_class(field), entry, spread)
    else:
        _raise_for_entry(field, _block(field), entry, words, bits)
    return True


@njit
def _add(field, value, words, book, bits, spread):
    """Add a hash to a row; False: there is no room yet, and nothing has changed."""
    phase = _phase(field)
    if phase == SPARSE:
        return _add_entry(field, _entry(value), words, book, bits, spread)
    if phase == EXACT:
        if (field["first"] == value) | (field["second"] == value):
            return True
        if field["number"] < MOST_EXACT:
            block = _add_exact(field, value, words, book)
            return block >= 0 or block == NO_BLOCK
        if _free_word(words, _block(field), _size_class(field), value) < 0:
            return True
        block = _leave_exact(field, words, book, bits, spread)
        if block < 0:
            return block == NO_BLOCK
        if _phase(field) == SPARSE:
            return _add_entry(field, _entry(value), words, book, bits, spread)
    _raise_for_hash(field, _block(field), value, words, bits)
    return True


@njit
def _take_line(field, value, words, book):
    """Let a row of two hashes hold a third, in a block; False: it has yet to be made, and nothing has changed."""
    block = take(words, book, _FIRST_EXACT)
    line = words[block : block + _LINE]
    if block < 0 or line.shape[0] != _LINE:
        return False
    for k in range(_LINE):
        line[k] = value if k == 0 else _ZERO
    field["block"] = block >> _LINE_BITS
    field["kind"] = EXACT << 4 | _FIRST_EXACT
    field["number"] = 3
    return True


@njit
def _add_all(rows, applies, hashes, state, words, book, bits, spread, after):
    """Add hashes to their rows; return how many were added before there was no room.

    What takes one look, as most do, is done right here, because a call takes as long as the rest: 10 ns.
    """
    watch = after.shape[0] > 0
    for i in range(rows.shape[0]):
        if rows[i] < 0:
            continue
        field, value = state[rows[i]], hashes[i]
        phase, is_done = _phase(field), not applies[i]
        if phase == EXACT:
            is_done |= (field["first"] == value) | (field["second"] == value)
            start, number = _block(field), np.int64(field["number"])
            if not is_done and number < 2:
                field["first"] = value if number == 0 else field["first"]  # no branch, which would often be mistaken
                field["second"] = value if number == 1 else field["second"]
                field["number"] = number + 1
                is_done = True
            elif not is_done and start < 0:
                is_done = _take_line(field, value, words, book)
            elif not is_done:
                start += _own_line(value, _size_class(field))
                line, used, same = words[start : start + _LINE], 0, 0
                if line.shape[0] == _LINE:  # always; so the compiler need not check each word: 14 ns instead of 32
                    for k in range(_LINE):
                        used += line[k] != _ZERO
                        same += line[k] == value
                    is_done = same > 0
                    if not is_done and used < _LINE and number < 1 << _size_class(field):
                        line[used] = value
                        field["number"] = number + 1
                        is_done = True
        elif phase == SPARSE:
            word, index = words[_block(field) + _home(value >> _38, _size_class(field), spread)], value >> _38
            held = word >> _32 if word >> _38 == index else word & _HALF
            is_done |= _is_known(value << _26, held & _RANK if held >> _6 == index else _ZERO)
        if not is_done and not _add(field, value, words, book, bits, spread):
            return i
        if watch:
            after[i] = field
    return rows.shape[0]


@njit
def _update(start, rows, applies, hashes, state, words, book, bits, spread, places, after):
    """Add hashes to their rows, from the `start`-th on; if `after` is not empty, copy each row's field there.

    Return how many are done: the next finds no room until the arena has grown.
    """
    for begin in range(start, rows.shape[0], places.shape[0]):
        end = min(begin + places.shape[0], rows.shape[0])
        own, given = rows[begin:end], hashes[begin:end]
        _touch(own, given, state, words, bits, spread, places)
        n = _add_all(own, applies[begin:end], given, state, words, book, bits, spread, after[begin:end])
        if n < end - begin:
            return begin + n
    return rows.shape[0]


@njit
def _release(state, numbers, words, book):
    for row in range(numbers.shape[0]):
        if numbers[row] < 0 and state[row]["block"] >= 0:
            give(words, book, _size_class(state[row]), _block(state[row]))


@njit
def _merge_cells(field, phase, cells, words, book, bits, spread):
    """Merge what a row of another node holds; False: there is no room yet. To merge a part twice changes nothing."""
    block = np.int64(0)
    if phase == SPARSE and _phase(field) == EXACT:
        block = _to_sparse(field, _FIRST_SPARSE, words, book, spread)
    if phase == DENSE and _phase(field) != DENSE:
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
        elif cells[k] != _ZERO and cells[k] != words[_block(field) + k]:
            for index in range(k << 3, (k + 1) << 3):
                _raise(field, _block(field), index, np.int64(_register(cells, 0, index)), words, bits)
    return True


@njit
def _merge(start, rows, phases, flags, ends, cells, state, words, book, bits, spread):
    """Merge from the `start`-th row on; `ends` is where the cells of each end. Return how many are done."""
    for j in range(start, rows.shape[0]):
        if rows[j] < 0:
            continue
        field, begin = state[rows[j]], ends[j - 1] if j > 0 else 0
        if not _merge_cells(field, phases[j], cells[begin : ends[j]], words, book, bits, spread):
            return j
        if flags[j]:
            field["saturated"] = True
    return rows.shape[0]


@njit(allocates=True)
def _collect(rows, state, words, ends, cells):
    """Fill `cells` with what each row holds, in ascending order: hashes, entries in pairs, or registers."""
    for j in range(rows.shape[0]):
        field, begin = state[rows[j]], ends[j - 1] if j > 0 else 0
        own = cells[begin : ends[j]]
        if _phase(field) == DENSE:
            own[:] = words[_block(field) : _block(field) + own.shape[0]]
            continue
        n = 0
        if _phase(field) == EXACT:
            for place in range(_hash_places(field)):
                value = _hash_at(field, place, words)
                if value != _ZERO:
                    own[n] = value
                    n += 1
            own.sort()
            continue
        entries = np.empty(field["number"], np.uint64)
        for slot in range(2 << _size_class(field)):
            entry = _held(words, _block(field), slot)
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
    phases = fields["kind"] >> 4
    is_dense = phases == DENSE
    return {
        "phase": phases,
        "number": np.where(is_dense, fields["second"].astype(np.int64), fields["number"]),
        "power_sum": np.where(is_dense, fields["first"], _ZERO),
        "saturated": fields["saturated"].copy(),
    }


class Sketches(ArenaColumn):
    """The sketch of every key of one reducer."""

    empty_field: ClassVar[np.ndarray] = _EMPTY

    def __init__(self, reducer: "HllUnique", setting: Setting) -> None:
        most = 8 * _LINE * _MOST_LINES
        super().__init__(replace(setting, max_bytes=min(setting.max_bytes, most)))
        self._bits = reducer.bits
        self._key = setting.sketch_key
        self._spread = np.uint64(hash_words(setting.secret, np.empty(0, np.uint64))) | _ONE

    def update(self, batch: Batch, values: np.ndarray, *, watch: bool) -> Arrays:
        """Add the elements in order."""
        hashes, after = np.empty(len(values), np.uint64), np.zeros(len(values) * watch, _SKETCH)
        _hash(self._key, values, hashes)
        arena, places = self.arena, np.empty(_PIECE, np.int64)
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

    def renumber(self, numbers: np.ndarray) -> None:
        """Take back the blocks of rows that are forgotten; the others keep theirs under their new number."""
        _release(self.state, numbers, self.arena.words, self.arena.book)

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
class HllUnique(ElementReducer):
    """The number of distinct elements, each of `words` uint64 words, estimated."""

    error_margin: float = 0.01
    """The relative error of most estimates is at most this."""
    confidence: float = 0.95
    """The probability that it is."""

    calculation: ClassVar[str] = "HLL_UNIQUE"
    grows: ClassVar[bool] = True
    flat: ClassVar[tuple[str, ...]] = ("cells",)

    @cached_property
    def bits(self) -> int:
        """Bits of the index of a register."""
        return index_bits(self.error_margin, self.confidence)

    def check(self) -> None:
        """Raise ValueError naming an option that is out of range."""
        super().check()
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

    def ceiling(self, num: np.ndarray, states: Arrays, added: np.ndarray) -> np.ndarray:
        """What so many elements, all new, can make of it: each fills a register, or takes at most half from the sum.

        Where a row may go on with registers meanwhile, anything.
        """
        dense = states["phase"] == DENSE
        filled = np.minimum(states["number"][dense], added[dense]).astype(np.int64)
        halves = (added[dense] / 2 * 2.0 ** (_FIXED_BITS - self.bits)).clip(0, 2.0**62).astype(np.uint64)
        power_sum = states["power_sum"][dense]
        slots, number = 2.0**_INDEX_BITS, states["number"] + added
        has_sparse = self.bits - 4 >= _FIRST_SPARSE
        most_entries = 3 << (self.bits - 5) if has_sparse else MOST_EXACT
        most = np.where(number <= most_entries, -slots * np.log1p(-np.minimum(number, slots / 2) / slots), np.inf)
        most[dense] = self._estimates(
            {
                "phase": states["phase"][dense],
                "number": states["number"][dense] - filled,
                "power_sum": power_sum - np.minimum(power_sum, halves),
            }
        )
        return most

    def _estimates(self, states: Arrays) -> np.ndarray:
        phase, number = states["phase"], states["number"]
        estimates = number.astype(np.float64)
        sparse, dense = phase == SPARSE, phase == DENSE
        slots, registers = 2.0**_INDEX_BITS, 2.0**self.bits
        estimates[sparse] = -slots * np.log1p(-number[sparse] / slots)
        powers = states["power_sum"][dense] / 2.0 ** (_FIXED_BITS - self.bits)
        estimates[dense] = _ALPHA * registers**2 / (_of_zeros(self.bits)[number[dense]] + powers)
        return estimates
