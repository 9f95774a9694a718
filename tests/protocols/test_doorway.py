"""The doorway of protocols: a small analyzer's events reach a detection, however packets and blocks are cut."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, fragment
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from sensor.config import configure
from sensor.packet import Block
from sensor.protocols import analyzer
from tests.cluster.clusters import Cluster
from tests.decode.decoding import MILLISECOND, block_of
from tests.replaying import ETHER, ROOT, sensor, write

PLUGIN = Path(__file__).with_name("first_line.py")
SECOND = 1_000_000_000


@pytest.fixture(autouse=True)
def _undeclared():
    """Other tests list all events: without those of this file."""
    kept = dict(analyzer.ANALYZERS), dict(analyzer.MESSAGE_EVENTS)
    yield
    for registry, before in zip((analyzer.ANALYZERS, analyzer.MESSAGE_EVENTS), kept, strict=True):
        registry.clear()
        registry.update(before)


def ends(number, version=4):
    """Addresses of a connection's originator and responder: each pair of hosts is one."""
    if version == 6:
        return f"2001:db8::{number + 1:x}", "2001:db8:1::1"
    return f"192.0.2.{number + 1}", f"198.51.100.{number % 7 + 1}"


def talk(number, texts, rng, *, version=4, size=80, mtu=None, start=None):
    """A connection in which each end says a text: packets in order, then those of each end shuffled, some twice."""
    hosts, layer = ends(number, version), IP if version == 4 else IPv6
    starts = start or [rng.randrange(1 << 32) for _ in texts]
    ports = 40000 + number, 25
    packets = []
    for side in (0, 1):
        flags = "SA" if side else "S"
        head = layer(src=hosts[side], dst=hosts[1 - side])
        tcp = TCP(
            sport=ports[side],
            dport=ports[1 - side],
            flags=flags,
            seq=starts[side],
            ack=starts[1 - side] + 1 & 0xFFFFFFFF,
        )
        packets.append(head / tcp)
    data = []
    for side, text in enumerate(texts):
        at = 0
        while at < len(text):
            part = text[at : at + rng.randint(1, size)]
            head = layer(src=hosts[side], dst=hosts[1 - side])
            seq = starts[side] + 1 + at & 0xFFFFFFFF
            tcp = TCP(
                sport=ports[side], dport=ports[1 - side], flags="PA", seq=seq, ack=starts[1 - side] + 1 & 0xFFFFFFFF
            )
            data += [head / tcp / Raw(part)] * rng.choice((1, 1, 2))
            at += len(part)
    rng.shuffle(data)
    packets += data
    if mtu and version == 4:
        packets = [piece for at, packet in enumerate(packets) for piece in pieces(packet, at + 1, mtu, rng)]
    return [bytes(ETHER / packet) for packet in packets]


def pieces(packet, ident, size, rng):
    """A packet as fragments of `size` bytes, in any order, where it carries anything."""
    packet[IP].id = ident
    parts = fragment(IP(bytes(packet)), size) if Raw in packet else [packet]
    rng.shuffle(parts)
    return parts


def interleave(talks, rng):
    """Packets of several connections, each in its own order."""
    order = [number for number, each in enumerate(talks) for _ in each]
    rng.shuffle(order)
    waiting = [iter(each) for each in talks]
    return [next(waiting[number]) for number in order]


def run(frames, workers=1, size=10**9, *, ts=None, buffers=1):
    """What is said of frames: in blocks of `size`, whose bytes lie in so many buffers and are gone afterwards."""
    cluster = Cluster(configure(["lines"], [str(PLUGIN)]).make, workers)
    times = [number * MILLISECOND for number in range(len(frames))] if ts is None else ts
    for at in range(0, len(frames), size):
        part, own = frames[at : at + size], times[at : at + size]
        blocks = [block_of(part[number::buffers], ts=own[number::buffers]) for number in range(buffers)]
        rows = np.concatenate([each.frames for each in blocks])
        rows["buffer"] = np.repeat(np.arange(buffers), [len(each.frames) for each in blocks])
        data = tuple(each.buffers[0].copy() for each in blocks)
        block = Block(data, rows[np.argsort(rows["ts"], kind="stable")])
        for number, worker in enumerate(cluster.workers):
            worker.process(block, may_wait=number % 2 == 0 and at % 3 == 0)
        for each in data:
            each.fill(0x58)
        cluster.exchange()
    ran = cluster.finish()
    return sorted(each.message for each in ran.alerts), ran.counts


def said(texts, *, counts=1):
    """What is to be said of connections' texts."""
    lines = [(line, side) for each in texts for side, text in enumerate(each) if (line := first(text)) is not None]
    return sorted(f"{line} ({1 - side}, {counts})" for line, side in lines)


def first(text):
    line, end, _ = text[:256].partition(b"\n")
    return line.decode() if end else None


def some_texts(n, rng):
    """Texts of connections: lines that differ, some without an end."""
    return [(line(number, "client", rng), line(number, "server", rng)) for number in range(n)]


def line(number, who, rng):
    return f"{who}-{number} {'x' * rng.randint(0, 40)}".encode() + rng.choice((b"\n", b"\nmore\nof it", b""))


@pytest.mark.parametrize("workers", [1, 4])
def test_a_protocol_of_a_few_lines_is_seen_by_a_detection(tmp_path, workers):
    rng = random.Random(1)
    texts = some_texts(12, rng)
    frames = interleave([talk(n, each, rng, mtu=32) for n, each in enumerate(texts)], rng)
    path = write(tmp_path / "lines.pcap", [(at / 1000, ETHER.__class__(each)) for at, each in enumerate(frames)])
    ran = sensor("replay", "--json", "--plugin", PLUGIN, "--detection", "lines", "--workers", workers, path)
    assert ran.returncode == 0, ran.stderr
    records = [json.loads(each) for each in ran.stdout.splitlines()]
    assert sorted(each["message"] for each in records if each["event_type"] == "alert") == said(texts)


def test_the_page_about_protocols_shows_this_protocol():
    page = (ROOT / "docs/protocols.md").read_text()
    assert PLUGIN.read_text().partition("\n\n")[2].strip() in page


@given(
    st.integers(0, 10**6), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 7, 10**9]), st.sampled_from([1, 3]),
    st.sampled_from([None, 32, 56]), st.sampled_from([4, 6]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_what_is_said_depends_on_the_bytes_alone(seed, workers, size, buffers, mtu, version):
    rng = random.Random(seed)
    texts = some_texts(5, rng)
    frames = interleave([talk(n, each, rng, mtu=mtu, version=version) for n, each in enumerate(texts)], rng)
    told, counts = run(frames, workers, size, buffers=buffers)
    assert told == said(texts)
    assert counts.counters["prefix_overlaps_differing"] == counts.counters["prefixes_evicted"] == 0


def test_the_bytes_of_a_packet_whose_time_is_in_doubt_are_kept():
    """The clock waits for the packet after a leap; the block that the first lies in is gone by then."""
    src, dst = ends(9)
    opening = bytes(ETHER / IP(src=src, dst=dst) / TCP(sport=4000, dport=25, flags="S", seq=7) / Raw(b"hello\n"))
    before, after = talk(0, (b"one\n", b""), random.Random(2)), talk(1, (b"two\n", b""), random.Random(2))
    frames = [*before, opening, *after]
    ts = [(at + (at >= len(before)) * 86_400_000) * MILLISECOND for at in range(len(frames))]
    assert run(frames[:-1], size=1, ts=ts[:-1])[0] == ["hello (1, 1)", "one (1, 1)", "two (1, 1)"]


def test_a_number_that_wraps_is_no_gap():
    frames = talk(0, (b"a line across the end\n", b"b\n"), random.Random(3), size=4, start=[(1 << 32) - 9, 5])
    assert run(frames)[0] == ["a line across the end (1, 1)", "b (0, 1)"]


def test_of_a_stream_that_was_joined_in_the_middle_there_is_no_first_line():
    frames = talk(0, (b"half a line\n", b""), random.Random(3))
    assert run(frames[2:])[0] == []


def test_a_gap_keeps_a_line_from_being_whole():
    frames = talk(0, (b"0123456789\n", b""), random.Random(5), size=1)
    without = [each for each in frames if not each.endswith(b"5")]
    assert len(without) < len(frames)
    assert run(frames)[0] == ["0123456789 (1, 1)"]
    assert run(without)[0] == []


def test_a_slot_that_another_connection_takes_begins_with_nothing():
    rng = random.Random(6)
    one, other = talk(0, (b"unfinished", b""), rng), talk(0, (b" business\n", b""), rng)
    reset = bytes(ETHER / IP(src=ends(0)[0], dst=ends(0)[1]) / TCP(sport=40000, dport=25, flags="R", seq=1))
    frames = [*one, reset, *other]
    ts = [at * MILLISECOND for at in range(len(one) + 1)] + [100 * SECOND + at for at in range(len(other))]
    assert run(frames, ts=ts)[0] == [" business (1, 1)"]


def test_bytes_that_come_again_and_differ_are_counted_and_the_first_stand():
    frames = talk(0, (b"right\n", b""), random.Random(8), size=100)
    head = frames[2][:-6]
    told, counts = run([*frames[:2], head + b"wr", *frames[2:]])
    assert told == ["wrght (1, 1)"]
    assert counts.counters["prefix_overlaps_differing"] == len(frames) - 2


def test_nothing_is_written_for_protocols_that_nobody_wants():
    """What nobody wants costs nothing."""
    frames = talk(0, (b"line\n", b""), random.Random(9))
    cluster = Cluster(configure(["port_scan"]).make)
    worker = cluster.workers[0]
    worker.process(block_of(frames))
    assert worker.counts().flows == 1
    assert not len(worker._decoder.payloads.rows)
    assert not worker._flows._arrays.segments.view(np.uint8).any()


def test_an_analyzer_that_raises_ends_nothing_but_itself(caplog):
    cluster = Cluster(configure(["lines", "port_scan"], [str(PLUGIN)]).make)
    own = analyzer.ANALYZERS["first_line"]
    own.process = lambda self, segments: 1 / 0
    for start in range(0, 40, 2):
        frames = talk(start, (b"line\n", b""), random.Random(9))
        cluster.workers[0].process(block_of(frames, ts=[start * SECOND + at for at in range(len(frames))]))
        cluster.exchange()
    ran = cluster.finish()
    assert ran.counts.faults == {"FirstLine": 10}
    assert "analyzer FirstLine is switched off: it raised 10 times" in caplog.messages
    assert ran.counts.flows == 20
    assert [each.message for each in ran.alerts] == ["lines raised too often on worker-1 and is switched off there"]


def test_the_events_of_a_plugin_are_listed():
    ran = sensor("events", "--json", "--plugin", PLUGIN)
    last = [json.loads(line) for line in ran.stdout.splitlines()][-1]
    assert (last["event"], last["columns"]["line"]["type"]) == ("first_line", "text")
    assert "first_line" in sensor("events", "--plugin", PLUGIN).stdout
    assert "first_line" not in sensor("events").stdout


def test_a_misspelt_column_of_it_names_the_nearest(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text(PLUGIN.read_text().replace('key=("line"', 'key=("lime"'))
    said = sensor("detections", "--plugin", wrong).stderr
    assert "the event first_line has no column 'lime' for a key; did you mean 'line'?" in said


def test_two_analyzers_cannot_raise_an_event_of_one_name():
    configure(plugins=[str(PLUGIN)])
    with pytest.raises(ValueError, match="'first_line' is one of FirstLine already"):
        type("Other", (analyzer.Analyzer,), {"events": analyzer.ANALYZERS["first_line"].events, "__module__": "other"})
