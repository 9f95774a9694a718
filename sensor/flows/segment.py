"""Segments: link the bytes of a packet to its flow, for protocols. Written only for followed protocols."""

import numpy as np

from sensor._jit import njit
from sensor.packet import PROTO_TCP, PROTO_UDP, SYN, Kind

SEGMENT = np.dtype(
    [
        ("order", "i8"),  # position among the events and segments of a worker
        ("ts", "i8"),  # the packet clock's time
        ("orig_hi", "u8"),  # high half of the flow's originator's address
        ("orig_lo", "u8"),  # low half
        ("resp_hi", "u8"),  # high half of the responder's address
        ("resp_lo", "u8"),  # low half
        ("row", "i8"),  # its packet's row in the input; -1 where it has none
        ("at", "i8"),  # position of the payload's first byte in its buffer; set once the bytes are located
        ("length", "i8"),  # captured bytes of it
        ("slot", "i4"),  # slot of its flow; another flow may have it after ENDS
        ("seq", "u4"),  # TCP's number of the payload's first byte
        ("orig_p", "u2"),  # the originator's port
        ("resp_p", "u2"),  # the responder's
        ("proto", "u1"),  # IP protocol number
        ("side", "u1"),  # 0: the originator sent it
        ("flags", "u1"),  # TCP's
        ("marks", "u1"),  # BEGINS, ENDS
    ],
    align=True,
)
"""A packet of a flow that carries payload, has a SYN, FIN or RST, or begins its flow; or the end of a flow."""

BEGINS, ENDS = 1, 2
"""The first of its flow; the end of its flow, which is forgotten (such a row has no packet)."""

_PROTOS = {Kind.TCP: PROTO_TCP, Kind.UDP: PROTO_UDP}


def followed(kinds):
    """Return the IP protocols of some kinds of packets as bits, numbered by protocol: TCP and UDP."""
    return sum(1 << _PROTOS[each] for each in set(kinds))


@njit
def is_followed(state, proto):
    """True if segments of an IP protocol are wanted."""
    return proto < 63 and (state["followed"] >> np.int64(proto)) & 1 != 0


@njit
def _begin_segment(table, slot, ts):
    """Begin the next row of `table.segments` with the fields of its flow; return the number of the row."""
    at = table.state["segments"]
    row, flow = table.segments[at], table.flows[slot]
    table.state["segments"] += 1
    row["order"] = table.state["order"]
    table.state["order"] += 1
    row["ts"], row["slot"] = ts, slot
    row["orig_hi"], row["orig_lo"] = flow["orig_hi"], flow["orig_lo"]
    row["resp_hi"], row["resp_lo"] = flow["resp_hi"], flow["resp_lo"]
    row["orig_p"], row["resp_p"] = flow["orig_p"], flow["resp_p"]
    row["proto"] = flow["proto"]
    return at


@njit
def write_segment(table, slot, side, packet, at, begins, ts):
    """Write the segment of a packet (PACKET row), which is row `at` of the input."""
    row = table.segments[_begin_segment(table, slot, ts)]
    row["row"], row["side"] = at, side
    row["flags"] = packet["tcp_flags"]
    row["seq"] = (np.int64(packet["seq"]) + (np.int64(packet["tcp_flags"]) & SYN) // SYN) & 0xFFFF_FFFF
    row["marks"] = BEGINS if begins else 0


@njit
def write_end_of_flow(table, slot, ts):
    """Write the end of a flow."""
    row = table.segments[_begin_segment(table, slot, ts)]
    row["row"], row["side"], row["flags"], row["seq"] = -1, 0, 0, 0
    row["marks"] = ENDS
