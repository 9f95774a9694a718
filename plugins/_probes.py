"""Probes: flows that look for a service without using it, and those that use it, as the scan detections count them.

The TCP cases are those of Zeek's policy/misc/scan (attempt, rejection, reset by the originator before any data), those
of Nmap's FIN, NULL, Xmas, ACK and Maimon scans (a first packet that no connection begins with, met by a RST or by
silence), and a SYN-ACK that the originator leaves alone. Left out is what proves nothing of its sender: a service that
the same originator has reached within a day, the answers to multicast requests, streams, and what is `unproven`.
"""

from enum import IntEnum

import numpy as np

from sensor.detection import AddressColumn, Batch, address

ENDS = (
    "connection_attempt",
    "connection_rejected",
    "connection_reset",
    "connection_finished",
    "connection_state_remove",
)
"""The events that can end a probe."""

USED = "service_used"

TCP, UDP, SCTP = 6, 17, 132
DESCRIBED = (1, TCP, UDP, 58, SCTP)
FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
BEGINNINGS = SYN | RST | ACK

FULL_STACK = 12
"""Bytes of TCP options in a SYN from which an operating system's connect() made it: with MSS alone (4 bytes), as
half-open scanners send it, there is no SACK and no window scale. See pcaps/port-scan-connect.pcap."""

TRACEROUTE = (33434, 33534)
"""UDP ports that traceroute counts upwards through (traceroute(8)): not a scan of them."""

SYSTEM_PORTS = 1024


STREAM_PACKETS, STREAM_TIME = 10, 5_000_000_000
"""A UDP flow of more packets, over so much time (ns) or more, is a stream (RTP, syslog, NetFlow) and no probe."""

BRIEF, NEW = 30_000_000_000, 600_000_000_000
"""ns that connections of a version scan take at most, and since when at most its target is known to it."""

SHORT_LIVED = 32
"""Hops to go that a system's packets never begin with (64 and more), and have left behind 32 routers."""

INSISTENT = 4
"""Tries of one service, retries apart, from which on its originator is not searching for it."""

EPHEMERAL = 32768
"""Ports from which on systems draw those of clients (Linux; IANA's begin at 49152)."""

NEIGHBOURS = 8
NEIGHBOURHOODS = (EPHEMERAL - SYSTEM_PORTS) // NEIGHBOURS
"""Ports that lie side by side, and how many such groups there are of registered ports."""


class Probe(IntEnum):
    """Kind of probe; the lower-case name is the kind of the alert."""

    NONE = 0
    SYN = 1
    UDP = 2
    SCTP = 3
    FIN = 4
    NULL = 5
    XMAS = 6
    ACK = 7
    MAIMON = 8
    FLAGS = 9


def probe(batch: Batch) -> np.ndarray:
    """The Probe of each row: by its protocol and the flags of the first packet."""
    flags = batch.orig_flags
    has_fin, has_urg = flags & FIN != 0, flags & URG != 0
    by_flags = np.select(
        [
            flags & SYN != 0,
            flags & (FIN | ACK) == FIN | ACK,
            flags & ACK != 0,
            has_fin & has_urg,
            has_fin,
            flags & (PSH | URG) == 0,
        ],
        [Probe.SYN, Probe.MAIMON, Probe.ACK, Probe.XMAS, Probe.FIN, Probe.NULL],
        Probe.FLAGS,
    )
    return np.select(
        [batch.proto == TCP, batch.proto == UDP, batch.proto == SCTP], [by_flags, Probe.UDP, Probe.SCTP], Probe.NONE
    )


def used(batch: Batch) -> np.ndarray:
    """Rows of a service that answers: data went both ways."""
    return (batch.resp_pkts > 0) if batch.event == USED else np.zeros(len(batch), np.bool_)


def confirmed(batch: Batch) -> np.ndarray:
    """Rows of a service that is used in one direction: a stream, or one whose answers are acknowledged and not seen."""
    return (batch.resp_pkts == 0) if batch.event == USED else np.zeros(len(batch), np.bool_)


def failed(batch: Batch) -> np.ndarray:
    """Rows whose responder refused, did not answer, or was left alone or dropped with a RST once it had answered."""
    return _only(batch, _failed)


def unused(batch: Batch) -> np.ndarray:
    """Rows that failed, or were answered and then left or closed with no byte of data either way.

    Not those to a server that the originator has a control connection of FTP to: the data connections of empty listings
    are so.
    """
    return _only(batch, _unused)


def contact(batch: Batch) -> np.ndarray:
    """Rows that say how it went with a host: failed, used, or greeted."""
    return np.ones(len(batch), np.bool_) if batch.event == USED else failed(batch) | greeted(batch)


def failed_or_used(batch: Batch) -> np.ndarray:
    """Rows of either sort: what is weighed against each other."""
    return np.ones(len(batch), np.bool_) if batch.event == USED else failed(batch)


def greeted(batch: Batch) -> np.ndarray:
    """Rows of connections over which the responder alone sent data, as the greetings of SSH and SMTP."""
    if batch.event not in ("connection_finished", "connection_reset"):
        return np.zeros(len(batch), np.bool_)
    return (batch.orig_bytes == 0) & (batch.resp_bytes > 0)


def is_traced(batch: Batch) -> np.ndarray:
    """Unused rows whose packets died on the way: no system begins with so few hops to go, and nothing came back."""
    return unused(batch) & ~is_heard(batch) & (batch.orig_ttl < SHORT_LIVED)


def is_untraced(batch: Batch) -> np.ndarray:
    """The other unused rows."""
    return unused(batch) & ~is_traced(batch)


def is_heard(batch: Batch) -> np.ndarray:
    """Rows of which something came back: a packet, or an ICMP error."""
    return (batch.resp_pkts > 0) | (batch.unreachable != 0)


def failed_and_heard(batch: Batch) -> np.ndarray:
    """Failed rows of which something came back: both directions are seen."""
    return failed(batch) & is_heard(batch)


def unused_and_heard(batch: Batch) -> np.ndarray:
    """The same of unused rows."""
    return unused(batch) & is_heard(batch)


def answering(batch: Batch) -> np.ndarray:
    """Failed rows whose responder had answered."""
    return failed(batch) & _has_answered(batch)


def answering_unused(batch: Batch) -> np.ndarray:
    """The same of unused rows."""
    return unused(batch) & _has_answered(batch)


def checked_alive(batch: Batch) -> np.ndarray:
    """Return the checked rows whose responder had answered."""
    return checked(batch) & _has_answered(batch)


def checked_unused_alive(batch: Batch) -> np.ndarray:
    """The same of unused rows."""
    return checked_unused(batch) & _has_answered(batch)


def unused_or_used(batch: Batch) -> np.ndarray:
    """The same for a single host."""
    return np.ones(len(batch), np.bool_) if batch.event == USED else unused(batch)


def used_or_streamed(batch: Batch) -> np.ndarray:
    """Ports that are used, also by streams."""
    return used(batch) | streams(batch)


def streams(batch: Batch) -> np.ndarray:
    """Rows of one-way UDP flows of many packets over some time."""
    return confirmed(batch) & (batch.proto == UDP) & ~batch.resp_h.is_multicast


def checked(batch: Batch) -> np.ndarray:
    """Failed rows of a service that is tried time and again, at even intervals."""
    return _steady(batch, failed(batch))


def checked_unused(batch: Batch) -> np.ndarray:
    """The same of unused rows."""
    return _steady(batch, unused(batch))


def acknowledged(batch: Batch) -> np.ndarray:
    """Return the connections among them whose answers are acknowledged, but were not seen."""
    return confirmed(batch) & (batch.proto == TCP)


def insistent(batch: Batch) -> np.ndarray:
    """Failed rows of UDP that nothing answers, and that are tried four times or more."""
    if batch.event != "connection_state_remove":
        return np.zeros(len(batch), np.bool_)
    return failed(batch) & (batch.proto == UDP) & (batch.unreachable == 0) & (batch.tries >= INSISTENT)


def _has_answered(batch: Batch) -> np.ndarray:
    if batch.event != "connection_state_remove":
        return np.zeros(len(batch), np.bool_)
    return np.char.startswith(batch.history, b"Sh")


def loose(batch: Batch) -> np.ndarray:
    """Failed rows of UDP, and of TCP whose beginning was not seen, to a port that clients use.

    A host that is met on one such port alone may have been a client, or a peer that has told it.
    """
    is_loose = (batch.proto == UDP) | (batch.orig_known == 0)
    return failed(batch) & is_loose & (batch.resp_p >= SYSTEM_PORTS)


def doubtful(batch: Batch) -> np.ndarray:
    """Unanswered packets from the middle of something that may come from a server, as far as the ports tell."""
    found = (batch.orig_known == 0) & np.isin(batch.proto, (TCP, UDP)) & (batch.reached == 0)
    found &= batch.unproven == 0
    found &= (batch.orig_pkts == 0) | (batch.resp_pkts == 0) | (batch.proto == TCP)
    rows = np.flatnonzero(found)
    part = batch[rows]
    is_odd = np.isin(part.history, _ODD_HISTORIES) & (part.orig_bytes + part.resp_bytes == 0)
    found[rows] = np.where(part.proto == UDP, ~part.resp_h.is_multicast, is_odd) & (part.may_be_reply != 0)
    return found


@address
def sender(batch: Batch) -> AddressColumn:
    """The sender of the first packet."""
    return _either(batch, batch.resp_h, batch.orig_h)


@address
def target(batch: Batch) -> AddressColumn:
    """The receiver of the first packet."""
    return _either(batch, batch.orig_h, batch.resp_h)


def target_p(batch: Batch) -> np.ndarray:
    """The port that the first packet went to."""
    return np.where(_is_flipped(batch), batch.orig_p, batch.resp_p).astype(np.int64)


def neighbourhood(batch: Batch) -> np.ndarray:
    """The NEIGHBOURS ports among which that of the first packet is."""
    return target_p(batch) // NEIGHBOURS


def to_registered(batch: Batch) -> np.ndarray:
    """Rows whose first packet went to a port below those that most systems draw for clients."""
    return target_p(batch) < EPHEMERAL


def other_protocol(batch: Batch) -> np.ndarray:
    """Unanswered rows of IP protocols other than those that have ports or types."""
    return ~np.isin(batch.proto, DESCRIBED) & (batch.resp_pkts == 0) & ~batch.resp_h.is_multicast


def begun(batch: Batch) -> np.ndarray:
    """When the first packet of each flow came."""
    return batch.seen - batch.duration


def full_connect(batch: Batch) -> np.ndarray:
    """1 for each SYN probe that an operating system's connect() made, 0 for one made by hand."""
    is_full = (batch.orig_options >= FULL_STACK) | np.char.startswith(batch.history, b"ShA")
    return ((batch.proto == TCP) & is_full).astype(np.float64)


def is_syn(batch: Batch) -> np.ndarray:
    """1 for each SYN probe."""
    return (probe(batch) == Probe.SYN).astype(np.float64)


def is_udp(batch: Batch) -> np.ndarray:
    """1 for each UDP probe."""
    return (batch.proto == UDP).astype(np.float64)


def recovered(batch: Batch) -> np.ndarray:
    """Uses of services that were tried in vain before."""
    if batch.event != USED:
        return np.zeros(len(batch), np.bool_)
    return used(batch) & (batch.failed_before != 0)


def resumed(batch: Batch) -> np.ndarray:
    """The same where the answers are acknowledged and not seen."""
    return acknowledged(batch) & (batch.failed_before != 0) if batch.event == USED else np.zeros(len(batch), np.bool_)


def is_brief_return(batch: Batch) -> np.ndarray:
    """Uses of TCP services that are new, by connections that are brief and more than one."""
    is_new = batch.ts - batch.first_try <= NEW
    return is_repeated(batch) & is_new & (batch.duration <= BRIEF)


def is_tcp(batch: Batch) -> np.ndarray:
    """Rows of TCP."""
    return batch.proto == TCP


def is_repeated(batch: Batch) -> np.ndarray:
    """Uses of TCP services by more than one connection."""
    return is_tcp(batch) & (batch.connections > 1)


def midstream(batch: Batch) -> np.ndarray:
    """Failed rows whose beginning was not seen."""
    return failed(batch) & (batch.orig_known == 0)


def midstream_unused(batch: Batch) -> np.ndarray:
    """The same of unused rows."""
    return unused(batch) & (batch.orig_known == 0)


_ODD_HISTORIES = [b"", b"F", b"A", b"W", b"FW", b"AW"]
_ODD_HISTORIES += [each + b"r" for each in _ODD_HISTORIES]  # met by silence or a RST
_ODD_HISTORIES += [b"^" + each.swapcase() for each in _ODD_HISTORIES]  # the same where its sender is not the originator
_HALF_OPEN = [b"Sh", b"Shr", b"ShW", b"ShWr"]


def _steady(batch: Batch, found: np.ndarray) -> np.ndarray:
    return found if batch.event == USED else found & (batch.steady != 0)


def _only(batch: Batch, judge: object) -> np.ndarray:
    """The rows that a judge finds, of those that nothing exempts."""
    if batch.event == USED:
        return np.zeros(len(batch), np.bool_)
    found: np.ndarray = judge(batch)  # type: ignore[operator]
    rows = np.flatnonzero(found)
    if len(rows):
        is_active_ftp = (batch.is_controlled[rows] != 0) & (batch.resp_p[rows] >= SYSTEM_PORTS)
        found[rows] = (batch.reached[rows] == 0) & (batch.unproven[rows] == 0) & ~is_active_ftp
    return found


def _failed(batch: Batch) -> np.ndarray:
    if batch.event == "connection_state_remove":
        return _failed_at_the_end(batch)
    return np.full(len(batch), batch.event in ("connection_attempt", "connection_rejected"))


def _unused(batch: Batch) -> np.ndarray:
    found = _failed(batch)
    if batch.event == "connection_state_remove":
        found |= _is_answered_and_empty(batch)
    return found


def _failed_at_the_end(batch: Batch) -> np.ndarray:
    """Rows of flows that are over, and that no other event has told as failed."""
    is_silent = batch.resp_pkts == 0
    found = (batch.proto == UDP) & is_silent & _is_udp_probe(batch)
    rows = np.flatnonzero((batch.proto == TCP) & _is_dataless(batch))
    part = batch[rows]
    is_odd = (part.orig_flags & SYN == 0) & np.isin(part.history, _ODD_HISTORIES) & (part.orig_pkts > 0)
    is_dropped = np.char.startswith(part.history, b"Sh") & np.char.endswith(part.history, b"R")
    found[rows] = (is_odd & (part.may_be_reply == 0)) | np.isin(part.history, _HALF_OPEN) | is_dropped
    found |= (batch.proto == TCP) & (batch.orig_known != 0) & (batch.orig_flags & BEGINNINGS == 0) & _is_unheard(batch)
    rows = np.flatnonzero((batch.proto == SCTP) & (batch.orig_known != 0))
    part = batch[rows]
    has_data = (np.char.find(part.history, b"D") >= 0) | (np.char.find(part.history, b"d") >= 0)
    found[rows] = np.char.startswith(part.history, b"S") & ~has_data
    return found


def _is_dataless(batch: Batch) -> np.ndarray:
    return (batch.orig_bytes == 0) & (batch.resp_bytes == 0)


def _is_unheard(batch: Batch) -> np.ndarray:
    return (batch.orig_pkts > 0) & (batch.resp_bytes == 0)


def _is_answered_and_empty(batch: Batch) -> np.ndarray:
    found = (batch.proto == TCP) & _is_dataless(batch)
    rows = np.flatnonzero(found)  # few: text is slow to compare
    is_passive_ftp = (batch.controls[rows] != 0) & (batch.resp_p[rows] >= SYSTEM_PORTS)
    found[rows] = np.char.startswith(batch.history[rows], b"Sh") & ~is_passive_ftp
    return found


def _is_udp_probe(batch: Batch) -> np.ndarray:
    is_traceroute = (batch.resp_p >= TRACEROUTE[0]) & (batch.resp_p <= TRACEROUTE[1])
    is_stream = (batch.orig_pkts > STREAM_PACKETS) & (batch.duration >= STREAM_TIME)
    is_exempt = is_traceroute | is_stream | (batch.may_be_reply != 0) | (batch.time_exceeded != 0)
    return ~(is_exempt | batch.resp_h.is_multicast)


def _is_flipped(batch: Batch) -> np.ndarray:
    return batch.history.astype("S1") == b"^"


def _either(batch: Batch, flipped: AddressColumn, straight: AddressColumn) -> AddressColumn:
    is_flipped = _is_flipped(batch)
    hi = np.where(is_flipped, flipped.hi, straight.hi)
    return AddressColumn(hi, np.where(is_flipped, flipped.lo, straight.lo))
