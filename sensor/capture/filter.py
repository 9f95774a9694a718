"""A filter in tcpdump's language, over frames from files; live, the same program runs in the kernel (`Program`).

It means the same on both, and the same as to `tcpdump -r`. Two things remain that a file cannot tell: a filter that
looks behind the bytes captured sees them live and rejects the frame in a file, and so a small snaplen differs; and a
frame that the card has put together, or has yet to cut, is as long as the kernel says.
"""

import numpy as np

from sensor.capture.bpf import CELLS, Program
from sensor.capture.bpf_run import judge
from sensor.capture.fault import CaptureError
from sensor.capture.libpcap import compile_filter
from sensor.packet import Block

_FIRST_TRIED = (1, 101, 113, 276, 0, 9)  # Ethernet, raw IP, Linux cooked, BSD loopback, PPP


class Filter:
    """Takes from blocks the frames that a filter matches."""

    def __init__(self, text: str) -> None:
        """CaptureError where libpcap is absent, or `text` is a filter of no usual link type."""
        self.text = text
        self.rejected = 0
        """Packets that did not match."""
        self.inapplicable = 0
        """Of those, packets of a link type for which there is no such filter: "ether" of a frame without Ethernet."""
        self._programs: dict[int, Program | None] = {}
        self._memory = np.zeros(CELLS, np.int64)
        self._check()

    @property
    def counters(self) -> dict[str, int]:
        """What was left out, by name."""
        return {"packets_filtered": self.rejected, "packets_filter_inapplicable": self.inapplicable}

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
        program = self._of(linktype)
        if program is None:
            self.inapplicable += len(rows)
            self.rejected += len(rows)
            return
        data, frames = data[:], frames[:]
        data.flags.writeable = frames.flags.writeable = False  # as of a mapped file: compiled for one type of array
        self.rejected += judge(program.code, data, frames, rows, self._memory, keep)

    def _of(self, linktype: int) -> Program | None:
        """The program for a link type; None, which is remembered too, where it has none."""
        if linktype not in self._programs:
            try:
                self._programs[linktype] = self.program(linktype)
            except CaptureError:
                self._programs[linktype] = None
        return self._programs[linktype]

    def _check(self) -> None:
        errors = []
        for linktype in _FIRST_TRIED:
            try:
                self._programs[linktype] = self.program(linktype)
            except CaptureError as error:
                errors.append(error)
            else:
                return
        raise errors[0]
