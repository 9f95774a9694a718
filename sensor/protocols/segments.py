"""Segments of flows, with the positions of their bytes."""

from typing import NamedTuple

import numpy as np

from sensor.decode.payload import Payloads, together

_NO_BYTES = np.empty(0, np.uint8)


class Segments(NamedTuple):
    """Some segments in order, and the bytes that they carry."""

    rows: np.ndarray
    """SEGMENT rows; the payload of each is `data[at : at + length]`."""
    data: np.ndarray
    """uint8, read-only; valid until `Analyzer.process` returns."""

    def of(self, proto: int) -> "Segments":
        """Return the segments of one IP protocol."""
        return Segments(self.rows[self.rows["proto"] == proto], self.data)


def locate(rows: np.ndarray, payloads: Payloads) -> Segments:
    """Locate the payload of each SEGMENT row: in place if all are in one buffer, else in a copy."""
    rows = rows.copy()
    rows["at"] = rows["length"] = 0
    carrying = np.flatnonzero(rows["row"] >= 0)
    found = payloads.rows[rows["row"][carrying]]
    if not len(found):
        return Segments(rows, _NO_BYTES)
    if len(payloads.buffers) == 1:
        data, at = payloads.buffers[0][:], found["at"]
    else:
        data, at = together(payloads.buffers, found)
    data.flags.writeable = False
    rows["at"][carrying], rows["length"][carrying] = at, found["length"]
    rows["seq"][carrying] -= found["told"]
    return Segments(rows, data)
