"""A file's bytes as an array to index: the whole of it mapped, or a window that moves over what cannot be mapped.

Both kinds show the same face: `data[at:filled]` are bytes not yet taken, and `data[0]` is byte `base` of the
uncompressed stream. A reader takes bytes by moving `at`. Of a window, nothing is ever moved but the unfinished record
at its end, and only `need` and `skip` move it: frames found before lie undisturbed until then.
"""

import mmap
import os
import stat
from typing import BinaryIO

import numpy as np

from sensor.capture.compressed import gunzip, unzstd
from sensor.capture.fault import CaptureError
from sensor.capture.pipe import Inflated, Pipe

WINDOW = 4 << 20
"""Bytes of a window when files are few."""
SMALL_WINDOW = 1 << 20
"""And when they are many: still twice the longest record that a reader asks for, pcapng's `BLOCK_MAX`."""

_GZIP = b"\x1f\x8b"
_ZSTD = (b"\x28\xb5\x2f\xfd", *(bytes((low, 0x2A, 0x4D, 0x18)) for low in range(0x50, 0x60)))

NO_BYTES = np.frombuffer(b"", np.uint8)
"""The buffer of what is not open: read-only, as all are, so that kernels are compiled for one array type."""


class Stream:
    """What readers see of any source of bytes."""

    data: np.ndarray
    """uint8, read-only."""
    fault: str | None = None
    """Why the bytes ended before their end, where they did."""

    def __init__(self) -> None:
        self.base = self.at = self.filled = 0

    @property
    def offset(self) -> int:
        """Where the next byte lies in the uncompressed stream."""
        return self.base + self.at

    @property
    def left(self) -> int:
        """Bytes held and not yet taken."""
        return self.filled - self.at

    @property
    def done(self) -> int:
        """Bytes of the file that have been read, compressed as they are."""
        return self.at

    def need(self, size: int) -> bool:
        """Whether `size` bytes are at hand, after reading on where that helps."""
        return self.left >= size

    def skip(self, size: int) -> bool:
        """Pass over bytes; whether there were so many."""
        if self.left < size:
            return False
        self.at += size
        return True

    def release(self) -> None:
        """Give back memory that lies behind; called when frames found before are no longer wanted."""

    def close(self) -> None:
        """Let go of the file."""


class Mapped(Stream):
    """A plain file, mapped as long as it was when it was opened.

    Its pages count as this process's memory until they are given back, which `release` does `window` by `window`.
    """

    def __init__(self, file: BinaryIO, window: int) -> None:
        super().__init__()
        self._window = window
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._map.madvise(mmap.MADV_SEQUENTIAL)
        self.data = np.frombuffer(self._map, np.uint8)
        self.filled = len(self.data)
        self._released = 0
        file.close()

    def release(self) -> None:
        """Give back the pages behind `at`; whoever still looks at them gets them again from the page cache."""
        if self.at - self._released >= self._window:
            until = self.at // mmap.PAGESIZE * mmap.PAGESIZE
            self._map.madvise(mmap.MADV_DONTNEED, self._released, until - self._released)
            self._released = until


class Window(Stream):
    """What cannot be mapped, read into one buffer of fixed size."""

    def __init__(self, source: Pipe | Inflated, size: int = WINDOW) -> None:
        super().__init__()
        self._source = source
        self._buffer = np.empty(size, np.uint8)
        self.data = self._buffer[:]
        self.data.flags.writeable = False  # as a mapped one is, see NO_BYTES
        self._ended = False

    @property
    def done(self) -> int:
        """Bytes of the file that have been read, compressed as they are."""
        return self._source.taken

    def need(self, size: int) -> bool:
        """Whether `size` bytes are at hand, after moving what is left to the front and reading on."""
        while self.left < size and not self._ended:
            self._advance()
        return self.left >= size

    def skip(self, size: int) -> bool:
        """Pass over any number of bytes, held or yet to come; whether there were so many."""
        while self.left < size and not self._ended:
            size -= self.left
            self.at = self.filled
            self._advance()
        return super().skip(size)

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()

    def _advance(self) -> None:
        left = self.left
        self._buffer[:left] = self._buffer[self.at : self.filled]
        self.base, self.at = self.base + self.at, 0
        count = self._source.readinto(self._buffer.data[left:])
        self.filled = left + count
        self._ended = count == 0
        self.fault = self._source.fault if self._ended else None


def open_stream(path: str, *, stdin: BinaryIO | None, window: int) -> Stream:
    """Open a file, or standard input for "-". Raises OSError, or CaptureError for zstd where that is not installed."""
    file = stdin if path == "-" else open(path, "rb", buffering=0)  # noqa: SIM115
    if file is None:
        raise CaptureError("-: no standard input is open; name a file")
    try:
        return _over(path, file, window)
    except BaseException:
        if path != "-":
            file.close()
        raise


def _over(path: str, file: BinaryIO, window: int) -> Stream:
    pipe = Pipe(file, owned=path != "-")
    is_mappable = path != "-" and _is_regular(file)
    head = os.pread(file.fileno(), 4, 0) if is_mappable else pipe.peek(4)
    if head.startswith(_GZIP):
        return Window(Inflated(pipe, gunzip), window)
    if head in _ZSTD:
        try:
            return Window(Inflated(pipe, unzstd), window)
        except ImportError:
            raise CaptureError(f"{path}: compressed with zstd; to read it: pip install 'sensor[zstd]'") from None
    if is_mappable and head:
        try:
            return Mapped(file, window)
        except OSError:  # a file system without mmap
            return Window(pipe, window)
    return Window(pipe, window)


def _is_regular(file: BinaryIO) -> bool:
    return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
