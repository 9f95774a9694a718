"""The standard streams of a command: what cannot be written is one line and an exit code, and never a traceback."""

import errno
import io
import os
import select
import sys
from typing import Any, TextIO


class UnwritableError(Exception):
    """Standard output cannot be written; `is_reader_gone`: as it is a pipe that nobody reads any more."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output: {error.strerror}")
        self.is_reader_gone = error.errno == errno.EPIPE


class _Raw(io.RawIOBase):
    """A descriptor that takes all it is given, or says once that it does not: `is_told` no more than that."""

    def __init__(self, number: int, *, is_told: bool) -> None:
        self._number, self._is_told, self._has_failed = number, is_told, False

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if not self._has_failed:
            try:
                self._write(memoryview(data))
            except OSError as error:
                self._fail(error)
        return len(data)

    def _write(self, view: memoryview) -> None:
        while view:
            try:
                view = view[os.write(self._number, view) :]
            except BlockingIOError:
                select.select([], [self._number], [])

    def _fail(self, error: OSError) -> None:
        """Standard error has nobody to be told of, and may have room again later."""
        if self._is_told:
            self._has_failed = True
            raise UnwritableError(error) from None


def guard() -> None:
    """Let standard output raise `UnwritableError` once and be silent then, and standard error be silent always.

    Descriptors that were closed are taken, so that no file or connection that is opened is written to by mistake; to
    write to one of these fails as it did.
    """
    for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is None:
            null = os.open(os.devnull, os.O_RDONLY)
            if null != number:
                os.dup2(null, number)
                os.close(null)
    sys.stdout, sys.stderr = _text(sys.stdout, _Raw(1, is_told=True)), _text(sys.stderr, _Raw(2, is_told=False))


def _text(before: TextIO | None, raw: _Raw) -> io.TextIOWrapper:
    by_line = raw.fileno() == 2 or raw.isatty()
    encoding = before.encoding if before is not None else "utf-8"
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=by_line)


def end() -> None:
    """Write what is left. UnwritableError as ever."""
    sys.stdout.flush()
    sys.stderr.flush()
