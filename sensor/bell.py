"""A bell: one thread rings it, and another, which polls for something else, hears of that at once."""

import contextlib
import os
import weakref


class Bell:
    """However often it is rung before somebody reads it, that is once. It lasts as long as somebody has it."""

    def __init__(self) -> None:
        self._heard, self._rung = os.pipe()
        for each in (self._heard, self._rung):
            os.set_blocking(each, False)
            weakref.finalize(self, os.close, each)

    def fileno(self) -> int:
        """The descriptor to poll for reading."""
        return self._heard

    def ring(self) -> None:
        """Wake whoever polls; may be called by any thread."""
        with contextlib.suppress(BlockingIOError):  # then it rings already
            os.write(self._rung, b"\0")

    def read(self) -> None:
        """Let it be silent until it is rung again."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._heard, 4096):
                pass
