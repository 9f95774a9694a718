"""UDP, ICMP, SCTP and ARP: who is the originator, what answers what, and what ICMP errors tell."""

import numpy as np
import pytest

from sensor.address import to_address
from sensor.flows import ConnState, Event, FlowTable
from sensor.packet import PROTO_ICMPV6, PROTO_UDP, Kind
from tests.flows.packets import every, names, packet, run

CLIENT, SERVER = ("192.0.2.1", 50000), ("198.51.100.53", 53)
V6, V6_OTHER, ROUTER = ("2001:db8::1", 0), ("2001:db8::2", 0), ("203.0.113.1", 0)


def icmp(src, dst, kind, code=0, quoted=None, **fields):
    row = packet(Kind.ICMP, (src[0], 0), (dst[0], 0), icmp_type=kind, icmp_code=code, **fields)
    if quoted is not None:
        row["quoted_proto"] = quoted["proto"]
        for name in ("src_hi", "src_lo", "dst_hi", "dst_lo", "src_port", "dst_port"):
            row[f"quoted_{name}"] = quoted[name]
    return row


def events_of(*rows):
    rows = np.concatenate(rows)
    return run(FlowTable(), rows, every(1, rows))


def test_requests_and_replies_are_counted_and_told_apart():
    ask, answer = packet(Kind.UDP, CLIENT, SERVER, payload_len=30), packet(Kind.UDP, SERVER, CLIENT, payload_len=90)
    events = events_of(ask, answer, ask)
    assert names(events) == ["udp_request", "service_used", "udp_reply", "udp_request", "connection_state_remove"]
    last = events[-1]
    assert (last["history"], last["conn_state"], last["orig_bytes"], last["resp_bytes"]) == (
        b"Dd",
        ConnState.SF,
        60,
        90,
    )
    assert set(events["orig_p"].tolist()) == {50000}


def test_no_answer_is_s0_and_an_answer_alone_is_shr():
    alone = packet(Kind.UDP, SERVER, CLIENT)
    assert events_of(packet(Kind.UDP, CLIENT, SERVER))[-1]["conn_state"] == ConnState.S0
    events = events_of(alone)
    assert names(events) == ["udp_reply", "connection_state_remove"]
    assert (events[-1]["conn_state"], events[-1]["history"], events[-1]["orig_p"]) == (ConnState.SHR, b"^d", 50000)


@pytest.mark.parametrize(
    ("src_p", "dst_p", "host", "orig_p"),
    [
        (1023, 32768, "192.0.2.1", 32768),
        (1024, 32768, "192.0.2.1", 1024),
        (53, 32767, "192.0.2.1", 53),
        (5353, 50000, "192.0.2.1", 50000),
        (53, 50000, "224.0.0.251", 53),
        (53, 50000, "239.255.255.250", 53),
        (53, 50000, "255.255.255.255", 53),
        (53, 50000, "ff02::fb", 53),
        (53, 50000, "2001:db8::9", 50000),
    ],
)
def test_a_first_packet_from_a_server_port_to_a_clients_is_a_reply(src_p, dst_p, host, orig_p):
    assert events_of(packet(Kind.UDP, ("198.51.100.2", src_p), (host, dst_p)))[-1]["orig_p"] == orig_p


@pytest.mark.parametrize(
    ("ends", "proto", "asks", "answers"), [((CLIENT, SERVER), 1, 8, 0), ((V6, V6_OTHER), PROTO_ICMPV6, 128, 129)]
)
def test_echo_request_and_reply_are_one_flow(ends, proto, asks, answers):
    ask, answer = icmp(*ends, asks, proto=proto), icmp(*ends[::-1], answers, proto=proto)
    for rows in ((ask, answer), (answer, ask)):
        events = events_of(*rows)
        assert sorted(names(events)) == ["connection_state_remove", "icmp_echo_reply", "icmp_echo_request"]
        last = events[-1]
        assert (last["orig_p"], last["resp_p"], last["orig_pkts"], last["resp_pkts"]) == (asks, answers, 1, 1)
        assert str(to_address(last["orig_hi"], last["orig_lo"])) == ends[0][0]


def test_messages_that_nothing_answers_are_flows_of_their_own():
    quoted = packet(Kind.UDP, CLIENT, SERVER)
    events = events_of(icmp(CLIENT, SERVER, 3, 3, quoted), icmp(SERVER, CLIENT, 3, 3, quoted))
    assert names(events).count("connection_state_remove") == 2
    assert events[-1]["conn_state"] == ConnState.OTH


@pytest.mark.parametrize(
    ("kind", "code", "proto", "event", "mark"),
    [
        (3, 3, 1, Event.ICMP_UNREACHABLE, "unreachable"),
        (11, 0, 1, Event.ICMP_TIME_EXCEEDED, "time_exceeded"),
        (1, 4, PROTO_ICMPV6, Event.ICMP_UNREACHABLE, "unreachable"),
        (3, 0, PROTO_ICMPV6, Event.ICMP_TIME_EXCEEDED, "time_exceeded"),
    ],
)
def test_an_icmp_error_tells_of_the_quoted_flow_and_marks_it(kind, code, proto, event, mark):
    probe = packet(Kind.UDP, CLIENT, SERVER)
    events = events_of(probe, icmp(ROUTER, CLIENT, kind, code, probe, proto=proto))
    error = events[events["event"] == event]
    assert len(error) == 1
    assert (error["orig_p"][0], error["resp_p"][0], error["proto"][0]) == (50000, 53, PROTO_UDP)
    assert str(to_address(error["reporter_hi"][0], error["reporter_lo"][0])) == ROUTER[0]
    assert (error["icmp_type"][0], error["icmp_code"][0]) == (kind, code)
    removed = events[(events["event"] == Event.CONNECTION_STATE_REMOVE) & (events["proto"] == PROTO_UDP)]
    assert (removed[mark][0], removed["unreachable"][0] + removed["time_exceeded"][0]) == (1, 1)


def test_fragmentation_needed_is_not_unreachable():
    probe = packet(Kind.UDP, CLIENT, SERVER)
    events = events_of(probe, icmp(ROUTER, CLIENT, 3, 4, probe))
    assert "icmp_unreachable" not in names(events)
    assert not events["unreachable"].any()


def test_an_error_that_quotes_nothing_is_counted():
    table, row = FlowTable(), icmp(ROUTER, CLIENT, 3, 3)
    assert names(run(table, row, every(1, row))) == ["connection_state_remove"]
    assert table.counters["icmp_without_quote"] == 1


def test_sctp_is_a_flow_as_udp_is_without_requests():
    events = events_of(packet(Kind.SCTP, CLIENT, SERVER), packet(Kind.SCTP, SERVER, CLIENT))
    assert names(events) == ["service_used", "connection_state_remove"]
    assert (events[1]["proto"], events[1]["conn_state"], events[1]["history"]) == (132, ConnState.SF, b"Dd")


@pytest.mark.parametrize(
    ("chunk", "letter"),
    [(1, "S"), (2, "H"), (6, "R"), (7, "F"), (0, "D"), (10, "D"), (3, "A"), (11, "A"), (14, "A"), (255, "A")],
)
def test_an_sctp_packet_has_the_letter_of_its_first_chunk(chunk, letter):
    asks = packet(Kind.SCTP, CLIENT, SERVER, sctp_chunk=4)
    events = events_of(
        asks, *(packet(Kind.SCTP, *ends, sctp_chunk=chunk) for ends in ((CLIENT, SERVER), (SERVER, CLIENT)))
    )
    history = events[-1]["history"].decode()
    assert history == ("Aa" if letter == "A" else f"A{letter}{letter.lower()}")


def test_an_association_without_data_uses_no_service():
    assert names(spoken("> 1 < 2 > 7 < 8")) == ["connection_state_remove"]
    assert names(spoken("> 1 < 2 > 10 < 11 < 0")) == ["service_used", "connection_state_remove"]


def spoken(script):
    """The events of SCTP packets, written as who sends and the first chunk."""
    words = script.split()
    ends = {">": (CLIENT, SERVER), "<": (SERVER, CLIENT)}
    pairs = zip(words[::2], words[1::2], strict=True)
    return events_of(*(packet(Kind.SCTP, *ends[side], sctp_chunk=int(chunk)) for side, chunk in pairs))


def other(proto, src=CLIENT, dst=SERVER):
    return packet(Kind.IP, (src[0], 0), (dst[0], 0), proto=proto, payload_len=20)


@pytest.mark.parametrize("proto", [0, 2, 47, 50, 103, 255])
def test_another_ip_protocol_is_a_flow_with_ports_0(proto):
    events = events_of(other(proto), other(proto, SERVER, CLIENT), other(proto))
    assert names(events) == ["service_used", "connection_state_remove"]
    last = events[-1]
    assert (last["proto"], last["orig_p"], last["resp_p"], last["history"]) == (proto, 0, 0, b"Dd")
    assert (last["orig_pkts"], last["resp_pkts"], last["orig_bytes"], last["conn_state"]) == (2, 1, 40, ConnState.OTH)


@pytest.mark.parametrize("proto", [1, 6, 17, 58, 132])
def test_a_described_protocol_whose_header_was_cut_is_no_flow(proto):
    table, row = FlowTable(), other(proto)
    assert len(run(table, row, every(1, row))) == 0
    assert (table.counters["flows"], table.counters["not_flow"]) == (0, 1)


def test_arp_tells_who_asks_for_whom():
    ask = packet(Kind.ARP, ("192.0.2.1", 0), ("192.0.2.2", 0), arp_op=1, sha=0x0200_0000_0001, tha=0)
    reply = packet(Kind.ARP, ("192.0.2.2", 0), ("192.0.2.1", 0), arp_op=2, sha=0x0200_0000_0002, tha=0x0200_0000_0001)
    events = events_of(ask, reply, packet(Kind.ARP, ("192.0.2.2", 0), ("192.0.2.1", 0), arp_op=3))
    assert names(events) == ["arp_request", "arp_reply"]
    assert events["orig_mac"].tolist() == [0x0200_0000_0001, 0x0200_0000_0002]
    assert [str(to_address(e["resp_hi"], e["resp_lo"])) for e in events] == ["192.0.2.2", "192.0.2.1"]


def test_every_packet_is_counted_under_one_name():
    kinds = [Kind.ARP, Kind.IP, Kind.FRAGMENT, Kind.TCP, Kind.UDP, Kind.ICMP, Kind.SCTP]
    cut = packet(Kind.IP, CLIENT, SERVER, proto=PROTO_UDP)
    rows, table = np.concatenate([cut, *(packet(kind, CLIENT, SERVER) for kind in kinds)]), FlowTable()
    run(table, rows, every(1, rows))
    counted = {name: table.counters[name] for name in ("flow_packets", "arp_packets", "not_flow")}
    assert counted == {"flow_packets": 5, "arp_packets": 1, "not_flow": 2}


def test_only_wanted_events_are_written():
    rows = np.concatenate([packet(Kind.UDP, CLIENT, SERVER)] * 3)
    table = FlowTable(wanted=[Event.UDP_REPLY])
    assert len(run(table, rows, every(1, rows))) == 0
    assert table.counters["flows"] == 1
