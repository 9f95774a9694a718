"""Thresholds: constant, series, of several reducers, of a function, and others for some keys."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.sumstats import FUNCTION, Average, Definition, Override, Store, Sum, Threshold, Unique
from tests.sumstats.reference import SECRET, words

laws = settings(max_examples=60, deadline=None, derandomize=True)

SERIES = Threshold({"x": (3.0, 6.0, 800.0)})
ALL = 2**64 - 1


def fired(store, observations, batch=10**6, **values):
    """(observation, level, value) of each crossing."""
    found = []
    for start in range(0, len(observations), batch):
        part = observations[start : start + batch]
        numbers = np.array([value for _, value in part], np.float64)
        given = values or {"x": numbers}
        crossed = store.observe(words([key for key, _ in part]), np.arange(len(part)), given)
        levels = zip(crossed.at.tolist(), crossed.level.tolist(), crossed.value.tolist(), strict=True)
        found += [(start + at, level, value) for at, level, value in levels]
    return found


def of(threshold, *reducers, **options):
    return Store(Definition("t", 1, 0, reducers or (Sum("x"),), threshold, **options), SECRET)


def test_every_level_that_was_passed_fires_in_order():
    """Zeek's baseline: 1001 passes all three at once."""
    assert fired(of(SERIES), [(1, 3.0), (2, 1.0), (1, 3.0), (2, 1000.0)]) == [
        (0, 0, 3.0),
        (2, 1, 6.0),
        (3, 0, 1001.0),
        (3, 1, 1001.0),
        (3, 2, 1001.0),
    ]


def test_as_in_zeek_one_level_fires_a_check_where_that_is_asked_for():
    threshold = Threshold({"x": (3.0, 6.0, 800.0)}, one_a_check=True)
    assert fired(of(threshold), [(2, 1001.0), (2, 0.0), (1, 0.0), (2, 0.0), (2, 0.0)]) == [
        (0, 0, 1001.0),
        (1, 1, 1001.0),
        (3, 2, 1001.0),
    ]


def test_the_last_level_of_a_series_can_be_reached_by_accumulation():
    """A known fault of the original: after the last but one, it dropped all observations."""
    assert [level for _, level, _ in fired(of(SERIES), [(1, 1.0)] * 900)] == [0, 1, 2]


def test_a_fall_does_not_arm_a_level_again_within_the_epoch():
    assert fired(of(Threshold({"x": 5.0})), [(1, 5.0), (1, -5.0), (1, 5.0)]) == [(0, 0, 5.0)]


def test_results_go_on_counting_after_the_last_level_where_they_are_wanted():
    store = of(SERIES)
    fired(store, [(1, 900.0), (1, 50.0)])
    assert store.results()[0].x.sum == 950.0
    assert store.counters["passed_over"] == 0


@laws
@given(
    observations=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9).map(float)), max_size=80),
    levels=st.lists(st.integers(1, 30), min_size=1, max_size=4, unique=True).map(sorted),
    batch=st.integers(1, 20),
    one_a_check=st.booleans(),
)
def test_crossings_are_those_of_the_obvious_way_in_any_batches(observations, levels, batch, one_a_check):
    expected, sums, next_level = [], {}, {}
    for at, (key, value) in enumerate(observations):
        sums[key] = sums.get(key, 0.0) + value
        while next_level.get(key, 0) < len(levels) and sums[key] >= levels[next_level.get(key, 0)]:
            expected.append((at, next_level.get(key, 0), sums[key]))
            next_level[key] = next_level.get(key, 0) + 1
            if one_a_check:
                break
    threshold = Threshold({"x": levels}, one_a_check=one_a_check)
    for wants_results in (True, False):
        store = of(threshold, wants_results=wants_results)
        assert fired(store, observations, batch) == expected
    done = [key for key, level in next_level.items() if level == len(levels)]
    lasts = {key: max(at for at, level, _ in expected if observations[at][0] == key) for key in done}
    passed = sum(key in done and at > lasts[key] for at, (key, _) in enumerate(observations))
    assert store.counters["passed_over"] == passed
    assert {result.key[0] for result in store.results()} == set(sums) - set(done)


def test_levels_of_several_reducers_are_reached_together():
    threshold = Threshold({"x": (2.0, 4.0), "y": 3.0})
    store = of(threshold, Sum("x"), Sum("y", stream="y"))
    assert fired(store, [(1, 5.0)]) == []
    seen = [fired(store, [(1, 0.0)], y=np.array([each])) for each in (2.0, 1.0)]
    assert seen == [[], [(0, 0, 5.0), (0, 1, 5.0)]]


def ratio(seen):
    return seen.x / seen.y


def test_a_function_is_given_every_reducers_values_with_the_empty_one_where_nothing_was_seen():
    """Zeek pads only if a check ran: here a sum of nothing is 0 and an average of nothing NaN, always."""
    asked = []

    def function(seen):
        asked.append((seen.num.tolist(), seen.x.tolist(), seen.y.tolist(), seen.z.tolist()))
        return ratio(seen)

    reducers = Sum("x"), Sum("y", stream="y"), Average("z", stream="z")
    store = of(Threshold({FUNCTION: 5.0}, function), *reducers)
    assert fired(store, [(1, 3.0)]) == [(0, 0, math.inf)]
    [(num, x, y, z)] = asked
    assert (num, x, y) == ([1], [3.0], [0.0])
    assert math.isnan(z[0])


def test_a_function_over_several_streams_crosses_at_the_very_observation():
    store = of(Threshold({FUNCTION: (0.5, 0.75)}, ratio), Sum("x"), Sum("y", stream="y"))
    for key in (1, 2):
        fired(store, [(key, 0.0)], y=np.array([100.0]))
    assert fired(store, [(1, 30.0), (2, 60.0), (1, 19.0), (1, 1.0), (1, 40.0)]) == [
        (1, 0, 0.6),
        (3, 0, 0.5),
        (4, 1, 0.9),
    ]


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_a_function_that_raises_is_contained_counted_and_row_by_row(batch, caplog):
    """What it does to one key does not depend on which others are in the batch."""

    def touchy(seen):
        if (seen.x == 7.0).any():
            raise RuntimeError("on purpose")
        return seen.x

    store = of(Threshold({FUNCTION: 5.0}, touchy))
    observations = [(1, 6.0), (2, 7.0), (3, 8.0), (2, 1.0)]
    assert fired(store, observations, batch) == [(0, 0, 6.0), (2, 0, 8.0), (3, 0, 8.0)]
    assert store.counters["threshold_faults"] == 1
    assert caplog.text.count("such keys do not cross") == 1


def test_a_function_that_gives_no_column_is_a_fault():
    store = of(Threshold({FUNCTION: 5.0}, lambda seen: seen.x[:0]))
    assert fired(store, [(1, 6.0), (2, 6.0)]) == []
    assert store.counters["threshold_faults"] == 2


def test_a_function_that_names_no_reducer_says_which_there_are(caplog):
    fired(of(Threshold({FUNCTION: 5.0}, lambda seen: seen.sum)), [(1, 6.0)])
    assert "there is no reducer 'sum'; there are ['x']" in caplog.text


def test_a_key_has_the_level_of_the_longest_override_that_matches_it():
    """Networks within a network, and one key of its own."""
    overrides = (
        Override((0xFF00,), (0x1200,), {"x": 20.0}),
        Override((0xFFF0,), (0x1230,), {"x": 30.0}),
        Override((ALL,), (0x1234,), {"x": (40.0, 50.0)}),
    )
    store = of(Threshold({"x": 10.0}, overrides=overrides))
    keys = [0x1111, 0x1211, 0x1231, 0x1234]
    observations = [(key, 1.0) for _ in range(60) for key in keys]
    by_key = {}
    for at, level, value in fired(store, observations):
        by_key.setdefault(observations[at][0], []).append((level, value))
    assert by_key == {0x1111: [(0, 10.0)], 0x1211: [(0, 20.0)], 0x1231: [(0, 30.0)], 0x1234: [(0, 40.0), (1, 50.0)]}


def test_overrides_survive_growth_and_eviction_of_other_keys():
    override = Override((ALL,), (5,), {"x": 3.0})
    store = of(Threshold({"x": 100.0}, overrides=(override,)), max_keys=300)
    fired(store, [(key, 1.0) for key in range(200)])
    fired(store, [(5, 1.0)])
    fired(store, [(key, 1.0) for key in range(1000, 2000)])
    assert fired(store, [(5, 1.0)]) == [(0, 0, 3.0)]


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_what_is_no_number_reaches_nothing(value):
    assert fired(of(Threshold({"x": 1.0})), [(1, value)] * 3) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"levels": {}},
        {"levels": {"x": ()}},
        {"levels": {"x": (3.0, 3.0)}},
        {"levels": {"x": (3.0, 2.0)}},
        {"levels": {"x": math.nan}},
        {"levels": {"x": (1.0, 2.0), "y": (1.0, 2.0, 3.0)}},
        {"levels": {FUNCTION: 1.0}},
        {"levels": {"x": 1.0}, "function": ratio},
        {"levels": {"x": 1.0}, "overrides": (Override((1,), (1,), {"y": 1.0}),)},
        {"levels": {"x": 1.0}, "overrides": (Override((1,), (1,), {"x": (2.0, 1.0)}),)},
    ],
)
def test_what_cannot_be_a_threshold_is_refused(wrong):
    with pytest.raises(ValueError):
        Threshold(**wrong)


def test_a_threshold_over_elements_is_judged_as_they_come():
    store = of(Threshold({"u": (2.0, 3.0)}), Unique("u"))
    crossed = store.observe(words([1] * 5), np.arange(5), {"u": words([7, 7, 8, 8, 9])})
    assert list(zip(crossed.at.tolist(), crossed.level.tolist(), strict=True)) == [(2, 0), (4, 1)]
    assert crossed.partial.states["u"]["count"].tolist() == [2, 3]
