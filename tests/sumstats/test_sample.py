"""SAMPLE: every observation is as likely to be drawn as any other, from a whole as from parts."""

import numpy as np

from sensor.sumstats.calculation import HEADER
from sensor.sumstats.calculations.sample import Sample, Sampled
from tests.sumstats.test_bottom_k import column, elements_of, feed, merged, view

SIZE, SEEN, KEYS = 3, 105, 4000


def chi_square(counts):
    """How far counts lie from uniform, in standard deviations of the statistic."""
    expected = counts.sum() / len(counts)
    statistic = ((counts - expected) ** 2).sum() / expected
    freedom = len(counts) - 1
    return (statistic - freedom) / np.sqrt(2 * freedom)


def observed(keys=KEYS, seen=SEEN):
    """For every key `seen` observations at times of its own, in time order: rows, ts, and elements 0 to `seen`."""
    rows, elements = np.tile(np.arange(keys), seen), np.repeat(np.arange(seen), keys)
    return rows, elements * 1000 + rows * 1_000_000, elements


def drawn(made, keys=KEYS, seen=SEEN):
    """How often each element was drawn."""
    return np.bincount(view(made, keys)["elements"].ravel().astype(np.int64), minlength=seen)


def test_every_observation_of_a_whole_is_as_likely():
    counts = drawn(feed(column(Sample("x", size=SIZE), KEYS), *observed()))
    assert counts.sum() == SIZE * KEYS
    assert abs(chi_square(counts)) < 4


def test_every_observation_is_as_likely_in_a_merge_of_unequal_parts():
    """100 and 5: Zeek's merge of two reservoirs draws from these with odds that depend on which is longer."""
    rows, ts, elements = observed()
    reducer = Sample("x", size=SIZE)
    parts = [
        feed(column(reducer, KEYS), rows[part], ts[part], elements[part]) for part in (elements < 100, elements >= 100)
    ]
    both = merged(reducer, *parts, rows=KEYS)
    counts = drawn(both)
    assert counts.sum() == SIZE * KEYS
    assert abs(chi_square(counts)) < 4
    share = counts[100:].sum() / counts.sum()
    assert abs(share - 5 / 105) < 4 * np.sqrt(5 / 105 * 100 / 105 / (SIZE * KEYS))
    whole = feed(column(reducer, KEYS), rows, ts, elements)
    assert elements_of(both, KEYS) == elements_of(whole, KEYS)


def test_every_set_of_observations_is_as_likely_as_any_other():
    """Not only each alone: all 20 ways to draw 3 of 6."""
    made = feed(column(Sample("x", size=3), KEYS), *observed(seen=6))
    sets = 1 << view(made, KEYS)["elements"].reshape(KEYS, 3).astype(np.int64)
    _, counts = np.unique(sets.sum(axis=1), return_counts=True)
    assert len(counts) == 20
    assert abs(chi_square(counts)) < 4


def test_every_observation_is_as_likely_under_every_key_of_the_hash():
    counts = np.zeros(20, np.int64)
    for seed in range(3000):
        made = column(Sample("x", size=SIZE), 1, 1 << 13, key=np.array([seed, 7], np.uint64))
        counts += drawn(feed(made, [0] * 20, [5] * 20, range(20)), 1, 20)
    assert abs(chi_square(counts)) < 4


def test_equal_elements_at_one_time_are_drawn_one_by_one():
    """Of 20 observations at one time, every second of the same element, half of what is drawn is that."""
    rows = np.repeat(np.arange(KEYS), 20)
    elements = np.tile([0, 1], len(rows) // 2)
    made = feed(column(Sample("x", size=SIZE), KEYS), rows, rows, elements)
    ones = view(made, KEYS)["elements"].reshape(KEYS, SIZE).sum(axis=1).astype(np.int64)
    ways = np.array([120, 450, 450, 120]) / 1140
    statistic = ((np.bincount(ones, minlength=4) - KEYS * ways) ** 2 / (KEYS * ways)).sum()
    assert statistic < 16.3  # 3 degrees of freedom: one in a thousand lies above


def test_a_key_that_saw_no_more_than_its_size_keeps_all():
    for seen in (1, 4, 5):
        made = feed(column(Sample("x"), 1), [0] * seen, range(seen), range(seen))
        assert sorted(elements_of(made, 1)[0]) == [(element,) for element in range(seen)]
    made = feed(column(Sample("x"), 1), [0] * 6, range(6), range(6))
    assert len(elements_of(made, 1)[0]) == 5


def test_priorities_ascend_and_what_is_above_the_last_of_a_full_key_is_refused_at_once():
    made = feed(column(Sample("x", size=SIZE), 100), *observed(100))
    priorities = view(made, 100)["priorities"].reshape(100, SIZE)
    assert (priorities[:, :-1] < priorities[:, 1:]).all()
    assert made.state["bar"].tolist() == priorities[:, -1].tolist()
    all_of_them = feed(column(Sample("x", size=SEEN), 100), *observed(100))
    assert (view(all_of_them, 100)["priorities"].reshape(100, SEEN)[:, :SIZE] == priorities).all()


def test_the_result_says_how_many_were_seen_and_which_were_drawn():
    reducer = Sample("x", words=2, size=2)
    made = feed(column(reducer, 2), [0, 0], [1, 2], [[1, 10], [2, 20]])
    headers = np.array([(2, 1, 2), (0, 0, 0)], HEADER)
    first, second = reducer.results(headers, view(made, 2))
    assert first == Sampled(2, 1, 2, 2, tuple(elements_of(made, 2)[0]), False)
    assert sorted(first.samples) == [(1, 10), (2, 20)]
    assert second == Sampled(0, 0, 0, 0, (), False)
