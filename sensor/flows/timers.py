"""Timers: every flow is in one doubly linked list of those that wait alike, in the order in which they fall due.

A list's flows wait equally long from a moment that never runs backwards, so a flow that is (re)started goes to the end
and the first is always the next due. That costs O(1) a packet, O(expired) at expiry, and is exact to the packet clock.
"""

import numpy as np

from sensor._jit import njit
from sensor.flows.flow import (
    ATTEMPTED,
    CLOSED,
    CONFIRMED,
    INACTIVE,
    RESET,
    UNREACHABLE,
    A,
    D,
    H,
    S,
    has_mark,
    has_seen,
)
from sensor.flows.options import FlowOptions

(
    ATTEMPT,  # a SYN and no answer: waits from its first packet
    HALF_OPEN,  # a SYN-ACK that the originator did not go on after, or that no data came after to the end
    REFUSED,  # a datagram that ICMP said could not be delivered
    ONE_PARTIAL,
    ONE_UDP,
    ONE_ICMP,
    ONE_CLOSED,
    ONE_RESET,
    PARTIAL_LIST,  # joined in the middle, as nothing proves that both ends took part
    UDP_LIST,
    ICMP_LIST,
    CLOSED_LIST,  # nothing more is to come: waits from the close, or the RST, whatever comes later
    RESET_LIST,
    ESTABLISHED_LIST,
) = range(14)
"""The lists. ONE_ are those of a flow's first packet."""

LISTS = 14
RANKS = (0, 3, 8, 13, 14)
"""Where each rank of eviction begins: half-open, one-packet, idle, established."""

TO_MANY = PARTIAL_LIST - ONE_PARTIAL
"""From a list of first packets to that of the same flows with more."""

NEVER = np.iinfo(np.int64).max


LIST = np.dtype([("first", "i8"), ("last", "i8"), ("delay", "i8")], align=True)
"""A list: its ends, -1 where it is empty, and how long its flows wait."""


def new_lists(options: FlowOptions) -> np.ndarray:
    """The lists, empty."""
    tcp, udp, icmp = options.tcp_inactivity, options.udp_inactivity, options.icmp_inactivity
    rest = (udp, icmp, options.tcp_close, options.tcp_reset)
    lists = np.full(LISTS, -1, LIST)
    lists["first"] = lists["last"] = -1
    attempt = options.tcp_attempt
    lists["delay"] = (attempt, options.tcp_half_open, attempt, attempt, *rest, tcp, *rest, tcp)
    return lists


@njit
def _is_left_empty(flow, orig, resp):
    """Whether a connection was answered and is over without data: it is told late, when it is known who comes back."""
    is_over = orig == RESET or resp == RESET or (orig == CLOSED and resp == CLOSED)
    is_answered = np.int64(flow["marks"]) & ATTEMPTED != 0 and has_seen(flow, 1, H)
    return is_over and is_answered and flow["bytes"][0] == 0 and flow["bytes"][1] == 0


@njit
def tcp_list(flow):
    """The list that its endpoints put a TCP connection in, taken to have had more than one packet."""
    orig, resp = np.int64(flow["state"][0]), np.int64(flow["state"][1])
    if resp == INACTIVE and np.int64(flow["marks"]) & ATTEMPTED != 0 and not has_mark(flow, CONFIRMED):
        return ATTEMPT
    if _is_left_empty(flow, orig, resp):
        return HALF_OPEN
    if orig == RESET or resp == RESET:
        return RESET_LIST
    if orig in (CLOSED, INACTIVE) and resp in (CLOSED, INACTIVE):
        return CLOSED_LIST
    if has_seen(flow, 1, H) or has_seen(flow, 1, S):
        return ESTABLISHED_LIST if has_seen(flow, 0, A) or has_seen(flow, 0, D) else HALF_OPEN
    return PARTIAL_LIST


@njit
def datagram_list(flow):
    """The list of a flow of UDP, SCTP or another protocol, taken to have had more than one packet."""
    is_refused = np.int64(flow["marks"]) & UNREACHABLE != 0 and flow["pkts"][1] == 0
    return REFUSED if is_refused else UDP_LIST


@njit
def _since(flow, which):
    """When the wait of a flow in this list began."""
    return flow["first"] if which == ATTEMPT else flow["last"]


@njit
def _after(since, delay):
    return min(since, NEVER - delay) + delay


@njit
def first_due(table):
    """Which list's first falls due next, and when; of several, the first list. -1 and NEVER where there is no flow."""
    best, when = -1, NEVER
    for which in range(LISTS):
        first = table.lists[which]["first"]
        if first >= 0:
            then = _after(_since(table.flows[first], which), table.lists[which]["delay"])
            if best < 0 or then < when:
                best, when = which, then
    return best, when


@njit
def oldest(table):
    """The flow to evict, and its rank: the one longest idle (or unanswered) of the first rank that has any."""
    for rank in range(4):
        best, since = -1, NEVER
        for which in range(RANKS[rank], RANKS[rank + 1]):
            first = table.lists[which]["first"]
            if first >= 0:
                then = _since(table.flows[first], which)
                if best < 0 or then < since:
                    best, since = first, then
        if best >= 0:
            return best, rank
    return -1, 0


@njit
def unlink(table, slot):
    """Take a flow out of its list."""
    flow = table.flows[slot]
    ends = table.lists[flow["list"]]
    before, after = np.int64(flow["before"]), np.int64(flow["after"])
    if before < 0:
        ends["first"] = after
    else:
        table.flows[before]["after"] = after
    if after < 0:
        ends["last"] = before
    else:
        table.flows[after]["before"] = before


@njit
def append(table, slot, which):
    """Put a flow that is in no list at the end of one."""
    flow, ends = table.flows[slot], table.lists[which]
    last = ends["last"]
    flow["before"], flow["after"] = last, -1
    if last < 0:
        ends["first"] = slot
    else:
        table.flows[last]["after"] = slot
    ends["last"] = slot
    flow["list"] = which
    table.state["next_due"] = min(table.state["next_due"], _after(_since(flow, which), ends["delay"]))


@njit
def restart(table, slot, which, now):
    """A packet came at `now`: let its flow wait anew, in the list that it now belongs to, unless its time is fixed."""
    flow = table.flows[slot]
    current = np.int64(flow["list"])
    is_over = which in (CLOSED_LIST, RESET_LIST)
    if not (is_over and (current == which or current == which - TO_MANY)):
        flow["last"] = now
        if not (current == which and (which == ATTEMPT or table.lists[which]["last"] == slot)):
            unlink(table, slot)
            append(table, slot, which)
