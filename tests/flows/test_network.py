"""Flows of one five-tuple in two networks: one by default, told apart by their tags where that is set."""

import numpy as np
import pytest

from sensor.flows import Event, FlowOptions, FlowTable
from sensor.flows.flow import FLOW
from sensor.packet import Kind
from tests.flows.packets import A, B, every, packet, run, talk, tcp

SCRIPT = ">S <SA >A >A+18 <A+20 >FA <FA >A"


def under(rows, there, back=None, *, tunnel=0):
    """Packets with a VLAN, another one from B where that is given, in a tunnel's network."""
    rows = rows.copy()
    from_a = rows["src_port"] == A[1]
    rows["vlan"], rows["tunnel_id"] = np.where(from_a, there, there if back is None else back), tunnel
    return rows


def mixed(*conversations):
    """Their packets in turn."""
    return np.concatenate(
        [row for rows in zip(*conversations, strict=True) for row in np.split(np.array(rows), len(rows))]
    )


def told(rows, key="network", **options):
    """The flows that came of packets as (state, packets there, packets back), and the table's counters."""
    table = FlowTable(FlowOptions(key=key, **options))
    events = run(table, rows, every(1_000_000, rows))
    over = events[events["event"] == Event.CONNECTION_STATE_REMOVE]
    columns = over["conn_state"].tolist(), over["orig_pkts"].tolist(), over["resp_pkts"].tolist()
    return sorted(zip(*columns, strict=True)), table.counters


[(SF, THERE, BACK)] = told(talk(SCRIPT))[0]
WHOLE = SF, THERE, BACK


def test_addresses_of_ipv4_inside_those_of_ipv6_are_other_ones():
    mapped = talk(SCRIPT)
    mapped["ip_version"] = 6
    for key in ("five_tuple", "network"):
        assert told(mixed(talk(SCRIPT), mapped), key)[0] == [WHOLE, WHOLE]
        assert told(mixed(talk(SCRIPT), talk(SCRIPT)), key)[0] == [(SF, 2 * THERE, 2 * BACK)]


def test_a_flow_has_128_bytes():
    assert FLOW.itemsize == 128


@pytest.mark.parametrize("apart", [{"there": 20}, {"there": 10, "tunnel": 1}, {"there": 0}])
def test_one_five_tuple_in_two_networks_is_two_flows_only_where_that_is_asked_for(apart):
    rows = mixed(under(talk(SCRIPT), 10), under(talk(SCRIPT), **apart))
    assert told(rows)[0] == [WHOLE, WHOLE]
    [(_, there, back)], counters = told(rows, "five_tuple")
    assert (there, back) == (2 * THERE, 2 * BACK)
    assert counters["flows_under_two_tags"] == 1


@pytest.mark.parametrize("same", [{"there": 10}, {"there": 0}, {"there": 0, "tunnel": 5000}])
def test_one_five_tuple_in_one_network_is_one_flow(same):
    for key in ("network", "five_tuple"):
        found, counters = told(under(talk(SCRIPT), **same), key)
        assert found == [WHOLE] and counters["flows_under_two_tags"] == 0


@pytest.mark.parametrize(("there", "back"), [(10, 20), (0, 20), (10, 0)])
def test_an_answer_under_another_tag_is_of_the_flow_that_waits_for_it(there, back):
    found, counters = told(under(talk(SCRIPT), there, back))
    assert found == [WHOLE] and counters["flows_under_two_tags"] == 0
    assert told(under(talk(SCRIPT), there, back), "five_tuple")[1]["flows_under_two_tags"] == 0


def test_an_answer_in_the_network_of_the_question_is_of_that_even_if_another_waits_too():
    question, answer = packet(Kind.UDP, A, B), packet(Kind.UDP, B, A)
    rows = [under(each, vlan) for each, vlan in ((question, 10), (question, 20), (answer, 10), (answer, 20))]
    assert [found[1:] for found in told(np.concatenate(rows))[0]] == [(1, 1), (1, 1)]


def test_of_several_that_wait_the_newest_has_the_answer_under_another_tag():
    question, answer = packet(Kind.UDP, A, B, payload_len=1), packet(Kind.UDP, B, A)
    rows = np.concatenate([under(question, 10), under(question, 20), under(question, 20), under(answer, 30)])
    assert [found[1:] for found in told(rows)[0]] == [(1, 0), (2, 1)]
    rows = np.concatenate([rows, under(answer, 40)])
    assert sorted(found[1:] for found in told(rows)[0]) == [(0, 1), (1, 0), (2, 1)]


def test_what_opens_a_connection_is_no_answer_under_another_tag():
    rows = np.concatenate([under(tcp("S"), 10), under(tcp("S", B, A), 20)])
    assert len(told(rows)[0]) == 2
    assert len(told(np.concatenate([under(tcp("S"), 10), under(tcp("SA", B, A, ack=1), 20)]))[0]) == 1
    assert len(told(np.concatenate([under(tcp("S"), 10), under(tcp("S", B, A), 10)]))[0]) == 1


def test_both_directions_of_two_networks_each_with_two_tags_are_two_flows():
    rows = np.concatenate([under(talk(SCRIPT), 10, 11), under(talk(SCRIPT), 20, 21)])
    assert told(rows)[0] == [WHOLE, WHOLE]


def test_an_icmp_error_is_about_the_flow_in_its_network_or_the_one_that_waits():
    quote = {"proto": 1, "icmp_type": 3, "icmp_code": 3, "quoted_proto": 17}
    [probe] = (packet(Kind.UDP, A, B),)
    for name in ("src_hi", "src_lo", "dst_hi", "dst_lo", "src_port", "dst_port"):
        quote[f"quoted_{name}"] = probe[name]
    error = packet(Kind.ICMP, (B[0], 0), (A[0], 0), **quote)
    for vlan, about in ((10, 1), (20, 1), (30, 1)):
        rows = np.concatenate([under(probe, 10), under(probe, 20), error])
        rows["vlan"][-1] = vlan
        events = run(FlowTable(FlowOptions(key="network")), rows, every(1_000_000, rows))
        over = events[(events["event"] == Event.CONNECTION_STATE_REMOVE) & (events["proto"] == 17)]
        assert int(over["unreachable"].sum()) == about
        assert np.count_nonzero(events["event"] == Event.ICMP_UNREACHABLE) == 1


def test_one_direction_under_two_tags_is_counted_once_a_flow():
    rows = [under(packet(Kind.UDP, A, B), vlan) for vlan in (10, 10, 20, 10, 30)]
    back = [under(packet(Kind.UDP, B, A), vlan) for vlan in (10, 20)]
    for count, expected in ((2, 0), (3, 1), (5, 1)):
        assert told(np.concatenate(rows[:count]), "five_tuple")[1]["flows_under_two_tags"] == expected
    assert told(np.concatenate([*rows, *back]), "five_tuple")[1]["flows_under_two_tags"] == 1
    other = under(packet(Kind.UDP, ("192.0.2.9", 1), B), 10), under(packet(Kind.UDP, ("192.0.2.9", 1), B), 0)
    assert told(np.concatenate([*rows, *other]), "five_tuple")[1]["flows_under_two_tags"] == 2


def test_a_flow_in_the_place_of_one_that_is_over_knows_nothing_of_its_tags():
    rows = np.concatenate([under(packet(Kind.UDP, (A[0], port), B), port) for port in (10, 20, 30)])
    assert told(rows, "five_tuple", capacity=1)[1]["flows_under_two_tags"] == 0


@pytest.mark.parametrize("key", ["five_tuple", "network"])
def test_many_networks_of_one_five_tuple_are_found_at_once(key):
    rows = np.concatenate([packet(Kind.UDP, A, B)] * 4000)
    rows["vlan"], rows["tunnel_id"] = 1 + np.arange(4000) % 4000, np.arange(4000) * 7
    table = FlowTable(FlowOptions(key=key))
    run(table, np.concatenate([rows, rows]), every(1000, range(8000)))
    assert table.counters["flows"] == (4000 if key == "network" else 1)
    assert table.counters["probes"] < 8 * table.counters["lookups"]


@pytest.mark.parametrize("key", ["", "vlan", "Network"])
def test_another_key_is_refused(key):
    with pytest.raises(ValueError, match="must be five_tuple or network"):
        FlowOptions(key=key)
