"""Blocks are not made of a few frames each where more will come soon; but nothing is lost, or late, for that."""

import threading
import time

import pytest

from sensor.capture.bpf.filter import Filter
from sensor.capture.live import live_capture as live_module
from sensor.capture.live.af_packet import Geometry
from tests.lab.wire import balanced, blocks_of, number, of_blocks, tagged, udp, wait_for, wire

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
assert wire  # a fixture

LONG_S, SOON_S = 20.0, 10.0


def first_with_frames(blocks):
    return next(block for block in blocks if len(block.frames))


def test_what_comes_after_a_while_is_given_at_once(wire, monkeypatch):
    monkeypatch.setattr(live_module, "_GATHER_S", LONG_S)
    with wire.live() as live:
        started = time.monotonic()
        wire.send([udp(1)])
        assert len(first_with_frames(blocks_of(live)).frames) == 1
    assert time.monotonic() - started < SOON_S


@pytest.mark.parametrize("frames", [15, 9])
def test_a_ring_of_which_a_quarter_waits_is_taken_from_at_once(wire, monkeypatch, frames):
    """Two blocks of eight, of five frames each, and the one after them; not so with one less. Not even for a look."""
    monkeypatch.setattr(live_module, "_GATHER_S", LONG_S if frames == 15 else 0.3)
    monkeypatch.setattr(live_module, "_LOOK_S", LONG_S)
    with wire.live(ring=Geometry(1 << 13, 8)) as live:
        blocks = blocks_of(live)
        wire.send([udp(0)])
        started = time.monotonic()
        first_with_frames(blocks)
        wire.send([udp(i, size=1400) for i in range(frames)])
        wait_for(lambda: live.taps[0].ring.waiting >= frames)
        found = len(first_with_frames(blocks).frames)
        assert found >= min(frames, 10)
        took = time.monotonic() - started
        assert took < SOON_S if frames == 15 else took >= 0.3


def test_a_block_that_was_full_before_the_filter_dropped_some_of_it_is_followed_at_once(wire, monkeypatch):
    """Frames with a tag are judged once it is back."""
    monkeypatch.setattr(live_module, "_GATHER_S", LONG_S)
    monkeypatch.setattr(live_module, "_LOOK_S", LONG_S)
    with wire.live(program=Filter("vlan 5").program(1)) as live:
        wire.send([tagged(udp(i), 5 + (i == 2)) for i in range(10)])
        wait_for(lambda: live.taps[0].ring.waiting >= 10)
        blocks, started = blocks_of(live, size=5), time.monotonic()
        assert [len(next(blocks).frames) for _ in range(2)] == [4, 5]
    assert time.monotonic() - started < SOON_S


@pytest.mark.parametrize("frames", [10, 11])
def test_more_than_a_full_block_is_given_at_once(wire, monkeypatch, frames):
    monkeypatch.setattr(live_module, "_GATHER_S", LONG_S)
    monkeypatch.setattr(live_module, "_LOOK_S", LONG_S)
    with wire.live() as live:
        wire.send([udp(i) for i in range(frames)])
        wait_for(lambda: live.taps[0].ring.waiting >= frames)
        blocks, started = blocks_of(live, size=5), time.monotonic()
        assert [len(next(blocks).frames) for _ in range(-(-frames // 5))] == [5, 5, 1][: -(-frames // 5)]
    assert time.monotonic() - started < SOON_S


def test_stop_does_not_wait_for_more(wire, monkeypatch):
    monkeypatch.setattr(live_module, "_GATHER_S", LONG_S)
    with wire.live() as live:
        blocks, started = blocks_of(live), time.monotonic()
        wire.send([udp(0)])
        first_with_frames(blocks)
        wire.send([udp(1)])
        threading.Timer(0.05, live.stop).start()
        assert [number(data) for data, *_ in of_blocks(blocks)] == [1] and balanced(live.counters)
    assert time.monotonic() - started < SOON_S
