"""Compressed captures: gzip (RFC 1952) and zstd (RFC 8878), as pieces of plain bytes.

Both give every byte before a damaged or cut place. The libraries alone do not: on an error they drop the output of that
call. So gzip reads the bad part again byte by byte, and zstd is fed block by block. A piece is at most `PIECE` bytes,
whatever the file claims or expands to.
"""

import importlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any

PIECE = 256 << 10
_INPUT = 64 << 10
_GZIP = 31  # zlib's window bits for a gzip header and trailer
_WINDOW_MAX = 1 << 27  # 128 MiB, the most that the zstd tool itself accepts unless told otherwise

_SKIPPABLE = range(0x184D2A50, 0x184D2A60)  # RFC 8878, 3.1.2
_FRAME = 0xFD2FB528  # RFC 8878, 3.1.1
_RLE = 1
_CUT = "the zstd data end too soon"

Read = Callable[[int], bytes]
"""Returns at most so many bytes of the file, b"" at its end."""


class BadCompression(Exception):
    """The compressed data are damaged or cut; all good bytes have been given."""


def gunzip(read: Read) -> Iterator[bytes]:
    """Yield the plain bytes of all members of a gzip file; zero padding after the last one is no error."""
    data = read(_INPUT)
    while data:
        engine = zlib.decompressobj(_GZIP)
        while not engine.eof:
            data = data or read(_INPUT)
            if not data:
                yield engine.flush()
                raise BadCompression("the gzip data end too soon")
            before = engine.copy()
            try:
                piece = engine.decompress(data, PIECE)
            except zlib.error:
                yield _salvage(before, data)
                raise BadCompression("the gzip data are damaged") from None
            yield piece
            data = engine.unconsumed_tail
        data = engine.unused_data.lstrip(b"\0")
        while not data and (more := read(_INPUT)):
            data = more.lstrip(b"\0")


def _salvage(engine: Any, data: bytes) -> bytes:
    """Return the bytes that `data` yields before the engine meets an error; less than a piece."""
    good = bytearray()
    try:
        for i in range(len(data)):
            good += engine.decompress(data[i : i + 1])
    except zlib.error:
        pass
    return bytes(good)


def unzstd(read: Read) -> Iterator[bytes]:
    """Yield the plain bytes of all frames of a zstd file; ImportError if the library is missing."""
    zstandard = importlib.import_module("zstandard")
    return _unzstd(_Exact(read), zstandard)


def _unzstd(take: "_Exact", zstandard: Any) -> Iterator[bytes]:
    while (magic := take.word()) is not None:
        if magic in _SKIPPABLE:
            take.skip(int.from_bytes(take(4), "little"))
            continue
        if magic != _FRAME:
            raise BadCompression("the zstd data are damaged")
        engine = zstandard.ZstdDecompressor(max_window_size=_WINDOW_MAX).decompressobj()
        try:
            for part in _parts(take):
                yield engine.decompress(part)
        except zstandard.ZstdError:
            raise BadCompression("the zstd data are damaged") from None


def _parts(take: "_Exact") -> Iterator[bytes]:
    """Yield a frame's parts from its magic on: header, then each block (RFC 8878, 3.1.1.2: at most 128 KiB each)."""
    descriptor = take(1)
    single, checksum = descriptor[0] >> 5 & 1, descriptor[0] >> 2 & 1
    size_field = (single, 2, 4, 8)[descriptor[0] >> 6]
    dictionary_field = (0, 1, 2, 4)[descriptor[0] & 3]
    yield _FRAME.to_bytes(4, "little") + descriptor + take((1 - single) + dictionary_field + size_field)
    last = 0
    while not last:
        header = take(3)
        word = int.from_bytes(header, "little")
        last, kind, size = word & 1, word >> 1 & 3, word >> 3
        size = 1 if kind == _RLE else size
        yield header + (body := take.at_most(size))  # a cut block stored raw still yields bytes
        if len(body) < size:
            raise BadCompression(_CUT)
    if checksum:
        yield take(4)


class _Exact:
    """Reads exactly the number of bytes requested, or raises BadCompression."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._held = b""

    def __call__(self, size: int) -> bytes:
        data = self.at_most(size)
        if len(data) < size:
            raise BadCompression(_CUT)
        return data

    def at_most(self, size: int) -> bytes:
        """Return `size` bytes, fewer at the end of the data."""
        while len(self._held) < size and (more := self._read(_INPUT)):
            self._held += more
        data, self._held = self._held[:size], self._held[size:]
        return data

    def word(self) -> int | None:
        """Return the next 32 bits, or None at the end of the data."""
        self._held = self._held or self._read(_INPUT)
        return int.from_bytes(self(4), "little") if self._held else None

    def skip(self, size: int) -> None:
        """Skip bytes without holding them."""
        while size:
            size -= len(self(min(size, _INPUT)))
