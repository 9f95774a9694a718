"""Mirrors over UDP: TZSP, which sensors and MikroTik's routers send, and HP's remote mirroring."""

import numpy as np

from sensor._jit import njit
from sensor.decode.ethertype import by_frame
from sensor.decode.layers import DONE, ETHERNET, PRISM, WIFI, readable, u16

_TAGS_MAX = 64
_PADDING, _END = 0, 1


@njit
def tzsp(frame, at, end):
    """A frame that was received (0), or is to be sent (1), behind tagged fields of which two are bare."""
    have = readable(frame, end)
    if at + 5 > have or frame[at] != 1 or frame[at + 1] > 1:
        return DONE, at, end
    kind = u16(frame, at + 2)
    layer = ETHERNET if kind == 1 else WIFI if kind == 18 else PRISM if kind == 119 or kind == 127 else DONE
    at += 4
    for _ in range(_TAGS_MAX):
        if at + 2 > have:
            break
        if frame[at] == _END:
            return layer if at + 15 <= have else DONE, at + 1, end
        at += 1 if frame[at] == _PADDING else 2 + np.int64(frame[at + 1])
    return DONE, at, end


@njit
def hp_erm(frame, at, end):
    """A frame behind twelve bytes, of which nothing is known that would tell them from any others."""
    return by_frame(frame, at + 12, end), at + 12, end
