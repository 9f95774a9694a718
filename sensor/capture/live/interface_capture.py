"""One interface of a live capture, which outlives its interface: gaps are recorded, and it is opened again."""

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
    """What `Live` takes frames from. Nothing here waits."""

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
        """The buffer that its frames lie in."""
        return NO_BYTES if self._ring is None else self._ring.data

    @property
    def ring(self) -> Ring | None:
        """The ring, None while there is no interface."""
        return self._ring

    @property
    def is_drained(self) -> bool:
        """Once shut: whether all that was in the ring has been taken, or has not come though it was waited for."""
        return self._ring is None or not self._ring.waiting or elapsed_s() > self._drained_by

    @property
    def gaps(self) -> list[Gap]:
        """The newest gaps that are over."""
        return list(self._gaps.kept)

    @property
    def interface(self) -> str:
        """Its name."""
        return self.settings.interface

    @property
    def is_promiscuous(self) -> bool:
        """Whether it takes what is addressed to others."""
        return self.settings.promiscuous

    @property
    def gap(self) -> str:
        """Why nothing can come just now; "": it can."""
        return self._gaps.reason

    @property
    def bytes_read(self) -> int:
        """Captured bytes of the packets given."""
        return int(self._counts[BYTES])

    @property
    def counters(self) -> dict[str, int]:
        """What came so far and what was lost, by name; `nic_packets` arrived at the interface, whoever they are for.

        `nic_rx_dropped` is what the interface calls dropped, of which `nic_drops` has what was lost (`Shortfall`).
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
        """Fill FRAME rows with what has come, and return those filled; what the last call gave is no longer valid."""
        if self._ring is None:
            return rows[:0]
        frames = self._ring.read(rows)
        if len(frames):
            if self._gaps.is_open:
                self.poll()
        elif self._is_gone and self.is_drained:
            self._ring.close()  # before the next one is opened: a dead socket would keep its fanout group from others
            self._ring = None
            self.poll()
        return frames

    def shut(self) -> None:
        """Let nothing more in; what is there can still be taken."""
        self._is_whole = False
        if self._ring is not None:
            self._ring.shut()
            self._drained_by = elapsed_s() + _DRAIN_S

    def poll(self) -> None:
        """Find out how the interface is: begin or end a gap, and open one that was made again."""
        if self._ring is None:
            self._reopen()
        if self._ring is not None and not self._is_gone:
            self._look_at(self._ring.socket)

    def close(self) -> None:
        """Let go of the interface; what someone still holds of its frames becomes zeros."""
        self._nic.close()
        if self._ring is not None:
            self._ring.close()

    def _open(self) -> Ring:
        opened = self._opener(self.settings)
        if self.settings.fanout:  # one made again has to find the others of its group
            self.settings = replace(self.settings, fanout=replace(self.settings.fanout, group=opened.group))
        return Ring(opened, self._counts, number=self._number)

    def _gets_all(self, bound: socket.socket) -> bool:
        """Whether all that arrives comes to the ring, a frame for each packet, so that they can be compared."""
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
            if was_down:  # and up again, before it could be looked at
                self._gaps.begin(now, _DOWN)
            self._gaps.end(now)


def _is_up(on: socket.socket, name: str) -> bool:
    try:
        return is_up(on, name)
    except OSError:  # it was deleted or renamed just now
        return False
