"""The spool: a worker's numbered messages that are not acknowledged yet, in memory and, when that is full, on disk.

It need not outlive its process, as a restarted worker is another incarnation. So the disk part uses unnamed files: the
system removes them with the process, however it ends.
"""

import errno
import os
import zlib
from array import array
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

SEGMENTS = 16
"""Number of files that share the disk space; each is freed as a whole."""
OVERHEAD = 64
"""Bytes charged per message besides its own, in memory or on disk; roughly the actual overhead in memory.

A message on disk needs no extra disk space, but 12 bytes of memory; so this bounds that memory too, to a fifth of
`disk_bytes` at worst.
"""


class SpoolError(Exception):
    """A message cannot be read back; the text gives its number and the reason."""


class Spool:
    """Messages in order, numbered from 1: each goes to memory, to disk when memory is full, or is refused.

    While there are messages on disk, newer ones go there too, until the disk share is full; then they go to memory. A
    message that takes more than a 16th of `disk_bytes` is held in memory only. Without `folder` no disk is used. A
    missing folder is created for its owner alone; OSError if that fails.
    """

    def __init__(self, folder: Path | None, memory_bytes: int, disk_bytes: int) -> None:
        self._folder = folder
        self._memory_bytes = memory_bytes
        self._segment_bytes = disk_bytes // SEGMENTS
        self._memory: dict[int, bytes] = {}
        self._segments: deque[_Segment] = deque()
        self._in_memory = 0
        self.first = 1
        """The oldest held message; `last` + 1 if none is held."""
        self.last = 0
        """The newest accepted message."""
        self.nbytes = 0
        """Bytes of all held messages."""
        self.refused = 0
        """Number of refusals."""
        self.disk_errors = 0
        """Number of failed writes to disk."""
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def counters(self) -> dict[str, int]:
        """Counts of refusals and disk errors, by name."""
        return {"spool_refused": self.refused, "spool_disk_errors": self.disk_errors}

    def append(self, sequence: int, message: bytes) -> bool:
        """Hold the message after the last one (else ValueError); False if there is no room: offer it again later."""
        if sequence != self.last + 1:
            raise ValueError(f"message {sequence} cannot follow message {self.last} in the spool")
        is_held = self._to_memory(message) if not self._segments else False
        is_held = is_held or self._to_disk(message) or self._to_memory(message)
        if not is_held:
            self.refused += 1
            return False
        self.last = sequence
        self.nbytes += len(message)
        return True

    def after(self, sequence: int) -> Iterator[tuple[int, bytes]]:
        """Yield the held messages after `sequence` in order, and any added meanwhile; `SpoolError` if one is lost."""
        while (sequence := max(sequence + 1, self.first)) <= self.last:
            yield sequence, self._read(sequence)

    def release(self, sequence: int) -> None:
        """Drop all messages up to `sequence`, which are acknowledged; a number above `last` counts as `last`."""
        while self.first <= min(sequence, self.last):
            self._release_first()
            self.first += 1

    def close(self) -> None:
        """Close the files."""
        for segment in self._segments:
            segment.close()

    def _to_memory(self, message: bytes) -> bool:
        if self._in_memory + len(message) + OVERHEAD > self._memory_bytes:
            return False
        self._memory[self.last + 1] = message
        self._in_memory += len(message) + OVERHEAD
        return True

    def _to_disk(self, message: bytes) -> bool:
        if self._folder is None or len(message) + OVERHEAD > self._segment_bytes:
            return False
        try:
            return self._to_open_segment(message) or self._to_new_segment(self._folder, message)
        except OSError:
            self.disk_errors += 1
            return False

    def _to_open_segment(self, message: bytes) -> bool:
        if not self._segments or not self._segments[-1].takes(self.last + 1, message):
            return False
        self._segments[-1].append(message)
        return True

    def _to_new_segment(self, folder: Path, message: bytes) -> bool:
        if len(self._segments) == SEGMENTS:
            return False
        segment = _Segment(folder, self.last + 1, self._segment_bytes)
        try:
            segment.append(message)
        except OSError:
            segment.close()
            raise
        self._segments.append(segment)
        return True

    def _release_first(self) -> None:
        message = self._memory.pop(self.first, None)
        if message is not None:
            self._in_memory -= len(message) + OVERHEAD
            self.nbytes -= len(message)
            return
        segment = self._segments[0]
        self.nbytes -= segment.length(self.first)
        if segment.following == self.first + 1:
            self._segments.popleft().close()

    def _read(self, sequence: int) -> bytes:
        message = self._memory.get(sequence)
        if message is not None:
            return message
        segment = next(each for each in self._segments if sequence < each.following)
        try:
            return segment.read(sequence)
        except OSError as error:
            raise SpoolError(
                f"message {sequence} cannot be read back from the spool in {self._folder}: {error}; "
                "see the kernel's log for what the disk has, then restart the worker"
            ) from error


class _Segment:
    """Consecutive messages in an unnamed file."""

    def __init__(self, folder: Path, first: int, room: int) -> None:
        self._file = TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - open as long as the segment is held
        self._first, self._room = first, room
        self._ends = array("Q", [0])
        self._checksums = array("I")

    @property
    def following(self) -> int:
        """The number after its last message."""
        return self._first + len(self._checksums)

    def takes(self, sequence: int, message: bytes) -> bool:
        """Return True if the message follows the last one and fits."""
        taken = self._ends[-1] + len(self._checksums) * OVERHEAD
        return sequence == self.following and taken + len(message) + OVERHEAD <= self._room

    def append(self, message: bytes) -> None:
        """Append a message; after an OSError the next one overwrites its remains."""
        rest, end = memoryview(message), self._ends[-1]
        while rest:
            written = os.pwrite(self._file.fileno(), rest, end)
            rest, end = rest[written:], end + written
        self._ends.append(end)
        self._checksums.append(zlib.crc32(message))

    def length(self, sequence: int) -> int:
        """Return the length of a message (bytes)."""
        i = sequence - self._first
        return self._ends[i + 1] - self._ends[i]

    def read(self, sequence: int) -> bytes:
        """Return a message; OSError if it differs from what was written."""
        i = sequence - self._first
        message = os.pread(self._file.fileno(), self.length(sequence), self._ends[i])
        if len(message) != self.length(sequence) or zlib.crc32(message) != self._checksums[i]:
            raise OSError(errno.EIO, "it is not what was written")
        return message

    def close(self) -> None:
        """Close the file and free its disk space."""
        self._file.close()
