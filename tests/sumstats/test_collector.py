"""The collector: what several workers know, merged and judged once, whoever is late or missing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.sumstats import (
    CALCULATIONS,
    FUNCTION,
    Definition,
    EpochEnd,
    EpochResult,
    Merged,
    Selection,
    Store,
    Sum,
    SumStats,
    Threshold,
    results,
)
from sensor.sumstats.asked import ANSWERED
from tests.sumstats.reference import SECRET, assert_same, fed, observed, words
from tools.settling import Settling

laws = settings(max_examples=60, deadline=None, derandomize=True)

NAME, EPOCH = "t", 10
ALL = tuple(calculation(calculation.calculation.lower()) for calculation in CALCULATIONS)


def definition(*reducers, threshold=None, **options):
    return Definition(NAME, 1, EPOCH, reducers or (Sum("sum"),), threshold, **options)


def end(of, observations, epoch=0, following=None, **options):
    """The end of an epoch in which these (key, value) were observed."""
    partial = fed(of, observations).partial()
    following = epoch + 1 if following is None else following
    return EpochEnd(NAME, epoch, following, epoch * EPOCH, (epoch + 1) * EPOCH, partial, **options)


def sums(told):
    return {result.key[0]: result.sum.sum for result in results(definition(), told.partial)}


def crossed(told):
    return [
        (int(key), level, value)
        for each in told
        if isinstance(each, Merged)
        for key, level, value in zip(each.partial.keys[:, 0], each.level.tolist(), each.value.tolist(), strict=True)
    ]


def test_an_epoch_is_over_when_every_member_by_name_has_ended_it():
    collector = Settling(definition(), ["a", "b", "c"], SECRET)
    assert collector.deliver("a", end(definition(), [(1, 2.0)])) == []
    assert collector.deliver("a", end(definition(), [(1, 7.0)], epoch=1)) == []  # as often as it likes
    assert collector.deliver("b", end(definition(), [(1, 3.0), (2, 1.0)])) == []
    [told] = collector.deliver("c", end(definition(), []))
    assert (told.epoch, told.start, told.end, told.complete, told.missing) == (0, 0, 10, True, ())
    assert told.members == ("a", "b", "c")
    assert sums(told) == {1: 5.0, 2: 1.0}


def test_several_epochs_are_in_flight_and_end_in_order():
    collector = Settling(definition(), ["a", "b"], SECRET)
    for epoch in range(3):
        assert collector.deliver("a", end(definition(), [(1, 1.0)], epoch=epoch)) == []
    assert [each.epoch for each in collector.deliver("b", end(definition(), [], epoch=0, following=5))] == [0, 1, 2]


def test_a_member_that_leaps_over_epochs_has_nothing_to_say_of_them():
    collector = Settling(definition(), ["a", "b"], SECRET)
    collector.deliver("a", end(definition(), [(1, 1.0)], epoch=0, following=4))
    told = collector.deliver("b", end(definition(), [(1, 1.0)], epoch=2, following=4))
    assert [(each.epoch, sums(each)) for each in told] == [(0, {1: 1.0}), (2, {1: 1.0})]


def test_an_epoch_closed_at_its_deadline_names_who_is_missing_and_what_comes_later_is_counted():
    collector = Settling(definition(), ["a", "b", "c"], SECRET)
    collector.deliver("a", end(definition(), [(1, 2.0)]))
    [told] = collector.close(0)
    assert (told.complete, told.members, told.missing, sums(told)) == (False, ("a",), ("b", "c"), {1: 2.0})
    assert collector.deliver("b", end(definition(), [(1, 3.0)])) == []
    assert collector.counters["epochs_late"] == 1
    assert collector.close(0) == []
    assert [each.epoch for each in collector.close(7)] == []


def test_neither_a_worker_nor_the_collector_remembers_keys_for_ever():
    of = definition(threshold=Threshold({"sum": 1.0}))
    engine, collector = SumStats([of], secret=SECRET), Settling(of, ["a"], SECRET)
    engine.start(0)
    for epoch in range(40):
        for each in engine.observe(NAME, words([epoch]), np.array([epoch * EPOCH]), {"sum": None}):
            if isinstance(each, EpochEnd):
                collector.deliver("a", each)
            else:
                collector.peek(each.epoch, {"a": each.partial})
    assert len(engine._open[NAME].window._quiet.keys) <= 2
    assert len(collector._quiet.keys) <= 2
    assert len(collector._panes) <= 1


def test_every_key_of_every_member_is_judged_when_the_epoch_is_over():
    """A known fault of the original: it judged the keys of the last group of the last worker only."""
    of = definition(threshold=Threshold({"sum": 5.0}))
    collector = Settling(of, ["a", "b"], SECRET)
    collector.deliver("a", end(of, [(key, 3.0) for key in range(200)]))
    told = collector.deliver("b", end(of, [(key, 3.0) for key in range(0, 200, 2)]))
    assert sorted(crossed(told)) == [(key, 0, 6.0) for key in range(0, 200, 2)]
    assert isinstance(told[-1], EpochResult)  # after all crossings, once
    assert sum(isinstance(each, EpochResult) for each in told) == 1
    assert (told[0].members, told[0].missing, told[0].end) == (("a", "b"), (), 10)


def test_a_crossing_found_without_all_members_says_so():
    of = definition(threshold=Threshold({"sum": 5.0}))
    collector = Settling(of, ["a", "b"], SECRET)
    collector.deliver("a", end(of, [(1, 9.0)]))
    merged, result = collector.close(0)
    assert (merged.missing, result.missing) == (("b",), ("b",))


def test_a_crossing_of_a_window_says_who_is_missing_in_any_pane_of_it_and_in_no_other():
    of = Definition(NAME, 1, 30, (Sum("sum"),), Threshold({"sum": 5.0}), hop_ns=10)
    collector = Settling(of, ["a", "b"], SECRET)
    told = []
    for epoch in range(4):
        for member in ("a", "b") if epoch else ("a",):
            collector.apply(member, end(of, [(10 + epoch, 9.0)] if member == "a" else [(1, 1.0)], epoch=epoch))
        told += collector.close_epoch(epoch, () if epoch else ("b",))
    found = {each.epoch: (each.members, each.missing) for each in told if isinstance(each, Merged)}
    assert found == {
        0: (("a",), ("b",)),
        1: (("a", "b"), ("b",)),
        2: (("a", "b"), ("b",)),
        3: (("a", "b"), ()),
    }


@pytest.mark.parametrize("wants_results", [True, False])
def test_a_slow_member_loses_nothing_to_a_fast_one_that_fires_the_same_key_in_a_later_epoch(wants_results):
    of = definition(threshold=Threshold({"sum": 10.0}), wants_results=wants_results)
    collector = Settling(of, ["a", "b"], SECRET)
    collector.deliver("a", end(of, [(1, 6.0)], epoch=0))
    assert crossed(collector.peek(1, views(of, a=[(1, 6.0)], b=[(1, 6.0)]))) == [(1, 0, 12.0)]
    told = collector.deliver("b", end(of, [(1, 6.0)], epoch=0))
    assert crossed(told) == [(1, 0, 12.0)]
    told += collector.deliver("a", end(of, [(1, 6.0)], epoch=1)) + collector.deliver("b", end(of, [(1, 6.0)], epoch=1))
    assert [(each.epoch, *crossed([each])) for each in told if isinstance(each, Merged)] == [
        (0, (1, 0, 12.0)),
        (1, (1, 0, 12.0)),
    ]


def test_merging_gives_up_nothing_that_members_had_room_for():
    of = definition(threshold=Threshold({"sum": 10.0}), max_keys=4)
    collector = Settling(of, ["a", "b"], SECRET)
    collector.deliver("a", end(of, [(0, 5.0), (1, 1.0), (2, 1.0), (3, 1.0)]))
    told = collector.deliver("b", end(of, [(0, 6.0), (11, 1.0), (12, 1.0), (13, 1.0)]))
    assert crossed(told) == [(0, 0, 11.0)]
    assert (len(told[-1].partial), told[-1].complete) == (7, True)


def test_an_epoch_that_is_delivered_twice_counts_once():
    collector = Settling(definition(), ["a", "b"], SECRET)
    for _ in range(2):
        collector.deliver("a", end(definition(), [(1, 6.0)], lost=3))
    [told] = collector.deliver("b", end(definition(), [(1, 1.0)]))
    assert (sums(told), told.lost, collector.counters["epochs_repeated"]) == ({1: 7.0}, 3, 1)


def test_a_restart_of_one_member_ends_what_is_open_and_says_who_is_missing():
    collector = Settling(definition(), ["a", "b"], SECRET)
    collector.deliver("a", end(definition(), [(1, 6.0)], epoch=0))
    told = collector.deliver("b", end(definition(), [(1, 1.0)], epoch=0, following=1, restarts=True))
    assert [(each.epoch, sums(each), each.missing) for each in told] == [(0, {1: 7.0}, ())]
    collector.deliver("a", end(definition(), [(1, 6.0)], epoch=1))
    told = collector.deliver("a", end(definition(), [], epoch=2, restarts=True))
    assert [(each.epoch, sums(each), each.missing) for each in told] == [(1, {1: 6.0}, ("b",)), (2, {}, ("b",))]


def test_one_look_at_the_end_is_had_by_keys_that_had_none_where_that_is_all_that_zeek_gives():
    of = definition(threshold=Threshold({"sum": (3.0, 6.0)}, one_a_check=True))
    collector = Settling(of, ["a", "b"], SECRET)
    assert crossed(collector.peek(0, views(of, a=[(1, 1.0)], b=[(1, 9.0)]))) == [(1, 0, 10.0)]
    collector.deliver("a", end(of, [(1, 1.0), (2, 2.0)]))
    told = collector.deliver("b", end(of, [(1, 9.0), (2, 9.0)]))
    assert crossed(told) == [(1, 0, 10.0), (2, 0, 11.0)]  # the one that was asked about, and one that was not


def views(of, **observations):
    return {member: fed(of, each).partial() for member, each in observations.items()}


def test_a_joint_crossing_is_known_at_the_first_look_and_told_once_more_when_the_epoch_is_over():
    """Whatever a look has told, the end tells all levels that were reached, with their final figures."""
    of = definition(threshold=Threshold({"sum": (5.0, 50.0)}))
    collector = Settling(of, ["a", "b"], SECRET)
    assert crossed(collector.peek(0, views(of, a=[(1, 3.0)], b=[(1, 1.0)]))) == []
    assert crossed(collector.peek(0, views(of, a=[(1, 3.0)], b=[(1, 3.0)]))) == [(1, 0, 6.0)]
    assert crossed(collector.peek(0, views(of, a=[(1, 3.0)], b=[(1, 4.0)]))) == []
    collector.deliver("a", end(of, [(1, 3.0)]))
    assert crossed(collector.deliver("b", end(of, [(1, 60.0)]))) == [(1, 0, 63.0), (1, 1, 63.0)]
    assert crossed(collector.peek(0, views(of, a=[(1, 99.0)]))) == []  # a view of an epoch that is over
    assert crossed(collector.peek(1, views(of, a=[(1, 5.0)]))) == [(1, 0, 5.0)]  # the next epoch


@pytest.mark.parametrize(("value", "again"), [(8.9, []), (9.0, [(1, 0, 9.0)]), (60.0, [(1, 0, 60.0), (1, 1, 60.0)])])
def test_a_level_is_asked_about_again_when_its_value_has_grown_by_half(value, again):
    of = definition(threshold=Threshold({"sum": (5.0, 50.0)}))
    collector = Settling(of, ["a", "b"], SECRET)
    assert crossed(collector.peek(0, views(of, a=[(1, 3.0)], b=[(1, 3.0)]))) == [(1, 0, 6.0)]
    assert crossed(collector.peek(0, views(of, a=[(1, value)]))) == again
    assert crossed(collector.peek(0, views(of, a=[(1, value)]))) == []


def test_a_level_that_was_answered_is_not_asked_about_again_before_its_epoch_is_over():
    of = definition(threshold=Threshold({"sum": 5.0}))
    collector = Settling(of, ["a"], SECRET)
    assert crossed(collector.peek(0, views(of, a=[(1, 6.0), (2, 6.0)]))) == [(1, 0, 6.0), (2, 0, 6.0)]
    collector.recall(0, words([1]), np.zeros(1, np.int64), np.array([ANSWERED]))
    assert crossed(collector.peek(0, views(of, a=[(1, np.inf), (2, 600.0)]))) == [(2, 0, 600.0)]


def test_a_level_that_nobody_lets_fire_is_told_at_the_end_of_each_epoch_that_its_key_is_observed_in():
    """What fired is not, until a window has left that epoch behind; nor is a key that is not observed any more."""
    of = Definition(NAME, 1, 30, (Sum("sum"),), Threshold({"sum": 4.0}), hop_ns=10, wants_results=False)
    collector, told = Settling(of, ["a"], SECRET), []
    for epoch in range(5):
        seen = [(1, 3.0), (2, 3.0)] if epoch != 2 else [(2, 3.0)]
        collector.apply("a", end(of, seen, epoch=epoch))
        found = crossed(collector.close_epoch(epoch))
        told.append(found)
        if epoch == 1:
            collector.fire(epoch, words([2]), np.zeros(1, np.int64))
    assert told == [[], [(1, 0, 6.0), (2, 0, 6.0)], [], [(1, 0, 6.0)], [(1, 0, 6.0)]]
    collector.apply("a", end(of, [(2, 3.0)], epoch=5))
    assert crossed(collector.close_epoch(5)) == [(2, 0, 6.0)]  # of the epochs 4 and 5: in 2 and 3 it did not count


def test_streams_that_only_one_member_saw_are_in_the_union():
    """A known fault of the original: a stream that was present in the other side only was lost."""
    reducers = Sum("x", stream="x"), Sum("y", stream="y")
    of = definition(*reducers, threshold=Threshold({FUNCTION: 0.5}, lambda seen: seen.x / seen.y))
    parts = {}
    for member, stream, value in (("a", "x", 6.0), ("b", "y", 10.0)):
        store = Store(of, SECRET)
        store.observe(words([1]), np.arange(1), {stream: np.array([value])})
        parts[member] = store.partial()
    collector = Settling(of, ["a", "b"], SECRET)
    [merged] = collector.peek(0, parts)
    [result] = results(of, merged.partial)
    assert (result.x.sum, result.y.sum, merged.value.tolist()) == (6.0, 10.0, [0.6])


steps = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 6).map(float)), max_size=60)


@laws
@given(steps=steps, order=st.permutations(range(4)), members=st.integers(1, 4))
def test_results_and_crossings_do_not_depend_on_how_many_share_the_work_or_who_is_first(steps, order, members):
    of = definition(*ALL, threshold=Threshold({"sum": (4.0, 9.0)}))

    def run(members, order):
        names = [f"w{i}" for i in range(members)]
        collector, told = Settling(of, names, SECRET), []
        for i in [each for each in order if each < members]:
            mine = [at for at, (home, _, _) in enumerate(steps) if home % members == i]
            store = fed(of, [steps[at][1:] for at in mine], ts=mine)
            told += collector.deliver(names[i], EpochEnd(NAME, 0, 1, 0, EPOCH, store.partial()))
        return {(key, level) for key, level, _ in crossed(told)}, results(of, told[-1].partial)

    together = run(members, order)
    alone = fed(of, [each[1:] for each in steps])
    assert_same(together[1], alone.results())
    judged = Store(of, SECRET)
    judged.merge(alone.partial())
    again = judged.judge()
    expected = set(zip(again.partial.keys[:, 0].tolist(), again.level.tolist(), strict=True))
    assert together[0] == expected


def test_a_key_that_fired_all_its_levels_starts_from_nothing_on_every_member():
    """What members still sent of it, before they knew, does not count: not twice for one scan, with any of them."""
    of = Definition(NAME, 1, 30, (Sum("sum"),), Threshold({"sum": 4.0}), hop_ns=10, wants_results=False)
    collector = Settling(of, ["a", "b"], SECRET)
    told = collector.peek(0, views(of, a=[(1, 2.0)], b=[(1, 2.0)]))
    for epoch in range(6):
        for member in ("a", "b"):
            told += collector.deliver(member, end(of, [(1, 2.0)], epoch=epoch))
    assert [(each.epoch, *row) for each in told if isinstance(each, Merged) for row in crossed([each])] == [
        (0, 1, 0, 4.0),
        (0, 1, 0, 4.0),
        (3, 1, 0, 4.0),
    ]


@pytest.fixture
def asked():
    """Two workers' engines and a collector, with a few keys each."""
    of = definition(Sum("sum"))
    engines = {name: SumStats([of], secret=SECRET) for name in ("a", "b")}
    shares = {"a": [(0x11, 5.0), (0x12, 4.0), (0x21, 6.0)], "b": [(0x12, 4.0), (0x22, 5.5)]}
    for name, engine in engines.items():
        engine.start(0)
        engine.observe(NAME, words([key for key, _ in shares[name]]), np.arange(len(shares[name])),
                       observed(of, [value for _, value in shares[name]]))  # fmt: skip
    return engines, Settling(of, engines, SECRET)


def answer(asked, selection):
    engines, collector = asked
    views = {name: engine.answer(NAME, selection.all) for name, engine in engines.items()}
    present = collector.present(0, views, selection)
    return [(result.key[0], result.sum.sum) for result in results(collector.definition, present.partial)]


def test_a_key_a_prefix_the_top_and_all_can_be_asked_for(asked):
    assert answer(asked, Selection.key([0x12])) == [(0x12, 8.0)]
    assert answer(asked, Selection.key([0x99])) == []
    assert answer(asked, Selection((0xF0,), (0x20,))) == [(0x21, 6.0), (0x22, 5.5)]
    assert answer(asked, Selection(top=2, by="sum")) == [(0x12, 8.0), (0x21, 6.0)]
    assert answer(asked, Selection((0xF0,), (0x10,), top=1, by="sum")) == [(0x12, 8.0)]
    assert sorted(answer(asked, Selection())) == [(0x11, 5.0), (0x12, 8.0), (0x21, 6.0), (0x22, 5.5)]


def test_equal_values_at_the_top_go_by_key(asked):
    engines, _ = asked
    engines["b"].observe(NAME, words([0x21, 0x11]), np.array([5, 6]), {"sum": np.array([2.0, 3.0])})
    assert answer(asked, Selection(top=3, by="sum")) == [(0x11, 8.0), (0x12, 8.0), (0x21, 8.0)]


def test_a_query_changes_nothing(asked):
    engines, _ = asked
    before = answer(asked, Selection())
    answer(asked, Selection(top=1, by="sum"))
    assert answer(asked, Selection()) == before
    [last] = engines["a"].finish(9)
    assert len(last.partial) == 3
