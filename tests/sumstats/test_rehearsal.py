"""Columns that do not remember: what may cross is found out on a copy, and what cannot is not even copied."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.sumstats import FUNCTION, Definition, Entropy, HllUnique, Quantile, Store, Sum, Threshold, TopK, Unique
from tests.sumstats.reference import SECRET, arrays, by_key, observed, words

laws = settings(max_examples=80, deadline=None, derandomize=True)

REDUCERS = {
    "topk": TopK("x", size=4),
    "entropy": Entropy("x"),
    "entropy_max": Entropy("x", max=3),
    "hll": HllUnique("x"),
    "hll_dense": HllUnique("x", error_margin=0.3, confidence=0.9),
    "quantile": Quantile("x"),
}
each_reducer = pytest.mark.parametrize("name", REDUCERS)


def fed_in(definition, observations, batch):
    store, found = Store(definition, SECRET), []
    for start in range(0, len(observations), batch):
        part = observations[start : start + batch]
        keys, ts = words([key for key, _ in part]), np.arange(start, start + len(part))
        crossed = store.observe(keys, ts, observed(definition, [value for _, value in part]))
        found += zip(
            (start + crossed.at).tolist(),
            crossed.level.tolist(),
            crossed.value.tolist(),
            [arrays(crossed.partial.take(definition, np.array([i]))) for i in range(len(crossed.at))],
            strict=True,
        )
    return found, arrays(store.partial())


@each_reducer
@laws
@given(
    observations=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60).map(float)), max_size=150),
    levels=st.lists(st.floats(0.2, 40.0), min_size=1, max_size=4, unique=True).map(sorted),
    batch=st.integers(2, 60),
)
def test_crossings_values_and_views_are_those_of_one_observation_at_a_time(name, observations, levels, batch):
    definition = Definition("t", 1, 0, (REDUCERS[name], Sum("n")), Threshold({"x": tuple(levels)}))
    assert fed_in(definition, observations, batch) == fed_in(definition, observations, 1)


@laws
@given(
    observations=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9).map(float)), max_size=80),
    batch=st.integers(2, 60),
)
def test_a_function_of_several_is_judged_as_one_observation_at_a_time_is(observations, batch):
    threshold = Threshold({FUNCTION: (1.0, 2.0)}, lambda seen: seen.spread * seen.n / seen.kinds)
    reducers = Entropy("spread"), HllUnique("kinds"), TopK("unread"), Sum("n")
    definition = Definition("t", 1, 0, reducers, threshold)
    assert fed_in(definition, observations, batch) == fed_in(definition, observations, 1)


@each_reducer
@laws
@given(
    before=st.lists(st.integers(0, 80).map(float), max_size=120),
    after=st.lists(st.integers(0, 80).map(float), min_size=1, max_size=120),
)
def test_no_value_ever_exceeds_what_was_said_to_be_the_most(name, before, after):
    reducer = REDUCERS[name]
    definition = Definition("t", 1, 0, (reducer,))
    store = Store(definition, SECRET)
    store.observe(words([0] * len(before)), np.arange(len(before)), observed(definition, before))
    if not before:
        return
    column, num = store._columns["x"], np.array([len(before)])
    ceiling = reducer.ceiling(num, column.measure(np.array([0])), np.array([float(len(after))]))[0]
    for value in after:
        store.observe(words([0]), np.arange(1), observed(definition, [value]))
        now = reducer.values(num, column.measure(np.array([0])))[0]
        assert now <= ceiling * (1 + 1e-9) + 1e-9


def test_a_key_that_cannot_reach_its_level_is_not_copied(monkeypatch):
    """What it would cost is what would make a threshold over a sketch too slow to use."""
    definition = Definition(
        "t", 1, 0, (Entropy("x"), HllUnique("y"), TopK("z")), Threshold({"x": 12, "y": 900, "z": 900})
    )
    store, copies = Store(definition, SECRET), []
    for reducer in (Entropy, HllUnique, TopK):
        make = reducer.column
        monkeypatch.setattr(reducer, "column", lambda self, setting, make=make: copies.append(1) or make(self, setting))
    for start in range(0, 500, 50):
        values = [float(value % 20) for value in range(start, start + 50)]
        store.observe(words([0] * 50), np.arange(50), observed(definition, values))
    assert copies == []
    assert by_key(store.results())[(0,)].x.entropy == pytest.approx(math.log2(20))


def test_a_reducer_that_the_function_does_not_read_is_not_rehearsed(monkeypatch):
    threshold = Threshold({FUNCTION: 5.0}, lambda seen: seen.n)
    definition = Definition("t", 1, 0, (Entropy("x"), Sum("n"), Unique("u")), threshold)
    store, copies = Store(definition, SECRET), []
    make = Entropy.column
    monkeypatch.setattr(Entropy, "column", lambda self, setting: copies.append(1) or make(self, setting))
    crossed = store.observe(words([0] * 3), np.arange(3), observed(definition, [2.0, 2.0, 2.0]))
    assert (crossed.at.tolist(), copies) == ([2], [])
