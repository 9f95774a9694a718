"""One interface of a live capture, which survives its interface: it records gaps, and opens the interface again."""

import errno
import socket
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sensor.capture.errors import CaptureError
from sensor.capture.live.af_packet import Opened, RingSettings
from sensor.capture.live.ifreq import is_merging, is_up
from sensor.capture.live.nic import NicCounters, Shortfall
from sensor.capture.live.outages import Gap, Gaps
from sensor.capture.live.ring import BYTES, COUNTERS, DELIVERED, FILTERED, KERNEL, MALFORMED, Ring
from sensor.clock import elapsed_s, now_ns
from sensor.packet import NO_BYTES

_DOWN, _DELETED = "down", "deleted"
_DRAIN_S = 5.0  # blocks that are not full are retired within twice `retire_ms`; only a stalled machine takes longer


class InterfaceCapture:
    """The frames and counters of one interface, for `Live`. Nothing here waits."""

    def __init__(self, settings: RingSettings, opener: Callable[[RingSettings], Opened], number: int) -> None:
        """Open the interface; `number` is for the frames' columns `buffer` and `interface`."""
        self.settings = settings
        self._opener, self._number = opener, number
        self._counts = np.zeros(len(COUNTERS), np.int64)
        self._gaps = Gaps(settings.interface)
        self._reopened = 0
        self._is_gone = False
        self._drained_by = 0.0
        self._ring: Ring | None = self._open()
        self._nic, self._shortfall = NicCounters(settings.interface), Shortfall()
        self._is_whole = self._gets_all(self._ring.socket)
        self.poll()

    @property
    def data(self) -> np.ndarray:
        """The buffer that holds its frames."""
        return NO_BYTES if self._ring is None else self._ring.data

    @property
    def ring(self) -> Ring | None:
        """The ring; None while there is no interface."""
        return self._ring

    @property
    def is_drained(self) -> bool:
        """True if a shut ring is empty, or the wait for its remaining packets has timed out."""
        return self._ring is None or not self._ring.waiting or elapsed_s() > self._drained_by

    @property
    def gaps(self) -> list[Gap]:
        """The newest completed gaps."""
        return list(self._gaps.kept)

    @property
    def interface(self) -> str:
        """The interface's name."""
        return self.settings.interface

    @property
    def is_promiscuous(self) -> bool:
        """True if it takes frames addressed to other hosts."""
        return self.settings.promiscuous

    @property
    def gap(self) -> str:
        """The reason why no frames can come now; "": they can."""
        return self._gaps.reason

    @property
    def bytes_read(self) -> int:
        """Captured bytes of the packets given."""
        return int(self._counts[BYTES])

    @property
    def counters(self) -> dict[str, int]:
        """Counts of packets and losses so far, by name; `nic_packets` arrived at the interface for any destination.

        `nic_rx_dropped` is the interface's own drop count; `nic_drops` is the part of it that was lost (`Shortfall`).
        """
        nic = self._nic.total()
        if self._is_whole and self._ring is not None:
            self._ring.read_statistics()
            self._shortfall.compare(nic, int(self._counts[KERNEL]), elapsed_s())
        counts = self._counts.tolist()
        link = {
            "nic_packets": nic.packets,
            "nic_drops": max(nic.missed, self._shortfall.lost),
            "nic_rx_dropped": nic.dropped,
            "gaps": self._gaps.count,
            "gap_ns": self._gaps.ns(now_ns()),
            "reopened": self._reopened,
        }
        return {
            "packets_read": counts[DELIVERED] - counts[FILTERED] - counts[MALFORMED],
            **dict(zip(COUNTERS, counts, strict=True)),
            **(link if self.settings.is_first else dict.fromkeys(link, 0)),
        }

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Fill FRAME rows with the frames at hand, and return those filled; frames of the last call become invalid."""
        if self._ring is None:
            return rows[:0]
        frames = self._ring.read(rows)
        if len(frames):
            if self._gaps.is_open:
                self.poll()
        elif self._is_gone and self.is_drained:
            self._ring.close()  # close before opening the next: a dead socket would take frames of its fanout group
            self._ring = None
            self.poll()
        return frames

    def shut(self) -> None:
        """Let no more frames in; those in the ring can still be read."""
        self._is_whole = False
        if self._ring is not None:
            self._ring.shut()
            self._drained_by = elapsed_s() + _DRAIN_S

    def poll(self) -> None:
        """Check the interface's state: start or end a gap, and open an interface that was made again."""
        if self._ring is None:
            self._reopen()
        if self._ring is not None and not self._is_gone:
            self._look_at(self._ring.socket)

    def close(self) -> None:
        """Close the interface; frames that a caller still holds become zeros."""
        self._nic.close()
        if self._ring is not None:
            self._ring.close()

    def _open(self) -> Ring:
        opened = self._opener(self.settings)
        if self.settings.fanout:  # when it is opened again it must find its group's other members
            self.settings = replace(self.settings, fanout=replace(self.settings.fanout, group=opened.group))
        return Ring(opened, self._counts, number=self._number)

    def _gets_all(self, bound: socket.socket) -> bool:
        """True if every packet reaches the ring as a frame of its own, so that counts can be compared."""
        is_part = self.settings.program is not None or self.settings.fanout is not None
        return not is_part and not is_merging(bound, self.settings.interface)

    def _reopen(self) -> None:
        try:
            self._ring = self._open()
        except (CaptureError, OSError) as error:
            is_absent = isinstance(error, OSError) and error.errno == errno.ENODEV
            self._gaps.begin(now_ns(), _DELETED if is_absent else str(error))
            return
        self._is_gone = False
        self._reopened += 1

    def _look_at(self, bound: socket.socket) -> None:
        now = now_ns()
        was_down = bound.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ENETDOWN
        name = bound.getsockname()[0]
        if not name:
            self._is_gone = True
            self._gaps.begin(now, _DELETED)
            self.shut()
        elif not _is_up(bound, name):
            self._gaps.begin(now, _DOWN)
        else:
            if was_down:  # down and up again between two polls
                self._gaps.begin(now, _DOWN)
            self._gaps.end(now)


def _is_up(on: socket.socket, name: str) -> bool:
    try:
        return is_up(on, name)
    except OSError:  # deleted or renamed just now
        return False
