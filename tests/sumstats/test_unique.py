"""UNIQUE: exact to `max` and flagged beyond it, and its elements the same however the observations came."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.sumstats import Definition, Store, Threshold, Unique
from sensor.sumstats.calculations.unique import bytes_per_element, lowest, priorities
from tests.sumstats.reference import arrays, words

laws = settings(max_examples=80, deadline=None, derandomize=True)
pairs = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60)), max_size=300)


def fed(observations, *, secret=1, batch=10_000, least=None, max_keys=10**6, max_bytes=1 << 30, **options):
    threshold = Threshold({"x": least}) if least else None
    definition = Definition("t", 1, 0, (Unique("x", **options),), threshold, max_keys=max_keys, max_bytes=max_bytes)
    store = Store(definition, np.array([secret, secret], np.uint64))
    crossed = []
    for start in range(0, len(observations), batch):
        part = observations[start : start + batch]
        keys, elements = words([key for key, _ in part]), words([element for _, element in part])
        seen = store.observe(keys, np.arange(start, start + len(part)), {"x": elements})
        crossed += [(start + at, arrays(store_part(seen.partial, i))) for i, at in enumerate(seen.at.tolist())]
    return store, crossed


def store_part(partial, i):
    """One key of a partial."""
    store = Store(Definition("t", 1, 0, (Unique("x", words=1),)), np.array([9, 9], np.uint64))
    store.merge(partial)
    return store.partial(np.array([i]))


def kept(elements, limit):
    """The elements of lowest priority, by a plain sort."""
    distinct = sorted(set(elements), key=lambda element: int(priorities(words([element]))[0]))
    return tuple((element,) for element in distinct[:limit])


@pytest.mark.parametrize(("seen", "count", "saturated"), [(4, 4, False), (5, 5, False), (6, 5, True)])
def test_a_key_holds_max_elements_and_no_more_alone_and_merged(seen, count, saturated):
    """Zeek holds one over `unique_max` until it merges, and does not say that it refused any."""
    alone, _ = fed([(0, element) for element in range(seen)], max=5)
    half, _ = fed([(0, element) for element in range(seen // 2 + 1)], max=5, secret=2)
    other, _ = fed([(0, element) for element in range(seen // 2, seen)], max=5, secret=3)
    half.merge(other.partial())
    for store in (alone, half):
        result = store.results()[0].x
        assert (result.count, result.unique, result.saturated) == (count, count, saturated)


@laws
@given(observations=pairs, limit=st.integers(1, 12), parts=st.integers(1, 16), data=st.data())
def test_the_elements_kept_do_not_depend_on_the_split(observations, limit, parts, data):
    """Those of lowest priority of all that were seen, although each part had thrown away what it saw no room for."""
    merged, _ = fed([], max=limit, keep=limit)
    for part in data.draw(st.permutations(range(parts))):
        store, _ = fed(observations[part::parts], max=limit, keep=limit, secret=part, batch=7)
        merged.merge(store.partial())
    results = {result.key[0]: result.x for result in merged.results()}
    assert set(results) == {key for key, _ in observations}
    for key, result in results.items():
        elements = {element for other, element in observations if other == key}
        assert result.count == min(len(elements), limit)
        assert result.saturated == (len(elements) > limit)
        assert result.sample == kept(elements, limit)


@laws
@given(
    observations=pairs,
    limit=st.sampled_from([0, 3, 5, 20]),
    batch=st.sampled_from([1, 3, 64]),
    least=st.integers(1, 3),
)
def test_neither_batches_nor_the_secret_change_anything(observations, limit, batch, least):
    """Not the crossings, not the elements at the crossing, not their order."""
    options = {"max": limit, "keep": 2, "least": float(least)}
    whole, whole_crossed = fed(observations, **options)
    cut, cut_crossed = fed(observations, **options, batch=batch, secret=77)
    assert cut_crossed == whole_crossed
    assert arrays(cut.partial()) == arrays(whole.partial())
    assert cut.results() == whole.results()


def test_the_view_at_a_crossing_holds_the_elements_seen_until_then():
    definition = Definition("t", 1, 0, (Unique("x", max=4, keep=4),), Threshold({"x": 3.0}))
    store = Store(definition, np.array([1, 2], np.uint64))
    elements = [5, 5, 6, 7, *range(100, 200)]
    crossed = store.observe(words([0] * len(elements)), np.arange(len(elements)), {"x": words(elements)})
    assert crossed.at.tolist() == [3]
    assert crossed.partial.states["x"]["elements"].ravel().tolist() == [5, 6, 7]
    assert crossed.partial.states["x"]["saturated"].tolist() == [False]


def test_a_key_that_meets_many_elements_holds_few_of_them():
    """Elements that are cut make room again, so a heavy key does not crowd out the others."""
    heavy = [(0, element) for element in range(60_000)]
    store, _ = fed([*heavy, *((1, element) for element in range(30))], max=10, keep=3, max_bytes=800_000, batch=500)
    first, second = (result.x for result in store.results())
    assert (first.count, first.saturated, first.sample) == (10, True, kept(range(60_000), 3))
    assert (second.count, second.saturated) == (10, True)
    assert store.counters["elements_refused"] == 0


@pytest.mark.parametrize(("seen", "refused"), [(99, 0), (100, 0), (101, 1)])
def test_elements_beyond_the_cap_are_refused_counted_and_flagged(seen, refused):
    for_rows = 3 * 64  # more than the rows of three keys take, less than they and one element do
    observations = [(element % 3, element) for element in range(seen)]
    store, _ = fed(observations, max_keys=3, max_bytes=for_rows + 100 * bytes_per_element(1))
    results = [result.x for result in store.results()]
    assert sum(result.count for result in results) == seen - refused
    assert sum(result.saturated for result in results) == store.counters["elements_refused"] == refused
    store.observe(words([0]), np.arange(1), {"x": words([0])})  # one that is known needs no room
    assert store.counters["elements_refused"] == refused


def test_a_cleared_store_starts_over():
    store, _ = fed([(key, element) for key in range(5) for element in range(50)], max=3)
    store.clear()
    assert store.results() == []
    store.observe(words([3]), np.arange(1), {"x": words([7])})
    assert [(result.key, result.x.count, result.x.saturated) for result in store.results()] == [((3,), 1, False)]


@laws
@given(st.lists(st.integers(0, 6), max_size=8), st.integers(1, 4))
def test_lowest_takes_the_first_by_priority_of_each_owner(counts, limit):
    elements = [list(range(10 * i, 10 * i + count)) for i, count in enumerate(counts)]
    flat = words([element for own in elements for element in own])
    got = flat[lowest(np.array(counts, np.int64), flat, limit)].tolist()
    assert got == [list(element) for own in elements for element in kept(own, limit)]
