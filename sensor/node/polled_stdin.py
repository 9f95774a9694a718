"""Standard input that is read without going deaf: while no packets come, the manager is heard and answered."""

import io
import select
from collections.abc import Callable
from typing import Any, BinaryIO

from sensor.bell import Bell

_PAUSE_MS = 200
"""Seconds between polls where no bell rings; timed work may be that late."""


def attended(
    file: BinaryIO, attend: Callable[[], bool], *, bell: Bell | None = None, pause_ms: int = _PAUSE_MS
) -> BinaryIO:
    """A file of which nothing was read yet; whoever reads it does `attend` while nothing comes, until that says no.

    `bell`: there is something to attend to, which then does not wait.
    """
    return io.BufferedReader(_Attended(file, attend, bell or Bell(), pause_ms))


class _Attended(io.RawIOBase):
    def __init__(self, file: BinaryIO, attend: Callable[[], bool], bell: Bell, pause_ms: int) -> None:
        self._file, self._attend, self._bell, self._pause_ms = file, attend, bell, pause_ms
        self._raw: Any = getattr(file, "raw", file)  # a buffer may hold what the system says is not there
        self._poll = select.poll()
        self._poll.register(file, select.POLLIN)
        self._poll.register(bell, select.POLLIN)

    def fileno(self) -> int:
        return self._file.fileno()

    def readable(self) -> bool:
        return True

    def readinto(self, view: Any) -> int:
        """Fill the view with what is there, once there is something; 0 at the end."""
        while self._file.fileno() not in (ready := dict(self._poll.poll(self._pause_ms))):
            if ready:
                self._bell.read()
            if not self._attend():
                return 0
        count: int = self._raw.readinto(view)
        return count
