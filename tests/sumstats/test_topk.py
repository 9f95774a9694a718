"""TOPK: what Space-Saving promises of every count, after any merges, held against dictionaries of true weights."""

import math
from collections import Counter
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.hash import hash_words
from sensor.sumstats.calculation import HEADER, RowBatch, Setting
from sensor.sumstats.calculations.topk import TopK

laws = settings(max_examples=60, deadline=None, derandomize=True)
SKETCH_KEY = np.array([3, 4], np.uint64)
MOST = 2**62
SIZES = st.sampled_from([1, 2, 3, 8, 25, 60])
"""Small blocks, and such as have an index and a heap."""


def stream(seed, n, spread):
    """Elements, of which some come often, with weights that include none."""
    rng = np.random.default_rng(seed)
    return list(zip((rng.zipf(1.2, n) % spread).tolist(), rng.integers(0, 10, n).tolist(), strict=True))


streams = st.builds(stream, st.integers(0, 2**32), st.integers(0, 400), st.sampled_from([2, 30, 200]))


def new(*, rows=1, secret=1, max_bytes=1 << 20, **options):
    """A column with its rows attached."""
    column = TopK("x", **options).column(Setting(np.array([secret, 2], np.uint64), SKETCH_KEY, max_bytes))
    state = np.empty(rows, column.empty.dtype)
    state[:] = column.empty
    column.attach(state)
    return column


def feed(column, observations, *, row=0, batch=10_000, watch=False):
    """Observe (element, weight) pairs in a row; give what was watched."""
    seen = []
    for start in range(0, len(observations), batch):
        part = observations[start : start + batch]
        rows, applies = np.full(len(part), row), np.ones(len(part), np.bool_)
        values = np.array(part, np.uint64).reshape(len(part), -1)
        seen += column.update(RowBatch(rows, rows, applies), values, watch=watch).get("greatest", np.empty(0)).tolist()
    return seen


def fed(observations, *, batch=10_000, **options):
    column = new(is_weighted=True, **options)
    feed(column, observations, batch=batch)
    return column


def view(column, *rows):
    rows = np.array(rows or [0])
    return column.view(rows, column.measure(rows))


def same(left, right):
    return all(left[name].dtype == right[name].dtype and np.array_equal(left[name], right[name]) for name in left)


def merged(*columns, size):
    into = new(is_weighted=True, size=size)
    for column in columns:
        into.merge(np.array([0]), view(column))
    return into


def entries(column, row=0):
    """{element: (count, epsilon)} of a row."""
    states = view(column, row)
    pairs = zip(states["counts"].tolist(), states["epsilons"].tolist(), strict=True)
    return dict(zip(states["elements"][:, 0].tolist(), pairs, strict=True))


class Reference:
    """Space-Saving in plain Python: it looks at every entry to find the lightest."""

    def __init__(self, size, observations=()):
        self.size, self.entries, self.floor = size, {}, 0
        for element, weight in observations:
            self.add(element, weight)

    def add(self, element, weight):
        if not weight:
            return
        if element in self.entries:
            count, epsilon = self.entries[element]
            self.entries[element] = (min(count + weight, MOST), epsilon)
            return
        if len(self.entries) == self.size:
            lightest = min(self.entries, key=lambda one: (self.entries[one][0], self.hash(one)))
            self.floor = self.entries.pop(lightest)[0]
        self.entries[element] = (min(self.floor + weight, MOST), self.floor)

    def merge(self, other):
        sides = [(self.entries, self.floor), (other.entries, other.floor)]
        union = {
            element: tuple(
                sum(own.get(element, (floor, floor))[at] for own, floor in sides)  # count, then epsilon
                for at in (0, 1)
            )
            for element in self.entries | other.entries
        }
        order = sorted(union, key=lambda element: (-union[element][0], element))
        self.entries = {element: union[element] for element in order[: self.size]}
        self.floor = max([self.floor + other.floor, *(union[element][0] for element in order[self.size :])])
        return self

    @staticmethod
    @cache
    def hash(element):
        return int(hash_words(SKETCH_KEY, np.array([element], np.uint64)))

    def order(self):
        return sorted(self.entries, key=lambda element: (-self.entries[element][0], element))


def assert_is(column, reference):
    assert list(entries(column).items()) == [(element, reference.entries[element]) for element in reference.order()]
    states = view(column)
    assert (states["floor"].tolist(), states["count"].tolist()) == ([reference.floor], [len(reference.entries)])
    assert column.measure(np.array([0]))["greatest"][0] == max((c for c, _ in reference.entries.values()), default=0)


def assert_bounds(column, observations, size):
    """All that a summary promises of these observations."""
    truth = Counter()
    for element, weight in observations:
        truth[element] += weight
    floor, kept = int(view(column)["floor"][0]), entries(column)
    for element, (count, epsilon) in kept.items():
        assert count - epsilon <= truth[element] <= count
        assert 0 <= epsilon <= floor <= count
    assert all(weight <= floor for element, weight in truth.items() if element not in kept)
    assert len(kept) <= size
    assert floor * size <= truth.total()


@laws
@given(observations=streams, size=SIZES, batch=st.sampled_from([1, 7, 10_000]), secret=st.integers(1, 9))
def test_a_summary_is_what_plain_space_saving_says(observations, size, batch, secret):
    """Neither batches nor the node's secret change anything of it."""
    column = fed(observations, size=size, batch=batch, secret=secret)
    assert_is(column, Reference(size, observations))
    assert_bounds(column, observations, size)


@laws
@given(parts=st.lists(streams, min_size=2, max_size=4), size=SIZES)
def test_a_merge_is_what_plain_python_says_and_goes_on_from_there(parts, size):
    column, reference = new(is_weighted=True, size=size), Reference(size)
    for part in parts:
        column.merge(np.array([0]), view(fed(part, size=size)))
        assert_is(column, reference.merge(Reference(size, part)))
        feed(column, part)
        for element, weight in part:
            reference.add(element, weight)
        assert_is(column, reference)
    assert_bounds(column, [one for part in parts for one in 2 * part], size)


@laws
@given(observations=streams, size=SIZES, width=st.integers(1, 16), data=st.data())
def test_bounds_hold_after_merges_in_any_order(observations, size, width, data):
    homes = data.draw(st.lists(st.integers(0, width - 1), min_size=len(observations), max_size=len(observations)))
    parts = [
        fed([one for one, home in zip(observations, homes, strict=True) if home == part], size=size)
        for part in range(width)
    ]
    while len(parts) > 1:
        left = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        right = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        parts.append(merged(left, right, size=size))
    assert_bounds(parts[0], observations, size)


@laws
@given(left=streams, right=streams, size=SIZES)
def test_merging_is_commutative_and_nothing_is_its_identity(left, right, size):
    a, b, nothing = fed(left, size=size), fed(right, size=size), new(size=size)
    assert same(view(merged(a, b, size=size)), view(merged(b, a, size=size)))
    assert same(view(merged(nothing, a, nothing, size=size)), view(a))


@laws
@given(observations=streams, width=st.integers(1, 16), data=st.data())
def test_any_split_of_no_more_elements_than_are_kept_is_the_whole(observations, width, data):
    size = max(len({element for element, _ in observations}), 1)
    column = new(is_weighted=True, size=size)
    for part in data.draw(st.permutations(range(width))):
        column.merge(np.array([0]), view(fed(observations[part::width], size=size)))
    whole = fed(observations, size=size)
    assert same(view(column), view(whole))
    truth = Counter()
    for element, weight in observations:
        truth[element] += weight
    assert entries(whole) == {element: (weight, 0) for element, weight in truth.items() if weight}


@laws
@given(first=streams, later=streams, size=SIZES)
def test_a_summary_goes_on_elsewhere_as_it_would_have_here(first, later, size):
    here = fed(first, size=size)
    there = merged(here, size=size)
    feed(here, later)
    feed(there, later, batch=5)
    assert same(view(here), view(there))


def test_a_merge_says_of_the_element_left_out_what_zeeks_does_not():
    """Zeek makes x=3 with epsilon 0 of it, the truth being 5."""
    letters = {"xxx": None, "xxppppqqqqqppp": None}
    for text in letters:
        letters[text] = fed([(ord(letter), 1) for letter in text], size=2)
    column = merged(*letters.values(), size=2)
    assert entries(column) == {ord("p"): (7, 0), ord("q"): (7, 2)}
    assert view(column)["floor"].tolist() == [5]


def test_many_evictions_leave_index_and_heap_in_order():
    rng = np.random.default_rng(5)
    elements, weights = rng.zipf(1.2, 8000) % 2000, rng.integers(1, 1500, 8000)
    for size in (150, 300):
        for heavy in (weights, np.ones(8000, np.int64)):
            observations = list(zip(elements.tolist(), heavy.tolist(), strict=True))
            assert_is(fed(observations, size=size), Reference(size, observations))


def test_zeeks_size_finds_all_that_weigh_more_than_their_share():
    elements = (np.random.default_rng(6).zipf(1.2, 50_000) % 100_000).tolist()
    observations = [(element, 1) for element in elements]
    parts = [fed(observations[part::4], size=500) for part in range(4)]
    for column in (fed(observations, size=500), merged(*parts, size=500)):
        assert_bounds(column, observations, 500)
        heavy = {element for element, count in Counter(elements).items() if count > 50_000 / 500}
        assert heavy
        assert heavy <= set(entries(column))


def test_elements_that_differ_in_their_last_word_are_two():
    column = new(words=3, size=40)
    elements = [(1, 2, last) for last in (*range(60), 7, 7)]
    feed(column, elements)
    states = view(column)
    assert states["elements"][0].tolist() == [1, 2, 7]
    assert len({tuple(element) for element in states["elements"].tolist()}) == 40
    assert states["counts"].sum() == 62


def test_what_is_watched_is_the_greatest_count_after_each():
    column = new(rows=2, size=2)
    rows, applies = np.array([0, 0, 1, -1, 0, 0, 0]), np.array([True, True, True, True, True, False, True])
    values = np.array([[5], [5], [6], [5], [7], [5], [8]], np.uint64)
    watched = column.update(RowBatch(rows, rows, applies), values, watch=True)["greatest"]
    assert watched.tolist() == [1, 2, 1, 0, 2, 2, 2]
    assert entries(column) == {5: (2, 0), 8: (2, 1)}
    assert entries(column, 1) == {6: (1, 0)}


def test_no_weight_changes_nothing_and_no_sum_overflows():
    column = fed([(1, 0), (2, 2**64 - 1), (2, 1), (3, MOST - 1), (4, MOST)], size=2)
    assert set(entries(column)) == {2, 4} or set(entries(column)) == {3, 4}
    assert max(entries(column).values())[0] == MOST
    column = merged(column, column, size=2)
    assert {count for count, _ in entries(column).values()} == {MOST}
    assert view(merged(column, size=2))["floor"].tolist() == [MOST]


FIRST_BLOCK = 128  # bytes: 16 words, for five entries of three


@pytest.mark.parametrize(("keys", "refused"), [(9, 0), (10, 0), (11, 1)])
def test_a_key_without_room_still_bounds_what_it_saw(keys, refused):
    column = new(rows=keys, size=100, max_bytes=10 * FIRST_BLOCK)
    for row in range(keys):
        feed(column, [1, 1, 2], row=row)
    assert column.counters == {"elements_refused": refused}
    states = view(column, *range(keys))
    assert states["saturated"].tolist() == [False] * (keys - refused) + [True] * refused
    assert states["floor"].tolist() == [0] * (keys - refused) + [3] * refused
    assert states["count"].tolist() == [2] * (keys - refused) + [0] * refused


@pytest.mark.parametrize(("max_bytes", "room"), [(FIRST_BLOCK, 5), (60 * FIRST_BLOCK, 89)])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_block_that_cannot_grow_is_a_smaller_summary(max_bytes, room, more):
    observations = [(element, 1 + element % 3) for element in range(room + more)]
    column = fed(observations, size=500, max_bytes=max_bytes)
    assert view(column)["saturated"].tolist() == [more > 0]
    assert column.counters == {"elements_refused": int(more > 0)}
    assert_is(column, Reference(room, observations))
    feed(column, 3 * observations)
    assert column.counters == {"elements_refused": int(more > 0)}
    assert_bounds(column, 4 * observations, room)
    assert view(merged(column, size=500))["saturated"].tolist() == [more > 0]


def test_a_block_that_was_outgrown_is_used_again():
    column = new(rows=3, size=100, max_bytes=(1 + 2 + 4) * FIRST_BLOCK)
    for row, elements in enumerate((20, 10, 5)):
        feed(column, list(range(elements)), row=row)
    assert view(column, 0, 1, 2)["count"].tolist() == [20, 10, 5]
    assert column.counters == {"elements_refused": 0}


def test_a_block_that_a_merge_outgrows_is_used_again():
    column = new(rows=2, size=100, max_bytes=(1 + 4) * FIRST_BLOCK)
    for row, elements in ((0, 5), (0, 20), (1, 5)):
        column.merge(np.array([row]), view(fed([(element, 1) for element in range(elements)], size=100)))
    assert view(column, 0, 1)["count"].tolist() == [20, 5]
    assert column.counters == {"elements_refused": 0}


@pytest.mark.parametrize("max_bytes", [1, FIRST_BLOCK, 20 * FIRST_BLOCK, 100 * FIRST_BLOCK])
def test_a_merge_without_room_keeps_what_fits(max_bytes):
    left, right = [(element, 2) for element in range(4)], [(element, 1) for element in range(2, 300)]
    column = fed(left, size=500, max_bytes=max_bytes)
    for _ in range(2):
        column.merge(np.array([0]), view(fed(right, size=500)))
    assert view(column)["saturated"].tolist() == [True]
    assert column.counters == {"elements_refused": 1}
    assert_bounds(column, left + 2 * right, max(len(entries(column)), 1))


def test_a_row_that_comes_twice_takes_both_and_a_dropped_one_neither():
    both = new(rows=3, is_weighted=True, size=4)
    for row in range(3):
        feed(both, [(row, 1), (9, 2)], row=row)
    column = new(rows=1, is_weighted=True, size=4)
    column.merge(np.array([0, -1, 0]), view(both, 0, 1, 2))
    assert entries(column) == {0: (1, 0), 2: (1, 0), 9: (4, 0)}


def merged_rows():
    column = new(rows=2, is_weighted=True, size=2)
    feed(column, [(1, 3), (2, 4), (3, 1)], row=0)
    feed(column, [(1, 1), (4, 1)], row=1)
    return column


WRONG = [
    ("floor", -1), ("floor", MOST + 1), ("floor", 5), ("counts", -1), ("counts", 0), ("counts", 2),
    ("counts", MOST + 1), ("epsilons", -1), ("epsilons", 4), ("count", 3), ("count", -1), ("count", 2**62),
    ("elements", 3),
]  # fmt: skip
"""The first of an array, and what it cannot be: of the first row, the entries are (2, 4, 0) and (3, 4, 3)."""
MISSHAPEN = {
    "short": lambda array: array[:-1],
    "of another type": lambda array: array.astype(np.float64),
    "of no dimension": lambda array: array.ravel()[0],
    "of one dimension more": lambda array: array[:, np.newaxis],
}
ARRAYS = ("count", "floor", "saturated", "elements", "counts", "epsilons")


def assert_refused(states):
    """And nothing is changed, neither the row it is about nor the one before."""
    column = merged_rows()
    before = view(column, 0, 1)
    with pytest.raises(ValueError):
        column.merge(np.array([1, 0]), states)
    assert same(view(column, 0, 1), before)


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_state_that_no_observations_lead_to_is_refused(name, value):
    states = view(merged_rows(), 0, 1)
    states[name][0] = value
    assert_refused(states)


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("shape", MISSHAPEN)
def test_a_state_that_is_misshapen_is_refused(name, shape):
    states = view(merged_rows(), 0, 1)
    assert_refused(states | {name: MISSHAPEN[shape](states[name])})
    del states[name]
    assert_refused(states)


def test_more_entries_than_a_key_keeps_are_refused():
    states = view(merged_rows(), 0, 1)
    assert_refused(states | {"elements": np.arange(4, dtype=np.uint64)[:, np.newaxis], "count": np.array([4, 0])})


def test_rows_that_are_forgotten_give_their_room_back():
    column = new(rows=4, size=100, max_bytes=4 * FIRST_BLOCK)
    for row in range(4):
        feed(column, [row, row], row=row)
    numbers = np.array([-1, 0, -1, 1])
    column.renumber(numbers)
    state = column.state
    state[:2], state[2:] = state[[1, 3]], column.empty
    for row in (2, 3):
        feed(column, [7], row=row)
    assert [entries(column, row) for row in range(4)] == [{1: (2, 0)}, {3: (2, 0)}, {7: (1, 0)}, {7: (1, 0)}]
    assert column.counters == {"elements_refused": 0}


def test_a_cleared_column_starts_over():
    column = fed([(element, 1) for element in range(100)], size=50)
    column.clear()
    column.state[:] = column.empty
    assert same(view(column), view(new(size=50)))
    feed(column, [(3, 2)])
    assert entries(column) == {3: (2, 0)}


def test_a_result_has_the_heaviest_first_and_a_threshold_its_count():
    reducer, column = TopK("x", words=2, size=3), new(rows=2, words=2, size=3)
    feed(column, [(1, 9), (1, 2), (0, 5), (1, 9)])
    states, rows = view(column, 0, 1), np.array([0, 1])
    headers = np.array([(4, 1, 2), (0, 0, 0)], HEADER)
    first, second = reducer.results(headers, states)
    assert first.topk == (((1, 9), 2, 0), ((0, 5), 1, 0), ((1, 2), 1, 0))
    assert (first.num, first.floor, first.saturated) == (4, 0, False)
    assert (second.topk, second.floor) == ((), 0)
    value, none = reducer.values(headers["num"], column.measure(rows)).tolist()
    assert value == 2.0
    assert math.isnan(none)


@pytest.mark.parametrize("options", [{"words": 0}, {"words": 1025}, {"size": 0}, {"size": 32_769}])
def test_options_out_of_range_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        TopK("x", **options).check()


@pytest.mark.parametrize("options", [{"words": 1}, {"words": 1024}, {"size": 1}, {"size": 32_768}])
def test_options_on_the_line_are_taken(options):
    TopK("x", **options).check()
