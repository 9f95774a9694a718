"""Connections: conn_state and history as Zeek documents them, and which events a conversation raises."""

import numpy as np
import pytest

from sensor.flows import ConnState, FlowTable
from sensor.packet import ACK, FIN, PACKET, RST, SYN, URG
from tests.flows.packets import A, B, every, names, play, run, talk, tcp

CONN_STATES = [
    (">S", "S0", "S"),
    (">S <SA >A", "S1", "ShA"),
    (">S <SA >A >A+10 <A+20 >FA <FA >A", "SF", "ShADdFf"),
    (">S <RA", "REJ", "Sr"),
    (">S <SA >A >FA", "S2", "ShAF"),
    (">S <SA >A <FA", "S3", "ShAf"),
    (">S <SA >A >RA", "RSTO", "ShAR"),
    (">S <SA >R", "RSTO", "ShR"),
    (">S <SA >A <RA", "RSTR", "ShAr"),
    (">S >R", "RSTOS0", "SR"),
    (">S >FA", "SH", "SF"),
    ("<SA <RA", "RSTRH", "^hr"),
    ("<SA <FA", "SHR", "^hf"),
    ("<SA >R", "RSTO", "^hR"),
    (">A <A >A+5", "OTH", "AaD"),
    (">A", "OTH", "A"),
    (">F <RA", "RSTR", "Fr"),
    (">0 <RA", "RSTRH", "r"),
    (">A <R", "RSTRH", "Ar"),
    (">R", "OTH", "R"),
    ("<R", "RSTRH", "^r"),
    (">SF", "S0", "Q"),
    (">S <S >SA <A", "S1", "SsHa"),
    (">S >A >A+1 >FA", "SH", "SADF"),
]


@pytest.mark.parametrize(("script", "state", "history"), CONN_STATES)
def test_conn_state_and_history(script, state, history):
    removed = play(script)[-1]
    assert ConnState(removed["conn_state"]).name == state
    assert removed["history"].decode() == history


@pytest.mark.parametrize(
    ("script", "events"),
    [
        (">S", "attempt"),
        (">S <RA", "rejected"),
        (">S >R", "attempt"),
        (">S >A", ""),  # it goes on: its answer was not seen
        (">S >A >A+10", "service_used"),
        (">S >FA", "attempt"),
        (">S >0+10", "attempt"),
        (">S >A <RA", "rejected"),
        (">S >A+10 <RA", "service_used rejected"),
        (">S >S <A", "attempt"),
        (">SF", "attempt"),
        (">S <SA", "established"),
        (">S <SA >R", "established reset"),
        (">S <SA >A >RA", "established reset"),
        (">S <SA >A <RA <RA >R", "established reset"),
        (">S >R <SA", "established reset"),
        (">S <SA >A >FA <FA >A", "established finished"),
        (">S <SA >A >FA <FA >A >R", "established finished"),
        (">S <S", "established"),
        ("<SA >R", "established reset"),
        (">A <R", ""),
        (">A", ""),
        (">FPU <RA", ""),
        (">A+1 <A+1 >FA <FA", "service_used finished"),
        (">A+1 <A+1 <RA", "service_used reset"),
        (">S <SA <SA >A", "established"),
        (">S <RA >S <RA", "rejected"),
    ],
)
def test_events_of_a_conversation(script, events):
    rows = talk(script)
    if script == ">S <RA >S <RA":  # a repeated SYN has the number of the first, and so has its answer
        rows["seq"][2:], rows["ack"][3] = [1000, 5000], 1001
    found = [name.removeprefix("connection_") for name in names(run(FlowTable(), rows, every(1, rows)))]
    assert " ".join(found) == f"{events} state_remove".strip()


@pytest.mark.parametrize("flags", range(64))
def test_every_pair_of_packets_is_defined(flags):
    """Any flags after any flags, from either end: one flow or two, each removed once, and no wrong attempt."""
    for first in range(64):
        for src, dst in ((A, B), (B, A)):
            rows = np.concatenate([tcp("", A, B), tcp("", src, dst)])
            rows["tcp_flags"] = first, flags
            table = FlowTable()
            found = names(run(table, rows, every(1, rows)))
            assert found.count("connection_state_remove") == table.counters["flows"] <= 2
            assert found.count("connection_attempt") <= 2
            is_syn = first & (SYN | ACK | RST) == SYN
            assert is_syn or flags & (SYN | ACK | RST) == SYN or "connection_attempt" not in found


def test_bytes_are_counted_once():
    rows = talk(">S <SA >A >A+100 <A+50 >FA <FA >A")
    rows = np.concatenate([rows[:4], rows[3:4], rows[4:]])  # one segment twice
    removed = run(FlowTable(), rows, every(1, rows))[-1]
    assert (removed["orig_bytes"], removed["resp_bytes"]) == (100, 50)
    assert (removed["orig_pkts"], removed["resp_pkts"]) == (6, 3)
    assert removed["history"] == b"ShADTdFf"


def test_numbers_that_wrap_are_followed():
    rows = np.concatenate([tcp("S", seq=2**32 - 2), tcp("A", seq=2**32 - 1, length=10), tcp("A", seq=9, length=10)])
    removed = run(FlowTable(), rows, every(1, rows))[-1]
    assert (removed["orig_bytes"], removed["history"]) == (20, b"SD")


def test_a_zero_window_and_urgent_data_are_noted():
    rows = np.concatenate([tcp("S", window=0), tcp("AU", seq=1, length=1)])
    assert run(FlowTable(), rows, every(1, rows))[-1]["history"] == b"SWD"


def test_what_is_kept_of_the_originator_is_its_first_packet_and_its_smallest_ttl():
    rows = talk(">S <SA >A")
    rows["tcp_options"], rows["ttl"] = [20, 12, 0], [64, 5, 3]
    removed = run(FlowTable(), rows, every(1, rows))[-1]
    assert (removed["orig_flags"], removed["orig_options"], removed["orig_ttl"]) == (SYN, 20, 3)


def test_a_rst_that_does_not_acknowledge_the_syn_is_no_answer():
    rows = np.concatenate([tcp("S", seq=1000), tcp("RA", B, A, ack=77), tcp("R", B, A)])
    table = FlowTable()
    assert names(run(table, rows, every(1, rows)))[0] == "connection_attempt"
    assert table.weirds["RST_out_of_window"] == 2


@pytest.mark.parametrize(("distance", "heeded"), [(2**20, True), (2**20 + 1, False), (-(2**20), True)])
def test_a_forged_rst_must_guess_the_number(distance, heeded):
    rows = np.concatenate([talk(">S <SA >A >A+10"), tcp("R", B, A, seq=(5001 + distance) % 2**32)])
    found = names(run(FlowTable(), rows, every(1, rows)))
    assert ("connection_reset" in found) is heeded


def test_a_rst_before_the_syn_hides_nothing():
    rows = np.concatenate([tcp("R", B, A), tcp("S", A, B, seq=5)])
    events = run(FlowTable(), rows, every(1, rows))
    assert names(events) == ["connection_state_remove", "connection_attempt", "connection_state_remove"]
    assert events[1]["orig_p"] == A[1]


@pytest.mark.parametrize("closing", [">FA <FA", "<RA", ">RA"])
def test_a_syn_on_a_closed_tuple_begins_another_flow(closing):
    rows = np.concatenate([talk(f">S <SA >A {closing}"), tcp("S", seq=9_000_000)])
    table = FlowTable()
    run(table, rows, every(1, rows))
    assert table.counters["flows"] == 2


@pytest.mark.parametrize(("seq", "flows"), [(1000, 1), (9_000_000, 2)])
def test_after_a_syn_that_was_acknowledged_another_begins_another_flow(seq, flows):
    rows, table = np.concatenate([talk(">S >A"), tcp("S", seq=seq)]), FlowTable()
    found = names(run(table, rows, every(1, rows)))
    assert table.counters["flows"] == flows
    assert found.count("connection_attempt") == flows - 1


def test_a_syn_that_is_sent_again_does_not():
    rows = np.concatenate([talk(">S <SA >A"), tcp("S", seq=1000), tcp("SA", B, A, seq=5000, ack=1001)])
    table = FlowTable()
    assert names(run(table, rows, every(1, rows))) == ["connection_established", "connection_state_remove"]


def test_a_syn_ack_that_overtakes_its_syn_is_the_same_connection():
    rows = talk(">S <SA >A")[[1, 0, 2]]
    events = run(FlowTable(), rows, every(1, rows))
    assert names(events) == ["connection_established", "connection_state_remove"]
    assert (events[-1]["history"], events[-1]["conn_state"], events[-1]["orig_p"]) == (b"^hSA", ConnState.S1, A[1])


def test_a_reply_of_a_server_from_the_middle_is_not_the_originators():
    events = play("<A+10 >A")
    assert (events[-1]["history"], events[-1]["orig_p"]) == (b"^dA", A[1])


@pytest.mark.parametrize("flags", [FIN, 0, FIN | URG | 0x08])
def test_a_probe_from_a_server_port_is_still_a_probe(flags):
    rows = tcp("", ("192.0.2.1", 53), ("198.51.100.2", 60000))
    rows["tcp_flags"] = flags
    assert run(FlowTable(), rows, every(1, rows))[-1]["orig_p"] == 53


def test_refused_packets_are_passed_over():
    rows = np.zeros(3, PACKET)
    table = FlowTable()
    assert len(run(table, rows, every(1, rows))) == 0
    assert sum(table.counters[name] for name in ("flow_packets", "arp_packets", "not_flow")) == 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="PACKET rows and int64"):
        list(FlowTable().process(np.zeros(2, PACKET), np.zeros(1, np.int64)))


def test_fin_with_rst_and_syn_with_either_have_their_letters():
    rows = np.concatenate([tcp("S"), tcp("RF"), tcp("SR"), tcp("SF")])
    assert run(FlowTable(), rows, every(1, rows))[-1]["history"] == b"SIQ"


def test_a_history_keeps_its_first_18_letters():
    rows = [talk(">S <SA >A <A >A+1 <A+1")]
    rows += [tcp("A", *ends, seq=seq, length=1) for ends, seq in (((A, B), 1001), ((B, A), 5001))]  # once more
    rows += [tcp("A", A, B, seq=1002, window=0), tcp("A", B, A, seq=5002, window=0), tcp("SA", A, B, seq=1002)]
    rows += [tcp(flags, *ends, seq=1002) for flags in ("SFA", "FA", "RA", "FRA") for ends in ((A, B), (B, A))]
    rows = np.concatenate(rows)
    assert run(FlowTable(), rows, every(1, rows))[-1]["history"] == b"ShAaDdTtWwHQqFfRrI"
