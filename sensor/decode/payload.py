"""Payloads: the positions of packets' payload bytes, beside their rows, for protocol analyzers."""

from dataclasses import dataclass

import numpy as np

from sensor._jit import njit
from sensor.packet import Block, Kind

PAYLOAD = np.dtype(
    [
        ("at", "i8"),  # its first byte in its buffer
        ("length", "i8"),  # captured bytes of it, all in that buffer
        ("told", "u4"),  # the first bytes of it that an earlier fragment's row has reported
        ("buffer", "u4"),
    ],
    align=True,
)
"""The position of one packet's payload. A fragmented datagram's whole payload belongs to the fragment that completed
it; the other fragments have none."""


@dataclass(frozen=True, slots=True)
class Payloads:
    """The positions of some packets' payloads; valid as long as their block."""

    buffers: tuple[np.ndarray, ...]
    """uint8 arrays."""
    rows: np.ndarray
    """PAYLOAD, one row per packet; no rows if payloads are not located."""

    def part(self, start: int, stop: int | None = None) -> "Payloads":
        """Return the positions of a part of the packets."""
        return Payloads(self.buffers, self.rows[start:stop])

    def kept(self) -> "Payloads":
        """Return the same with a copy of the bytes, valid without the block."""
        data, at = together(self.buffers, self.rows)
        rows = self.rows.copy()
        rows["at"], rows["buffer"] = at, 0
        return Payloads((data,), rows)

    def joined(self, others: "Payloads") -> "Payloads":
        """Return the positions of these packets followed by those of `others`."""
        rows = others.rows.copy()
        rows["buffer"] += len(self.buffers)
        return Payloads((*self.buffers, *others.buffers), np.concatenate([self.rows, rows]))


NO_PAYLOADS = Payloads((), np.empty(0, PAYLOAD))


def locate(block: Block, packets: np.ndarray) -> np.ndarray:
    """Return PAYLOAD rows for PACKET rows of a block: for TCP and UDP, if a packet holds its whole datagram."""
    rows = np.zeros(len(packets), PAYLOAD)
    rows["at"] = block.frames["offset"] + packets["payload"]
    there = packets["caplen"].astype(np.int64) - packets["payload"]
    is_whole = ((packets["kind"] == Kind.TCP) | (packets["kind"] == Kind.UDP)) & (packets["more"] == 0)
    rows["length"] = np.where(is_whole, np.clip(there, 0, packets["payload_len"]), 0)
    rows["buffer"] = block.frames["buffer"]
    return rows


def together(buffers: tuple[np.ndarray, ...], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the concatenated bytes of some payloads in a new buffer, and the start of each in it (int64)."""
    ends = np.cumsum(rows["length"])
    data, at = np.empty(int(ends[-1]) if len(rows) else 0, np.uint8), ends - rows["length"]
    for number in np.unique(rows["buffer"]).tolist():
        mine = np.flatnonzero(rows["buffer"] == number)
        source = buffers[number][:]
        source.flags.writeable = False
        _copy(source, rows["at"][mine], rows["length"][mine], data, at[mine])
    return data, at


@njit
def _copy(data, starts, lengths, out, to):
    """Copy `lengths[k]` bytes of `data` (uint8) from `starts[k]` on into `out` from `to[k]` on (all int64)."""
    for k in range(starts.shape[0]):
        for i in range(lengths[k]):
            out[to[k] + i] = data[starts[k] + i]
