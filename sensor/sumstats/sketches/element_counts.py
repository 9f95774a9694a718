"""The kernels of exact counts of elements: an open-addressed block a row, and a heap of priorities behind it.

What is computed from the counts is described in `sensor.sumstats.calculations.entropy`.
"""

from typing import NamedTuple

import numpy as np

from sensor._jit import njit
from sensor.hash import hash_words
from sensor.sumstats.arena import GROW, REFUSED, allocate, release
from sensor.sumstats.double_double import add

MOST = 1 << 62  # observations that a key counts
_AHEAD = 512  # observations whose slots are read before they are counted
ONE, _32, _EMPTY = np.uint64(1), np.uint64(32), np.uint64(0)


class BlockLayout(NamedTuple):
    """What a block is made of, for kernels."""

    stride: int
    """Words of a slot: a count, 0 where it is free, and an element."""
    slots_of: np.ndarray
    """How many slots a block of each class has; with `max`, the heap has a word for each behind them."""
    first_class: int
    most: int
    """Elements that a key keeps."""
    key: np.ndarray
    """Keys the priorities."""
    spread: np.uint64
    """Odd and secret: spreads priorities over slots, so that nobody can aim at one."""


@njit
def _weigh(field, before, after):
    """Note that the count of an element was `before` and is `after`.

    In units of 2**-50, of which all terms are made, the sum of 2**40 observations has 97 bits, so adding is exact.
    """
    high, low = field["high"], field["low"]
    if after > 1:
        high, low = add(high, low, after * np.log2(np.float64(after)))
    if before > 1:
        high, low = add(high, low, -(before * np.log2(np.float64(before))))
    field["high"] = high
    field["low"] = low
    field["total"] += after - before


@njit
def _home(priority, spread, slots):
    """The slot where an element belongs, by its priority."""
    return np.int64((((priority * spread) >> _32) * np.uint64(slots)) >> _32)


@njit
def _find(words, block, slots, home, element):
    """Return where the slot of an element is, or the free one where it belongs."""
    width = element.shape[0]
    slot = home
    while True:
        at = block + slot * (1 + width)
        if words[at] == _EMPTY:
            return at
        w = 0
        while w < width and words[at + 1 + w] == element[w]:
            w += 1
        if w == width:
            return at
        slot = slot + 1 if slot + 1 < slots else 0


@njit
def _is_greater(words, left, right):
    """Return whether the element at `left` comes after another of the same priority."""
    for w in range(right.shape[0]):
        if words[left + w] != right[w]:
            return words[left + w] > right[w]
    return False


@njit
def _remove(words, block, slots, hole, stride, key, spread):
    """Empty a slot, and move back those after it that have been kept from their place."""
    slot = hole
    while True:
        slot = slot + 1 if slot + 1 < slots else 0
        at = block + slot * stride
        if words[at] == _EMPTY:
            break
        home = _home(hash_words(key, words[at + 1 : at + stride]), spread, slots)
        if (slot - home + slots) % slots >= (slot - hole + slots) % slots:
            for w in range(stride):
                words[block + hole * stride + w] = words[at + w]
            hole = slot
    words[block + hole * stride] = _EMPTY


@njit
def _sift(words, heap, size, place):
    """Let a priority sink in the heap until none below it is greater."""
    sinking = words[heap + place]
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and words[heap + child + 1] > words[heap + child]:
            child += 1
        if words[heap + child] <= sinking:
            break
        words[heap + place] = words[heap + child]
        place = child
    words[heap + place] = sinking


@njit
def _heap_up(words, block, slots, stride, key):
    """Make the heap of the priorities of all elements of a block, once it has as many as it may."""
    heap, size = block + slots * stride, 0
    for at in range(block, heap, stride):
        if words[at] != _EMPTY:
            words[heap + size] = hash_words(key, words[at + 1 : at + stride])
            size += 1
    for place in range(size // 2 - 1, -1, -1):
        _sift(words, heap, size, place)


@njit
def _last_slot(words, block, slots, stride, key, spread):
    """The slot of the element of greatest priority, and of those the greatest element."""
    bar = words[block + slots * stride]
    slot, last = _home(bar, spread, slots), -1
    while words[block + slot * stride] != _EMPTY:
        at = block + slot * stride + 1
        element = words[at : at + stride - 1]
        if hash_words(key, element) == bar and (last < 0 or _is_greater(words, at, words[last : last + stride - 1])):
            last = at
        slot = slot + 1 if slot + 1 < slots else 0
    return (last - 1 - block) // stride


@njit
def _replace(field, priority, element, slots, key, spread, words):
    """Give up the last element for another; whether that one does not come after it."""
    stride, block = 1 + element.shape[0], field["block"]
    heap = block + slots * stride
    field["saturated"] = True
    if priority > words[heap]:
        return False
    slot = _last_slot(words, block, slots, stride, key, spread)
    at = block + slot * stride
    if priority == words[heap] and not _is_greater(words, at + 1, element):
        return False
    _weigh(field, np.int64(words[at]), 0)
    field["unique"] -= 1
    _remove(words, block, slots, slot, stride, key, spread)
    words[heap] = priority
    _sift(words, heap, np.int64(field["unique"]) + 1, 0)
    return True


@njit
def _enlarge(field, layout, words, book):
    """Give a row a block of twice the size; what `allocate` says if there is none."""
    block, size_class = field["block"], np.int64(field["size_class"])
    stride, slots_of = layout.stride, layout.slots_of
    larger = layout.first_class if block < 0 else size_class + 1
    taken = allocate(words, book, larger)
    if taken < 0:
        return taken
    slots = slots_of[larger]
    for at in range(taken, taken + slots * stride, stride):
        words[at] = _EMPTY
    if block >= 0:
        for at in range(block, block + slots_of[size_class] * stride, stride):
            if words[at] != _EMPTY:
                element = words[at + 1 : at + stride]
                home = _home(hash_words(layout.key, element), layout.spread, slots)
                to = _find(words, taken, slots, home, element)
                for w in range(stride):
                    words[to + w] = words[at + w]
        release(words, book, size_class, block)
    field["block"] = taken
    field["size_class"] = larger
    return taken


@njit
def _count(field, priority, element, more, layout, words, book):
    """Count an element; whether that was done, or refused for good: if not, the arena has to grow."""
    block, unique, spread = field["block"], np.int64(field["unique"]), layout.spread
    slots = layout.slots_of[np.int64(field["size_class"])]
    if more > MOST - field["total"]:
        field["saturated"] = True
        return True
    if block >= 0:
        at = _find(words, block, slots, _home(priority, spread, slots), element)
        have = np.int64(words[at])
        if have > 0:
            words[at] = np.uint64(have + more)
            _weigh(field, have, have + more)
            return True
    if unique == layout.most:
        if not _replace(field, priority, element, slots, layout.key, spread, words):
            return True
    elif 4 * (unique + 1) > 3 * slots or block < 0:
        block = _enlarge(field, layout, words, book)
        if block == GROW:
            return False
        if block < 0:
            field["saturated"] = True
            book[REFUSED] += 1
            return True
        slots = layout.slots_of[np.int64(field["size_class"])]
    at = _find(words, block, slots, _home(priority, spread, slots), element)
    words[at] = np.uint64(more)
    for w in range(element.shape[0]):
        words[at + 1 + w] = element[w]
    _weigh(field, 0, more)
    field["unique"] += 1
    if unique + 1 == layout.most:
        _heap_up(words, block, slots, layout.stride, layout.key)
    return True


@njit
def _touch(state, rows, priorities, layout, words):
    """Read from the slots of some observations, so that they are in the cache; what is returned is of no interest.

    A loop that does no more waits for many reads at once: 145 ns an observation instead of 550 at 100,000 keys.
    """
    read = np.uint64(0)
    for i in range(rows.shape[0]):
        if rows[i] >= 0 and state[rows[i]]["block"] >= 0:
            slot = _home(priorities[i], layout.spread, layout.slots_of[np.int64(state[rows[i]]["size_class"])])
            read ^= words[state[rows[i]]["block"] + slot * layout.stride]
    return read


@njit
def add_all(state, rows, applies, elements, priorities, counts, start, layout, words, book, after):
    """Count elements of rows; if `after` is not empty, note each row's tally each time.

    Return how far it came, and what `_touch` read, which the compiler would leave out otherwise.
    """
    watch, read = after.shape[0] > 0, np.uint64(0)
    for i in range(start, rows.shape[0]):
        if i == start or i % _AHEAD == 0:
            ahead = slice(i, i + _AHEAD)
            read ^= _touch(state, rows[ahead], priorities[ahead], layout, words)
        if rows[i] < 0:
            continue
        field = state[rows[i]]
        if applies[i] and not _count(field, priorities[i], elements[i], counts[i], layout, words, book):
            return i, read
        if watch:
            after[i]["unique"] = field["unique"]
            after[i]["total"] = field["total"]
            after[i]["high"] = field["high"]
            after[i]["low"] = field["low"]
    return rows.shape[0], read


@njit
def gather(state, rows, words, key, elements, counts, priorities):
    """The elements of rows, in the order of their slots."""
    stride, end = 1 + elements.shape[1], 0
    for j in range(rows.shape[0]):
        block, left = state[rows[j]]["block"], np.int64(state[rows[j]]["unique"])
        at = block
        while left > 0:
            if words[at] != _EMPTY:
                counts[end] = np.int64(words[at])
                for w in range(stride - 1):
                    elements[end, w] = words[at + 1 + w]
                priorities[end] = hash_words(key, elements[end])
                end += 1
                left -= 1
            at += stride


@njit
def tally(lengths, counts, out):
    """Return what the counts of each key, `lengths` of them one after the other, come to."""
    start = 0
    for j in range(lengths.shape[0]):
        out[j]["unique"] = lengths[j]
        for k in range(start, start + lengths[j]):
            _weigh(out[j], 0, counts[k])
        start += lengths[j]
