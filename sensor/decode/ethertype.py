"""EtherTypes: what the two bytes before a payload say that it is, or its first bits where nothing else does."""

import numpy as np

from sensor._jit import njit
from sensor.decode.layers import (
    ARP,
    DONE,
    E_TAG,
    ETHERNET,
    FABRICPATH,
    HSR,
    I_TAG,
    IPV4,
    IPV6,
    LLC,
    MACSEC,
    METADATA,
    MPLS,
    NOT_IP,
    NSH,
    PPP,
    PPPOE,
    R_TAG,
    STOP,
    T_TAG,
    TRILL,
    VLAN,
    VN_TAG,
    readable,
    u16,
)
from sensor.weird import Weird

_LAYERS = {
    0x0800: IPV4,
    0x0806: ARP,
    0x22F3: TRILL,
    0x6558: ETHERNET,
    0x8100: VLAN,
    0x86DD: IPV6,
    0x880B: PPP,
    0x8847: MPLS,
    0x8848: MPLS,
    0x8864: PPPOE,
    0x8870: LLC,  # of more bytes than a length field can say
    0x88A8: VLAN,
    0x88E5: MACSEC,
    0x88E7: I_TAG,
    0x8903: FABRICPATH,
    0x8909: METADATA,
    0x8926: VN_TAG,
    0x892F: HSR,
    0x893F: E_TAG,
    0x894F: NSH,
    0x8988: T_TAG,
    0x9100: VLAN,  # and the next ones, before 802.1ad gave outer tags their own
    0x9200: VLAN,
    0x9300: VLAN,
    0xF1C1: R_TAG,
}
_BY_ETHERTYPE = np.full(1 << 16, NOT_IP, np.uint8)
for _ethertype, _layer in _LAYERS.items():
    _BY_ETHERTYPE[_ethertype] = _layer


@njit
def by_ethertype(ethertype):
    """The layer that an EtherType announces."""
    return np.int64(_BY_ETHERTYPE[ethertype])


@njit
def by_type_or_length(value, at, end):
    """What follows at `at`: an 802.2 frame of so many bytes where the value is too small for an EtherType."""
    if value <= 1500:
        return LLC, at, min(end, at + value)
    return by_ethertype(value), at, end


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
def by_length(frame, at, end, partial):
    """IPv4 or IPv6 where the header and its length are credible, else DONE: where anything else may lie there.

    In a first fragment (`partial`) what is inside may well be longer.
    """
    have = readable(frame, end)
    if at + 20 > have:
        return DONE
    nibble = frame[at] >> 4
    if nibble == 4:
        header, total = np.int64(frame[at] & 15) * 4, u16(frame, at + 2)
        is_sane = header >= 20 and (total >= header or total == 0)
        return IPV4 if is_sane and (at + total <= end or partial) else DONE
    if nibble == 6 and at + 40 <= have:
        return IPV6 if at + 40 + u16(frame, at + 4) <= end or partial else DONE
    return DONE


@njit
def by_frame(frame, at, end):
    """ETHERNET where a frame with a known EtherType, and IP of its version, begins, else DONE."""
    have = readable(frame, end)
    if at + 15 > have:
        return DONE
    layer, nibble = by_ethertype(u16(frame, at + 12)), frame[at + 14] >> 4
    is_other = (layer == IPV4 and nibble != 4) or (layer == IPV6 and nibble != 6)
    return ETHERNET if layer < STOP and not is_other else DONE
