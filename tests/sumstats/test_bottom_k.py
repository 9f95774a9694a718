"""What SAMPLE, FIRST and LAST share, against a plain sort; its laws, its caps, and what it refuses to merge."""

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.hash import hash_words
from sensor.sumstats.calculation import HEADER, RowBatch, Setting
from sensor.sumstats.calculations.first_last import First, Last
from sensor.sumstats.calculations.sample import Sample

KEY = np.array([3, 4], np.uint64)
KEYS = 4

laws = settings(max_examples=60, deadline=None, derandomize=True)
each_reducer = pytest.mark.parametrize("kind", [Sample, First, Last], ids=lambda kind: kind.calculation)
observations = st.lists(
    st.tuples(st.integers(-1, KEYS - 1), st.integers(-3, 5), st.integers(0, 3), st.booleans()), max_size=120
)
sizes = st.sampled_from([1, 2, 3, 5, 8, 40])


def column(reducer, rows=KEYS, max_bytes=1 << 20, secret=1, key=KEY):
    """A column that has room for rows, without a store."""
    made = reducer.column(Setting(np.array([secret, 2], np.uint64), key, max_bytes))
    made.attach(np.full(rows, made.empty))
    return made


def feed(made, rows, ts, elements, applies=None, batch=8192):
    """Give observations to a column; elements may be integers."""
    rows, ts = np.array(rows, np.int64), np.array(ts, np.int64)
    elements = np.array(elements, np.uint64)
    elements = elements.reshape(len(rows), elements.shape[-1] if elements.ndim == 2 else 1)
    applies = np.ones(len(rows), np.bool_) if applies is None else np.array(applies, np.bool_)
    for start in range(0, len(rows), batch):
        part = slice(start, start + batch)
        assert made.update(RowBatch(rows, ts, applies)[part], elements[part], watch=False) == {}
    return made


def fed(reducer, seen, batch=8192, **options):
    """A column that has taken (row, ts, element, applies) each; a second word tells elements of more than one."""
    elements = [[element, *[7 - element] * (reducer.words - 1)] for _, _, element, _ in seen]
    rows, ts, applies = ([one[field] for one in seen] for field in (0, 1, 3))
    return feed(
        column(reducer, **options), rows, ts, np.array(elements).reshape(len(seen), reducer.words), applies, batch
    )


def merged(reducer, *columns, rows=KEYS):
    """An empty column into which others were merged."""
    into = column(reducer, rows, secret=99)
    for other in columns:
        into.merge(np.arange(rows), view(other, rows))
    return into


def view(made, rows=KEYS):
    return made.view(np.arange(rows), made.measure(np.arange(rows)))


def same(left, right, rows=KEYS):
    """Whether two columns look the same to another node, to the byte."""
    flat = [[(name, array.dtype, array.shape, array.tobytes()) for name, array in view(made, rows).items()]
            for made in (left, right)]  # fmt: skip
    return flat[0] == flat[1]


def elements_of(made, rows=KEYS):
    """The elements of each row, in the order of the view."""
    viewed = view(made, rows)
    ends = np.cumsum(viewed["count"])
    return [list(map(tuple, part.tolist())) for part in np.split(viewed["elements"], ends)][:rows]


def expected(reducer, seen, row):
    """The elements a row keeps: every observation numbered, made an entry and sorted."""
    entries, last, order = [], None, 0
    for other, ts, element, applies in seen:
        if other != row or not applies:
            continue
        order = order + 1 if ts == last else 0
        last = ts
        words = (element, *[7 - element] * (reducer.words - 1))
        if reducer.calculation == "SAMPLE":
            entry = (int(hash_words(KEY, np.array([*words, ts % 2**64, order], np.uint64))), *words)
        else:
            entry = (ts, order, *words)
        entries.append((entry, words))
    entries.sort(reverse=reducer.calculation == "LAST")
    return [words for _, words in entries[: reducer.size]]


@each_reducer
@laws
@given(seen=observations, size=sizes, words=st.integers(1, 2), batch=st.sampled_from([1, 3, 64]))
def test_a_key_keeps_what_a_plain_sort_keeps_whatever_the_batches(kind, seen, size, words, batch):
    reducer = kind("x", words=words, size=size)
    made = fed(reducer, seen, batch)
    assert elements_of(made) == [expected(reducer, seen, row) for row in range(KEYS)]
    assert not view(made)["saturated"].any()


@each_reducer
@laws
@given(seen=observations, size=sizes, width=st.integers(1, 16), data=st.data())
def test_any_split_between_times_merged_in_any_order_is_the_whole(kind, seen, size, width, data):
    """Exactly, although each part had thrown away what it saw no room for, and had another secret."""
    reducer = kind("x", size=size)
    seen.sort(key=lambda one: one[1])
    homes = [(17 * row + 5 * ts) % width for row, ts, _, _ in seen]
    shares = [[one for one, home in zip(seen, homes, strict=True) if home == part] for part in range(width)]
    parts = [fed(reducer, share, secret=part) for part, share in enumerate(shares)]
    assert same(merged(reducer, *data.draw(st.permutations(parts))), fed(reducer, seen))


@each_reducer
@laws
@given(parts=st.tuples(observations, observations, observations), size=sizes)
def test_merging_is_commutative_and_associative_and_nothing_is_its_identity(kind, parts, size):
    """Also where one time is on several nodes."""
    reducer = kind("x", size=size)
    a, b, c = (fed(reducer, part) for part in parts)
    assert same(merged(reducer, a, b), merged(reducer, b, a))
    assert same(merged(reducer, merged(reducer, a, b), c), merged(reducer, a, merged(reducer, b, c)))
    assert same(merged(reducer, a, column(reducer)), a)
    assert same(merged(reducer, column(reducer), a), a)


@each_reducer
def test_a_batch_that_outgrows_the_arena_several_times_is_applied_once(kind):
    rng = np.random.default_rng(5)
    rows, elements = rng.integers(0, 500, 30_000), rng.integers(0, 2**62, 30_000)
    seen = [
        (row, ts, element, True) for ts, (row, element) in enumerate(zip(rows.tolist(), elements.tolist(), strict=True))
    ]
    reducer = kind("x", size=12)
    made = fed(reducer, seen, 30_000, rows=500)
    assert elements_of(made, 500) == [
        expected(reducer, [one for one in seen if one[0] == row], row) for row in range(500)
    ]
    assert made.counters == {"elements_refused": 0}


@each_reducer
def test_a_key_of_the_greatest_size_keeps_so_many(kind):
    seen = [(0, ts * 7 % 5000, ts, True) for ts in range(5000)]
    reducer = kind("x", size=4096)
    reducer.check()
    made = fed(reducer, seen, rows=1)
    assert elements_of(made, 1) == [expected(reducer, seen, 0)]


@pytest.mark.parametrize("spare", [-1, 0, 1])
@pytest.mark.parametrize(("kind", "needs"), [(Sample, 2 + 4 + 8), (First, 4 + 8 + 16), (Last, 4 + 8 + 16)])
def test_a_key_goes_on_with_the_room_it_has_where_there_is_no_more(kind, needs, spare):
    """A key that is to hold 4 needs three blocks one after the other; without the last it holds 2."""
    reducer = kind("x", size=4)
    seen = [(0, ts, 10 * ts, True) for ts in (5, 2, 8, 3, 9, 1)]
    made = fed(reducer, seen, max_bytes=8 * (needs + spare))
    held = 4 if spare >= 0 else 2
    assert elements_of(made)[0] == expected(replace(reducer, size=held), seen, 0)
    assert view(made)["saturated"].tolist() == [spare < 0, False, False, False]
    assert made.counters == {"elements_refused": 0 if spare >= 0 else 4}


@each_reducer
def test_a_key_that_finds_no_room_at_all_holds_nothing_and_says_so(kind):
    reducer = kind("x")
    made = fed(reducer, [(0, 1, 1, True), (1, 2, 2, True), (1, 3, 3, True), (0, 4, 4, True)], max_bytes=8 * 4)
    if kind is Sample:  # of which two fit
        made = fed(reducer, [(0, 1, 1, True), (1, 2, 2, True), (1, 3, 3, True)], max_bytes=8 * 2)
    assert [len(own) for own in elements_of(made)] == [1, 0, 0, 0]
    assert made.counters == {"elements_refused": 2}
    other = merged(reducer, made)
    assert view(other)["saturated"].tolist() == view(made)["saturated"].tolist()
    assert view(other)["saturated"][1]
    headers = np.zeros(KEYS, HEADER)
    assert [result.saturated for result in reducer.results(headers, view(other))] == view(made)["saturated"].tolist()


@each_reducer
def test_merged_entries_that_find_no_room_are_counted_and_flagged(kind):
    reducer = kind("x", size=3)
    full = fed(reducer, [(row, ts, ts, True) for row in range(3) for ts in range(9)])
    into = column(reducer, max_bytes=8)
    into.merge(np.arange(KEYS), view(full))
    assert view(into)["count"].tolist() == [0, 0, 0, 0]
    assert view(into)["saturated"].tolist() == [True, True, True, False]
    assert into.counters == {"elements_refused": 9}


@each_reducer
def test_blocks_that_were_outgrown_are_used_again(kind):
    """Keys that grow one after the other need no more than what they end with."""
    rows = np.repeat(np.arange(500), 20)
    made = feed(column(kind("x", size=16), 500, 1 << 30), rows, np.arange(len(rows)), np.arange(len(rows)))
    assert made.nbytes < 1.1 * 8 * 500 * (32 if kind is Sample else 64)
    before = made.nbytes
    feed(made, rows, np.arange(len(rows)) + len(rows), np.arange(len(rows)))
    assert made.nbytes == before


@each_reducer
def test_rows_that_are_dropped_are_not_merged(kind):
    reducer = kind("x", size=3)
    made = fed(reducer, [(row, ts, ts, True) for row in range(KEYS) for ts in range(5)])
    into = column(reducer)
    into.merge(np.array([2, -1, 0, -1]), view(made))
    kept = elements_of(made)
    assert elements_of(into) == [kept[2], [], kept[0], []]


@each_reducer
def test_rows_forgotten_give_their_room_to_others_and_the_rest_keep_theirs(kind):
    reducer = kind("x", size=3)
    made = fed(reducer, [(row, ts, 10 * row + ts, True) for row in range(KEYS) for ts in range(5)])
    kept = elements_of(made)
    bytes_held, blocks = made.nbytes, set(made.state["block"].tolist())
    made.renumber(np.array([-1, 1, -1, 0], np.int64))
    state = np.full(KEYS, made.empty)
    state[[1, 0]] = made.state[[1, 3]]
    made.attach(state)
    assert elements_of(made) == [kept[3], kept[1], [], []]
    again = [(row, ts, ts, True) for row in (2, 3) for ts in range(5)]
    feed(made, *zip(*[one[:3] for one in again], strict=True))
    assert elements_of(made) == [kept[3], kept[1], expected(reducer, again, 2), expected(reducer, again, 3)]
    assert made.nbytes == bytes_held
    assert set(made.state["block"].tolist()) == blocks


@each_reducer
def test_a_cleared_column_starts_over(kind):
    reducer = kind("x", size=3)
    seen = [(row, ts, ts, True) for row in range(KEYS) for ts in range(9)]
    made = fed(reducer, seen)
    made.clear()
    made.attach(np.full(KEYS, made.empty))
    assert same(made, column(reducer))
    feed(made, *zip(*[one[:3] for one in seen], strict=True))
    assert same(made, fed(reducer, seen))


def spoiled(states, name):
    """States that no node sends, by what is wrong with them."""
    yield "missing", {other: array for other, array in states.items() if other != name}
    yield "other dtype", states | {name: states[name].astype(np.float32)}
    yield "other byte order", states | {name: states[name].astype(states[name].dtype.newbyteorder())}
    yield "too short", states | {name: states[name][:-1]}
    yield "too long", states | {name: np.concatenate([states[name], states[name][:1]])}
    yield "an axis more", states | {name: np.repeat(states[name][..., np.newaxis], 2, axis=-1)}


@each_reducer
def test_a_malformed_state_is_refused_and_changes_nothing(kind):
    reducer = kind("x", size=3)
    made = fed(reducer, [(row, ts, ts, True) for row in range(KEYS) for ts in range(2)])
    before = merged(reducer, made)
    states = view(made) | {"saturated": np.ones(KEYS, np.bool_)}
    bad = [(name, what, other) for name in states for what, other in spoiled(states, name)]
    bad = [one for one in bad if one[:2] != ("saturated", "other byte order")]  # a byte has none
    bad += [
        ("count", "negative", states | {"count": np.array([-1, 3, 3, 3])}),
        ("count", "wraps around", states | {"count": np.array([2**62, 2**62, 2**62, 2**62 + 8])}),
        ("count", "two each", states | {"count": np.ones((KEYS, 2), np.int64)}),
        ("count", "above the size", states | {"count": np.array([4, 2, 2, 0])}),
        ("elements", "two words", states | {"elements": np.zeros((8, 2), np.uint64)}),
        ("elements", "no words", states | {"elements": np.zeros((8, 0), np.uint64)}),
    ]
    for name, what, other in bad:
        with pytest.raises(ValueError, match=r"state|elements|order"):
            made.merge(np.arange(KEYS), other)
            pytest.fail(f"{name}: {what}")
        assert same(made, before), (name, what)


@each_reducer
@laws
@given(data=st.data())
def test_a_state_in_any_order_with_any_words_is_merged_as_a_sorted_one(kind, data):
    """No invariant rests on what another node says of the order of its entries."""
    reducer = kind("x", size=5)
    counts = data.draw(st.lists(st.integers(0, 5), min_size=KEYS, max_size=KEYS))
    total = sum(counts)
    numbers = st.lists(st.integers(0, 2**31 - 1), min_size=total, max_size=total)
    states = view(column(reducer)) | {"count": np.array(counts, np.int64)}
    for name in set(states) - {"count", "saturated"}:
        drawn = np.array(data.draw(numbers), states[name].dtype)
        states[name] = drawn.reshape(total, *states[name].shape[1:])
    into = column(reducer)
    into.merge(np.arange(KEYS), states)
    assert view(into)["count"].tolist() == counts
    assert sorted(chain.from_iterable(elements_of(into))) == sorted(map(tuple, states["elements"].tolist()))
    assert same(merged(reducer, into), into)


@each_reducer
def test_its_options_are_checked_and_it_is_not_judged(kind):
    assert kind("x").words == 1
    wrong = {"words": "x: words must be at least 1", "size": "x: size must be from 1 to 4096"}
    for options in ({"words": 0}, {"words": -1}, {"size": 0}, {"size": 4097}, {"size": -1}):
        with pytest.raises(ValueError, match=wrong[next(iter(options))]):
            kind("x", **options).check()
    assert not kind.is_judged
    assert np.isnan(kind("x").values(np.array([1, 2]), {})).all()
