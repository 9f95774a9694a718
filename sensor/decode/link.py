"""Link layers: from a frame's first byte to its network layer, through tags, labels and sessions.

IEEE 802.3, 802.1Q and 802.2, MPLS (RFC 3032, pseudowires RFC 4448), FDDI, IP over InfiniBand (RFC 4391).
"""

from sensor._jit import njit
from sensor.decode.ethertype import by_ethertype, by_nibble, by_type_or_length
from sensor.decode.layers import (
    CUT,
    ETHERNET,
    FDDI,
    FIRST_PSEUDO,
    FIRST_SERIAL,
    FIRST_TAG,
    FIRST_WIRELESS,
    IPV4,
    LLC,
    MPLS,
    NOT_IP,
    RAW_IP,
    STOP,
    VLAN,
    readable,
    u16,
    u32,
)
from sensor.decode.pseudo import pseudo
from sensor.decode.serial import serial
from sensor.decode.tag import tag
from sensor.decode.wireless import wireless


@njit
def link(frame, row, layer, at, end):
    """Strip one link layer. frame: uint8; row: a PACKET row."""
    if layer == ETHERNET:
        return _ethernet(frame, row, at, end)
    if layer == VLAN:
        return _vlan(frame, row, at, end)
    if layer == MPLS:
        return _mpls(frame, at, end)
    if layer == LLC:
        return _llc(frame, at, end)
    if layer == RAW_IP:
        return by_nibble(frame, at, end), at, end
    if layer >= FIRST_WIRELESS:
        return wireless(frame, row, layer, at, end)
    if layer >= FIRST_PSEUDO:
        return pseudo(frame, row, layer, at, end)
    if layer >= FIRST_TAG:
        return tag(frame, row, layer, at, end)
    if layer >= FIRST_SERIAL:
        return serial(frame, layer, at, end)
    if layer == FDDI:
        return _fddi(frame, row, at, end)
    return _ipoib(frame, at, end)


@njit
def _ethernet(frame, row, at, end):
    if at + 14 > readable(frame, end):
        return CUT, at, end
    row["group"] = frame[at] & 1
    return by_type_or_length(u16(frame, at + 12), at + 14, end)


@njit
def _vlan(frame, row, at, end):
    if at + 4 > readable(frame, end):
        return CUT, at, end
    if row["vlan"] == 0:
        row["vlan"] = u16(frame, at) & 0xFFF
    return by_type_or_length(u16(frame, at + 2), at + 4, end)


@njit
def _llc(frame, at, end):
    have = readable(frame, end)
    if at + 3 > have:
        return CUT, at, end
    sap = u16(frame, at)
    unnumbered = frame[at + 2] == 3
    if unnumbered and sap == 0x0606:
        return IPV4, at + 3, end
    if not unnumbered or sap != 0xAAAA:
        return NOT_IP, at, end
    if at + 8 > have:
        return CUT, at, end
    oui = u32(frame, at + 2) & 0xFFFFFF
    if oui != 0 and oui != 0xF8:  # only these two are followed by an EtherType (RFC 1042, 802.1H)
        return NOT_IP, at, end
    return by_ethertype(u16(frame, at + 6)), at + 8, end


@njit
def _mpls(frame, at, end):
    """Strip one label; after the last, four bits distinguish IP from a pseudowire, with or without control word."""
    have = readable(frame, end)
    if at + 4 > have:
        return CUT, at, end
    at += 4
    is_last = frame[at - 2] & 1
    if not is_last:
        return MPLS, at, end
    if at + 2 > have:
        return CUT, at, end
    if frame[at] >> 4:
        layer = by_nibble(frame, at, end)
        return layer if layer < STOP else NOT_IP, at, end
    has_control_word = u16(frame, at) == 0
    return ETHERNET, at + 4 if has_control_word else at, end


@njit
def _fddi(frame, row, at, end):
    if at + 13 > readable(frame, end):
        return CUT, at, end
    row["group"] = frame[at + 1] & 1
    is_data = frame[at] & 0x70 == 0x50
    return LLC if is_data else NOT_IP, at + 13, end


@njit
def _ipoib(frame, at, end):
    """Strip the addresses, which a capture puts in 40 bytes, and the header of four."""
    if at + 44 > readable(frame, end):
        return CUT, at, end
    return by_ethertype(u16(frame, at + 40)), at + 44, end
