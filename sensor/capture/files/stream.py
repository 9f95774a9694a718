"""A file's bytes as an array to index: a window that moves over them.

`data[at:filled]` are bytes not yet taken, and `data[0]` is byte `base` of the uncompressed stream. A reader takes bytes
by moving `at`. Only the unfinished record at the window's end is ever moved, and only by `need` and `skip`: frames
found before stay in place until then. Files are read, not mapped: if another process cuts a mapped file, this process
dies of SIGBUS, and checking its size first cannot prevent that. Reading costs no more.
"""

from typing import BinaryIO

import numpy as np

from sensor.capture.errors import CaptureError, shown
from sensor.capture.files.compressed import gunzip, unzstd
from sensor.capture.files.pipe import Inflated, Pipe

WINDOW = 4 << 20
"""Bytes of a window when files are few."""
SMALL_WINDOW = 1 << 20
"""Bytes of a window when files are many: twice the longest record that a reader requests, pcapng's `BLOCK_MAX`."""

_GZIP = b"\x1f\x8b"
_ZSTD = (b"\x28\xb5\x2f\xfd", *(bytes((low, 0x2A, 0x4D, 0x18)) for low in range(0x50, 0x60)))


class ByteStream:
    """The readers' view of any source of bytes."""

    def __init__(self, source: Pipe | Inflated, size: int = WINDOW) -> None:
        self._source = source
        self._buffer = np.empty(size, np.uint8)
        self.data = self._buffer[:]
        """uint8, read-only."""
        self.data.flags.writeable = False  # see NO_BYTES
        self.base = self.at = self.filled = 0
        self.fault: str | None = None
        """The reason why the bytes ended early, if they did."""
        self._ended = False

    @property
    def offset(self) -> int:
        """Position of the next byte in the uncompressed stream."""
        return self.base + self.at

    @property
    def left(self) -> int:
        """Bytes held and not yet taken."""
        return self.filled - self.at

    @property
    def done(self) -> int:
        """Bytes of the file that are taken; for a compressed file, those expanded."""
        return self._source.taken if isinstance(self._source, Inflated) else self.offset

    def need(self, size: int) -> bool:
        """Read on until `size` bytes are at hand, moving the rest to the front; False if the stream ends before."""
        while self.left < size and not self._ended:
            self._advance()
        return self.left >= size

    def skip(self, size: int) -> bool:
        """Skip any number of bytes, held or yet to come; return False if the stream ends before."""
        while self.left < size and not self._ended:
            size -= self.left
            self.at = self.filled
            self._advance()
        if self.left < size:
            return False
        self.at += size
        return True

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def _advance(self) -> None:
        left = self.left
        self._buffer[:left] = self._buffer[self.at : self.filled]
        self.base, self.at = self.base + self.at, 0
        count = self._source.readinto(self._buffer.data[left:])
        self.filled = left + count
        self._ended = count == 0
        self.fault = self._source.fault if self._ended else None


def open_stream(path: str, *, stdin: BinaryIO | None, window: int, length: int | None = None) -> ByteStream:
    """Open a file, or standard input for "-". Raises OSError, or CaptureError if zstd is needed and not installed.

    length: the bytes that a regular file had when it was first examined; no more are read.
    """
    file = stdin if path == "-" else open(path, "rb", buffering=0)  # noqa: SIM115
    if file is None:
        raise CaptureError("-: no standard input is open; name a file")
    try:
        return _over(path, Pipe(file, owned=path != "-", length=length), window)
    except BaseException:
        if path != "-":
            file.close()
        raise


def _over(path: str, pipe: Pipe, window: int) -> ByteStream:
    head = pipe.peek(4)
    if head.startswith(_GZIP):
        return ByteStream(Inflated(pipe, gunzip), window)
    if head in _ZSTD:
        try:
            return ByteStream(Inflated(pipe, unzstd), window)
        except ImportError:
            advice = "pip install zstandard (in a checkout of the sensor: pip install '.[zstd]')"
            raise CaptureError(f"{shown(path)}: compressed with zstd; to read it: {advice}") from None
    return ByteStream(pipe, window)
