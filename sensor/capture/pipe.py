"""Files that are read forward only: a pipe, standard input, or the plain bytes inside a compressed file."""

import contextlib
import fcntl
import select
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from sensor.capture.compressed import BadCompression, Read

_PIPE_BYTES = 1 << 20  # what Linux lets anyone have; the usual 64 KiB make blocks of a few hundred packets


class Pipe:
    """An open file read forward only. Reading never raises: an error ends the bytes and stays in `fault`."""

    def __init__(self, file: BinaryIO, *, owned: bool = True) -> None:
        some: Any = file  # a buffered file would wait for all that is asked: its read1 takes what is there
        self._read_some = getattr(some, "read1", some.read)
        self._readinto_some = getattr(some, "readinto1", some.readinto)
        self._file = file
        self._owned = owned
        self._poll = _poll(file)
        self._head = b""
        self.taken = 0
        """Bytes given so far."""
        self.fault: str | None = None

    def peek(self, size: int) -> bytes:
        """The first bytes, fewer only where the file is shorter; they will be given again. May raise OSError."""
        while len(self._head) < size and (more := self._read_some(size - len(self._head))):
            self._head += more
        return self._head

    def read(self, size: int) -> bytes:
        """Some bytes, at most `size`; b"" at the end."""
        try:
            data, self._head = self._head[:size] or self._read_some(size), self._head[size:]
        except OSError as error:
            self.fault, data = f"reading failed: {error.strerror}", b""
        self.taken += len(data)
        return bytes(data)

    def readinto(self, view: memoryview) -> int:
        """Fill the view with what is there, 0 at the end: blocks for the first bytes only, so a slow pipe is prompt."""
        count = len(self._head)
        view[:count], self._head = self._head, b""
        try:
            while count < len(view) and (count == 0 or self.is_ready()):
                got = self._readinto_some(view[count:])
                if not got:
                    break
                count += got
        except OSError as error:
            self.fault = f"reading failed: {error.strerror}"
        self.taken += count
        return count

    def is_ready(self) -> bool:
        """Whether reading on would not block."""
        return self._poll is None or bool(self._poll.poll(0))

    def close(self) -> None:
        """Close the file unless it is the caller's."""
        if self._owned:
            self._file.close()


def _poll(file: BinaryIO) -> "select.poll | None":
    try:
        number = file.fileno()
    except (OSError, AttributeError):
        return None  # no file of the system, such as a BytesIO, which never blocks
    with contextlib.suppress(OSError):  # it is no pipe, or the system's limit is lower
        fcntl.fcntl(number, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return poll


class Inflated:
    """The plain bytes inside a compressed file, with the face of `Pipe`."""

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
        """Fill the view with what is there, 0 at the end."""
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
            return next(self._pieces, None)
        except BadCompression as error:
            self.fault = self._pipe.fault or str(error)
            return None
