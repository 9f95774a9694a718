"""Link layers: from a frame's first byte to its network layer, through tags, labels and sessions.

IEEE 802.3 and 802.1Q, LINKTYPE_LINUX_SLL and _SLL2, LINKTYPE_NULL and _LOOP, PPP (RFC 1661, 1662), PPPoE (RFC 2516),
Cisco HDLC, MPLS (RFC 3032, pseudowires RFC 4448).
"""

from sensor._jit import njit
from sensor.decode.layers import (
    ARP,
    CISCO_HDLC,
    ETHERNET,
    IPV4,
    IPV6,
    LINUX_SLL,
    LINUX_SLL2,
    LLC,
    MPLS,
    NULL,
    PPP,
    PPPOE,
    RAW_IP,
    STOP,
    VLAN,
    readable,
    u16,
    u32,
)
from sensor.weird import Refusal, Weird

_CUT = STOP + int(Weird.TRUNCATED_LINK)
_NOT_IP = STOP + int(Refusal.NOT_IP)


@njit
def by_linktype(linktype):
    """The first layer of a link type (LINKTYPE_ number)."""
    if linktype == 1:
        return ETHERNET
    if linktype == 12 or linktype == 14 or linktype == 101:
        return RAW_IP
    if linktype == 228:
        return IPV4
    if linktype == 229:
        return IPV6
    if linktype == 0 or linktype == 108:
        return NULL
    if linktype == 113:
        return LINUX_SLL
    if linktype == 276:
        return LINUX_SLL2
    if linktype == 9 or linktype == 50:
        return PPP
    if linktype == 51:
        return PPPOE
    if linktype == 104:
        return CISCO_HDLC
    return STOP + Refusal.UNKNOWN_LINKTYPE


@njit
def by_ethertype(ethertype):
    """The layer that an EtherType announces."""
    if ethertype == 0x0800:
        return IPV4
    if ethertype == 0x86DD:
        return IPV6
    if ethertype == 0x8100 or ethertype == 0x88A8 or ethertype == 0x9100:
        return VLAN
    if ethertype == 0x0806:
        return ARP
    if ethertype == 0x8847 or ethertype == 0x8848:
        return MPLS
    if ethertype == 0x8864:
        return PPPOE
    if ethertype == 0x880B:
        return PPP
    if ethertype == 0x6558:
        return ETHERNET
    return _NOT_IP


@njit
def by_nibble(frame, at, end):
    """IPv4 or IPv6, by the first four bits, where nothing else tells."""
    if at >= readable(frame, end):
        return STOP + Weird.TRUNCATED_IP
    nibble = frame[at] >> 4
    if nibble == 4:
        return IPV4
    if nibble == 6:
        return IPV6
    return STOP + Weird.BAD_IP_VERSION


@njit
def link(frame, row, layer, at, end):
    """Take one link layer off."""
    if layer == ETHERNET:
        return _ethernet(frame, row, at, end)
    if layer == VLAN:
        return _vlan(frame, row, at, end)
    if layer == MPLS:
        return _mpls(frame, at, end)
    if layer == LLC:
        return _llc(frame, at, end)
    if layer == PPPOE:
        return _pppoe(frame, at, end)
    if layer == PPP:
        return _ppp(frame, at, end)
    if layer in (LINUX_SLL, LINUX_SLL2):
        return _linux_sll(frame, row, layer, at, end)
    if layer == NULL:
        return _null(frame, at, end)
    if layer == CISCO_HDLC:
        return _cisco_hdlc(frame, at, end)
    return by_nibble(frame, at, end), at, end


@njit
def _ethernet(frame, row, at, end):
    if at + 14 > readable(frame, end):
        return _CUT, at, end
    row["group"] = frame[at] & 1
    return _type_or_length(u16(frame, at + 12), at + 14, end)


@njit
def _type_or_length(value, at, end):
    if value <= 1500:
        return LLC, at, min(end, at + value)
    return by_ethertype(value), at, end


@njit
def _vlan(frame, row, at, end):
    if at + 4 > readable(frame, end):
        return _CUT, at, end
    if row["vlan"] == 0:
        row["vlan"] = u16(frame, at) & 0xFFF
    return _type_or_length(u16(frame, at + 2), at + 4, end)


@njit
def _llc(frame, at, end):
    have = readable(frame, end)
    if at + 3 > have:
        return _CUT, at, end
    sap = u16(frame, at)
    unnumbered = frame[at + 2] == 3
    if unnumbered and sap == 0x0606:
        return IPV4, at + 3, end
    if not unnumbered or sap != 0xAAAA:
        return _NOT_IP, at, end
    if at + 8 > have:
        return _CUT, at, end
    oui = u32(frame, at + 2) & 0xFFFFFF
    if oui != 0 and oui != 0xF8:  # an EtherType follows these two only (RFC 1042, 802.1H)
        return _NOT_IP, at, end
    return by_ethertype(u16(frame, at + 6)), at + 8, end


@njit
def _mpls(frame, at, end):
    """One label; after the last, the first four bits tell IP from a pseudowire, which may have a control word."""
    have = readable(frame, end)
    if at + 4 > have:
        return _CUT, at, end
    at += 4
    is_last = frame[at - 2] & 1
    if not is_last:
        return MPLS, at, end
    if at + 2 > have:
        return _CUT, at, end
    if frame[at] >> 4:
        layer = by_nibble(frame, at, end)
        return layer if layer < STOP else _NOT_IP, at, end
    has_control_word = u16(frame, at) == 0
    return ETHERNET, at + 4 if has_control_word else at, end


@njit
def _pppoe(frame, at, end):
    if at + 6 > readable(frame, end):
        return _CUT, at, end
    is_session_data = frame[at] == 0x11 and frame[at + 1] == 0
    if not is_session_data:
        return _NOT_IP, at, end
    return PPP, at + 6, min(end, at + 6 + u16(frame, at + 4))


@njit
def _ppp(frame, at, end):
    """PPP with or without address and control bytes, with a protocol field of two bytes or one (RFC 1661, 6.5)."""
    have = readable(frame, end)
    if at + 2 > have:
        return _CUT, at, end
    if frame[at] == 0x0F or frame[at] == 0x8F:  # in PPP's framing, but Cisco's (LINKTYPE_PPP_HDLC)
        return CISCO_HDLC, at, end
    if u16(frame, at) == 0xFF03:
        at += 2
        if at + 2 > have:
            return _CUT, at, end
    if frame[at] & 1:
        protocol, at = frame[at] + 0, at + 1
    else:
        protocol, at = u16(frame, at), at + 2
    if protocol == 0x21:
        return IPV4, at, end
    if protocol == 0x57:
        return IPV6, at, end
    if protocol == 0x281 or protocol == 0x283:
        return MPLS, at, end
    return _NOT_IP, at, end


@njit
def _linux_sll(frame, row, layer, at, end):
    length = 16 if layer == LINUX_SLL else 20
    if at + length > readable(frame, end):
        return _CUT, at, end
    kind = frame[at + 1] if layer == LINUX_SLL else frame[at + 10]
    row["group"] = kind == 1 or kind == 2  # broadcast, multicast
    protocol = u16(frame, at + 14) if layer == LINUX_SLL else u16(frame, at)
    if protocol == 4:  # an 802.2 frame, of an interface whose frames have lengths
        return LLC, at + length, end
    return by_ethertype(protocol), at + length, end


@njit
def _null(frame, at, end):
    """The address family in four bytes of either order; IPv6 has as many numbers as there are systems."""
    if at + 4 > readable(frame, end):
        return _CUT, at, end
    family = u32(frame, at)
    if family > 0xFFFF:
        family = (family >> 24) | (family >> 8 & 0xFF00)
    if family == 2:
        return IPV4, at + 4, end
    if family == 10 or family == 24 or family == 28 or family == 30 or family == 23:
        return IPV6, at + 4, end
    return _NOT_IP, at, end


@njit
def _cisco_hdlc(frame, at, end):
    if at + 4 > readable(frame, end):
        return _CUT, at, end
    return by_ethertype(u16(frame, at + 2)), at + 4, end
