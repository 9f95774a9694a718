"""Payloads: where the bytes lie that packets carry, beside their rows, for whoever looks into them."""

from dataclasses import dataclass

import numpy as np

from sensor._jit import njit
from sensor.packet import Block, Kind

PAYLOAD = np.dtype(
    [
        ("at", "i8"),  # of its first byte in its buffer
        ("length", "i8"),  # bytes that were captured of it, all in that buffer
        ("told", "u4"),  # how many of them the row of an earlier fragment stands for
        ("buffer", "u4"),
    ],
    align=True,
)
"""Where the payload of one packet lies. A datagram in fragments has its payload, all of it, at the fragment that made
it whole; the others have none."""


@dataclass(frozen=True, slots=True)
class Payloads:
    """Where the payloads of some packets lie; good for as long as their block is."""

    buffers: tuple[np.ndarray, ...]
    """uint8 arrays."""
    rows: np.ndarray
    """PAYLOAD, a row a packet; none where nobody looks into payloads."""

    def part(self, start: int, stop: int | None = None) -> "Payloads":
        """Those of some of the packets."""
        return Payloads(self.buffers, self.rows[start:stop])

    def kept(self) -> "Payloads":
        """The same, with a copy of the bytes: good for ever."""
        data, at = together(self.buffers, self.rows)
        rows = self.rows.copy()
        rows["at"], rows["buffer"] = at, 0
        return Payloads((data,), rows)

    def joined(self, others: "Payloads") -> "Payloads":
        """Those of these packets, and then of others."""
        rows = others.rows.copy()
        rows["buffer"] += len(self.buffers)
        return Payloads((*self.buffers, *others.buffers), np.concatenate([self.rows, rows]))


NO_PAYLOADS = Payloads((), np.empty(0, PAYLOAD))


def locate(block: Block, packets: np.ndarray) -> np.ndarray:
    """PAYLOAD rows for the PACKET rows of a block's frames: of TCP and UDP, where a packet holds its whole datagram."""
    rows = np.zeros(len(packets), PAYLOAD)
    rows["at"] = block.frames["offset"] + packets["payload"]
    there = packets["caplen"].astype(np.int64) - packets["payload"]
    is_whole = ((packets["kind"] == Kind.TCP) | (packets["kind"] == Kind.UDP)) & (packets["more"] == 0)
    rows["length"] = np.where(is_whole, np.clip(there, 0, packets["payload_len"]), 0)
    rows["buffer"] = block.frames["buffer"]
    return rows


def together(buffers: tuple[np.ndarray, ...], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of some payloads behind each other, in a buffer of their own, and where each begins in it (int64)."""
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
