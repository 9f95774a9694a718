"""ENTROPY: that of the counts, exact in any order, also of the elements of lowest priority where there are too many."""

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.hash import hash_words
from sensor.sumstats.calculation import HEADER, RowBatch, Setting
from sensor.sumstats.calculations.entropy import Entropy
from sensor.sumstats.double_double import add

laws = settings(max_examples=60, deadline=None, derandomize=True)
observations = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40)), max_size=250)
few = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=250)
limits = st.sampled_from([0, 1, 2, 5, 12])
KEY = np.array([3, 4], np.uint64)


def column(reducer, *, rows=3, max_bytes=1 << 24, secret=1):
    made = reducer.column(Setting(np.array([secret, 2], np.uint64), KEY, max_bytes))
    state = np.empty(rows, made.empty.dtype)
    state[:] = made.empty
    made.attach(state)
    return made


def feed(into, observed, *, applies=None, watch=False, words=1):
    rows = np.array([row for row, _ in observed], np.int64)
    taken = np.ones(len(rows), np.bool_) if applies is None else np.array(applies, np.bool_)
    elements = np.zeros((len(observed), words), np.uint64)
    elements[:, -1] = [element for _, element in observed]
    return into.update(RowBatch(rows, np.arange(len(rows)), taken), elements, watch=watch)


def fed(reducer, observed, *, batch=1000, **options):
    made = column(reducer, **options)
    for start in range(0, len(observed), batch):
        feed(made, observed[start : start + batch], words=reducer.words)
    return made


def view(of, rows=(0, 1, 2)):
    rows = np.array(rows, np.int64)
    return of.view(rows, of.measure(rows))


def merged(reducer, *views, secret=1):
    into = column(reducer, secret=secret)
    for each in views:
        into.merge(np.arange(3), each)
    return into


def assert_equal(got, want):
    assert got.keys() == want.keys()
    for name in want:
        assert got[name].dtype == want[name].dtype
        np.testing.assert_array_equal(got[name], want[name])


def assert_same(got, want):
    """The same views, and the same sums beside them, to the last bit."""
    assert_equal(view(got), view(want))
    assert_equal(got.measure(np.arange(3)), want.measure(np.arange(3)))


def results(reducer, of):
    return reducer.results(np.zeros(3, HEADER), view(of))


def priority(element):
    return int(hash_words(KEY, np.array([element], np.uint64)))


def counted(elements, limit=0):
    """How often each element came, of those of lowest priority, and whether there were more."""
    counts = Counter(elements)
    kept = sorted(counts, key=lambda element: (priority(element), element))[: limit or None]
    return {element: counts[element] for element in kept}, len(counts) > len(kept)


def entropy(counts):
    """By the terms -p * log2(p), of exact p."""
    total = sum(counts)
    return -sum(float(Fraction(count, total)) * math.log2(Fraction(count, total)) for count in counts)


def assert_counts(state, of_rows):
    """A view holds these counts of elements, in this order."""
    flat = [pair for counts in of_rows for pair in counts.items()]
    assert state["count"].tolist() == [len(counts) for counts in of_rows]
    assert list(zip(state["elements"][:, -1].tolist(), state["counts"].tolist(), strict=True)) == flat


@laws
@given(observed=st.one_of(observations, few), limit=limits)
def test_results_are_what_exact_counting_says(observed, limit):
    reducer = Entropy("x", max=limit)
    made = fed(reducer, observed)
    expected = [counted([element for other, element in observed if other == row], limit) for row in range(3)]
    assert_counts(view(made), [counts for counts, _ in expected])
    for result, value, (counts, over) in zip(
        results(reducer, made), reducer.values(np.zeros(3), made.measure(np.arange(3))).tolist(), expected, strict=True
    ):
        assert (result.unique, result.saturated) == (len(counts), over)
        if counts:
            assert math.isclose(result.entropy, entropy(counts.values()), rel_tol=1e-11, abs_tol=1e-12)
            assert value == result.entropy
        else:
            assert result.entropy is None and math.isnan(value)


@laws
@given(observed=st.one_of(observations, few), limit=limits, data=st.data())
def test_each_observation_notes_the_entropy_right_after_it(observed, limit, data):
    reducer = Entropy("x", max=limit)
    applies = data.draw(st.lists(st.booleans(), min_size=len(observed), max_size=len(observed)))
    made, seen = column(reducer), {0: [], 1: [], 2: []}
    notes = reducer.values(np.zeros(len(observed)), feed(made, observed, applies=applies, watch=True)).tolist()
    for (row, element), applied, note in zip(observed, applies, notes, strict=True):
        seen[row] += [element] * applied
        counts, _ = counted(seen[row], limit)
        assert math.isclose(note, entropy(counts.values()), rel_tol=1e-11, abs_tol=1e-12) if counts else note != note
    assert feed(made, observed) == {}


@laws
@given(
    observed=st.one_of(observations, few),
    limit=limits,
    parts=st.integers(1, 16),
    batch=st.sampled_from([1, 7, 1000]),
    data=st.data(),
)
def test_any_split_and_any_batches_and_secret_give_the_whole_also_over_max(observed, limit, parts, batch, data):
    """To the last bit of the sums, which saw the observations in other orders."""
    reducer = Entropy("x", max=limit)
    order = data.draw(st.permutations(range(parts)))
    views = [view(fed(reducer, observed[part::parts], batch=batch, secret=part)) for part in order]
    assert_same(merged(reducer, *views, secret=77), fed(reducer, observed))


@pytest.mark.parametrize("limit", [0, 100, 1500])
def test_any_split_of_many_elements_gives_the_whole(limit):
    reducer, rng = Entropy("x", max=limit), np.random.default_rng(1)
    observed = list(
        zip((np.arange(20_000) % 3).tolist(), rng.lognormal(5, 2, 20_000).astype(int).tolist(), strict=True)
    )
    whole = fed(reducer, observed, batch=8192)
    assert_counts(view(whole), [counted([e for o, e in observed if o == row], limit)[0] for row in range(3)])
    for parts in (1, 2, 5, 16):
        assert_same(merged(reducer, *(view(fed(reducer, observed[part::parts])) for part in range(parts))), whole)


@laws
@given(parts=st.tuples(observations, observations, observations), limit=limits)
def test_merging_is_commutative_and_associative_and_nothing_is_its_identity(parts, limit):
    reducer = Entropy("x", max=limit)
    a, b, c = (view(fed(reducer, part)) for part in parts)
    nothing = view(column(reducer))
    assert_same(merged(reducer, a, b), merged(reducer, b, a))
    left, right = view(merged(reducer, a, b)), view(merged(reducer, b, c))
    assert_same(merged(reducer, left, c), merged(reducer, a, right))
    assert_same(merged(reducer, nothing, a, nothing), fed(reducer, parts[0]))


def test_terms_that_are_added_and_subtracted_leave_no_rest():
    """The sum is the exact one of its terms, however many steps led there."""
    rng, high, low = np.random.default_rng(2), 0.0, 0.0
    counts = [1] * 40
    for place in rng.integers(0, 40, 30_000).tolist():
        counts[place] += 1
    made = fed(Entropy("x"), [(0, place) for place, count in enumerate(counts) for _ in range(count)], batch=8192)
    terms = sorted(count * float(np.log2(np.float64(count))) for count in counts)
    for term in terms:
        high, low = add(high, low, term)
    exact = sum(map(Fraction, terms))
    got = made.measure(np.array([0]))
    assert Fraction(high) + Fraction(low) == Fraction(float(got["high"][0])) + Fraction(float(got["low"][0])) == exact


@pytest.mark.parametrize("times", [1, 3, 7, 1000])
@pytest.mark.parametrize("distinct", [1, 2, 8, 64])
def test_elements_that_come_equally_often_reach_a_round_threshold(distinct, times):
    reducer = Entropy("x")
    made = fed(reducer, [(0, element) for _ in range(times) for element in range(distinct)], batch=8192)
    assert reducer.values(np.zeros(1), made.measure(np.array([0]))).tolist() == [math.log2(distinct)]


def test_elements_that_differ_in_their_last_word_are_two():
    reducer = Entropy("x", words=3)
    (result, _, _) = results(reducer, fed(reducer, [(0, 1), (0, 2), (0, 1), (0, 2)]))
    assert (result.unique, result.entropy) == (2, 1.0)


@pytest.mark.parametrize(("seen", "unique", "saturated"), [(4, 4, False), (5, 5, False), (6, 5, True)])
def test_a_key_counts_max_elements_and_no_more(seen, unique, saturated):
    reducer = Entropy("x", max=5)
    (result, _, _) = results(reducer, fed(reducer, [(0, element) for element in range(seen)]))
    assert (result.unique, result.saturated) == (unique, saturated)


@pytest.mark.parametrize("order", [1, -1])
def test_what_is_kept_does_not_depend_on_whether_the_bar_had_to_fall(order):
    """Elements by priority, up and down: each is refused, or each makes another give way."""
    reducer = Entropy("x", max=20)
    elements = sorted(range(500), key=priority)[::order]
    made = fed(reducer, [(0, element) for element in elements for _ in range(3)])
    assert_counts(view(made), [counted([*range(500)] * 3, 20)[0], {}, {}])


@pytest.mark.parametrize(("seen", "refused"), [(5, 0), (6, 0), (7, 1)])
def test_elements_beyond_the_cap_are_refused_counted_and_flagged(seen, refused):
    """Six elements fill a block of eight slots; for one of sixteen there is no room."""
    made = fed(Entropy("x"), [(0, element) for element in range(seen)], max_bytes=8 * (4 + 8 + 16))
    assert made.counters["elements_refused"] == refused
    assert (view(made)["count"].tolist(), view(made)["saturated"].tolist()) == ([seen - refused, 0, 0], [refused, 0, 0])
    feed(made, [(0, 1)] * 5)  # one that is known needs no room
    assert made.counters["elements_refused"] == refused
    assert view(merged(Entropy("x"), view(made)))["saturated"].tolist() == [refused, 0, 0]
    feed(made, [(1, element) for element in range(3)])  # there is in the blocks that the first key has outgrown
    assert (view(made)["count"].tolist(), made.counters["elements_refused"]) == ([seen - refused, 3, 0], refused)


def test_counts_end_at_their_limit_and_the_key_is_flagged():
    most = 2**62
    state = view(fed(Entropy("x"), [(0, 1)])) | {"counts": np.array([most - 1])}
    for more, count, flag in [(0, most - 1, False), (1, most, False), (2, most, True)]:
        made = merged(Entropy("x"), state)
        feed(made, [(0, 1)] * more)
        assert (view(made)["counts"].tolist(), view(made)["saturated"].tolist()[0]) == ([count], flag)
    made = merged(Entropy("x"), state, state, state)
    assert (view(made)["counts"].tolist(), view(made)["saturated"].tolist()[0]) == ([most - 1], True)


def hostile():
    good = view(fed(Entropy("x", max=3), [(0, 1), (0, 2), (1, 3)]))
    yield "nothing", {}
    for name in good:
        yield f"no {name}", {other: array for other, array in good.items() if other != name}
        yield f"float {name}", good | {name: good[name].astype(np.float32)}
        yield f"deep {name}", good | {name: np.stack([good[name], good[name]], axis=1)}
        yield f"short {name}", good | {name: good[name][:-1]}
    yield "flat elements", good | {"elements": good["elements"].ravel()}
    yield "wide elements", good | {"elements": np.repeat(good["elements"], 2, axis=1)}
    yield "negative count", good | {"count": np.array([4, -1, 0])}
    yield "too many", good | {"count": np.array([2**62, 2**62, 3])}
    for count in (0, -1, 2**62 + 1, -(2**63)):
        yield f"counted {count}", good | {"counts": np.array([1, count, 1])}
    yield "twice", good | {"elements": good["elements"][[0, 0, 2]]}
    yield "descending", good | {"elements": good["elements"][[1, 0, 2]]}
    yield "over max", view(fed(Entropy("x"), [(0, element) for element in range(4)]))


@pytest.mark.parametrize(("what", "states"), list(hostile()), ids=lambda each: each if isinstance(each, str) else "")
def test_what_is_malformed_is_not_merged(what, states):
    made, same = (fed(Entropy("x", max=3), [(0, 9)]) for _ in range(2))
    with pytest.raises(ValueError, match=r"ENTROPY|state"):
        made.merge(np.arange(3), states)
    assert_same(made, same)


def test_a_row_that_was_dropped_is_passed_over():
    made = fed(Entropy("x"), [(-1, 3), (1, 4)])
    made.merge(np.array([-1, 1, -1]), view(fed(Entropy("x"), [(0, 1), (1, 2)])))
    assert view(made)["count"].tolist() == [0, 2, 0]


def test_rows_keep_their_elements_under_another_number_and_forgotten_ones_give_back_their_room():
    made = fed(Entropy("x"), [(row, i) for row in range(3) for i in range(20)])
    before, held = view(made, [2]), made.nbytes
    made.renumber(np.array([-1, -1, 0]))
    state = np.empty(3, made.empty.dtype)
    state[:] = made.empty
    state[0] = made.state[2]
    made.attach(state)
    assert_equal(view(made, [0]), before)
    feed(made, [(row, i) for row in (1, 2) for i in range(20)])
    assert made.nbytes == held
    assert view(made)["count"].tolist() == [20, 20, 20]


def test_a_cleared_column_starts_over():
    made = fed(Entropy("x", max=7), [(0, i) for i in range(50)])
    made.clear()
    made.state[:] = made.empty
    assert view(made)["count"].tolist() == [0, 0, 0]
    feed(made, [(1, 3)])
    assert_same(made, fed(Entropy("x"), [(1, 3)]))


@pytest.mark.parametrize("options", [{"words": 0}, {"max": -1}, {"max": 2**31}])
def test_an_option_out_of_range_is_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Entropy("x", **options).check()
    Entropy("x", words=2, max=1).check()
