"""Tunnels: IP in IP (RFC 2003, 4213), MPLS in IP or UDP (RFC 4023, 7510), Ethernet in IP (RFC 3378), Teredo (RFC 4380),
and those that have files of their own.

Those over UDP are known by port alone, which anyone may use for anything: what does not read as that tunnel is left
as the plain datagram it is, with nothing said.
"""

import numpy as np

from sensor._jit import njit
from sensor.decode.ethertype import by_frame, by_length
from sensor.decode.gre import gre
from sensor.decode.gtp import gtpu
from sensor.decode.l2tp import l2tp
from sensor.decode.layers import (
    DONE,
    ETHERIP,
    ETHERNET,
    GENEVE,
    GRE,
    GRE_IN_UDP,
    GTPU,
    HP_ERM,
    IPIP,
    IPV4,
    IPV6,
    L2TP,
    LISP,
    MPLS_IN_IP,
    STOP,
    TZSP,
    VXLAN,
    readable,
    u16,
)
from sensor.decode.mirror import hp_erm, tzsp
from sensor.decode.overlay import geneve, lisp, vxlan

ETHERNET_PROTO = 143
"""Where segment routing carries a frame (RFC 8986)."""
_LABELS_MAX = 8


@njit
def tunnel(frame, row, layer, at, end, partial):
    """Take one tunnel's header off. In a first fragment (`partial`) what is inside may well be longer."""
    if layer == IPIP:
        return IPV4 if row["proto"] == 4 else IPV6, at, end
    if layer == GRE:
        return gre(frame, row, at, end)
    if layer == VXLAN:
        return vxlan(frame, row, at, end)
    if layer == GENEVE:
        return geneve(frame, row, at, end)
    if layer == GTPU:
        return gtpu(frame, at, end, partial)
    if layer == L2TP:
        return l2tp(frame, row, at, end, partial)
    if layer == TZSP:
        return tzsp(frame, at, end)
    if layer == HP_ERM:
        return hp_erm(frame, at, end)
    if layer == LISP:
        return lisp(frame, row, at, end, partial)
    if layer == MPLS_IN_IP:
        return _mpls(frame, at, end, partial)
    if layer == ETHERIP:
        return _etherip(frame, row, at, end)
    if layer == GRE_IN_UDP:
        return _gre_in_udp(frame, row, at, end)
    return _teredo(frame, at, end, partial)


@njit
def _gre_in_udp(frame, row, at, end):
    """GRE (RFC 8086), or not."""
    layer, at, end = gre(frame, row, at, end)
    return layer if layer < STOP else DONE, at, end


@njit
def _mpls(frame, at, end, partial):
    """A stack of labels that ends, and an IP packet, or a frame with or without a control word, that can be read."""
    have, is_last = readable(frame, end), False
    for _ in range(_LABELS_MAX):
        if is_last or at + 4 > have:
            break
        is_last = frame[at + 2] & 1 != 0
        at += 4
    if not is_last:
        return DONE, at, end
    layer = by_length(frame, at, end, partial)
    if layer != DONE:
        return layer, at, end
    has_control_word = at + 2 <= have and u16(frame, at) == 0
    inner = at + 4 if has_control_word else at
    return by_frame(frame, inner, end), inner, end


@njit
def _etherip(frame, row, at, end):
    """A frame, which EtherIP has a version before; or a probe of the protocol, with nothing in it."""
    if row["proto"] == ETHERNET_PROTO:
        return by_frame(frame, at, end), at, end
    is_known = at + 16 <= readable(frame, end) and u16(frame, at) == 0x3000
    return ETHERNET if is_known else DONE, at + 2, end


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
