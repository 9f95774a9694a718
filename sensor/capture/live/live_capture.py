"""Live capture from some interfaces, as blocks of frames that lie in the kernel's rings."""

import contextlib
import os
import select
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Protocol

import numpy as np

from sensor.capture.errors import Damage
from sensor.capture.live.af_packet import Opened, RingSettings, open_ring
from sensor.capture.live.interface_capture import InterfaceCapture
from sensor.capture.live.outages import Gap
from sensor.clock import elapsed_s, now_ns
from sensor.packet import FRAME, FULL_BLOCK, Block

_MS = 1_000_000
_GATHER_S = 0.02
_LOOK_S = 0.005  # how often rings are looked at meanwhile: at 10 Gbit/s, 6 MB come


class Watched(Protocol):
    """Tells that something has happened: links have changed (`LinkWatch`), or a `Bell` was rung."""

    def fileno(self) -> int:
        """What to poll for reading."""

    def read(self) -> object:
        """Take what has come, without waiting."""


class Live:
    """The frames of some interfaces from now on. `Savefiles` shows the same face."""

    def __init__(
        self,
        settings: Sequence[RingSettings],
        *,
        opener: Callable[[RingSettings], Opened] = open_ring,
        watch: Watched | None = None,
        bell: Watched | None = None,
        wait_s: float = 1.0,
        idle_s: float | None = None,
    ) -> None:
        """Open the interfaces; CaptureError or OSError where one cannot be.

        `opener` makes a ring, now and whenever its interface was made again; it raises OSError ENODEV while there is
        none. `watch` makes what happens to links known at once; all are looked at every `idle_s` in any case, which is
        `wait_s` if it is not given. `bell` ends a wait, for whoever takes the blocks.
        """
        self.damage: list[Damage] = []
        self.seen_until = 0
        """ns since the epoch: no frame from before will come any more. Moved on by an empty block for which nothing
        came, so that time can pass where no packet does."""
        self._watch, self._bell = watch, bell
        self._wait_s, self._idle_s = wait_s, idle_s or wait_s
        self._patience_s = wait_s
        self._stopping = False
        self._looked = elapsed_s()
        self._given, self._is_more = -_GATHER_S, False
        with contextlib.ExitStack() as stack:
            self.taps: list[InterfaceCapture] = []
            for number, each in enumerate(settings):
                self.taps.append(InterfaceCapture(each, opener, number))
                stack.callback(self.taps[-1].close)
            self._stop: int | None = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            stack.pop_all()

    def blocks(self, size: int = FULL_BLOCK) -> Iterator[Block]:
        """Frames as they come, at most `size` a block, until `stop`; to be asked for once.

        A block is valid until the next one is asked for. It has a buffer for each interface, and its frames are in
        order of time; from several interfaces, one may be earlier than the block before by twice `retire_ms`. While
        little comes they are 20 ms apart: each costs whoever takes it, whatever is in it. Where nothing comes for
        `wait_s`, or something happened to a link, or the bell rings, there is an empty one; the next ones come up to
        `idle_s` apart. After `stop` follows what is still in the rings, and then the counters are exact.
        """
        rows = np.zeros((len(self.taps), max(1, size // len(self.taps))), FRAME)
        while not self._stopping:
            if not self._is_more:
                self._gather()
            block = self._take(rows)
            if len(block.frames):
                self._given, self._patience_s = elapsed_s(), self._wait_s
                yield block
            elif not self._wait():
                yield block
            if elapsed_s() - self._looked > self._idle_s:
                self._look()
        for tap in self.taps:
            tap.shut()
        while not all(tap.is_drained for tap in self.taps):
            block = self._take(rows)
            if len(block.frames):
                yield block
            else:
                self._poll(self.taps[0].settings.retire_ms / 1000)

    def stop(self) -> None:
        """Take nothing new; may be called by a signal handler or another thread."""
        self._stopping = True
        if self._stop is not None:
            os.eventfd_write(self._stop, 1)

    @property
    def gaps(self) -> list[Gap]:
        """The newest gaps that are over, interface by interface."""
        return [gap for tap in self.taps for gap in tap.gaps]

    @property
    def counters(self) -> dict[str, int]:
        """What came so far and what was lost, by name; `taps` have them one by one.

        When `blocks` has ended, kernel_packets = packets_delivered + ring_drops.
        """
        sums: Counter[str] = Counter()
        for tap in self.taps:
            sums.update(tap.counters)
        return dict(sums)

    @property
    def progress(self) -> tuple[int, int | None]:
        """Bytes done; how many there will be is not known."""
        return sum(tap.bytes_read for tap in self.taps), None

    def close(self) -> None:
        """Let go of the interfaces; a block that someone still holds shows zeros."""
        if self._stop is not None:
            stop, self._stop = self._stop, None
            os.close(stop)
            for tap in self.taps:
                tap.close()

    def __enter__(self) -> "Live":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, rows: np.ndarray) -> Block:
        """What has come, without waiting."""
        found = [tap.read(mine) for tap, mine in zip(self.taps, rows, strict=True)]
        self._is_more = any(tap.ring is not None and tap.ring.is_more for tap in self.taps)
        frames = found[0]
        if len(found) > 1:
            frames = np.concatenate(found)
            frames = frames[np.argsort(frames["ts"], kind="stable")]
        return Block(tuple(tap.data for tap in self.taps), frames)

    def _gather(self) -> None:
        """Let more come, as long as the block before is not long ago, there is room, and nothing else happens."""
        while (left := self._given + _GATHER_S - elapsed_s()) > 0:
            if any(tap.ring is not None and tap.ring.is_filling for tap in self.taps):
                return
            if self._poll(min(left, _LOOK_S), rings=False):
                return

    def _wait(self) -> bool:
        """Wait for frames, a link, the bell, or `stop`, but no longer than `idle_s`; whether frames may have come."""
        ready = self._poll(self._patience_s)
        is_called = self._is_called(ready)
        if not ready:
            if not is_called:
                self._patience_s = min(2 * self._patience_s, self._idle_s)
            self.seen_until = now_ns() - 2 * _MS * max(tap.settings.retire_ms for tap in self.taps)
        frames = [state for descriptor, state in ready.items() if descriptor in self._rings()]
        if any(state != select.POLLIN for state in frames) or len(frames) < len(ready):
            self._look()
        return any(state & select.POLLIN for state in frames)

    def _is_called(self, ready: dict[int, int]) -> bool:
        """Whether the bell was among what happened, which it then is no more."""
        if self._bell is None or ready.pop(self._bell.fileno(), None) is None:
            return False
        self._bell.read()
        return True

    def _poll(self, wait_s: float, *, rings: bool = True) -> dict[int, int]:
        """What happened, by descriptor."""
        assert self._stop is not None, "the source is closed"
        poller = select.poll()
        awaited = [*self._rings(), *self._fileno_of(self._bell)] if rings else []
        others = [] if self._stopping else [self._stop, *self._fileno_of(self._watch)]
        for descriptor in (*awaited, *others):
            poller.register(descriptor, select.POLLIN)
        return dict(poller.poll(wait_s * 1000))

    @staticmethod
    def _fileno_of(watched: Watched | None) -> list[int]:
        return [] if watched is None else [watched.fileno()]

    def _rings(self) -> list[int]:
        return [tap.ring.socket.fileno() for tap in self.taps if tap.ring is not None]

    def _look(self) -> None:
        """Find out how the links are."""
        self._looked = elapsed_s()
        if self._watch is not None:
            self._watch.read()
        for tap in self.taps:
            tap.poll()
