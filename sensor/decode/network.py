"""Network layers: IPv4 (RFC 791), IPv6 with its extension headers (RFC 8200, 2675, 4302).

A layer writes its columns only once its fixed header has proved valid, and overwrites those of the outer layer: so the
row always describes the last layer understood.
"""

import numpy as np

from sensor._jit import njit
from sensor.address import V4_LO
from sensor.decode.arp import arp
from sensor.decode.layers import (
    ARP,
    DONE,
    ETHERIP,
    EXTENSION,
    GRE,
    ICMP,
    IPIP,
    IPV4,
    IPV6,
    L2TP,
    MPLS_IN_IP,
    SCTP,
    STOP,
    TCP,
    UDP,
    enter,
    flag,
    readable,
    u16,
    u32,
    u64,
)
from sensor.packet import Kind
from sensor.weird import Weird

_V4_LO = np.uint64(V4_LO)
_NO_WORD, _V4_SHIFT, _V4_PREFIX = np.uint64(0), np.uint64(32), np.uint64(V4_LO >> 32)
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AH, _NOTHING = 0, 43, 44, 51, 59
_EXTENSIONS = (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AH, 60, 135, 139, 140)  # destination options, mobility, HIP, shim6
_JUMBO_PAYLOAD = 0xC2
_TRUNCATED_IP = np.uint64(1 << Weird.TRUNCATED_IP)


@njit
def by_proto(proto, ip_version):
    """Return the layer of an IP protocol number; DONE if it is opaque (ESP) or has no decoder."""
    if proto == 6:
        return TCP
    if proto == 17:
        return UDP
    if (proto == 1 and ip_version == 4) or (proto == 58 and ip_version == 6):
        return ICMP
    if proto == 132:
        return SCTP
    if proto == 47:
        return GRE
    if proto == 4 or proto == 41:
        return IPIP
    if proto == 137:
        return MPLS_IN_IP
    if proto == 115:
        return L2TP
    if proto == 97 or proto == 143:
        return ETHERIP
    if proto == _AH or (ip_version == 6 and is_extension(proto)):
        return EXTENSION
    return DONE


@njit
def is_extension(proto):
    """True if an IPv6 next header is an extension header that can be skipped."""
    return proto in _EXTENSIONS


@njit
def network(frame, row, piece, layer, at, end, tunnel, partial):
    """Strip one network layer, or one extension header. A fragment is described in `piece`, unless `partial`.

    frame: uint8; row: a PACKET row; piece: a PIECE row.
    """
    if layer == IPV4:
        return _ipv4(frame, row, piece, at, end, tunnel, partial)
    if layer == IPV6:
        return _ipv6(frame, row, at, end, tunnel, partial)
    if layer == ARP:
        return arp(frame, row, at, end, tunnel)
    if row["proto"] == _FRAGMENT and row["ip_version"] == 6:
        return _fragment_header(frame, row, piece, at, end, partial)
    return _extension(frame, row, at, end)


@njit
def _end(row, claimed, end, partial):
    """Return the end of an IP packet: its claim is limited by its carrier, unless that is a first fragment."""
    if claimed <= end or partial:
        return claimed
    flag(row, Weird.TRUNCATED_IP)
    return end


@njit
def _go_on(row, at, end):
    row["payload"] = min(at, end)
    row["payload_len"] = max(end - at, 0)
    return by_proto(row["proto"], row["ip_version"]), at, end


@njit
def _ipv4(frame, row, piece, at, end, tunnel, partial):
    if at + 20 > readable(frame, end):
        return STOP + Weird.TRUNCATED_IP, at, end
    header, total = np.int64(frame[at] & 15) * 4, u16(frame, at + 2)
    if frame[at] >> 4 != 4:
        return STOP + Weird.BAD_IP_VERSION, at, end
    if header < 20:
        return STOP + Weird.BAD_IP_HEADER_LENGTH, at, end
    if 0 < total < header:
        return STOP + Weird.BAD_IP_TOTAL_LENGTH, at, end
    if total:  # 0 where the card was to split the segment: then the frame's length counts
        end = _end(row, at + total, end, partial)
    enter(row, 4, tunnel, frame[at + 9], frame[at + 8])
    row["src_hi"] = 0
    row["src_lo"] = _V4_LO | np.uint64(u32(frame, at + 12))
    row["dst_hi"] = 0
    row["dst_lo"] = _V4_LO | np.uint64(u32(frame, at + 16))
    layer, payload, end = _go_on(row, at + header, end)
    if payload > readable(frame, end):
        return STOP + Weird.TRUNCATED_IP, payload, end
    fragment = u16(frame, at + 6)
    if fragment & 0x3FFF == 0:
        return layer, payload, end
    if not partial:
        ident = 4 << 40 | np.int64(frame[at + 9]) << 32 | u16(frame, at + 4)
        _describe(piece, row, frame, payload, end, (fragment & 0x1FFF) * 8, fragment & 0x2000, ident)
    return _fragment(row, layer, fragment & 0x1FFF), payload, end


@njit
def _fragment(row, layer, offset):
    row["kind"] = Kind.FRAGMENT
    return layer if offset == 0 else DONE


@njit
def _describe(piece, row, frame, at, end, offset, more, ident):
    piece["at"] = at
    piece["length"] = min(end - at, 65535)
    is_short = row["weird"] & _TRUNCATED_IP
    piece["captured"] = -1 if is_short else min(readable(frame, end) - at, 65535)
    piece["offset"] = offset
    piece["more"] = more != 0
    piece["shown"] = 0
    piece["ip_version"] = row["ip_version"]
    piece["tunnel"] = row["tunnel"]
    piece["ident"] = np.uint64(ident)
    piece["src_hi"] = row["src_hi"]
    piece["src_lo"] = row["src_lo"]
    piece["dst_hi"] = row["dst_hi"]
    piece["dst_lo"] = row["dst_lo"]


@njit
def _ipv6(frame, row, at, end, tunnel, partial):
    if at + 40 > readable(frame, end):
        return STOP + Weird.TRUNCATED_IP, at, end
    if frame[at] >> 4 != 6:
        return STOP + Weird.BAD_IP_VERSION, at, end
    length, following = u16(frame, at + 4), frame[at + 6]
    if length == 0 and following == _HOP_BY_HOP:
        length = _jumbo_length(frame, row, at, end)
    if length or following in (_HOP_BY_HOP, _NOTHING):  # otherwise, as in IPv4, the frame's length counts
        end = _end(row, at + 40 + length, end, partial)
    enter(row, 6, tunnel, frame[at + 6], frame[at + 7])
    row["src_hi"] = u64(frame, at + 8)
    row["src_lo"] = u64(frame, at + 16)
    row["dst_hi"] = u64(frame, at + 24)
    row["dst_lo"] = u64(frame, at + 32)
    if _is_mapped(row["src_hi"], row["src_lo"]) or _is_mapped(row["dst_hi"], row["dst_lo"]):
        flag(row, Weird.IPV4_MAPPED_ADDRESS)
    return _go_on(row, at + 40, end)


@njit
def _is_mapped(hi, lo):
    return hi == _NO_WORD and lo >> _V4_SHIFT == _V4_PREFIX


@njit
def _jumbo_length(frame, row, at, end):
    """Return the payload's length from the jumbo option (RFC 2675) if the header says 0 and options follow, else 0."""
    have = readable(frame, end)
    option = at + 42
    if option > have:
        return 0
    stop = min(have, at + 48 + np.int64(frame[at + 41]) * 8)
    while option + 6 <= stop:
        if frame[option] == _JUMBO_PAYLOAD and frame[option + 1] == 4:
            length = u32(frame, option + 2)
            if length <= 65535:
                flag(row, Weird.BAD_JUMBOGRAM)
            return length
        option += 1 if frame[option] == 0 else 2 + np.int64(frame[option + 1])
    return 0


@njit
def _extension(frame, row, at, end):
    have = readable(frame, end)
    if at + 8 > have:
        return STOP + Weird.TRUNCATED_EXTENSION_HEADER, at, end
    length = (np.int64(frame[at + 1]) + 2) * 4 if row["proto"] == _AH else (np.int64(frame[at + 1]) + 1) * 8
    if at + length > have:
        return STOP + Weird.TRUNCATED_EXTENSION_HEADER, at, end
    if row["proto"] == _ROUTING and frame[at + 2] == 0:
        flag(row, Weird.ROUTING0_HDR)
    row["proto"] = frame[at]
    return _go_on(row, at + length, end)


@njit
def _fragment_header(frame, row, piece, at, end, partial):
    """Strip the fragment header; a datagram in one fragment (RFC 6946) is decoded as if it had none."""
    if at + 8 > readable(frame, end):
        return STOP + Weird.TRUNCATED_EXTENSION_HEADER, at, end
    row["proto"] = frame[at]
    layer, payload, end = _go_on(row, at + 8, end)
    fragment = u16(frame, at + 2)
    offset, more = fragment & 0xFFF8, fragment & 1
    if offset == 0 and more == 0:
        return layer, payload, end
    if not partial:
        _describe(piece, row, frame, payload, end, offset, more, 6 << 40 | u32(frame, at + 4))
    return _fragment(row, layer, offset), payload, end
