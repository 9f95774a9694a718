"""Arithmetic of TCP's sequence numbers, as int64."""

from sensor._jit import njit

WORD = 0xFFFF_FFFF
_HALF = 0x8000_0000


@njit
def ahead(a, b):
    """Return how far sequence number `a` is ahead of `b`, modulo 2**32 and signed (RFC 9293, 3.4)."""
    return ((a - b + _HALF) & WORD) - _HALF
