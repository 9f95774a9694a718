"""A store: crossings to the observation, caps, masks, several streams, and what it refuses."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.sumstats import (
    CALCULATIONS,
    Average,
    Definition,
    Max,
    Min,
    Partial,
    StdDev,
    Store,
    Sum,
    Threshold,
    Unique,
    Variance,
)
from tests.sumstats import reference
from tests.sumstats.reference import SECRET, arrays, fed, observed, words

laws = settings(max_examples=60, deadline=None, derandomize=True)
judged = [each for each in CALCULATIONS if each.is_judged]
each_calculation = pytest.mark.parametrize("calculation", judged, ids=lambda one: one.calculation)

ALL = tuple(calculation(calculation.calculation.lower()) for calculation in CALCULATIONS)


def seen_at(crossed):
    return crossed.at.tolist()


@each_calculation
@pytest.mark.parametrize(("off", "crosses"), [(-1, True), (0, True), (1, False)])
def test_a_key_crosses_on_the_line_and_over_it_but_not_under(calculation, off, crosses):
    """At the very observation that reaches the value, and once."""
    values = [2.0, 4.0, 9.0, 9.0]
    definition = Definition("t", 1, 0, (calculation("x"),))
    after = [fed(definition, [(0, each) for each in values[: n + 1]]).results()[0].x for n in range(4)]
    known = [reference.value(calculation.calculation, each) for each in after]
    least = math.nextafter(max(known), off * math.inf) if off else max(known)
    store = Store(Definition("t", 1, 0, (calculation("x"),), Threshold({"x": least})), SECRET)
    crossed = store.observe(words([0] * 4), np.arange(4), observed(store.definition, values))
    assert seen_at(crossed) == ([known.index(max(known))] if crosses else [])
    assert crossed.value.tolist() == ([max(known)] if crosses else [])
    again = store.observe(words([0]), np.arange(1), observed(store.definition, [values[-1]]))
    assert seen_at(again) == [] or not crosses


@laws
@given(
    observations=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6).map(float)), max_size=60),
    least=st.integers(1, 20),
    batches=st.lists(st.integers(1, 20), max_size=10),
    secret=st.integers(0, 2**64 - 1),
)
def test_batches_and_the_secret_change_nothing(observations, least, batches, secret):
    """One observation at a time, any batches, or all at once: the same crossings, the same views, the same state."""
    definition = Definition("t", 1, 0, ALL, Threshold({"sum": float(least), "unique": 2.0}))

    def run(sizes, secret):
        store, at, views, start = Store(definition, secret), [], [], 0
        for size in [*sizes, len(observations)]:
            part = observations[start : start + size]
            keys, ts = words([key for key, _ in part]), np.arange(start, start + len(part))
            crossed = store.observe(keys, ts, observed(definition, [value for _, value in part]))
            at += (start + crossed.at).tolist()
            views.append(crossed.partial)
            start += len(part)
        return at, arrays(Partial.join(views)), arrays(store.partial())

    whole = run([], SECRET)
    assert run([1] * len(observations), SECRET) == whole
    assert run(batches, np.array([secret, 7], np.uint64)) == whole
    assert whole[0] == crossings(observations, least)


def crossings(observations, least):
    """Where a key's sum first reaches `least` with two distinct values, the obvious way."""
    sums, distinct, crossed, at = {}, {}, set(), []
    for i, (key, value) in enumerate(observations):
        sums[key] = sums.get(key, 0) + value
        distinct.setdefault(key, set()).add(value)
        if key not in crossed and sums[key] >= least and len(distinct[key]) >= 2:
            crossed.add(key)
            at.append(i)
    return at


def test_a_view_is_the_key_as_it_was_and_not_as_it_is():
    definition = Definition("t", 1, 0, (Sum("x"), Max("y")), Threshold({"x": 5.0}))
    store = Store(definition, SECRET)
    values = np.array([2.0, 3.0, 50.0])
    crossed = store.observe(words([8, 8, 8]), np.array([10, 20, 30]), {"x": values, "y": values})
    other = Store(definition, SECRET)
    other.merge(crossed.partial)
    (result,) = other.results()
    assert (result.key, result.num, result.begin, result.end, result.x.sum, result.y.max) == ((8,), 2, 10, 20, 5.0, 3.0)


def test_a_masked_observation_leaves_its_stream_alone_and_makes_no_key():
    definition = Definition("t", 1, 0, (Sum("a", stream="a"), Sum("b", stream="b")))
    store = Store(definition, SECRET)
    masks = {"a": np.array([True, False, False]), "b": np.array([True, True, False])}
    store.observe(words([1, 1, 2]), np.array([5, 6, 7]), {"a": None, "b": np.array([1.0, 10.0, 100.0])}, masks)
    (result,) = store.results()
    assert result.key == (1,)
    assert (result.a.num, result.a.sum, result.a.begin, result.a.end) == (1, 1.0, 5, 5)
    assert (result["b"].num, result.b.sum, result.b.begin, result.b.end) == (2, 11.0, 5, 6)
    assert (result.num, result.begin, result.end) == (3, 5, 6)


def test_a_threshold_on_two_streams_is_reached_when_the_second_is():
    """The stream that a batch does not touch counts as it stands; one that saw nothing has the empty value."""
    definition = Definition("t", 1, 0, (Sum("a", stream="a"), Min("b", stream="b")), Threshold({"a": 2.0, "b": 1.0}))
    store = Store(definition, SECRET)
    assert seen_at(store.observe(words([1, 1, 2, 2]), np.arange(4), {"a": None})) == []
    crossed = store.observe(words([3, 2, 1]), np.arange(3), {"b": np.array([5.0, 5.0, 0.5])})
    assert seen_at(crossed) == [1]
    store.merge(crossed.partial)
    (result, *_) = [result for result in store.results() if result.key == (3,)]
    assert (result.a.num, result.a.sum) == (0, 0.0)
    assert (result.begin, result.a.begin) == (0, 0)


@pytest.mark.parametrize(("keys", "evicted"), [(9, 0), (10, 0), (11, 2), (12, 2), (13, 4)])
def test_the_lightest_quarter_of_the_keys_makes_room_and_is_counted(keys, evicted):
    store = Store(Definition("t", 1, 0, (Sum("x"),), max_keys=10), SECRET)
    heavy = [(3, 1.0), (3, 1.0), (7, 1.0), (7, 1.0)]
    light = [(key, 1.0) for key in range(keys) if key not in (3, 7)]
    for key, one in [*light[:1], *heavy, *light[1:]]:
        store.observe(words([key]), np.arange(1), {"x": np.array([one])})
    kept = {result.key[0] for result in store.results()}
    assert {3, 7} <= kept
    assert len(kept) == keys - evicted
    assert kept == {3, 7, *(key for key, _ in light[evicted:])}  # of those equally light, the older went
    assert store.counters["keys_evicted"] == store.counters["observations_evicted"] == store.lost == evicted


def test_a_key_near_its_level_outlives_one_that_is_only_busy():
    definition = Definition("t", 1, 0, (Unique("x"),), Threshold({"x": 10.0}), max_keys=8)
    store = Store(definition, SECRET)
    near = [(1, float(each)) for each in range(3)]
    busy = [(2, 0.0)] * 50
    store.observe(*_columns([*near, *busy, *((key, 0.0) for key in range(100, 106))]))
    for key in range(200, 230):
        store.observe(*_columns([(key, 0.0)]))
    assert (1,) in {result.key for result in store.results()}
    rest = fed(definition, [*near, *((1, float(each)) for each in range(3, 10))])
    assert seen_at(rest.judge()) == []  # it crossed as it was fed
    assert seen_at(store.observe(*_columns([(1, float(each)) for each in range(3, 10)]))) == [6]


def _columns(observations):
    keys, elements = words([key for key, _ in observations]), words([int(each) for _, each in observations])
    return keys, np.arange(len(observations)), {"x": elements}


def test_a_scan_in_a_flood_a_thousand_times_its_rate_is_not_forgotten():
    """Hiding a scan among spoofed keys does not work: a key that comes again is heavier than those that do not."""
    definition = Definition("t", 1, 0, (Unique("x"),), Threshold({"x": 25.0}), max_keys=5000)
    store, crossed, flood = Store(definition, SECRET), [], iter(range(10**6, 10**7))
    for target in range(25):
        part = [(next(flood), 0.0) for _ in range(1000)]
        crossed += store.observe(*_columns([*part, (1, float(target))])).partial.keys.ravel().tolist()
    assert crossed == [1]
    assert store.counters["keys_evicted"] > 15_000


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    observations=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6).map(float)), max_size=120),
    batches=st.lists(st.integers(1, 30), max_size=10),
)
def test_batches_change_nothing_where_keys_are_evicted(observations, batches):
    definition = Definition("t", 1, 0, ALL, Threshold({"sum": 12.0}), max_keys=6)

    def run(sizes):
        store, at, start = Store(definition, SECRET), [], 0
        for size in [*sizes, len(observations)]:
            part = observations[start : start + size]
            keys, ts = words([key for key, _ in part]), np.arange(start, start + len(part))
            at += (start + store.observe(keys, ts, observed(definition, [each for _, each in part])).at).tolist()
            start += len(part)
        return at, arrays(store.partial()), store.counters

    assert run(batches) == run([]) == run([1] * len(observations))


def test_a_merge_evicts_the_lightest_too():
    definition = Definition("t", 1, 0, ALL, max_keys=4)
    store = fed(definition, [(1, 1.0), (2, 1.0), (2, 1.0), (3, 1.0)])
    store.merge(fed(definition, [(4, 1.0), (2, 1.0), (5, 1.0)]).partial())
    assert [(result.key, result.num) for result in store.results()] == [((2,), 3), ((3,), 1), ((4,), 1), ((5,), 1)]
    assert store.counters["keys_evicted"] == 1


def test_memory_stays_under_its_cap_and_what_does_not_fit_is_counted():
    """Elements that nobody needs make room, key by key; a single key that takes all is refused more."""
    definition = Definition("t", 1, 0, (Unique("x"),), max_bytes=1_000_000)
    store = Store(definition, SECRET)
    for start in range(0, 400_000, 40_000):
        elements = np.arange(start, start + 40_000)
        store.observe(words((elements % 1000).tolist()), elements, {"x": words(elements.tolist())})
        assert store.nbytes < 1.1 * definition.max_bytes
    assert store.counters["keys_evicted"] > 0
    alone = Store(definition, SECRET)
    alone.observe(words([0] * 100_000), np.arange(100_000), {"x": words(list(range(100_000)))})
    assert alone.results()[0].x.saturated
    assert alone.counters["elements_refused"] == alone.lost > 0
    assert alone.nbytes < 1.1 * definition.max_bytes


def test_a_merge_tells_which_keys_it_took_over_the_line_once():
    definition = Definition("t", 1, 0, (Sum("x"),), Threshold({"x": 3.0}))
    store, part = Store(definition, SECRET), fed(definition, [(1, 1.0), (2, 2.0), (3, 9.0)]).partial()
    found = []
    for _ in range(4):
        store.merge(part)
        found.append(store.judge().partial.keys.ravel().tolist())
    assert found == [[3], [2], [1], []]


def test_a_million_keys_keep_their_own_values():
    """Through every growth of the table, against NumPy."""
    keys = np.random.default_rng(5).integers(0, 300_000, 500_000).astype(np.uint64)
    values = np.random.default_rng(6).integers(0, 1500, 500_000).astype(np.float64)
    store = Store(Definition("t", 3, 0, (Sum("x"),)), SECRET)
    store.observe(np.stack([keys, keys, keys ^ np.uint64(5)], axis=1), np.arange(500_000), {"x": values})
    partial = store.partial()
    distinct, first = np.unique(keys, return_index=True)
    assert (partial.keys[:, 0] == keys[np.sort(first)]).all()
    sums = np.bincount(keys.astype(np.int64), values)
    assert (partial.states["x"]["state"]["high"] == sums[partial.keys[:, 0].astype(np.int64)]).all()
    assert len(store) == len(distinct)


def test_no_threshold_is_never_reached():
    definition = Definition("t", 1, 0, (Sum("x"),))
    store = Store(definition, SECRET)
    assert seen_at(store.observe(words([1]), np.arange(1), {"x": np.array([np.inf])})) == []
    assert seen_at(store.judge()) == []


@pytest.mark.parametrize("n", [1 << 16, 100_000, 300_000])
def test_a_key_costs_at_most_64_bytes_for_a_sum_and_160_for_all_scalars(n):
    """An address; 8 more with a port."""
    scalars = (Sum("a"), Average("b"), Min("c"), Max("d"), Variance("e"), StdDev("f"))
    for width, reducers, most in ((2, (Sum("a"),), 64), (3, (Sum("a"),), 72), (2, scalars, 160)):
        store = Store(Definition("t", width, 0, reducers, max_keys=n), SECRET)
        keys = np.repeat(np.arange(n, dtype=np.uint64)[:, None], width, axis=1)
        store.observe(keys, np.arange(n), {each.name: None for each in reducers})
        assert store.nbytes / n <= most, reducers


@pytest.mark.parametrize(
    ("keys", "values"),
    [
        (np.zeros((2, 2), np.uint64), {"x": np.zeros(2), "y": np.zeros(2, np.uint64)}),
        (np.zeros((2, 1), np.int64), {"x": np.zeros(2), "y": np.zeros(2, np.uint64)}),
        (np.zeros((2, 1), np.uint64), {"x": np.zeros(3), "y": np.zeros(2, np.uint64)}),
        (np.zeros((2, 1), np.uint64), {"x": np.zeros(2), "y": np.zeros((2, 2), np.uint64)}),
        (np.zeros((2, 1), np.uint64), {"x": np.zeros(2), "y": np.zeros(2)}),
        (np.zeros((2, 1), np.uint64), {"x": np.zeros(2)}),
        (np.zeros((2, 1), np.uint64), {"z": np.zeros(2)}),
    ],
)
def test_what_does_not_fit_the_definition_is_refused_before_it_counts(keys, values):
    store = Store(Definition("t", 1, 0, (Sum("x"), Unique("y"))), SECRET)
    with pytest.raises(ValueError):
        store.observe(keys, np.arange(2), values)
    assert len(store) == 0


def test_a_malformed_partial_is_refused():
    """What a peer may send: other dtypes, other lengths, counts that the elements do not bear out."""
    definition = Definition("t", 1, 0, (StdDev("x"), Unique("y")))
    good = fed(definition, [(1, 2.0), (2, 2.0)]).partial()
    unique = good.states["y"]
    for states in (
        {"x": good.states["x"]},
        {"x": {"state": good.states["x"]["state"][:1]}, "y": unique},
        {"x": {"state": np.zeros(2)}, "y": unique},
        {"x": good.states["x"], "y": {**unique, "count": np.array([-1, 3])}},
        {"x": good.states["x"], "y": {**unique, "count": np.array([2**62, 2**62])}},
        {"x": good.states["x"], "y": {**unique, "elements": unique["elements"][:1]}},
        {"x": good.states["x"], "y": {**unique, "elements": np.zeros((2, 2), np.uint64)}},
    ):
        with pytest.raises(ValueError):
            Store(definition, SECRET).merge(Partial(good.keys, good.headers, states))
    with pytest.raises(ValueError):
        Store(definition, SECRET).merge(Partial(good.keys, {}, good.states))
    with pytest.raises(ValueError):
        Store(definition, SECRET).merge(Partial(good.keys[:, :0], good.headers, good.states))


def test_a_key_that_comes_twice_in_a_partial_is_merged_twice():
    definition = Definition("t", 1, 0, ALL)
    part = fed(definition, [(1, 3.0), (1, 5.0)]).partial()
    store = Store(definition, SECRET)
    store.merge(Partial.join([part, part]))
    (result,) = store.results()
    assert (result.num, result.sum.sum, result.average.average, result.unique.count) == (4, 16.0, 4.0, 2)
