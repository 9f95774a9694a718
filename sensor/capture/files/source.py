"""One input: its format by its first bytes, the time of its first packet, and its frames on request."""

import os
import stat
from typing import BinaryIO

import numpy as np

from sensor.capture.errors import Broken, CaptureError, Damage, shown
from sensor.capture.files.pcap import MAGICS, MODIFIED, Pcap
from sensor.capture.files.pcapng import SECTION, Pcapng
from sensor.capture.files.reader import Reader, check_end
from sensor.capture.files.stream import WINDOW, ByteStream, open_stream
from sensor.packet import FRAME, NO_BYTES

_FOREIGN = {
    b"snoop\0\0\0": "a snoop capture; convert it with editcap",
    b"BZh": "compressed with bzip2; expand it first",
    b"\xfd7zXZ": "compressed with xz; expand it first",
    b"\x04\x22\x4d\x18": "compressed with lz4; expand it first",
    b"\x1f\x8b": "compressed twice; expand it first",
    b"\x28\xb5\x2f\xfd": "compressed twice; expand it first",
}
"""Files often mistaken for readable captures, by their first bytes."""
_EXPECTED = "expected is pcap or pcapng, plain or compressed with gzip or zstd"


def open_reader(stream: ByteStream) -> Reader:
    """Return the reader for the stream's format; Broken if it is no capture file, or an unsupported one."""
    is_long = stream.need(4)
    head = stream.data[: min(stream.filled, 8)].tobytes()
    if not is_long:
        check_end(stream)
        what = "not a capture file" if head else "the file is empty"
        raise Broken(0, f"{what}; {_EXPECTED}", foreign=True)
    numbers = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}
    if numbers & {*MAGICS}:
        return Pcap(stream)
    if SECTION in numbers:
        return Pcapng(stream)
    for number in numbers & {*MODIFIED}:
        raise Broken(0, f"{MODIFIED[number]}, which is not read: convert it with editcap -F pcap", refused=True)
    for start, what in _FOREIGN.items():
        if head.startswith(start):
            raise Broken(0, what, foreign=True)
    raise Broken(0, f"not a capture file: it begins with {head[:4].hex(' ')}; {_EXPECTED}", foreign=True)


class Source:
    """One file, or standard input as "-"."""

    def __init__(self, path: str, order: int, *, stdin: BinaryIO | None = None, window: int = WINDOW) -> None:
        """Open the input and read its header; raises Broken, or CaptureError if it cannot be opened."""
        self.path = path
        self.order = order
        """Position among the inputs, which breaks ties of time."""
        self.damage: Damage | None = None
        self.size: int | None = None
        """Bytes of a regular file; None for a pipe."""
        self.first_ts: int | None = None
        """Time of the first packet (ns), once `look_ahead` has found one."""
        self._stdin = stdin
        self._window = window
        self._done = 0
        self._stream: ByteStream | None = None
        self._reader: Reader | None = None
        self._first = np.zeros(0, FRAME)
        try:
            self.size = _size(path)
            self._open()
        except OSError as error:
            raise CaptureError(f"{shown(path)}: {error.strerror or error}; check its name and permissions") from error
        except Broken:
            self.close()
            raise

    @property
    def data(self) -> np.ndarray:
        """The buffer that holds the last frames."""
        return NO_BYTES if self._stream is None else self._stream.data

    @property
    def done(self) -> int:
        """Bytes of the file that are processed."""
        return self._done if self._stream is None else self._stream.done

    def look_ahead(self, counts: np.ndarray) -> None:
        """Set `first_ts`. A file without packets is finished and counted.

        A regular file is closed again, so that many inputs do not take many descriptors; the rest stay open.
        """
        scratch, row = np.zeros_like(counts), np.zeros(1, FRAME)
        is_empty = self._read(row, scratch) == 0
        if is_empty or self.size is None:
            counts += scratch
        if is_empty:
            return
        self.first_ts = int(row[0]["ts"])
        if self.size is None:
            self._first = row
        else:
            self.close()
            self._done = 0

    def fill(self, frames: np.ndarray, counts: np.ndarray) -> int:
        """Fill rows with the next packets and return how many; 0 at the end or at damage, where the input is closed."""
        if len(self._first):
            frames[:1], self._first = self._first, self._first[:0]
            return 1
        return self._read(frames, counts)

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._done = self._stream.done
            self._stream.close()
        self._stream = self._reader = None

    def _read(self, frames: np.ndarray, counts: np.ndarray) -> int:
        try:
            reader = self._reader or self._open()
            count = reader.read(frames, counts)
        except Broken as broken:
            self.damage, count = Damage(self.path, broken.offset, str(broken)), 0
        except OSError as error:
            self.damage, count = Damage(self.path, 0, f"cannot be opened again: {error.strerror}"), 0
        if count == 0:
            self.close()
            self._done = self.size or self._done
        return count

    def _open(self) -> Reader:
        self._stream = open_stream(self.path, stdin=self._stdin, window=self._window, length=self.size or None)
        self._reader = open_reader(self._stream)
        return self._reader


def _size(path: str) -> int | None:
    if path == "-":
        return None
    status = os.stat(path)
    return status.st_size if stat.S_ISREG(status.st_mode) else None
