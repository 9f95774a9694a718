"""The ring gives every frame as the wire had it, and its account is exact however it is starved."""

import contextlib
import errno
import fcntl
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from sensor.capture import CaptureError, open_savefiles
from sensor.capture.bpf.libpcap import compile_filter
from sensor.capture.bpf.program import INSTRUCTION, Program
from sensor.capture.live.af_packet import Geometry, RingSettings, linktype_of, open_ring
from sensor.capture.live.live_capture import Live
from sensor.decode.decoder import Decoder
from tests.capture.capture_files import Packet, pcap
from tests.lab.wire import (
    PCAPS,
    ROOMY,
    Sender,
    balanced,
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

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
assert wire  # a fixture

TUNSETIFF, TUNSETLINK = 0x400454CA, 0x400454CD
IFF_TUN, IFF_NO_PI = 0x1, 0x1000
SIZES = [60, 61, 64, 127, 500, 1514]


def test_frames_are_delivered_byte_for_byte_and_in_order(wire):
    sent = [udp(i, size=SIZES[i % len(SIZES)]) for i in range(2000)]
    before = time.time_ns()
    with wire.live() as live:
        wire.send(sent)
        found = take(live, len(sent))
        counters = live.counters
    assert [data for data, *_ in found] == sent
    assert all(wirelen == len(data) and (link, index) == (1, 0) for data, wirelen, _, link, index in found)
    times = [ts for _, _, ts, *_ in found]
    assert is_sorted(times) and before <= times[0] and times[-1] <= time.time_ns()
    assert len({ts % 1000 for ts in times}) > 100  # nanoseconds, not microseconds
    assert counters["packets_read"] == counters["kernel_packets"] == len(sent)
    assert counters["bytes_read"] == sum(map(len, sent))
    assert counters["ring_drops"] == counters["packets_malformed"] == counters["nic_drops"] == 0


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_blocks_of_any_size_give_the_same(wire, size):
    sent = [udp(i) for i in range(900)]
    with wire.live() as live:
        wire.send(sent)
        found = take(live, len(sent), size=size)
    assert [data for data, *_ in found] == sent


@pytest.mark.parametrize("tpid", [0x8100, 0x88A8])
def test_vlan_tags_are_put_back(wire, tpid):
    sent = [tagged(udp(i, size=SIZES[i % 5]), 1 + i, tpid=tpid, priority=i % 8) for i in range(100)]
    sent[::3] = [udp(i) for i in range(len(sent[::3]))]
    sent.append(tagged(tagged(udp(1), 7), 9, tpid=tpid))
    with wire.live() as live:
        wire.send(sent)
        found = take(live, len(sent))
    assert [data for data, *_ in found] == sent
    assert all(wirelen == len(data) for data, wirelen, *_ in found)


def decoded(source):
    """The rows of all packets of a source, but for their times."""
    decoder, rows = Decoder(), []
    for block in blocks_of(source):
        rows.append(decoder.decode(block).copy())
        if isinstance(source, Live) and sum(map(len, rows)) == source.expected:
            source.stop()
    found = np.concatenate(rows)
    found["ts"] = 0
    return found


@pytest.mark.parametrize("name", ["port-scan-fragmented", "busy-browser", "port-scan-ipv6"])
@pytest.mark.parametrize("vlan", [None, 5])
def test_frames_are_decoded_as_from_a_file(wire, tmp_path, name, vlan):
    with open_savefiles([str(PCAPS / f"{name}.pcap")]) as source:
        sent = [data if vlan is None else tagged(data, vlan) for data, *_ in of_blocks(source.blocks())]
    path = tmp_path / "sent.pcap"
    path.write_bytes(pcap(Packet(10**18, data, len(data)) for data in sent))
    with open_savefiles([str(path)]) as source, wire.live() as live:
        live.expected = len(sent)
        wire.send(sent)
        from_file, from_wire = decoded(source), decoded(live)
    assert len(from_file) == len(sent) and np.array_equal(from_file, from_wire)
    assert vlan is None or (from_wire["vlan"] == vlan).all()


@pytest.mark.parametrize("snaplen", [1, 11, 12, 14, 16, 60, 63, 64, 65])
def test_snaplen_cuts_as_a_file_would_have_it(wire, snaplen):
    sent = [udp(1), tagged(udp(2), 5), udp(3, size=64)]
    with wire.live(snaplen=snaplen) as live:
        wire.send(sent)
        found = take(live, len(sent))
    assert [data for data, *_ in found] == [frame[:snaplen] for frame in sent]
    assert [wirelen for _, wirelen, *_ in found] == [len(frame) for frame in sent]


def test_loopback_gives_each_packet_once(wire):
    wire.set("lo", "up")
    with wire.live(interface="lo") as live, wire.host.inside():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talking:
            for i in range(50):
                talking.sendto(bytes([i]), ("127.0.0.1", 9))
        found = [data for data, *_ in take(live, 100)]
    assert [data[-1] for data in found if data[23] == 17] == list(range(50))


def test_promiscuous_takes_what_is_for_others(wire):
    stranger = bytes.fromhex("02aabbccddee") + udp(1)[6:]
    for promiscuous in (True, False):
        with wire.live(promiscuous=promiscuous) as live, wire.route() as route:
            near = route.get_links(route.link_lookup(ifname="near")[0])[0]
            assert near.get("promiscuity") == promiscuous
            wire.send([stranger])
            assert [data for data, *_ in take(live, 1)] == [stranger]  # a veth has no filter of addresses
    with wire.route() as route:
        assert route.get_links(route.link_lookup(ifname="near")[0])[0].get("promiscuity") == 0


def test_a_quiet_source_says_that_time_has_passed(wire):
    before = time.time_ns()
    with wire.live() as live:
        seen = []
        for block in blocks_of(live):
            assert not len(block.frames)
            seen.append(live.seen_until)
            if len(seen) == 3:
                live.stop()
    assert is_sorted(seen) and seen[-1] > seen[0] and before - 100_000_000 < seen[0] and seen[-1] < time.time_ns()


def test_stop_from_another_thread_ends_a_wait_and_gives_the_rest(wire):
    sent = [udp(i) for i in range(100)]
    with wire.live(wait_s=30, retire_ms=200) as live:
        wire.send(sent)
        wait_for(lambda: live.taps[0].ring.waiting >= len(sent))
        other = threading.Thread(target=live.stop)
        other.start()
        found = [frame for block in blocks_of(live) for frame in copied(block)]
        other.join()
        assert [data for data, *_ in found] == sent and balanced(live.counters)


def test_stop_by_a_signal_ends_a_wait(wire):
    with wire.live(wait_s=30) as live:
        before = signal.signal(signal.SIGALRM, lambda *_: live.stop())
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            assert sum(len(block.frames) for block in blocks_of(live)) == 0
        finally:
            signal.signal(signal.SIGALRM, before)


def test_a_filter_that_linux_refuses_is_told(wire):
    unwritten = np.array([(0x60, 0, 0, 3), (0x16, 0, 0, 0)], INSTRUCTION)  # a cell is read that was never written
    with pytest.raises(CaptureError, match="near: Linux refuses the filter: Invalid argument"):
        wire.live(program=Program("made by hand", 1, unwritten))


def test_what_is_held_after_the_end_is_zeros_and_the_interface_is_free(wire):
    with wire.live() as live:
        wire.send([udp(1)])
        kept = None
        for block in blocks_of(live):
            kept = block if len(block.frames) else kept
            live.stop()
    assert not kept.buffers[0].any()
    live.stop()
    live.close()
    with wire.host.inside():
        sockets = Path("/proc/thread-self/net/packet").read_text().splitlines()
    assert len(sockets) == 1  # the heading


def test_the_account_is_exact_however_the_reader_is_held_up(wire):
    drops = [drops_of_a_reader_held_up(wire, seed) for seed in range(100)]
    assert sum(each > 0 for each in drops) > 50


def drops_of_a_reader_held_up(wire, seed):
    random_ = random.Random(seed)
    tiny = Geometry(random_.choice([1 << 12, 1 << 13, 1 << 14]), random_.randint(2, 6))
    with wire.live(ring=tiny, retire_ms=1) as live:
        sender = Sender(wire.sender(), lambda i: udp(i, size=SIZES[i % len(SIZES)]))
        received = wire.received()
        sender.start()
        found, limit, sent = [], random_.randint(500, 1500), None
        for block in blocks_of(live, random_.choice([3, 50, 16384])):
            found += [number(data) for data, *_ in copied(block)]
            until = sender.sent + random_.choice([0, 0, 0, 50, 300])
            if sent is None:
                wait_for(lambda until=until: sender.sent >= until)
            if sent is None and sender.sent > limit:
                sent = sender.finish()
            if sent is not None and live.counters["kernel_packets"] >= wire.received() - received:
                live.stop()
        counters = live.counters
    assert sent > limit and balanced(counters)
    assert counters["kernel_packets"] == wire.received() - received <= sent
    assert counters["packets_read"] == len(found) and found == sorted(set(found))
    return counters["ring_drops"]


def test_stop_ends_in_the_midst_of_traffic_and_nothing_is_let_in_after(wire):
    sender = Sender(wire.sender())
    sender.start()
    try:
        for _ in range(5):
            with wire.live(ring=Geometry(1 << 14, 8)) as live:
                found = 0
                for block in blocks_of(live):
                    found += len(block.frames)
                    if found > 200:
                        live.stop()
                counters, sent = live.counters, sender.sent
                wait_for(lambda sent=sent: sender.sent >= sent + 100)
                live.taps[0].ring.read_statistics()
                now = live.counters
                assert balanced(counters) and now == counters | {"gap_ns": 0, "nic_packets": now["nic_packets"]}
    finally:
        sender.finish()


def test_a_damaged_block_is_counted_and_passed_over(wire):
    with wire.live(ring=Geometry(1 << 12, 16)) as live:
        wire.send([udp(i) for i in range(60)])
        words = live.taps[0].ring.data.view(np.uint32)
        wait_for(lambda: live.taps[0].ring.waiting >= 60 and words[2] & 1)
        block, first = int(words[3]), int(words[4])
        words[first // 4 + 3] = 0xFFFFFFFF  # the first frame's captured length
        started = time.monotonic()
        found = take(live, 60 - block)
        counters = live.counters
    assert [number(data) for data, *_ in found] == list(range(block, 60))
    assert counters["packets_malformed"] == block > 1 and counters["packets_read"] == 60 - block
    assert balanced(counters) and time.monotonic() - started < 4  # it knows that nothing is left to wait for


def test_a_block_that_claims_to_be_longer_than_it_is_is_read_within_its_bounds(wire):
    with wire.live(ring=Geometry(1 << 12, 2)) as live:
        wire.send([udp(i) for i in range(20)])
        words = live.taps[0].ring.data.view(np.uint32)
        wait_for(lambda: live.taps[0].ring.waiting >= 20 and words[2] & 1)
        words[5] = words[3] * 1024 - 1  # bytes used: more than the ring has
        assert words[5] > 1 << 13
        assert [number(data) for data, *_ in take(live, 20)] == list(range(20))


def test_no_such_interface(wire):
    for name in ("nowhere", "a-name-longer-than-any", "near\0"):
        with wire.host.inside(), pytest.raises(OSError) as raised:
            open_ring(RingSettings(name, ROOMY))
        assert raised.value.errno == errno.ENODEV


@contextlib.contextmanager
def tun(wire, hardware=None):
    """A tun interface, of another kind if told so, and the descriptor through which it receives."""
    if not Path("/dev/net/tun").exists():
        pytest.skip("no /dev/net/tun")
    with wire.host.inside(), open("/dev/net/tun", "r+b", buffering=0) as device:
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"tun", IFF_TUN | IFF_NO_PI))
        if hardware is not None:
            fcntl.ioctl(device, TUNSETLINK, hardware)
        wire.set("tun", "up")
        yield device


def test_raw_ip_has_no_ethernet_header(wire):
    with tun(wire) as device, wire.live(interface="tun") as live:
        device.write(udp(5)[14:])
        found = take(live, 1)
    assert [(data, linktype) for data, _, _, linktype, _ in found] == [(udp(5)[14:], 101)]


@pytest.mark.parametrize("hardware, kind", [(768, "an IPv4 tunnel"), (803, "IEEE 802.11 with radio"), (5, "unknown")])
def test_a_link_layer_that_is_not_read_is_refused_by_name(wire, hardware, kind):
    with tun(wire, hardware), pytest.raises(CaptureError, match=f"tun: its link layer, .*{kind}.*ARPHRD {hardware}"):
        open_ring(RingSettings("tun", ROOMY))


def test_a_filter_for_another_link_layer_is_refused(wire):
    with tun(wire):
        assert (linktype_of("tun"), linktype_of("near"), linktype_of("lo")) == (101, 1, 1)
        program = compile_filter("ip", 101)
        with wire.live(interface="tun", program=program) as live:
            assert balanced(live.counters)
        with pytest.raises(CaptureError, match="near: of link type 1, its filter is for 101"):
            open_ring(RingSettings("near", ROOMY, program=program))


def test_a_ring_that_cannot_be_had_says_so(wire):
    refused = pytest.raises(CaptureError, match="near: no memory for a ring of 4194304 MB; make it smaller")
    with wire.host.inside(), refused:
        open_ring(RingSettings("near", Geometry(1 << 30, 4096)))


UNPRIVILEGED = """
import os, socket, sys
from sensor.capture.live.af_packet import Geometry, Opened, RingSettings
from sensor.capture.live.live_capture import Live
with socket.socket(fileno=int(sys.argv[1])) as given:
    _, (descriptor,), *_ = socket.recv_fds(given, 1, 1)
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError:
        print("unprivileged", file=sys.stderr)
    opened = Opened(socket.socket(fileno=descriptor), RingSettings("near", Geometry(1 << 16, 16)), 1)
    with Live([opened.settings], opener=lambda settings: opened, wait_s=0.05) as live:
        given.send(b"r")
        for block in live.blocks():
            if live.counters["packets_read"] == 20:
                live.stop()
        print(live.counters["packets_read"], live.counters["kernel_packets"])
"""


def test_a_ring_is_used_without_any_privilege_by_whom_it_is_given_to(wire):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        opened = wire.opener(RingSettings("near", Geometry(1 << 16, 16)))
        with wire.host.inside():
            child = subprocess.Popen(
                [sys.executable, "-c", UNPRIVILEGED, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
                text=True,
            )
        with opened.socket:
            socket.send_fds(ours, [b"r"], [opened.socket.fileno()])
        assert ours.recv(1) == b"r"
        wire.send([udp(i) for i in range(20)])
        out, err = child.communicate(timeout=30)
    assert (out, err) == ("20 20\n", "unprivileged\n")
