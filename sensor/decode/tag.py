"""Tags: headers that switches insert between a frame's addresses and its payload.

Cisco's VN-Tag, TTag and MetaData (TrustSec), 802.1BR E-Tag, 802.1CB R-Tag, HSR (IEC 62439-3), 802.1ah I-Tag,
FabricPath, TRILL (RFC 6325), NSH (RFC 8300), and MACsec (802.1AE) where it only authenticates.
"""

import numpy as np

from sensor._jit import njit
from sensor.decode.ethertype import by_type_or_length
from sensor.decode.layers import (
    CUT,
    E_TAG,
    ETHERNET,
    FABRICPATH,
    FIRST_TAG,
    HSR,
    I_TAG,
    IPV4,
    IPV6,
    MACSEC,
    METADATA,
    MPLS,
    NOT_IP,
    NSH,
    R_TAG,
    STOP,
    T_TAG,
    TRILL,
    VN_TAG,
    name_network,
    readable,
    u16,
    u32,
)
from sensor.weird import Refusal

_ENCRYPTED = STOP + int(Refusal.ENCRYPTED)
_LENGTHS = {VN_TAG: 6, E_TAG: 8, METADATA: 8, T_TAG: 8, R_TAG: 6, HSR: 6, I_TAG: 4, FABRICPATH: 2, TRILL: 6}
_LENGTH = np.array([_LENGTHS.get(FIRST_TAG + each, 8) for each in range(16)], np.int64)
"""Bytes after the tag's own EtherType, including the next EtherType."""
_ICV = 16
_VERSION, _HAS_SCI, _IS_CHANGED = 0x80, 0x20, 0x0C
_NSH_PROTOCOLS = np.full(256, NOT_IP, np.uint8)
_NSH_PROTOCOLS[1:6] = IPV4, IPV6, ETHERNET, NSH, MPLS


@njit
def tag(frame, row, layer, at, end):
    """Strip a tag. frame: uint8; row: a PACKET row."""
    inner = at + _LENGTH[layer - FIRST_TAG]
    if inner > readable(frame, end):
        return CUT, at, end
    if layer == NSH:
        return _nsh(frame, at, end)
    if layer == MACSEC:
        return _macsec(frame, at, end)
    if layer == I_TAG:
        name_network(row, u32(frame, at) & 0xFFFFFF)
        return ETHERNET, inner, end
    if layer == FABRICPATH:
        return ETHERNET, inner, end
    if layer == TRILL:
        return ETHERNET, inner + (u16(frame, at) >> 6 & 0x1F) * 4, end
    return by_type_or_length(u16(frame, inner - 2), inner, end)


@njit
def _macsec(frame, at, end):
    """Strip MACsec's header and integrity check value, if the data are unencrypted; only short data have a length."""
    control, length = frame[at], np.int64(frame[at + 1] & 0x3F)
    if control & _VERSION:
        return NOT_IP, at, end
    if control & _IS_CHANGED:
        return _ENCRYPTED, at, end
    data = at + (14 if control & _HAS_SCI else 6)
    end = min(end, data + length) if length else max(data, end - _ICV)
    if data + 2 > readable(frame, end):
        return CUT, at, end
    return by_type_or_length(u16(frame, data), data + 2, end)


@njit
def _nsh(frame, at, end):
    """Strip a service header of up to 63 words, with any metadata."""
    length = np.int64(frame[at + 1] & 0x3F) * 4
    if frame[at] >> 6 or length < 8:
        return NOT_IP, at, end
    return np.int64(_NSH_PROTOCOLS[frame[at + 3]]), at + length, end
