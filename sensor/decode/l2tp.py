"""L2TP: version 2 over UDP (RFC 2661), which carries PPP, and version 3 over UDP or IP (RFC 3931), here with Ethernet.

Control messages are not decoded. In version 3 they negotiate the length of the cookie and whether a sublayer follows:
the first length is assumed at which a readable frame starts.
"""

from sensor._jit import njit
from sensor.decode.ethertype import by_frame
from sensor.decode.layers import DONE, PPP, readable, u16, u32
from sensor.packet import PROTO_UDP

_CONTROL, _LENGTH, _SEQUENCE, _OFFSET, _RESERVED, _VERSION = 0x8000, 0x4000, 0x0800, 0x0200, 0x34F0, 0x000F
_MOST = 12
"""The most bytes before the frame in version 3: a cookie of 0, 4 or 8, and a sublayer of 0 or 4."""


@njit
def l2tp(frame, row, at, end, partial):
    """Strip a data message's header. frame: uint8; row: a PACKET row."""
    have = readable(frame, end)
    if row["proto"] != PROTO_UDP:
        is_data = at + 4 <= have and u32(frame, at) != 0  # session 0 is for control
        return _session(frame, at + 4, end) if is_data else (DONE, at, end)
    if at + 8 > have:
        return DONE, at, end
    flags = u16(frame, at)
    version = flags & _VERSION
    if version == 3 and flags & ~_VERSION == 0:
        return _session(frame, at + 8, end)
    if version != 2 or flags & (_CONTROL | _RESERVED):
        return DONE, at, end
    if flags & _LENGTH:
        stop = at + u16(frame, at + 2)
        if stop > end and not partial:
            return DONE, at, end
        end = min(end, stop)
    inner = at + (8 if flags & _LENGTH else 6) + (4 if flags & _SEQUENCE else 0)
    if flags & _OFFSET and inner + 2 <= have:
        inner += 2 + u16(frame, inner)
    return PPP if inner + 4 <= readable(frame, end) else DONE, inner, end


@njit
def _session(frame, at, end):
    for skip in range(0, _MOST + 1, 4):
        if by_frame(frame, at + skip, end) != DONE:
            return by_frame(frame, at + skip, end), at + skip, end
    return DONE, at, end
