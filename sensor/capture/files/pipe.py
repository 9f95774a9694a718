"""Files that are read forward only: a pipe, standard input, or the plain bytes inside a compressed file."""

import contextlib
import fcntl
import os
import select
import stat
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from sensor.capture.files.compressed import BadCompression, Read

_PIPE_BYTES = 1 << 20  # the most that Linux allows anyone; the usual 64 KiB make blocks of a few hundred packets


class Pipe:
    """An open file, read forward only. Reading never raises: an error ends the bytes and is kept in `fault`.

    length: the most bytes read; the file had them when it was first examined. A regular file that becomes shorter was
    cut or started over, and its further bytes may be anything: reading ends there.
    """

    def __init__(self, file: BinaryIO, *, owned: bool = True, length: int | None = None) -> None:
        some: Any = file  # a buffered file waits for all bytes asked for; its read1 returns those at hand
        self._read_some = getattr(some, "read1", some.read)
        self._readinto_some = getattr(some, "readinto1", some.readinto)
        self._file = file
        self._owned = owned
        self._poll = _poll(file)
        self._head = b""
        self._length = length
        self._size = _size(file) if length is None else max(length, _size(file) or 0)
        self.taken = 0
        """Bytes given so far."""
        self.fault: str | None = None

    def peek(self, size: int) -> bytes:
        """Return the first bytes, fewer only if the file is shorter; they are given again later. May raise OSError."""
        while len(self._head) < size and (more := self._read_some(size - len(self._head))):
            self._head += more
        return self._head

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; b"" at the end."""
        size = self._wanted(size)
        try:
            data, self._head = self._head[:size] or self._read_some(size), self._head[size:]
        except OSError as error:
            self.fault, data = f"reading failed: {error.strerror}", b""
        return bytes(data)[: self._kept(size, len(data))]

    def readinto(self, view: memoryview) -> int:
        """Fill the view with the bytes at hand, 0 at the end; wait for the first bytes only, so that it is prompt."""
        view = view[: self._wanted(len(view))]
        count = min(len(self._head), len(view))
        view[:count], self._head = self._head[:count], self._head[count:]
        try:
            while count < len(view) and (count == 0 or self.is_ready()):
                got = self._readinto_some(view[count:])
                if not got:
                    break
                count += got
        except OSError as error:
            self.fault = f"reading failed: {error.strerror}"
        return self._kept(len(view), count)

    def is_ready(self) -> bool:
        """True if reading on would not block."""
        return self._poll is None or bool(self._poll.poll(0))

    def close(self) -> None:
        """Close the file unless it is the caller's."""
        if self._owned:
            self._file.close()

    def _wanted(self, size: int) -> int:
        return size if self._length is None else min(size, self._length - self.taken)

    def _kept(self, wanted: int, count: int) -> int:
        """Return how many of the `count` bytes read to give: none if the file has become shorter."""
        if self._size is not None and wanted and not self.fault:
            size = _size(self._file) or 0
            if size < self._size or (self._length is not None and not count):
                self.fault, count = "the file became shorter while it was read", 0
            self._size = max(size, self._size)
        self.taken += count
        return count


def _size(file: BinaryIO) -> int | None:
    """Return the bytes of a regular file; None for anything else."""
    try:
        status = os.fstat(file.fileno())
    except (OSError, AttributeError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _poll(file: BinaryIO) -> "select.poll | None":
    try:
        number = file.fileno()
    except (OSError, AttributeError):
        return None  # not a system file, such as a BytesIO, which never blocks
    with contextlib.suppress(OSError):  # not a pipe, or the system's limit is lower
        fcntl.fcntl(number, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return poll


class Inflated:
    """The plain bytes inside a compressed file, with the interface of `Pipe`."""

    def __init__(self, pipe: Pipe, inflate: Callable[[Read], Iterator[bytes]]) -> None:
        self._pipe = pipe
        self._pieces = inflate(pipe.read)
        self._piece = b""
        self.fault: str | None = None

    @property
    def taken(self) -> int:
        """Compressed bytes taken so far."""
        return self._pipe.taken

    def readinto(self, view: memoryview) -> int:
        """Fill the view with the bytes at hand; return the count, 0 at the end."""
        count = 0
        while count < len(view) and (count == 0 or self._pipe.is_ready()):
            piece = self._piece or self._next()
            if piece is None:
                break
            taken = min(len(piece), len(view) - count)
            view[count : count + taken], self._piece = piece[:taken], piece[taken:]
            count += taken
        return count

    def close(self) -> None:
        """Close the compressed file."""
        self._pipe.close()

    def _next(self) -> bytes | None:
        try:
            piece = next(self._pieces, None)
        except BadCompression as error:
            self.fault, piece = str(error), None
        if piece is None:
            self.fault = self._pipe.fault or self.fault
        return piece
