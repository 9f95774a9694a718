"""Writes events into the output rows."""

import numpy as np

from sensor._jit import njit
from sensor.flows.contacts import FAILED, STEADY, find_contact, is_open, was_reached
from sensor.flows.event import Event
from sensor.flows.flow import (
    FLIP,
    ORIG_KNOWN,
    TIME_EXCEEDED,
    UNREACHABLE,
    conn_state,
    has_mark,
    has_seen,
    is_unproven,
    letter_at,
    letters,
    went_both_ways,
)
from sensor.flows.key import may_be_reply
from sensor.packet import PROTO_TCP, PROTO_UDP

_ARP_REQUEST, _ARP_REPLY = int(Event.ARP_REQUEST), int(Event.ARP_REPLY)
_SERVICE_USED = int(Event.SERVICE_USED)


@njit
def _next_row(out, state, event, ts):
    """Return the number of the next row of `out`, with event and time set; -1 if the event is not wanted.

    out: rows of EVENT_IN_KERNELS.
    """
    if (state["wanted"] >> event) & 1 == 0:
        return -1
    at = state["written"]
    state["written"] += 1
    state["events"] += 1
    row = out[at]
    row["event"] = event
    row["order"] = state["order"]
    state["order"] += 1
    row["ts"] = row["seen"] = ts
    return at


@njit
def write_flow(out, state, event, flow, ts):
    """Write an event of a flow in its present state; return its row number, -1 if the event is not wanted.

    out: rows of EVENT_IN_KERNELS; flow: a FLOW row.
    """
    at = _next_row(out, state, event, ts)
    if at < 0:
        return at
    row = out[at]
    row["orig_hi"], row["orig_lo"] = flow["orig_hi"], flow["orig_lo"]
    row["resp_hi"], row["resp_lo"] = flow["resp_hi"], flow["resp_lo"]
    row["orig_p"], row["resp_p"] = flow["orig_p"], flow["resp_p"]
    row["proto"] = flow["proto"]
    row["seen"] = flow["last"]
    row["duration"] = flow["last"] - flow["first"]
    row["orig_bytes"], row["resp_bytes"] = flow["bytes"][0], flow["bytes"][1]
    row["orig_pkts"], row["resp_pkts"] = flow["pkts"][0], flow["pkts"][1]
    row["conn_state"] = conn_state(flow)
    for i in range(letters(flow)):
        row["history"][i] = letter_at(flow, i)
    row["orig_flags"], row["orig_options"] = flow["orig_flags"], flow["orig_options"]
    row["orig_ttl"] = flow["orig_ttl"]
    marks = np.int64(flow["marks"])
    row["unreachable"] = marks & UNREACHABLE != 0
    row["time_exceeded"] = marks & TIME_EXCEEDED != 0
    row["unproven"] = is_unproven(flow)
    row["orig_known"] = has_mark(flow, ORIG_KNOWN)
    if not has_mark(flow, ORIG_KNOWN):
        source, target = np.int64(flow["orig_p"]), np.int64(flow["resp_p"])
        row["may_be_reply"] = may_be_reply(target, source) if has_seen(flow, 0, FLIP) else may_be_reply(source, target)
    return at


@njit
def write_used(out, state, contact, flow, ts):
    """Write that a service is used by a flow of this contact. contact: a CONTACT row; flow: a FLOW row."""
    at = write_flow(out, state, _SERVICE_USED, flow, ts)
    if at >= 0:
        out[at]["connections"], out[at]["first_try"] = contact["flows"], contact["first"]
        out[at]["failed_before"] = np.int64(contact["marks"]) & FAILED != 0


@njit
def write_end(out, state, contacts, event, flow, ts):
    """Write an event that ends a flow, or a wait; include the contact's history, unless data went both ways.

    out: rows of EVENT_IN_KERNELS; flow: a FLOW row.
    """
    at = write_flow(out, state, event, flow, ts)
    if went_both_ways(flow):
        return
    proto, resp_p = np.int64(flow["proto"]), np.int64(flow["resp_p"])
    hosts = (flow["orig_hi"], flow["orig_lo"], flow["resp_hi"], flow["resp_lo"])
    found = find_contact(contacts, state["secret"], *hosts, resp_p, proto, ts)
    if found >= 0:
        contacts.rows[found]["marks"] = np.int64(contacts.rows[found]["marks"]) | FAILED
    if at < 0:
        return
    row = out[at]
    if found >= 0:
        contact = contacts.rows[found]
        row["first_try"], row["tries"] = contact["first"], contact["tries"]
        row["steady"] = np.int64(contact["marks"]) & STEADY != 0
    if proto in (PROTO_TCP, PROTO_UDP):
        by_tcp = was_reached(contacts, state, flow, PROTO_TCP, ts)
        row["reached"] = by_tcp or was_reached(contacts, state, flow, PROTO_UDP, ts)
    if proto == PROTO_TCP:
        orig, resp = (flow["orig_hi"], flow["orig_lo"]), (flow["resp_hi"], flow["resp_lo"])
        row["controls"] = is_open(contacts, state, *orig, *resp, ts)
        row["is_controlled"] = is_open(contacts, state, *resp, *orig, ts)


@njit
def write_icmp_error(out, state, event, packet, ts):
    """Write the event of an ICMP error about the packet that it quotes. packet: a PACKET row."""
    at = _next_row(out, state, event, ts)
    if at < 0:
        return
    row = out[at]
    row["orig_hi"], row["orig_lo"] = packet["quoted_src_hi"], packet["quoted_src_lo"]
    row["resp_hi"], row["resp_lo"] = packet["quoted_dst_hi"], packet["quoted_dst_lo"]
    row["orig_p"], row["resp_p"] = packet["quoted_src_port"], packet["quoted_dst_port"]
    row["proto"] = packet["quoted_proto"]
    row["reporter_hi"], row["reporter_lo"] = packet["src_hi"], packet["src_lo"]
    row["icmp_type"], row["icmp_code"] = packet["icmp_type"], packet["icmp_code"]


@njit
def write_arp(out, state, packet, ts):
    """Write the event of an ARP request or reply; other operations are ignored. packet: a PACKET row."""
    operation = packet["arp_op"]
    if operation != 1 and operation != 2:
        return
    at = _next_row(out, state, _ARP_REQUEST if operation == 1 else _ARP_REPLY, ts)
    if at < 0:
        return
    row = out[at]
    row["orig_hi"], row["orig_lo"] = packet["src_hi"], packet["src_lo"]
    row["resp_hi"], row["resp_lo"] = packet["dst_hi"], packet["dst_lo"]
    row["orig_mac"], row["resp_mac"] = packet["sha"], packet["tha"]
