"""Waits: on the line, one under, one over; in order of due time; as of the time when they were over."""

import numpy as np
import pytest

from sensor.flows import FlowOptions, FlowTable
from sensor.packet import Kind
from tests.flows.packets import SECOND, A, B, names, packet, run, talk, tcp

OTHER = packet(Kind.FRAGMENT, ("203.0.113.9", 0), ("203.0.113.8", 0))
UDP, ICMP = packet(Kind.UDP, A, B), packet(Kind.ICMP, (A[0], 0), (B[0], 0), icmp_type=8)

WAITS = [
    (talk(">S"), "tcp_attempt", 5),
    (talk(">S <SA"), "tcp_half_open", 60),
    (talk(">S >A"), "tcp_inactivity", 300),
    (talk(">S <SA >A"), "tcp_inactivity", 300),
    (talk(">A"), "tcp_attempt", 5),
    (talk(">A <A"), "tcp_inactivity", 300),
    (talk(">S <SA >A >FA"), "tcp_inactivity", 300),
    (talk(">S <SA >A >FA <FA"), "tcp_half_open", 60),
    (talk(">S <SA >A >A+1 >FA <FA"), "tcp_close", 5),
    (talk(">F"), "tcp_close", 5),
    (talk(">S <RA"), "tcp_reset", 5),
    (talk(">S <SA >R"), "tcp_half_open", 60),
    (talk(">S <SA >A+1 >R"), "tcp_reset", 5),
    (UDP, "udp_inactivity", 60),
    (packet(Kind.SCTP, A, B), "udp_inactivity", 60),
    (packet(Kind.IP, A, B, proto=47), "udp_inactivity", 60),
    (ICMP, "icmp_inactivity", 60),
]


@pytest.mark.parametrize("late", [-1, 0, 1])
@pytest.mark.parametrize(("rows", "option", "seconds"), WAITS)
def test_a_wait_is_over_on_the_nanosecond(rows, option, seconds, late):
    assert getattr(FlowOptions(), option) == seconds * SECOND
    table = FlowTable(FlowOptions(**{option: 1000}))
    now = np.array([100] * len(rows) + [1100 + late])
    events = run(table, np.concatenate([rows, OTHER]), now, finish=False)
    removed = events[events["event"] == 5]
    assert removed["ts"].tolist() == ([1100] if late >= 0 else [])
    assert table.counters["flows_open"] == (late < 0)


@pytest.mark.parametrize("late", [-1, 0, 1])
@pytest.mark.parametrize(("rows", "option", "seconds"), WAITS)
def test_a_wait_is_over_on_the_nanosecond_though_no_packet_shows_it(rows, option, seconds, late):
    tables = [FlowTable(FlowOptions(**{option: 1000})) for _ in range(2)]
    now = np.array([100] * len(rows) + [1100 + late])
    shown = run(tables[0], np.concatenate([rows, OTHER]), now, finish=False)
    run(tables[1], rows, now[:-1], finish=False)
    passed = [events.copy() for events in tables[1].pass_time(1100 + late)]
    removed = shown[shown["event"] == 5]
    found = np.concatenate([*passed, shown[:0]])
    assert found[found["event"] == 5].tolist() == removed.tolist()
    assert not list(tables[1].pass_time(0)), "time does not run backwards"


def test_a_syn_ack_that_comes_again_puts_off_the_end_of_a_half_open_connection():
    rows = np.concatenate([talk(">S <SA"), *[tcp("SA", B, A, seq=5000, ack=1001)] * 2, OTHER])
    events = run(FlowTable(wanted=[5]), rows, np.array([0, 1, 60, 119, 179]) * SECOND, finish=False)
    assert (events["ts"].tolist(), events["history"].tolist()) == ([179 * SECOND], [b"Sh"])


@pytest.mark.parametrize("more", [tcp("S", seq=1000), tcp("S", seq=7), tcp("R", seq=1001), tcp("FA", seq=1001)])
def test_nothing_that_the_originator_adds_puts_off_an_attempt(more):
    rows = np.concatenate([talk(">S"), more, more, OTHER])
    events = run(FlowTable(), rows, np.array([0, 3, 4, 5]) * SECOND, finish=False)
    assert names(events) == ["connection_attempt", "connection_state_remove"]
    assert events["ts"].tolist() == [5 * SECOND] * 2


def test_packets_after_the_close_do_not_put_off_its_end():
    rows = np.concatenate([talk(">S <SA >A+1 >FA <FA >A"), OTHER])
    events = run(FlowTable(), rows, np.array([0, 0, 0, 0, 1, 5, 6]) * SECOND, finish=False)
    assert names(events)[-2:] == ["connection_finished", "connection_state_remove"]
    assert (events["ts"][-1], events["duration"][-1]) == (6 * SECOND, SECOND)


def test_a_packet_puts_off_inactivity():
    events = run(FlowTable(), np.concatenate([UDP] * 3), np.array([0, 59, 118]) * SECOND)
    assert names(events).count("connection_state_remove") == 1
    events = run(FlowTable(), np.concatenate([UDP] * 3), np.array([0, 60, 119]) * SECOND)
    assert names(events).count("connection_state_remove") == 2


def test_what_is_due_goes_in_order_of_due_time_whatever_its_kind():
    rows = np.concatenate([UDP, ICMP, talk(">A <A"), talk(">S", orig=("192.0.2.7", 9)), OTHER])
    now = np.array([0, 1, 2, 2, 3 * SECOND, 400 * SECOND])
    events = run(FlowTable(wanted=[5]), rows, now, finish=False)
    assert events["ts"].tolist() == [8 * SECOND, 60 * SECOND, 60 * SECOND + 1, 300 * SECOND + 2]
    assert events["proto"].tolist() == [6, 17, 1, 6]


def test_the_end_of_input_ends_every_wait_in_order_at_the_last_clock_value():
    rows = np.concatenate([UDP, talk(">A <A"), talk(">S", orig=("192.0.2.7", 9))])
    events = run(FlowTable(), rows, np.array([1, 2, 2, 3]))
    ended = ["connection_attempt", *["connection_state_remove"] * 3]
    assert names(events) == ["udp_request", *ended]
    assert events["proto"].tolist() == [17, 6, 6, 17, 6]
    assert events["ts"].tolist() == [1, 3, 3, 3, 3]


def test_a_table_can_be_used_again_from_an_earlier_time():
    table = FlowTable()
    for start in (10**18, 0, -(10**18)):
        events = run(table, talk(">S"), np.array([start]))
        assert (names(events), events["ts"].tolist()) == (
            ["connection_attempt", "connection_state_remove"],
            [start] * 2,
        )
    assert table.counters["flows"] == 3


@pytest.mark.parametrize("now", [-(2**63), 2**63 - 1])
def test_the_ends_of_time_do_no_harm(now):
    table = FlowTable()
    run(table, np.concatenate([talk(">S"), UDP, OTHER]), np.full(3, now))
    assert table.counters["flows_open"] == 0


@pytest.mark.parametrize("change", [{"udp_inactivity": 0}, {"capacity": 0}, {"tcp_close": 1 << 63}])
def test_an_option_that_is_no_use_is_refused_by_name(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        FlowOptions(**change)
