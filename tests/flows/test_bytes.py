"""Every byte of payload counts once: in any order, sent again, overlapping, or in fragments."""

import shutil
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6
from scapy.packet import Raw

from sensor.address import to_address
from sensor.flows import Event, FlowTable
from sensor.flows.sequence_gaps import HOLES, MANY
from sensor.flows.sharding import keep_share
from sensor.packet import Kind
from tests.capture.capture_files import Packet, pcap
from tests.decode.decoding import ether
from tests.flows.packets import A, B, every, packet, run, talk, tcp
from tests.flows.test_capture_loss import decoded, fields_of

LAWS = settings(deadline=None, derandomize=True, max_examples=300)
OPENINGS = {"opened": ">S <SA >A", "one direction": ">S >A", "joined in the middle": ">A"}


def removed(*rows):
    """How a flow ends after these packets, and the counters."""
    table, rows = FlowTable(), np.concatenate(rows)
    events = run(table, rows, every(1000, rows))
    return events[events["event"] == Event.CONNECTION_STATE_REMOVE][-1], table.counters


def of_originator(start, length, flags="A", **fields):
    """Data of the originator, whose first byte has number 1001."""
    return tcp(flags, A, B, seq=(1001 + start) % 2**32, ack=5001, length=length, **fields)


spans = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 80)), max_size=40)


@LAWS
@given(spans, st.sampled_from(sorted(OPENINGS)), st.sampled_from([0, 2**31 - 1100, 2**32 - 1100]))
def test_segments_in_any_order_count_the_bytes_that_they_cover(spans, opening, shift):
    rows = [talk(OPENINGS[opening]), *(of_originator(*span) for span in spans)]
    for row in rows:
        row["seq"] += np.where(row["src_port"] == A[1], shift, 0).astype(np.uint32)
        row["ack"] += np.where(row["src_port"] == B[1], shift, 0).astype(np.uint32)
    if opening == "joined in the middle":
        rows[0]["seq"] += np.uint32(1)  # what was before the first packet cannot be known
    flow, counters = removed(*rows)
    assert flow["orig_bytes"] == len({byte for start, length in spans for byte in range(start, start + length)})
    assert counters["tcp_holes_forgotten"] == 0


@LAWS
@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_shuffled_segments_count_once_and_are_neither_sent_again_nor_lost(lengths, random):
    starts = np.cumsum([0, *lengths])
    segments = [of_originator(start, length) for start, length in zip(starts, lengths, strict=False)]
    random.shuffle(segments)
    total = int(starts[-1])
    flow, counters = removed(talk(">S <SA >A"), *segments, tcp("A", B, A, seq=5001, ack=1001 + total))
    assert (flow["orig_bytes"], flow["history"]) == (total, b"ShADa")
    assert (counters["tcp_acks"], counters["tcp_acks_of_unseen"]) == (1, 0)


def test_what_is_sent_again_counts_once_and_is_noted():
    flow, _ = removed(talk(">S <SA >A"), of_originator(0, 10), of_originator(20, 10), of_originator(20, 10))
    assert (flow["orig_bytes"], flow["history"]) == (20, b"ShADT")


@pytest.mark.parametrize("flags", ["A", "FA"])
def test_a_fin_that_comes_late_is_no_byte(flags):
    last = of_originator(0, 10, flags), of_originator(11, 0)
    for rows in (last, last[::-1]):
        assert removed(talk(">S <SA >A"), *rows)[0]["orig_bytes"] == 10


def test_both_directions_are_out_of_order_independently():
    answers = [tcp("A", B, A, seq=5001 + start, ack=1001, length=5) for start in (5, 0)]
    flow, _ = removed(talk(">S <SA >A"), of_originator(10, 10), answers[0], of_originator(0, 10), answers[1])
    assert (flow["orig_bytes"], flow["resp_bytes"], flow["history"]) == (20, 10, b"ShADd")


@pytest.mark.parametrize(("gaps", "forgotten"), [(MANY, 0), (MANY + 1, 1)])
def test_where_there_is_no_room_for_a_hole_what_fills_it_counts_as_sent_again(gaps, forgotten):
    ahead = [of_originator(10 + 20 * i, 10) for i in range(gaps)]
    flow, counters = removed(talk(">S <SA >A"), *ahead, *(of_originator(20 * i, 10) for i in range(gaps)))
    assert (flow["orig_bytes"], counters["tcp_holes_forgotten"]) == (10 * (2 * gaps - forgotten), forgotten)
    assert (b"T" in flow["history"]) == (forgotten > 0)


@pytest.mark.parametrize("over", [0, 1])
def test_holes_of_many_connections_share_the_room(over):
    ports = np.arange(1024, 1024 + HOLES + over)
    rows = []
    for start in (10, 0):
        row = np.repeat(of_originator(start, 10), len(ports))
        row["src_port"] = ports
        rows.append(row)
    opening = np.repeat(talk(">A"), len(ports))
    opening["src_port"], opening["seq"] = ports, 1001
    table, rows = FlowTable(), np.concatenate([opening, *rows])
    events = run(table, rows, every(1, rows))
    assert events["orig_bytes"].sum() == 20 * len(ports) - 10 * over
    assert table.counters["tcp_holes_forgotten"] == over


def rest_of(first, **fields):
    """The rest of a datagram whose first fragment this is."""
    row = first.copy()
    row["kind"], row["more"] = Kind.REST, 0
    for name, value in fields.items():
        row[name] = value
    return row


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["in order", "the next one comes between"])
def test_a_segment_in_fragments_counts_whole_with_its_fin(order):
    first = of_originator(0, 1460, "FA", more=1)
    rest = rest_of(first, seq=1001 + 1460, payload_len=540)
    ack = tcp("A", B, A, seq=5001, ack=1001 + 2000 + 1)
    between = [first, [rest, of_originator(2001, 0)][order[0]], [rest, of_originator(2001, 0)][order[1]]]
    flow, counters = removed(talk(">S <SA >A"), *between, ack)
    assert (flow["orig_bytes"], flow["orig_pkts"], counters["tcp_acks_of_unseen"]) == (2000, 4, 0)
    assert b"T" not in flow["history"]


@pytest.mark.parametrize("kind", [Kind.UDP, Kind.SCTP, Kind.ICMP])
def test_the_rest_of_a_datagram_adds_bytes_and_is_no_packet_and_no_event(kind):
    first = packet(kind, A, B, payload_len=1472, more=1, icmp_type=8 if kind == Kind.ICMP else 0)
    if kind == Kind.ICMP:
        first["src_port"] = first["dst_port"] = 0
    rows = np.concatenate([first, rest_of(first, payload_len=6528)])
    table = FlowTable()
    events = run(table, rows, every(1000, rows))
    assert (events[-1]["orig_bytes"], events[-1]["orig_pkts"], events[-1]["duration"]) == (8000, 1, 0)
    assert len(events) == (1 if kind == Kind.SCTP else 2)
    assert (table.counters["flow_packets"], table.counters["not_flow"], table.counters["flows"]) == (1, 1, 1)


def test_the_rest_of_what_is_no_flow_any_more_makes_none():
    table, row = FlowTable(), rest_of(packet(Kind.UDP, A, B, payload_len=100))
    assert len(run(table, row, every(1, row))) == 0
    assert (table.counters["flows"], table.counters["not_flow"]) == (0, 1)


def layers(host, ident):
    """IP and IPv6 of a host's own."""
    four = IP(src=f"192.0.2.{host}", dst="198.51.100.2", id=ident)
    return four, IPv6(src=f"2001:db8::{host}", dst="2001:db8:ffff::2") / IPv6ExtHdrFragment(id=ident)


def a_capture_of_fragments(path):
    """Four hosts send TCP segments out of order, and UDP datagrams, all in fragments that are out of order too."""
    random, frames = np.random.default_rng(11), []

    def send(packet):
        pieces = fragment6(packet, 1280) if IPv6 in packet else fragment(packet, 1480)
        frames.extend(bytes(ether() / pieces[at]) for at in random.permutation(len(pieces)))

    for host in range(1, 5):
        for base in layers(host, 0):
            send(base / TCP(sport=40000, dport=443, flags="S", seq=1000))
        for ident, number in enumerate(random.permutation(20).tolist(), 1):
            flags = "FA" if number == 19 else "A"
            for base in layers(host, ident):
                send(base / TCP(sport=40000, dport=443, flags=flags, seq=1001 + 3000 * number) / Raw(bytes(3000)))
            for base in layers(host, 1000 + ident):
                send(base / UDP(sport=40000, dport=514) / Raw(bytes(100 * number)))
    path.write_bytes(pcap(Packet(number * 1000, frame, len(frame)) for number, frame in enumerate(frames)))


def bytes_by_host(rows, now):
    events = run(FlowTable(), rows, now)
    ends = events[events["event"] == Event.CONNECTION_STATE_REMOVE]
    return {
        (str(to_address(each["orig_hi"], each["orig_lo"])), int(each["proto"])): int(each["orig_bytes"])
        for each in ends
    }


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_counts_as_many_bytes_of_what_comes_in_fragments_and_out_of_order(tmp_path):
    path = tmp_path / "fragments.pcap"
    a_capture_of_fragments(path)
    expected = Counter()
    for four, six, segment, datagram in fields_of(path, "ip.src", "ipv6.src", "tcp.len", "udp.length"):
        if segment or datagram:
            expected[four or six, 6 if segment else 17] += int(segment or int(datagram) - 8)
    rows, now = decoded([path])
    assert bytes_by_host(rows, now) == dict(expected)
    assert sum(expected.values()) == 8 * (60_000 + 19_000)
    shared = {}
    for own in range(4):
        mine = rows.copy()
        keep_share(mine, own, 4)
        shared |= bytes_by_host(mine, now)
    assert shared == dict(expected)
