"""Windows that hop in panes, against a list of observations; and keys that have nothing more to say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.sumstats import (
    CALCULATIONS,
    Crossings,
    Definition,
    EpochEnd,
    EpochResult,
    Selection,
    Sum,
    SumStats,
    Threshold,
    Unique,
    results,
)
from sensor.sumstats.suppression import Quiet
from tests.sumstats.reference import SECRET, arrays, assert_same, fed, observed, words
from tools.settling import Settling

laws = settings(max_examples=60, deadline=None, derandomize=True)

HOP, PANES = 10, 3
NAME = "hopping"
ALL = tuple(calculation(calculation.calculation.lower()) for calculation in CALCULATIONS)


def hopping(*reducers, threshold=None, panes=PANES, **options):
    return Definition(NAME, 1, HOP * panes, reducers or (Sum("sum"),), threshold, hop_ns=HOP, **options)


def run(definition, observations, batch=10**6, end=None):
    """What happens to observations of (time, key, value); and the engine."""
    engine, happened = SumStats([definition], secret=SECRET), []
    engine.start(0)
    for start in range(0, len(observations), batch):
        ts, keys, values = zip(*observations[start : start + batch], strict=True)
        happened += engine.observe(NAME, words(list(keys)), np.array(ts), observed(definition, list(values)))
    if end is not None:
        happened += engine.finish(end)
    return happened, engine


def crossings(happened):
    found = []
    for each in happened:
        if isinstance(each, Crossings):
            columns = each.ts, each.partial.keys[:, 0], each.level, each.value
            found += [(each.epoch, *row) for row in zip(*(column.tolist() for column in columns), strict=True)]
    return found


def obvious(observations, levels):
    """The same, over plain lists."""
    found, fired = [], {}
    for at, (ts, key, _) in enumerate(observations):
        pane = ts // HOP
        own = [(other // HOP, value) for other, same, value in observations[: at + 1] if same == key]
        total = sum(value for index, value in own if index > pane - PANES)
        for level, least in enumerate(levels):
            if total >= least and fired.get((key, level), -PANES) <= pane - PANES:
                fired[key, level] = pane
                found.append((pane, ts, key, level, total))
    return found


steps = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2), st.integers(1, 4)), max_size=80)


def in_time(steps):
    ts = np.cumsum([step for step, _, _ in steps], dtype=np.int64).tolist()
    return [(at, key, float(value)) for at, (_, key, value) in zip(ts, steps, strict=True)]


@laws
@given(
    steps=steps,
    levels=st.lists(st.integers(2, 25), min_size=1, max_size=3, unique=True).map(sorted),
    wants_results=st.booleans(),
    batch=st.integers(1, 30),
)
def test_crossings_are_those_of_the_obvious_way_in_any_batches(steps, levels, wants_results, batch):
    observations = in_time(steps)
    threshold = Threshold({"sum": tuple(map(float, levels))})
    happened, _ = run(hopping(threshold=threshold, wants_results=wants_results), observations, batch)
    assert crossings(happened) == obvious(observations, levels)


@laws
@given(steps=steps, batch=st.integers(1, 30))
def test_a_window_holds_what_its_panes_hold_for_every_calculation(steps, batch):
    """What is asked for in the open window is what a store holds that was fed just the observations of its panes."""
    observations = in_time(steps)
    definition = hopping(*ALL)
    _, engine = run(definition, observations, batch)
    if observations:
        pane = observations[-1][0] // HOP
        own = [each for each in observations if each[0] // HOP > pane - PANES]
        whole = fed(definition, [(key, value) for _, key, value in own], ts=[ts for ts, _, _ in own])
        assert_same(results(definition, engine.answer(NAME, Selection())), whole.results())


@laws
@given(steps=steps, batch=st.integers(1, 30), homes=st.lists(st.integers(0, 3), min_size=80, max_size=80))
def test_the_results_of_every_window_are_those_of_its_observations_however_workers_share_them(steps, batch, homes):
    observations = in_time(steps)
    definition = hopping(*ALL)
    members = [f"w{i}" for i in range(4)]
    collector, told = Settling(definition, members, SECRET), []
    for i, member in enumerate(members):
        own = [each for each in observations if homes[each[0] % len(homes)] == i]  # one time, one worker
        happened, _ = run(definition, own, batch, end=600)
        for end in happened:
            told += collector.deliver(member, end)
    found = {each.epoch: each for each in told}
    assert len(found) == len(told)
    for pane in {ts // HOP for ts, _, _ in observations}:
        window = found[pane]
        assert (window.complete, window.end) == (True, (pane + 1) * HOP)
        own = [each for each in observations if pane - PANES < each[0] // HOP <= pane]
        whole = fed(definition, [(key, value) for _, key, value in own], ts=[ts for ts, _, _ in own])
        assert_same(results(definition, window.partial), whole.results())


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    steps=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 5), st.integers(1, 4)), max_size=80),
    batch=st.integers(2, 30),
    max_keys=st.integers(1, 4),
    wants_results=st.booleans(),
)
def test_where_keys_are_evicted_batches_change_nothing_and_nothing_old_is_counted(
    steps, batch, max_keys, wants_results
):
    observations = in_time(steps)
    threshold = Threshold({"sum": (4.0, 9.0)})
    definition = hopping(Sum("sum"), threshold=threshold, max_keys=max_keys, wants_results=wants_results)

    def told(batch):
        happened, engine = run(definition, observations, batch)
        sent = [(each.epoch, each.lost, arrays(each.partial)) for each in happened if isinstance(each, EpochEnd)]
        return crossings(happened), sent, engine.counters

    found = told(batch)
    assert found == told(1)
    for epoch, ts, key, _, value in found[0]:
        own = [each for at, same, each in observations if same == key and epoch - PANES < at // HOP and at <= ts]
        assert value <= sum(own)
    fired = [(epoch, key, level) for epoch, _, key, level, _ in found[0]]
    for epoch, key, level in fired:
        again = [e for e, k, n in fired if (k, n) == (key, level) and epoch <= e < epoch + PANES]
        assert again == [epoch]


def test_what_straddles_a_boundary_is_seen_whole():
    three = [(8, 1, 1.0), (9, 1, 1.0), (11, 1, 1.0)]
    threshold = Threshold({"sum": 3.0})
    assert crossings(run(hopping(threshold=threshold), three)[0]) == [(1, 11, 1, 0, 3.0)]
    assert crossings(run(hopping(threshold=threshold, panes=1), three)[0]) == []


@pytest.mark.parametrize(("last", "found"), [(29, True), (30, False), (31, False)])
def test_a_pane_that_has_left_the_window_counts_no_more(last, found):
    observations = [(9, 1, 2.0), (last, 1, 1.0)]
    assert bool(crossings(run(hopping(threshold=Threshold({"sum": 3.0})), observations)[0])) is found


def test_each_pane_is_sent_once_and_holds_only_its_own():
    happened, _ = run(hopping(), [(1, 1, 1.0), (11, 1, 2.0), (12, 2, 5.0), (45, 1, 7.0)], end=60)
    ends = [
        (each.epoch, each.following, each.start, each.end, [r.sum.sum for r in results(hopping(), each.partial)])
        for each in happened
    ]
    assert ends == [(0, 1, 0, 10, [1.0]), (1, 4, 10, 20, [2.0, 5.0]), (4, 6, 40, 50, [7.0]), (6, 7, 60, 60, [])]


def test_a_view_of_a_crossing_is_of_the_whole_window():
    happened, _ = run(
        hopping(Unique("unique"), threshold=Threshold({"unique": 3.0})), [(8, 1, 5), (12, 1, 6), (25, 1, 7)]
    )
    [crossing] = [each for each in happened if isinstance(each, Crossings)]
    assert crossing.partial.states["unique"]["count"].tolist() == [3]
    assert (crossing.partial.headers[""]["begin"].tolist(), crossing.partial.headers[""]["end"].tolist()) == ([8], [25])


def test_a_silenced_key_is_passed_over_until_the_first_pane_after_that_time_and_then_starts_from_nothing():
    definition = hopping(threshold=Threshold({"sum": 2.0}), wants_results=False)
    engine = SumStats([definition], secret=SECRET)
    engine.start(0)

    def observe(ts, key=1):
        happened = engine.observe(NAME, words([key]), np.array([ts]), {"sum": None})
        return [each.ts.tolist() for each in happened if isinstance(each, Crossings)]

    assert observe(5) == []
    engine.silence(NAME, words([1]), 42)  # pane 4; the open one still counts
    assert observe(6) == [[6]]
    assert [observe(ts) for ts in (15, 25, 41, 49)] == [[], [], [], []]
    assert engine.counters[NAME]["passed_over"] == 4
    assert observe(45, key=2) == []
    assert [observe(ts) for ts in (50, 51)] == [[], [[51]]]


def test_a_key_that_has_fired_goes_on_being_counted_and_is_sent_whole():
    """Nobody has said yet that it stands."""
    definition = hopping(threshold=Threshold({"sum": 2.0}), wants_results=False, panes=1)
    happened, _ = run(definition, [(1, 1, 2.0), (2, 2, 1.0), (3, 1, 1.0)], end=9)
    [end] = [each for each in happened if isinstance(each, EpochEnd)]
    assert [(result.key, result.sum.sum) for result in results(definition, end.partial)] == [((1,), 3.0), ((2,), 1.0)]


def test_a_query_for_many_leaves_out_keys_that_are_counted_no_more_and_one_for_a_key_does_not():
    definition = hopping(threshold=Threshold({"sum": 5.0}), wants_results=False)
    _, engine = run(definition, [(1, 1, 9.0), (2, 2, 1.0)])
    engine.silence(NAME, words([1]), 1000)
    engine.advance(10)

    def asked(selection):
        return engine.answer(NAME, selection).keys.ravel().tolist()

    assert asked(Selection()) == asked(Selection(top=5, by="sum")) == [2]
    assert asked(Selection.key([1])) == [1]


@pytest.mark.parametrize("wants_results", [True, False])
def test_what_is_remembered_of_keys_that_fired_is_forgotten_once_it_no_longer_matters(wants_results):
    definition = hopping(threshold=Threshold({"sum": 1.0}), wants_results=wants_results)
    quiet = Quiet(definition, SECRET)
    for pane in range(50):
        quiet.expire(pane)
        quiet.fire(words(list(range(pane * 100, pane * 100 + 100))), np.zeros(100, np.int64), pane)
        assert len(quiet.keys) <= 2 * 100 * 2 * PANES
    quiet.expire(50 + 2 * PANES)
    assert quiet.is_empty


def test_several_lengths_over_one_stream_at_once():
    """A thing that users of the original build by hand: minutes, hours and days side by side."""
    lengths = {"short": 10, "middle": 25, "long": 100}
    engine = SumStats([Definition(name, 1, ns, (Sum("sum"),)) for name, ns in lengths.items()])
    engine.start(0)
    happened = []
    for ts in range(0, 100, 5):
        for name in lengths:
            happened += engine.observe(name, words([1]), np.array([ts]), {"sum": None})
    happened += engine.finish(100)
    nums = {name: [] for name in lengths}
    for end in happened:
        nums[end.sumstat] += end.partial.headers[""]["num"].tolist()
    assert nums == {"short": [2] * 10, "middle": [5] * 4, "long": [20]}


def test_a_restart_of_the_clock_forgets_all_panes():
    definition = hopping(threshold=Threshold({"sum": 3.0}))
    engine = SumStats([definition], in_step=True, secret=SECRET)
    engine.start(1000)
    engine.observe(NAME, words([1, 1]), np.array([1001, 1002]), {"sum": None})
    [end] = engine.start(7)
    assert (end.restarts, end.following) == (True, 101)
    happened = engine.observe(NAME, words([1, 1, 1]), np.array([8, 9, 10]), {"sum": None})
    assert crossings(happened) == [(102, 10, 1, 0, 3.0)]


def test_the_final_window_ends_with_the_input():
    definition = hopping()
    happened, _ = run(definition, [(8, 1, 1.0), (14, 1, 2.0)], end=15)
    collector, told = Settling(definition, ["w"], SECRET), []
    for end in happened:
        told += collector.deliver("w", end)
    assert [(each.epoch, each.start, each.end) for each in told if isinstance(each, EpochResult)] == [
        (0, -20, 10),
        (1, -10, 15),
    ]
    assert [r.sum.sum for r in results(definition, told[-1].partial)] == [3.0]


@pytest.mark.parametrize("panes", [1, 3])
def test_what_room_was_lost_is_told_with_the_epoch(panes):
    definition = hopping(Sum("sum"), panes=panes, max_keys=4)
    happened, _ = run(definition, [(1, key, 1.0) for key in range(6)] + [(11, 1, 1.0)], end=12)
    assert [each.lost for each in happened] == [2, 0] if panes == 1 else [each.lost for each in happened][:1] == [2]
    collector, told = Settling(definition, ["w"], SECRET), []
    for end in happened:
        told += collector.deliver("w", end)
    assert [each.complete for each in told] == [False, panes == 1]


def test_batches_and_the_secret_change_nothing_of_what_is_sent():
    observations = in_time([(i % 4, i % 5, 1 + i % 3) for i in range(200)])
    definition = hopping(*ALL, threshold=Threshold({"sum": (9.0, 30.0)}))

    def sent(batch):
        happened, _ = run(definition, observations, batch, end=1000)
        return crossings(happened), [
            (each.epoch, arrays(each.partial)) for each in happened if isinstance(each, EpochEnd) and len(each.partial)
        ]

    assert sent(1) == sent(7) == sent(1000)
