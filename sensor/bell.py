"""A bell: one thread rings it, and another, which polls for something else, hears of that at once."""

import contextlib
import socket


class Bell:
    """However often it is rung before somebody reads it, that is once."""

    def __init__(self) -> None:
        self._heard, self._rung = socket.socketpair()
        self._heard.setblocking(False)
        self._rung.setblocking(False)

    def fileno(self) -> int:
        """What to poll for reading."""
        return self._heard.fileno()

    def ring(self) -> None:
        """Wake whoever polls; may be called by any thread."""
        with contextlib.suppress(BlockingIOError):  # then it rings already
            self._rung.send(b"\0")

    def read(self) -> None:
        """Let it be silent until it is rung again."""
        with contextlib.suppress(BlockingIOError):
            while self._heard.recv(4096):
                pass
