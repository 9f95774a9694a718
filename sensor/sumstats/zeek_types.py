"""Zeek's scalar vocabulary: a `Key` of an optional text and an optional host, and an `Observation` of one value.

Both become words, as columns do, so that feeding them one by one gives what feeding columns gives. A part that is
absent is another key than one that is empty, and 1, 1.0 and "1" are three elements, as in Zeek.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sensor.address import Address, to_address, to_words
from sensor.sumstats.text import TEXT_WORDS, text_of, text_words

_HAS_HOST, _HAS_STR = 1, 2
_HAS_NUM, _HAS_DBL, _HAS_TEXT, _IS_NEGATIVE = 1, 2, 4, 8


@dataclass(frozen=True, slots=True)
class Key:
    """A key of SumStats: `Key()` is one for everything."""

    str: "str | None" = None
    host: Address | None = None

    WORDS = 3 + TEXT_WORDS
    """uint64 words of a key: which parts it has, the host, the text."""
    FLAGS = {"host": _HAS_HOST, "str": _HAS_STR}
    """The bit of the first word that says that a part is there."""

    def words(self) -> np.ndarray:
        """The key as words: uint64 (WORDS,)."""
        hi, lo = (0, 0) if self.host is None else to_words(self.host)
        flags = _HAS_HOST * (self.host is not None) | _HAS_STR * (self.str is not None)
        return np.concatenate([np.array([flags, hi, lo], np.uint64), text_words([self.str or ""])[0]])

    @staticmethod
    def of(words: Sequence[int]) -> "Key":
        """The key that words stand for."""
        host = to_address(words[1], words[2]) if words[0] & _HAS_HOST else None
        return Key(text_of(words[3:]) if words[0] & _HAS_STR else None, host)


@dataclass(frozen=True, slots=True)
class Observation:
    """One observed value: `num`, `dbl` or `str`; with none of them it counts 1."""

    num: int | None = None
    dbl: float | None = None
    str: "str | None" = None

    WORDS = 3 + TEXT_WORDS
    """uint64 words of an element: which fields it has, the numbers, the text."""

    @property
    def value(self) -> float:
        """What calculations of numbers take: a text counts 1."""
        if self.num is not None:
            return float(self.num)
        return 1.0 if self.dbl is None else self.dbl

    def words(self) -> np.ndarray:
        """The whole observation as an element: uint64 (WORDS,)."""
        num = (self.num or 0) & (1 << 64) - 1
        (dbl,) = struct.unpack("<Q", struct.pack("<d", 0.0 if self.dbl is None else self.dbl + 0.0))
        flags = _HAS_NUM * (self.num is not None) | _HAS_DBL * (self.dbl is not None)
        flags |= _HAS_TEXT * (self.str is not None) | _IS_NEGATIVE * ((self.num or 0) < 0)
        return np.concatenate([np.array([flags, num, dbl], np.uint64), text_words([self.str or ""])[0]])

    @staticmethod
    def of(words: Sequence[int]) -> "Observation":
        """The observation that an element's words stand for."""
        flags, num, bits = (int(word) for word in words[:3])
        (dbl,) = struct.unpack("<d", struct.pack("<Q", bits))
        return Observation(
            num - (1 << 64) * bool(flags & _IS_NEGATIVE) if flags & _HAS_NUM else None,
            dbl if flags & _HAS_DBL else None,
            text_of(words[3:]) if flags & _HAS_TEXT else None,
        )
