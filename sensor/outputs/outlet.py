"""The outlet: standard output of a run, which goes on whatever becomes of it."""

import errno
import io
import os
from collections import deque
from collections.abc import Callable
from typing import TextIO, cast

from sensor.clock import elapsed_s

RETRY_S = 1.0
MEMORY_BYTES = 1 << 20


class Outlet(io.TextIOBase):
    """Writes to a stream of nobody else's, and never raises: what cannot be written waits, and is tried again in order.

    Up to `memory_bytes` wait; beyond that, what is new is lost, and counted. `changed` is told what is in the way when
    it fails, and "" when it takes all again. Whoever has nothing to write calls `flush` now and then.
    """

    def __init__(
        self,
        stream: TextIO,
        changed: Callable[[str], None],
        *,
        memory_bytes: int = MEMORY_BYTES,
        clock: Callable[[], float] = elapsed_s,
    ) -> None:
        self._stream, self._changed, self._put = stream, changed, _putting(stream)
        self._memory_bytes, self._clock = memory_bytes, clock
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._retry_at = 0.0
        self.error: OSError | None = None
        """Why it was not written the last time that something was; None: it was."""
        self.lost = 0
        """Lines for which there was no room to wait."""

    @property
    def stream(self) -> TextIO:
        """The same, as type checkers know streams."""
        return cast("TextIO", self)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of what it writes."""
        return self._stream.encoding or "utf-8"

    @property
    def waiting(self) -> int:
        """Lines that wait."""
        return sum(each.count(b"\n") for each in self._waiting)

    @property
    def is_reader_gone(self) -> bool:
        """True if it is a pipe without a reader."""
        return self.error is not None and self.error.errno == errno.EPIPE

    def fileno(self) -> int:
        """The file descriptor of the stream."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """True if it is a terminal."""
        return self._stream.isatty()

    def writable(self) -> bool:
        """It is, as far as it says."""
        return True

    def write(self, text: str) -> int:
        """Write, after what waits."""
        data = text.encode(self.encoding, "backslashreplace")
        if self._waiting_bytes + len(data) > self._memory_bytes and self._waiting:
            self.lost += data.count(b"\n")
        elif data:
            self._waiting.append(data)
            self._waiting_bytes += len(data)
        self.flush()
        return len(text)

    def flush(self) -> None:
        """Try what waits; after a failure, not before `RETRY_S`."""
        if self._waiting and self._clock() >= self._retry_at:
            self.hurry()

    def hurry(self) -> None:
        """Try what waits now."""
        try:
            while self._waiting:
                self._took(self._put(self._waiting[0]))
        except OSError as error:
            self._retry_at = self._clock() + RETRY_S
            self._become(error)
        else:
            self._retry_at = 0.0
            self._become(None)

    def _took(self, count: int) -> None:
        left = self._waiting.popleft()[count:]
        self._waiting_bytes -= count
        if left:
            self._waiting.appendleft(left)

    def _become(self, error: OSError | None) -> None:
        before, self.error = self.error, error
        if error is not None and (before is None or before.errno != error.errno):
            self._changed(error.strerror or str(error))
        elif before is not None and error is None:
            self._changed("")


def _putting(stream: TextIO) -> Callable[[bytes], int]:
    """An unbuffered writer that says how many bytes it took: a buffer would keep what could not be written."""

    def put(data: bytes) -> int:
        stream.write(data.decode(stream.encoding or "utf-8"))
        return len(data)

    try:
        number = stream.fileno()
    except OSError:  # made for a test
        return put
    return lambda data: os.write(number, data)
