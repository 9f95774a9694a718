"""Wireless LANs: data frames of IEEE 802.11, with or without radiotap, AVS or Prism headers."""

import numpy as np

from sensor._jit import njit
from sensor.decode.layers import (
    CUT,
    LLC,
    NOT_IP,
    PRISM,
    RADIOTAP,
    STOP,
    WIFI,
    WIFI_PADDED,
    le16,
    le32,
    readable,
    u16,
    u32,
)
from sensor.weird import Refusal

_ENCRYPTED = STOP + int(Refusal.ENCRYPTED)
_IS_PROTECTED, _HAS_HT_CONTROL = 0x40, 0x80
_HAS_TIME, _HAS_FLAGS = 1, 2  # in radiotap's first word of present fields
_HAS_FCS, _IS_PADDED = 0x10, 0x20
_AVS = 0x80211000


@njit
def wireless(frame, row, layer, at, end):
    """Strip one of these headers. frame: uint8; row: a PACKET row."""
    if layer == RADIOTAP:
        return _radiotap(frame, at, end)
    if layer == PRISM:
        return _prism(frame, at, end)
    return _wifi(frame, row, at, end, layer == WIFI_PADDED)


@njit
def _radiotap(frame, at, end):
    have = readable(frame, end)
    if at + 8 > have:
        return CUT, at, end
    inner = at + le16(frame, at + 2)
    if frame[at] != 0 or inner < at + 8:
        return NOT_IP, at, end
    if inner > have:
        return CUT, at, end
    flags = _flags_of(frame, at, inner)
    if flags & _HAS_FCS:
        end = max(inner, end - 4)
    return WIFI_PADDED if flags & _IS_PADDED else WIFI, inner, end


@njit
def _flags_of(frame, at, stop):
    """Return radiotap's flags field, which follows the words of present fields; 0 if it is absent."""
    present, word = frame[at + 4], at + 4
    while frame[word + 3] & 0x80:
        word += 4
        if word + 4 > stop:
            return np.uint8(0)
    field = word + 4
    if present & _HAS_TIME:  # eight bytes, aligned
        field = at + (field - at + 7 & ~7) + 8
    return frame[field] if present & _HAS_FLAGS and field < stop else np.uint8(0)


@njit
def _prism(frame, at, end):
    """Strip Prism's header, whose length is in the machine's byte order, or its successor AVS's."""
    if at + 8 > readable(frame, end):
        return CUT, at, end
    length = u32(frame, at + 4)
    if u32(frame, at) & 0xFFFFF000 != _AVS and length > 0xFFFF:
        length = le32(frame, at + 4)
    return WIFI if length >= 8 else NOT_IP, at + length, end


@njit
def _wifi(frame, row, at, end, is_padded):
    """Strip a data frame's header: 3 or 4 addresses, and the fields of its type. Later fragments are not decoded."""
    have = readable(frame, end)
    if at + 24 > have:
        return CUT, at, end
    flags, subtype = frame[at + 1], frame[at] >> 4
    is_data = frame[at] & 0x0F == 0x08 and subtype & 4 == 0
    if not is_data or frame[at + 22] & 0x0F:
        return NOT_IP, at, end
    if flags & _IS_PROTECTED:
        return _ENCRYPTED, at, end
    has_qos, to_system = subtype >> 3, flags & 1
    header = 30 if flags & 3 == 3 else 24
    row["group"] = frame[at + 16 if to_system else at + 4] & 1
    inner = at + header + 2 * has_qos
    if has_qos and flags & _HAS_HT_CONTROL:
        inner += 4
    if is_padded:
        inner = at + (inner - at + 3 & ~3)
    if inner > have:
        return CUT, at, end
    if has_qos and frame[at + header] & 0x80:
        return _aggregate(frame, row, inner, end)
    return LLC, inner, end


@njit
def _aggregate(frame, row, at, end):
    """Strip the subheader of the first frame in an A-MSDU: the addresses and the length of an 802.2 frame."""
    if at + 14 > readable(frame, end):
        return CUT, at, end
    row["group"] = frame[at] & 1
    return LLC, at + 14, min(end, at + 14 + u16(frame, at + 12))
