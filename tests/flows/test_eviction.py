"""A full table: what goes first, what is told of it, and that floods and storms stay bounded."""

import numpy as np
import pytest

from sensor.flows import Event, FlowOptions, FlowTable
from sensor.packet import ACK, PACKET, SYN, Kind
from tests.flows.packets import SECOND, A, B, every, names, packet, run, talk, tcp
from tests.flows.test_other import icmp


def other(number, script):
    """A conversation with a responder of its own."""
    return talk(script, resp=(f"198.51.100.{number}", 443))


def udp(number):
    return packet(Kind.UDP, A, (f"198.51.100.{number}", 53))


def evicted(table):
    return {name.removeprefix("evicted_"): n for name, n in table.counters.items() if name.startswith("evicted_") and n}


def test_half_open_flows_go_first_then_one_packet_then_idle_then_established():
    held = [other(1, ">S <SA >A"), udp(2), udp(2), udp(3), other(4, ">S"), other(5, ">S <SA")]
    rows = np.concatenate([*held, *(other(number, ">S <SA >A") for number in range(10, 15))])
    table = FlowTable(FlowOptions(capacity=5), wanted=[Event.CONNECTION_ATTEMPT, Event.CONNECTION_STATE_REMOVE])
    events = run(table, rows, every(1, rows), finish=False)
    assert [each & 0xFF for each in events["resp_lo"].tolist()] == [4, 4, 5, 3, 2, 1]
    assert evicted(table) == {"half_open": 2, "one_packet": 1, "idle": 1, "established": 1}
    assert table.counters["attempts_cut_short"] == 1


def test_a_datagram_that_icmp_refused_goes_as_a_half_open_flow_does():
    refusal = icmp(("203.0.113.1", 0), A, 3, 3, udp(2))
    rows = np.concatenate([udp(1), udp(2), other(3, ">S"), refusal, udp(4), udp(5)])
    table = FlowTable(FlowOptions(capacity=4), wanted=[Event.CONNECTION_STATE_REMOVE])
    events = run(table, rows, every(1, rows), finish=False)
    assert [each & 0xFF for each in events["resp_lo"].tolist()] == [3, 2]
    assert evicted(table) == {"half_open": 2}


def test_of_one_rank_the_longest_idle_goes():
    rows = np.concatenate([udp(1), udp(2), udp(3), udp(1), udp(2), udp(3), udp(1), udp(4)])
    events = run(FlowTable(FlowOptions(capacity=3), wanted=[5]), rows, every(1, rows), finish=False)
    assert [each & 0xFF for each in events["resp_lo"].tolist()] == [2]


def test_an_evicted_syn_is_an_attempt_as_of_then():
    rows = np.concatenate([other(1, ">S"), other(2, ">S")])
    events = run(FlowTable(FlowOptions(capacity=1)), rows, np.array([0, 7]), finish=False)
    assert (names(events), events["ts"].tolist()) == (["connection_attempt", "connection_state_remove"], [7, 7])


def test_the_cap_holds():
    table = FlowTable(FlowOptions(capacity=3))
    for number in range(20):
        run(table, udp(number), np.array([number]), finish=False)
        assert table.counters["flows_open"] == min(number + 1, 3)
    assert table.counters["flows"] == 20


def flood(n):
    """One SYN each from n sources."""
    rows = np.zeros(n, PACKET)
    rows[:] = tcp("S")
    rows["src_lo"] = 0xFFFF_0A00_0000 + np.arange(n)
    return rows


def test_a_syn_flood_evicts_no_established_flow_and_hides_no_scan():
    scanner = ("192.0.2.9", 1)
    scan = np.concatenate([talk(">S", scanner, (f"198.51.100.{number}", 443)) for number in range(25)])
    rows = flood(50_000)
    rows = np.concatenate([talk(">S <SA >A"), rows[:20_000], scan, rows[20_000:]])
    table = FlowTable(FlowOptions(capacity=1000))
    events = run(table, rows, every(1000, rows))
    attempts = events[events["event"] == Event.CONNECTION_ATTEMPT]
    assert len(attempts) == 50_025
    assert np.isin(scan["dst_lo"], attempts["resp_lo"][attempts["orig_lo"] == scan["src_lo"][0]]).all()
    assert evicted(table) == {"half_open": 49_026}


def test_answered_handshakes_of_a_flood_go_before_established_flows():
    rows = np.repeat(flood(5000), 2)
    answers = rows[1::2]
    answers["src_lo"], answers["dst_lo"] = answers["dst_lo"].copy(), answers["src_lo"].copy()
    answers["src_port"], answers["dst_port"], answers["tcp_flags"], answers["ack"] = B[1], A[1], SYN | ACK, 1
    rows[1::2] = answers
    rows = np.concatenate([talk(">S <SA >A"), rows])
    table = FlowTable(FlowOptions(capacity=100))
    run(table, rows, every(1, rows), finish=False)
    assert evicted(table) == {"half_open": 4901}


def test_a_storm_of_timers_comes_in_pieces():
    """300,000 flows are due at once: no array is longer than the table's own, and none is lost."""
    rows = flood(300_000)
    table = FlowTable(event_rows=1000)
    assert not list(table.process(rows, np.zeros(len(rows), np.int64)))
    pieces = [each.copy() for each in table.process(udp(1), np.array([SECOND * 10]))]
    assert max(len(each) for each in pieces) <= 1000
    events = np.concatenate(pieces)
    assert np.array_equal(events["orig_lo"][::2][:300_000], rows["src_lo"])
    assert (events["ts"][:600_000] == 5 * SECOND).all()
    assert names(events[-1:]) == ["udp_request"]
    assert table.counters["flows_open"] == 1


def test_flows_that_are_alike_are_found_as_fast_as_random_ones():
    """With a keyed hash no choice of addresses and ports makes the table search longer."""
    draw = np.random.default_rng(2)
    regular, random = flood(20_000), flood(20_000)
    regular["src_port"] = np.arange(20_000) & 0xFF
    random["src_hi"], random["src_lo"] = draw.integers(1, 2**63, (2, 20_000))
    steps = []
    for rows in (regular, random):
        table = FlowTable(key=np.array([3, 4], np.uint64))
        run(table, np.concatenate([rows, rows]), np.zeros(40_000, np.int64), finish=False)
        steps.append(table.counters["probes"] / table.counters["lookups"])
    assert steps[0] <= 2 * steps[1]
    assert max(steps) < 3


@pytest.mark.parametrize("batch", [1, 7, 4096])
def test_batches_change_nothing(batch):
    rows = np.concatenate([flood(300), *(other(number % 250, ">S <SA >A+5 <RA") for number in range(300))])
    now = every(SECOND // 10, rows)
    options = FlowOptions(capacity=50)
    whole, parts = run(FlowTable(options), rows, now), run(FlowTable(options), rows, now, batch)
    assert (whole == parts).all()
    assert len(whole) == len(parts)
