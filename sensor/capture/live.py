"""Live capture from one interface, as blocks of frames that lie in the kernel's ring.

The source outlives its interface: while that is down or gone there is a gap, which is recorded, and one that was
deleted and made again is opened again.
"""

import errno
import os
import select
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Protocol

import numpy as np

from sensor.capture.af_packet import Opened, Settings, open_ring
from sensor.capture.fault import CaptureError, Damage
from sensor.capture.gaps import Gap, Gaps
from sensor.capture.ifreq import is_up
from sensor.capture.nic import NicDrops
from sensor.capture.ring import BYTES, COUNTERS, DELIVERED, FILTERED, MALFORMED, Ring
from sensor.capture.stream import NO_BYTES
from sensor.clock import elapsed_s, system_ns
from sensor.packet import FRAME, FULL_BLOCK, Block

_MS = 1_000_000
_DOWN, _DELETED = "down", "deleted"
_DRAIN_S = 5.0  # blocks that are not full are retired within twice `retire_ms`; only a stalled machine takes longer


class Watch(Protocol):
    """Tells that links have changed (`LinkWatch`)."""

    def fileno(self) -> int:
        """What to poll for reading."""

    def read(self) -> object:
        """Take what has come, without waiting."""


class Live:
    """The frames of an interface from now on. `Savefiles` shows the same face."""

    def __init__(
        self,
        settings: Settings,
        *,
        opener: Callable[[Settings], Opened] = open_ring,
        watch: Watch | None = None,
        number: int = 0,
        wait_s: float = 1.0,
    ) -> None:
        """Open the interface; CaptureError or OSError where that cannot be.

        `opener` makes the ring, now and whenever the interface was made anew; it raises OSError ENODEV while there is
        none. `watch` makes what happens to the link known at once, else it is found out by looking every `wait_s`.
        `number` is for the frames' column `interface`.
        """
        self.damage: list[Damage] = []
        self.seen_until = 0
        """ns since the epoch: no frame from before will come any more. Moved on by each empty block, so that time can
        pass where no packet does."""
        self._settings, self._opener, self._watch = settings, opener, watch
        self._number, self._wait_ms = number, round(wait_s * 1000)
        self._counts = np.zeros(len(COUNTERS), np.int64)
        self._gaps = Gaps()
        self._reopened = 0
        self._is_gone = False
        """The interface was deleted: its ring has been emptied, and there is no other yet."""
        self._stopping = False
        self._ring = self._open()
        self._nic = NicDrops(settings.interface)
        self._stop: int | None = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._look()

    def blocks(self, size: int = FULL_BLOCK) -> Iterator[Block]:
        """Frames as they come, at most `size` a block, until `stop`; to be asked for once.

        A block is valid until the next one is asked for. Where nothing comes for `wait_s`, or something happened to the
        link, there is an empty one. After `stop` follows what is still in the ring, and then the counters are exact.
        """
        rows = np.zeros(size, FRAME)
        while True:
            yield from self._present(rows)
            if not self._is_gone:
                return
            yield from self._absent()
            if self._is_gone:
                return

    def stop(self) -> None:
        """Take nothing new; may be called by a signal handler or another thread."""
        self._stopping = True
        if self._stop is not None:
            os.eventfd_write(self._stop, 1)

    @property
    def group(self) -> int | None:
        """The number of its fanout group, for others to join."""
        return None if self._settings.fanout is None else self._settings.fanout.group

    @property
    def gaps(self) -> list[Gap]:
        """The newest gaps that are over."""
        return list(self._gaps.kept)

    @property
    def counters(self) -> dict[str, int]:
        """What came so far and what was lost, by name. kernel_packets = packets_delivered + ring_drops at the end."""
        counts = self._counts.tolist()
        return {
            "packets_read": counts[DELIVERED] - counts[FILTERED] - counts[MALFORMED],
            **dict(zip(COUNTERS, counts, strict=True)),
            "nic_drops": self._nic.total(),
            "gaps": self._gaps.count,
            "gap_ns": self._gaps.ns(system_ns()),
            "reopened": self._reopened,
        }

    @property
    def progress(self) -> tuple[int, int | None]:
        """Bytes done; how many there will be is not known."""
        return int(self._counts[BYTES]), None

    def close(self) -> None:
        """Let go of the interface; a block that someone still holds shows zeros."""
        if self._stop is not None:
            stop, self._stop = self._stop, None
            os.close(stop)
            self._nic.close()
            self._ring.close()

    def __enter__(self) -> "Live":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Ring:
        opened = self._opener(self._settings)
        if self._settings.fanout:  # one made anew has to find the others of its group
            fanout = replace(self._settings.fanout, group=opened.group)
            self._settings = replace(self._settings, fanout=fanout)
        return Ring(opened, self._counts, number=self._number)

    def _present(self, rows: np.ndarray) -> Iterator[Block]:
        """What comes until there is no interface any more, or until `stop`."""
        while not (self._stopping or self._is_gone):
            frames = self._ring.take(rows)
            if len(frames):
                yield Block((self._ring.data,), frames)
                if self._gaps.is_open:
                    self._look()
            elif not self._wait():
                yield Block((self._ring.data,), frames)
        yield from self._rest(rows)

    def _rest(self, rows: np.ndarray) -> Iterator[Block]:
        """What the ring still holds. Nothing is let in any more."""
        ring, until = self._ring, elapsed_s() + _DRAIN_S
        ring.shut()
        poller = select.poll()
        poller.register(ring.socket, select.POLLIN)
        while True:
            frames = ring.take(rows)
            if len(frames):
                yield Block((ring.data,), frames)
            elif not ring.waiting or elapsed_s() > until:
                return
            else:
                poller.poll(self._settings.retire_ms)

    def _absent(self) -> Iterator[Block]:
        """Empty blocks until the interface is there again, or until `stop`."""
        self._ring.close()  # before the next one is opened: a dead socket would keep a fanout group from being made
        while not (self._stopping or self._reopen()):
            self._wait()
            yield Block((NO_BYTES,), np.zeros(0, FRAME))

    def _reopen(self) -> bool:
        try:
            self._ring = self._open()
        except (CaptureError, OSError) as error:
            absent = isinstance(error, OSError) and error.errno == errno.ENODEV
            self._gaps.begin(system_ns(), _DELETED if absent else str(error))
            return False
        self._is_gone = False
        self._reopened += 1
        self._look()
        return True

    def _wait(self) -> bool:
        """Wait for frames, the link, or `stop`, but no longer than `wait_s`; whether frames may have come."""
        assert self._stop is not None, "the source is closed"
        poller = select.poll()
        poller.register(self._stop, select.POLLIN)
        if self._watch is not None:
            poller.register(self._watch.fileno(), select.POLLIN)
        if not self._is_gone:
            poller.register(self._ring.socket, select.POLLIN)
        ready = dict(poller.poll(self._wait_ms))
        if not ready:
            self.seen_until = system_ns() - 2 * self._settings.retire_ms * _MS
        if self._watch is not None and self._watch.fileno() in ready:
            self._watch.read()
        state = ready.get(self._ring.socket.fileno(), 0)
        if not self._is_gone and state != select.POLLIN:
            self._look()
        return bool(state & select.POLLIN)

    def _look(self) -> None:
        """Find out how the interface is, and begin or end a gap."""
        now, on = system_ns(), self._ring.socket
        was_down = on.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ENETDOWN
        name = on.getsockname()[0]
        if not name:
            self._is_gone = True
            self._gaps.begin(now, _DELETED)
        elif not _is_up(on, name):
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
