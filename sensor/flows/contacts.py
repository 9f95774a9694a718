"""Contacts: originators and the services that they tried, with count, regularity and success.

A contact is an originator, a responder, and the responder's port and protocol. It outlives its flows by a day, to show
facts that a flow alone cannot: that a target was tried before, that a mid-stream packet comes from a service that its
receiver has used, that a service refused now was reached an hour ago. Two further kinds of entries belong to no
service: a pair of hosts holds the number of control connections of FTP that the originator has open; a socket holds the
time of its last request to a multicast or broadcast address, which hosts then answer from ports of their own.

The table has a fixed size: buckets of WAYS entries. In a full bucket, the entry that was tried longest ago is evicted
(`contacts_evicted`). The worker that tracks a pair of hosts knows all contacts of the pair.
"""

from typing import NamedTuple

import numpy as np

from sensor._jit import njit
from sensor.clock import SECOND
from sensor.hash import hash_five
from sensor.packet import PROTO_TCP

WAYS = 8
DAY = 86400 * SECOND
RETRY = 3 * SECOND
"""Another source port within this time (ns) counts as a retry: Linux repeats a SYN after 1 s and gives up a name server
after 5, Windows' connect() comes back after 0.5 s."""
SLOT = 10 * SECOND
"""The use of a service is reported once in each such slot (ns) of absolute time."""
CONTROL_TIME = 120 * SECOND
"""The time (ns) that a control connection is remembered: connections that it announced may be judged a minute later."""
ANSWER_TIME = 30 * SECOND
"""The time (ns) that hosts may take to answer a multicast request: over twice what SSDP's MX and WS-Discovery allow."""
_PENDING = 300 * SECOND  # the longest wait of a datagram for its answer, even if the flow table has forgotten it

STEADY_GAPS = 3
"""Equal gaps in a row that make tries steady: at least four tries."""

REACHED, STEADY, REPEATED, FAILED = 0x01, 0x02, 0x04, 0x08

CONTACT = np.dtype(
    [
        ("orig_hi", "u8"),
        ("orig_lo", "u8"),
        ("resp_hi", "u8"),
        ("resp_lo", "u8"),
        ("first", "i8"),  # the first try
        ("last", "i8"),  # the last try, not counting retries
        ("gap_ms", "u4"),  # the usual time between tries; of a pair, the number of its open control connections
        ("told", "u2"),  # the slot in which its use was last reported, modulo 2**16: a week
        ("flows", "u2"),  # begun by the originator, retries included
        ("resp_p", "u2"),
        ("orig_p", "u2"),  # of the last try
        ("proto", "u1"),  # 0 of a pair and a socket
        ("tries", "u1"),  # up to 255, not counting retries
        ("gaps", "u1"),  # the number of similar gaps in a row
        ("marks", "u1"),
    ],
    align=True,
)
"""One contact: 64 bytes, a cache line."""

_SLOTS = (1 << 16) - 1
_NO_PROTO = 0  # for entries that belong to no service; a flow of that protocol has port 0
_PAIR = 1  # in place of the port
_MOST, _MOST_FLOWS = 255, 65535
_NOBODY = np.uint64(0)


class Contacts(NamedTuple):
    """The table: CONTACT rows, and the hash of each (int64, 0 where free)."""

    rows: np.ndarray
    tags: np.ndarray


def new_contacts(capacity: int) -> Contacts:
    """Return a table for so many contacts, rounded up to a power of two; memory is committed as they come."""
    size = max(WAYS, 1 << (capacity - 1).bit_length())
    return Contacts(np.zeros(size, CONTACT), np.zeros(size, np.int64))


@njit
def _tag(secret, orig_hi, orig_lo, resp_hi, resp_lo, resp_p, proto):
    word = hash_five(secret, orig_hi, orig_lo, resp_hi, resp_lo, np.uint64((resp_p << 8) | proto))
    return np.int64(word >> np.uint64(2)) | 1


@njit
def _is_of(row, orig_hi, orig_lo, resp_hi, resp_lo, resp_p, proto):
    same_hosts = row["orig_lo"] == orig_lo and row["orig_hi"] == orig_hi
    same_hosts = same_hosts and row["resp_lo"] == resp_lo and row["resp_hi"] == resp_hi
    return same_hosts and np.int64(row["resp_p"]) == resp_p and np.int64(row["proto"]) == proto


@njit
def find_contact(contacts, secret, orig_hi, orig_lo, resp_hi, resp_lo, resp_p, proto, now):
    """Return the row of a known contact no more than a day old; -1 if there is none.

    secret: uint64, shape (2,).
    """
    tag = _tag(secret, orig_hi, orig_lo, resp_hi, resp_lo, resp_p, proto)
    first = tag & (contacts.tags.shape[0] - 1) & -WAYS
    for at in range(first, first + WAYS):
        if contacts.tags[at] == tag and _is_of(contacts.rows[at], orig_hi, orig_lo, resp_hi, resp_lo, resp_p, proto):
            return at if now - contacts.rows[at]["last"] <= DAY else -1
    return -1


@njit
def _room(contacts, state, tag, now):
    """Return the row for a new contact: a free or an outdated one, or that of the contact tried longest ago."""
    first = tag & (contacts.tags.shape[0] - 1) & -WAYS
    oldest = first
    for at in range(first, first + WAYS):
        if contacts.tags[at] == 0:
            return at
        if contacts.rows[at]["last"] < contacts.rows[oldest]["last"]:
            oldest = at
    state["contacts_evicted"] += now - contacts.rows[oldest]["last"] <= DAY
    return oldest


@njit
def make_contact(contacts, state, orig_hi, orig_lo, resp_hi, resp_lo, resp_p, proto, now):
    """Return the row of a contact, which is made if it is new."""
    secret = state["secret"]
    tag = _tag(secret, orig_hi, orig_lo, resp_hi, resp_lo, resp_p, proto)
    first = tag & (contacts.tags.shape[0] - 1) & -WAYS
    found = np.int64(-1)
    for at in range(first, first + WAYS):
        if contacts.tags[at] == tag and _is_of(contacts.rows[at], orig_hi, orig_lo, resp_hi, resp_lo, resp_p, proto):
            found = at
    if found >= 0 and now - contacts.rows[found]["last"] <= DAY:
        return found
    if found < 0:
        found = _room(contacts, state, tag, now)
    contacts.tags[found] = tag
    row = contacts.rows[found]
    row["orig_hi"], row["orig_lo"], row["resp_hi"], row["resp_lo"] = orig_hi, orig_lo, resp_hi, resp_lo
    row["resp_p"], row["proto"] = resp_p, proto
    row["first"], row["last"] = now, now
    row["gap_ms"] = row["told"] = row["flows"] = row["orig_p"] = row["tries"] = row["gaps"] = row["marks"] = 0
    return found


@njit
def _contact_of(contacts, state, flow, now):
    """Return the row of a flow's contact. flow: a FLOW row."""
    hosts = (flow["orig_hi"], flow["orig_lo"], flow["resp_hi"], flow["resp_lo"])
    return make_contact(contacts, state, *hosts, np.int64(flow["resp_p"]), np.int64(flow["proto"]), now)


@njit
def note_try(contacts, state, flow, now):
    """Count a new flow as another try of its originator, unless it repeats the last one or is a retry of it."""
    orig_p = np.int64(flow["orig_p"])
    at = _contact_of(contacts, state, flow, now)
    row = contacts.rows[at]
    tries = np.int64(row["tries"])
    row["flows"] = min(np.int64(row["flows"]) + 1, _MOST_FLOWS)
    if tries == 0:
        row["tries"], row["orig_p"], row["last"] = 1, orig_p, now
        return
    gap = now - row["last"]
    if np.int64(row["orig_p"]) == orig_p or gap <= RETRY:
        return
    _note_gap(row, gap // 1_000_000)
    row["tries"], row["orig_p"], row["last"] = min(tries + 1, _MOST), orig_p, now


@njit
def _note_gap(row, gap):
    """Compare a gap (ms) between two tries with the usual one: 0.5 to 1.5 times as long counts as similar."""
    usual, gaps = np.int64(row["gap_ms"]), np.int64(row["gaps"])
    if gaps > 0 and 2 * abs(gap - usual) <= usual:
        row["gap_ms"] = (3 * usual + gap) // 4
        row["gaps"] = min(gaps + 1, _MOST)
    else:
        row["gap_ms"], row["gaps"] = gap, 1
    if np.int64(row["gaps"]) >= STEADY_GAPS:
        row["marks"] = np.int64(row["marks"]) | STEADY


@njit
def note_used(contacts, state, flow, is_both, now):
    """Record that a service is used; where data went both ways (`is_both`), its contact was reached.

    Return the row of the contact to report now; -1 if this slot of time has reported it already. A second flow that
    reaches it is reported in any case.
    """
    at = _contact_of(contacts, state, flow, now)
    row = contacts.rows[at]
    if is_both:
        row["marks"] = np.int64(row["marks"]) | REACHED
    slot = (now // SLOT) % _SLOTS + 1
    is_repeated = np.int64(row["flows"]) > 1 and np.int64(row["marks"]) & REPEATED == 0
    if np.int64(row["told"]) == slot and not is_repeated:
        return -1
    if is_repeated:
        row["marks"] = np.int64(row["marks"]) | REPEATED
    row["told"] = slot
    return at


@njit
def note_open(contacts, state, flow, change, now):
    """Count one more (`change` 1) or one fewer (-1) open control connection of two hosts. flow: a FLOW row."""
    pair = (flow["orig_hi"], flow["orig_lo"], flow["resp_hi"], flow["resp_lo"])
    if change < 0:
        at = find_contact(contacts, state["secret"], *pair, _PAIR, _NO_PROTO, now)
    else:
        at = make_contact(contacts, state, *pair, _PAIR, _NO_PROTO, now)
    if at >= 0:
        row = contacts.rows[at]
        row["gap_ms"] = max(np.int64(row["gap_ms"]) + change, 0)
        row["last"] = max(row["last"], now)


@njit
def is_open(contacts, state, orig_hi, orig_lo, resp_hi, resp_lo, now):
    """True if an originator holds a control connection to a responder, or did within CONTROL_TIME."""
    at = find_contact(contacts, state["secret"], orig_hi, orig_lo, resp_hi, resp_lo, _PAIR, _NO_PROTO, now)
    return at >= 0 and (np.int64(contacts.rows[at]["gap_ms"]) > 0 or now - contacts.rows[at]["last"] <= CONTROL_TIME)


@njit
def note_request(contacts, state, packet, now):
    """Record that a socket sends a datagram to a multicast or broadcast address. packet: a PACKET row."""
    socket = (packet["src_hi"], packet["src_lo"], _NOBODY, _NOBODY, np.int64(packet["src_port"]), _NO_PROTO)
    at = make_contact(contacts, state, *socket, now)
    contacts.rows[at]["last"] = now


@njit
def answers_request(contacts, state, key, now):
    """True if a datagram goes to a socket that asked a multicast or broadcast address within ANSWER_TIME."""
    socket = (key.dst_hi, key.dst_lo, _NOBODY, _NOBODY, key.dst_p, _NO_PROTO)
    at = find_contact(contacts, state["secret"], *socket, now)
    return at >= 0 and now - contacts.rows[at]["last"] <= ANSWER_TIME


@njit
def comes_from_used(contacts, state, key, now):
    """True if a packet comes from a service that its receiver has used, or that its receiving socket has asked."""
    ends = (key.dst_hi, key.dst_lo, key.src_hi, key.src_lo)
    at = find_contact(contacts, state["secret"], *ends, key.src_p, key.proto, now)
    if at < 0:
        return False
    row = contacts.rows[at]
    is_asked = np.int64(row["orig_p"]) == key.dst_p and now - row["last"] <= _PENDING
    return np.int64(row["marks"]) & REACHED != 0 or (key.proto != PROTO_TCP and is_asked)


@njit
def goes_to_known(contacts, state, key, now):
    """True if a packet goes to a service that its sender has tried before."""
    ends = (key.src_hi, key.src_lo, key.dst_hi, key.dst_lo)
    return find_contact(contacts, state["secret"], *ends, key.dst_p, key.proto, now) >= 0


@njit
def was_reached(contacts, state, flow, proto, now):
    """True if a flow's originator has reached the same port of the responder by a protocol within a day."""
    ends = (flow["orig_hi"], flow["orig_lo"], flow["resp_hi"], flow["resp_lo"])
    at = find_contact(contacts, state["secret"], *ends, np.int64(flow["resp_p"]), proto, now)
    return at >= 0 and np.int64(contacts.rows[at]["marks"]) & REACHED != 0
