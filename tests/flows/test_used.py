"""A service is used: when that is told, and what the end of a flow tells of those before it."""

import numpy as np
import pytest

from sensor.flows import Event, FlowOptions, FlowTable
from sensor.packet import Kind
from tests.flows.packets import SECOND, A, B, every, packet, run, talk, tcp

TEN = 10 * SECOND
FAR = 1 << 60
PATIENT = FlowOptions(udp_inactivity=FAR, tcp_inactivity=FAR)


def of(event, *rows, now=None, options=PATIENT, finish=True):
    """The rows of one event."""
    rows = np.concatenate(rows)
    now = every(1, rows) if now is None else np.array(now, np.int64)
    events = run(FlowTable(options), rows, now, finish=finish)
    return events[events["event"] == event]


def used(*rows, **more):
    return of(Event.SERVICE_USED, *rows, **more)


def udp(src=A, dst=B, **fields):
    return packet(Kind.UDP, src, dst, **fields)


def stream(many, src=A, dst=B):
    return np.repeat(udp(src, dst), many)


@pytest.mark.parametrize(
    ("script", "when"),
    [
        (">S <SA >A >A+10 <A+20 >A+1 <A+1", [4]),
        (">S <SA >A <A+20 >A+10", [4]),
        (">A+1 <A+1", [1]),
        (">S <SA >A >A+10 <A", []),
        (">S <SA >A <A+10 >A", []),
        (">S >A >A", []),
        (">S >A >A+10", [2]),
        (">S >A+10", [1]),
        (">S >0+10", []),  # it acknowledges nothing
        (">S <SA >A >A+10", []),  # the answer was seen: its data is to come
        (">A >A+10", []),
        ("<SA <A+20", []),
    ],
)
def test_a_tcp_service_is_used_when_data_went_both_ways_or_went_on_an_answer_that_was_acknowledged(script, when):
    assert used(talk(script))["ts"].tolist() == when


@pytest.mark.parametrize("proto", [17, 47, 132])
def test_a_datagram_each_way_uses_a_service(proto):
    kind = {17: Kind.UDP, 132: Kind.SCTP}.get(proto, Kind.IP)
    ends = (A, B) if kind != Kind.IP else ((A[0], 0), (B[0], 0))
    there, back = packet(kind, *ends, proto=proto), packet(kind, *ends[::-1], proto=proto)
    assert used(there, there, back, back)["ts"].tolist() == [2]
    assert len(used(there, there)) == 0


def test_icmp_uses_no_service():
    ends = (A[0], 0), (B[0], 0)
    assert len(used(packet(Kind.ICMP, *ends, icmp_type=8), packet(Kind.ICMP, *ends[::-1], icmp_type=0))) == 0


@pytest.mark.parametrize(
    ("times", "told"),
    [
        ([0, 1, TEN - 1], [1]),
        ([0, 1, TEN], [1, TEN]),
        ([TEN - 2, TEN - 1, TEN, TEN + 1, 2 * TEN - 1, 2 * TEN], [TEN - 1, TEN, 2 * TEN]),
        ([0, 1, 95 * SECOND, 95 * SECOND + 1], [1, 95 * SECOND]),
    ],
)
def test_use_is_told_again_at_the_first_packet_of_each_slot_of_absolute_time(times, told):
    rows = np.concatenate([udp(), udp(B, A), *[udp()] * (len(times) - 2)])
    assert used(rows, now=times)["ts"].tolist() == told


def test_use_is_told_once_in_a_slot_of_one_contact():
    """A second connection to a service is told too, and no third; another service or another client is its own."""
    more = [(("192.0.2.1", 40000 + number), B) for number in (1, 2)]
    pairs = [(A, B), *more, (A, ("198.51.100.2", 444)), (("192.0.2.9", 40000), B)]
    found = used(*(talk(">S <SA >A >A+1 <A+1", *ends) for ends in pairs))
    assert list(zip(found["orig_p"].tolist(), found["resp_p"].tolist(), strict=True)) == [
        (40000, 443),
        (40001, 443),
        (40000, 444),
        (40000, 443),
    ]


def test_a_use_tells_how_many_flows_were_begun_and_when_the_first():
    again = [talk(">S", ("192.0.2.1", port), B) for port in (40001, 40002, 40003)]
    found = used(*again, talk(">S <SA >A >A+1 <A+1"), now=[7, 8, 9, *range(20, 25)])
    assert (found["connections"].tolist(), found["first_try"].tolist(), found["ts"].tolist()) == ([4], [7], [24])


@pytest.mark.parametrize(
    ("many", "time", "is_used"),
    [(10, 6 * SECOND, False), (11, 5 * SECOND, True), (11, 5 * SECOND - 1, False), (12, 5 * SECOND, True)],
)
def test_a_stream_of_over_ten_datagrams_over_five_seconds_uses_a_service(many, time, is_used):
    found = used(stream(many), now=[0] * (many - 1) + [time])
    assert found["ts"].tolist() == ([time] if is_used else [])


def test_a_stream_is_no_use_where_it_is_not_known_who_began():
    now = [SECOND * number for number in range(21)]
    assert len(used(stream(21, ("192.0.2.1", 3000), ("198.51.100.2", 40000)), now=now)) == 0
    assert len(used(stream(21, ("192.0.2.1", 40000), ("198.51.100.2", 3000)), now=now)) == 2


def test_a_stream_of_what_is_no_udp_is_no_use():
    rows = np.repeat(packet(Kind.SCTP, A, B, sctp_chunk=1), 20)
    assert len(used(rows, now=[SECOND * number for number in range(20)])) == 0


# what an end tells

SYN_GONE = talk(">S <RA")


def port(number, script=">S", resp=B):
    return talk(script, ("192.0.2.1", number), resp)


def test_an_end_tells_how_often_the_service_was_tried_since_when_and_whether_steadily():
    now = np.array([100, 160, 220, 280]) * SECOND
    found = of(Event.CONNECTION_ATTEMPT, *(port(40000 + number) for number in range(4)), now=now)
    assert found["tries"].tolist() == [1, 2, 3, 4]
    assert found["first_try"].tolist() == [100 * SECOND] * 4
    assert found["steady"].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("event", "script"),
    [
        (Event.CONNECTION_ATTEMPT, ">S"),
        (Event.CONNECTION_REJECTED, ">S <RA"),
        (Event.CONNECTION_FINISHED, ">S <SA >A >FA <FA"),
        (Event.CONNECTION_RESET, ">S <SA >R"),
        (Event.CONNECTION_STATE_REMOVE, ">S <SA >A"),
    ],
)
def test_every_event_that_ends_a_flow_tells_of_its_contact(event, script):
    rows = port(39999), talk(script)
    found = of(event, *rows, now=[0, *[60 * SECOND] * len(rows[1])])[-1]
    assert (found["tries"], found["first_try"], found["orig_known"]) == (2, 0, 1)


def test_where_data_went_both_ways_an_end_tells_nothing_of_the_contact():
    rows = talk(">S <SA >A >A+1 <A+1 >FA <FA")
    for event in (Event.CONNECTION_FINISHED, Event.CONNECTION_STATE_REMOVE):
        found = of(event, port(39999), rows, now=[0, *range(60 * SECOND, 60 * SECOND + 7)])[-1]
        assert [found[name] for name in ("tries", "first_try", "steady", "reached", "controls")] == [0] * 5


def test_events_that_end_nothing_tell_nothing_of_the_contact():
    rows = np.concatenate([port(39999), talk(">S <SA >A"), udp()])
    events = run(FlowTable(), rows, every(1, rows))
    middle = events[np.isin(events["event"], [Event.CONNECTION_ESTABLISHED, Event.UDP_REQUEST])]
    assert len(middle) == 2
    assert not (middle["tries"] | middle["first_try"] | middle["reached"]).any()


@pytest.mark.parametrize(
    ("first", "tries"),
    [
        (tcp("S", ("192.0.2.1", 39999), B), 2),
        (tcp("F", ("192.0.2.1", 39999), B), 2),
        (tcp("SA", B, ("192.0.2.1", 39999)), 1),  # what the responder sends first is no try
        (tcp("A", ("192.0.2.1", 39999), B), 1),  # nor is what may be an answer
    ],
)
def test_a_try_is_a_flow_that_its_originator_was_seen_to_begin(first, tries):
    assert of(Event.CONNECTION_ATTEMPT, first, talk(">S"), now=[0, 500 * SECOND])[-1]["tries"] == tries


DAY = 86400 * SECOND
ANSWERED = {"tcp": talk(">S <SA >A >A+1 <A+1", ("192.0.2.1", 39999), B), "udp": np.concatenate([udp(), udp(B, A)])}


@pytest.mark.parametrize("before", ANSWERED)
@pytest.mark.parametrize("after", ["tcp", "udp"])
@pytest.mark.parametrize(("late", "is_reached"), [(0, 1), (1, 0)])
def test_a_port_was_reached_within_a_day_by_tcp_or_udp(before, after, late, is_reached):
    rows = ANSWERED[before], {"tcp": SYN_GONE, "udp": udp(("192.0.2.1", 40009), B)}[after]
    now = [0] * len(rows[0]) + [DAY + late] * len(rows[1])
    options = FlowOptions(udp_inactivity=SECOND)
    assert of(Event.CONNECTION_STATE_REMOVE, *rows, now=now, options=options)[-1]["reached"] == is_reached


@pytest.mark.parametrize("resp", [("198.51.100.2", 444), ("198.51.100.3", 443)])
def test_another_port_or_host_was_not_reached(resp):
    assert not of(Event.CONNECTION_ATTEMPT, ANSWERED["tcp"], talk(">S", A, resp))["reached"].any()


def test_a_protocol_without_tcps_ports_is_not_reached_by_them():
    assert not of(Event.CONNECTION_STATE_REMOVE, ANSWERED["tcp"], packet(Kind.SCTP, A, B))["reached"].any()


CONTROL = ("198.51.100.2", 21)


def controls(*rows, **more):
    """Whether the originator of a refused connection controls its responder, and is controlled by it."""
    found = of(Event.CONNECTION_REJECTED, *rows, talk(">S <RA", ("192.0.2.1", 50000), B), **more)
    return [(each["controls"], each["is_controlled"]) for each in found]


@pytest.mark.parametrize(("port_of_control", "holds"), [(21, 1), (990, 1), (22, 0)])
def test_a_connection_to_a_control_port_of_ftp_that_carries_data_both_ways_is_held(port_of_control, holds):
    assert controls(port(1000, ">S <SA >A >A+1 <A+1", ("198.51.100.2", port_of_control))) == [(holds, 0)]


def test_a_control_connection_is_held_by_who_began_it_to_that_host_alone():
    assert controls(talk(">S <SA >A >A+1", ("192.0.2.1", 1000), CONTROL)) == [(0, 0)]
    assert controls(talk(">S <SA >A >A+1 <A+1", ("192.0.2.1", 1000), ("198.51.100.3", 21))) == [(0, 0)]
    assert controls(talk(">S <SA >A >A+1 <A+1", ("198.51.100.2", 1000), ("192.0.2.1", 21))) == [(0, 1)]


@pytest.mark.parametrize(("late", "holds"), [(0, 1), (1, 0)])
def test_a_control_connection_that_is_over_is_remembered_for_two_minutes(late, holds):
    data = talk(">S <SA >A >A+1 <A+1 >FA <FA", ("192.0.2.1", 1000), CONTROL)
    now = [0] * len(data) + [125 * SECOND + late] * 2
    assert controls(data, now=now) == [(holds, 0)]


def test_a_control_connection_whose_answer_was_seen_late_is_held_and_let_go():
    """Its ACK came first, from another ring: data of the originator alone, then of both."""
    rows = talk(">S <SA >A+1 <A+1", A, CONTROL)[[0, 2, 1, 3]]
    assert controls(rows) == [(1, 0)]
    gone = tcp("RA", CONTROL, A, seq=5002, ack=1002)
    now = [0] * 5 + [126 * SECOND] * 2
    assert controls(rows, gone, now=now) == [(0, 0)]


def test_an_answer_that_is_only_acknowledged_and_a_stream_reach_nothing():
    rows = talk(">S >A >A+10")
    assert not of(Event.CONNECTION_STATE_REMOVE, rows, SYN_GONE)["reached"].any()


def test_a_table_that_is_used_again_has_forgotten_all_contacts():
    table, rows = FlowTable(), np.concatenate([ANSWERED["tcp"], SYN_GONE])
    first, second = (run(table, rows, every(1, rows, start)) for start in (10**18, 0))
    names = [name for name in first.dtype.names if name not in ("order", "ts", "seen", "first_try")]
    assert (first[names] == second[names]).all()
