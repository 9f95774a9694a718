"""The events of the flow table: their kinds, the connection states, and the columns of an event's row."""

from enum import IntEnum

import numpy as np


class Event(IntEnum):
    """Events, by Zeek's names; `event_types.py` has their meanings and columns."""

    CONNECTION_ATTEMPT = 0
    CONNECTION_REJECTED = 1
    CONNECTION_ESTABLISHED = 2
    CONNECTION_FINISHED = 3
    CONNECTION_RESET = 4
    CONNECTION_STATE_REMOVE = 5
    UDP_REQUEST = 6
    UDP_REPLY = 7
    ICMP_ECHO_REQUEST = 8
    ICMP_ECHO_REPLY = 9
    ICMP_UNREACHABLE = 10
    ICMP_TIME_EXCEEDED = 11
    ARP_REQUEST = 12
    ARP_REPLY = 13
    SERVICE_USED = 14


class ConnState(IntEnum):
    """The progress of a connection, by Zeek's names (base/protocols/conn)."""

    OTH = 0  # no SYN seen, or none of those below
    S0 = 1  # attempt, no answer
    S1 = 2  # established, not closed
    SF = 3  # established and closed; UDP: both ends spoke
    REJ = 4  # attempt refused
    S2 = 5  # the originator closed, the responder did not
    S3 = 6  # the responder closed, the originator did not
    RSTO = 7  # the originator sent a RST
    RSTR = 8  # the responder sent a RST
    RSTOS0 = 9  # SYN, then a RST from the originator, no SYN-ACK
    RSTRH = 10  # SYN-ACK, then a RST from the responder, no SYN
    SH = 11  # SYN, then a FIN from the originator, no SYN-ACK
    SHR = 12  # SYN-ACK, then a FIN from the responder, no SYN


_HISTORY = 24  # bytes of a history: its letters, then zeros; a multiple of 8


def _event_dtype(history: object) -> np.dtype:
    fields: list[tuple[str, object]] = [
        ("order", "i8"),
        ("ts", "i8"),
        ("seen", "i8"),
        ("orig_hi", "u8"),
        ("orig_lo", "u8"),
        ("resp_hi", "u8"),
        ("resp_lo", "u8"),
        ("duration", "i8"),
        ("first_try", "i8"),
        ("orig_bytes", "i8"),
        ("resp_bytes", "i8"),
        ("reporter_hi", "u8"),
        ("reporter_lo", "u8"),
        ("orig_mac", "u8"),
        ("resp_mac", "u8"),
        ("history", history),
        ("orig_pkts", "u4"),
        ("resp_pkts", "u4"),
        ("orig_p", "u2"),
        ("resp_p", "u2"),
        ("event", "u1"),
        ("proto", "u1"),
        ("conn_state", "u1"),
        ("orig_flags", "u1"),
        ("orig_options", "u1"),
        ("orig_ttl", "u1"),
        ("unreachable", "u1"),
        ("time_exceeded", "u1"),
        ("icmp_type", "u1"),
        ("icmp_code", "u1"),
        ("connections", "u2"),
        ("orig_known", "u1"),
        ("may_be_reply", "u1"),
        ("tries", "u1"),
        ("steady", "u1"),
        ("reached", "u1"),
        ("failed_before", "u1"),
        ("controls", "u1"),
        ("is_controlled", "u1"),
        ("unproven", "u1"),
    ]
    return np.dtype(fields, align=True)


EVENT = _event_dtype(f"S{_HISTORY}")
"""The dtype of one event. Columns that its kind does not have are 0."""

EVENT_IN_KERNELS = _event_dtype(("u1", _HISTORY))
"""The same bytes; here a kernel writes a history letter by letter."""
