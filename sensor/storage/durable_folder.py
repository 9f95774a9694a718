"""The disk: the few things that must be asked of a folder of files so that what is in them outlives a crash.

All access of the journal and the alert file goes through `Disk`, so that a simulated one can take the place of a
`Folder` and fail or crash at every step.
"""

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import Protocol

_TEMPORARY = ".new"


class Disk(Protocol):
    """A folder of files, by name. Every method may raise OSError; what then is in the file is said below."""

    def read(self, name: str, start: int = 0, size: int = -1) -> bytes:
        """The bytes from `start` on, `size` of them at most; FileNotFoundError if there is no such file."""

    def size(self, name: str) -> int:
        """How many bytes the file has; 0 if there is none."""

    def append(self, name: str, data: bytes) -> None:
        """Add to the end of a file, which is made if there is none; a part of `data` may be there after an error.

        A crash may take any of it, or garble it, until `sync`.
        """

    def sync(self, name: str) -> None:
        """Make durable what the file holds, and that it is there; after an error any part of what was not may be."""

    def replace(self, name: str, data: bytes) -> None:
        """Make the file hold `data`, durably; a crash or an error leaves the old one or the new one, whole."""

    def truncate(self, name: str, size: int) -> None:
        """Cut off what is beyond `size` bytes; a crash may bring it back until `sync`."""

    def remove(self, name: str) -> None:
        """Make the file be gone, durably; nothing happens if there is none. It may be there or not after an error."""

    def reopen(self, name: str) -> bool:
        """Let go of a file that was moved away or removed since it was first written to; whether it was.

        Until then what is written goes where that file is now; `read` and `size` are always of the one of that name.
        """

    def names(self) -> list[str]:
        """The names of all files, sorted."""


class Tail:
    """The end of a file to which pieces are added: each is whole and durable, or does not count."""

    def __init__(self, disk: Disk, name: str, size: int) -> None:
        self._disk, self.name, self.size = disk, name, size
        self._is_clean = True

    def add(self, data: bytes) -> None:
        """Add a piece durably; after an OSError, `size` is as it was, and the next piece goes where this one was to go.

        All of it is written anew after an error, never only synced anew: a system may forget that a page was not
        written once it has said so.
        """
        self.cut()
        self._is_clean = False
        try:
            self._disk.append(self.name, data)
            self._disk.sync(self.name)
        except OSError:
            # At once if possible, so that nobody reads a half, nor takes for durable what is only in memory.
            with contextlib.suppress(OSError):
                self.cut()
            raise
        self.size += len(data)
        self._is_clean = True

    def cut(self) -> None:
        """Cut off what a piece that could not be added has left."""
        if not self._is_clean:
            self._disk.truncate(self.name, self.size)
            self._is_clean = True


class Folder:
    """A folder on a real disk; one process at a time may write to a file in it, until `close`.

    A folder that is not there is made, for its owner alone (0700); so are its files (0600).
    """

    def __init__(self, path: Path) -> None:
        absent = [each for each in (path, *path.parents) if not each.exists()]
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each in absent:
            _sync_folder(each.parent)
        self._path = path
        self._files: dict[str, int] = {}
        self._unsynced: set[str] = set()

    def __str__(self) -> str:
        return str(self._path)

    def read(self, name: str, start: int = 0, size: int = -1) -> bytes:
        """The bytes from `start` on, `size` of them at most."""
        with (self._path / name).open("rb") as file:
            file.seek(start)
            return file.read(size)

    def size(self, name: str) -> int:
        """How many bytes the file has."""
        try:
            return (self._path / name).stat().st_size
        except FileNotFoundError:
            return 0

    def append(self, name: str, data: bytes) -> None:
        """Add to the end of a file."""
        _write(self._opened(name), data)

    def sync(self, name: str) -> None:
        """Make durable what the file holds, and that there is such a file."""
        os.fsync(self._opened(name))
        if name in self._unsynced:
            _sync_folder(self._path)
            self._unsynced.remove(name)

    def replace(self, name: str, data: bytes) -> None:
        """Make the file hold `data`: it is written aside, and then takes the name."""
        aside = name + _TEMPORARY
        try:
            file = self._opened(aside)
            os.ftruncate(file, 0)
            _write(file, data)
            os.fsync(file)
            (self._path / aside).rename(self._path / name)
        except OSError:
            self._discard(aside)
            raise
        self._close(name)
        self._files[name] = self._files.pop(aside)
        self._unsynced = self._unsynced - {aside} | {name}
        _sync_folder(self._path)
        self._unsynced.remove(name)

    def truncate(self, name: str, size: int) -> None:
        """Cut off what is beyond `size` bytes; a file that somebody has cut shorter is left so."""
        file = self._opened(name)
        if os.fstat(file).st_size > size:
            os.ftruncate(file, size)

    def remove(self, name: str) -> None:
        """Make the file be gone."""
        self._close(name)
        (self._path / name).unlink(missing_ok=True)
        _sync_folder(self._path)

    def reopen(self, name: str) -> bool:
        """Let go of a file that was moved away or removed, which is told by its inode; whether it was."""
        if name not in self._files:
            return False
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._files[name]), (self._path / name).stat()):
                return False
        self._close(name)
        return True

    def names(self) -> list[str]:
        """The names of all files, but for those that a crash has left behind half-written."""
        return sorted(each.name for each in self._path.iterdir() if each.is_file() and each.suffix != _TEMPORARY)

    def close(self) -> None:
        """Let go of all files, so that another may write to them."""
        for name in list(self._files):
            self._close(name)

    def _opened(self, name: str) -> int:
        """The file, open for writing by this process alone; it stays so, as errors of writing are told only once."""
        if name not in self._files:
            file = os.open(self._path / name, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(file)
                used = "is in use by another process"
                raise BlockingIOError(errno.EWOULDBLOCK, used, str(self._path / name)) from error
            self._files[name] = file
            self._unsynced.add(name)
        return self._files[name]

    def _close(self, name: str) -> None:
        if name in self._files:
            os.close(self._files.pop(name))

    def _discard(self, name: str) -> None:
        """Remove what was half-written, for the room that it takes; if that fails too, the first error says enough."""
        is_own = name in self._files
        self._close(name)
        if is_own:
            with contextlib.suppress(OSError):
                (self._path / name).unlink()


def _write(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
