"""What the readers of the two file formats share: the limits, the counters, how an index kernel says why it stopped."""

from typing import Protocol

import numpy as np

from sensor.capture.errors import Broken
from sensor.capture.files.stream import ByteStream
from sensor.counters import READER, names

COUNTERS = names(READER)
"""What each position of a reader's `counts` (int64) counts."""
PACKETS, BYTES, BAD_SUBSECOND, LONG_CAPLEN, CLAMPED, SKIPPED = range(6)

FULL, MORE = 0, 1
"""Why an index kernel stopped: no row is left for a frame; the next record is not wholly there. Others are its own."""


class Reader(Protocol):
    """Finds the packets of one file."""

    stream: ByteStream

    def read(self, frames: np.ndarray, counts: np.ndarray) -> int:
        """Fill rows of `frames` (FRAME) with the next packets and return how many; 0 at the end.

        Offsets are into `stream.data` as it is on return. Raises Broken where the file is damaged, when all packets
        before that place have been given.
        """


def cut_short(stream: ByteStream, where: str) -> Broken:
    """The error for a stream that ends inside something."""
    what = f"{stream.fault}," if stream.fault else "the file ends"
    return Broken(stream.offset, f"{what} inside {where}")


def check_end(stream: ByteStream) -> None:
    """At a stream's end, between two records: raises Broken if that end came too soon."""
    if stream.fault:
        raise Broken(stream.offset, stream.fault)
