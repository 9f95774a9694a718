"""UNIQUE with times: each element has the earliest that it came with, however the observations came and were split."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.cluster.columns import Packing, pack
from sensor.sumstats import Definition, EpochEnd, EpochResult, Store, SumStats, Threshold, Unique
from sensor.sumstats.calculations.unique import bytes_per_element, priorities
from tests.sumstats.reference import arrays, words
from tools.settling import Settling

laws = settings(max_examples=80, deadline=None, derandomize=True)
times = st.one_of(st.integers(0, 9), st.integers(-(2**63), 2**63 - 1))
observed = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), times), max_size=200)
MEMBERS = ("a", "b", "c")


def defined(least=None, max_bytes=1 << 30, wants_results=True, **options):
    threshold = Threshold({"x": least}) if least else None
    reducers = (Unique("x", is_dated=True, **options),)
    return Definition("t", 1, 0, reducers, threshold, max_bytes=max_bytes, wants_results=wants_results)


def dated(observations):
    """Elements with their times, as a reducer takes them."""
    elements = words([element for _, element, _ in observations])
    when = np.array([when for *_, when in observations], np.int64).view(np.uint64)
    return np.column_stack([elements, when]).reshape(-1, 2)


def given_to(store, observations, batch=10_000):
    crossed = []
    for start in range(0, len(observations), batch):
        part = observations[start : start + batch]
        keys = words([key for key, *_ in part])
        seen = store.observe(keys, np.arange(start, start + len(part)), {"x": dated(part)})
        crossed += zip((start + seen.at).tolist(), _views(store.definition, seen.partial), strict=True)
    return crossed


def _views(definition, partial):
    return [arrays(partial.take(definition, np.array([at]))) for at in range(len(partial))]


def fed(observations, *, secret=1, batch=10_000, **options):
    store = Store(defined(**options), np.array([secret, secret], np.uint64))
    given_to(store, observations, batch)
    return store


def earliest(observations, limit=0):
    """By key: the earliest time of each element, of the `limit` of lowest priority if there is a limit."""
    known = {}
    for key, element, when in observations:
        own = known.setdefault(key, {})
        own[element] = min(when, own.get(element, when))
    if limit:
        rank = {element: int(priorities(words([element]))[0]) for own in known.values() for element in own}
        known = {key: {each: own[each] for each in sorted(own, key=rank.get)[:limit]} for key, own in known.items()}
    return {key: sorted(own.values()) for key, own in known.items()}


def told(store):
    return {result.key[0]: list(result.x.times) for result in store.results()}


@laws
@given(observations=observed, limit=st.sampled_from([0, 3, 10]), batch=st.sampled_from([1, 7, 500]))
def test_a_store_says_what_a_dict_of_earliest_times_says(observations, limit, batch):
    assert told(fed(observations, max=limit, batch=batch)) == earliest(observations, limit)


@laws
@given(observations=observed, limit=st.sampled_from([0, 3, 10]), parts=st.integers(1, 8), data=st.data())
def test_any_split_merged_in_any_order_has_the_same_times(observations, limit, parts, data):
    merged = fed([], max=limit)
    for part in data.draw(st.permutations(range(parts))):
        merged.merge(fed(observations[part::parts], max=limit, secret=part, batch=7).partial())
    assert told(merged) == earliest(observations, limit)


@laws
@given(parts=st.tuples(observed, observed, observed))
def test_merging_is_commutative_and_associative(parts):
    a, b, c = (fed(each).partial() for each in parts)

    def merged(*partials):
        store = fed([])
        for partial in partials:
            store.merge(partial)
        return store.partial()

    def by_key(partial):
        into = fed([])
        into.merge(partial)
        return told(into)

    assert by_key(merged(a, b)) == by_key(merged(b, a))
    assert by_key(merged(a, merged(b, c))) == by_key(merged(merged(a, b), c))
    assert by_key(merged(a, fed([]).partial(), a)) == by_key(a)


@laws
@given(observations=observed, batch=st.sampled_from([1, 3, 64]), least=st.integers(1, 3))
def test_neither_batches_nor_the_secret_change_what_was_known_at_a_crossing(observations, batch, least):
    """Not even a time that comes right after it, and is earlier."""
    whole, cut = (Store(defined(float(least)), np.array([each, 5], np.uint64)) for each in (1, 77))
    assert given_to(cut, observations, batch) == given_to(whole, observations)
    assert arrays(cut.partial()) == arrays(whole.partial())


def test_a_crossing_does_not_know_the_earlier_time_that_comes_after_it_in_the_same_batch():
    store = Store(defined(2.0), np.array([1, 5], np.uint64))
    [(at, view)] = given_to(store, [(0, 1, 50), (0, 2, 60), (0, 1, 10)])
    assert at == 1
    assert arrays(fed([(0, 1, 50), (0, 2, 60)]).partial()) == view
    assert told(store) == {0: [10, 60]}


@pytest.mark.parametrize(
    ("n", "when"),
    [(1, 5), (2, 5), (2.5, 7), (3, 7), (4, None), (0, 5), (-1, 5), (float("nan"), None), (float("inf"), None)],
)
def test_reached_is_the_nth_smallest_time(n, when):
    result = fed([(0, 1, 7), (0, 2, 5), (0, 3, 5), (0, 1, 9)]).results()[0].x
    assert result.reached(n) == when


@pytest.mark.parametrize(("ts", "count"), [(4, 0), (5, 2), (6, 2), (7, 3), (99, 3)])
def test_until_counts_the_time_itself(ts, count):
    assert fed([(0, 1, 7), (0, 2, 5), (0, 3, 5), (0, 1, 9)]).results()[0].x.until(ts) == count


def test_nothing_was_reached_where_nothing_was_observed():
    definition = Definition("t", 1, 0, (Unique("x", is_dated=True), Unique("y", stream="y")))
    store = Store(definition, np.array([1, 2], np.uint64))
    store.observe(words([0]), np.arange(1), {"y": words([7])})
    result = store.results()[0].x
    assert (result.times, result.reached(0), result.reached(1), result.until(10**18)) == ((), None, None, 0)


def test_without_times_it_says_how_to_have_them():
    store = Store(Definition("t", 1, 0, (Unique("x"),)), np.array([1, 2], np.uint64))
    store.observe(words([0]), np.arange(1), {"x": words([7])})
    result = store.results()[0].x
    for ask in (lambda: result.reached(1), lambda: result.until(1)):
        with pytest.raises(ValueError, match="when="):
            ask()
    assert set(store.partial().states["x"]) == {"count", "saturated", "elements"}
    assert bytes_per_element(1, is_dated=True) == bytes_per_element(1) + 8


def test_times_stay_with_their_elements_when_a_key_is_cut_back():
    """Cutting back and giving room back move the elements, and their times with them."""
    observations = [(0, element, 10**6 - element) for element in range(20_000)]
    store = fed(observations, max=10, max_bytes=900_000, batch=500)
    assert told(store) == earliest(observations, 10)
    store.observe(words([0]), np.arange(1), {"x": dated([(0, 19_999, -5)])})
    assert told(store) == earliest([*observations, (0, 19_999, -5)], 10)


MALFORMED = {
    "no times": lambda states: {name: array for name, array in states.items() if name != "when"},
    "a time too few": lambda states: states | {"when": states["when"][:-1]},
    "a time too many": lambda states: states | {"when": np.append(states["when"], 1)},
    "unsigned times": lambda states: states | {"when": states["when"].view(np.uint64)},
    "times that are floats": lambda states: states | {"when": states["when"].astype(np.float64)},
    "two times each": lambda states: states | {"when": np.column_stack([states["when"]] * 2)},
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_state_is_refused(kind):
    partial = fed([(0, 1, 7), (0, 2, 5), (1, 3, 5)]).partial()
    bad = replace(partial, states={"x": MALFORMED[kind](partial.states["x"])})
    into = fed([])
    with pytest.raises(ValueError, match=r"when|time"):
        into.merge(bad)


def test_times_travel_over_the_bus_and_are_checked_there():
    partial, packing = fed([(0, 1, 7), (0, 2, -5), (1, 3, 5)]).partial(), Packing(defined())
    columns = pack(partial)
    packing.check(packing.unpack(columns))
    assert arrays(packing.unpack(columns)) == arrays(partial)
    for cut in (1, 8):
        columns.states["x"]["when"] = pack(partial).states["x"]["when"][:-cut]
        with pytest.raises(ValueError, match=r"cut short|when"):
            packing.check(packing.unpack(columns))


def test_windows_that_hop_have_the_earliest_time_of_all_their_panes():
    """An element that comes again in a later pane keeps the time of the first that is still in the window."""
    definition = Definition("t", 1, 3, (Unique("x", is_dated=True),), Threshold({"x": 99.0}), hop_ns=1)
    observations = [(0, 1, 0), (0, 2, 1), (0, 1, 2), (0, 3, 3), (0, 1, 4)]
    sides = {name: SumStats([definition], members=len(MEMBERS)) for name in MEMBERS}
    collector, windows = Settling(definition, MEMBERS), []
    for side in sides.values():
        side.start(0)
    for member, side in sides.items():
        happened = []
        for at, each in enumerate(observations):
            if MEMBERS[at % 3] == member:
                happened += side.observe("t", words([0]), np.array([at]), {"x": dated([each])})
        for end in (each for each in [*happened, *side.finish(4)] if isinstance(each, EpochEnd)):
            windows += [each for each in collector.deliver(member, end) if isinstance(each, EpochResult)]
    found = [earliest(observations[max(0, at - 2) : at + 1])[0] for at in range(5)]
    assert [told_of(definition, each.partial) for each in windows] == found


def told_of(definition, partial):
    store = Store(definition, np.array([1, 2], np.uint64), judges=False)
    store.merge(partial)
    return told(store)[0]
