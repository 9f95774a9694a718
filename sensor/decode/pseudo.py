"""Pseudo-headers: headers that capturing systems add before packets.

LINKTYPE_NULL and _LOOP, _LINUX_SLL and _SLL2, OpenBSD's _ENC and _PFLOG, _NFLOG, _PPI, Apple's _PKTAP, Endace's _ERF.
"""

import numpy as np

from sensor._jit import njit
from sensor.decode.ethertype import by_ethertype
from sensor.decode.layers import (
    CUT,
    ENC,
    ERF,
    ETHERNET,
    IPV4,
    IPV6,
    LINUX_SLL,
    LINUX_SLL2,
    LLC,
    NFLOG,
    NOT_IP,
    NULL,
    PFLOG,
    PKTAP,
    PPP,
    STOP,
    le16,
    le32,
    readable,
    u16,
    u32,
)
from sensor.decode.linktype import by_linktype

_ATTRIBUTES_MAX = 32
"""The most attributes of NFLOG; the kernel has 20 kinds."""
_PACKET_HEADER, _PAYLOAD = 1, 9
_FROM_ETHERNET, _FROM_SONET, _EXTENSIONS_MAX = (2, 11, 16, 20), (1, 10, 15, 19), 8


@njit
def pseudo(frame, row, layer, at, end):
    """Strip a pseudo-header. frame: uint8; row: a PACKET row."""
    if layer in (LINUX_SLL, LINUX_SLL2):
        return _linux_sll(frame, row, layer, at, end)
    if layer in (NULL, ENC):
        return _null(frame, at, end, 4 if layer == NULL else 12)
    if layer == PFLOG:
        return _pflog(frame, at, end)
    if layer == NFLOG:
        return _nflog(frame, at, end)
    if layer == ERF:
        return _erf(frame, at, end)
    return _ppi(frame, layer, at, end)


@njit
def _by_family(family):
    """Return IPV4 or IPV6 by the address family; IPv6's number differs by system."""
    if family == 2:
        return IPV4
    if family == 10 or family == 24 or family == 28 or family == 30 or family == 23:
        return IPV6
    return NOT_IP


@njit
def _linux_sll(frame, row, layer, at, end):
    length = 16 if layer == LINUX_SLL else 20
    if at + length > readable(frame, end):
        return CUT, at, end
    kind = frame[at + 1] if layer == LINUX_SLL else frame[at + 10]
    row["group"] = kind == 1 or kind == 2  # broadcast, multicast
    protocol = u16(frame, at + 14) if layer == LINUX_SLL else u16(frame, at)
    if protocol == 4:  # an 802.2 frame, from an interface whose frames have lengths
        return LLC, at + length, end
    return by_ethertype(protocol), at + length, end


@njit
def _null(frame, at, end, length):
    """Strip the address family in four bytes of either order; in ENC the security association follows."""
    if at + length > readable(frame, end):
        return CUT, at, end
    family = u32(frame, at)
    if family > 0xFFFF:
        family = (family >> 24) | (family >> 8 & 0xFF00)
    return _by_family(family), at + length, end


@njit
def _pflog(frame, at, end):
    """Strip a header that gives its own length, without the padding to a word."""
    if at + 2 > readable(frame, end):
        return CUT, at, end
    length = np.int64(frame[at]) + 3 & ~3
    return _by_family(frame[at + 1]), at + length, end


@njit
def _nflog(frame, at, end):
    """Skip attributes in the machine's byte order, of types below 64, up to the packet's."""
    have = readable(frame, end)
    if at + 4 > have:
        return CUT, at, end
    layer = _by_family(frame[at])
    at += 4
    for _ in range(_ATTRIBUTES_MAX):
        if at + 4 > have:
            return CUT if at < end else NOT_IP, at, end
        is_little = frame[at + 2] & 0x3F != 0  # the high bits are flags
        length = le16(frame, at) if is_little else u16(frame, at)
        kind = frame[at + 2] if is_little else frame[at + 3]
        if length < 4:
            return NOT_IP, at, end
        if kind == _PAYLOAD:
            return layer, at + 4, min(end, at + length)
        if kind == _PACKET_HEADER and layer == NOT_IP and at + 6 <= have:  # logged by a bridge
            layer = by_ethertype(u16(frame, at + 4))
        at += length + 3 & ~3
    return NOT_IP, at, end


@njit
def _ppi(frame, layer, at, end):
    """Strip a header with its length and the payload's link type: PPI's, or Apple's, which is wider."""
    if at + 12 > readable(frame, end):
        return CUT, at, end
    length, linktype = le16(frame, at + 2), le32(frame, at + 4)
    if layer == PKTAP:
        length, linktype = le32(frame, at), le32(frame, at + 8)
    inner = by_linktype(linktype)
    if length < 8 or inner >= STOP:
        return NOT_IP, at, end
    return inner, at + length, end


@njit
def _erf(frame, at, end):
    """Strip a record's header, its extension headers, and two bytes of padding before Ethernet."""
    have = readable(frame, end)
    if at + 16 > have:
        return CUT, at, end
    kind, is_extended, length = frame[at + 8] & 0x7F, frame[at + 8] >> 7, u16(frame, at + 14)
    at += 16
    for _ in range(_EXTENSIONS_MAX):
        if not is_extended:
            break
        if at + 8 > have:
            return CUT, at, end
        is_extended = frame[at] >> 7
        at += 8
    if kind in _FROM_ETHERNET:
        return ETHERNET, at + 2, min(end, at + 2 + length)
    layer = PPP if kind in _FROM_SONET else IPV4 if kind == 22 else IPV6 if kind == 23 else NOT_IP
    return layer, at, min(end, at + length)
