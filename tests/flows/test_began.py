"""Who began a flow: told by its first packet, by what was seen before, or by its ports, and which of them it was."""

import numpy as np
import pytest

from sensor.address import to_address
from sensor.flows import Event, FlowTable
from sensor.flows.sharding import keep_share
from sensor.packet import ACK, FIN, PROTO_ICMPV6, RST, SYN, URG, Kind
from tests.flows.packets import SECOND, every, packet, run, talk, tcp

CLIENT, SERVER, HIGH = ("192.0.2.1", 50000), ("198.51.100.53", 443), ("198.51.100.53", 40000)
KNOWN, UNKNOWN, MAYBE = (1, 0), (0, 0), (0, 1)  # orig_known, may_be_reply
A, B = ("192.0.2.1", 0), ("198.51.100.2", 0)
GAP = 400 * SECOND  # every flow of before is over


def last_flow(*rows, step=1, now=None):
    """How the flow that was removed last came out."""
    rows = np.concatenate(rows)
    events = run(FlowTable(), rows, every(step, rows) if now is None else np.array(now))
    return events[events["event"] == Event.CONNECTION_STATE_REMOVE][-1]


def said(flow):
    """Who began it, and how well that is known."""
    who = str(to_address(flow["orig_hi"], flow["orig_lo"])), int(flow["orig_p"])
    return who, (int(flow["orig_known"]), int(flow["may_be_reply"]))


def udp(src, dst, **fields):
    return packet(Kind.UDP, src, dst, **fields)


def raw_tcp(flags, src, dst):
    row = tcp("", src, dst)
    row["tcp_flags"] = flags
    return row


@pytest.mark.parametrize(
    ("flags", "is_known", "is_reply"),
    [
        (SYN, True, False),
        (SYN | ACK, True, True),
        (SYN | FIN, True, False),
        (SYN | RST, True, False),
        (SYN | ACK | RST, True, False),
        (0, True, False),
        (FIN, True, False),
        (FIN | URG | 0x08, True, False),
        (ACK, False, False),
        (ACK | FIN, False, False),
        (RST, False, False),
        (RST | ACK, False, False),
    ],
)
def test_tcp_flags_tell_who_began_where_only_one_side_can_send_them_first(flags, is_known, is_reply):
    for src, dst in ((CLIENT, HIGH), (HIGH, CLIENT)):  # ports that say nothing
        who, (known, _) = said(last_flow(raw_tcp(flags, src, dst)))
        assert (who, known) == (dst if is_reply else src, is_known)


@pytest.mark.parametrize(("chunk", "who", "known"), [(1, HIGH, 1), (2, CLIENT, 1), (3, HIGH, 0), (0, HIGH, 0)])
def test_the_chunk_tells_who_began_an_association(chunk, who, known):
    found, (is_known, _) = said(last_flow(packet(Kind.SCTP, HIGH, CLIENT, sctp_chunk=chunk)))
    assert (found, is_known) == (who, known)


@pytest.mark.parametrize(("kind", "proto"), [(8, 1), (0, 1), (3, 1), (128, PROTO_ICMPV6), (135, PROTO_ICMPV6)])
def test_who_began_is_always_known_of_icmp(kind, proto):
    row = packet(Kind.ICMP, ("192.0.2.1", 0), ("198.51.100.2", 0), icmp_type=kind, proto=proto)
    assert said(last_flow(row))[1] == KNOWN


@pytest.mark.parametrize(
    ("src_p", "dst_p", "expected"),
    [
        (50000, 53, KNOWN),
        (50000, 3306, KNOWN),
        (32767, 32768, MAYBE),
        (32768, 32768, KNOWN),
        (32767, 32767, KNOWN),
        (53, 1023, KNOWN),
        (53, 1024, MAYBE),
        (1023, 1024, MAYBE),
        (1024, 1024, KNOWN),
        (3306, 1024, MAYBE),
        (5353, 5353, MAYBE),
        (123, 123, KNOWN),
    ],
)
def test_ports_that_a_servers_reply_may_have_leave_unknown_who_sent_a_datagram_first(src_p, dst_p, expected):
    assert said(last_flow(udp(("192.0.2.1", src_p), ("198.51.100.2", dst_p))))[1] == expected


def test_of_a_flow_that_was_turned_round_the_ports_of_its_first_packet_count():
    assert said(last_flow(udp(("198.51.100.2", 53), ("192.0.2.1", 50000)))) == (("192.0.2.1", 50000), MAYBE)
    assert said(last_flow(tcp("A", ("198.51.100.2", 443), CLIENT))) == (CLIENT, MAYBE)
    assert said(last_flow(tcp("A", CLIENT, ("198.51.100.2", 443)))) == (CLIENT, UNKNOWN)


def test_who_began_another_ip_protocol_is_not_known_unless_it_was_used_before():
    there, back = (packet(Kind.IP, *ends, proto=47) for ends in ((A, B), (B, A)))
    assert said(last_flow(there)) == (A, UNKNOWN)
    assert said(last_flow(there, back, back, now=[0, 1, GAP])) == (A, KNOWN)
    assert said(last_flow(there, back, there, now=[0, 1, GAP])) == (A, KNOWN)


USED = {
    Kind.TCP: (talk(">S <SA >A >A+10 <A+10", CLIENT, HIGH), tcp("A", HIGH, CLIENT, length=5)),
    Kind.UDP: (np.concatenate([udp(CLIENT, HIGH), udp(HIGH, CLIENT)]), udp(HIGH, CLIENT)),
    Kind.SCTP: (
        np.concatenate([packet(Kind.SCTP, *ends, sctp_chunk=each) for ends, each in
                        (((CLIENT, HIGH), 1), ((CLIENT, HIGH), 0), ((HIGH, CLIENT), 0))]),
        packet(Kind.SCTP, HIGH, CLIENT, sctp_chunk=3),
    ),
}  # fmt: skip


def at_port(row, dst_p):
    row = row.copy()
    row["dst_port"] = dst_p
    return row


@pytest.mark.parametrize("kind", list(USED))
@pytest.mark.parametrize(("late", "is_known"), [(0, True), (1, False)])
def test_what_comes_from_a_service_that_its_receiver_has_used_within_a_day_is_its_reply(kind, late, is_known):
    """Also to another port than that of then."""
    before, reply = USED[kind]
    now = [*range(len(before)), 86400 * SECOND + late]
    who, (known, _) = said(last_flow(before, at_port(reply, 51000), now=now))
    assert ((who, known) == ((CLIENT[0], 51000), 1)) is is_known


def test_a_rst_from_a_service_that_was_only_tried_is_not_known_to_be_its_reply():
    assert said(last_flow(talk(">S", CLIENT, HIGH), tcp("RA", HIGH, CLIENT, ack=9), now=[0, GAP])) == (HIGH, UNKNOWN)


@pytest.mark.parametrize(
    ("wait", "port", "known"),
    [(300 * SECOND, 50000, True), (300 * SECOND + 1, 50000, False), (100 * SECOND, 50001, False)],
)
def test_a_datagram_that_comes_late_to_the_very_socket_that_asked_is_a_reply(wait, port, known):
    ask, reply = udp(CLIENT, ("198.51.100.53", 33000)), udp(("198.51.100.53", 33000), (CLIENT[0], port))
    who, how = said(last_flow(ask, reply, now=[0, wait]))
    assert (who, how) == (((CLIENT[0], port) if known else ("198.51.100.53", 33000)), KNOWN)


def test_what_goes_to_a_service_that_its_sender_has_tried_is_its_own():
    ack = tcp("A", (CLIENT[0], 53), (HIGH[0], 50999))
    assert said(last_flow(ack)) == ((HIGH[0], 50999), MAYBE)
    assert said(last_flow(talk(">S", CLIENT, (HIGH[0], 50999)), ack, now=[0, GAP])) == ((CLIENT[0], 53), KNOWN)
    assert said(last_flow(talk(">S", CLIENT, (HIGH[0], 50998)), ack, now=[0, GAP])) == ((HIGH[0], 50999), MAYBE)


ASKS = {
    "multicast": udp(CLIENT, ("239.255.255.250", 1900)),
    "broadcast": udp(CLIENT, ("255.255.255.255", 3702)),
    "to a network's last address": udp(CLIENT, ("192.0.2.255", 137), group=1),
    "multicast of IPv6": udp(("2001:db8::1", 50000), ("ff02::fb", 5353)),
}
ANSWERER = ("203.0.113.7", 49152)


@pytest.mark.parametrize("name", ASKS)
@pytest.mark.parametrize(("late", "is_reply"), [(0, True), (1, False)])
def test_what_a_socket_gets_that_asked_many_within_thirty_seconds_is_a_reply(name, late, is_reply):
    ask = ASKS[name]
    asker = str(to_address(ask["src_hi"][0], ask["src_lo"][0])), 50000
    reply = udp(ANSWERER, asker)
    found = said(last_flow(ask, reply, now=[0, 30 * SECOND + late]))
    assert found == ((asker if is_reply else ANSWERER), KNOWN)


@pytest.mark.parametrize("port", [49999, 50001])
def test_another_port_than_the_one_that_asked_many_gets_no_reply(port):
    reply = udp(ANSWERER, (CLIENT[0], port))
    assert said(last_flow(ASKS["multicast"], reply)) == (ANSWERER, KNOWN)


def test_a_request_to_one_host_is_none_to_many():
    assert said(last_flow(udp(CLIENT, HIGH), udp(ANSWERER, CLIENT)))[0] == ANSWERER


def test_a_tcp_packet_is_no_answer_to_what_asked_many():
    rows = np.concatenate([ASKS["multicast"], tcp("A", ANSWERER, CLIENT)])
    events = run(FlowTable(wanted=[Event.CONNECTION_STATE_REMOVE]), rows, every(1, rows))
    assert said(events[events["proto"] == 6][0]) == (ANSWERER, UNKNOWN)


@pytest.mark.parametrize("of", [2, 4, 16])
def test_who_asked_many_is_known_to_the_worker_that_sees_only_the_answers(of):
    hosts = [f"203.0.113.{number}" for number in range(1, 41)]
    rows = np.concatenate(
        [ASKS["multicast"], ASKS["to a network's last address"], *(udp((h, 49152), CLIENT) for h in hosts)]
    )
    found = []
    for own in range(of):
        mine = rows.copy()
        keep_share(mine, own, of)
        table = FlowTable(wanted=[Event.UDP_REPLY])
        found += run(table, mine, every(1, mine))["orig_known"].tolist()
        assert table.counters["flow_packets"] == np.isin(mine["kind"], [Kind.UDP]).sum()
    assert found == [1] * len(hosts)
