"""Columns that consist of several arrays: addresses, and text."""

from typing import Any

import numpy as np

from sensor.address import Network, in_network

_V4_TOP, _V4_MULTICAST, _V4_BROADCAST = np.uint64(0xFFFF_E), np.uint64(28), np.uint64(0xFFFF_FFFF_FFFF)
_V6_MULTICAST, _V6_TOP = np.uint64(0xFF), np.uint64(56)


def _masks(bits: int) -> tuple[np.uint64, np.uint64]:
    mask = ((1 << bits) - 1) << (128 - bits)
    return np.uint64(mask >> 64), np.uint64(mask & (1 << 64) - 1)


class AddressColumn:
    """A column of addresses, as two uint64 columns: `==` and `!=` with an address, a text or a column give a mask."""

    def __init__(self, hi: np.ndarray, lo: np.ndarray) -> None:
        self.hi, self.lo = hi, lo

    def __len__(self) -> int:
        return len(self.hi)

    def __getitem__(self, rows: Any) -> "AddressColumn":
        """Select rows by a mask, a slice or row numbers."""
        return AddressColumn(np.atleast_1d(self.hi[rows]), np.atleast_1d(self.lo[rows]))

    def __eq__(self, other: object) -> Any:
        """Return a mask of rows that hold an address (an object or its text), or equal another column's."""
        if isinstance(other, AddressColumn):
            return (self.hi == other.hi) & (self.lo == other.lo)
        return self.in_network(str(other))

    def __ne__(self, other: object) -> Any:
        return ~(self == other)

    __hash__ = None  # type: ignore[assignment]

    def in_network(self, cidr: Network | str) -> np.ndarray:
        """Return a mask of rows that lie in a network. ValueError if the text is not a network."""
        return in_network(self.hi, self.lo, cidr)

    def network(self, v4: int, v6: int) -> "AddressColumn":
        """Return the first address of each row's network, of `v4` bits for IPv4 and `v6` for IPv6."""
        is_v4 = (self.hi == 0) & (self.lo >> np.uint64(32) == 0xFFFF)
        v4_hi, v4_lo = _masks(96 + v4)
        v6_hi, v6_lo = _masks(v6)
        return AddressColumn(self.hi & np.where(is_v4, v4_hi, v6_hi), self.lo & np.where(is_v4, v4_lo, v6_lo))

    @property
    def is_multicast(self) -> np.ndarray:
        """A mask of rows with multicast and broadcast addresses: 224.0.0.0/4, ff00::/8 and 255.255.255.255."""
        in_v4 = (self.hi == 0) & ((self.lo >> _V4_MULTICAST == _V4_TOP) | (self.lo == _V4_BROADCAST))
        mask: np.ndarray = in_v4 | (self.hi >> _V6_TOP == _V6_MULTICAST)
        return mask

    @property
    def words(self) -> np.ndarray:
        """Each address as (hi, lo): uint64 (n, 2)."""
        return np.stack([self.hi, self.lo], axis=1)


class TextColumn:
    """A column of texts from the wire: bytes of any size, which lie in one arena and are decoded on access.

    arena: uint8. at, size (int64): the start of each text in it, and its bytes.
    """

    def __init__(self, arena: np.ndarray, at: np.ndarray, size: np.ndarray) -> None:
        self._arena, self._at, self.size = arena, at, size

    def __len__(self) -> int:
        return len(self._at)

    def __getitem__(self, rows: Any) -> "TextColumn":
        """Select rows by a mask, a slice or row numbers."""
        return TextColumn(self._arena, np.atleast_1d(self._at[rows]), np.atleast_1d(self.size[rows]))

    def __eq__(self, other: object) -> Any:
        """Return a mask of rows that hold a text (bytes, or str as UTF-8), or equal another column's."""
        if isinstance(other, TextColumn):
            return np.array([one == two for one, two in zip(self.bytes(), other.bytes(), strict=True)], np.bool_)
        wanted = _encoded(other)
        return self.startswith(wanted) & (self.size == len(wanted))

    def __ne__(self, other: object) -> Any:
        return ~(self == other)

    __hash__ = None  # type: ignore[assignment]

    def startswith(self, start: bytes | str) -> np.ndarray:
        """Return a mask of rows that begin with a text."""
        wanted = np.frombuffer(_encoded(start), np.uint8)
        mask = self.size >= len(wanted)
        begins = np.flatnonzero(mask)
        found = self._arena[self._at[begins, None] + np.arange(len(wanted))] == wanted
        mask[begins] = found.all(axis=1)
        return mask

    def bytes(self) -> list[bytes]:
        """Return each text as it was on the wire."""
        ends = self._at + self.size
        return [self._arena[at:end].tobytes() for at, end in zip(self._at.tolist(), ends.tolist(), strict=True)]


def _encoded(text: object) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode(errors="surrogateescape")
