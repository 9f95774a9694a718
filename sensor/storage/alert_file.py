"""The alert file: the durable place where alerts go exactly once, a line each.

An alert that is written twice under one id, because its manager began anew after a crash, is there once. The file is
known by its last million lines: an id that is further back is taken for new.

Whoever rotates logs may move the file away, or empty it, at any time and without a signal: before each write it is seen
by its inode, and the next line goes to a new file, or to the beginning. What was told before is still known, until the
process ends; that it is not told again after that is for whoever tells it to know.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator

from sensor.storage.durable_folder import Disk, Tail
from sensor.words import amount

LONGEST_LINE = 1 << 20
"""Bytes, the end of the line included; an alert has about a thousand."""

_BLOCK = 1 << 20


class AlertFile:
    """Lines in a file, each under an id that its line must tell.

    `identify` takes a line without its end and gives its id, None if it is no line of this file: lines have no checksum
    but what it asks of them. Up to `memory_bytes` of lines wait in memory while the disk takes none; what they came of
    must be kept elsewhere as long as any are `waiting`. The ids of the last `remembered` lines are known.
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
        """Lines that were refused: too many were waiting, or they were above `LONGEST_LINE`."""
        self.failures = 0
        """How often the disk failed to take lines."""
        self.error = ""
        """What it said; empty if it took all the last time."""

    @property
    def waiting(self) -> int:
        """Lines that are held in memory for want of a disk that takes them."""
        return len(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        """Their bytes."""
        return self._waiting_bytes

    def open(self) -> list[str]:
        """Remember the ids in the file and cut off a torn last line; says what was not as it should be.

        To be called once, before all else. OSError if the file cannot be read or cut; ValueError if it is another kind
        of file, which is left as it is.
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
        """Add those lines whose id is not there yet, durably; returns how many were new, and not lost.

        ValueError if a line has a newline in it. When the disk takes none, they wait for the next call, which may have
        no records; nothing is raised.
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
        """Where the last whole line ends, the ids, last first, and how many lines have none."""
        end, unreadable = 0, 0
        ids: list[str] = []
        longest = self._memory_bytes + LONGEST_LINE  # as much as one write may have left without an end of line
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
        """Leave whole lines, and make them durable: a process that was killed may not have come to that."""
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
        """Write what waits; whether nothing does any more."""
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
        """Go on in a file of the same name where the one before was moved away, and where it ends if it was emptied."""
        name = self._tail.name
        with contextlib.suppress(OSError):
            self._tail.cut()  # so that no half of a line goes with it
        if self._disk.reopen(name) or self._disk.size(name) < self._tail.size:
            self._tail = Tail(self._disk, name, self._disk.size(name))


def _backwards(disk: Disk, name: str, size: int, longest: int) -> Iterator[tuple[int, bytes]]:
    """The lines of a file from the last to the first, with their ends, and where each begins (bytes)."""
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
