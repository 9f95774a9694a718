"""The kernels of DDSketch: counts of a row's values in buckets of a relative width, in blocks of an arena.

The bounds of the buckets and the error are described in `sensor.sumstats.calculations.quantile`.
"""

import math

import numpy as np

from sensor._jit import njit
from sensor.sumstats.arena import GROW, NO_BLOCK, REFUSED, allocate, release

LEAST, GREATEST = 1e-9, 1e19
_LN_2, _SQRT_HALF = math.log(2.0), math.sqrt(0.5)

# A word of a block is a bucket, in the upper 16 bits so that words sort as buckets do, and its count.
SHIFT = np.uint64(48)
ONES = np.uint64(2**48 - 1)
ZERO = 1 << 15  # what is added to a bucket, which may be negative, to make it the upper bits
MOST = 1 << 46  # of a count: 2**16 of them still fit an int64
NOTHING = 1 << 16  # in place of a bucket

_AHEAD = 512  # observations whose blocks are read before they are counted
_FIRST_CLASS = 1  # two buckets: half of what a key that sees one value takes is its field anyway


@njit
def logarithm(value):
    """The natural one, to some units in the last place: the series of the inverse hyperbolic tangent."""
    part, exponent = math.frexp(value)
    if part < _SQRT_HALF:
        part = part * 2.0
        exponent = exponent - 1
    ratio = (part - 1.0) / (part + 1.0)
    square = ratio * ratio
    series = 1.0 / 21.0
    for divisor in (19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0):
        series = series * square + 1.0 / divisor
    return exponent * _LN_2 + 2.0 * ratio * series


@njit
def exponent_of(value, scale):
    """The power of gamma that is the upper bound of the bucket of a positive value; `scale` is 1 / log(gamma)."""
    return np.int64(math.ceil(logarithm(value) * scale))


@njit
def buckets_of(values, applies, scale, lowest, most, buckets):
    """The bucket of each value: 0 for zero, 1 to `most` by magnitude, mirrored for negative ones."""
    for i in range(values.shape[0]):
        value = values[i]
        magnitude = min(abs(value), GREATEST)
        if not applies[i] or math.isnan(value):
            buckets[i] = NOTHING
        elif magnitude < LEAST:
            buckets[i] = 0
        else:
            bucket = min(max(exponent_of(magnitude, scale) - lowest + 1, 1), most)
            buckets[i] = bucket if value > 0.0 else -bucket


@njit
def _position(words, block, count, code):
    """Return how many words of a block, which ascend, are of lower buckets.

    Buckets are distinct integers, so where few are missing between the first and the last, little is left to search.
    """
    if count == 0:
        return 0
    first, last = np.int64(words[block] >> SHIFT), np.int64(words[block + count - 1] >> SHIFT)
    low, high = min(max(count - 1 - (last - code), 0), count), max(min(count, code - first), 0)
    while low < high:
        middle = (low + high) >> 1
        if np.int64(words[block + middle] >> SHIFT) < code:
            low = middle + 1
        else:
            high = middle
    return low


@njit
def _enlarge(field, words, book):
    """Give a row a block of twice the size; what `allocate` says if there is none."""
    block, count = field["block"], field["count"]
    size_class = np.int64(field["size_class"])
    larger = _FIRST_CLASS if block < 0 else size_class + 1
    taken = allocate(words, book, larger)
    if taken < 0:
        return taken
    for k in range(count):
        words[taken + k] = words[block + k]
    if block >= 0:
        release(words, book, size_class, block)
    field["block"] = taken
    field["size_class"] = larger
    return taken


@njit
def _count(field, code, more, words, book):
    """Add to the count of a bucket; whether that was done, or refused for good: if not, the arena has to grow."""
    block, count = field["block"], np.int64(field["count"])
    place = _position(words, block, count, code)
    if place < count and np.int64(words[block + place] >> SHIFT) == code:
        have = np.int64(words[block + place] & ONES)
        words[block + place] += np.uint64(min(more, MOST - have))
        return True
    if block < 0 or count == np.int64(1) << np.int64(field["size_class"]):
        block = _enlarge(field, words, book)
        if block == GROW:
            return False
        if block == NO_BLOCK:
            field["saturated"] = True
            book[REFUSED] += 1
            return True
    for k in range(block + count, block + place, -1):
        words[k] = words[k - 1]
    words[block + place] = (np.uint64(code) << SHIFT) | np.uint64(more)
    field["count"] = count + 1
    return True


@njit
def _ranked(words, start, count, q):
    """The bucket of the quantile, by the `count` words from `start` on."""
    total = np.int64(0)
    for k in range(start, start + count):
        total += np.int64(words[k] & ONES)
    rank = min(np.int64(math.floor(q * np.float64(total - 1))), total - 1)
    for k in range(start, start + count):
        rank -= np.int64(words[k] & ONES)
        if rank < 0:
            return np.int64(words[k] >> SHIFT) - ZERO
    return NOTHING


@njit
def _touch(state, rows, words):
    """Read from the blocks of some rows, so that they are in the cache; what is returned is of no interest.

    A loop that does no more waits for many reads at once: 125 ns an observation instead of 220 at a million keys.
    """
    read = np.uint64(0)
    for i in range(rows.shape[0]):
        if rows[i] >= 0 and state[rows[i]]["block"] >= 0:
            read ^= words[state[rows[i]]["block"] + np.int64(state[rows[i]]["count"] >> 1)]
    return read


@njit
def add(state, rows, buckets, counts, start, q, words, book, after):
    """Add to buckets of rows; if `after` is not empty, note the bucket of the quantile each time.

    Return how far it came, and what `_touch` read, which the compiler would leave out otherwise.
    """
    watch, read = after.shape[0] > 0, np.uint64(0)
    for i in range(start, rows.shape[0]):
        if i == start or i % _AHEAD == 0:
            read ^= _touch(state, rows[i : i + _AHEAD], words)
        if rows[i] < 0:
            continue
        field = state[rows[i]]
        if buckets[i] != NOTHING and not _count(field, buckets[i] + ZERO, counts[i], words, book):
            return i, read
        if watch:
            after[i] = _ranked(words, field["block"], np.int64(field["count"]), q)
    return rows.shape[0], read


@njit
def gather(state, rows, words, out):
    """Copy the buckets of each row, one row after the other, to `out` (uint64)."""
    end = 0
    for j in range(rows.shape[0]):
        block = state[rows[j]]["block"]
        for k in range(state[rows[j]]["count"]):
            out[end] = words[block + k]
            end += 1


@njit
def rank_all(counts, words, q, out):
    """The bucket of the quantile of each key, which has so many of the words, one key after the other."""
    start = 0
    for j in range(counts.shape[0]):
        out[j] = _ranked(words, start, counts[j], q)
        start += counts[j]
