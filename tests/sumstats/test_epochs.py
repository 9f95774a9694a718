"""Epochs on the packet clock: where they are cut, what ends them, and that batches do not matter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.sumstats import Crossings, Definition, EpochEnd, Sum, SumStats, Threshold, Unique
from tests.sumstats.reference import SECRET, arrays, words

laws = settings(max_examples=60, deadline=None, derandomize=True)
COUNT = Definition("count", 1, 10, (Sum("x"),), Threshold({"x": 3.0}))


def engine(*definitions, start=100, in_step=True):
    sumstats = SumStats(definitions or (COUNT,), in_step=in_step, secret=SECRET)
    assert sumstats.start(start) == []
    return sumstats


def observe(sumstats, ts, keys=None):
    ts = np.array(ts, np.int64)
    return sumstats.observe("count", words([1] * len(ts) if keys is None else keys), ts, {"x": None})


def told(happened):
    """What happened, in brief."""
    return [
        ("crossed", each.epoch, each.ts.tolist())
        if isinstance(each, Crossings)
        else ("ended", each.epoch, each.start, each.end, each.partial.headers[""]["num"].tolist())
        for each in happened
    ]


@pytest.mark.parametrize(("ts", "epoch"), [(109, 10), (110, 11), (111, 11)])
def test_an_observation_on_the_line_is_of_the_next_epoch(ts, epoch):
    sumstats = engine()
    observe(sumstats, [ts])
    (end,) = told(sumstats.finish(ts))
    assert end == ("ended", epoch, 10 * epoch, ts, [1])


def test_an_epoch_follows_another():
    assert told(observe(engine(), [100, 109, 110, 120])) == [("ended", 10, 100, 110, [2]), ("ended", 11, 110, 120, [1])]


@pytest.mark.parametrize("in_step", [True, False])
def test_epochs_are_cut_from_absolute_zero_wherever_the_clock_starts(in_step):
    sumstats = engine(start=107, in_step=in_step)
    assert told(observe(sumstats, [108, 111])) == [("ended", 10, 100, 110, [1])]


def test_the_clock_ends_an_epoch_though_nothing_is_observed():
    sumstats = engine()
    observe(sumstats, [105])
    assert sumstats.advance(109) == []
    assert told(sumstats.advance(110)) == [("ended", 10, 100, 110, [1])]
    assert sumstats.advance(110) == []


def test_a_leap_over_a_million_epochs_ends_one():
    sumstats = engine()
    observe(sumstats, [105])
    assert told(sumstats.advance(10_000_105)) == [("ended", 10, 100, 110, [1])]
    happened = told(observe(sumstats, [10_000_106, 90_000_000_000_000]))
    assert happened == [("ended", 1_000_010, 10_000_100, 10_000_110, [1])]


def test_the_last_epoch_ends_with_the_input():
    sumstats = engine()
    observe(sumstats, [105])
    assert told(sumstats.finish(107)) == [("ended", 10, 100, 107, [1])]
    assert sumstats.finish(107) == []


def test_a_key_crosses_once_an_epoch_and_again_in_the_next():
    happened = told(observe(engine(), [101, 102, 103, 104, 105, 106, 111, 112, 113]))
    assert happened == [("crossed", 10, [103]), ("ended", 10, 100, 110, [6]), ("crossed", 11, [113])]


def test_what_straddles_a_boundary_is_counted_on_both_sides():
    """Tumbling epochs, as Zeek's; hopping windows are to close this gap."""
    assert told(observe(engine(), [108, 109, 110, 111])) == [("ended", 10, 100, 110, [2])]


def test_a_crossing_tells_which_observation_of_the_batch_made_it():
    sumstats = engine()
    (_, crossing) = observe(sumstats, [105, 111, 112, 113, 114], [1, 2, 2, 2, 2])
    assert (crossing.at.tolist(), crossing.ts.tolist(), crossing.partial.keys.tolist()) == ([3], [113], [[2]])


def test_a_late_observation_is_counted_in_the_open_epoch():
    sumstats = engine()
    observe(sumstats, [112])
    observe(sumstats, [105, 113])
    assert told(sumstats.finish(115)) == [("ended", 11, 110, 115, [3])]
    assert sumstats.counters["count"]["late"] == 1


def test_a_restart_of_the_clock_ends_what_is_open_and_numbers_on():
    sumstats = engine()
    observe(sumstats, [111])
    sumstats.advance(114)
    assert told(sumstats.start(7)) == [("ended", 11, 110, 114, [1])]
    observe(sumstats, [8])
    assert told(sumstats.advance(12)) == [("ended", 12, 0, 10, [1])]
    assert told(sumstats.finish(13)) == [("ended", 13, 10, 13, [])]


def test_where_only_one_of_several_clocks_begins_anew_numbers_stay_those_of_the_time():
    sumstats = engine(in_step=False)
    observe(sumstats, [111])
    assert told(sumstats.start(17)) == [("ended", 11, 110, 111, [1])]
    assert told(sumstats.finish(19)) == [("ended", 1, 10, 19, [])]


def test_an_epoch_of_length_zero_ends_by_hand():
    sumstats = engine(Definition("count", 1, 0, (Sum("x"),)))
    observe(sumstats, [105, 900])
    assert sumstats.advance(10**15) == []
    assert told(sumstats.next_epoch("count", 950)) == [("ended", 0, 100, 950, [2])]
    assert told(sumstats.next_epoch("count", 960)) == [("ended", 1, 950, 960, [])]
    observe(sumstats, [970])
    assert told(sumstats.finish(980)) == [("ended", 2, 960, 980, [1])]
    with pytest.raises(ValueError):
        engine().next_epoch("count", 105)


def test_each_sumstat_keeps_its_own_epochs():
    slow = Definition("slow", 1, 25, (Unique("x"),))
    sumstats = engine(COUNT, slow)
    observe(sumstats, [104])
    sumstats.observe("slow", words([1]), np.array([104]), {"x": words([1])})
    assert [(end.sumstat, end.epoch, end.end) for end in sumstats.advance(130)] == [
        ("count", 10, 110),
        ("slow", 4, 125),
    ]


def test_counters_last_longer_than_an_epoch():
    sumstats = engine(Definition("count", 1, 10, (Sum("x"),), max_keys=1))
    observe(sumstats, [101, 102, 111, 112], [1, 2, 3, 4])
    counts = sumstats.counters["count"]
    assert (counts["observations"], counts["keys_evicted"], counts["observations_evicted"], counts["late"]) == (
        4,
        2,
        2,
        0,
    )


@laws
@given(
    steps=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2)), max_size=60),
    sizes=st.lists(st.integers(1, 9), max_size=20),
)
def test_batches_do_not_change_what_happens(steps, sizes):
    """With the clock advanced after each batch; crossings and ends, their order, and all they carry."""
    ts, keys = (100 + np.cumsum([step for step, _ in steps], dtype=np.int64)).tolist(), [key for _, key in steps]

    def run(sizes):
        sumstats, happened, start = engine(), [], 0
        for size in [*sizes, max(len(ts), 1)]:
            part = slice(start, start + size)
            happened += observe(sumstats, ts[part], keys[part])
            happened += sumstats.advance(ts[part][-1]) if ts[part] else []
            start += size
        happened += sumstats.finish(10_000)
        crossed = [
            (each.epoch, t, key)
            for each in happened
            if isinstance(each, Crossings)
            for t, key in zip(each.ts.tolist(), each.partial.keys.ravel().tolist(), strict=True)
        ]
        ends = [each for each in happened if isinstance(each, EpochEnd)]
        return crossed, [(each.epoch, each.start, each.end, arrays(each.partial)) for each in ends]

    assert run(sizes) == run([1] * len(ts)) == run([])


def test_a_result_tells_when_things_were_seen_and_the_epoch_when_they_happened():
    sumstats = engine()
    ts, seen = np.array([111, 112], np.int64), np.array([104, 109], np.int64)
    assert told(sumstats.observe("count", words([1, 1]), ts, {"x": None}, seen=seen)) == [("ended", 10, 100, 110, [])]
    (end,) = sumstats.finish(112)
    assert (end.epoch, end.partial.headers[""]["begin"].tolist(), end.partial.headers[""]["end"].tolist()) == (
        11,
        [104],
        [109],
    )


@pytest.mark.parametrize("keys", [1, 100, 1000, 5000])
def test_an_epoch_of_many_keys_and_one_of_few_are_alike(keys):
    definition = Definition("count", 1, 10, (Sum("x"), Unique("u", "u")), Threshold({"x": 3.0}))
    sumstats = engine(definition)
    for epoch, count in enumerate([keys, 1, 1, keys, 2]):
        who = np.tile(np.arange(count), 3)
        ts = np.full(len(who), 100 + 10 * epoch)
        happened = sumstats.observe("count", words(who), ts, {"x": None, "u": words(who)})
        *ends, crossing = happened
        assert [len(end.partial) for end in ends] == ([] if epoch == 0 else [[keys, 1, 1, keys, 2][epoch - 1]])
        assert crossing.partial.keys[:, 0].tolist() == list(range(count))
        assert crossing.partial.states["u"]["count"].tolist() == [1] * count
