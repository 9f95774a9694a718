"""Shared parts of the layers: the codes that name the next layer, the columns of a fragment, and reading numbers.

A layer's kernel takes the frame (uint8, exactly the captured bytes), the start of its header (`at`) and the end of its
data by the headers around it (`end`, which may lie past the captured bytes). It returns the code of the next layer with
that layer's `at` and `end`. A code of STOP + r ends the walk for reason r, a Weird or a Refusal.

In this package's kernels `row` is a PACKET row, `piece` a PIECE row, and `table` a FragmentTable.
"""

import numpy as np

from sensor._jit import njit
from sensor.packet import Kind, Tunnel
from sensor.weird import Refusal, Weird

DONE = 0

ETHERNET, LLC, VLAN, MPLS, FDDI, IPOIB, RAW_IP = 1, 2, 3, 4, 5, 6, 7

FIRST_SERIAL = 8
PPP, PPPOE, CISCO_HDLC, PPP_DIRECTED, FRAME_RELAY, RFC1483 = 8, 9, 10, 11, 12, 13

FIRST_TAG = 16
VN_TAG, E_TAG, METADATA, T_TAG, R_TAG, HSR = 16, 17, 18, 19, 20, 21
I_TAG, FABRICPATH, TRILL, NSH, MACSEC = 22, 23, 24, 25, 26

FIRST_PSEUDO = 32
NULL, LINUX_SLL, LINUX_SLL2, ENC, PFLOG, NFLOG, PPI, PKTAP, ERF = 32, 33, 34, 35, 36, 37, 38, 39, 40

FIRST_WIRELESS = 48
WIFI, WIFI_PADDED, RADIOTAP, PRISM = 48, 49, 50, 51

FIRST_NETWORK = 64
IPV4, IPV6, ARP, EXTENSION = 64, 65, 66, 67

FIRST_TUNNEL = 72
"""Base of the tunnels' codes: a tunnel's code is this plus its Tunnel."""
IPIP, GRE, VXLAN, GENEVE, TEREDO, GTPU, L2TP, TZSP, LISP, MPLS_IN_IP, HP_ERM, ETHERIP, GRE_IN_UDP = (
    FIRST_TUNNEL + int(each) for each in Tunnel if each is not Tunnel.NONE
)

FIRST_TRANSPORT = 96
TCP, UDP, ICMP, SCTP = 96, 97, 98, 99

STOP = 128
NOT_IP, CUT = STOP + int(Refusal.NOT_IP), STOP + int(Weird.TRUNCATED_LINK)

MAX_LAYERS = 16

NOT, ALL, PART = 0, 1, 2
"""The part of the transport that a first fragment's row describes: none, all (a tunnel's payload gives its own length),
or the header and the part of the payload that is in the fragment."""

PIECE = np.dtype(
    [
        ("row", "i8"),  # its packet in the batch
        ("at", "i8"),  # its first byte of the datagram: in the frame, then in the buffer
        ("length", "i4"),  # bytes of the datagram, by the header's length
        ("offset", "i4"),  # offset of those in the datagram
        ("captured", "i4"),  # captured bytes of them, -1 where the datagram claims more than its carrier has
        ("more", "u1"),  # 1 if other fragments follow
        ("shown", "u1"),  # how much of the transport a first fragment's row describes: NOT, ALL or PART
        ("ip_version", "u1"),
        ("tunnel", "u1"),  # the one that carried the datagram
        ("ident", "u8"),  # version, protocol (IPv4 only, RFC 791) and identification
        ("src_hi", "u8"),
        ("src_lo", "u8"),
        ("dst_hi", "u8"),
        ("dst_lo", "u8"),
    ],
    align=True,
)
"""A fragment of a datagram, as found by the walk."""

LINKTYPE = np.dtype([("number", "i8"), ("count", "i8")])
"""A count of frames of a link type without a decoder."""

_32 = np.uint64(32)


@njit
def u16(frame, at):
    """Return 16 bits of `frame` (uint8) in network order, as int64."""
    return np.int64(frame[at]) << 8 | np.int64(frame[at + 1])


@njit
def u32(frame, at):
    """Return 32 bits of `frame` (uint8) in network order, as int64."""
    return u16(frame, at) << 16 | u16(frame, at + 2)


@njit
def le16(frame, at):
    """Return 16 bits of `frame` (uint8) in little-endian order, as int64."""
    return np.int64(frame[at]) | np.int64(frame[at + 1]) << 8


@njit
def le32(frame, at):
    """Return 32 bits of `frame` (uint8) in little-endian order, as int64."""
    return le16(frame, at) | le16(frame, at + 2) << 16


@njit
def u64(frame, at):
    """Return 64 bits of `frame` (uint8) in network order, as uint64."""
    return np.uint64(u32(frame, at)) << _32 | np.uint64(u32(frame, at + 4))


@njit
def readable(frame, end):
    """Return the end of this layer's captured bytes. frame: uint8."""
    return min(frame.shape[0], end)


@njit
def flag(row, weird):
    """Set a Weird's bit in a PACKET row."""
    row["weird"] |= np.uint64(1) << np.uint64(weird)


@njit
def name_network(row, number):
    """Record the network id of a tunnel; the outermost tunnel's id is kept. row: a PACKET row."""
    if row["tunnel_id"] == 0:
        row["tunnel_id"] = number


@njit
def enter(row, ip_version, tunnel, proto, ttl):
    """Turn a PACKET row into that of an IP or ARP packet, once its header has proved valid."""
    row["kind"] = Kind.IP
    row["ip_version"] = ip_version
    row["tunnel"] = tunnel
    row["proto"] = proto
    row["ttl"] = ttl
    row["src_port"] = 0  # they may be those of the UDP datagram that carries this layer
    row["dst_port"] = 0


@njit
def hide(row):
    """Turn a PACKET row into that of a fragment without a transport."""
    row["kind"] = Kind.FRAGMENT
    row["src_port"] = 0
    row["dst_port"] = 0
    row["more"] = 0


@njit
def count(weird, weirds):
    """Add the bits of a packet's `weird` to the counts by Weird (int64, shape (64,))."""
    if weird:
        for bit in range(64):
            weirds[bit] += np.int64(weird >> np.uint64(bit) & np.uint64(1))
