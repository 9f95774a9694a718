"""Probes: connections that look for a service without using it, as the scan detections count them.

The TCP cases are those of Zeek's policy/misc/scan (attempt, rejection, reset by the originator before any data), and
those of Nmap's FIN, NULL, Xmas and ACK scans: a first packet that no connection begins with, met by a RST or silence.
"""

from enum import IntEnum

import numpy as np

from sensor.detection import Batch

EVENTS = (
    "connection_attempt",
    "connection_rejected",
    "connection_reset",
    "connection_finished",
    "connection_state_remove",
    "icmp_unreachable",
)
"""The events that can end a probe."""

TCP, UDP = 6, 17
FIN, SYN, ACK, URG = 0x01, 0x02, 0x10, 0x20
FIN_SYN_RST_ACK = 0x17

FULL_STACK = 12
"""Bytes of TCP options in a SYN from which an operating system's connect() made it: with MSS alone (4 bytes), as
half-open scanners send it, there is no SACK and no window scale. See pcaps/port-scan-connect.pcap."""

TRACEROUTE = (33434, 33534)
"""UDP ports that traceroute counts upwards through (traceroute(8)): not a scan of them."""


class Probe(IntEnum):
    """How the service was looked for; the lower-case name is the alert's kind."""

    NONE = 0
    SYN = 1
    FIN = 2
    NULL = 3
    XMAS = 4
    ACK = 5
    UDP = 6


def probe(batch: Batch) -> np.ndarray:
    """The Probe of each row: by its protocol and the flags of the originator's first packet."""
    if batch.event in ("icmp_unreachable", "udp_reply"):
        return np.where(batch.proto == UDP, Probe.UDP, Probe.NONE)
    if batch.event != "connection_state_remove":
        return np.full(len(batch), int(Probe.SYN))
    flags = batch.orig_flags
    is_xmas = (flags & (FIN | URG) == FIN | URG) & (flags & FIN_SYN_RST_ACK == FIN)
    kinds = np.select(
        [flags & FIN_SYN_RST_ACK == SYN, is_xmas, flags == FIN, flags == 0, flags == ACK],
        [Probe.SYN, Probe.XMAS, Probe.FIN, Probe.NULL, Probe.ACK],
        Probe.NONE,
    )
    return np.where(batch.proto == UDP, Probe.UDP, np.where(batch.proto == TCP, kinds, Probe.NONE))


def failed(batch: Batch) -> np.ndarray:
    """Rows whose responder refused, did not answer, or was dropped with a RST once it had answered, before any data."""
    if batch.event == "icmp_unreachable":
        return (batch.proto == UDP) & _is_udp_probe(batch)
    if batch.event == "connection_state_remove":
        return np.where(batch.proto == UDP, (batch.resp_pkts == 0) & _is_udp_probe(batch), _is_odd_probe(batch))
    if batch.event == "connection_reset":
        return np.char.endswith(batch.history, b"R") & _is_dataless(batch)
    if batch.event in ("connection_finished", "udp_reply"):
        return np.zeros(len(batch), np.bool_)
    return np.ones(len(batch), np.bool_)


def unused(batch: Batch) -> np.ndarray:
    """Rows that failed, or were answered and then left or closed with no byte of data either way."""
    if batch.event in ("connection_reset", "connection_finished"):
        return _is_answered_and_empty(batch)
    if batch.event == "connection_state_remove":
        return failed(batch) | _is_answered_and_empty(batch)
    return failed(batch)


def answered(batch: Batch) -> np.ndarray:
    """The first answers of UDP responders."""
    if batch.event != "udp_reply":
        return np.zeros(len(batch), np.bool_)
    return batch.resp_pkts == 1


def full_connect(batch: Batch) -> np.ndarray:
    """1 for each SYN probe that an operating system's connect() made, 0 for one made by hand."""
    if batch.event in ("icmp_unreachable", "udp_reply"):
        return np.zeros(len(batch))
    is_full = (batch.orig_options >= FULL_STACK) | np.char.startswith(batch.history, b"ShA")
    return is_full.astype(np.float64)


def kind_of(code: int, connects: float) -> str:
    """An alert's kind from a Probe and the share of its probes that were full connects."""
    return "connect" if code == Probe.SYN and connects >= 0.5 else Probe(code).name.lower()


def _is_dataless(batch: Batch) -> np.ndarray:
    return (batch.orig_bytes == 0) & (batch.resp_bytes == 0)


def _is_answered_and_empty(batch: Batch) -> np.ndarray:
    found = (batch.proto == TCP) & _is_dataless(batch)
    rows = np.flatnonzero(found)  # few: text is slow to compare
    found[rows] = np.char.startswith(batch.history[rows], b"Sh")
    return found


def _is_udp_probe(batch: Batch) -> np.ndarray:
    is_traceroute = (batch.resp_p >= TRACEROUTE[0]) & (batch.resp_p <= TRACEROUTE[1])
    if batch.event == "connection_state_remove":
        is_traceroute |= batch.time_exceeded != 0
    return ~(is_traceroute | batch.resp_h.is_multicast)


def _is_odd_probe(batch: Batch) -> np.ndarray:
    only_reset = np.isin(batch.history, (b"", b"r", b"F", b"Fr", b"A", b"Ar"))
    return (probe(batch) != Probe.NONE) & only_reset & _is_dataless(batch)
