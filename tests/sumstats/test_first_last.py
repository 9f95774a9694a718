"""FIRST and LAST: by the time of the observation, whoever told it and when."""

import numpy as np
import pytest

from sensor.sumstats.calculation import HEADER
from sensor.sumstats.calculations.first_last import Earliest, First, Last, Latest
from tests.sumstats.test_bottom_k import column, feed, merged, same, view

EARLIEST, LATEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


def told(reducer, *seen, rows=1):
    """A column of one row that has taken (ts, element) each."""
    return feed(column(reducer, rows), [0] * len(seen), [ts for ts, _ in seen], [element for _, element in seen])


def shown(reducer, made):
    """The elements of its row, as the result shows them."""
    (result,) = reducer.results(np.zeros(1, HEADER), view(made, 1))
    elements = result.last_elements if isinstance(result, Latest) else result.first_elements
    return [element for (element,) in elements]


@pytest.mark.parametrize(
    ("left", "right", "size", "newest", "oldest"),
    [
        ([(0, 10)], [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)], 5, [1, 2, 3, 4, 5], [10, 1, 2, 3, 4]),
        ([(0, 10), (2, 12), (4, 14)], [(1, 1), (3, 3), (5, 5)], 3, [3, 14, 5], [10, 1, 12]),
        ([(7, 10), (8, 11), (9, 12)], [(1, 1), (2, 2), (3, 3)], 3, [10, 11, 12], [1, 2, 3]),
        ([], [(1, 1), (2, 2)], 5, [1, 2], [1, 2]),
    ],
)
def test_a_merge_takes_the_newest_of_both_where_zeeks_does_not(left, right, size, newest, oldest):
    for reducer, expected in ((Last("x", size=size), newest), (First("x", size=size), oldest)):
        for one, other in ((left, right), (right, left)):
            both = merged(reducer, told(reducer, *one), told(reducer, *other), rows=1)
            assert shown(reducer, both) == expected


@pytest.mark.parametrize(("seen", "size"), [(4, 5), (5, 5), (6, 5), (3, 1)])
def test_the_last_and_the_first_are_shown_oldest_first(seen, size):
    observations = [(ts, ts + 100) for ts in range(seen)]
    elements = [element for _, element in observations]
    last, first = Last("x", size=size), First("x", size=size)
    assert shown(last, told(last, *observations)) == elements[-size:]
    assert shown(first, told(first, *observations)) == elements[:size]


def test_what_comes_late_finds_its_place():
    late = [(5, 50), (1, 10), (9, 90), (3, 30), (7, 70)]
    assert shown(Last("x", size=3), told(Last("x", size=3), *late)) == [50, 70, 90]
    assert shown(First("x", size=3), told(First("x", size=3), *late)) == [10, 30, 50]


def test_arrival_decides_among_equal_times_however_the_elements_sort():
    at_once = [(4, 9), (4, 1), (4, 7), (4, 3)]
    assert shown(Last("x", size=2), told(Last("x", size=2), *at_once)) == [7, 3]
    assert shown(First("x", size=2), told(First("x", size=2), *at_once)) == [9, 1]


def test_numbers_and_then_elements_decide_among_equal_times_of_several_nodes():
    reducer = Last("x", size=3)
    one, other = told(reducer, (4, 9), (4, 1)), told(reducer, (4, 5), (4, 8))
    assert shown(reducer, merged(reducer, one, other, rows=1)) == [9, 1, 8]
    assert shown(reducer, merged(reducer, other, one, rows=1)) == [9, 1, 8]


def test_no_time_is_too_early_or_too_late():
    extremes = [(0, 1), (LATEST, 2), (EARLIEST, 3), (-1, 4), (EARLIEST, 5), (LATEST, 6)]
    for reducer in (Last("x", size=6), First("x", size=6)):
        made = told(reducer, *extremes)
        assert shown(reducer, made) == [3, 5, 4, 1, 2, 6]
        assert same(merged(reducer, made, rows=1), made, 1)
    assert shown(Last("x", size=2), told(Last("x", size=2), *extremes)) == [2, 6]
    assert shown(First("x", size=2), told(First("x", size=2), *extremes)) == [3, 5]


def test_the_view_says_when_each_was_observed():
    made = told(Last("x", size=3), (-4, 2**64 - 1), (-4, 0), (-5, 3))
    viewed = view(made, 1)
    assert viewed["ts"].tolist() == [-4, -4, -5]
    assert viewed["order"].tolist() == [1, 0, 0]
    assert viewed["elements"].tolist() == [[0], [2**64 - 1], [3]]


@pytest.mark.parametrize(("order", "is_refused"), [(-1, True), (0, False), (2**31 - 1, False), (2**31, True)])
@pytest.mark.parametrize("reducer", [Last("x"), First("x")], ids=lambda reducer: reducer.calculation)
def test_an_order_that_no_node_gives_is_refused(reducer, order, is_refused):
    states = view(told(reducer, (1, 1)), 1) | {"order": np.array([order])}
    into = column(reducer, 1)
    if is_refused:
        with pytest.raises(ValueError, match="order of an element"):
            into.merge(np.arange(1), states)
    else:
        into.merge(np.arange(1), states)
        assert view(into, 1)["order"].tolist() == [order]


def test_results_carry_their_header_and_all_words():
    for reducer, result in ((Last("x", words=2), Latest), (First("x", words=2), Earliest)):
        made = feed(column(reducer, 2), [0], [5], [[1, 2**64 - 1]])
        headers = np.array([(1, 5, 5), (0, 0, 0)], HEADER)
        assert reducer.results(headers, view(made, 2)) == [
            result(1, 5, 5, ((1, 2**64 - 1),), False),
            result(0, 0, 0, (), False),
        ]
