"""A bell: one thread wakes another, which polls several descriptors."""

import contextlib
import os
import weakref


class Bell:
    """Several rings before a read count as one. The pipe is closed when the bell is garbage-collected."""

    def __init__(self) -> None:
        self._heard, self._rung = os.pipe()
        for each in (self._heard, self._rung):
            os.set_blocking(each, False)
            weakref.finalize(self, os.close, each)

    def fileno(self) -> int:
        """Return the descriptor to poll for reading."""
        return self._heard

    def ring(self) -> None:
        """Wake the polling thread; any thread may call this."""
        with contextlib.suppress(BlockingIOError):  # the pipe is full: the bell rings already
            os.write(self._rung, b"\0")

    def read(self) -> None:
        """Silence the bell until the next ring."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._heard, 4096):
                pass
