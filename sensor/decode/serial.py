"""Point-to-point links: PPP (RFC 1661, 1662), PPPoE (RFC 2516), Cisco HDLC, Frame Relay (RFC 2427), ATM (RFC 2684)."""

from sensor._jit import njit
from sensor.decode.ethertype import by_ethertype
from sensor.decode.layers import (
    CISCO_HDLC,
    CUT,
    ETHERNET,
    FRAME_RELAY,
    IPV4,
    IPV6,
    LLC,
    MPLS,
    NOT_IP,
    PPP,
    PPP_DIRECTED,
    PPPOE,
    readable,
    u16,
    u32,
)

_BRIDGED = 0x80C2
"""SNAP's organization code for whole bridged frames (802.1's; RFC 2427 and 2684)."""
_SNAP, _NLPID = 0xAAAA03, 0xFEFE03


@njit
def _is_ethernet(protocol):
    """True if a _BRIDGED protocol is a frame of 802.3, with or without its check sequence."""
    return protocol == 1 or protocol == 7


@njit
def serial(frame, layer, at, end):
    """Strip one of these layers. frame: uint8."""
    if layer == PPP:
        return _ppp(frame, at, end)
    if layer == PPPOE:
        return _pppoe(frame, at, end)
    if layer == CISCO_HDLC:
        return _cisco_hdlc(frame, at, end)
    if layer == FRAME_RELAY:
        return _frame_relay(frame, at, end)
    if layer == PPP_DIRECTED:  # the direction is a byte of its own
        return PPP, at + 1, end
    return _rfc1483(frame, at, end)


@njit
def _ppp(frame, at, end):
    """Strip PPP with or without address and control bytes, with a protocol field of 2 bytes or 1 (RFC 1661, 6.5)."""
    have = readable(frame, end)
    if at + 2 > have:
        return CUT, at, end
    if frame[at] == 0x0F or frame[at] == 0x8F:  # Cisco HDLC in PPP's framing (LINKTYPE_PPP_HDLC)
        return CISCO_HDLC, at, end
    if u16(frame, at) == 0xFF03:
        at += 2
        if at + 2 > have:
            return CUT, at, end
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
    return NOT_IP, at, end


@njit
def _pppoe(frame, at, end):
    if at + 6 > readable(frame, end):
        return CUT, at, end
    is_session_data = frame[at] == 0x11 and frame[at + 1] == 0
    if not is_session_data:
        return NOT_IP, at, end
    return PPP, at + 6, min(end, at + 6 + u16(frame, at + 4))


@njit
def _cisco_hdlc(frame, at, end):
    if at + 4 > readable(frame, end):
        return CUT, at, end
    return by_ethertype(u16(frame, at + 2)), at + 4, end


@njit
def _by_nlpid(nlpid):
    """Return the layer of a network layer protocol identifier (ISO 9577)."""
    if nlpid == 0xCC:
        return IPV4
    if nlpid == 0x8E:
        return IPV6
    return PPP if nlpid == 0xCF else NOT_IP


@njit
def _frame_relay(frame, at, end):
    """Strip an address of two to four bytes, then the IETF's control byte 3 and protocol, or Cisco's EtherType."""
    have = readable(frame, end)
    for _ in range(4):
        if at >= have:
            return CUT, at, end
        at += 1
        if frame[at - 1] & 1:
            break
    if at + 4 > have:
        return CUT, at, end
    if frame[at] != 3:
        return by_ethertype(u16(frame, at)), at + 2, end
    at += 2 if frame[at + 1] == 0 else 1  # a byte of padding
    if frame[at] != 0x80:
        return _by_nlpid(frame[at]), at + 1, end
    if at + 6 > have:
        return CUT, at, end
    organization, protocol = u32(frame, at) & 0xFFFFFF, u16(frame, at + 4)
    if organization == _BRIDGED and _is_ethernet(protocol):
        return ETHERNET, at + 6, end
    return by_ethertype(protocol) if organization == 0 else NOT_IP, at + 6, end


@njit
def _rfc1483(frame, at, end):
    """Strip 802.2 as on a LAN, except that bridged frames have two bytes of padding before them."""
    if at + 8 > readable(frame, end):
        return CUT, at, end
    header = u32(frame, at) >> 8
    if header == _NLPID:
        return _by_nlpid(frame[at + 3]), at + 4, end
    is_bridged = header == _SNAP and u32(frame, at + 2) & 0xFFFFFF == _BRIDGED
    if is_bridged and _is_ethernet(u16(frame, at + 6)):
        return ETHERNET, at + 10, end
    return LLC, at, end
