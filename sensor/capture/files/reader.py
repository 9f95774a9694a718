"""Shared parts of the readers of the two file formats: limits, counters, reasons why an index kernel stops."""

from typing import Protocol

import numpy as np

from sensor.capture.errors import Broken
from sensor.capture.files.stream import ByteStream
from sensor.counters import READER, names

COUNTERS = names(READER)
"""The counter at each position of a reader's `counts` (int64)."""
PACKETS, BYTES, BAD_SUBSECOND, LONG_CAPLEN, CLAMPED, SKIPPED = range(6)

FULL, MORE = 0, 1
"""Reasons why an index kernel stops: all rows are filled; the next record is incomplete. Others are its own."""


class Reader(Protocol):
    """Finds the packets of one file."""

    stream: ByteStream

    def read(self, frames: np.ndarray, counts: np.ndarray) -> int:
        """Fill rows of `frames` (FRAME) with the next packets and return how many; 0 at the end.

        Offsets refer to `stream.data` after the call. Raises Broken if the file is damaged, once all packets before
        that place have been given.
        """


def cut_short(stream: ByteStream, where: str) -> Broken:
    """Return the error for a stream that ends inside a record."""
    what = f"{stream.fault}," if stream.fault else "the file ends"
    return Broken(stream.offset, f"{what} inside {where}")


def check_end(stream: ByteStream) -> None:
    """Raise Broken if a stream that ends between two records ended early."""
    if stream.fault:
        raise Broken(stream.offset, stream.fault)
