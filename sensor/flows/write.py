"""Writes events into the rows that are handed out."""

import numpy as np

from sensor._jit import njit
from sensor.flows.event import Event
from sensor.flows.flow import TIME_EXCEEDED, UNREACHABLE, conn_state, letter_at, letters

_ARP_REQUEST, _ARP_REPLY = int(Event.ARP_REQUEST), int(Event.ARP_REPLY)


@njit
def _next_row(out, state, event, ts):
    """The number of the next row of `out`, begun with its event and time; -1 where nobody wants it."""
    if (state["wanted"] >> event) & 1 == 0:
        return -1
    at = state["written"]
    state["written"] += 1
    state["events"] += 1
    row = out[at]
    row["event"] = event
    row["ts"] = row["seen"] = ts
    return at


@njit
def write_flow(out, state, event, flow, ts):
    """An event of a flow, as it stands."""
    at = _next_row(out, state, event, ts)
    if at < 0:
        return
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


@njit
def write_icmp_error(out, state, event, packet, ts):
    """What an ICMP error says of the packet that it quotes."""
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
    """An ARP request or reply; other operations are left alone."""
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
