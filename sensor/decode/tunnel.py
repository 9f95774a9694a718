"""Tunnels: IP in IP (RFC 2003, 4213), GRE (RFC 2784, 2890, 2637, ERSPAN), VXLAN (RFC 7348), Geneve (RFC 8926),
Teredo (RFC 4380) and GTP-U (3GPP TS 29.281).

Those over UDP are known by port alone, which anyone may use for anything: what does not read as that tunnel is left
as the plain datagram it is, with nothing said.
"""

import numpy as np

from sensor._jit import njit
from sensor.decode.layers import (
    DONE,
    ETHERNET,
    GENEVE,
    GRE,
    GTPU,
    IPIP,
    IPV4,
    IPV6,
    STOP,
    TEREDO,
    VXLAN,
    name_network,
    readable,
    u16,
    u32,
)
from sensor.decode.link import by_ethertype, by_nibble
from sensor.weird import Weird

_MAX_GTPU_EXTENSIONS = 16
"""More than any release of TS 29.281 defines."""


@njit
def by_ports(src_port, dst_port):
    """The tunnel that a UDP datagram may be. VXLAN and Geneve answer no one: their source port is a hash."""
    if dst_port == 4789 or dst_port == 8472:
        return VXLAN
    if dst_port == 6081:
        return GENEVE
    if dst_port == 2152 or src_port == 2152:
        return GTPU
    if dst_port == 3544 or src_port == 3544:
        return TEREDO
    return DONE


@njit
def tunnel(frame, row, layer, at, end, partial):
    """Take one tunnel's header off. In a first fragment (`partial`) what is inside may well be longer."""
    if layer == IPIP:
        return IPV4 if row["proto"] == 4 else IPV6, at, end
    if layer == GRE:
        return _gre(frame, row, at, end)
    if layer == VXLAN:
        return _vxlan(frame, row, at, end)
    if layer == GENEVE:
        return _geneve(frame, row, at, end)
    if layer == GTPU:
        return _gtpu(frame, at, end, partial)
    return _teredo(frame, at, end, partial)


@njit
def _gre(frame, row, at, end):
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
    if key and version == 0:  # in version 1 (PPTP) it is the call of one direction
        name_network(row, _network_of_key(protocol, u32(frame, at + 4 + 4 * checksum)))
    if inner == end:  # a keepalive, or an acknowledgement alone
        return DONE, inner, end
    if protocol == 0x88BE and sequence == 0:  # ERSPAN type I has no header
        return ETHERNET, inner, end
    if protocol == 0x88BE or protocol == 0x22EB:
        return _erspan(frame, protocol, inner, end)
    return by_ethertype(protocol), inner, end


@njit
def _network_of_key(protocol, key):
    """The VSID of NVGRE (RFC 7637), whose last byte is the flow's; the first 4096 of them do not exist."""
    return key >> 8 if protocol == 0x6558 and key >> 20 else key


@njit
def _erspan(frame, protocol, at, end):
    length = 8 if protocol == 0x88BE else 12
    if at + length > readable(frame, end):
        return STOP + Weird.TRUNCATED_GRE, at, end
    has_subheader = protocol == 0x22EB and frame[at + 11] & 1 == 1
    return ETHERNET, at + length + 8 if has_subheader else at + length, end


@njit
def _vxlan(frame, row, at, end):
    """An Ethernet frame, or what the generic protocol extension names; a group policy's bits change nothing."""
    if at + 8 > readable(frame, end):
        return DONE, at, end
    has_network, has_protocol = frame[at] & 8 != 0, frame[at] & 4 != 0
    protocol = frame[at + 3] if has_protocol else 3
    layer = DONE
    if has_network and frame[at + 7] == 0:
        layer = ETHERNET if protocol == 3 else IPV4 if protocol == 1 else IPV6 if protocol == 2 else DONE
        name_network(row, u32(frame, at + 4) >> 8)
    return layer, at + 8, end


@njit
def _geneve(frame, row, at, end):
    have = readable(frame, end)
    if at + 8 > have:
        return DONE, at, end
    inner = at + 8 + np.int64(frame[at] & 0x3F) * 4
    is_geneve = frame[at] >> 6 == 0 and frame[at + 1] & 0x3F == 0 and frame[at + 7] == 0
    if not is_geneve or inner > have:
        return DONE, at, end
    layer = by_ethertype(u16(frame, at + 2))
    name_network(row, u32(frame, at + 4) >> 8)
    return layer if layer < STOP else DONE, inner, end


@njit
def _teredo(frame, at, end, partial):
    """An IPv6 packet, after an authentication (RFC 4380, 5.1.1) and an origin indication where there are such."""
    have = readable(frame, end)
    if at + 4 <= have and u16(frame, at) == 1:
        at += 13 + np.int64(frame[at + 2]) + np.int64(frame[at + 3])
    if at + 2 <= have and u16(frame, at) == 0:
        at += 8
    if at + 40 > have or frame[at] >> 4 != 6:
        return DONE, at, end
    is_whole = at + 40 + u16(frame, at + 4) <= end
    return IPV6 if is_whole or partial else DONE, at, end


@njit
def _gtpu(frame, at, end, partial):
    """A T-PDU, after its extension headers; other messages are GTP-U's own."""
    have = readable(frame, end)
    if at + 8 > have:
        return DONE, at, end
    is_t_pdu = frame[at] >> 4 == 3 and frame[at + 1] == 255
    stop = at + 8 + u16(frame, at + 2)
    if not is_t_pdu or (stop > end and not partial):
        return DONE, at, end
    has_optional, has_extension = frame[at] & 7 != 0, frame[at] & 4 != 0
    end = min(end, stop)
    have = readable(frame, end)
    at += 12 if has_optional else 8
    if has_extension:
        at = _skip_gtpu_extensions(frame, at, have)
    layer = by_nibble(frame, at, have)
    return layer if layer < STOP else DONE, at, end


@njit
def _skip_gtpu_extensions(frame, at, have):
    """Where the extension headers end; `have` where they do not, or are damaged."""
    for _ in range(_MAX_GTPU_EXTENSIONS):
        if at >= have or frame[at - 1] == 0:
            return at
        length = np.int64(frame[at]) * 4
        if length == 0:
            return have
        at += length
        if at > have:
            return have
    return have
