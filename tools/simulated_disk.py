"""A disk in memory that fails, fills up and crashes as it is told, for whoever tests what must outlive that.

It is as unkind as a real one may be. Of what was not synced, a crash leaves any prefix, of which the last block may be
garbled. Of a file that was being replaced or removed, or where that failed, it leaves what was there before or after.
All choices are drawn from a seed. It has the methods of `sensor.storage.durable_folder.Disk`.
"""

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

_BLOCK = 16
"""Bytes of a block; small, so that small records have several."""
_CRASH = -1
"""In the place of an errno."""


class Crashed(BaseException):
    """The machine has stopped in the middle of an operation; no handler of errors gets to see this."""


@dataclass
class _File:
    content: bytes
    durable: bytes
    """As of the last sync."""
    kept: int
    """Bytes that were neither cut off nor appended since the last sync."""
    forgotten: int = 0
    """Where the bytes end that a failed sync has given up: one that works later does not bring them to the disk."""


class SimulatedDisk:
    """Files by name, in memory; every operation that changes something is counted, and may be made to go wrong."""

    def __init__(self, files: Mapping[str, bytes] = {}, *, seed: int = 0, room: int | None = None) -> None:
        self.operations = 0
        """Changes so far, those that failed included."""
        self.room = room
        """Bytes that all files may have together; None: any number."""
        self.crash_at: int | None = None
        """The operation, counted from 0, in the middle of which the machine stops."""
        self.failures: dict[int, int] = {}
        """Operations that fail, and with which errno; a part of each has been done, or even all."""
        self._random = Random(seed)
        self._files = {name: _File(content, content, len(content)) for name, content in files.items()}
        self._doubts: dict[str, list[_File | None]] = {}

    def __str__(self) -> str:
        return "the simulated disk"

    def read(self, name: str, start: int = 0, size: int = -1) -> bytes:
        """The bytes from `start` on, `size` of them at most."""
        if name not in self._files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        content = self._files[name].content
        return content[start:] if size < 0 else content[start : start + size]

    def size(self, name: str) -> int:
        """How many bytes the file has; 0 if there is none."""
        return len(self._files[name].content) if name in self._files else 0

    def names(self) -> list[str]:
        """The names of all files, sorted."""
        return sorted(self._files)

    def append(self, name: str, data: bytes) -> None:
        """Add to the end of a file, as far as there is room."""
        file = self._files.setdefault(name, _File(b"", b"", 0))
        error = self._error()
        fits = self._fits(len(data))
        file.content += data[:fits] if error is None else data[: self._random.randint(0, fits)]
        self._end(errno.ENOSPC if error is None and fits < len(data) else error)

    def sync(self, name: str) -> None:
        """Make durable the file and what it holds; if that fails, what was not is given up and must be written anew."""
        error = self._error()
        file = self._files[name]
        if error is not None and error != _CRASH:
            file.forgotten = len(file.content)
        elif error is None and file.forgotten <= file.kept:
            self._files[name] = _File(file.content, file.content, len(file.content))
            self._doubts.pop(name, None)
        self._end(error)

    def replace(self, name: str, data: bytes) -> None:
        """Make the file hold `data`; there must be room for the old one beside it."""
        error = self._error()
        if error is None and self._fits(len(data)) < len(data):
            self._end(errno.ENOSPC)
        self._change(name, _File(data, data, len(data)), error)

    def truncate(self, name: str, size: int) -> None:
        """Cut off what is beyond `size` bytes."""
        error = self._error()
        file = self._files[name]
        if error is None and size < len(file.content):
            file.content = file.content[:size]
            file.kept, file.forgotten = min(file.kept, size), min(file.forgotten, size)
        self._end(error)

    def remove(self, name: str) -> None:
        """Make the file be gone."""
        self._change(name, None, self._error())

    def reopen(self, name: str) -> bool:
        """Nobody moves its files away."""
        return False

    def close(self) -> None:
        """Nothing is held open."""

    def after_crash(self, *, survives: int | None = None) -> "SimulatedDisk":
        """The disk as the machine finds it when it starts again.

        With `survives`, so many bytes of each file that were not synced are there, and not garbled.
        """
        found = {}
        for name in sorted(self._files.keys() | self._doubts.keys()):
            file = self._random.choice([self._files.get(name), *self._doubts.get(name, [])])
            if file is not None:
                found[name] = self._survivor(file, survives)
        return SimulatedDisk(found, seed=self._random.randrange(1 << 30), room=self.room)

    def _survivor(self, file: _File, survives: int | None) -> bytes:
        if survives is not None:
            return file.content[: file.kept + survives]
        if self._random.random() < 0.2:
            return file.durable
        end = self._random.randint(file.kept, len(file.content))
        content = bytearray(file.content[:end])
        if end > file.kept and self._random.random() < 0.3:
            start = max(file.kept, end - _BLOCK)
            content[start:] = self._random.choice([bytes(end - start), self._random.randbytes(end - start)])
        elif self._random.random() < 0.3:
            content += file.durable[end:]
        return bytes(content)

    def _change(self, name: str, after: _File | None, error: int | None) -> None:
        """Put a file in the place of another; if that fails, either may be seen, and either be found after a crash."""
        before = self._files.get(name)
        if error is None:
            self._doubts.pop(name, None)
        else:
            self._doubts.setdefault(name, []).extend([before, after])
            after = self._random.choice([before, after])
        self._files.pop(name, None)
        if after is not None:
            self._files[name] = after
        self._end(error)

    def _fits(self, size: int) -> int:
        if self.room is None:
            return size
        return max(0, min(size, self.room - sum(len(file.content) for file in self._files.values())))

    def _error(self) -> int | None:
        """What goes wrong with the operation that begins: an errno, or a crash."""
        operation, self.operations = self.operations, self.operations + 1
        return _CRASH if operation == self.crash_at else self.failures.get(operation)

    def _end(self, error: int | None) -> None:
        if error == _CRASH:
            raise Crashed
        if error is not None:
            raise OSError(error, os.strerror(error))
