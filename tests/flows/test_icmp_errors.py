"""ICMP errors count where their receiver is known to have sent lately what they quote; the rest is told as weird."""

import numpy as np
import pytest

from sensor.flows import Event, FlowOptions, FlowTable
from sensor.packet import Kind
from tests.flows.packets import SECOND, A, B, names, packet, run, talk, tcp
from tests.flows.test_other import ROUTER, icmp

PROBE = packet(Kind.UDP, A, B)
OTHER = packet(Kind.FRAGMENT, ("203.0.113.9", 0), ("203.0.113.8", 0))
FAR = 10_000 * SECOND
NEVER_ENDS = FlowOptions(tcp_inactivity=FAR, udp_inactivity=FAR, tcp_attempt=FAR, tcp_half_open=FAR)


def told(rows, now, options=NEVER_ENDS, kind=3, code=3, quoted=PROBE):
    """How many errors were raised, how many were not related, and how the flow was marked."""
    table = FlowTable(options)
    rows = np.concatenate([*rows, icmp(ROUTER, A, kind, code, quoted)])
    events = run(table, rows, np.array(now))
    errors = np.isin(events["event"], [Event.ICMP_UNREACHABLE, Event.ICMP_TIME_EXCEEDED]).sum()
    marks = int((events["unreachable"] | events["time_exceeded"]).any())
    return errors, table.weirds.get("unrelated_ICMP_error", 0), marks


RELATED, UNRELATED = (1, 0, 1), (0, 1, 0)


@pytest.mark.parametrize(("wait", "found"), [(30 * SECOND, RELATED), (30 * SECOND + 1, UNRELATED)])
@pytest.mark.parametrize(("kind", "code"), [(3, 3), (3, 0), (11, 0)])
def test_an_error_counts_within_thirty_seconds_of_the_flows_last_packet(wait, found, kind, code):
    assert told([PROBE, PROBE], [0, SECOND, SECOND + wait], kind=kind, code=code) == found


@pytest.mark.parametrize(
    ("rows", "quoted", "found"),
    [
        ([talk(">S")], talk(">S"), RELATED),
        ([packet(Kind.SCTP, A, B)], packet(Kind.SCTP, A, B), RELATED),
        ([packet(Kind.IP, (A[0], 0), (B[0], 0), proto=47)], packet(Kind.IP, (A[0], 0), (B[0], 0), proto=47), RELATED),
        ([PROBE], packet(Kind.UDP, B, A), UNRELATED),  # what the responder sent
        ([PROBE], packet(Kind.UDP, A, (B[0], 444)), UNRELATED),
        ([PROBE], packet(Kind.SCTP, A, B), UNRELATED),
        ([packet(Kind.UDP, B, (A[0], 53))], packet(Kind.UDP, (A[0], 53), B), UNRELATED),
    ],
)
def test_an_error_counts_about_what_an_originator_has_sent(rows, quoted, found):
    assert told(rows, [0, 1], quoted=quoted) == found


def test_an_error_about_what_only_the_responder_was_seen_to_send_does_not_count():
    assert told([tcp("SA", B, A)], [0, 1], quoted=tcp("S", A, B)) == UNRELATED


def test_an_error_about_no_flow_counts_as_unrelated_and_raises_nothing():
    table, row = FlowTable(), icmp(ROUTER, A, 3, 3, PROBE)
    assert names(run(table, row, np.array([0]))) == ["connection_state_remove"]
    assert table.weirds == {"unrelated_ICMP_error": 1}


def refused(rows, now, **options):
    """When the flows of these protocols were removed."""
    events = run(FlowTable(FlowOptions(**options), wanted=[5]), np.concatenate([*rows, OTHER]), now, finish=False)
    return events[events["proto"] != 1]["ts"].tolist()


@pytest.mark.parametrize("probe", [PROBE, packet(Kind.SCTP, A, B), packet(Kind.IP, (A[0], 0), (B[0], 0), proto=47)])
@pytest.mark.parametrize("late", [-1, 0, 1])
def test_a_refused_datagram_waits_five_seconds_from_the_error(probe, late):
    now = np.array([0, SECOND, 6 * SECOND + late])
    assert refused([probe, icmp(ROUTER, A, 3, 3, probe)], now) == ([6 * SECOND] if late >= 0 else [])


def test_a_refused_datagram_that_is_sent_again_waits_five_seconds_from_then():
    rows = [PROBE, icmp(ROUTER, A, 3, 3, PROBE), PROBE]
    assert refused(rows, np.array([0, 1, 5, 20]) * SECOND) == [10 * SECOND]


def test_an_answer_ends_the_wait_of_a_refused_datagram():
    rows = [PROBE, icmp(ROUTER, A, 3, 3, PROBE), packet(Kind.UDP, B, A), PROBE]
    assert refused(rows, np.array([0, 1, 2, 3, 63]) * SECOND) == [63 * SECOND]
    rows = [PROBE, packet(Kind.UDP, B, A), icmp(ROUTER, A, 3, 3, PROBE)]
    assert refused(rows, np.array([0, 0, 3, 60]) * SECOND) == [60 * SECOND]


@pytest.mark.parametrize(("kind", "code"), [(11, 0), (3, 4)])
def test_another_error_leaves_the_wait_as_it_is(kind, code):
    rows = [PROBE, icmp(ROUTER, A, kind, code, PROBE)]
    assert refused(rows, np.array([0, 1, 60]) * SECOND) == [60 * SECOND]


def test_a_syn_that_icmp_refuses_waits_as_any_other():
    rows = np.concatenate([talk(">S"), icmp(ROUTER, A, 3, 1, talk(">S")), OTHER])
    events = run(FlowTable(), rows, np.array([0, 4, 5]) * SECOND, finish=False)
    assert names(events) == ["icmp_unreachable", "connection_attempt", "connection_state_remove"]
    assert (events["ts"][1], events["unreachable"][1]) == (5 * SECOND, 1)
