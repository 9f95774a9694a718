"""History: Zeek's checks give the levels of observation by observation, however many workers share the observations."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.cluster.columns import Packing, pack
from sensor.sumstats import Average, Definition, EpochEnd, Max, Merged, Min, Sum, SumStats, Threshold, Unique
from tests.sumstats.reference import SECRET
from tools.settling import Settling

laws = settings(max_examples=150, deadline=None, derandomize=True)

NAME, END = "zeek", 1000
LEVELS = (3.0, 6.0, 7.0, 20.0)
VALUES = {
    "SUM": (Sum, sum),
    "MAX": (Max, max),
    "MIN": (Min, min),
    "AVERAGE": (Average, lambda values: sum(values) / len(values)),
    "UNIQUE": (Unique, lambda values: len(set(values))),
}
"""By calculation: its reducer, and what it comes to in plain Python."""


def definition(calculation, levels=LEVELS, **options):
    reducer = VALUES[calculation][0]("judged", "x")
    threshold = Threshold({"judged": levels}, one_a_check=True)
    return Definition(NAME, 1, END, (reducer,), threshold, **options)


def fired(calculation, rows, levels=LEVELS):
    """By key, which levels an observation-by-observation run fires: at each, the lowest left if it is reached."""
    found, values = {}, {}
    for _, key, value in sorted(rows, key=lambda row: (row[0], row[2])):
        values.setdefault(key, []).append(value)
        current = VALUES[calculation][1](values[key])
        count = found.setdefault(key, 0)
        reached = next((level for at, level in enumerate(levels) if at >= count and current >= level), None)
        found[key] += reached is not None and levels.index(reached) == count
    return {key: list(range(count)) for key, count in found.items() if count}


def delivered(of, rows, batch, *, members):
    """What one worker delivers of those (time, key, value), in order of time, when the epoch is over."""
    engine, happened = SumStats([of], secret=SECRET, members=members), []
    engine.start(0)
    rows = sorted(rows, key=lambda row: row[0])
    for start in range(0, len(rows), batch):
        ts, keys, values = (np.array(column) for column in zip(*rows[start : start + batch], strict=True))
        column = values.astype(np.uint64) if of.reducers[0].element_words else values.astype(float)
        happened += engine.observe(NAME, keys.astype(np.uint64)[:, np.newaxis], ts, {"judged": column})
    [end] = (each for each in [*happened, *engine.advance(END)] if isinstance(each, EpochEnd))
    return end


def told(of, shares, batch, *, observing):
    """By key, the levels that are told when the epoch is over."""
    names = [f"worker-{at}" for at in range(len(shares))]
    collector, found, packing = Settling(of, names, SECRET), {}, Packing(of)
    for name, rows in zip(names, shares, strict=True):
        end = delivered(of, rows, batch, members=observing)
        partial = packing.unpack(pack(end.partial))  # as it travels
        for each in collector.deliver(name, EpochEnd(NAME, 0, 1, 0, END, partial, end.lost)):
            if isinstance(each, Merged):
                for words, level in zip(each.partial.keys, each.level.tolist(), strict=True):
                    found.setdefault(int(words[0]), []).append(level)
    return {key: sorted(levels) for key, levels in found.items()}


rows = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 3), st.integers(0, 9)), min_size=1, max_size=40)


@laws
@given(rows, st.sampled_from(sorted(VALUES)), st.integers(1, 4), st.integers(1, 9), st.randoms(use_true_random=False))
def test_levels_are_those_of_observation_by_observation(observed, calculation, workers, batch, random):
    shares = [[] for _ in range(workers)]
    for row in observed:
        random.choice(shares).append(row)
    for observing in (0, workers):
        assert told(definition(calculation), shares, batch, observing=observing) == fired(calculation, observed)


def test_a_leap_over_three_levels_fires_as_many_as_there_are_observations():
    leap = [(1, 1, 9)]
    for after in range(4):
        seen = [*leap, *((2 + at, 1, 0) for at in range(after))]
        for workers in (1, 2, 3):
            shares = [seen[at::workers] for at in range(workers)]
            assert told(definition("SUM"), shares, 9, observing=0) == {1: list(range(min(1 + after, 3)))}


def test_a_level_that_an_average_was_at_stands_though_it_fell_since():
    seen = [(1, 1, 9), (2, 1, 0), (3, 1, 0), (4, 1, 0)]
    assert told(definition("AVERAGE", (5.0,)), [seen[::2], seen[1::2]], 9, observing=0) == {1: [0]}
    assert told(definition("AVERAGE", (9.5,)), [seen[::2], seen[1::2]], 9, observing=0) == {}


@pytest.mark.parametrize(
    ("levels", "calculation", "keeps"),
    [((3.0,), "SUM", False), ((3.0, 6.0), "SUM", True), ((3.0,), "AVERAGE", True), ((3.0,), "UNIQUE", False)],
)
def test_observations_are_kept_where_their_order_matters_alone(levels, calculation, keeps):
    of = definition(calculation, levels)
    assert of.keeps_history is keeps
    end = delivered(of, [(1, 1, 4), (2, 1, 4)], 9, members=0)
    assert sum(map(len, end.partial.support)) == 2 * keeps


def test_a_key_some_of_whose_observations_found_no_room_fires_one_level_and_loses_no_figure():
    room = 1024  # of 32 bytes each, in half of the memory
    seen = [(1, 1, 9), (2, 1, 0), *((3, 3, 0) for _ in range(room - 3)), (4, 2, 9), (5, 2, 0)]
    for more, levels in (([], {1: [0, 1], 2: [0]}), ([(6, 2, 0)], {1: [0, 1], 2: [0]})):
        of = definition("SUM", max_bytes=32 * 2 * room)
        end = delivered(of, seen + more, 100, members=0)
        assert (sum(map(len, end.partial.support)), end.lost) == (room, 0)
        assert told(of, [seen + more], 100, observing=0) == levels
    assert told(definition("SUM", max_bytes=32 * 2 * (room + 1)), [seen], 100, observing=0) == {1: [0, 1], 2: [0, 1]}


def test_history_of_another_stream_is_refused():
    of = definition("SUM")
    packed = pack(delivered(of, [(1, 1, 4)], 9, members=0).partial)
    packed.support[0] = msgspec.structs.replace(packed.support[0], stream="y")
    with pytest.raises(ValueError, match="'y' is no stream whose observations are kept"):
        Packing(of).unpack(packed)
