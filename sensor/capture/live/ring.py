"""A TPACKET_V3 ring in use: indexes the frames of each kernel block in place, and then returns the block.

<linux/if_packet.h> defines what the kernel writes. The kernel owns a block until it sets the status to user; then the
block is ours, also to write, until we set the status back. A VLAN tag that the kernel removed from a frame is written
back, so that the frame is as on the wire and as in a file: its addresses move forward, onto a sockaddr_ll that is not
needed.
"""

import socket
import struct

import numpy as np

from sensor._jit import njit
from sensor.capture.bpf.program import CELLS, attach, drop_all
from sensor.capture.bpf.run import judge
from sensor.capture.live.af_packet import LINKTYPE_ETHERNET, PACKET_STATISTICS, SOL_PACKET, Geometry, Opened
from sensor.capture.live.mapping import Mapping
from sensor.capture.prefetch import fetch
from sensor.clock import SECOND
from sensor.counters import RING, names
from sensor.packet import FRAME

_STATUS, _PACKETS, _FIRST, _LENGTH = 2, 3, 4, 5  # words of a block's header: tpacket_block_desc
_HEADER = 48  # bytes of a frame's header: tpacket3_hdr
_KERNEL, _USER = 0, 1
_TAGGED, _TPID = 1 << 4, 1 << 6  # TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID
_ADDRESSES = 12  # bytes of an Ethernet header before the tag
_8021Q, _TAG = 0x8100, 4
_SHORT = 1024  # mean bytes of frames up to which fetching the whole block beforehand pays

COUNTERS = names(RING)
"""The counter at each position of a ring's `counts` (int64). kernel_packets = packets_delivered + ring_drops, once the
ring is empty."""
KERNEL, DROPS, FREEZES, DELIVERED, FILTERED, MALFORMED, BYTES = range(7)

BLOCK, AT, LEFT = range(3)
"""Positions in a ring's walk: the block, the address of its next header, and the frames left in it."""


@njit
def walk_block(data, halves, words, begin, end, at, left, snaplen, given, frames, n, tagged):
    """Fill FRAME rows from row `n` on with the `left` frames of the block data[begin:end], whose next header is `at`.

    Return (rows, address of the next header, frames left, malformed frames, rows in `tagged`). data: uint8, the ring;
    halves and words: the ring as uint16 and uint32; given: a FRAME row with the common fields; tagged: int64, rows
    whose tag was written back. A header that leads out of the block makes the rest of the block malformed.
    """
    is_ethernet = given[0]["linktype"] == LINKTYPE_ETHERNET
    tags = 0
    while left and n < frames.shape[0]:
        if at < begin or at + _HEADER > end or at & 3:
            return n, at, 0, left, tags
        word = at >> 2
        caplen, wirelen = np.int64(words[word + 3]), np.int64(words[word + 4])
        status, start = words[word + 5], at + np.int64(halves[(at >> 1) + 12])
        if start < at + _HEADER + _TAG or start + caplen > end:
            return n, at, 0, left, tags
        if status & _TAGGED and is_ethernet:
            tpid = halves[(at >> 1) + 18] if status & _TPID else _8021Q
            start, caplen = _put_tag_back(data, start, caplen, snaplen, tpid, words[word + 8])
            wirelen += _TAG
            tagged[tags] = n
            tags += 1
        frames[n] = given[0]
        frames["ts"][n] = np.int64(words[word + 1]) * SECOND + np.int64(words[word + 2])
        frames["offset"][n] = start
        frames["caplen"][n] = caplen
        frames["wirelen"][n] = wirelen
        n += 1
        left -= 1
        step = np.int64(words[word])
        if left and step < _HEADER:  # an endless loop
            return n, at, 0, left, tags
        at += step
    return n, at, left, 0, tags


@njit
def _put_tag_back(data, start, caplen, snaplen, tpid, tci):
    """Move the addresses forward by a tag, and write it behind them; return the frame's new bounds. data: uint8."""
    if caplen < _ADDRESSES:  # the tag would lie behind the captured bytes
        return start, caplen
    for i in range(start, start + _ADDRESSES):
        data[i - _TAG] = data[i]
    tag = start + _ADDRESSES - _TAG
    data[tag], data[tag + 1] = tpid >> 8 & 0xFF, tpid & 0xFF
    data[tag + 2], data[tag + 3] = tci >> 8 & 0xFF, tci & 0xFF
    return start - _TAG, min(caplen + _TAG, max(snaplen, caplen))


@njit
def walk_blocks(data, halves, words, block_bytes, ready, where, snaplen, given, frames, tagged):
    """Fill FRAME rows with the frames of up to `ready` blocks, which the kernel has handed over, starting at `where`.

    `where` (int64, by BLOCK, AT and LEFT) is a block, its next header and the frames left in it; it is moved on. Return
    (rows, malformed frames, rows in `tagged`, blocks that have ended). For the rest, see `walk_block`.
    """
    n = malformed = tags = ended = 0
    while ended < ready and n < frames.shape[0]:
        begin = where[BLOCK] * block_bytes
        if not where[LEFT]:
            head = begin >> 2
            where[AT], where[LEFT] = begin + np.int64(words[head + _FIRST]), np.int64(words[head + _PACKETS])
            length = np.int64(words[head + _LENGTH])
            if length < where[LEFT] * _SHORT:
                fetch(data, begin, begin + min(length, block_bytes))
        n, where[AT], where[LEFT], bad, more = walk_block(
            data,
            halves,
            words,
            begin,
            begin + block_bytes,
            where[AT],
            where[LEFT],
            snaplen,
            given,
            frames,
            n,
            tagged[tags:],
        )
        malformed += bad
        tags += more
        if not where[LEFT]:
            ended += 1
            where[BLOCK] = (where[BLOCK] + 1) % (data.shape[0] // block_bytes)
    return n, malformed, tags, ended


class Ring:
    """The frames of one opened socket."""

    def __init__(self, opened: Opened, counts: np.ndarray, *, number: int = 0) -> None:
        """`counts` (int64) is increased by the counts; `number` is for the frames' columns `buffer` and `interface`."""
        self.socket: socket.socket = opened.socket
        self._geometry: Geometry = opened.settings.ring
        self._mapping = Mapping(opened.socket, self._geometry.size)
        self.data = self._mapping.data
        """The buffer that holds all frames."""
        self._halves, self._words = self.data.view(np.uint16), self.data.view(np.uint32)
        self._snaplen = opened.settings.snaplen
        self._program = opened.settings.program
        self._given = np.zeros(1, FRAME)
        self._given["linktype"], self._given["interface"], self._given["buffer"] = opened.linktype, number, number
        self._memory = np.zeros(CELLS, np.int64)
        self._tagged = np.empty(0, np.int64)
        self._counts = counts
        self.is_more = False
        """True if the last `read` ended because its rows were full."""
        self._where = np.zeros(3, np.int64)
        self._waiting = 0
        self._ended = 0  # blocks before that one, which the next `read` returns to the kernel

    @property
    def waiting(self) -> int:
        """Packets that the kernel has put into the ring and that have not been read."""
        self.read_statistics()
        return self._waiting

    @property
    def is_filling(self) -> bool:
        """True if a quarter of the ring or more waits to be read or returned."""
        return self._is_ready(int(self._where[BLOCK]) + self._geometry.blocks // 4)

    def read(self, frames: np.ndarray) -> np.ndarray:
        """Fill FRAME rows with the next frames, without waiting, and return the rows filled.

        The frames of the last call go back to the kernel: their bytes become invalid.
        """
        self._release()
        self.read_statistics()
        if len(self._tagged) < len(frames):
            self._tagged = np.empty(len(frames), np.int64)
        n, malformed, tags, self._ended = walk_blocks(
            self.data,
            self._halves,
            self._words,
            self._geometry.block_bytes,
            self._ready(len(frames)),
            self._where,
            self._snaplen,
            self._given,
            frames,
            self._tagged,
        )
        self.is_more = n == len(frames)
        self._counts[MALFORMED] += malformed
        self._counts[DELIVERED] += n + malformed
        self._waiting -= n + malformed
        found = self._select(frames[:n], self._tagged[:tags])
        self._counts[BYTES] += int(found["caplen"].sum())
        return found

    def shut(self) -> None:
        """Let no more frames in; those in the ring can still be read."""
        attach(self.socket, drop_all())

    def read_statistics(self) -> None:
        """Add up the kernel's counts: 32 bits each, which reading sets to 0, so nothing else may read them."""
        statistics = self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12)
        packets, drops, freezes = struct.unpack("3I", statistics)
        self._counts[KERNEL] += packets
        self._counts[DROPS] += drops
        self._counts[FREEZES] += freezes
        self._waiting += packets - drops

    def close(self) -> None:
        """Close the socket and release its memory; frames that a caller still holds become zeros."""
        self.socket.close()
        self._mapping.close()

    def _ready(self, packets: int) -> int:
        """Return the number of consecutive blocks that are ours, as far as needed for so many packets, and one more.

        The status is read here, well before a compiled kernel reads the block, so that the two reads are not reordered.
        """
        first, ready = int(self._where[BLOCK]), 0
        packets += int(self._words[self._head(first) + _PACKETS])  # some of them may be read already
        while packets > 0 and ready < self._geometry.blocks and self._is_ready(first + ready):
            packets -= int(self._words[self._head(first + ready) + _PACKETS])
            ready += 1
        return ready

    def _is_ready(self, block: int) -> bool:
        return bool(self._words[self._head(block) + _STATUS] & _USER)

    def _head(self, block: int) -> int:
        """Return the first word of a block; numbers continue after the last block."""
        return block % self._geometry.blocks * self._geometry.block_bytes >> 2

    def _release(self) -> None:
        first = int(self._where[BLOCK]) - self._ended
        for block in range(first, first + self._ended):
            self._words[self._head(block) + _STATUS] = _KERNEL
        self._ended = 0

    def _select(self, frames: np.ndarray, tagged: np.ndarray) -> np.ndarray:
        """Return the frames that the filter accepts; the kernel left those with a removed tag to this check."""
        if self._program is None or not len(tagged):
            return frames
        keep = np.ones(len(frames), np.bool_)
        dropped = judge(self._program.code, self.data, frames, tagged, self._memory, keep)
        self._counts[FILTERED] += dropped
        return frames[keep] if dropped else frames
