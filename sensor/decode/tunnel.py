"""Tunnels: IP in IP, MPLS in IP or UDP, Ethernet in IP, Teredo, and those with modules of their own.

RFC 2003 and 4213, RFC 4023 and 7510, RFC 3378, RFC 4380. Tunnels over UDP are recognized by port alone, which anyone
may use for anything: a datagram that does not parse as the tunnel stays a plain datagram, and is not counted as odd.
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
"""The protocol number by which segment routing carries a frame (RFC 8986)."""
_LABELS_MAX = 8


@njit
def tunnel(frame, row, layer, at, end, partial):
    """Strip one tunnel's header. In a first fragment (`partial`) the inner packet may be longer than its carrier.

    frame: uint8; row: a PACKET row.
    """
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
    """Strip GRE's header (RFC 8086); DONE if it is not GRE."""
    layer, at, end = gre(frame, row, at, end)
    return layer if layer < STOP else DONE, at, end


@njit
def _mpls(frame, at, end, partial):
    """Strip a complete stack of labels before an IP packet, or a readable frame with or without a control word."""
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
    """Strip EtherIP's version before a frame; an empty packet is a probe of the protocol."""
    if row["proto"] == ETHERNET_PROTO:
        return by_frame(frame, at, end), at, end
    is_known = at + 16 <= readable(frame, end) and u16(frame, at) == 0x3000
    return ETHERNET if is_known else DONE, at + 2, end


@njit
def _teredo(frame, at, end, partial):
    """Find an IPv6 packet after an optional authentication (RFC 4380, 5.1.1) and origin indication."""
    have = readable(frame, end)
    if at + 4 <= have and u16(frame, at) == 1:
        at += 13 + np.int64(frame[at + 2]) + np.int64(frame[at + 3])
    if at + 2 <= have and u16(frame, at) == 0:
        at += 8
    if at + 40 > have or frame[at] >> 4 != 6:
        return DONE, at, end
    is_whole = at + 40 + u16(frame, at + 4) <= end
    return IPV6 if is_whole or partial else DONE, at, end
