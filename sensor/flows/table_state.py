"""A flow table's arrays, as passed to kernels: its flows, the data beside them, its counters and oddities."""

from typing import NamedTuple

import numpy as np

from sensor.counters import FLOWS, names
from sensor.flows.contacts import Contacts

COUNTERS = names(FLOWS)
"""The counters reported by name."""

WEIRDS = (
    "active_connection_reuse",
    "premature_connection_reuse",
    "SYN_seq_jump",
    "SYN_with_data",
    "baroque_SYN",
    "TCP_christmas",
    "simultaneous_open",
    "unsolicited_SYN_response",
    "connection_originator_SYN_ack",
    "spontaneous_FIN",
    "spontaneous_RST",
    "data_before_established",
    "data_after_reset",
    "RST_out_of_window",
    "unrelated_ICMP_error",
)
"""Oddities of connections, by Zeek's names; Zeek lacks the last two: a RST that its receiver would ignore, and an ICMP
error that quotes no packet which its receiver is known to have sent recently."""

STATE = np.dtype(
    [
        ("secret", "u8", 2),  # the key of the hash
        ("wanted", "i8"),  # a bit for each event
        ("written", "i8"),  # events that wait to be handed out
        ("followed", "i8"),  # a bit for each IP protocol whose segments are wanted
        ("segments", "i8"),  # segments that wait to be taken
        ("order", "i8"),  # of the next event or segment
        ("clock", "i8"),  # the packet clock
        ("next_due", "i8"),  # no flow is due before it
        ("flows_open", "i8"),
        ("by_network", "i8"),  # 1 if the network distinguishes flows of one five-tuple, else 0
        ("networks_seen", "i8"),  # 0 until a packet comes in a VLAN or tunnel
        ("entries", "i8"),  # used entries of the index
        ("touched", "i8"),  # slots ever used
        ("free", "i8"),  # first free slot below those, -1 if there is none
        ("holes_made", "u8"),
        *((name, "i8") for name in COUNTERS + WEIRDS),
    ],
    align=True,
)


class Arrays(NamedTuple):
    """All arrays of one flow table."""

    flows: np.ndarray
    """FLOW, one row per slot."""
    networks: np.ndarray
    """NETWORKS, one row per slot: the networks in which each side was seen."""
    contacts: Contacts
    holes: np.ndarray
    """HOLE rows: gaps of sequence numbers that a side has not filled."""
    entries: np.ndarray
    """int64: tag and slot of each flow, open-addressed."""
    lists: np.ndarray
    """LIST, one row per timer list."""
    out: np.ndarray
    """EVENT rows that wait to be handed out."""
    segments: np.ndarray
    """SEGMENT rows that wait to be taken."""
    state: np.void
    """STATE, one record."""
