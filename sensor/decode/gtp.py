"""GTP-U: the tunnels of mobile networks (3GPP TS 29.281)."""

import numpy as np

from sensor._jit import njit
from sensor.decode.ethertype import by_nibble
from sensor.decode.layers import DONE, STOP, readable, u16

_MAX_EXTENSIONS = 16
"""More extension headers than any release of TS 29.281 defines."""


@njit
def gtpu(frame, at, end, partial):
    """Strip a T-PDU's header and extension headers; other messages carry no packet. frame: uint8."""
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
        at = _skip_extensions(frame, at, have)
    layer = by_nibble(frame, at, have)
    return layer if layer < STOP else DONE, at, end


@njit
def _skip_extensions(frame, at, have):
    """Return the end of the extension headers; `have` if they are damaged or do not end. frame: uint8."""
    for _ in range(_MAX_EXTENSIONS):
        if at >= have or frame[at - 1] == 0:
            return at
        length = np.int64(frame[at]) * 4
        if length == 0:
            return have
        at += length
        if at > have:
            return have
    return have
