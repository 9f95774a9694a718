"""The decoder: blocks of frames in, packet columns out."""

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
"""Link types without a decoder that are told apart, the first ones: a capture has one, rarely two."""
OTHER_LINKTYPES = -1
"""What the others are counted under."""


class Decoder:
    """Decodes blocks, and keeps what must outlive one: counts, and datagrams of which fragments are missing.

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
        """At most `max_fragmented` datagrams (1 at least) wait, in `max_fragment_bytes` (64 KiB at least), so long."""
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
        """Whether to say where the payloads lie."""
        self.payloads = NO_PAYLOADS
        """Where those of the last block lie."""

    def decode(self, block: Block) -> np.ndarray:
        """PACKET rows for the frames of a block, in their order. The array is reused by the next call. Raises nothing.

        A refused packet's row is 0 but for ts, caplen, wirelen, refused and weird.
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
        """Packets of which a network layer was understood."""
        return int(self._refusals[0])

    @property
    def refused(self) -> dict[str, int]:
        """Packets of which none was, by reason: those that occurred."""
        return {each.name.lower(): int(self._refusals[each]) for each in Refusal if each and self._refusals[each]}

    @property
    def unknown_linktypes(self) -> dict[int, int]:
        """Packets refused for want of a decoder of their link type, by its LINKTYPE_ number, or OTHER_LINKTYPES."""
        return {number: count for number, count in self._linktypes.tolist() if count}

    @property
    def weirds(self) -> dict[str, int]:
        """Oddities that occurred, by name: once a packet each."""
        return {each.name.lower(): int(self._weirds[each]) for each in Weird if self._weirds[each]}

    @property
    def fragment_counters(self) -> dict[str, int]:
        """What became of the fragments, and how many datagrams still wait."""
        if self._table is None:
            return dict.fromkeys((*COUNTERS, "datagrams_waiting"), 0)
        counts = dict(zip(COUNTERS, self._table.counts.tolist(), strict=True))
        return counts | {"datagrams_waiting": self._table.waiting}

    def _grow(self, n: int) -> None:
        self._rows = np.arange(n, dtype=np.int64)
        self._packets = np.empty(n, PACKET)
        self._pieces = np.empty(n + 1, PIECE)  # one to spare: each walk is lent the next, fragment or not

    def _walk(self, data: np.ndarray, frames: np.ndarray, rows: np.ndarray, packets: np.ndarray, found: int) -> int:
        data, frames, pieces = _read_only(data), _read_only(frames), self._pieces
        words = packets.view(np.uint64).reshape(len(packets), PACKET.itemsize // 8)
        more = self._ports, self._weirds, self._refusals, self._linktypes
        return int(walk_frames(data, frames, rows, packets, words, pieces, found, *more))

    def _reassemble(self, block: Block, packets: np.ndarray, found: int) -> None:
        """Put the batch's fragments into the table, and go on with the rows whose datagrams became whole."""
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
        """Keep the bytes of the datagrams that are whole, as the next ones will take their place."""
        whole, rows, used = self._whole, self._whole.rows[:n], int(self._whole.frames["offset"][n - 1])
        data = whole.data[: used + int(whole.frames["caplen"][n - 1])].copy()
        self.payloads.rows["buffer"][rows] = len(self.payloads.buffers)
        self.payloads.rows["length"][rows[whole.is_cut[:n]]] = 0
        self.payloads = Payloads((*self.payloads.buffers, data), self.payloads.rows)


def _read_only(data: np.ndarray) -> np.ndarray:
    """A view that cannot be written: memory maps and arrays become one type, so that a kernel is compiled once."""
    view = data[:]
    view.flags.writeable = False
    return view


def _in_one_buffer(block: Block, pieces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The fragments in order of their packets, and one buffer with all their bytes."""
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
