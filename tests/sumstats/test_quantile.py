"""QUANTILE: within its error of the value of that rank, and the same counts however the observations were split."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.sumstats.calculation import HEADER, RowBatch, Setting
from sensor.sumstats.calculations.quantile import Quantile

laws = settings(max_examples=60, deadline=None, derandomize=True)
numbers = st.one_of(
    st.integers(-3, 3).map(float),
    st.floats(-1e21, 1e21),
    st.floats(1e-12, 1e3).map(lambda value: -value),
    st.just(math.nan),
)
observations = st.lists(st.tuples(st.integers(0, 2), numbers), max_size=60)
ROUNDING = 1e-10  # of the bounds and middles of buckets


def column(reducer, *, rows=3, max_bytes=1 << 24, secret=1):
    made = reducer.column(Setting(np.array([secret, 2], np.uint64), np.array([3, 4], np.uint64), max_bytes))
    state = np.empty(rows, made.empty.dtype)
    state[:] = made.empty
    made.attach(state)
    return made


def feed(into, observed, *, applies=None, watch=False):
    rows = np.array([row for row, _ in observed], np.int64)
    taken = np.ones(len(rows), np.bool_) if applies is None else np.array(applies, np.bool_)
    values = np.array([value for _, value in observed], np.float64)
    return into.update(RowBatch(rows, np.arange(len(rows)), taken), values, watch=watch)


def fed(reducer, observed, *, batch=1000, **options):
    made = column(reducer, **options)
    for start in range(0, len(observed), batch):
        feed(made, observed[start : start + batch])
    return made


def view(of, rows=(0, 1, 2)):
    rows = np.array(rows, np.int64)
    return of.view(rows, of.measure(rows))


def merged(reducer, *views):
    into = column(reducer)
    for each in views:
        into.merge(np.arange(3), each)
    return into


def assert_equal(got, want):
    assert got.keys() == want.keys()
    for name in want:
        assert got[name].dtype == want[name].dtype
        np.testing.assert_array_equal(got[name], want[name])


def quantiles(reducer, of, rows=(0, 1, 2)):
    return reducer.values(np.zeros(len(rows), np.int64), of.measure(np.array(rows, np.int64))).tolist()


def true_quantile(values, q):
    """The value of that rank, with the magnitudes that count as others; None if there is none."""
    counted = sorted(
        math.copysign(min(abs(value), 1e19), value) if abs(value) >= 1e-9 else 0.0
        for value in values
        if not math.isnan(value)
    )
    return counted[min(math.floor(q * float(len(counted) - 1)), len(counted) - 1)] if counted else None


def assert_within(got, true, error):
    if true is None:
        assert math.isnan(got)
    else:
        assert abs(got - true) <= (error + ROUNDING) * abs(true), (got, true)


def drawn(kind, n, seed=1):
    rng = np.random.default_rng(seed)
    return {
        "lognormal": lambda: rng.lognormal(3, 4, n),
        "uniform": lambda: rng.uniform(0, 1000, n),
        "negative": lambda: -rng.lognormal(0, 2, n),
        "mixed": lambda: rng.normal(0, 50, n),
        "constant": lambda: np.full(n, 42.5),
        "integer": lambda: rng.integers(-5, 1500, n).astype(np.float64),
    }[kind]()


@pytest.mark.parametrize("error", [0.001, 0.01, 0.1])
@pytest.mark.parametrize("kind", ["lognormal", "uniform", "negative", "mixed", "constant", "integer"])
def test_the_estimate_is_within_the_error_of_the_lower_quantile(kind, error):
    values = drawn(kind, 5001)
    whole = fed(Quantile("x", error=error), [(0, value) for value in values.tolist()])
    for q in (0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0):
        reducer = Quantile("x", q=q, error=error)
        (got,) = quantiles(reducer, merged(reducer, view(whole)), [0])
        assert_within(got, float(np.quantile(values, q, method="lower")), error)


@laws
@given(observed=observations, q=st.floats(0, 1), error=st.sampled_from([0.001, 0.02, 0.1]))
def test_any_values_give_what_sorting_them_gives(observed, q, error):
    reducer = Quantile("x", q=q, error=error)
    for row, got in enumerate(quantiles(reducer, fed(reducer, observed))):
        assert_within(got, true_quantile([value for other, value in observed if other == row], q), error)


@laws
@given(observed=observations, q=st.sampled_from([0.0, 0.3, 0.5, 1.0]), data=st.data())
def test_each_observation_notes_the_quantile_right_after_it(observed, q, data):
    reducer = Quantile("x", q=q)
    applies = data.draw(st.lists(st.booleans(), min_size=len(observed), max_size=len(observed)))
    watched, seen = column(reducer), {0: [], 1: [], 2: []}
    notes = reducer.values(np.zeros(len(observed)), feed(watched, observed, applies=applies, watch=True)).tolist()
    for (row, value), applied, note in zip(observed, applies, notes, strict=True):
        seen[row] += [value] * applied
        assert_within(note, true_quantile(seen[row], q), 0.01)
    assert feed(watched, observed) == {}


@laws
@given(observed=observations, parts=st.integers(1, 16), batch=st.sampled_from([1, 7, 1000]), data=st.data())
def test_any_split_and_any_batches_give_the_counts_of_the_whole(observed, parts, batch, data):
    reducer = Quantile("x")
    order = data.draw(st.permutations(range(parts)))
    views = [view(fed(reducer, observed[part::parts], batch=batch, secret=part)) for part in order]
    assert_equal(view(merged(reducer, *views)), view(fed(reducer, observed)))


def test_any_split_of_many_values_gives_the_counts_of_the_whole():
    reducer, values = Quantile("x"), drawn("mixed", 20_000).tolist()
    observed = [(i % 3, value) for i, value in enumerate(values)]
    whole = view(fed(reducer, observed))
    for parts in (1, 2, 5, 16):
        assert_equal(
            view(merged(reducer, *(view(fed(reducer, observed[part::parts])) for part in range(parts)))), whole
        )


@laws
@given(parts=st.tuples(observations, observations, observations))
def test_merging_is_commutative_and_associative_and_nothing_is_its_identity(parts):
    reducer = Quantile("x")
    a, b, c = (view(fed(reducer, part)) for part in parts)
    nothing = view(column(reducer))
    assert_equal(view(merged(reducer, a, b)), view(merged(reducer, b, a)))
    left, right = view(merged(reducer, a, b)), view(merged(reducer, b, c))
    assert_equal(view(merged(reducer, left, c)), view(merged(reducer, a, right)))
    assert_equal(view(merged(reducer, nothing, a, nothing)), a)


def test_buckets_ascend_and_count_what_was_observed():
    state = view(fed(Quantile("x"), [(0, 5.0), (0, -5.0), (0, 0.0), (0, 5.0), (0, 700.0), (2, 1.0)]))
    assert (state["count"].tolist(), state["counts"].tolist()) == ([4, 0, 1], [1, 1, 2, 1, 1])
    low, zero, high = state["buckets"][:3].tolist()
    assert (low, zero, high > 0) == (-high, 0, True)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_magnitudes_that_are_too_small_count_as_zero_and_too_large_as_the_largest(sign):
    reducer = Quantile("x")
    cases = [(9.99e-10, 0.0), (1e-9, 1e-9), (1e19, 1e19), (1e300, 1e19), (math.inf, 1e19), (5e-324, 0.0), (0.0, 0.0)]
    for value, counted in cases:
        (got,) = quantiles(reducer, fed(reducer, [(0, sign * value)]), [0])
        assert_within(got, sign * counted, 0.01)


def test_a_key_has_no_more_buckets_than_it_is_said():
    """Every bucket at the smallest error: none collapses, and none is missed."""
    reducer = Quantile("x", error=0.001)
    steps = np.exp(np.arange(math.log(1e-9), math.log(1e19), 0.0019))
    values = np.concatenate([steps, [1e19, 0.0], -steps, [-1e19]])
    state = view(fed(reducer, [(0, value) for value in values.tolist()], batch=8192))
    assert state["count"].tolist() == [2 * reducer.most + 1, 0, 0]
    assert reducer.most < 2**15
    assert state["buckets"].tolist() == list(range(-reducer.most, reducer.most + 1))


def test_the_bounds_of_buckets_are_powers_of_gamma():
    reducer = Quantile("x")
    for i in (-900, -5, 0, 3, 1000):
        above, below = reducer.gamma**i * (1 + 1e-9), reducer.gamma**i * (1 - 1e-9)
        low, high = view(fed(reducer, [(0, below), (0, above)]))["buckets"].tolist()
        assert (low, high) == (i - reducer.lowest + 1, i - reducer.lowest + 2)


def test_results_say_none_where_nothing_was_observed():
    reducer = Quantile("x")
    headers = np.array([(2, 5, 9), (1, 7, 7), (0, 0, 0)], HEADER)
    first, second, third = reducer.results(headers, view(fed(reducer, [(0, 3.0), (0, 4.0), (1, math.nan)])))
    assert (first.num, first.begin, first.end, first.saturated) == (2, 5, 9, False)
    assert_within(first.quantile, 3.0, 0.01)
    assert second.quantile is None and third.quantile is None


def test_a_row_that_was_dropped_is_passed_over():
    made = fed(Quantile("x"), [(-1, 3.0), (1, 4.0)])
    made.merge(np.array([-1, 1, -1]), view(fed(Quantile("x"), [(0, 1.0), (1, 2.0)])))
    assert view(made)["count"].tolist() == [0, 2, 0]


@pytest.mark.parametrize(("seen", "refused"), [(15, 0), (16, 0), (17, 1)])
def test_buckets_beyond_the_cap_are_refused_counted_and_flagged(seen, refused):
    """The second row's block of eight words is the last that fits."""
    made = fed(Quantile("x"), [(0, 2.0**i) for i in range(8)], max_bytes=8 * (2 + 4 + 8 + 8 + 2))
    feed(made, [(1, 2.0**i) for i in range(seen - 8)])
    assert made.counters["elements_refused"] == refused
    state = view(made)
    assert (int(state["count"].sum()), state["saturated"].tolist()) == (seen - refused, [False, bool(refused), False])
    feed(made, [(0, 1.0), (1, 1.0)])  # known buckets need no room
    assert made.counters["elements_refused"] == refused
    other = merged(Quantile("x"), view(made))
    assert [each.saturated for each in Quantile("x").results(np.zeros(3, HEADER), view(other))] == [
        False,
        bool(refused),
        False,
    ]


def test_counts_end_at_their_limit():
    most = 2**46
    state = view(fed(Quantile("x"), [(0, 1.0)])) | {"counts": np.array([most - 1])}
    for more, count in [(0, most - 1), (1, most), (2, most)]:
        made = merged(Quantile("x"), state)
        feed(made, [(0, 1.0)] * more)
        assert view(made)["counts"].tolist() == [count]
    assert view(merged(Quantile("x"), state, state))["counts"].tolist() == [most]


def hostile():
    good = view(fed(Quantile("x"), [(0, 1.0), (0, 2.0), (1, 3.0)]))
    most = Quantile("x").most
    yield "nothing", {}
    for name in good:
        yield f"no {name}", {other: array for other, array in good.items() if other != name}
        yield f"float {name}", good | {name: good[name].astype(np.float32)}
        yield f"flat {name}", good | {name: np.stack([good[name], good[name]], axis=1)}
        yield f"short {name}", good | {name: good[name][:-1]}
    yield "negative count", good | {"count": np.array([4, -1, 0])}
    yield "too many", good | {"count": np.array([2**62, 2**62, 3])}
    for count in (0, -1, 2**46 + 1, -(2**63)):
        yield f"counted {count}", good | {"counts": np.array([1, count, 1])}
    for bucket in (-(2**63), 2**63 - 1, most + 1):
        yield f"bucket {bucket}", good | {"buckets": np.array([1, 2, bucket])}
    yield "below", good | {"buckets": np.array([-most - 1, 2, 1])}
    yield "twice", good | {"buckets": np.array([7, 7, 8])}
    yield "descending", good | {"buckets": np.array([8, 7, 9])}


@pytest.mark.parametrize(("what", "states"), list(hostile()), ids=lambda each: each if isinstance(each, str) else "")
def test_what_is_malformed_is_not_merged(what, states):
    made = fed(Quantile("x"), [(0, 9.0)])
    before = view(made)
    with pytest.raises(ValueError, match=r"QUANTILE|state"):
        made.merge(np.arange(3), states)
    assert_equal(view(made), before)


def test_rows_keep_their_buckets_under_another_number_and_forgotten_ones_give_back_their_room():
    made = fed(Quantile("x"), [(row, float(i + 1)) for row in range(3) for i in range(20)])
    before, held = view(made, [2]), made.nbytes
    made.renumber(np.array([-1, -1, 0]))
    state = np.empty(3, made.empty.dtype)
    state[:] = made.empty
    state[0] = made.state[2]
    made.attach(state)
    assert_equal(view(made, [0]), before)
    feed(made, [(row, float(i + 1)) for row in (1, 2) for i in range(20)])
    assert made.nbytes == held
    assert view(made)["count"].tolist() == [20, 20, 20]


def test_a_cleared_column_starts_over():
    made = fed(Quantile("x"), [(0, float(i)) for i in range(50)])
    made.clear()
    made.state[:] = made.empty
    assert view(made)["count"].tolist() == [0, 0, 0]
    feed(made, [(1, 3.0)])
    assert_equal(view(made), view(fed(Quantile("x"), [(1, 3.0)])))


@pytest.mark.parametrize(
    "options", [{"q": -0.01}, {"q": 1.01}, {"q": math.nan}, {"error": 0.0009}, {"error": 0.11}, {"error": math.nan}]
)
def test_an_option_out_of_range_is_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Quantile("x", **options).check()
    for q, error in [(0.0, 0.001), (1.0, 0.1)]:
        Quantile("x", q=q, error=error).check()
