"""The pcapng file format (draft-ietf-opsawg-pcapng): sections of either byte order, each with its interfaces.

The kernel walks the blocks and returns to Python for rare cases: a section, an interface, a block longer than the bytes
at hand. A block is damaged where libpcap and Wireshark call it damaged: nothing after it can be trusted.
"""

import numpy as np

from sensor._jit import njit
from sensor.capture.errors import Broken
from sensor.capture.files.byte_order import Order, u16, u32
from sensor.capture.files.pcapng_interface import INTERFACE, parse_interface, to_ns
from sensor.capture.files.reader import (
    BYTES,
    CLAMPED,
    FULL,
    LONG_CAPLEN,
    MORE,
    PACKETS,
    SKIPPED,
    check_end,
    cut_short,
)
from sensor.capture.files.stream import ByteStream
from sensor.packet import CAPLEN_MAX

BLOCK_MAX = 512 << 10
"""The longest block that is parsed: twice the longest packet. Longer ones of unknown kinds are skipped."""
INTERFACES_MAX = 65535
"""The most interfaces of one section."""

SECTION, INTERFACE_BLOCK, PACKET_BLOCK, SIMPLE, ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_U32 = np.uint64(32)

_BAD_LENGTH, _MISMATCH, _TOO_LONG, _TOO_SHORT, _NO_INTERFACE, _OVERSIZE, _FOUND, _SKIP = range(2, 10)
_FAULTS = {
    _BAD_LENGTH: "a block of {length} bytes cannot be",
    _MISMATCH: "a block does not end with its length, {length}",
    _TOO_LONG: "a block of {length} bytes is more than " + str(BLOCK_MAX) + ", the most that is read",
    _TOO_SHORT: "a packet is longer than its block of {length} bytes",
    _NO_INTERFACE: "a packet is of an interface that was not described",
    _OVERSIZE: "a packet claims more than " + str(CAPLEN_MAX) + " captured bytes",
}

STATE = np.dtype([("big", "?"), ("interfaces", "i8"), ("first", "i8"), ("last_ts", "i8")], align=True)
"""The state of reading a file: byte order, interfaces of this section and before it, time of the last packet."""


@njit
def _packet_fields(data, at, kind, big):
    """Return interface, ticks, caplen, wirelen, start of data, and whether there is a time, of a packet block.

    data: uint8.
    """
    if kind == SIMPLE:
        wirelen = u32(data, at + 8, big)
        return np.int64(0), np.uint64(0), wirelen, wirelen, np.int64(12), False
    which = u32(data, at + 8, big) if kind == ENHANCED else u16(data, at + 8, big)
    ticks = np.uint64(u32(data, at + 12, big)) << _U32 | np.uint64(u32(data, at + 16, big))
    return which, ticks, u32(data, at + 20, big), u32(data, at + 24, big), np.int64(28), True


@njit
def _check_block(data, at, end, kind, length, big):
    """Return the reason why the block at `at` of `data` (uint8) cannot be read as it is; FULL if it can."""
    is_packet = kind in (ENHANCED, SIMPLE, PACKET_BLOCK)
    if kind == SECTION:
        return _FOUND
    if length < 12 or length & 3 != 0:
        return _BAD_LENGTH
    if is_packet and length < (16 if kind == SIMPLE else 32):
        return _TOO_SHORT
    if length > BLOCK_MAX and (is_packet or kind == INTERFACE_BLOCK):
        return _TOO_LONG
    if kind == INTERFACE_BLOCK:
        return _FOUND
    if end - at < length:
        return MORE if is_packet else _SKIP
    if u32(data, at + length - 4, big) != length:
        return _MISMATCH
    return FULL


@njit
def index_blocks(data, at, end, state, interfaces, frames, n, counts):
    """Fill FRAME rows from row n on from the blocks in data[at:end]; return (rows, start of the next block, reason).

    data: uint8; state: one STATE row; interfaces: INTERFACE rows; counts: int64, by the positions in `reader.py`.
    """
    big = state[0]["big"]
    while n < frames.shape[0]:
        if end - at < 12:
            return n, at, MORE
        kind, length = u32(data, at, big), u32(data, at + 4, big)
        why = _check_block(data, at, end, kind, length, big)
        if why != FULL:
            return n, at, why
        if kind not in (ENHANCED, SIMPLE, PACKET_BLOCK):
            counts[SKIPPED] += 1
            at += length
            continue
        which, ticks, caplen, wirelen, head, has_time = _packet_fields(data, at, kind, big)
        if which >= state[0]["interfaces"]:
            return n, at, _NO_INTERFACE
        interface = interfaces[which]
        if kind == SIMPLE and 0 < interface["snaplen"] < caplen:
            caplen = interface["snaplen"]
        if caplen > CAPLEN_MAX:
            return n, at, _OVERSIZE
        if caplen > length - head - 4:
            return n, at, _TOO_SHORT
        if has_time:
            ts, clamped = to_ns(ticks, interface)
            counts[CLAMPED] += clamped
            state[0]["last_ts"] = ts
        frames["ts"][n] = state[0]["last_ts"]
        frames["offset"][n] = at + head
        frames["caplen"][n] = caplen
        frames["wirelen"][n] = wirelen
        frames["buffer"][n] = 0
        frames["linktype"][n] = interface["linktype"]
        frames["interface"][n] = min(state[0]["first"] + which, INTERFACES_MAX)
        counts[PACKETS] += 1
        counts[BYTES] += caplen
        counts[LONG_CAPLEN] += caplen > wirelen
        at += length
        n += 1
    return n, at, FULL


class Pcapng:
    """Reads a pcapng file; raises Broken if its first section's header is damaged."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self._state = np.zeros(1, STATE)
        self._interfaces = np.zeros(16, INTERFACE)
        self._take_section(may_move=True)

    def read(self, frames: np.ndarray, counts: np.ndarray) -> int:
        """Fill rows of `frames` with the next packets; see Reader.

        Once frames were found, the window must not move, so only the bytes at hand are read; an error then waits for
        the next call, which meets it again.
        """
        stream, n = self.stream, 0
        while True:
            n, stream.at, why = index_blocks(
                stream.data, stream.at, stream.filled, self._state, self._interfaces, frames, n, counts
            )
            if why == FULL:
                return int(n)
            try:
                continues = self._continue(int(why), counts, may_move=n == 0)
            except Broken:
                if n == 0:
                    raise
                continues = False
            if not continues:
                return int(n)

    def _continue(self, why: int, counts: np.ndarray, *, may_move: bool) -> bool:
        """Handle the kernel's reason to stop; return True to continue, False to return."""
        if why in _FAULTS:
            raise Broken(self.stream.offset, _FAULTS[why].format(length=self._word(4)))
        if why == _FOUND:
            return self._take_section(may_move) if self._word(0) == SECTION else self._take_interface(may_move)
        if not may_move:
            return False
        if why == _SKIP:
            self._skip_block(counts)
            return True
        if self.stream.need(self.stream.left + 1):
            return True
        if self.stream.left:
            raise cut_short(self.stream, f"a block, after {self.stream.left} bytes")
        check_end(self.stream)
        return False

    def _take_section(self, may_move: bool) -> bool:
        """Start a new section; return False if the window would have to move for it."""
        stream = self.stream
        if not self._at_hand(28, may_move, "a section header"):
            return False
        order: Order = "big" if self._bytes(8, 12) == _BYTE_ORDER_MAGIC.to_bytes(4, "big") else "little"
        if int.from_bytes(self._bytes(8, 12), order) != _BYTE_ORDER_MAGIC:
            raise Broken(stream.offset, "a section header has no byte-order magic")
        length, version = (int.from_bytes(self._bytes(*span), order) for span in ((4, 8), (12, 14)))
        if version != 1:
            raise Broken(stream.offset, f"pcapng of version {version}, which is not read", refused=True)
        if not self._whole(length, 28, order, may_move, "a section header"):
            return False
        state = self._state[0]
        state["big"], state["first"], state["interfaces"] = order == "big", state["first"] + state["interfaces"], 0
        stream.at += length
        return True

    def _take_interface(self, may_move: bool) -> bool:
        """Add an interface to the section; return False if the window would have to move for it."""
        state, length = self._state[0], self._word(4)
        order: Order = "big" if state["big"] else "little"
        if not self._whole(length, 20, order, may_move, "an interface block"):
            return False
        known = int(state["interfaces"])
        if known == INTERFACES_MAX:
            raise Broken(self.stream.offset, f"a section has more than {INTERFACES_MAX} interfaces")
        try:
            row = parse_interface(self._bytes(8, length - 4), order)
        except ValueError as error:
            raise Broken(self.stream.offset, str(error)) from None
        if known == len(self._interfaces):
            self._interfaces = np.concatenate([self._interfaces, np.zeros_like(self._interfaces)])
        self._interfaces[known] = row
        state["interfaces"] = known + 1
        self.stream.at += length
        return True

    def _whole(self, length: int, least: int, order: Order, may_move: bool, what: str) -> bool:
        """True if a whole block is at hand; raises Broken if its length is invalid or the stream ends inside it."""
        if length < least or length % 4:
            raise Broken(self.stream.offset, _FAULTS[_BAD_LENGTH].format(length=length))
        if length > BLOCK_MAX:
            raise Broken(self.stream.offset, _FAULTS[_TOO_LONG].format(length=length))
        if not self._at_hand(length, may_move, what):
            return False
        if int.from_bytes(self._bytes(length - 4, length), order) != length:
            raise Broken(self.stream.offset, _FAULTS[_MISMATCH].format(length=length))
        return True

    def _at_hand(self, size: int, may_move: bool, what: str) -> bool:
        if self.stream.left >= size:
            return True
        if may_move and not self.stream.need(size):
            raise cut_short(self.stream, what)
        return may_move

    def _skip_block(self, counts: np.ndarray) -> None:
        """Skip a block of an unknown kind that may be longer than the window."""
        began, length = self.stream.offset, self._word(4)
        if not (self.stream.skip(length - 4) and self.stream.need(4)):
            raise Broken(began, str(cut_short(self.stream, f"a block of {length} bytes")))
        if self._word(0) != length:
            raise Broken(began, _FAULTS[_MISMATCH].format(length=length))
        self.stream.skip(4)
        counts[SKIPPED] += 1

    def _bytes(self, start: int, stop: int) -> bytes:
        at = self.stream.at
        return self.stream.data[at + start : at + stop].tobytes()

    def _word(self, start: int) -> int:
        return int.from_bytes(self._bytes(start, start + 4), "big" if self._state[0]["big"] else "little")
