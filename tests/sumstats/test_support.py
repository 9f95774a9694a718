"""Support, which is kept as it came, against the same observations reduced at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.cluster.columns import Packing, pack
from sensor.cluster.messages import Observed
from sensor.sumstats import (
    Average,
    Crossings,
    Definition,
    EpochEnd,
    Merged,
    Partial,
    Selection,
    Sum,
    SumStats,
    Threshold,
    Unique,
    results,
)
from tests.sumstats.reference import SECRET
from tools.settling import Settling

laws = settings(max_examples=80, deadline=None, derandomize=True)

HOP, PANES, END = 10, 3, 200
NAME = "weighed"
EVERY_KEY = Selection()


def weighed(*, reduced=False, level=3.0, panes=PANES, **options):
    """Failures are judged, answers weigh on them. `reduced`: as if all results were wanted, so that nothing is kept."""
    reducers = (
        Unique("failures", "failed", keep=4),
        Unique("answers", "used", keep=4, is_dated=True),
        Average("size", "used"),
        Sum("total", "all"),
    )
    threshold = Threshold({"failures": level})
    return Definition(NAME, 1, HOP * panes, reducers, threshold, hop_ns=HOP, wants_results=reduced, **options)


def columns(rows):
    """Observations of (time, key, element, failed, used) as an engine takes them."""
    ts, keys, elements, failed, used = (np.array(column) for column in zip(*rows, strict=True))
    words = elements.astype(np.uint64)[:, np.newaxis]
    dated = np.column_stack([words, (ts - elements).view(np.uint64)])
    values = {"failures": words, "answers": dated, "size": elements.astype(float), "total": elements.astype(float)}
    applies = {"failed": failed, "used": used, "all": failed | used}
    return keys.astype(np.uint64)[:, np.newaxis], ts, values, applies


def run(definition, rows, *, batch, members=1, end=END):
    engine, happened = SumStats([definition], secret=SECRET, members=members), []
    engine.start(0)
    for start in range(0, len(rows), batch):
        happened += engine.observe(NAME, *columns(rows[start : start + batch]))
    return happened + (engine.finish(end) if end else []), engine


def plain(definition, partial):
    """What is known of each key, in a form that can be compared."""
    return sorted(map(repr, results(definition, partial)))


def crossed(definition, happened):
    """Each crossing of one worker alone, with all that was known of the key then."""
    found = []
    for each in happened:
        if isinstance(each, Crossings):
            for at in range(len(each.at)):
                one = each.partial.take(definition, np.array([at]))
                found.append((each.epoch, int(each.ts[at]), float(each.value[at]), plain(definition, one)))
    return found


def merged(definition, members, **options):
    """What is told at the ends of epochs of what each member observed."""
    collector, told = Settling(definition, sorted(members), SECRET), []
    for member, rows in members.items():
        happened, _ = run(definition, rows, members=0, **options)
        for each in happened:
            for end in [each] if isinstance(each, EpochEnd) else each.singly():
                collector.apply(member, end)
    for epoch in sorted(collector.delivered):
        told += collector.close_epoch(epoch)
    found = [each for each in told if isinstance(each, Merged)]
    return [(each.epoch, each.level.tolist(), each.value.tolist(), plain(definition, each.partial)) for each in found]


steps = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 2), st.integers(0, 6), st.booleans(), st.booleans()),
    min_size=1,
    max_size=60,
).map(lambda steps: [(int(ts), *step[1:]) for ts, step in zip(np.cumsum([s[0] for s in steps]), steps, strict=True)])


def test_streams_are_support_only_where_others_decide_and_no_result_is_wanted():
    assert weighed().supporting == {"used", "all"}
    assert weighed(reduced=True).supporting == frozenset()
    threshold = Threshold({"failures": 3.0, "size": 2.0})
    both = Definition(NAME, 1, HOP, (Unique("failures", "a"), Sum("size", "b")), threshold, wants_results=False)
    assert both.supporting == frozenset()


def test_a_key_that_only_has_support_takes_no_row_and_is_told_with_the_pane():
    (end,), _ = run(weighed(), [(1, 5, 2, False, True), (2, 6, 2, False, True)], batch=10, end=HOP - 1)
    assert len(end.partial) == 0
    assert sorted({rows.stream: len(rows) for rows in end.partial.support}.items()) == [("all", 2), ("used", 2)]


@laws
@given(rows=steps, batch=st.integers(1, 20))
def test_one_worker_tells_what_it_would_tell_had_it_reduced_all_at_once(rows, batch):
    kept, reduced = weighed(), weighed(reduced=True)
    found, expected = (run(each, rows, batch=batch)[0] for each in (kept, reduced))
    assert crossed(kept, found) == crossed(reduced, expected)


@laws
@given(rows=steps, batch=st.integers(1, 20), homes=st.lists(st.integers(0, 2), min_size=60, max_size=60))
def test_what_is_told_when_epochs_are_over_is_the_same_however_workers_share_the_support(rows, batch, homes):
    kept, reduced = weighed(), weighed(reduced=True)
    shared = {f"w{i}": [row for row, home in zip(rows, homes, strict=False) if home == i] for i in range(3)}
    shared = {name: own for name, own in shared.items() if own}
    assert merged(kept, shared, batch=batch) == merged(reduced, {"w": rows}, batch=60)


@laws
@given(rows=steps, batch=st.integers(1, 20), members=st.sampled_from([1, 3]))
def test_a_view_of_a_key_in_the_open_window_has_its_support(rows, batch, members):
    found = []
    for definition in (weighed(), weighed(reduced=True)):
        _, engine = run(definition, rows, batch=batch, members=members, end=None)
        first = HOP * (rows[-1][0] // HOP + 1 - PANES)
        keys = np.unique([row[1] for row in rows if row[3] and row[0] >= first]).astype(np.uint64)[:, np.newaxis]
        collector = Settling(definition, ["w"], SECRET)
        epoch = engine.epoch(NAME)
        for partial in (engine.view(NAME, keys)[2], engine.answer(NAME, EVERY_KEY)):
            present = collector.present(epoch, {"w": partial}, EVERY_KEY).partial
            has_failed = [at for at, key in enumerate(present.keys[:, 0]) if key in keys]
            found.append(plain(definition, present.take(definition, np.array(has_failed, np.int64))))
    assert found[:2] == found[2:]


def test_support_for_which_there_is_no_room_is_counted_and_the_epoch_is_not_whole():
    definition = weighed(panes=1, max_bytes=1 << 13)
    rows = [(1, key % 100, 1, False, True) for key in range(500)]
    (end,), engine = run(definition, rows, batch=64, end=HOP - 1)
    kept = sum(len(each) for each in end.partial.support)
    assert 0 < kept < 1000
    assert sum(each.nbytes for each in end.partial.support) <= 1 << 12
    assert end.lost == 1000 - kept
    assert engine.counters[NAME]["observations_evicted"] == end.lost


def supported():
    happened, _ = run(weighed(), [(at, at % 3, at, at % 4 == 0, at % 4 != 0) for at in range(9)], batch=4, end=9)
    return happened[-1].partial


def test_support_travels_as_bytes():
    definition, partial = weighed(), supported()
    packing = Packing(definition)
    arrived = packing.unpack(pack(partial))
    packing.check(arrived)
    assert len(partial.support) == len(arrived.support) > 0
    for sent, got in zip(partial.support, arrived.support, strict=True):
        assert (sent.stream, sent.keys.tolist(), sent.ts.tolist()) == (got.stream, got.keys.tolist(), got.ts.tolist())
        assert {name: array.tolist() for name, array in sent.values.items()} == {
            name: array.tolist() for name, array in got.values.items()
        }


@pytest.mark.parametrize(
    "changed",
    [
        {"stream": "failed"},
        {"stream": "nobody"},
        {"keys": b"1234567"},
        {"ts": b""},
        {"values": {}},
        {"values": {"answers": b"12345678", "size": b"12345678"}},
    ],
    ids=str,
)
def test_support_that_cannot_be_is_refused(changed):
    columns = pack(supported())
    used = next(each for each in columns.support if each.stream == "used")
    whole = {"stream": used.stream, "keys": used.keys, "ts": used.ts, "values": used.values}
    broken = type(columns)(columns.keys, columns.headers, columns.states, [Observed(**{**whole, **changed})])
    with pytest.raises(ValueError, match=r"weighed|bytes are"):
        Packing(weighed()).unpack(broken)


def test_partials_are_joined_with_their_support_and_taken_apart_without():
    partial = supported()
    joined = Partial.join([partial, partial])
    assert sum(map(len, joined.support)) == 2 * sum(map(len, partial.support))
    assert joined.take(weighed(), np.arange(len(joined))).support == ()
    assert all(part.support == () for part in joined.parts(weighed(), 2))
