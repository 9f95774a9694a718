"""The alert file: a durable file with exactly one line per alert.

An alert written twice under one id, because its manager restarted after a crash, appears once. Ids are read back from
the last million lines of the file; an id further back counts as new.

Log rotation may move or empty the file at any time without a signal. Each write compares the inode first, and the next
line goes to a new file or to the beginning. Ids already written stay known until the process ends; after that, the
caller must not send them again.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator

from sensor.storage.durable_folder import Disk, Tail
from sensor.words import amount

LONGEST_LINE = 1 << 20
"""Bytes including the line end; an alert has about a thousand."""

_BLOCK = 1 << 20


class AlertFile:
    """Lines in a file, each with an id that can be read from the line.

    `identify` takes a line without its end and returns its id, or None if it is no line of this file; lines have no
    other checksum. Up to `memory_bytes` of lines wait in memory while the disk accepts none; while any are `waiting`,
    the caller must keep their source elsewhere. The ids of the last `remembered` lines are known.
    """

    def __init__(
        self,
        disk: Disk,
        name: str,
        identify: Callable[[bytes], str | None],
        *,
        memory_bytes: int = 64 << 20,
        remembered: int = 1_000_000,
    ) -> None:
        self._disk, self._tail = disk, Tail(disk, name, 0)
        self._identify = identify
        self._memory_bytes, self._remembered = memory_bytes, remembered
        self._ids: set[str] = set()
        self._order: deque[str] = deque()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self.lost = 0
        """Lines refused: the waiting ones filled `memory_bytes`, or the line exceeded `LONGEST_LINE`."""
        self.failures = 0
        """Failed attempts to write lines to disk."""
        self.error = ""
        """The last disk error; empty if the last write succeeded."""

    @property
    def waiting(self) -> int:
        """Lines held in memory until the disk accepts them."""
        return len(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the waiting lines."""
        return self._waiting_bytes

    def open(self) -> list[str]:
        """Read the ids in the file and cut off a torn last line; return messages about anything irregular.

        Call it once, before all else. OSError if the file cannot be read or cut; ValueError if it is another kind of
        file, which is left unchanged.
        """
        size = self._disk.size(self._tail.name)
        end, ids, unreadable = self._read(size)
        if unreadable and not ids:
            raise ValueError(f"{self._tail.name} in {self._disk} has no alerts in it; name another file for them")
        for id in reversed(ids):
            self._remember(id)
        said = [f"{self._tail.name}: {unreadable} of its lines cannot be read, and were left"] if unreadable else []
        return said + self._cut(size, end)

    def write(self, records: list[tuple[str, bytes]]) -> int:
        """Add the lines whose id is not in the file yet, durably; return how many were new and not lost.

        ValueError if a line contains a newline. If the disk accepts none, the lines wait for the next call, which may
        have no records; a disk error is not raised.
        """
        broken = next((id for id, line in records if b"\n" in line), None)
        if broken is not None:
            raise ValueError(f"the alert {broken} is not one line")
        new, takes = 0, True
        for id, line in records:
            if id in self._ids:
                continue
            if takes and not self._has_room(line):
                takes = self._flush()
            if self._has_room(line):
                self._admit(id, line)
                new += 1
            else:
                self.lost += 1
        if takes:
            self._flush()
        return new

    def _read(self, size: int) -> tuple[int, list[str], int]:
        """Return the end of the last whole line (bytes), the ids (last first) and the number of lines without an id."""
        end, unreadable = 0, 0
        ids: list[str] = []
        longest = self._memory_bytes + LONGEST_LINE  # one torn write may leave this much without a line end
        for at, line in _backwards(self._disk, self._tail.name, size, longest):
            if not line.endswith(b"\n"):
                continue
            end = end or at + len(line)
            id = self._identify(line[:-1])
            if id is None:
                unreadable += 1
            else:
                ids.append(id)
            if len(ids) + unreadable == self._remembered:
                break
        return end, ids, unreadable

    def _cut(self, size: int, end: int) -> list[str]:
        """Cut off the torn line and sync the rest: a killed process may not have synced it."""
        name, torn = self._tail.name, size - end
        if torn:
            self._disk.truncate(name, end)
        if size:
            self._disk.sync(name)
        self._tail = Tail(self._disk, name, end)
        what = f"its last {amount(torn, 'byte')}, from byte {end} on"
        return [f"{name}: no whole line, and cut off: {what}"] if torn else []

    def _has_room(self, line: bytes) -> bool:
        size = len(line) + 1
        return size <= LONGEST_LINE and self._waiting_bytes + size <= self._memory_bytes

    def _admit(self, id: str, line: bytes) -> None:
        self._remember(id)
        self._waiting.append(line + b"\n")
        self._waiting_bytes += len(line) + 1

    def _remember(self, id: str) -> None:
        if id not in self._ids:
            self._ids.add(id)
            self._order.append(id)
        if len(self._order) > self._remembered:
            self._ids.remove(self._order.popleft())

    def _flush(self) -> bool:
        """Write the waiting lines; return True if none wait any more."""
        if not self._waiting:
            return True
        try:
            self._follow()
            self._tail.add(b"".join(self._waiting))
        except OSError as error:
            self.failures += 1
            self.error = f"{self._tail.name} in {self._disk}: {error}"
            return False
        self._waiting.clear()
        self._waiting_bytes, self.error = 0, ""
        return True

    def _follow(self) -> None:
        """Continue in a new file if the old one was moved away, or at the current end if it was truncated."""
        name = self._tail.name
        with contextlib.suppress(OSError):
            self._tail.cut()  # so that the moved file ends with a whole line
        if self._disk.reopen(name) or self._disk.size(name) < self._tail.size:
            self._tail = Tail(self._disk, name, self._disk.size(name))


def _backwards(disk: Disk, name: str, size: int, longest: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file from last to first, with their ends, each with its position (bytes)."""
    start, rest = size, b""
    while start:
        begin = max(0, start - _BLOCK)
        rest = disk.read(name, begin, start - begin) + rest
        start, end = begin, len(rest)
        while (newline := rest.rfind(b"\n", 0, end - 1)) >= 0:
            yield start + newline + 1, rest[newline + 1 : end]
            end = newline + 1
        rest = rest[:end]
        if len(rest) > longest:
            raise ValueError(f"{name} in {disk} has a line of over {longest} bytes; name another file for alerts")
    if rest:
        yield 0, rest
