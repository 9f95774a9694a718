"""A filter in tcpdump's language, over frames from files; live, the same program runs in the kernel (`Program`).

It matches the same frames in both cases, and as `tcpdump -r`. Two differences remain: a filter that looks behind the
captured bytes sees them live and rejects the frame in a file, so a small snaplen changes the result; and a frame that
the card has merged, or has yet to split, has the length that the kernel reports.
"""

import sys

import numpy as np

from sensor.capture.bpf.libpcap import HOST_ORDER, compile_filter
from sensor.capture.bpf.missed import Missed
from sensor.capture.bpf.program import CELLS, Program
from sensor.capture.bpf.run import judge
from sensor.capture.errors import CaptureError
from sensor.packet import Block

INAPPLICABLE = "packets_filter_inapplicable"
LINKTYPES_MAX = 16
"""The number of link types without such a filter that are counted one by one: the first ones seen."""

_FIRST_TRIED = (1, 101, 113, 276, 0, 9)  # Ethernet, raw IP, Linux cooked, BSD loopback, PPP
_IS_BIG = sys.byteorder == "big"


class Filter:
    """Selects from blocks the frames that a filter matches."""

    def __init__(self, text: str) -> None:
        """Compile the filter; CaptureError if libpcap is missing, or no usual link type has the filter `text`."""
        self.text = text
        self.rejected = 0
        """Packets that did not match."""
        self.inapplicable = 0
        """Rejected packets whose link type has no such filter, such as "ether" for a frame without Ethernet."""
        self._by_linktype: dict[int, int] = {}
        self._taken = 0
        self._missed = Missed(text)
        self._programs: dict[tuple[int, bool], Program | None] = {}
        self._memory = np.zeros(CELLS, np.int64)
        self._check()

    @property
    def counters(self) -> dict[str, int]:
        """Counts of packets left out, by name; until a packet has matched, also counts that hint at the reason."""
        by_linktype = {f"{INAPPLICABLE}_{linktype}": count for linktype, count in self._by_linktype.items()}
        counters = {"packets_filtered": self.rejected, INAPPLICABLE: self.inapplicable, **by_linktype}
        return counters if self._taken else counters | self._missed.counters

    def program(self, linktype: int) -> Program:
        """Return the filter's program for one link type (LINKTYPE_); CaptureError if it has none."""
        return compile_filter(self.text, linktype)

    def select(self, block: Block) -> Block:
        """Return the block with only the matching frames. Raises nothing."""
        frames = block.frames
        keep = np.zeros(len(frames), np.bool_)
        kinds = frames["buffer"].astype(np.uint64) << 16 | frames["linktype"]
        is_one = len(kinds) and (kinds == kinds[0]).all()
        for kind in (kinds[:1] if is_one else np.unique(kinds)).tolist():
            buffer, linktype = kind >> 16, kind & 0xFFFF
            self._judge(block.buffers[buffer], linktype, frames, np.flatnonzero(kinds == kind), keep)
        return Block(block.buffers, frames[keep])

    def _judge(self, data: np.ndarray, linktype: int, frames: np.ndarray, rows: np.ndarray, keep: np.ndarray) -> None:
        data, frames = data[:], frames[:]
        data.flags.writeable = frames.flags.writeable = False  # as a file's: one array type to compile for
        swapped = _is_swapped(data, linktype, frames, rows)
        for is_swapped in (False, True):
            mine = rows[swapped] if is_swapped else rows[~swapped]
            if not len(mine):
                continue
            program = self._of(linktype, is_swapped)
            if program is None:
                self._pass_over(linktype, len(mine))
                continue
            rejected = judge(program.code, data, frames, mine, self._memory, keep)
            self.rejected += rejected
            self._taken += len(mine) - rejected
            if not self._taken:
                self._missed.inspect(data, linktype, frames, mine)

    def _pass_over(self, linktype: int, count: int) -> None:
        self.inapplicable += count
        self.rejected += count
        if linktype in self._by_linktype or len(self._by_linktype) < LINKTYPES_MAX:
            self._by_linktype[linktype] = self._by_linktype.get(linktype, 0) + count

    def _of(self, linktype: int, is_swapped: bool) -> Program | None:
        """Return the program for a link type (one of 65,536), or None if it has none; both are cached."""
        key = linktype, is_swapped
        if key not in self._programs:
            try:
                self._programs[key] = compile_filter(self.text, linktype, is_swapped=is_swapped)
            except CaptureError:
                self._programs[key] = None
        return self._programs[key]

    def _check(self) -> None:
        errors = []
        for linktype in _FIRST_TRIED:
            try:
                self._programs[linktype, False] = self.program(linktype)
            except CaptureError as error:
                errors.append(error)
            else:
                return
        raise errors[0]


def _is_swapped(data: np.ndarray, linktype: int, frames: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return a mask of `rows`: True where the frame's first word, a small number, has the other byte order.

    The frame decides and not its file: each section of a pcapng file has its own order, and a frame that a tool copied
    into another file keeps the order of the host that captured it.
    """
    swapped = np.zeros(len(rows), np.bool_)
    if linktype in HOST_ORDER:
        whole = np.flatnonzero(frames["caplen"][rows] >= 4)
        at = frames["offset"][rows[whole]] + (2 if _IS_BIG else 0)
        swapped[whole] = data[at] | data[at + 1] == 0
    return swapped
