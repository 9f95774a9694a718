"""ICMP: echo messages, and errors, which mark the flow that they concern (RFC 792, RFC 4443)."""

import numpy as np

from sensor._jit import njit
from sensor.clock import SECOND
from sensor.flows.event import Event
from sensor.flows.event_writer import write_flow, write_icmp_error
from sensor.flows.flow import (
    TIME_EXCEEDED,
    UNREACHABLE,
)
from sensor.flows.index import tag_of
from sensor.flows.key import (
    ECHO_REPLY,
    ECHO_REPLY_V6,
    ECHO_REQUEST,
    ECHO_REQUEST_V6,
    quoted_key,
)
from sensor.flows.network import find_flow, network_of
from sensor.flows.timers import (
    REFUSED,
    datagram_list,
    restart,
)
from sensor.packet import (
    PROTO_ICMP,
    PROTO_TCP,
)

_REQUEST, _REPLY = int(Event.ICMP_ECHO_REQUEST), int(Event.ICMP_ECHO_REPLY)
_UNREACHABLE, _TIME_EXCEEDED = int(Event.ICMP_UNREACHABLE), int(Event.ICMP_TIME_EXCEEDED)
_RECENT = 30 * SECOND  # the greatest age of a packet that an ICMP error quotes


@njit
def _mark_quoted(table, packet, mark, now):
    """Mark the flow that an ICMP error quotes; return True if it is held and its originator sent a packet recently.

    packet: a PACKET row.
    """
    key = quoted_key(packet, network_of(packet) * table.state["by_network"])
    found = find_flow(table, key, tag_of(table.state["secret"], key), True, True)
    if found < 0 or found & 1 != 0:
        return False
    flow = table.flows[found >> 1]
    if flow["pkts"][0] == 0 or now - flow["last"] > _RECENT:
        return False
    flow["marks"] = np.int64(flow["marks"]) | mark
    if key.proto != PROTO_TCP and datagram_list(flow) == REFUSED:
        restart(table, found >> 1, REFUSED, now)
    return True


@njit
def take_icmp(table, flow, packet, now):
    """Raise the events of an ICMP message. Fragmentation needed (3/4) does not mean that anything is unreachable.

    An error is evidence only if its receiver sent the quoted packet; anybody can forge others. flow: a FLOW row;
    packet: a PACKET row.
    """
    kind, code = np.int64(packet["icmp_type"]), np.int64(packet["icmp_code"])
    is_v4 = packet["proto"] == PROTO_ICMP
    is_request = kind == (ECHO_REQUEST if is_v4 else ECHO_REQUEST_V6)
    if is_request or kind == (ECHO_REPLY if is_v4 else ECHO_REPLY_V6):
        write_flow(table.out, table.state, _REQUEST if is_request else _REPLY, flow, now)
    unreachable = kind == (3 if is_v4 else 1) and not (is_v4 and code == 4)
    if unreachable or kind == (11 if is_v4 else 3):
        if packet["quoted_proto"] == 0:
            table.state["icmp_without_quote"] += 1
            return
        mark = UNREACHABLE if unreachable else TIME_EXCEEDED
        if _mark_quoted(table, packet, mark, now):
            write_icmp_error(table.out, table.state, _UNREACHABLE if unreachable else _TIME_EXCEEDED, packet, now)
        else:
            table.state["unrelated_ICMP_error"] += 1
