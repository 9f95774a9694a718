"""Prefixes: bounded, in order, the same however segments are cut into calls; against a plain reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.flows.segment import BEGINS, ENDS, SEGMENT
from sensor.packet import PROTO_TCP, PROTO_UDP, SYN
from sensor.protocols import Prefixes, Segments

BASE = (1 << 32) - 3


def row(slot, side=0, *, at=0, data=b"", flags=0, marks=0, proto=PROTO_TCP):
    """A segment whose first byte is number `at` of its direction, and its bytes."""
    made = np.zeros(1, SEGMENT)
    made["slot"], made["side"], made["seq"], made["proto"] = slot, side, BASE + at & 0xFFFFFFFF, proto
    made["flags"], made["marks"], made["row"], made["length"] = flags, marks, -1 if marks & ENDS else 0, len(data)
    return made, data


def begin(slot):
    return [row(slot, flags=SYN, marks=BEGINS), row(slot, 1, flags=SYN)]


def give(prefixes, script, size=10**9, close=None):
    """What is given of segments in calls of `size`: slot, side and bytes; `close` says which are closed at once."""
    told = []
    for start in range(0, len(script), size):
        part = script[start : start + size]
        rows = np.concatenate([each for each, _ in part])
        data = b"".join(each for _, each in part)
        rows["at"] = np.cumsum([0, *(len(each) for _, each in part)])[:-1]
        rows["order"] = start + np.arange(len(part))
        for prefix in prefixes.grown(Segments(rows, np.frombuffer(data, np.uint8))):
            segment = prefix.segment
            told.append((int(segment["order"]), int(segment["slot"]), int(segment["side"]), prefix.data))
            if close and close(prefix.data):
                prefix.close()
    return told


def slow(script, depth):
    """The same by dictionaries of bytes, where there is room for all."""
    held, told = {}, []
    for order, (made, data) in enumerate(script):
        slot, side = int(made["slot"][0]), int(made["side"][0])
        if made["marks"][0] & (BEGINS | ENDS):
            held.pop((slot, 0), None), held.pop((slot, 1), None)
        if made["flags"][0] & SYN:
            held.setdefault((slot, side), {})
        if (slot, side) not in held:
            continue
        own = held[slot, side]
        before = without_gap(own)
        at = (int(made["seq"][0]) - BASE + (1 << 31)) % (1 << 32) - (1 << 31)
        for place, byte in enumerate(data, at):
            if 0 <= place < depth:
                own.setdefault(place, byte)
        if without_gap(own) > before:
            told.append((order, slot, side, bytes(own[each] for each in range(without_gap(own)))))
    return told


def without_gap(own):
    return next(at for at in range(len(own) + 1) if at not in own)


segments = st.builds(
    lambda slot, side, at, data: row(slot, side, at=at, data=data),
    st.integers(0, 3), st.integers(0, 1), st.integers(-4, 30), st.binary(min_size=0, max_size=9),
)  # fmt: skip
edges = st.sampled_from([*begin(0), *begin(1), *begin(2), row(0, marks=ENDS), row(1, marks=ENDS), row(3, at=2)])


@given(st.lists(segments | edges, max_size=40), st.sampled_from([1, 3, 10**9]), st.integers(1, 24))
@settings(max_examples=300, deadline=None)
def test_what_is_there_without_a_gap_is_that_of_a_plain_reference(script, size, depth):
    script = [*begin(0), *script]
    assert give(Prefixes(depth=depth, capacity=64), script, size) == slow(script, depth)


@given(st.lists(segments | edges, max_size=60), st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_where_there_is_no_room_for_all_it_does_not_matter_how_segments_are_cut_into_calls(script, capacity):
    script = [*begin(0), *begin(1), *begin(2), *script]
    whole, single = Prefixes(depth=16, capacity=capacity), Prefixes(depth=16, capacity=capacity)

    def close(data):
        return len(data) > 5

    assert give(whole, script, close=close) == give(single, script, 1, close=close)
    assert whole.counters == single.counters


@pytest.mark.parametrize(("directions", "evicted"), [(4, 0), (5, 1), (9, 5)])
def test_the_prefix_begun_longest_ago_goes_and_is_counted(directions, evicted):
    prefixes = Prefixes(depth=16, capacity=4)
    script = [each for slot in range(directions) for each in [*begin(slot), row(slot, data=b"ab")]]
    again = [row(slot, at=2, data=b"c") for slot in range(directions)]
    told = give(prefixes, script + again)
    assert [each[1] for each in told if each[3] == b"abc"] == list(range(evicted, directions))
    assert prefixes.counters["prefixes_evicted"] == evicted


@pytest.mark.parametrize("over", [lambda: row(0, marks=ENDS), lambda: row(0, at=2, data=bytes(14))])
def test_what_is_over_or_full_is_not_counted_when_it_goes(over):
    prefixes = Prefixes(depth=16, capacity=1)
    give(prefixes, [*begin(0), row(0, data=b"ab"), over(), *begin(1), row(1, data=b"x")])
    assert prefixes.counters["prefixes_evicted"] == 0


def test_what_was_closed_is_given_no_more_and_not_counted_when_it_goes():
    prefixes = Prefixes(depth=16, capacity=1)
    script = [
        *begin(0),
        row(0, data=b"ab"),
        row(0, at=2, data=b"c"),
        *begin(1),
        row(1, data=b"x"),
        row(0, at=3, data=b"d"),
    ]
    assert [each[3] for each in give(prefixes, script, close=lambda _: True)] == [b"ab", b"x"]
    assert prefixes.counters["prefixes_evicted"] == 0


def test_more_growth_than_one_call_of_the_kernel_can_give_is_all_given():
    script = begin(0)
    for slot in range(5000):
        script += [*begin(slot), row(slot, data=b"a")]
    assert len(give(Prefixes(depth=4, capacity=6000), script)) == 5000


def test_datagrams_have_no_prefix():
    assert give(Prefixes(), [*begin(0), row(0, data=b"ab", proto=PROTO_UDP)]) == []


def test_bytes_that_differ_are_counted_once_a_segment_and_the_first_stand():
    prefixes = Prefixes()
    told = give(prefixes, [*begin(0), row(0, data=b"abcd"), row(0, at=1, data=b"xxxe"), row(0, at=1, data=b"bcde")])
    assert [each[3] for each in told] == [b"abcd", b"abcde"]
    assert prefixes.counters == {"prefixes_evicted": 0, "prefix_overlaps_differing": 1}
