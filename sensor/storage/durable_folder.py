"""The disk: the few file operations needed so that the contents of a folder survive a crash.

The journal and the alert file use only `Disk`, so a simulated one can replace a `Folder` and fail or crash at every
step.
"""

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import Protocol

_TEMPORARY = ".new"


class Disk(Protocol):
    """A folder of files, by name. Every method may raise OSError; each documents the file's state after that."""

    def read(self, name: str, start: int = 0, size: int = -1) -> bytes:
        """Return at most `size` bytes from `start`; -1: to the end. FileNotFoundError if the file does not exist."""

    def size(self, name: str) -> int:
        """Return the size of the file in bytes; 0 if it does not exist."""

    def append(self, name: str, data: bytes) -> None:
        """Append to a file, creating it if needed; after an error, part of `data` may be in the file.

        Until `sync`, a crash may remove or garble any of it.
        """

    def sync(self, name: str) -> None:
        """Make the contents and existence of a file durable; after an error, any part of the unsynced data may be."""

    def replace(self, name: str, data: bytes) -> None:
        """Replace the contents of a file durably; after a crash or an error, it holds the old or the new, whole."""

    def truncate(self, name: str, size: int) -> None:
        """Cut off everything beyond `size` bytes; until `sync`, a crash may bring it back."""

    def remove(self, name: str) -> None:
        """Remove a file durably; do nothing if it does not exist. After an error it may still exist."""

    def reopen(self, name: str) -> bool:
        """Close a file that was moved or removed since it was first written to; return True if it was.

        Until this call, writes go to the moved file; `read` and `size` always use the file of that name.
        """

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""


class Tail:
    """The end of a file to which pieces are appended: each piece is whole and durable, or does not count."""

    def __init__(self, disk: Disk, name: str, size: int) -> None:
        self._disk, self.name, self.size = disk, name, size
        self._is_clean = True

    def add(self, data: bytes) -> None:
        """Append a piece durably; after an OSError, `size` is unchanged and the next piece goes to the same place.

        After an error the whole piece is written again, not just synced again: once a system has reported a failed
        page write, it may forget that the page is not on disk.
        """
        self.cut()
        self._is_clean = False
        try:
            self._disk.append(self.name, data)
            self._disk.sync(self.name)
        except OSError:
            # Cut at once if possible, so that nobody reads half a piece or takes unsynced data for durable.
            with contextlib.suppress(OSError):
                self.cut()
            raise
        self.size += len(data)
        self._is_clean = True

    def cut(self) -> None:
        """Cut off the remains of a piece that could not be appended."""
        if not self._is_clean:
            self._disk.truncate(self.name, self.size)
            self._is_clean = True


class Folder:
    """A folder on a real disk; one process at a time may write to a file in it, until `close`.

    A missing folder is created for its owner alone (0700); so are its files (0600).
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
        """Return at most `size` bytes from `start`; -1: to the end."""
        with (self._path / name).open("rb") as file:
            file.seek(start)
            return file.read(size)

    def size(self, name: str) -> int:
        """Return the size of the file in bytes; 0 if it does not exist."""
        try:
            return (self._path / name).stat().st_size
        except FileNotFoundError:
            return 0

    def append(self, name: str, data: bytes) -> None:
        """Append to a file."""
        _write(self._opened(name), data)

    def sync(self, name: str) -> None:
        """Make the contents and existence of a file durable."""
        os.fsync(self._opened(name))
        if name in self._unsynced:
            _sync_folder(self._path)
            self._unsynced.remove(name)

    def replace(self, name: str, data: bytes) -> None:
        """Replace the contents of a file: write a temporary file, then rename it."""
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
        """Cut off everything beyond `size` bytes; a file that is already shorter is left unchanged."""
        file = self._opened(name)
        if os.fstat(file).st_size > size:
            os.ftruncate(file, size)

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._close(name)
        (self._path / name).unlink(missing_ok=True)
        _sync_folder(self._path)

    def reopen(self, name: str) -> bool:
        """Close a file that was moved or removed, as its inode shows; return True if it was."""
        if name not in self._files:
            return False
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._files[name]), (self._path / name).stat()):
                return False
        self._close(name)
        return True

    def names(self) -> list[str]:
        """Return the names of all files, except half-written ones that a crash left behind."""
        return sorted(each.name for each in self._path.iterdir() if each.is_file() and each.suffix != _TEMPORARY)

    def close(self) -> None:
        """Close all files, so that another process may write to them."""
        for name in list(self._files):
            self._close(name)

    def _opened(self, name: str) -> int:
        """Return the file opened and locked for writing; it stays open, as write errors are reported only once."""
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
        """Remove a half-written file to free its space; errors are ignored, as the first error is raised anyway."""
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
