"""Addresses: 128 bits as two uint64 (`hi`, `lo`), IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2).

Addresses become text only on input and output.
"""

import ipaddress

import numpy as np

V4_LO = 0xFFFF_0000_0000
"""The bits of an IPv4-mapped address's low word above its 32 bits; the high word is 0."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_WORD = (1 << 64) - 1


def to_address(hi: int, lo: int) -> Address:
    """Return the standard library's address object of two words; its text is the plain form."""
    hi, lo = int(hi), int(lo)
    if hi == 0 and lo >> 32 == 0xFFFF:
        return ipaddress.IPv4Address(lo & 0xFFFF_FFFF)
    return ipaddress.IPv6Address(hi << 64 | lo)


def to_words(address: Address | str) -> tuple[int, int]:
    """Return the two words (hi, lo) of an address; ValueError if the text is not an address."""
    parsed = ipaddress.ip_address(address)
    if parsed.version == 4:
        return 0, V4_LO | int(parsed)
    return int(parsed) >> 64, int(parsed) & _WORD


def in_network(hi: np.ndarray, lo: np.ndarray, network: Network | str) -> np.ndarray:
    """Return a boolean column: True where an address (two uint64 columns) lies in the network."""
    net = ipaddress.ip_network(network)
    length = net.prefixlen + (96 if net.version == 4 else 0)
    mask = ((1 << length) - 1) << (128 - length)
    want_hi, want_lo = to_words(net.network_address)
    hi_mask, lo_mask = np.uint64(mask >> 64), np.uint64(mask & _WORD)
    same: np.ndarray = ((hi & hi_mask) == np.uint64(want_hi)) & ((lo & lo_mask) == np.uint64(want_lo))
    return same
