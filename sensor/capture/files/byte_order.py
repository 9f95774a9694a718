"""Integers of a file in either byte order, for kernels: built from bytes, so alignment does not matter."""

from typing import Literal

import numpy as np

from sensor._jit import njit

Order = Literal["little", "big"]


@njit
def u16(data, at, big):
    """Return 16 bits of `data` (uint8) as an int64."""
    a, b = np.int64(data[at]), np.int64(data[at + 1])
    return a << 8 | b if big else b << 8 | a


@njit
def u32(data, at, big):
    """Return 32 bits of `data` (uint8) as an int64, never negative."""
    a, b, c, d = np.int64(data[at]), np.int64(data[at + 1]), np.int64(data[at + 2]), np.int64(data[at + 3])
    return a << 24 | b << 16 | c << 8 | d if big else d << 24 | c << 16 | b << 8 | a
