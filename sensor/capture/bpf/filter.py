"""A filter in tcpdump's language, over frames from files; live, the same program runs in the kernel (`Program`).

It means the same on both, and the same as to `tcpdump -r`. Two things remain that a file cannot tell: a filter that
looks behind the bytes captured sees them live and rejects the frame in a file, and so a small snaplen differs; and a
frame that the card has put together, or has yet to cut, is as long as the kernel says.
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
"""Link types without such a filter that are counted one by one, the first ones."""

_FIRST_TRIED = (1, 101, 113, 276, 0, 9)  # Ethernet, raw IP, Linux cooked, BSD loopback, PPP
_IS_BIG = sys.byteorder == "big"


class Filter:
    """Takes from blocks the frames that a filter matches."""

    def __init__(self, text: str) -> None:
        """CaptureError where libpcap is absent, or `text` is a filter of no usual link type."""
        self.text = text
        self.rejected = 0
        """Packets that did not match."""
        self.inapplicable = 0
        """Of those, packets of a link type for which there is no such filter: "ether" of a frame without Ethernet."""
        self._by_linktype: dict[int, int] = {}
        self._taken = 0
        self._missed = Missed(text)
        self._programs: dict[tuple[int, bool], Program | None] = {}
        self._memory = np.zeros(CELLS, np.int64)
        self._check()

    @property
    def counters(self) -> dict[str, int]:
        """What was left out, by name; as long as nothing was taken, also why it may be."""
        by_linktype = {f"{INAPPLICABLE}_{linktype}": count for linktype, count in self._by_linktype.items()}
        counters = {"packets_filtered": self.rejected, INAPPLICABLE: self.inapplicable, **by_linktype}
        return counters if self._taken else counters | self._missed.counters

    def program(self, linktype: int) -> Program:
        """The filter for one link type (LINKTYPE_); CaptureError where it has none."""
        return compile_filter(self.text, linktype)

    def select(self, block: Block) -> Block:
        """The block with only those frames that match. Raises nothing."""
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
        data.flags.writeable = frames.flags.writeable = False  # as of a file: compiled for one type of array
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
        """The program for a link type, of which there are 65,536; None, which is remembered too, where it has none."""
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
    """Of which of some rows the first word, a small number, lies in the byte order that this machine does not have.

    By the frame and not by its file: of a pcapng file each section has its own, and of frames that some tool has put
    into another file it is still that of the host where they were captured.
    """
    swapped = np.zeros(len(rows), np.bool_)
    if linktype in HOST_ORDER:
        whole = np.flatnonzero(frames["caplen"][rows] >= 4)
        at = frames["offset"][rows[whole]] + (2 if _IS_BIG else 0)
        swapped[whole] = data[at] | data[at + 1] == 0
    return swapped
