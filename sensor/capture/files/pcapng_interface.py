"""The properties of a pcapng interface's packets: link type, snaplen, and clock resolution."""

import numpy as np

from sensor._jit import njit
from sensor.capture.files.byte_order import Order
from sensor.clock import SECOND

INTERFACE = np.dtype(
    [
        ("linktype", "u2"),
        ("snaplen", "i8"),  # bytes; 0 for no limit
        ("per_second", "u8"),  # ticks; the fields below convert the ticks within a second to ns
        ("multiply", "u8"),  # ticks of a power of ten: times this,
        ("divide", "u8"),  # then by this
        ("shift", "i8"),  # ticks of 2**-shift seconds; 0 for those of a power of ten
        ("offset", "i8"),  # seconds to add
    ],
    align=True,
)
"""One interface of a section."""

TS_MAX = 1 << 62
"""The latest distinct time (ns), in the year 2116; later times are clamped to it, those before 1970 to 0."""

_U64_MAX = (1 << 64) - 1
_FAR = 1 << 62  # seconds: larger values are clamped to this, and the sum of two still fits
_TS_MAX_S = TS_MAX // SECOND

_FAR_U, _NS_U = np.uint64(_FAR), np.uint64(SECOND)
_LOW_U, _HALF_U = np.uint64(0xFFFF_FFFF), np.uint64(32)

_MICROSECONDS = 6
_END_OF_OPTIONS, _TSRESOL, _TSOFFSET = 0, 9, 14


@njit
def to_ns(ticks, interface):
    """Return the time (ns) of a tick count (uint64) and whether it was clamped; fractions of ns are dropped.

    interface: one INTERFACE row.
    """
    seconds = ticks // interface["per_second"]
    rest = ticks - seconds * interface["per_second"]
    shift = interface["shift"]
    if shift == 0:
        ns = rest * interface["multiply"] // interface["divide"]
    elif shift < 32:
        ns = rest * _NS_U >> np.uint64(shift)
    else:  # in two halves: the product has up to 94 bits
        high = (rest >> _HALF_U) * _NS_U + ((rest & _LOW_U) * _NS_U >> _HALF_U)
        ns = high >> np.uint64(shift - 32)
    whole = np.int64(min(seconds, _FAR_U)) + interface["offset"]
    if whole < 0:
        return np.int64(0), True
    if whole >= _TS_MAX_S:
        return np.int64(TS_MAX), True
    return whole * SECOND + np.int64(ns), False


def parse_interface(body: bytes, order: Order) -> tuple[int, ...]:
    """Return an INTERFACE row from an Interface Description Block's body; ValueError if it contradicts itself.

    Resolutions too fine for a uint64 to hold a second of ticks are accepted: their times lie within one second.
    """
    if len(body) < 8:
        raise ValueError("an interface block is too short")
    options = dict(_options(body[8:], order))
    resolution = options.get(_TSRESOL, b"")[:1] or bytes((_MICROSECONDS,))
    offset = int.from_bytes(options.get(_TSOFFSET, b"")[:8], order, signed=True)
    linktype = int.from_bytes(body[:2], order)
    snaplen = int.from_bytes(body[4:8], order)
    return linktype, snaplen, *_clock(resolution[0]), max(-_FAR, min(_FAR, offset))


def _clock(resolution: int) -> tuple[int, int, int, int]:
    """Return per_second, multiply, divide, shift of an if_tsresol: a power of 2 if its high bit is set, else of 10."""
    exponent = resolution & 0x7F
    if resolution >> 7:
        return min(1 << exponent, _U64_MAX), 1, 1, min(exponent, 95)
    if exponent <= 9:
        return 10**exponent, 10 ** (9 - exponent), 1, 0
    return min(10**exponent, _U64_MAX), 1, min(10 ** (exponent - 9), _U64_MAX), 0


def _options(data: bytes, order: Order) -> list[tuple[int, bytes]]:
    """Return the options (code, value) of a block, up to the end marker or the block's end."""
    found = []
    while len(data) >= 4:
        code, size = int.from_bytes(data[:2], order), int.from_bytes(data[2:4], order)
        if code == _END_OF_OPTIONS:
            break
        if size > len(data) - 4:
            raise ValueError("an interface's option is longer than its block")
        found.append((code, data[4 : 4 + size]))
        data = data[4 + (size + 3 & ~3) :]
    return found
