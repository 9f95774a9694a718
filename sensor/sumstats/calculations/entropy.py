"""ENTROPY: how evenly a key's observations spread over their elements, in bits, from exact counts.

Shannon's `log2(N) - sum(c * log2(c)) / N`, where each distinct element was observed c times and all together N times:
0 if all are equal, log2(d) if d elements come equally often. N and the sum are kept as observations come, the sum
twofold, where each term that is added is later subtracted again without a rest, so that it is the same in any order.
The result is rounded to 2**-42 bits, far above the noise of the logarithms, so that it reaches a round threshold.

The elements of a key and their counts are slots of an open-addressed block (linear probing, deletion by moving back:
Knuth, 6.4). Where a key may have `max` elements, it keeps those of lowest priority, a hash under `sketch_key`: the
lowest are the same in any order and after any merge (KMV, Bar-Yossef et al., 2002). Once it has `max`, the greatest
priority kept, its bar, only falls: an element that is kept in the end was never above it, so all of its observations
were counted, and one that was given up never comes back. The priorities kept are a heap behind the slots.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from sensor._jit import njit
from sensor.hash import hash_rows, hash_words
from sensor.sumstats.arena import GROW, REFUSED, ArenaColumn, give, take
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
from sensor.sumstats.twofold import add

_NAMES = ("unique", "total", "high", "low")
_MEASURED = np.dtype([("unique", "<i8"), ("total", "<i8"), ("high", "<f8"), ("low", "<f8")])
"""Distinct elements, N, and the sum of c * log2(c) as `twofold` holds it: what the entropy is made of."""
_FIELD = np.dtype(
    [
        ("block", "<i8"),
        ("total", "<i8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("unique", "<i4"),
        ("size_class", "<i1"),
        ("saturated", "?"),
    ],
    align=True,
)

_MOST = 1 << 62  # observations that a key counts
_MOST_UNIQUE = 2**31 - 1
_CLASSES = 40  # of blocks
_UNIT = 2.0**-42
_AHEAD = 512  # observations whose slots are read before they are counted
_ONE, _32, _EMPTY = np.uint64(1), np.uint64(32), np.uint64(0)


class _Layout(NamedTuple):
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


def _layout(reducer: "Entropy", setting: Setting) -> _Layout:
    stride = 1 + reducer.words
    slots_of = (1 << np.arange(_CLASSES, dtype=np.int64)) // (stride + (reducer.max > 0))
    first_class = int(np.argmax(slots_of >= 2))
    most, spread = reducer.max or _MOST_UNIQUE, np.uint64(hash_words(setting.secret, np.empty(0, np.uint64))) | _ONE
    return _Layout(stride, slots_of, first_class, most, setting.sketch_key, spread)


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
    """Where the slot of an element is, or the free one where it belongs."""
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
    """Whether the element at `left` comes after another of the same priority."""
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
    """Give a row a block of twice the size; what `take` says if there is none."""
    block, size_class = field["block"], np.int64(field["size_class"])
    stride, slots_of = layout.stride, layout.slots_of
    larger = layout.first_class if block < 0 else size_class + 1
    taken = take(words, book, larger)
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
        give(words, book, size_class, block)
    field["block"] = taken
    field["size_class"] = larger
    return taken


@njit
def _count(field, priority, element, more, layout, words, book):
    """Count an element; whether that was done, or refused for good: if not, the arena has to grow."""
    block, unique, spread = field["block"], np.int64(field["unique"]), layout.spread
    slots = layout.slots_of[np.int64(field["size_class"])]
    if more > _MOST - field["total"]:
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
def _add(state, rows, applies, elements, priorities, counts, start, layout, words, book, after):
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
def _gather(state, rows, words, key, elements, counts, priorities):
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
def _tally(lengths, counts, out):
    """What the counts of each key, `lengths` of them one after the other, come to."""
    start = 0
    for j in range(lengths.shape[0]):
        out[j]["unique"] = lengths[j]
        for k in range(start, start + lengths[j]):
            _weigh(out[j], 0, counts[k])
        start += lengths[j]


class Counts(ArenaColumn):
    """The elements of every key and how often each was observed."""

    empty_field: ClassVar[np.ndarray] = np.array((-1, 0, 0.0, 0.0, 0, 0, False), _FIELD)

    def __init__(self, reducer: "Entropy", setting: Setting) -> None:
        super().__init__(setting)
        self._max, self._words = reducer.max, reducer.words
        self._layout = _layout(reducer, setting)

    def update(self, batch: Batch, values: np.ndarray, *, watch: bool) -> Arrays:
        """Count the elements in order."""
        after = np.zeros(len(values) * watch, _MEASURED)
        self._add(batch.rows, batch.applies, values, np.ones(len(values), np.int64), after)
        return {name: after[name] for name in _NAMES} if watch else {}

    def measure(self, rows: np.ndarray) -> Arrays:
        """How many elements each row has (`unique`), their `total`, and the sum of c * log2(c) (`high`, `low`)."""
        state = self.state[rows]
        return {name: state[name].astype(_MEASURED[name]) for name in _NAMES}

    def view(self, rows: np.ndarray, measured: Arrays) -> Arrays:
        """`count` of each row and whether it is `saturated`; its `elements` and their `counts`, by priority."""
        lengths = self.state["unique"][rows].astype(np.int64)
        n = int(lengths.sum())
        elements, counts, priorities = (
            np.empty((n, self._words), np.uint64),
            np.empty(n, np.int64),
            np.empty(n, np.uint64),
        )
        _gather(self.state, rows, self.arena.words, self._layout.key, elements, counts, priorities)
        order = np.lexsort((*elements.T[::-1], priorities, np.repeat(np.arange(len(rows)), lengths)))
        flags = self.state["saturated"][rows]
        return {"count": lengths, "saturated": flags, "elements": elements[order], "counts": counts[order]}

    def merge(self, rows: np.ndarray, states: Arrays) -> None:
        """Add the counts of others."""
        lengths = checked_counts(states, "elements", len(rows))
        flags = checked(states, "saturated", np.dtype(np.bool_), len(rows))
        elements = checked(states, "elements", np.dtype(np.uint64), int(lengths.sum()))
        counts = checked(states, "counts", np.dtype(np.int64), len(elements))
        if elements.shape[1:] != (self._words,) or counts.ndim > 1 or flags.ndim > 1 or lengths.ndim > 1:
            raise ValueError(f"elements of ENTROPY must be of {self._words} words, and all else one a row")
        if ((counts < 1) | (counts > _MOST)).any() or (self._max and (lengths > self._max).any()):
            raise ValueError("an element of ENTROPY was counted out of bounds, or there are too many")
        owners = np.repeat(np.arange(len(rows)), lengths)
        if not self._ascend(owners, elements):
            raise ValueError("the elements of ENTROPY must ascend by priority")
        self.state["saturated"][rows[flags & (rows >= 0)]] = True
        self._add(rows[owners], np.ones(len(owners), np.bool_), elements, counts, np.empty(0, _MEASURED))

    def _ascend(self, owners: np.ndarray, elements: np.ndarray) -> bool:
        """Whether the elements of each owner come by priority and then by themselves, no two of them equal."""
        priorities = np.empty(len(elements), np.uint64)
        hash_rows(self._layout.key, elements, priorities)
        ranks = np.column_stack([owners.astype(np.uint64), priorities, elements])
        before, after = ranks[:-1], ranks[1:]
        differs = np.argmax(before != after, axis=1)[:, np.newaxis]
        return bool((np.take_along_axis(before, differs, 1) < np.take_along_axis(after, differs, 1)).all())

    def _add(
        self, rows: np.ndarray, applies: np.ndarray, elements: np.ndarray, counts: np.ndarray, after: np.ndarray
    ) -> None:
        arena, layout, priorities = self.arena, self._layout, np.empty(len(rows), np.uint64)
        hash_rows(layout.key, elements, priorities)
        given = self.state, rows, applies, elements, priorities, counts
        arena.run(lambda start: _add(*given, start, layout, arena.words, arena.book, after)[0], len(rows))


@dataclass(frozen=True, slots=True)
class Spread(Value):
    """The result of ENTROPY."""

    entropy: float | None
    """In bits; None with no observation."""
    unique: int
    """Distinct elements, `max` at most."""
    saturated: bool
    """There were more than that, which count for nothing, or there was no room for some."""


@dataclass(frozen=True)
class Entropy(ElementReducer):
    """The entropy, in bits, of the distribution of the elements, each of `words` uint64 words."""

    max: int = 0
    """Most distinct elements that a key counts; 0: as many as there is room for."""

    calculation: ClassVar[str] = "ENTROPY"
    flat: ClassVar[tuple[str, ...]] = ("elements", "counts")

    def check(self) -> None:
        """Raise ValueError naming an option that is out of range."""
        super().check()
        if not 0 <= self.max < _MOST_UNIQUE:
            raise ValueError(f"{self.name}: max must be from 0 to {_MOST_UNIQUE - 1}")

    def column(self, setting: Setting) -> Column:
        """An empty column."""
        return Counts(self, setting)

    def values(self, num: np.ndarray, states: Arrays) -> np.ndarray:
        """The entropy, or NaN."""
        if "total" not in states:
            states = _tallied(states)
        total = np.where(states["total"] > 0, states["total"], np.nan)
        bits = np.maximum(np.log2(total) - states["high"] / total, 0.0)
        rounded: np.ndarray = np.rint(bits / _UNIT) * _UNIT
        return rounded

    def ceiling(self, num: np.ndarray, states: Arrays, added: np.ndarray) -> np.ndarray:
        """Mixing in a part p of something else adds no more than p of its entropy, and that of the choice between both.

        Where elements are given up for others (`max`), what is left may be anything.
        """
        if self.max:
            return np.full(len(num), np.inf)
        part = np.minimum(added / np.maximum(states["total"] + added, 1), 0.5)
        choice = -(part * np.log2(np.maximum(part, _UNIT)) + (1 - part) * np.log2(1 - part))
        mixed = choice + np.log2(np.maximum(added, 1)) * 2 * part
        ceiling: np.ndarray = np.nan_to_num(self.values(num, states)) + mixed
        return ceiling

    def results(self, headers: np.ndarray, states: Arrays) -> list[Value]:
        """A `Spread` a key."""
        values, flags = self.values(headers["num"], states).tolist(), states["saturated"].tolist()
        rows = zip(rows_of(headers), values, states["count"].tolist(), flags, strict=True)
        return [Spread(*header, value if unique else None, unique, flag) for header, value, unique, flag in rows]


def _tallied(states: Arrays) -> Arrays:
    """Viewed states as measured."""
    out = np.zeros(len(states["count"]), _MEASURED)
    _tally(np.ascontiguousarray(states["count"]), np.ascontiguousarray(states["counts"]), out)
    return {name: out[name] for name in _NAMES}
