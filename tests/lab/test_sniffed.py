"""Scapy's sockets as a source: the frames and the alerts of AF_PACKET, a filter, an end at once, nothing uncounted."""

import contextlib
import io
import json
import logging
import sys
import threading
import time

import numpy as np
import pytest

from sensor.capture import CaptureError, open_savefiles
from sensor.capture.bpf.filter import Filter
from sensor.capture.live.scapy_source import _FRAME_BYTES, Sniffed, _open, sniff
from sensor.config import configure
from sensor.node import Standalone
from sensor.outputs.json_lines import JsonLines
from tests.lab.test_run import about, frames_of, play
from tests.lab.wire import (
    LIMIT_S,
    PCAPS,
    Sender,
    blocks_of,
    copied,
    is_sorted,
    number,
    of_blocks,
    tagged,
    take,
    udp,
    wait_for,
    wire,
)
from tests.replaying import replay

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
assert wire  # a fixture


@contextlib.contextmanager
def sniffing(wire, *interfaces, filter_text="", **options):
    with wire.host.inside():
        source = sniff(interfaces or ("near",), filter_text, **({"wait_s": 0.05} | options))
        opened = source.__enter__()
    try:
        yield opened
    finally:
        source.__exit__(None, None, None)


def traffic():
    with open_savefiles([str(PCAPS / "busy-browser.pcap")]) as source:
        frames = [data for data, *_ in of_blocks(source.blocks())][:300]
    return frames + [udp(i, source=i, size=60 + i % 900) for i in range(200)] + [tagged(udp(i), 5) for i in range(50)]


def test_it_gives_the_frames_that_af_packet_gives(wire):
    sent = traffic()
    with sniffing(wire) as (source, seen), wire.live() as live:
        wire.send(sent)
        by_scapy, by_ring = take(seen, len(sent)), take(live, len(sent))
    assert [data for data, *_ in by_scapy] == sent
    for ours, theirs in zip(by_scapy, by_ring, strict=True):
        assert (ours[0], ours[1], ours[3], ours[4]) == (theirs[0], theirs[1], theirs[3], theirs[4])
        assert abs(ours[2] - theirs[2]) < 1000
    assert source.counters == {
        "packets_read": len(sent),
        "packets_delivered": len(sent),
        "queue_drops": 0,
        "bytes_read": sum(map(len, sent)),
    }
    assert (source.progress, source.damage) == ((sum(map(len, sent)), None), [])


@pytest.mark.parametrize("text", ["udp port 53", "tcp", "vlan 5", "not ip"])
def test_a_filter_means_what_it_means_on_replay(wire, text):
    sent, chosen = traffic(), Filter(text)
    with sniffing(wire) as (source, _), sniffing(wire, filter_text=text) as (unfiltered, seen):
        wire.send(sent)
        found = [data for block in until(unfiltered, len(sent), of=seen) for data, *_ in copied(block)]
        expected = [data for data, *_ in of_blocks(map(chosen.select, until(source, len(sent))))]
        counters = seen.counters
    assert found == expected
    assert 0 < len(found) < len(sent)
    assert counters["packets_read"] == len(found)
    assert counters["packets_read"] + counters["packets_filtered"] == counters["packets_delivered"] == len(sent)


def until(source, count, *, of=None):
    """Blocks of a source, or `of` what is seen of it, and a stop when it has read so many frames, or takes for ever."""
    deadline = time.monotonic() + LIMIT_S
    for block in (of or source).blocks():
        if source.counters["packets_read"] >= count or time.monotonic() > deadline:
            source.stop()
        yield block


def test_stop_ends_it_at_once_though_frames_go_on_coming(wire):
    with sniffing(wire) as (source, _):
        sender = Sender(wire.sender())
        sender.start()
        try:
            found, stopped = [], None
            for block in blocks_of(source):
                found += copied(block)
                if stopped is None and found:
                    source.stop()
                    stopped, last = time.monotonic(), time.time_ns()
            lasted = time.monotonic() - stopped
        finally:
            sender.finish()
    assert lasted < 1.0
    assert max(ts for _, _, ts, *_ in found) <= last
    assert [number(data) for data, *_ in found] == list(range(number(found[0][0]), number(found[0][0]) + len(found)))
    assert source.counters["packets_delivered"] == source.counters["packets_read"] == len(found)


def test_stop_from_another_thread_ends_it_though_nothing_comes(wire):
    with sniffing(wire, wait_s=LIMIT_S) as (source, _):
        threading.Timer(0.1, source.stop).start()
        begun = time.monotonic()
        assert of_blocks(blocks_of(source)) == []
        assert time.monotonic() - begun < LIMIT_S / 2


@pytest.mark.parametrize("room", [9, 10, 11])
def test_what_does_not_fit_into_the_queue_is_counted_exactly(wire, room):
    with wire.host.inside():
        opened = _open("near", None, True)
    with Sniffed([opened], wait_s=0.01, queue_bytes=room * (60 + _FRAME_BYTES)) as source:
        blocks = blocks_of(source)
        assert not len(next(blocks).frames)
        wire.send([udp(i) for i in range(10)])
        wait_for(lambda: source.counters["packets_delivered"] == 10)
        source.stop()
        found = [number(data) for data, *_ in of_blocks(blocks)]
        assert found == list(range(min(room, 10)))
        assert source.counters["queue_drops"] == 10 - len(found)


def test_a_queue_that_was_full_takes_frames_again(wire):
    with wire.host.inside():
        opened = _open("near", None, True)
    with Sniffed([opened], wait_s=0.01, queue_bytes=60 + _FRAME_BYTES) as source:
        found, blocks = [], blocks_of(source)
        next(blocks)
        for i in range(5):
            wire.send([udp(i)])
            wait_for(lambda i=i: source.counters["packets_delivered"] == i + 1)
            found += [number(data) for data, *_ in copied(next(blocks))]
        assert found == list(range(5))


def test_time_passes_while_nothing_comes_and_nothing_comes_from_before(wire):
    with sniffing(wire) as (source, _):
        seen, first = [], None
        for block in blocks_of(source):
            if not len(block.frames) and source.seen_until and first is None:
                first = source.seen_until
            elif not len(block.frames) and first is not None and source.seen_until > first and not seen:
                wire.send([udp(1)])
                moved = source.seen_until
            seen += copied(block)
            if seen:
                source.stop()
    assert moved > first
    assert seen[0][2] > moved


def test_several_interfaces_are_told_apart_and_in_order_of_time(wire):
    wire.make("other", "yonder")
    with sniffing(wire, "near", "other") as (source, _), wire.sender("far") as far, wire.sender("yonder") as yonder:
        for i in range(300):
            (far, yonder, yonder)[i % 3].send(udp(i))
        found = []
        for block in until(source, 300):
            frames = copied(block)
            assert is_sorted([ts for _, _, ts, *_ in frames])
            found += frames
    wire.delete("other")
    assert {(number(data) % 3 > 0, interface) for data, *_, interface in found} == {(False, 0), (True, 1)}
    assert sorted(number(data) for data, *_ in found) == list(range(300))


@pytest.mark.parametrize("snaplen", [59, 60, 61])
def test_a_snaplen_cuts_what_is_kept_but_not_the_length(wire, snaplen):
    with sniffing(wire, snaplen=snaplen) as (source, _):
        wire.send([udp(1)])
        ((data, wirelen, *_),) = take(source, 1)
    assert (data, wirelen) == (udp(1)[:snaplen], 60)


@pytest.mark.parametrize("promiscuous", [True, False])
def test_it_is_promiscuous_if_asked_to_and_only_while_it_lasts(wire, promiscuous):
    def state():
        with wire.route() as route:
            return route.get_links(route.link_lookup(ifname="near")[0])[0].get("promiscuity")

    with sniffing(wire, promiscuous=promiscuous):
        assert state() == promiscuous
    assert state() == 0


def test_an_interface_that_was_down_goes_on_and_one_that_is_gone_is_told(wire):
    wire.make("other", "yonder")
    with sniffing(wire, "other") as (source, _):
        blocks = blocks_of(source)
        next(blocks)
        wire.set("other", "down")
        next(blocks)
        wire.set("other", "up")
        found, is_deleted = [], False
        for block in blocks:
            found += copied(block)
            if found and not is_deleted:
                wire.delete("other")
                is_deleted = True
            elif not found:  # it takes a while until a link that is up carries something
                with contextlib.suppress(OSError):
                    wire.send([udp(1)], "yonder")
    (damage,) = source.damage
    assert {number(data) for data, *_ in found} == {1}
    assert damage.path == "other" and "cannot be read from any more" in damage.message


def test_sockets_that_cannot_be_waited_for_are_told(wire):
    with sniffing(wire) as (source, _):
        source._sockets[0].socket.close()
        assert of_blocks(blocks_of(source)) == []
    (damage,) = source.damage
    assert str(damage).startswith("near: at byte 0: Scapy cannot wait for frames any more")


def test_the_loop_gives_each_packet_once(wire):
    wire.set("lo", "up")
    with sniffing(wire, "lo") as (source, _):
        wire.send([udp(1), udp(2)], "lo")
        found = take(source, 2)
    assert [number(data) for data, *_ in found] == [1, 2]


def test_what_is_in_the_way_is_said(wire):
    with pytest.raises(CaptureError, match="nowhere: there is no such interface"), sniffing(wire, "nowhere"):
        pass
    with pytest.raises(CaptureError, match="see man pcap-filter"), sniffing(wire, filter_text="port port"):
        pass
    with wire.route() as route:
        assert route.get_links(route.link_lookup(ifname="near")[0])[0].get("promiscuity") == 0


def test_without_scapy_it_says_how_to_get_it(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "scapy"]:
        monkeypatch.setitem(sys.modules, name, None)
    with (
        pytest.raises(
            CaptureError, match=r"pip install scapy \(in a checkout of the sensor: pip install '\.\[scapy\]'\)"
        ),
        sniff(["lo"], ""),
    ):
        pass


def test_it_says_that_it_is_slow(wire, caplog):
    with caplog.at_level(logging.WARNING), sniffing(wire):
        assert "which is slow" in caplog.text


def test_a_scan_over_a_wire_gives_the_alerts_of_the_file(wire):
    frames = frames_of("port-scan-syn")
    out = io.StringIO()
    node = Standalone(configure(), [JsonLines(out)], early=True, live=True)
    with sniffing(wire) as (source, seen):
        sending = threading.Thread(target=play, args=(wire, frames))
        sending.start()

        def progress(done, packets):
            if packets == len(frames):
                node.stop()

        summary = node.run(seen, progress)
        sending.join(LIMIT_S)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert about(lines) == about(replay(PCAPS / "port-scan-syn.pcap").alerts) != []
    assert summary.packets_read == len(frames)
    assert summary.counters["packets_delivered"] == len(frames) == source.counters["packets_read"]
    assert np.all([summary.counters[name] == 0 for name in ("queue_drops", "tcp_acks_of_unseen")])
