"""The tee: an input that can be read once, handed byte for byte to several processes.

Each gets a pipe of its own, and all get the same bytes. The slowest says how fast: nothing further is read until all
have taken what was, so that what lies between is a piece and a pipe each. One that is gone is left out.
"""

import io
import os
import select
import threading
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

_PIECE = 1 << 20


class Recorded(io.RawIOBase):
    """A file of which nothing was read yet, for whoever looks at how it begins; `data` is all that was read so."""

    def __init__(self, file: BinaryIO) -> None:
        self._number, self.data = file.fileno(), b""

    def fileno(self) -> int:
        """The descriptor of the file."""
        return self._number

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, view: Any) -> int:
        """Fill the view with what is there, once there is something; 0 at the end."""
        count = os.readv(self._number, [view])
        self.data += bytes(view[:count])
        return count


class Tee:
    """Hands on what a descriptor gives, in a thread, from `start` to its end or `stop`.

    `outlets` are what the processes are to read, in order. `failed` is told, in that thread, why reading failed.
    """

    def __init__(self, source: Recorded, count: int, failed: Callable[[str], None]) -> None:
        self._source, self._begun, self._failed = source.fileno(), source.data, failed
        pipes = [os.pipe() for _ in range(count)]
        self.outlets = [outlet for outlet, _ in pipes]
        self._inlets = {inlet for _, inlet in pipes}
        for inlet in self._inlets:
            os.set_blocking(inlet, False)
        self._woken, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._run, name="tee", daemon=True)  # reading may never return

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Read no further, and end what the processes read, for all at the same byte; a signal handler may call it."""
        os.write(self._waker, b".")

    def _run(self) -> None:
        piece = self._begun
        try:
            while self._inlets and (piece := piece or self._read()):
                self._hand_on(piece)
                piece = b""
        finally:
            for inlet in self._inlets:
                os.close(inlet)

    def _read(self) -> bytes:
        """The next bytes, once there are any; none at the end, when stopped, or when nobody is left to read them."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        poll.register(self._source, select.POLLIN)
        for inlet in self._inlets:
            poll.register(inlet, 0)  # only that its reader is gone
        while self._inlets:
            ready = {number for number, _ in poll.poll()}
            if self._woken in ready:
                return b""
            self._leave_out(poll, ready & self._inlets)
            if self._source in ready:
                return self._take()
        return b""

    def _take(self) -> bytes:
        try:
            return os.read(self._source, _PIECE)
        except OSError as error:
            self._failed(f"reading failed: {error.strerror}")
            return b""

    def _hand_on(self, piece: bytes) -> None:
        left = {inlet: memoryview(piece) for inlet in self._inlets}
        poll = select.poll()
        for inlet in left:
            poll.register(inlet, select.POLLOUT)
        while left:
            for inlet, _ in poll.poll():
                try:
                    left[inlet] = left[inlet][os.write(inlet, left[inlet]) :]
                except BrokenPipeError:
                    self._leave_out(poll, [inlet])
                    del left[inlet]
                    continue
                if not left[inlet]:
                    poll.unregister(inlet)
                    del left[inlet]

    def _leave_out(self, poll: "select.poll", gone: Iterable[int]) -> None:
        for inlet in gone:
            poll.unregister(inlet)
            self._inlets.discard(inlet)
            os.close(inlet)
