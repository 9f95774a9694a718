"""Several interfaces at once: their frames in order of time, told apart, and none held up by what befalls another."""

import contextlib

import pytest

from tests.lab.wire import Sender, balanced, blocks_of, copied, is_sorted, number, tagged, take, udp, wire

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
assert wire  # a fixture


@pytest.fixture
def both(wire):
    wire.make("other", "yonder")
    yield wire
    wire.delete("other")


def test_frames_come_in_order_of_time_and_tell_their_interface(both):
    with both.live("near", "other", retire_ms=20) as live, both.sender("far") as far, both.sender("yonder") as yonder:
        for i in range(600):
            (far, yonder, yonder)[i % 3].send(udp(i) if i % 5 else tagged(udp(i), 7))
        found, blocks = [], 0
        for block in blocks_of(live):
            frames = copied(block)
            assert len(block.buffers) == 2 and is_sorted([ts for _, _, ts, *_ in frames])
            found += frames
            blocks += 1
            if len(found) == 600:
                live.stop()
        counters, each = live.counters, [tap.counters for tap in live.taps]
    assert sorted(data for data, *_ in found) == sorted(udp(i) if i % 5 else tagged(udp(i), 7) for i in range(600))
    numbers = [(number(data) if data[12] == 8 else number(data[4:]), index) for data, *_, index in found]
    assert {(i % 3 > 0, index) for i, index in numbers} == {(False, 0), (True, 1)}
    assert [each[0]["packets_read"], each[1]["packets_read"]] == [200, 400]
    assert counters["packets_read"] == 600 and balanced(counters) and blocks < 600


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_blocks_are_no_larger_than_asked_for(both, size):
    with both.live("near", "other") as live:
        both.send([udp(i) for i in range(20)])
        both.send([udp(i) for i in range(20, 40)], "yonder")
        found = []
        for block in blocks_of(live, size):
            assert len(block.frames) <= max(size, 2)
            found += [number(data) for data, *_ in copied(block)]
            if len(found) == 40:
                live.stop()
    assert sorted(found) == list(range(40))


def test_one_that_goes_and_comes_again_is_opened_though_the_other_is_never_quiet(both):
    with both.live("near", "other") as live:
        sender = Sender(both.sender("far"))
        sender.start()
        try:
            stages, blocks = iter(["delete", "make", "end"]), blocks_of(live)
            stage = next(stages)
            for block in blocks:
                assert len(block.buffers) == 2
                if stage == "delete":
                    both.delete("other")
                    stage = next(stages)
                elif stage == "make" and live.counters["gaps"]:
                    both.make("other", "yonder")
                    stage = next(stages)
                elif stage == "end" and live.gaps:
                    live.stop()
        finally:
            sender.finish()
        (gap,) = live.gaps
        assert gap.interface == "other" and [tap.counters["reopened"] for tap in live.taps] == [0, 1]
        assert balanced(live.counters)


def test_where_one_cannot_be_opened_the_others_are_let_go(both):
    with contextlib.ExitStack() as stack, pytest.raises(OSError, match="nowhere: there is no such interface"):
        stack.enter_context(both.live("near", "nowhere"))
    with both.route() as route:
        assert route.get_links(route.link_lookup(ifname="near")[0])[0].get("promiscuity") == 0


def test_the_loop_and_a_wire_together(wire):
    wire.set("lo", "up")
    with wire.live("lo", "near") as live:
        wire.send([udp(1)])
        assert [data for data, *_ in take(live, 1)] == [udp(1)]
