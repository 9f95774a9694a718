"""GRE (RFC 2784, 2890) and its payloads: PPTP (RFC 2637), NVGRE (RFC 7637), ERSPAN, WCCP, EoIP, Aruba's."""

from sensor._jit import njit
from sensor.decode.ethertype import by_ethertype, by_nibble
from sensor.decode.layers import DONE, ETHERNET, FRAME_RELAY, STOP, WIFI, le16, name_network, readable, u16, u32
from sensor.weird import Weird

_ERSPAN, _ERSPAN_III, _WCCP, _EOIP, _RAW_FRAME_RELAY = 0x88BE, 0x22EB, 0x883E, 0x6400, 0x6559
_ARUBA = 0x8200, 0x8370
"""Frames of 802.11 from an access point, by its queues."""


@njit
def gre(frame, row, at, end):
    """Strip GRE's header and the payload protocol's own header. frame: uint8; row: a PACKET row."""
    have = readable(frame, end)
    if at + 4 > have:
        return STOP + Weird.TRUNCATED_GRE, at, end
    flags, protocol = u16(frame, at), u16(frame, at + 2)
    version = flags & 7
    if version > 1:
        return STOP + Weird.UNKNOWN_GRE_VERSION, at, end
    if flags & 0x4000:
        return STOP + Weird.GRE_ROUTING, at, end
    checksum, key, sequence = flags >> 15 & 1, flags >> 13 & 1, flags >> 12 & 1
    acknowledged = flags >> 7 & version  # in version 1 only
    inner = at + 4 + 4 * (checksum + key + sequence + acknowledged)
    if inner > have:
        return STOP + Weird.TRUNCATED_GRE, at, end
    if inner == end:  # a keepalive, or an acknowledgement alone
        return DONE, inner, end
    if version == 1 and protocol == _EOIP and flags == 0x2001:
        return _eoip(frame, row, at, end)
    if key and version == 0:  # in version 1 (PPTP) it is the call of one direction
        name_network(row, _network_of_key(protocol, u32(frame, at + 4 + 4 * checksum)))
    if protocol == _ERSPAN and sequence == 0:  # ERSPAN type I has no header
        return ETHERNET, inner, end
    if protocol in (_ERSPAN, _ERSPAN_III):
        return _erspan(frame, protocol, inner, end)
    if protocol == _WCCP:
        return _wccp(frame, inner, end)
    return _by_protocol(protocol), inner, end


@njit
def _by_protocol(protocol):
    """Return the layer of GRE's protocol field: an EtherType, or a value defined by GRE alone."""
    if protocol == _RAW_FRAME_RELAY:
        return FRAME_RELAY
    is_aruba = _ARUBA[0] <= protocol <= _ARUBA[1] and protocol & 15 == 0
    return WIFI if is_aruba or protocol == 0x9000 else by_ethertype(protocol)


@njit
def _network_of_key(protocol, key):
    """Return NVGRE's VSID (RFC 7637), as the key's last byte is the flow's; the first 4096 VSIDs do not exist."""
    return key >> 8 if protocol == 0x6558 and key >> 20 else key


@njit
def _erspan(frame, protocol, at, end):
    """Strip ERSPAN's header of a mirrored frame; type III may mark a bare IP packet, and may have a subheader."""
    length = 8 if protocol == _ERSPAN else 12
    if at + length > readable(frame, end):
        return STOP + Weird.TRUNCATED_GRE, at, end
    if protocol == _ERSPAN:
        return ETHERNET, at + length, end
    is_ip = frame[at + 10] >> 2 & 0x1F == 2
    inner = at + length + 8 * (frame[at + 11] & 1)
    return by_nibble(frame, inner, end) if is_ip else ETHERNET, inner, end


@njit
def _wccp(frame, at, end):
    """Find a redirected packet; version 2 has four bytes of header before it. Linux distinguishes them the same way."""
    if at < readable(frame, end) and frame[at] >> 4 != 4:
        at += 4
    return by_nibble(frame, at, end), at, end


@njit
def _eoip(frame, row, at, end):
    """Strip MikroTik's EoIP header: the key's field holds the frame's length, and the tunnel's id in little-endian."""
    length = u16(frame, at + 4)
    if length == 0:  # a keepalive
        return DONE, at + 8, end
    name_network(row, le16(frame, at + 6))
    return ETHERNET, at + 8, min(end, at + 8 + length)
