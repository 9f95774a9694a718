"""Standard input that is read without going deaf: while no packets come, the manager is heard and answered."""

import io
import select
from collections.abc import Callable
from typing import Any, BinaryIO

_PAUSE_MS = 5
"""How long the manager may wait to be heard: a twentieth of what an early alert may take."""


def attended(file: BinaryIO, attend: Callable[[], bool], *, pause_ms: int = _PAUSE_MS) -> BinaryIO:
    """A file of which nothing was read yet; whoever reads it does `attend` while nothing comes, until that says no."""
    return io.BufferedReader(_Attended(file, attend, pause_ms))


class _Attended(io.RawIOBase):
    def __init__(self, file: BinaryIO, attend: Callable[[], bool], pause_ms: int) -> None:
        self._file, self._attend, self._pause_ms = file, attend, pause_ms
        self._raw: Any = getattr(file, "raw", file)  # a buffer may hold what the system says is not there
        self._poll = select.poll()
        self._poll.register(file, select.POLLIN)

    def fileno(self) -> int:
        return self._file.fileno()

    def readable(self) -> bool:
        return True

    def readinto(self, view: Any) -> int:
        """Fill the view with what is there, once there is something; 0 at the end."""
        while not self._poll.poll(self._pause_ms):
            if not self._attend():
                return 0
        count: int = self._raw.readinto(view)
        return count
