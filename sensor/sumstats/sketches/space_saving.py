"""The kernels of Space-Saving summaries: the elements of each row with their counts, as a heap and an index in a block.

The bounds that they keep are described in `sensor.sumstats.calculations.topk`.
"""

import numpy as np

from sensor._jit import njit
from sensor.hash import hash_words
from sensor.sumstats.arena import GROW, NO_BLOCK, REFUSED, allocate, release

MOST = np.int64(1 << 62)

# A block has entries, numbered from 0: the words of an element, its count, its epsilon. A small block has nothing else
# and is searched from end to end. From class INDEXED on there are three parts:
# - the index, an eighth of the block: open addressing in slots of 32 bits, 16 of a tag over 1 + the entry's number;
# - the entries;
# - the heap, two words an entry, at the end: used once the block is full and will not grow. Each node has four
#   children and is (count, 48 bits of the hash over 16 of the entry's number), least on top. As counts only rise, a
#   node's may lag behind its entry's until it comes to the top: an element that is known costs the heap nothing.
BESIDE = 2  # words of an entry beside its element's
INDEXED = 7
_FIRST_ENTRIES = 4
_NUMBER, _HASH = np.uint64(0xFFFF), np.uint64(0xFFFF_FFFF_FFFF_0000)
_32, _48 = np.uint64(32), np.uint64(48)


@njit
def _tag(hashed, spread):
    """Return what the index goes by: 16 bits of a hash times a secret, as a sender may know the key of the hashes."""
    return np.int64(((hashed & _HASH) * spread) >> _48)


@njit
def _sum(a, b):
    return a + b if a <= MOST - b else MOST


@njit
def _entries(block, size_class):
    """Return where the entries of a block start."""
    return block + ((np.int64(1) << size_class) >> 3 if size_class >= INDEXED else 0)


@njit
def _is_at(words, entry, element, width):
    w = 0
    while w < width and words[entry + w] == element[w]:
        w += 1
    return w == width


@njit
def _find(words, slots, spread, field, element, width, hashed):
    """Return where the entry of an element starts, or -1."""
    block, size_class, step = field["block"], np.int64(field["size_class"]), width + BESIDE
    entries = _entries(block, size_class)
    if size_class < INDEXED:
        for number in range(field["count"]):
            if _is_at(words, entries + number * step, element, width):
                return entries + number * step
        return np.int64(-1)
    mask, tag = (np.int64(1) << size_class >> 2) - 1, _tag(hashed, spread)
    slot = tag & mask
    while True:
        held = np.int64(slots[2 * block + slot])
        if held == 0:
            return np.int64(-1)
        entry = entries + ((held & 0xFFFF) - 1) * step
        if held >> 16 == tag and _is_at(words, entry, element, width):
            return entry
        slot = (slot + 1) & mask


@njit
def _enter(slots, spread, block, size_class, number, hashed):
    """Enter a new entry into the index."""
    mask, tag = (np.int64(1) << size_class >> 2) - 1, _tag(hashed, spread)
    slot = tag & mask
    while slots[2 * block + slot] != 0:
        slot = (slot + 1) & mask
    slots[2 * block + slot] = np.uint32((tag << 16) | (number + 1))


@njit
def _leave(slots, spread, block, size_class, number, hashed):
    """Take an entry out of the index; others move up, so that no search ends at the gap (Knuth, 6.4, algorithm R)."""
    mask = (np.int64(1) << size_class >> 2) - 1
    gap = _tag(hashed, spread) & mask
    while np.int64(slots[2 * block + gap]) & 0xFFFF != number + 1:
        gap = (gap + 1) & mask
    slot = gap
    while True:
        slot = (slot + 1) & mask
        held = slots[2 * block + slot]
        if held == 0:
            slots[2 * block + gap] = held
            return
        home = np.int64(held) >> 16 & mask
        if (slot - home) & mask >= (slot - gap) & mask:
            slots[2 * block + gap] = held
            gap = slot


@njit
def _index(key, words, slots, field, width):
    """Make the index anew."""
    block, size_class = field["block"], np.int64(field["size_class"])
    if size_class < INDEXED:
        return
    entries = _entries(block, size_class)
    words[block:entries] = 0
    for number in range(field["count"]):
        entry = entries + number * (width + BESIDE)
        _enter(slots, key[2], block, size_class, number, hash_words(key, words[entry : entry + width]))


@njit
def _sink(words, heap, node, n):
    """Let a node of a heap of `n` sink to where it belongs."""
    count, rest = words[heap + 2 * node], words[heap + 2 * node + 1]
    while 4 * node + 1 < n:
        least = heap + 2 * (4 * node + 1)
        for child in range(least + 2, min(least + 8, heap + 2 * n), 2):
            if words[child] < words[least] or (words[child] == words[least] and words[child + 1] < words[least + 1]):
                least = child
        if words[least] > count or (words[least] == count and words[least + 1] > rest):
            break
        words[heap + 2 * node] = words[least]
        words[heap + 2 * node + 1] = words[least + 1]
        node = (least - heap) // 2
    words[heap + 2 * node] = count
    words[heap + 2 * node + 1] = rest


@njit
def _build_heap(key, words, entries, heap, n, width):
    for number in range(n):
        entry = entries + number * (width + BESIDE)
        hashed = hash_words(key, words[entry : entry + width])
        words[heap + 2 * number] = words[entry + width]
        words[heap + 2 * number + 1] = (hashed & _HASH) | np.uint64(number)
    for node in range(n // 4, -1, -1):
        _sink(words, heap, node, n)


@njit
def _least(key, words, entries, n, width):
    """The number of the lightest entry of a small block."""
    least, lightest, lowest = np.int64(0), np.uint64(0), np.uint64(0)
    for number in range(n):
        entry = entries + number * (width + BESIDE)
        count = words[entry + width]
        if number > 0 and count > lightest:
            continue
        hashed = (hash_words(key, words[entry : entry + width]) & _HASH) | np.uint64(number)
        if number == 0 or count < lightest or hashed < lowest:
            least, lightest, lowest = np.int64(number), count, hashed
    return least


@njit
def _evict(key, words, slots, field, width, hashed, weight):
    """The number of the lightest entry, which index and heap now hold for an element of that hash and weight."""
    block, size_class, n = field["block"], np.int64(field["size_class"]), np.int64(field["count"])
    entries = _entries(block, size_class)
    if size_class < INDEXED:
        return _least(key, words, entries, n, width)
    heap = block + (np.int64(1) << size_class) - 2 * n
    if not field["has_heap"]:
        _build_heap(key, words, entries, heap, n, width)
        field["has_heap"] = True
    while True:
        number = np.int64(words[heap + 1] & _NUMBER)
        count = words[entries + number * (width + BESIDE) + width]
        if words[heap] == count:
            break
        words[heap] = count
        _sink(words, heap, 0, n)
    _leave(slots, key[2], block, size_class, number, words[heap + 1])
    _enter(slots, key[2], block, size_class, number, hashed)
    words[heap] = np.uint64(_sum(np.int64(count), weight))
    words[heap + 1] = (hashed & _HASH) | np.uint64(number)
    _sink(words, heap, 0, n)
    return number


@njit
def _enlarge(words, book, field, least, most):
    """A block of class `most`, or one as large as there is, at least of class `least`: NO_BLOCK or GROW as `allocate`.

    The row has it at once, and the old one still to be given back; the entries are yet to be copied.
    """
    for size_class in range(most, least - 1, -1):
        block = allocate(words, book, size_class)
        if block != NO_BLOCK:
            break
    if block == GROW:
        return block
    if block == NO_BLOCK or size_class < most:
        field["is_stuck"] = True
        field["saturated"] = True
        book[REFUSED] += 1
    if block != NO_BLOCK:
        field["block"] = block
        field["size_class"] = size_class
    return block


@njit
def _grow(key, words, slots, book, field, width, capacities):
    """Give a full row a larger block, if it may have one; false if the arena has to grow for that."""
    size_class, n = np.int64(field["size_class"]), field["count"]
    if field["is_stuck"] or capacities[size_class] == capacities[-1]:
        return True
    old, larger = field["block"], size_class + 1
    while capacities[larger] < min(max(n + n // 2, _FIRST_ENTRIES), capacities[-1]):
        larger += 1
    block = _enlarge(words, book, field, larger, larger)
    if block < 0:
        return block == NO_BLOCK
    if old >= 0:
        into, out_of = _entries(block, larger), _entries(old, size_class)
        for w in range(n * (width + BESIDE)):
            words[into + w] = words[out_of + w]
        release(words, book, size_class, old)
    _index(key, words, slots, field, width)
    return True


@njit
def _write(words, entry, element, width, count, epsilon):
    for w in range(width):
        words[entry + w] = element[w]
    words[entry + width] = np.uint64(count)
    words[entry + width + 1] = np.uint64(epsilon)


@njit
def _take_in(key, words, slots, book, field, width, capacities, element, hashed, weight):
    """Take an element that is not kept; false where it has to wait for the arena to grow."""
    is_full = field["count"] == capacities[field["size_class"]]
    if is_full and not _grow(key, words, slots, book, field, width, capacities):
        return False
    block, size_class = field["block"], np.int64(field["size_class"])
    if block < 0:
        field["floor"] = _sum(field["floor"], weight)
        return True
    entries, number = _entries(block, size_class), np.int64(field["count"])
    if number < capacities[size_class]:
        field["count"] += 1
        if size_class >= INDEXED:
            _enter(slots, key[2], block, size_class, number, hashed)
    else:
        number = _evict(key, words, slots, field, width, hashed, weight)
        field["floor"] = np.int64(words[entries + number * (width + BESIDE) + width])
    count = _sum(field["floor"], weight)
    _write(words, entries + number * (width + BESIDE), element, width, count, field["floor"])
    field["greatest"] = max(field["greatest"], count)
    return True


@njit
def read_ahead(slots, spread, state, rows, hashes):
    """Read what `update` is going to; the sum is of no interest.

    One loop after the other, because the processor waits for many reads at once only while a loop does little else.
    """
    read = np.int64(0)
    for i in range(rows.shape[0]):
        read += state[max(rows[i], 0)]["block"]
    for i in range(rows.shape[0]):
        field = state[max(rows[i], 0)]
        block, size_class = max(field["block"], 0), np.int64(field["size_class"])
        slot = _tag(hashes[i], spread) & ((np.int64(1) << size_class >> 2) - 1) if size_class >= INDEXED else 0
        read += np.int64(slots[2 * block + slot])
    return read


@njit
def update(key, words, slots, book, state, capacities, rows, applies, values, width, hashes, after, start):
    """Take observations from `start` on, and note the greatest count of each row; return where it had to stop."""
    watch, is_weighted = after.shape[0] > 0, values.shape[1] > width
    for i in range(start, rows.shape[0]):
        if rows[i] < 0:
            continue
        field = state[rows[i]]
        weight = np.int64(min(values[i, width], np.uint64(MOST))) if is_weighted else np.int64(1)
        if applies[i] and weight > 0:
            entry = _find(words, slots, key[2], field, values[i], width, hashes[i])
            if entry >= 0:
                count = _sum(np.int64(words[entry + width]), weight)
                words[entry + width] = np.uint64(count)
                field["greatest"] = max(field["greatest"], count)
            elif not _take_in(key, words, slots, book, field, width, capacities, values[i], hashes[i], weight):
                return i
        if watch:
            after[i] = field["greatest"]
    return rows.shape[0]


@njit
def _is_before(elements, counts, a, b):
    """Return whether entry `a` is heavier than `b`, or as heavy and of lower words."""
    if counts[a] != counts[b]:
        return counts[a] > counts[b]
    for w in range(elements.shape[1]):
        if elements[a, w] != elements[b, w]:
            return elements[a, w] < elements[b, w]
    return False


@njit
def _sink_last(order, at, n, elements, counts):
    """Let one of a heap of `n` sink, the last in order on top."""
    while 2 * at + 1 < n:
        last = 2 * at + 1
        if last + 1 < n and _is_before(elements, counts, order[last], order[last + 1]):
            last += 1
        if not _is_before(elements, counts, order[at], order[last]):
            return
        order[at], order[last] = order[last], order[at]
        at = last


@njit
def _sort(order, elements, counts):
    """Put numbers of entries in order, the heaviest first, by heapsort: Numba has no sort by two things."""
    n = order.shape[0]
    for at in range(n // 2 - 1, -1, -1):
        _sink_last(order, at, n, elements, counts)
    for end in range(n - 1, 0, -1):
        order[0], order[end] = order[end], order[0]
        _sink_last(order, 0, end, elements, counts)


@njit
def _read_out(words, field, elements, counts, epsilons):
    """Copy a row's entries."""
    width = elements.shape[1]
    entry = _entries(field["block"], np.int64(field["size_class"]))
    for i in range(field["count"]):
        for w in range(width):
            elements[i, w] = words[entry + w]
        counts[i] = np.int64(words[entry + width])
        epsilons[i] = np.int64(words[entry + width + 1])
        entry += width + BESIDE


@njit
def view(words, state, rows, ends, order, elements, counts, epsilons):
    """Copy the entries of rows, one row after the other; `order` becomes the order they are to be shown in."""
    for i in range(rows.shape[0]):
        field, end = state[rows[i]], ends[i]
        first = end - field["count"]
        _read_out(words, field, elements[first:end], counts[first:end], epsilons[first:end])
        _sort(order[first:end], elements, counts)


@njit
def has_twins(ends, elements, hashes, spread, table):
    """Whether an element comes twice in a row's entries. `table`: zeros, a power of two, over twice what a row has.

    What earlier rows leave in it is told by its number.
    """
    mask, first = table.shape[0] - 1, 0
    for i in range(ends.shape[0]):
        for entry in range(first, ends[i]):
            slot = np.int64((hashes[entry] * spread) >> _32) & mask
            while table[slot] > first:
                if _is_at(elements[table[slot] - 1], 0, elements[entry], elements.shape[1]):
                    return True
                slot = (slot + 1) & mask
            table[slot] = entry + 1
        first = ends[i]
    return False


@njit
def _unite(words, slots, spread, field, floor, elements, counts, epsilons, hashes, union, union_counts, union_epsilons):
    """Fill in the entries of a row united with those of another summary of that floor; return how many."""
    width, n, own_floor = elements.shape[1], np.int64(field["count"]), field["floor"]
    entries = _entries(field["block"], np.int64(field["size_class"]))
    _read_out(words, field, union, union_counts, union_epsilons)
    for at in range(n):
        union_counts[at] = _sum(union_counts[at], floor)
        union_epsilons[at] = _sum(union_epsilons[at], floor)
    for i in range(counts.shape[0]):
        entry = _find(words, slots, spread, field, elements[i], width, hashes[i])
        if entry >= 0:
            at = (entry - entries) // (width + BESIDE)
            count, epsilon = np.int64(words[entry + width]), np.int64(words[entry + width + 1])
        else:
            at, count, epsilon = n, own_floor, own_floor
            for w in range(width):
                union[at, w] = elements[i, w]
            n += 1
        union_counts[at] = _sum(count, counts[i])
        union_epsilons[at] = _sum(epsilon, epsilons[i])
    return n


@njit
def _make_room(words, book, field, n, capacities):
    """Give a row a block for `n` entries, or the largest there is, whose contents are lost; false if it has to wait."""
    old, size_class = field["block"], np.int64(field["size_class"])
    if field["is_stuck"] or min(n, capacities[-1]) <= capacities[size_class]:
        return True
    larger = size_class
    while capacities[larger] < min(max(n, _FIRST_ENTRIES), capacities[-1]):
        larger += 1
    block = _enlarge(words, book, field, size_class + 1, larger)
    if block >= 0 and old >= 0:
        release(words, book, size_class, old)
    return block != GROW


@njit(allocates=True)
def merge(key, words, slots, book, state, capacities, rows, floors, ends, entries, hashes, union, start):
    """Merge summaries into rows from `start` on; return where it had to stop.

    `entries` and `union` are elements, counts and epsilons: the others', and room for those of one row and one other.
    """
    elements, counts, epsilons = entries
    united, united_counts, united_epsilons = union
    width, order = elements.shape[1], np.empty(united_counts.shape[0], np.int64)
    for i in range(start, rows.shape[0]):
        first, end = ends[i - 1] if i > 0 else 0, ends[i]
        if rows[i] < 0 or (first == end and floors[i] == 0):
            continue
        field, its = state[rows[i]], slice(first, end)
        n = _unite(
            words, slots, key[2], field, floors[i], elements[its], counts[its], epsilons[its], hashes[its],
            united, united_counts, united_epsilons,
        )  # fmt: skip
        if not _make_room(words, book, field, n, capacities):
            return i
        kept = min(n, capacities[field["size_class"]])
        field["floor"] = _sum(field["floor"], floors[i])
        for at in range(n):
            order[at] = at
        if kept < n:
            _sort(order[:n], united, united_counts)
            field["floor"] = max(field["floor"], united_counts[order[kept]])
        entry = _entries(field["block"], np.int64(field["size_class"]))
        field["count"], field["greatest"], field["has_heap"] = kept, 0, False
        for at in order[:kept]:
            _write(words, entry, united[at], width, united_counts[at], united_epsilons[at])
            field["greatest"] = max(field["greatest"], united_counts[at])
            entry += width + BESIDE
        _index(key, words, slots, field, width)
    return rows.shape[0]
