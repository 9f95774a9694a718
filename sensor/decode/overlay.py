"""Overlays: networks over UDP: VXLAN (RFC 7348, with the generic protocol extension), Geneve (RFC 8926) and LISP."""

import numpy as np

from sensor._jit import njit
from sensor.decode.ethertype import by_ethertype, by_length
from sensor.decode.layers import DONE, ETHERNET, IPV4, IPV6, MPLS, NSH, STOP, name_network, readable, u16, u32

_NEXT = np.zeros(256, np.uint8)
_NEXT[1:6] = IPV4, IPV6, ETHERNET, NSH, MPLS


@njit
def vxlan(frame, row, at, end):
    """Strip VXLAN's header, of Ethernet or of the generic protocol extension's payload; ignore group policy bits."""
    if at + 8 > readable(frame, end):
        return DONE, at, end
    has_network, has_protocol = frame[at] & 8 != 0, frame[at] & 4 != 0
    if not has_network or frame[at + 7] != 0:
        return DONE, at, end
    name_network(row, u32(frame, at + 4) >> 8)
    return np.int64(_NEXT[frame[at + 3]]) if has_protocol else ETHERNET, at + 8, end


@njit
def geneve(frame, row, at, end):
    """Strip Geneve's header and options; the EtherType names the payload."""
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
def lisp(frame, row, at, end, partial):
    """Strip LISP's header (RFC 9300) of an IP packet, and record the instance id if there is one."""
    if at + 8 > readable(frame, end):
        return DONE, at, end
    if frame[at] & 8:
        name_network(row, u32(frame, at + 4) >> 8)
    return by_length(frame, at + 8, end, partial), at + 8, end
