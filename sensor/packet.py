"""Packets as columns: the two structured dtypes of capture and of decode, one row per packet."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from sensor._jit import njit

FRAME = np.dtype(
    [
        ("ts", "i8"),  # ns since the epoch, UTC, as captured
        ("offset", "i8"),  # of the frame's first byte in its buffer
        ("caplen", "u4"),  # bytes captured
        ("wirelen", "u4"),  # bytes on the wire
        ("buffer", "u4"),  # which of the block's buffers holds it
        ("linktype", "u2"),  # LINKTYPE_ number, as in files
        ("interface", "u2"),  # index within its source
    ],
    align=True,
)
"""The position of a captured frame, as a capture source gives it."""


CAPLEN_MAX = 262144
"""The longest packet, in captured bytes: libpcap's MAXIMUM_SNAPLEN; a record that claims more is damaged."""

NO_BYTES = np.frombuffer(b"", np.uint8)
"""The buffer of a closed source: read-only, as all buffers are, so that kernels are compiled for one array type."""

FULL_BLOCK = 16384
"""The most frames of a block: enough to spread the cost per block, few enough for the caches. A source that has to wait
for packets returns those it has in a smaller block."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some frames in order and the buffers that hold them; valid until the source gives its next block."""

    buffers: tuple[np.ndarray, ...]
    """uint8 arrays, possibly read-only memory maps; a frame is never copied out of them."""
    frames: np.ndarray
    """FRAME rows in the order in which to process them."""


class Kind(IntEnum):
    """The deepest layer understood of a packet."""

    REFUSED = 0
    ARP = 1
    IP = 2  # a network layer with another payload than those below
    FRAGMENT = 3  # part of an IP datagram that is not (or not yet) whole and shows no ports
    TCP = 4
    UDP = 5
    ICMP = 6  # either version; see `proto`
    SCTP = 7
    REST = 8  # the fragment that completed a datagram: the payload that the first fragment's row lacks
    WITNESS = 9  # another worker's UDP multicast or broadcast datagram, which a host may answer
    TCP_CUT = 10  # a TCP segment cut by the snap length to its ports and little more


class Tunnel(IntEnum):
    """The innermost tunnel that carried the packet which the columns describe."""

    NONE = 0
    IPIP = 1
    GRE = 2
    VXLAN = 3
    GENEVE = 4
    TEREDO = 5
    GTPU = 6
    L2TP = 7
    TZSP = 8
    LISP = 9
    MPLS = 10  # over UDP or IP
    HP_ERM = 11
    ETHERIP = 12  # Ethernet in plain IP, also used by segment routing
    GRE_IN_UDP = 13


ONE_WAY_TUNNELS = (int(Tunnel.MPLS), int(Tunnel.LISP), int(Tunnel.GRE_IN_UDP))
"""The tunnels that go one way (RFC 3031, 9300, 8086): replies use another tunnel, which need not pass here."""


PACKET = np.dtype(
    [
        ("ts", "i8"),
        ("src_hi", "u8"),
        ("src_lo", "u8"),
        ("dst_hi", "u8"),
        ("dst_lo", "u8"),
        ("src_port", "u2"),  # TCP, UDP, SCTP
        ("dst_port", "u2"),
        ("kind", "u1"),  # Kind
        ("proto", "u1"),  # IP protocol of the transport
        ("tcp_flags", "u1"),  # CWR ECE URG ACK PSH RST SYN FIN, high bit first
        ("tcp_options", "u1"),  # bytes of TCP options
        ("seq", "u4"),
        ("ack", "u4"),
        ("payload", "u4"),  # offset of the transport's payload from the frame's first byte
        ("payload_len", "u4"),  # bytes by the headers' lengths, captured or not
        ("caplen", "u4"),
        ("wirelen", "u4"),
        ("weird", "u8"),  # one bit for each Weird
        ("window", "u2"),
        ("vlan", "u2"),  # outermost 802.1Q id, 0 where none
        ("ttl", "u1"),  # or IPv6 hop limit
        ("ip_version", "u1"),
        ("icmp_type", "u1"),
        ("icmp_code", "u1"),
        ("tunnel", "u1"),  # Tunnel
        ("layers", "u1"),
        ("refused", "u1"),  # Refusal, 0 for a decoded packet
        ("arp_op", "u1"),  # 1 request, 2 reply
        ("quoted_proto", "u1"),  # of the packet that an ICMP error quotes; 0 where there is none
        ("more", "u1"),  # 1: a first fragment, so that more of its payload may come in a row of kind REST
        ("quoted_src_port", "u2"),  # of ICMP, type and code
        ("quoted_dst_port", "u2"),
        ("group", "u1"),  # 1 where the frame was addressed to more than one station
        ("sctp_chunk", "u1"),  # type of the first chunk
        ("tunnel_id", "u4"),  # outermost network within a network: VNI, VSID, GRE key; 0 where none
        ("quoted_src_hi", "u8"),
        ("quoted_src_lo", "u8"),
        ("quoted_dst_hi", "u8"),
        ("quoted_dst_lo", "u8"),
        ("sha", "u8"),  # ARP sender and target hardware address, 48 bits
        ("tha", "u8"),
    ],
    align=True,
)
"""A decoded packet, described by its innermost understood IP layer (ARP: src and dst are sender and target)."""

PROTO_ICMP, PROTO_TCP, PROTO_UDP, PROTO_ICMPV6, PROTO_SCTP = 1, 6, 17, 58, 132

FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20


@njit
def fin_of(packet):
    """Return FIN if a TCP packet (PACKET row) has it and its whole payload, as FIN's number follows the payload."""
    return np.int64(packet["tcp_flags"]) & (FIN if packet["more"] == 0 else 0)


@njit
def tally(packets):
    """Return the decoded packets, bytes on the wire, earliest and latest time (ns) of PACKET rows; 0 is no time."""
    decoded, size, first, last = 0, 0, np.int64(0), np.int64(0)
    for packet in packets:
        decoded += packet["refused"] == 0
        size += np.int64(packet["wirelen"])
        ts = np.int64(packet["ts"])
        if ts != 0:
            first = ts if first == 0 else min(first, ts)
            last = ts if last == 0 else max(last, ts)
    return decoded, size, first, last
