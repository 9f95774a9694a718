"""The decoder: turns blocks of frames into packet columns."""

import numpy as np

from sensor.clock import SECOND
from sensor.decode.fragment_table import BLOCK, COUNTERS, MAX_DATAGRAM, FragmentTable, new_table
from sensor.decode.fragments import HEADERS, gather, new_whole, reassemble
from sensor.decode.layers import LINKTYPE, PIECE
from sensor.decode.payload import NO_PAYLOADS, Payloads, locate
from sensor.decode.ports import DecodeOptions, table_of
from sensor.decode.walk import walk_datagrams, walk_frames
from sensor.packet import PACKET, Block
from sensor.weird import Refusal, Weird

LINKTYPES_MAX = 16
"""The number of link types without a decoder that are counted separately: the first seen. A capture has one, rarely
two."""
OTHER_LINKTYPES = -1
"""The number under which further link types are counted."""


class Decoder:
    """Decodes blocks, and keeps state across blocks: counts, and datagrams with missing fragments.

    Rows and counters do not depend on how the packets were cut into blocks.
    """

    def __init__(
        self,
        options: DecodeOptions | None = None,
        *,
        max_fragmented: int = 4096,
        max_fragment_bytes: int = 16 << 20,
        fragment_timeout_ns: int = 30 * SECOND,
    ) -> None:
        """At most `max_fragmented` datagrams (min. 1) wait in `max_fragment_bytes` (min. 64 KiB), until the timeout."""
        if max_fragmented < 1 or max_fragment_bytes <= MAX_DATAGRAM or fragment_timeout_ns < 1:
            raise ValueError("the fragment table needs room for one datagram of 64 KiB, and a timeout above 0")
        self._limits = max_fragmented, max_fragment_bytes // BLOCK
        self._ports = table_of(options or DecodeOptions())
        self._timeout = fragment_timeout_ns
        self._table: FragmentTable | None = None
        self._rows = np.empty(0, np.int64)
        self._packets = np.empty(0, PACKET)
        self._pieces = np.empty(1, PIECE)
        self._weirds = np.zeros(64, np.int64)
        self._refusals = np.zeros(256, np.int64)
        self._linktypes = np.zeros(LINKTYPES_MAX + 1, LINKTYPE)
        self._linktypes["number"][-1] = OTHER_LINKTYPES
        self.locates = False
        """True to record the positions of payloads."""
        self.payloads = NO_PAYLOADS
        """The payload positions of the last block."""

    def decode(self, block: Block) -> np.ndarray:
        """Return PACKET rows for a block's frames, in their order. The next call reuses the array. Raises nothing.

        A refused packet's row is 0 except for ts, caplen, wirelen, refused and weird.
        """
        frames = block.frames
        n = len(frames)
        if len(self._rows) < n:
            self._grow(n)
        packets = self._packets[:n]
        found = 0
        for index, data in enumerate(block.buffers):
            rows = self._rows[:n]
            if len(block.buffers) > 1:
                rows = np.flatnonzero(frames["buffer"] == index)
            found = self._walk(data, frames if len(rows) == n else frames[rows], rows, packets, found)
        if self.locates:
            self.payloads = Payloads(block.buffers, locate(block, packets))
        if found:
            self._reassemble(block, packets, found)
        return packets

    @property
    def packets_decoded(self) -> int:
        """Packets with a decoded network layer."""
        return int(self._refusals[0])

    @property
    def refused(self) -> dict[str, int]:
        """Packets without a decoded network layer, by reason; only reasons that occurred."""
        return {each.name.lower(): int(self._refusals[each]) for each in Refusal if each and self._refusals[each]}

    @property
    def unknown_linktypes(self) -> dict[int, int]:
        """Packets refused because their link type has no decoder, by its LINKTYPE_ number, or OTHER_LINKTYPES."""
        return {number: count for number, count in self._linktypes.tolist() if count}

    @property
    def weirds(self) -> dict[str, int]:
        """Oddities that occurred, by name: counted once per packet."""
        return {each.name.lower(): int(self._weirds[each]) for each in Weird if self._weirds[each]}

    @property
    def fragment_counters(self) -> dict[str, int]:
        """Counts of fragments by outcome, and of datagrams still waiting."""
        if self._table is None:
            return dict.fromkeys((*COUNTERS, "datagrams_waiting"), 0)
        counts = dict(zip(COUNTERS, self._table.counts.tolist(), strict=True))
        return counts | {"datagrams_waiting": self._table.waiting}

    def _grow(self, n: int) -> None:
        self._rows = np.arange(n, dtype=np.int64)
        self._packets = np.empty(n, PACKET)
        self._pieces = np.empty(n + 1, PIECE)  # one more: each walk gets the next piece to write to, fragment or not

    def _walk(self, data: np.ndarray, frames: np.ndarray, rows: np.ndarray, packets: np.ndarray, found: int) -> int:
        data, frames, pieces = _read_only(data), _read_only(frames), self._pieces
        words = packets.view(np.uint64).reshape(len(packets), PACKET.itemsize // 8)
        more = self._ports, self._weirds, self._refusals, self._linktypes
        return int(walk_frames(data, frames, rows, packets, words, pieces, found, *more))

    def _reassemble(self, block: Block, packets: np.ndarray, found: int) -> None:
        """Put the batch's fragments into the table, and decode the datagrams that became whole."""
        if self._table is None:
            self._table = new_table(*self._limits)
            self._whole = new_whole()
        data, pieces = _in_one_buffer(block, self._pieces[:found])
        whole, done, where = self._whole, 0, self.payloads.rows if self.locates else NO_PAYLOADS.rows
        headers = MAX_DATAGRAM if self.locates else HEADERS
        while done < found:
            done, n = reassemble(self._table, self._timeout, data, pieces, done, packets, whole, headers, self._weirds)
            if n:
                out, frames, rows = _read_only(whole.data), _read_only(whole.frames[:n]), whole.rows[:n]
                more = whole.told[:n], self._pieces[-1:], self._ports, self._weirds
                walk_datagrams(out, frames, rows, packets, where, *more)
                if self.locates:
                    self._keep_whole(n)

    def _keep_whole(self, n: int) -> None:
        """Copy the bytes of the `n` datagrams that became whole, as the next ones will overwrite them."""
        whole, rows, used = self._whole, self._whole.rows[:n], int(self._whole.frames["offset"][n - 1])
        data = whole.data[: used + int(whole.frames["caplen"][n - 1])].copy()
        self.payloads.rows["buffer"][rows] = len(self.payloads.buffers)
        self.payloads.rows["length"][rows[whole.is_cut[:n]]] = 0
        self.payloads = Payloads((*self.payloads.buffers, data), self.payloads.rows)


def _read_only(data: np.ndarray) -> np.ndarray:
    """Return a read-only view: memory maps and arrays become one type, so that a kernel is compiled once."""
    view = data[:]
    view.flags.writeable = False
    return view


def _in_one_buffer(block: Block, pieces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return one buffer with the bytes of all fragments, and the fragments in order of their packets."""
    if len(block.buffers) == 1:
        return _read_only(block.buffers[0]), pieces
    owner = block.frames["buffer"][pieces["row"]]
    staging = np.empty(int(np.maximum(pieces["captured"], 0).sum(dtype=np.int64)), np.uint8)
    used = start = 0
    for index in np.unique(owner).tolist():
        stop = start + int(np.count_nonzero(owner == index))
        used = gather(_read_only(block.buffers[index]), pieces, start, stop, staging, used)
        start = stop
    return _read_only(staging), pieces[np.argsort(pieces["row"], kind="stable")]
