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

from sensor._jit import njit
from sensor.hash import hash_rows, hash_words
from sensor.sumstats.arena import GROW, NO_BLOCK, REFUSED, ArenaColumn, give, take
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

_MOST = np.int64(1 << 62)
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

# A block has entries, numbered from 0: the words of an element, its count, its epsilon. A small block has nothing else
# and is searched from end to end. From class _INDEXED on there are three parts:
# - the index, an eighth of the block: open addressing in slots of 32 bits, 16 of a tag over 1 + the entry's number;
# - the entries;
# - the heap, two words an entry, at the end: used once the block is full and will not grow. Each node has four
#   children and is (count, 48 bits of the hash over 16 of the entry's number), least on top. As counts only rise, a
#   node's may lag behind its entry's until it comes to the top: an element that is known costs the heap nothing.
_BESIDE = 2  # words of an entry beside its element's
_INDEXED = 7
_FIRST_ENTRIES = 4
_CLASSES = 40
_NUMBER, _HASH = np.uint64(0xFFFF), np.uint64(0xFFFF_FFFF_FFFF_0000)
_32, _48 = np.uint64(32), np.uint64(48)

_INT64 = np.dtype(np.int64)
_Entries = tuple[np.ndarray, np.ndarray, np.ndarray]

_AHEAD = 512  # observations whose blocks are read ahead of their use


def capacities(words: int, size: int) -> np.ndarray:
    """How many entries of elements of so many words a block of each class has (int64), `size` at most."""
    blocks = np.int64(1) << np.arange(_CLASSES)
    fits = blocks // (words + _BESIDE)
    indexed = (blocks - blocks // 8) // (words + _BESIDE + 2)
    return np.minimum(np.where(np.arange(_CLASSES) < _INDEXED, fits, indexed), size)


@njit
def _tag(hashed, spread):
    """What the index goes by: 16 bits of a hash times a secret, as a sender may know the key of the hashes."""
    return np.int64(((hashed & _HASH) * spread) >> _48)


@njit
def _sum(a, b):
    return a + b if a <= _MOST - b else _MOST


@njit
def _entries(block, size_class):
    """Where the entries of a block start."""
    return block + ((np.int64(1) << size_class) >> 3 if size_class >= _INDEXED else 0)


@njit
def _is_at(words, entry, element, width):
    w = 0
    while w < width and words[entry + w] == element[w]:
        w += 1
    return w == width


@njit
def _find(words, slots, spread, field, element, width, hashed):
    """Where the entry of an element starts, or -1."""
    block, size_class, step = field["block"], np.int64(field["size_class"]), width + _BESIDE
    entries = _entries(block, size_class)
    if size_class < _INDEXED:
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
    if size_class < _INDEXED:
        return
    entries = _entries(block, size_class)
    words[block:entries] = 0
    for number in range(field["count"]):
        entry = entries + number * (width + _BESIDE)
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
        entry = entries + number * (width + _BESIDE)
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
        entry = entries + number * (width + _BESIDE)
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
    if size_class < _INDEXED:
        return _least(key, words, entries, n, width)
    heap = block + (np.int64(1) << size_class) - 2 * n
    if not field["has_heap"]:
        _build_heap(key, words, entries, heap, n, width)
        field["has_heap"] = True
    while True:
        number = np.int64(words[heap + 1] & _NUMBER)
        count = words[entries + number * (width + _BESIDE) + width]
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
    """A block of class `most`, or one as large as there is, but at least of class `least`: NO_BLOCK or GROW as `take`.

    The row has it at once, and the old one still to be given back; the entries are yet to be copied.
    """
    for size_class in range(most, least - 1, -1):
        block = take(words, book, size_class)
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
        for w in range(n * (width + _BESIDE)):
            words[into + w] = words[out_of + w]
        give(words, book, size_class, old)
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
        if size_class >= _INDEXED:
            _enter(slots, key[2], block, size_class, number, hashed)
    else:
        number = _evict(key, words, slots, field, width, hashed, weight)
        field["floor"] = np.int64(words[entries + number * (width + _BESIDE) + width])
    count = _sum(field["floor"], weight)
    _write(words, entries + number * (width + _BESIDE), element, width, count, field["floor"])
    field["greatest"] = max(field["greatest"], count)
    return True


@njit
def _read_ahead(slots, spread, state, rows, hashes):
    """Read what `_update` is going to; the sum is of no interest.

    One loop after the other, because the processor waits for many reads at once only while a loop does little else.
    """
    read = np.int64(0)
    for i in range(rows.shape[0]):
        read += state[max(rows[i], 0)]["block"]
    for i in range(rows.shape[0]):
        field = state[max(rows[i], 0)]
        block, size_class = max(field["block"], 0), np.int64(field["size_class"])
        slot = _tag(hashes[i], spread) & ((np.int64(1) << size_class >> 2) - 1) if size_class >= _INDEXED else 0
        read += np.int64(slots[2 * block + slot])
    return read


@njit
def _update(key, words, slots, book, state, capacities, rows, applies, values, width, hashes, after, start):
    """Take observations from `start` on, and note the greatest count of each row; return where it had to stop."""
    watch, is_weighted = after.shape[0] > 0, values.shape[1] > width
    for i in range(start, rows.shape[0]):
        if rows[i] < 0:
            continue
        field = state[rows[i]]
        weight = np.int64(min(values[i, width], np.uint64(_MOST))) if is_weighted else np.int64(1)
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
    """Whether entry `a` is heavier than `b`, or as heavy and of lower words."""
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
        entry += width + _BESIDE


@njit
def _view(words, state, rows, ends, order, elements, counts, epsilons):
    """Copy the entries of rows, one row after the other; `order` becomes the order they are to be shown in."""
    for i in range(rows.shape[0]):
        field, end = state[rows[i]], ends[i]
        first = end - field["count"]
        _read_out(words, field, elements[first:end], counts[first:end], epsilons[first:end])
        _sort(order[first:end], elements, counts)


@njit
def _has_twins(ends, elements, hashes, spread, table):
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
            at = (entry - entries) // (width + _BESIDE)
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
        give(words, book, size_class, old)
    return block != GROW


@njit(allocates=True)
def _merge(key, words, slots, book, state, capacities, rows, floors, ends, entries, hashes, union, start):
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
            entry += width + _BESIDE
        _index(key, words, slots, field, width)
    return rows.shape[0]


class Summaries(ArenaColumn):
    """The heaviest elements of every key of one reducer."""

    empty_field: ClassVar[np.ndarray] = _EMPTY

    def __init__(self, reducer: "TopK", setting: Setting) -> None:
        super().__init__(setting)
        self._reducer = reducer
        self._key = np.append(setting.sketch_key, setting.secret[0] | np.uint64(1))
        self._capacities = capacities(reducer.words, reducer.size)

    def update(self, batch: Batch, values: np.ndarray, *, watch: bool) -> Arrays:
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
        _view(self.arena.words, self.state, rows, ends, order, elements, counts, epsilons)
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
        if _has_twins(ends, entries[0], hashes, self._key[2], np.zeros(2 << most.bit_length(), np.int64)):
            raise ValueError("a summary of TOPK has an element twice")
        self.state["saturated"][rows[saturated & (rows >= 0)]] = True
        room = self._reducer.size + most
        union = np.empty((room, self._reducer.words), np.uint64), np.empty(room, np.int64), np.empty(room, np.int64)
        self._run(_merge, rows, floors, ends, entries, hashes, union)

    def _take(self, batch: Batch, values: np.ndarray, after: np.ndarray) -> None:
        hashes = self._hashes(values)
        _read_ahead(self.arena.words.view(np.uint32), self._key[2], self.state, batch.rows, hashes)
        self._run(_update, batch.rows, batch.applies, values, self._reducer.words, hashes, after)

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
        fits = (floor >= 0).all() and (floor <= _MOST).all() and (count <= self._reducer.size).all()
        fits = fits and (counts >= np.maximum(floors, 1)).all() and (counts <= _MOST).all()
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

    def column(self, setting: Setting) -> Column:
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
