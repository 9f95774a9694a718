"""Packets as columns: the two structured dtypes that capture fills and decode fills, one row a packet."""

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
"""Where a captured frame lies: what a capture source gives."""


CAPLEN_MAX = 262144
"""Longest packet, in captured bytes: libpcap's MAXIMUM_SNAPLEN; a record that claims more is damaged."""

NO_BYTES = np.frombuffer(b"", np.uint8)
"""The buffer of what is not open: read-only, as all are, so that kernels are compiled for one array type."""

FULL_BLOCK = 16384
"""Frames of a block at most: enough that work done once a block is free, few enough for the caches. A source that has
to wait for packets gives what it has in a smaller one."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some frames in order and the buffers they lie in; valid until the source gives its next block."""

    buffers: tuple[np.ndarray, ...]
    """uint8 arrays, possibly read-only memory maps; a frame is never copied out of them."""
    frames: np.ndarray
    """FRAME rows in the order in which they are to be seen."""


class Kind(IntEnum):
    """How far a packet was understood."""

    REFUSED = 0
    ARP = 1
    IP = 2  # a network layer whose payload is none of those below
    FRAGMENT = 3  # part of an IP datagram that is not (or not yet) whole and shows no ports
    TCP = 4
    UDP = 5
    ICMP = 6  # either version; `proto` tells
    SCTP = 7
    REST = 8  # the fragment that made a datagram whole: what of its payload the row of its first did not tell
    WITNESS = 9  # another worker's UDP datagram to many hosts, which may answer it
    TCP_CUT = 10  # a TCP segment of which the snap length has left the ports and little more


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
    ETHERIP = 12  # Ethernet in IP without more, as segment routing has it too
    GRE_IN_UDP = 13


ONE_WAY_TUNNELS = (int(Tunnel.MPLS), int(Tunnel.LISP), int(Tunnel.GRE_IN_UDP))
"""Those that go one way (RFC 3031, 9300, 8086): what answers takes another, which need not pass here."""


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
        ("payload_len", "u4"),  # its bytes by the headers' account, captured or not
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
"""A decoded packet, described at its innermost understood IP layer (ARP: src and dst are sender and target)."""

PROTO_ICMP, PROTO_TCP, PROTO_UDP, PROTO_ICMPV6, PROTO_SCTP = 1, 6, 17, 58, 132

FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20


@njit
def fin_of(packet):
    """FIN if a TCP packet has it and all of its payload: the number that FIN takes comes after that."""
    return np.int64(packet["tcp_flags"]) & (FIN if packet["more"] == 0 else 0)


@njit
def tally(packets):
    """Of some PACKET rows: how many are decoded, bytes on the wire, the earliest time and the latest; 0 is no time."""
    decoded, size, first, last = 0, 0, np.int64(0), np.int64(0)
    for packet in packets:
        decoded += packet["refused"] == 0
        size += np.int64(packet["wirelen"])
        ts = np.int64(packet["ts"])
        if ts != 0:
            first = ts if first == 0 else min(first, ts)
            last = ts if last == 0 else max(last, ts)
    return decoded, size, first, last
