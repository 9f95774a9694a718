"""The table of contacts by itself: what it remembers, for how long, and what makes room for what."""

import numpy as np
import pytest

from sensor.address import to_words
from sensor.flows import contacts as table
from sensor.flows.contacts import ANSWER_TIME, DAY, SLOT, STEADY, WAYS, new_contacts
from sensor.flows.flow import FLOW, FlowKey
from sensor.flows.table_state import STATE
from sensor.packet import PROTO_SCTP, PROTO_TCP, PROTO_UDP
from tests.flows.packets import SECOND, packet

ORIG, RESP = "192.0.2.1", "198.51.100.2"
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND


class Table:
    """A table, and what is asked of it, in words."""

    def __init__(self, capacity=1 << 10, key=(1, 2)):
        self.contacts, self.state = new_contacts(capacity), np.zeros(1, STATE)[0]
        self.state["secret"] = key

    def tries(self, *times, orig_p=None, **flow):
        """Tries at these times, from a new port each unless one is given."""
        for number, now in enumerate(times):
            table.note_try(self.contacts, self.state, a_flow(orig_p=orig_p or 50000 + number, **flow), now)
        return self.found(times[-1], **flow)

    def reached(self, now, **flow):
        return table.note_used(self.contacts, self.state, a_flow(**flow), True, now) >= 0

    def found(self, now, orig=ORIG, resp=RESP, resp_p=443, proto=PROTO_TCP):
        ends = (*words(orig), *words(resp))
        at = table.find_contact(self.contacts, self.state["secret"], *ends, resp_p, proto, now)
        return self.contacts.rows[at] if at >= 0 else None

    def opened(self, change, now, **flow):
        table.note_open(self.contacts, self.state, a_flow(**flow), change, now)
        return self.open(now, **flow)

    def was_reached(self, now, proto=PROTO_TCP):
        return bool(table.was_reached(self.contacts, self.state, a_flow(), proto, now))

    def asks(self, question, key, now):
        """`question` is answers_request, comes_from_used or goes_to_known."""
        return bool(question(self.contacts, self.state, key, now))

    def open(self, now, **flow):
        flow = a_flow(**flow)
        ends = [flow[name] for name in ("orig_hi", "orig_lo", "resp_hi", "resp_lo")]
        return bool(table.is_open(self.contacts, self.state, *ends, now))


def words(address):
    return tuple(np.uint64(word) for word in to_words(address))


def a_flow(orig=ORIG, resp=RESP, orig_p=50000, resp_p=443, proto=PROTO_TCP):
    flow = np.zeros(1, FLOW)[0]
    flow["orig_hi"], flow["orig_lo"] = words(orig)
    flow["resp_hi"], flow["resp_lo"] = words(resp)
    flow["orig_p"], flow["resp_p"], flow["proto"] = orig_p, resp_p, proto
    return flow


def a_key(src, src_p, dst, dst_p, proto=PROTO_UDP):
    ints = [np.int64(each) for each in (src_p, dst_p, proto, 0, 0, 0)]
    return FlowKey(*words(src), *words(dst), *ints)


def test_an_entry_is_one_cache_line():
    assert table.CONTACT.itemsize == 64


@pytest.mark.parametrize(("asked", "size"), [(1, WAYS), (8, 8), (9, 16), (1000, 1024), (1 << 12, 1 << 12)])
def test_the_table_has_room_for_a_power_of_two(asked, size):
    found = new_contacts(asked)
    assert (len(found.rows), len(found.tags)) == (size, size)


def test_each_originator_responder_port_and_protocol_is_a_contact_of_its_own():
    held = Table()
    held.tries(0, 10 * SECOND)
    others = [{"orig": RESP}, {"resp": ORIG}, {"resp_p": 444}, {"proto": PROTO_SCTP}]
    assert held.found(10 * SECOND)["tries"] == 2
    assert all(held.found(10 * SECOND, **other) is None for other in others)


@pytest.mark.parametrize(("late", "known"), [(-1, True), (0, True), (1, False)])
def test_a_contact_is_remembered_for_a_day_on_the_nanosecond(late, known):
    held = Table()
    held.tries(100)
    held.reached(100)
    assert (held.found(100 + DAY + late) is not None) is known
    assert held.was_reached(100 + DAY + late) is known


@pytest.mark.parametrize(("late", "tries"), [(0, 2), (1, 1)])
def test_a_contact_after_a_day_begins_anew(late, tries):
    held = Table()
    held.tries(100)
    held.reached(100)
    found = held.tries(100 + DAY + late, orig_p=60000)
    assert (found["tries"], found["flows"], found["first"]) == (tries, tries, [100 + DAY + 1, 100][tries - 1])
    assert held.was_reached(found["last"]) is (tries == 2)
    assert held.state["contacts_evicted"] == 0


def test_use_alone_does_not_prolong_the_memory_of_a_try():
    held = Table()
    held.tries(0)
    held.reached(DAY)
    assert held.found(DAY + 1) is None


@pytest.mark.parametrize(("gap", "tries"), [(3 * SECOND - 1, 1), (3 * SECOND, 1), (3 * SECOND + 1, 2)])
def test_another_port_within_three_seconds_is_a_retry(gap, tries):
    found = Table().tries(0, gap)
    assert (found["tries"], found["flows"], found["last"]) == (tries, 2, gap if tries == 2 else 0)


def test_retries_are_counted_from_the_try_not_from_one_another():
    assert Table().tries(0, 2 * SECOND, 4 * SECOND)["tries"] == 2


def test_the_same_source_port_again_is_the_same_try_however_late():
    found = Table().tries(0, MINUTE, 5 * HOUR, orig_p=123)
    assert (found["tries"], found["flows"], found["last"]) == (1, 3, 0)


def test_tries_and_flows_stop_at_what_their_columns_hold():
    held = Table()
    found = held.tries(*(4 * SECOND * number for number in range(300)))
    assert (found["tries"], found["flows"], found["gaps"]) == (255, 300, 255)
    found["flows"] = 65534
    assert held.tries(1300 * SECOND, 1310 * SECOND)["flows"] == 65535


@pytest.mark.parametrize(
    ("gaps", "steady"),
    [
        ([60, 60], False),
        ([60, 60, 60], True),
        ([60, 90, 60], True),  # half as long again is alike
        ([60, 91, 60], False),
        ([60, 30, 78], True),  # half as long is too, and the usual gap is then 52.5 s
        ([60, 30, 79], False),
        ([60, 29, 60], False),
        ([60, 300, 60, 300, 60, 300], False),
        ([5, 60, 61, 62], True),
        ([3600, 3600, 3600], True),
    ],
)
def test_four_tries_at_even_gaps_are_steady(gaps, steady):
    found = Table().tries(*np.cumsum([0, *gaps]) * SECOND)
    assert bool(found["marks"] & STEADY) is steady


def test_what_was_steady_stays_so():
    assert Table().tries(*np.array([0, 60, 120, 180, 5000, 5010]) * SECOND)["marks"] & STEADY


@pytest.mark.parametrize("start", [0, -SECOND, 86400 * 365 * 50 * SECOND])
def test_a_use_is_told_once_in_each_slot_of_ten_seconds(start):
    slot = start // SLOT * SLOT
    held = Table()
    times = [slot, slot + 1, slot + SLOT - 1, slot + SLOT, slot + SLOT + 1, slot + 5 * SLOT]
    assert [held.reached(now) for now in times] == [True, False, False, True, False, True]
    assert held.reached(slot + 5 * SLOT, resp_p=444), "each contact for itself"


def test_what_was_reached_is_so_by_the_protocol_that_it_was_reached_by():
    held = Table()
    held.reached(0, proto=PROTO_UDP)
    asked = [held.was_reached(0, proto) for proto in (PROTO_TCP, PROTO_UDP)]
    assert asked == [False, True]


@pytest.mark.parametrize("proto", [PROTO_TCP, PROTO_UDP, PROTO_SCTP])
def test_a_packet_comes_from_a_service_that_its_receiver_has_used(proto):
    held, key = Table(), a_key(RESP, 443, ORIG, 51000, proto)
    held.tries(0, orig_p=40000, proto=proto)
    assert not held.asks(table.comes_from_used, key, 0)
    held.reached(0, proto=proto)
    assert held.asks(table.comes_from_used, key, DAY)
    assert not held.asks(table.comes_from_used, key, DAY + 1)


@pytest.mark.parametrize(
    ("proto", "port", "now", "asked"),
    [
        (PROTO_UDP, 50000, 300 * SECOND, True),
        (PROTO_UDP, 50000, 300 * SECOND + 1, False),
        (PROTO_UDP, 50001, 0, False),
        (PROTO_SCTP, 50000, 0, True),
        (PROTO_TCP, 50000, 0, False),
    ],
)
def test_a_datagram_comes_from_who_was_asked_by_this_very_socket_within_five_minutes(proto, port, now, asked):
    held = Table()
    held.tries(0, orig_p=50000, proto=proto)
    assert held.asks(table.comes_from_used, a_key(RESP, 443, ORIG, port, proto), now) is asked


def test_a_packet_goes_to_a_service_that_its_sender_has_tried():
    held = Table()
    held.tries(0)
    asked = [(a_key(ORIG, 5, RESP, 443, 6), DAY), (a_key(ORIG, 5, RESP, 443, 6), DAY + 1)]
    asked += [(a_key(ORIG, 5, RESP, 443), 0), (a_key(RESP, 443, ORIG, 5, 6), 0), (a_key(ORIG, 443, RESP, 5, 6), 0)]
    found = [held.asks(table.goes_to_known, key, now) for key, now in asked]
    assert found == [True, False, False, False, False]


@pytest.mark.parametrize(("late", "answers"), [(0, True), (1, False)])
def test_a_socket_that_asked_many_waits_thirty_seconds_from_its_last_request(late, answers):
    held, key = Table(), a_key("203.0.113.77", 4444, ORIG, 50000)
    for now in (0, 7 * SECOND):
        table.note_request(held.contacts, held.state, packet(5, (ORIG, 50000), ("239.255.255.250", 1900))[0], now)
    now = 7 * SECOND + ANSWER_TIME + late
    assert ANSWER_TIME == 30 * SECOND
    assert held.asks(table.answers_request, key, now) is answers
    for other in (a_key("203.0.113.77", 4444, ORIG, 50001), a_key("203.0.113.77", 4444, RESP, 50000)):
        assert not held.asks(table.answers_request, other, now)


def test_control_connections_of_a_pair_are_open_until_as_many_are_closed():
    held = Table()
    assert [held.opened(1, 0), held.opened(1, 1, resp_p=990), held.opened(-1, 2), held.open(3)] == [1, 1, 1, 1]
    assert held.open(3, orig=RESP, resp=ORIG) == 0, "the originator's, not the responder's"
    assert [held.opened(-1, 4), held.open(4 + 120 * SECOND), held.open(5 + 120 * SECOND)] == [1, 1, 0]


def test_pairs_and_sockets_are_no_contacts_of_protocol_0():
    """A flow of IP protocol 0 has ports 0."""
    held = Table()
    held.opened(1, 0)
    table.note_request(held.contacts, held.state, packet(5, (ORIG, 0), ("239.255.255.250", 1900))[0], 0)
    assert held.found(0, resp_p=0, proto=0) is None
    assert not held.asks(table.comes_from_used, a_key(RESP, 0, ORIG, 0, 0), 0)


def test_a_bucket_that_is_full_forgets_the_contact_that_was_tried_longest_ago():
    held = Table(WAYS)
    for port in range(WAYS):
        held.tries((port + 10) * MINUTE, resp_p=port)
    held.tries(50 * MINUTE, resp_p=0, orig_p=9)  # now the second is the oldest
    held.tries(60 * MINUTE, resp_p=100)
    known = [port for port in (*range(WAYS), 100) if held.found(60 * MINUTE, resp_p=port) is not None]
    assert (known, held.state["contacts_evicted"]) == ([0, 2, 3, 4, 5, 6, 7, 100], 1)


@pytest.mark.parametrize(("late", "evicted"), [(0, 1), (1, 0)])
def test_an_outdated_contact_makes_room_uncounted(late, evicted):
    held = Table(WAYS)
    for port in range(WAYS):
        held.tries(port, resp_p=port)
    held.tries(DAY + late, resp_p=100)
    assert held.state["contacts_evicted"] == evicted


def test_the_table_stays_bounded_and_counts_what_it_forgets():
    held = Table(64)
    for port in range(1000):
        held.tries(port * SECOND, resp_p=port)
    known = sum(held.found(1000 * SECOND, resp_p=port) is not None for port in range(1000))
    assert known == np.count_nonzero(held.contacts.tags) == 64
    assert held.state["contacts_evicted"] == 1000 - 64


def test_contacts_that_are_alike_spread_over_the_buckets():
    """With a keyed hash nobody can aim at one bucket: a table that is half full forgets few."""
    held = Table(1 << 12, key=(2**64 - 1, 7))
    for port in range(1 << 11):
        held.tries(0, resp_p=port)
    assert held.state["contacts_evicted"] < 100
