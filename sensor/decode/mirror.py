"""Mirrors over UDP: TZSP, sent by sensors and MikroTik's routers, and HP's remote mirroring."""

import numpy as np

from sensor._jit import njit
from sensor.decode.ethertype import by_frame
from sensor.decode.layers import DONE, ETHERNET, PRISM, WIFI, readable, u16

_TAGS_MAX = 64
_PADDING, _END = 0, 1


@njit
def tzsp(frame, at, end):
    """Strip TZSP's header and tagged fields (two have no length) of a frame received (0) or to be sent (1)."""
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
    """Strip HP's header of twelve bytes; no known content of it distinguishes it from other data."""
    return by_frame(frame, at + 12, end), at + 12, end
