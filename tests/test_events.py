"""The catalogue of events, and batches of them."""

import numpy as np
import pytest

from sensor.address import to_words
from sensor.event_type import NO_TEXT, EventRows
from sensor.events import EVENTS, AddressColumn, Batch, ConnState, TextColumn, split
from sensor.flows import EVENT, Event, FlowTable
from sensor.flows.event_types import FLOW_EVENTS
from sensor.words import hint
from tests.flows.packets import run
from tests.flows.stories import stories


def column(*texts):
    words = np.array([to_words(text) for text in texts], np.uint64)
    return AddressColumn(words[:, 0].copy(), words[:, 1].copy())


def events(*kinds):
    rows = np.zeros(len(kinds), EVENT)
    rows["event"], rows["resp_p"] = kinds, 100 + np.arange(len(kinds))
    rows["orig_hi"], rows["orig_lo"] = to_words("192.0.2.1")
    rows["order"] = 7 + np.arange(len(kinds))
    return rows


def of(rows):
    return EventRows(FLOW_EVENTS, rows, NO_TEXT)


def test_every_event_of_the_flow_table_is_in_the_catalogue():
    assert list(EVENTS) == [event.name.lower() for event in Event]
    assert all(each.name == name and each.doc for name, each in EVENTS.items())


@pytest.mark.parametrize("name", list(EVENTS))
def test_every_column_can_be_read(name):
    batch = Batch(name, of(events(Event[name.upper()])), np.arange(1))
    for each, kind in EVENTS[name].columns.items():
        value = getattr(batch, each)
        assert len(value) == 1
        assert isinstance(value, AddressColumn) == (kind.type == "address")
        assert kind.doc
        assert (kind.type == "bytes") == (each == "history")


def test_only_what_ends_a_flow_tells_how_often_its_service_was_tried_and_only_a_use_how_often_it_was_begun():
    ends = ["attempt", "rejected", "finished", "reset", "state_remove"]
    for column in ("tries", "steady", "reached", "controls", "is_controlled"):
        assert [name for name in EVENTS if column in EVENTS[name].columns] == [f"connection_{end}" for end in ends]
    assert [name for name in EVENTS if "connections" in EVENTS[name].columns] == ["service_used"]


@pytest.mark.parametrize("seed", range(3))
def test_a_column_that_an_event_does_not_have_is_0(seed):
    words = {"orig_h": ("orig_hi", "orig_lo"), "resp_h": ("resp_hi", "resp_lo")}
    words |= {"reporter": ("reporter_hi", "reporter_lo")}
    rows = run(FlowTable(), *stories(seed))
    assert len(set(rows["event"].tolist())) >= 9
    for name, batch in split([of(rows)]):
        has = {field for column in EVENTS[name].columns for field in words.get(column, (column,))}
        others = [field for field in EVENT.names if field not in has and field not in ("event", "order")]
        own = rows[rows["event"] == Event[name.upper()]]
        assert len(own) == len(batch)
        assert not any(own[field].any() for field in others)


def test_a_misspelt_column_names_the_nearest():
    batch = Batch("connection_attempt", of(events(Event.CONNECTION_ATTEMPT)), np.arange(1))
    with pytest.raises(AttributeError, match="connection_attempt has no column 'orig_host'; did you mean 'orig_h'"):
        _ = batch.orig_host


def test_a_column_that_another_event_has_is_none_of_this_one():
    with pytest.raises(AttributeError, match="arp_request has no column 'resp_p'"):
        _ = Batch("arp_request", of(events(Event.ARP_REQUEST)), np.arange(1)).resp_p


def test_split_keeps_what_belongs_together_and_where_it_was():
    rows = events(Event.UDP_REQUEST, Event.CONNECTION_ATTEMPT, Event.UDP_REQUEST, Event.ARP_REPLY)
    batches = dict(split([of(rows)]))
    assert list(batches) == ["connection_attempt", "udp_request", "arp_reply"]
    assert {name: batch.order.tolist() for name, batch in batches.items()} == {
        "connection_attempt": [8],
        "udp_request": [7, 9],
        "arp_reply": [10],
    }
    assert batches["udp_request"].resp_p.tolist() == [100, 102]
    assert batches["udp_request"].event == "udp_request"
    rows[:] = np.zeros(1, EVENT)
    assert batches["udp_request"].resp_p.tolist() == [100, 102]


def test_nothing_splits_into_nothing():
    assert not list(split([of(np.zeros(0, EVENT))]))


def test_part_of_a_batch_is_a_batch():
    batch = dict(split([of(events(*[Event.UDP_REQUEST] * 4))]))["udp_request"]
    part = batch[np.array([False, True, False, True])]
    assert (part.event, part.resp_p.tolist(), part.order.tolist()) == ("udp_request", [101, 103], [8, 10])
    assert len(batch[:1]) == 1


def test_conn_state_and_history_compare():
    rows = events(Event.CONNECTION_STATE_REMOVE, Event.CONNECTION_STATE_REMOVE)
    rows["conn_state"], rows["history"] = [ConnState.S0, ConnState.SF], [b"S", b"ShADadFf"]
    batch = dict(split([of(rows)]))["connection_state_remove"]
    assert (batch.conn_state == ConnState.S0).tolist() == [True, False]
    assert (batch.history == b"S").tolist() == [True, False]


def test_addresses_compare_and_lie_in_networks():
    hosts = column("192.0.2.1", "192.0.3.1", "2001:db8::1", "::1")
    assert (hosts == "192.0.2.1").tolist() == [True, False, False, False]
    assert (hosts != "192.0.2.1").tolist() == [False, True, True, True]
    assert (hosts == column("::", "192.0.3.1", "::", "::")).tolist() == [False, True, False, False]
    assert hosts.in_network("192.0.2.0/23").tolist() == [True, True, False, False]
    assert hosts.in_network("2001:db8::/32").tolist() == [False, False, True, False]
    assert hosts[1:3].words.tolist() == [list(to_words("192.0.3.1")), list(to_words("2001:db8::1"))]
    assert len(hosts[0]) == 1
    with pytest.raises(ValueError, match="nowhere"):
        _ = hosts == "nowhere"


def test_multicast_and_broadcast_are_told_from_hosts():
    many = column("224.0.0.0", "239.255.255.255", "255.255.255.255", "ff02::1", "ff00::")
    one = column("223.255.255.255", "240.0.0.0", "255.255.255.254", "fe80::1", "::e000:1", "::")
    assert many.is_multicast.all()
    assert not one.is_multicast.any()


def text(*texts):
    sizes = np.array([len(each) for each in texts], np.int64)
    return TextColumn(np.frombuffer(b"".join(texts), np.uint8), np.cumsum(sizes) - sizes, sizes)


def test_texts_compare_and_begin():
    words = text(b"GET /", b"GET", b"", b"POST", b"\xffGET", b"GET /")
    assert len(words) == 6
    assert (words == b"GET").tolist() == [False, True, False, False, False, False]
    assert (words != "GET").tolist() == [True, False, True, True, True, True]
    assert (words == b"").tolist() == [False, False, True, False, False, False]
    assert (words == words[::-1]).tolist() == [True, False, False, False, False, True]
    assert words.startswith("GET").tolist() == [True, True, False, False, False, True]
    assert words.startswith(b"").all()
    assert words[3:5].bytes() == [b"POST", b"\xffGET"]
    assert words[np.array([True, False, False, True, False, False])].bytes() == [b"GET /", b"POST"]
    assert words[-1].size.tolist() == [5]


def test_a_hint_names_what_is_near_else_the_few_that_there_are_else_nothing():
    assert hint("conection_atempt", EVENTS) == "; did you mean 'connection_attempt'?"
    assert hint("port", ["ports", "hosts"], prefix="scan.") == "; did you mean 'scan.ports'?"
    assert hint("dns_query", ["history", "orig_h"]) == "; there are history, orig_h"
    assert hint("kerberos", EVENTS) == ""
    assert hint("x", ["history"]) == "; there is history"
    assert hint("x", []) == "; there is none"
