"""Epochs that are reduced many at a time, against the same observations given one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.sumstats import CALCULATIONS, Definition, EpochEnd, EpochEnds, Selection, Series, SumStats, results
from sensor.sumstats.series import MOST_EPOCHS
from tests.sumstats.reference import SECRET, arrays, observed, words

HOP, PANES, NAME = 10, 3, "quiet"
ALL = tuple(calculation(calculation.calculation.lower()) for calculation in CALCULATIONS)
HOPPING = Definition(NAME, 1, HOP * PANES, ALL, hop_ns=HOP)
PLAIN = Definition(NAME, 1, HOP, ALL)


def run(definition, observations, batch):
    """What ends, one by one, how often that was told, and the engine: observations are (time, key, value)."""
    engine, told = SumStats([definition], secret=SECRET, members=0), []
    engine.start(0)
    for start in range(0, len(observations), batch):
        ts, keys, values = zip(*observations[start : start + batch], strict=True)
        told += engine.observe(NAME, words(list(keys)), np.array(ts), observed(definition, list(values)))
    answer = results(definition, engine.answer(NAME, Selection()))
    told += engine.finish(observations[-1][0])
    ends = [end for each in told for end in (each.singly() if isinstance(each, EpochEnds) else [each])]
    return ends, len(told), engine, answer


def shown(end):
    return end.epoch, end.following, end.start, end.end, end.lost, len(end.partial), arrays(end.partial)


def each_pane(n, length=HOP):
    return [(at * length + k, k % 3, float(at + k)) for at in range(n) for k in range(4)]


def quiet(n=40):
    """A series of `n` epochs."""
    ends = run(PLAIN, each_pane(n + 2), 10**6)
    engine = SumStats([PLAIN], secret=SECRET, members=0)
    engine.start(0)
    ts, keys, values = zip(*each_pane(n + 2), strict=True)
    told = engine.observe(NAME, words(list(keys)), np.array(ts), observed(PLAIN, list(values)))
    [series] = [each for each in told if isinstance(each, EpochEnds)]
    assert len(ends[0]) == n + 2
    return series


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    steps=st.lists(st.tuples(st.integers(-8, 25), st.integers(0, 2), st.integers(1, 4)), min_size=1, max_size=80),
    batch=st.integers(5, 90),
    definition=st.sampled_from([HOPPING, PLAIN]),
)
def test_epochs_are_the_same_one_by_one_and_many_at_a_time_for_every_calculation(steps, batch, definition):
    """Steps back are late for the epoch that is open, and leaps leave some out."""
    ts = np.maximum(np.cumsum([step for step, _, _ in steps]), 0).tolist()
    observations = [(at, key, float(value)) for at, (_, key, value) in zip(ts, steps, strict=True)]
    one_by_one, at_once = run(definition, observations, 1), run(definition, observations, batch)
    assert [shown(each) for each in at_once[0]] == [shown(each) for each in one_by_one[0]]
    assert at_once[2].counters == one_by_one[2].counters
    assert at_once[3] == one_by_one[3]


@pytest.mark.parametrize(("most", "told"), [(64, 3), (65, 5)])
def test_a_busy_epoch_is_told_by_itself(most, told):
    """It is amid epochs of one observation; the first and the last are always by themselves."""
    counts = [1, 1, 1, most, 1, 1, 1]
    observations = [(at * HOP, k, 1.0) for at, count in enumerate(counts) for k in range(count)]
    ends, times, _, _ = run(PLAIN, observations, 10**6)
    assert [len(end.partial) for end in ends] == counts
    assert times == told


def test_keys_that_are_silenced_do_not_count_in_epochs_that_come_at_once():
    engine = SumStats([HOPPING], secret=SECRET, members=0)
    engine.start(0)
    engine.silence(NAME, words([1]), 60 * HOP)
    ts, keys, values = zip(*each_pane(50), strict=True)
    ends = engine.observe(NAME, words(list(keys)), np.array(ts), observed(HOPPING, list(values)))
    assert all(isinstance(each, EpochEnd) for each in ends)
    assert {key for end in ends[1:] for key in end.partial.keys[:, 0].tolist()} == {0, 2}


def test_halves_are_the_same_epochs():
    series = quiet(41)
    first, second = series.halves()
    assert (len(first.series), len(second.series)) == (20, 21)
    whole = [shown(each) for each in series.singly()]
    assert [shown(each) for half in (first, second) for each in half.singly()] == whole


@pytest.mark.parametrize(
    "epochs",
    [[], [2, 1], [1, 1], [2], [1, 3], list(range(1, MOST_EPOCHS + 2))],
    ids=["none", "descending", "twice", "a key before", "a key between", "too many"],
)
def test_what_is_no_series_is_refused(epochs):
    whole = quiet(2).series.whole
    assert len(Series(PLAIN, np.array([1, 2, 3]), whole)) == 3
    with pytest.raises(ValueError, match="a series"):
        Series(PLAIN, np.array(epochs, np.int64), whole)
