"""Timers: every flow is in one doubly linked list of flows with equal waits, in the order in which they fall due.

A list's flows wait equally long from a time that never runs backwards, so a (re)started flow goes to the end and the
first is always due next. That costs O(1) a packet, O(expired) at expiry, and is exact to the packet clock.
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
    HALF_OPEN,  # a SYN-ACK that the originator did not continue, or a connection that ended without data after it
    REFUSED,  # a datagram that ICMP reported as undeliverable
    ONE_PARTIAL,
    ONE_UDP,
    ONE_ICMP,
    ONE_CLOSED,
    ONE_RESET,
    PARTIAL_LIST,  # joined in the middle; nothing proves that both ends took part
    UDP_LIST,
    ICMP_LIST,
    CLOSED_LIST,  # no packets are expected: waits from the close, or the RST, regardless of later packets
    RESET_LIST,
    ESTABLISHED_LIST,
) = range(14)
"""The lists. ONE_ lists are those of a flow's first packet."""

LISTS = 14
RANKS = (0, 3, 8, 13, 14)
"""The first list of each rank of eviction: half-open, one-packet, idle, established."""

TO_MANY = PARTIAL_LIST - ONE_PARTIAL
"""Offset from a list of first packets to the list of the same flows with more."""

NEVER = np.iinfo(np.int64).max


LIST = np.dtype([("first", "i8"), ("last", "i8"), ("delay", "i8")], align=True)
"""A list: its ends, -1 if it is empty, and how long its flows wait (ns)."""


def new_lists(options: FlowOptions) -> np.ndarray:
    """Return the lists, empty."""
    tcp, udp, icmp = options.tcp_inactivity, options.udp_inactivity, options.icmp_inactivity
    rest = (udp, icmp, options.tcp_close, options.tcp_reset)
    lists = np.full(LISTS, -1, LIST)
    lists["first"] = lists["last"] = -1
    attempt = options.tcp_attempt
    lists["delay"] = (attempt, options.tcp_half_open, attempt, attempt, *rest, tcp, *rest, tcp)
    return lists


@njit
def _is_left_empty(flow, orig, resp):
    """True if a connection was answered and ended without data: reported late, once a returning client is known."""
    is_over = orig == RESET or resp == RESET or (orig == CLOSED and resp == CLOSED)
    is_answered = np.int64(flow["marks"]) & ATTEMPTED != 0 and has_seen(flow, 1, H)
    return is_over and is_answered and flow["bytes"][0] == 0 and flow["bytes"][1] == 0


@njit
def tcp_list(flow):
    """Return the list for a TCP connection by its endpoints' states, as if it had more than one packet.

    flow: a FLOW row.
    """
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
    """Return the list for a flow (FLOW row) of UDP, SCTP or another protocol, as if it had more than one packet."""
    is_refused = np.int64(flow["marks"]) & UNREACHABLE != 0 and flow["pkts"][1] == 0
    return REFUSED if is_refused else UDP_LIST


@njit
def _since(flow, which):
    """Return the start (ns) of the wait of a flow in this list."""
    return flow["first"] if which == ATTEMPT else flow["last"]


@njit
def _after(since, delay):
    return min(since, NEVER - delay) + delay


@njit
def first_due(table):
    """Return the list whose first flow falls due next, and the time (ns); -1 and NEVER if there is no flow.

    Of several lists due at once, the first counts.
    """
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
    """Return the flow to evict, and its rank: the longest idle (or unanswered) of the first rank that has any."""
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
    """Remove a flow from its list."""
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
    """Append a flow that is in no list to one."""
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
    """Restart a flow's wait at a packet at `now` (ns), in the list that it now belongs to, unless its time is fixed."""
    flow = table.flows[slot]
    current = np.int64(flow["list"])
    is_over = which in (CLOSED_LIST, RESET_LIST)
    if not (is_over and (current == which or current == which - TO_MANY)):
        flow["last"] = now
        if not (current == which and (which == ATTEMPT or table.lists[which]["last"] == slot)):
            unlink(table, slot)
            append(table, slot, which)
