"""EtherTypes: the payload's layer by the two bytes before it, or by its first bits where those are missing."""

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
    0x8870: LLC,  # for payloads longer than a length field can express
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
    0x9100: VLAN,  # this and the next two: used before 802.1ad assigned a type to outer tags
    0x9200: VLAN,
    0x9300: VLAN,
    0xF1C1: R_TAG,
}
_BY_ETHERTYPE = np.full(1 << 16, NOT_IP, np.uint8)
for _ethertype, _layer in _LAYERS.items():
    _BY_ETHERTYPE[_ethertype] = _layer


@njit
def by_ethertype(ethertype):
    """Return the layer of an EtherType."""
    return np.int64(_BY_ETHERTYPE[ethertype])


@njit
def by_type_or_length(value, at, end):
    """Return the layer, start and end of the payload; a value too small for an EtherType is an 802.2 frame's length."""
    if value <= 1500:
        return LLC, at, min(end, at + value)
    return by_ethertype(value), at, end


@njit
def by_nibble(frame, at, end):
    """Return IPV4 or IPV6 by the payload's first four bits, as nothing else announces it. frame: uint8."""
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
    """Return IPV4 or IPV6 if header and length are plausible, else DONE: any other data may be there.

    frame: uint8. In a first fragment (`partial`) the inner packet may be longer than its carrier.
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
    """Return ETHERNET if a frame with a known EtherType, and IP of its version, starts there, else DONE."""
    have = readable(frame, end)
    if at + 15 > have:
        return DONE
    layer, nibble = by_ethertype(u16(frame, at + 12)), frame[at + 14] >> 4
    is_other = (layer == IPV4 and nibble != 4) or (layer == IPV6 and nibble != 6)
    return ETHERNET if layer < STOP and not is_other else DONE
