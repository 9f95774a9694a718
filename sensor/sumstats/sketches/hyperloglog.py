"""The kernels of HyperLogLog sketches: hashes, sparse entries or dense registers of each row, in blocks of an arena.

How a sketch moves from one form to the next, and why, is described in `sensor.sumstats.calculations.hll_unique`.
"""

import numpy as np

from sensor._jit import njit
from sensor.hash import hash_rows
from sensor.sumstats.arena import NO_BLOCK, REFUSED, allocate, release

EXACT, SPARSE, DENSE = 0, 1, 2
"""What a row holds: hashes, entries of an index and a rank, or registers."""
MOST_EXACT = 32
"""Hashes that a row holds before it goes on with less of each."""

_LINE_BITS = 3  # a line of the cache has 8 words
LINE = 1 << _LINE_BITS
_FIRST_EXACT, _LAST_EXACT = 3, 5  # classes of blocks of hashes
FIRST_SPARSE = 5  # 64 slots for the 33 entries or fewer that are there at first
INDEX_BITS = 26
_MOST_RANK = 64 - INDEX_BITS + 1
FIXED_BITS = 63  # a rank is at most 63 - b, so that the sum of powers is whole and its greatest, 2**62, fits

ZERO, ONE = np.uint64(0), np.uint64(1)
_6, _26, _32, _38 = np.uint64(6), np.uint64(INDEX_BITS), np.uint64(32), np.uint64(64 - INDEX_BITS)
_63, _64 = np.uint64(63), np.uint64(64)
_BYTE, _RANK, _HALF = np.uint64(0xFF), np.uint64(0x3F), np.uint64(0xFFFFFFFF)


@njit
def hash_elements(key, elements, hashes):
    """Hash elements (uint64, (n, words)) under a key to `hashes` (uint64, (n,)), none of them 0."""
    hash_rows(key, elements, hashes)
    for i in range(hashes.shape[0]):
        hashes[i] = max(hashes[i], ONE)  # 0 is an empty word


@njit
def _rank(rest, most):
    """The place of the first bit that is set, from 1 at the top, or `most` if that is less; mostly 1 or 2."""
    rank = 1
    while rank < most and rest >> _63 == ZERO:
        rest = rest << ONE
        rank += 1
    return rank


@njit
def _is_known(rest, held):
    """Return whether the rank of a hash_elements, which is that of `rest`, is at most the one held; 0: none is held."""
    return (rest >> (_63 - held)) >> ONE != ZERO


@njit
def _phase(field):
    return field["kind"] >> 4


@njit
def _size_class(field):
    return np.int64(field["kind"] & 15)


@njit
def _block(field):
    """Return where a row's block starts, in words; below 0: it has none."""
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
    """Return where in a block of hashes the line of a hash starts."""
    return np.int64(value & _63) & ((1 << size_class) - LINE)


@njit
def _first_word(field, value, bits, spread):
    """Return where a hash is looked for first, or what was made of it, in a row with a block."""
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
    read = ZERO
    for i in range(rows.shape[0]):
        read ^= words[places[i]]
    places[0] = np.int64(read & _BYTE)


@njit
def _room(field, size_class, words, book):
    """A block for a row, or what `allocate` says instead; if that is to refuse, flag and count it."""
    block = allocate(words, book, size_class)
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
            words[at] = ZERO
    return block


@njit
def _move(field, phase, number, block, size_class, words, book):
    """Let a row own another block instead."""
    if field["block"] >= 0:
        release(words, book, _size_class(field), _block(field))
    field["block"] = block >> _LINE_BITS
    field["kind"] = phase << 4 | size_class
    field["number"] = number


@njit
def _used_of_line(words, start, value):
    """Return how many words of a line of hashes are in use, which are the first; -1: that hash is there."""
    line = words[start : start + LINE]
    if line.shape[0] != LINE:  # never; the compiler sees that nothing below is out of bounds: 14 ns instead of 32
        return -1
    used, same = 0, 0
    for k in range(LINE):
        used += line[k] != ZERO
        same += line[k] == value
    return -1 if same else used


@njit
def _free_word(words, block, size_class, value):
    """Return where a new hash belongs in a block of hashes; -1: it is there. There is always an empty word."""
    line = _own_line(value, size_class)
    used = _used_of_line(words, block + line, value)
    while used == LINE:
        line = (line + LINE) & ((1 << size_class) - 1)
        used = _used_of_line(words, block + line, value)
    return block + line + used if used >= 0 else -1


@njit
def _add_exact(field, value, words, book):
    """Add a hash to a row that may hold one more; 0, or what `allocate` says instead of a block."""
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
    """Move the hashes of a row to a block of that class; give it, or what `allocate` says instead."""
    block = _blank_room(field, size_class, words, book)
    if block < 0:
        return block
    if field["block"] >= 0:
        for at in range(_block(field), _block(field) + (1 << _size_class(field))):
            if words[at] != ZERO:
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
        if held == ZERO or held >> _6 == entry >> _6:
            return slot
        slot = (slot + 1) & mask


@njit
def _put(words, block, size_class, entry, spread):
    """Put an entry where it belongs, unless one of greater rank is there; give by how many entries there are more."""
    slot = _slot(words, block, size_class, entry, spread)
    held = _held(words, block, slot)
    if entry > held:
        words[block + (slot >> 1)] += (entry - held) << np.uint64((slot & 1) << 5)
    return 1 if held == ZERO else 0


@njit
def _hash_places(field):
    """Return how many places there are for hashes in an exact row."""
    return 2 if field["block"] < 0 else 2 + (1 << _size_class(field))


@njit
def _hash_at(field, place, words):
    """The hash in a place of an exact row; 0: none."""
    if place < 2:
        return field["first"] if place == 0 else field["second"]
    return words[_block(field) + place - 2]


@njit
def _to_sparse(field, size_class, words, book, spread):
    """Turn a row's hashes into entries, or give its entries room; give its block, or what `allocate` says instead."""
    block, number = _blank_room(field, size_class, words, book), 0
    if block < 0:
        return block
    if _phase(field) == EXACT:
        for place in range(_hash_places(field)):
            value = _hash_at(field, place, words)
            if value != ZERO:
                number += _put(words, block, size_class, _entry(value), spread)
    else:
        for slot in range(2 << _size_class(field)):
            entry = _held(words, _block(field), slot)
            if entry != ZERO:
                number += _put(words, block, size_class, entry, spread)
    field["first"], field["second"] = ZERO, ZERO
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
        field["second"] -= ONE
    else:
        field["first"] -= ONE << np.uint64(FIXED_BITS - bits - held)
    field["first"] += ONE << np.uint64(FIXED_BITS - bits - rank)


@njit
def _raise_for_hash(field, block, value, words, bits):
    """Raise the register of a hash; most that come raise nothing, and need no rank to tell."""
    index, rest = np.int64(value >> (_64 - np.uint64(bits))), value << np.uint64(bits)
    if not _is_known(rest, _register(words, block, index)):
        _raise(field, block, index, _rank(rest, FIXED_BITS - bits), words, bits)


@njit
def _raise_for_entry(field, block, entry, words, bits):
    """As if for the hash that the entry was made of."""
    index, rest = np.int64(entry >> np.uint64(6 + INDEX_BITS - bits)), (entry >> _6) << np.uint64(38 + bits)
    rank = INDEX_BITS - bits + np.int64(entry & _RANK)
    if rest != ZERO:
        rank = _rank(rest, FIXED_BITS)
    _raise(field, block, index, min(rank, FIXED_BITS - bits), words, bits)


@njit
def _registers_class(bits):
    """The size class of their block, a line at least."""
    return max(bits - 3, _LINE_BITS)


@njit
def _to_dense(field, words, book, bits):
    """Turn a row's hashes or entries into registers; give its block, or what `allocate` says instead."""
    block = _blank_room(field, _registers_class(bits), words, book)
    if block < 0:
        return block
    first, second, old = field["first"], field["second"], _block(field)
    field["first"], field["second"] = ZERO, ONE << np.uint64(bits)
    if _phase(field) == EXACT:
        for place in range(_hash_places(field)):
            value = words[old + place - 2] if place >= 2 else first if place == 0 else second
            if value != ZERO:
                _raise_for_hash(field, block, value, words, bits)
    else:
        for slot in range(2 << _size_class(field)):
            entry = _held(words, old, slot)
            if entry != ZERO:
                _raise_for_entry(field, block, entry, words, bits)
    _move(field, DENSE, 0, block, _registers_class(bits), words, book)
    return block


@njit
def _leave_exact(field, words, book, bits, spread):
    """Turn a row's hashes into what follows on them at so many bits."""
    if bits - 4 >= FIRST_SPARSE:
        return _to_sparse(field, FIRST_SPARSE, words, book, spread)
    return _to_dense(field, words, book, bits)


@njit
def _add_entry(field, entry, words, book, bits, spread):
    """Add an entry to a row that is sparse or dense; False: there is no room yet, and nothing has changed."""
    if _phase(field) == SPARSE:
        block, size_class = _block(field), _size_class(field)
        is_full = field["number"] == _most_entries(size_class)
        if is_full and _held(words, block, _slot(words, block, size_class, entry, spread)) == ZERO:
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
    block = allocate(words, book, _FIRST_EXACT)
    line = words[block : block + LINE]
    if block < 0 or line.shape[0] != LINE:
        return False
    for k in range(LINE):
        line[k] = value if k == 0 else ZERO
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
                line, used, same = words[start : start + LINE], 0, 0
                if line.shape[0] == LINE:  # always; so the compiler need not check each word: 14 ns instead of 32
                    for k in range(LINE):
                        used += line[k] != ZERO
                        same += line[k] == value
                    is_done = same > 0
                    if not is_done and used < LINE and number < 1 << _size_class(field):
                        line[used] = value
                        field["number"] = number + 1
                        is_done = True
        elif phase == SPARSE:
            word, index = words[_block(field) + _home(value >> _38, _size_class(field), spread)], value >> _38
            held = word >> _32 if word >> _38 == index else word & _HALF
            is_done |= _is_known(value << _26, held & _RANK if held >> _6 == index else ZERO)
        if not is_done and not _add(field, value, words, book, bits, spread):
            return i
        if watch:
            after[i] = field
    return rows.shape[0]


@njit
def update(start, rows, applies, hashes, state, words, book, bits, spread, places, after):
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
def forget_rows(state, numbers, words, book):
    """Give back the blocks of rows without a new number (int64, -1)."""
    for row in range(numbers.shape[0]):
        if numbers[row] < 0 and state[row]["block"] >= 0:
            release(words, book, _size_class(state[row]), _block(state[row]))


@njit
def _merge_cells(field, phase, cells, words, book, bits, spread):
    """Merge what a row of another node holds; False: there is no room yet. To merge a part twice changes nothing."""
    block = np.int64(0)
    if phase == SPARSE and _phase(field) == EXACT:
        block = _to_sparse(field, FIRST_SPARSE, words, book, spread)
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
                if entry != ZERO and not _add_entry(field, entry, words, book, bits, spread):
                    return False
        elif cells[k] != ZERO and cells[k] != words[_block(field) + k]:
            for index in range(k << 3, (k + 1) << 3):
                _raise(field, _block(field), index, np.int64(_register(cells, 0, index)), words, bits)
    return True


@njit
def merge(start, rows, phases, flags, ends, cells, state, words, book, bits, spread):
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
def collect(rows, state, words, ends, cells):
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
                if value != ZERO:
                    own[n] = value
                    n += 1
            own.sort()
            continue
        entries = np.empty(field["number"], np.uint64)
        for slot in range(2 << _size_class(field)):
            entry = _held(words, _block(field), slot)
            if entry != ZERO:
                entries[n] = entry
                n += 1
        entries.sort()
        for k in range(n):
            own[k >> 1] |= entries[k] << np.uint64((k & 1) << 5)


@njit
def _are_registers(cells, number, power_sum, bits):
    """Return whether these are registers of ranks in range, one at least, and have that many zeros and that sum."""
    zeros, total = 0, ZERO
    for index in range(8 * cells.shape[0]):
        rank = np.int64(_register(cells, 0, index))
        if rank > FIXED_BITS - bits:
            return False
        if rank == 0:
            zeros += 1
        else:
            total += ONE << np.uint64(FIXED_BITS - bits - rank)
    return zeros == number and total == power_sum and total > ZERO


@njit
def _are_entries(cells, number):
    """Return whether these are that many entries, of ascending index and a rank in range, and nothing after them."""
    last = -1
    for k in range(2 * cells.shape[0]):
        entry = _held(cells, 0, k)
        if k >= number:
            return entry == ZERO
        index, rank = np.int64(entry >> _6), np.int64(entry & _RANK)
        if index <= last or rank < 1 or rank > _MOST_RANK:
            return False
        last = index
    return True


@njit
def malformed(phases, numbers, power_sums, ends, cells, bits):
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
                is_sound = is_sound and own[k] > (own[k - 1] if k > 0 else ZERO)
        if not is_sound:
            return j
    return -1
