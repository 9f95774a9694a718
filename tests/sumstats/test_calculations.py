"""Laws that every calculation keeps, from one list; a new one is held to them by being in it."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sensor.sumstats import CALCULATIONS, Average, Definition, Max, Min, Store, Sum, Threshold, Unique, Variance
from tests.replaying import ROOT
from tests.sumstats.reference import FIELDS, assert_close, assert_same, by_key, expected, fed, observed, words

numbers = st.one_of(
    st.integers(-(2**40), 2**40).map(float),
    st.integers(0, 5).map(float),
    st.floats(-1e9, 1e9, allow_subnormal=False).filter(lambda value: value == 0 or abs(value) > 1e-9),
)
observations = st.lists(st.tuples(st.integers(0, 4), numbers), max_size=40)

laws = settings(max_examples=60, deadline=None, derandomize=True)
each_calculation = pytest.mark.parametrize("calculation", CALCULATIONS, ids=lambda one: one.calculation)


def one(calculation, **options):
    """A SumStat of that calculation alone."""
    return Definition("test", 1, 0, (calculation("x", **options),))


def test_each_calculation_has_its_expected_fields():
    assert {calculation.calculation for calculation in CALCULATIONS} == set(FIELDS)


@each_calculation
@laws
@given(observed_values=observations)
def test_a_store_says_what_exact_arithmetic_says(calculation, observed_values):
    results = by_key(fed(one(calculation), observed_values).results())
    assert set(results) == {(key,) for key, _ in observed_values}
    for (key,), result in results.items():
        values = [value for other, value in observed_values if other == key]
        assert result.num == result.x.num == len(values)
        places = [i for i, (other, _) in enumerate(observed_values) if other == key]
        assert (result.begin, result.end) == (places[0], places[-1])
        for name, value in expected(calculation.calculation, values).items():
            got = getattr(result.x, name)
            if name == "quantile":
                assert abs(got - value) <= 0.01 * abs(value) + 1e-9, (got, value)
                continue
            noise = 1e-9 * max(1e-6, *(abs(v) for v in values)) if name in ("variance", "std_dev") else 0
            if not (noise and abs(got - value) <= noise * 1e-9):
                assert_close(got, value, name)


@each_calculation
@laws
@given(observed_values=observations, width=st.integers(1, 16), data=st.data())
def test_any_split_merged_in_any_order_is_the_whole(calculation, observed_values, width, data):
    definition = one(calculation)
    homes = data.draw(st.lists(st.integers(0, width - 1), min_size=len(observed_values), max_size=len(observed_values)))
    merged = Store(definition, np.array([3, 4], np.uint64))
    for part in data.draw(st.permutations(range(width))):
        own = [at for at, home in enumerate(homes) if home == part]
        merged.merge(fed(definition, [observed_values[at] for at in own], ts=own).partial())
    assert_same(merged.results(), fed(definition, observed_values).results())


@each_calculation
@laws
@given(parts=st.tuples(observations, observations, observations))
def test_merging_is_commutative_and_associative(calculation, parts):
    definition = one(calculation)
    a, b, c = (fed(definition, each, ts=range(at, 200, 3)[: len(each)]).partial() for at, each in enumerate(parts))

    def merged(*partials):
        store = Store(definition, np.array([3, 4], np.uint64))
        for partial in partials:
            store.merge(partial)
        return store

    assert_same(merged(a, b).results(), merged(b, a).results())
    assert_same(merged(a, merged(b, c).partial()).results(), merged(merged(a, b).partial(), c).results())


@each_calculation
@laws
@given(observed_values=observations)
def test_nothing_is_the_identity_of_merging(calculation, observed_values):
    """Neither an empty store changes a result, nor a key of which the stream saw nothing (as in Zeek)."""
    definition = Definition("test", 1, 0, (calculation("x"), Sum("other", stream="other")))
    values = [value for _, value in observed_values]
    keys, ts = words([key for key, _ in observed_values]), np.arange(len(values))
    store, others = Store(definition, np.array([1, 2], np.uint64)), Store(definition, np.array([1, 2], np.uint64))
    store.observe(keys, ts, {"x": observed(definition, values)["x"]})
    others.observe(keys, ts, {"other": np.zeros(len(values))})
    before = [result.x for result in store.results()]
    nothing = Store(definition, np.array([5, 6], np.uint64)).partial(), others.partial()
    into = Store(definition, np.array([7, 8], np.uint64))
    for partial in (*nothing, store.partial(), *nothing):
        into.merge(partial)
    assert [by_key(into.results())[result.key].x for result in store.results()] == before


@laws
@given(integers=st.lists(st.integers(-(2**53), 2**53), min_size=1, max_size=40), data=st.data())
@example(integers=[2**53, 1, 1, -(2**53)], data=None)
def test_integers_are_added_without_rounding(integers, data):
    """Also where the total is past what a float can hold."""
    store = fed(one(Sum), [(0, float(value)) for value in integers])
    assert store.results()[0].x.sum == sum(integers)
    order = integers if data is None else data.draw(st.permutations(integers))
    other = fed(one(Sum), [(0, float(value)) for value in order])
    assert other.partial().states["x"]["state"].tobytes() == store.partial().states["x"]["state"].tobytes()


def test_a_sum_of_tenths_reaches_a_round_threshold_however_it_is_split():
    definition = Definition("test", 1, 0, (Sum("x"),), Threshold({"x": 1.0}))
    alone = Store(definition, np.array([3, 4], np.uint64))
    assert alone.observe(words([0] * 12), np.arange(12), {"x": np.full(12, 0.1)}).at.tolist() == [9]
    merged = fed(definition, [(0, 0.1)] * 3)
    merged.merge(fed(definition, [(0, 0.1)] * 6).partial())
    assert len(merged.judge().at) == 0
    merged.merge(fed(definition, [(0, 0.1)]).partial())
    assert len(merged.judge().at) == 1


def test_variance_is_the_sample_variance_and_zero_for_one_value():
    """Zeek's baseline: 5, 22, 94, 50, 50; and a key seen once."""
    store = fed(one(Variance), [*((1, v) for v in (5.0, 22.0, 94.0, 50.0, 50.0)), (2, 7.0)])
    first, second = (result.x for result in store.results())
    assert_close(first.variance, float(np.var([5, 22, 94, 50, 50], ddof=1)), "variance")
    assert_close(first.std_dev, float(np.std([5, 22, 94, 50, 50], ddof=1)), "std_dev")
    assert (second.variance, second.std_dev, second.average) == (0.0, 0.0, 7.0)


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e12, 1e15])
def test_variance_survives_a_mean_far_from_zero(offset):
    store = fed(one(Variance), [(0, offset + value) for value in (4.0, 7.0, 13.0, 16.0)])
    assert_close(store.results()[0].x.variance, 30.0, offset)


def test_equal_values_have_no_variance():
    assert fed(one(Variance), [(0, 0.1)] * 1000).results()[0].x.variance == 0.0


def test_values_without_bounds_do_not_raise():
    """What a capture makes is finite; a plugin's arithmetic may not be."""
    odd = [math.inf, -math.inf, math.nan, 1e308, 1e308, -1e308, 5e-324]
    for calculation in (Sum, Average, Min, Max, Variance):
        store = fed(one(calculation), [(0, value) for value in odd])
        store.merge(store.partial())
        assert len(store.results()) == 1


def test_extremes_pass_over_what_is_not_a_number():
    definition = Definition("test", 1, 0, (Min("low"), Max("high")))
    store = fed(definition, [(0, math.nan), (0, 3.0), (0, -2.0), (0, math.nan)])
    assert (store.results()[0].low.min, store.results()[0].high.max) == (-2.0, 3.0)


def test_a_negative_maximum_is_not_the_empty_one():
    assert fed(one(Max), [(0, -5.0), (0, -9.0)]).results()[0].x.max == -5.0


def test_two_elements_that_differ_in_their_last_word_are_two():
    definition = Definition("test", 1, 0, (Unique("x", words=3, keep=5),))
    store = Store(definition, np.array([1, 2], np.uint64))
    elements = np.array([[1, 2, 3], [1, 2, 4], [1, 2, 3]], np.uint64)
    store.observe(words([0, 0, 0]), np.arange(3), {"x": elements})
    assert store.results()[0].x.count == 2
    assert set(store.results()[0].x.sample) == {(1, 2, 3), (1, 2, 4)}


def _shannon(values):
    counts = np.unique(values, return_counts=True)[1] / len(values)
    return -(counts * np.log2(counts)).sum()


NUMPY = {
    "SUM": lambda values: {"sum": values.sum()},
    "AVERAGE": lambda values: {"average": values.mean()},
    "MIN": lambda values: {"min": values.min()},
    "MAX": lambda values: {"max": values.max()},
    "VARIANCE": lambda values: {"variance": values.var(ddof=1)},
    "STD_DEV": lambda values: {"std_dev": values.std(ddof=1)},
    "UNIQUE": lambda values: {"unique": len(np.unique(values))},
    "ENTROPY": lambda values: {"entropy": _shannon(values), "unique": len(np.unique(values))},
    "FIRST": lambda values: {"first_elements": ((int(values[:1].view(np.uint64)[0]),),)},
    "LAST": lambda values: {"last_elements": ((int(values[-1:].view(np.uint64)[0]),),)},
    "SAMPLE": lambda values: {"sample_elements": len(values)},
}
BOUNDS = {
    "HLL_UNIQUE": (lambda result: result.hll_unique, lambda values: len(np.unique(values)), 0.02),
    "QUANTILE": (lambda result: result.quantile, lambda values: np.quantile(values, 0.5, method="lower"), 0.0101),
    "TOPK": (lambda result: result.topk[0][1], lambda values: np.unique(values, return_counts=True)[1].max(), 0.0),
}
"""What is within a bound: the estimate, the truth, and the relative bound (HLL_UNIQUE: twice its margin)."""


@each_calculation
def test_a_hundred_thousand_observations_split_over_sixteen_nodes_are_what_numpy_says(calculation):
    rng = np.random.default_rng(11)
    keys = rng.integers(0, 20, 100_000)
    values = np.round(rng.lognormal(3.0, 1.0, 100_000))
    definition = one(calculation)
    merged = Store(definition, np.array([3, 4], np.uint64))
    for part in range(16):
        own = np.arange(part, 100_000, 16)
        store = Store(definition, np.array([part, 5], np.uint64))
        store.observe(words(keys[own].tolist()), own, observed(definition, values[own]))
        merged.merge(store.partial())
    for (key,), result in by_key(merged.results()).items():
        mine = values[keys == key]
        if calculation.calculation in NUMPY:
            for name, want in NUMPY[calculation.calculation](mine).items():
                got = getattr(result.x, name)
                assert got == want or math.isclose(got, want, rel_tol=1e-9), (key, name)
        else:
            estimate, truth, bound = BOUNDS[calculation.calculation]
            assert abs(estimate(result.x) - truth(mine)) <= bound * truth(mine), key


def test_every_process_gives_the_same_bytes_whatever_its_hash_seed():
    code = (
        "import numpy as np, hashlib\n"
        "from sensor.sumstats import CALCULATIONS, Definition, Store\n"
        "from tests.sumstats.reference import arrays, observed, words\n"
        "definition = Definition('t', 1, 0, tuple(each(each.calculation.lower()) for each in CALCULATIONS))\n"
        "store = Store(definition, np.frombuffer(__import__('os').urandom(16), np.uint64))\n"
        "rng = np.random.default_rng(7)\n"
        "values = rng.integers(0, 900, 5000).astype(float)\n"
        "store.observe(words((values % 7).tolist()), np.arange(5000), observed(definition, values))\n"
        "print(definition.digest, hashlib.sha256(repr(arrays(store.partial())).encode()).hexdigest())\n"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
