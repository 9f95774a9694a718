"""Live capture from several interfaces, as blocks of frames that lie in the kernel's rings."""

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
_LOOK_S = 0.005  # interval of checking rings while gathering: at 10 Gbit/s, 6 MB arrive


class Watched(Protocol):
    """A source of wake-ups: changed links (`LinkWatch`), or a rung `Bell`."""

    def fileno(self) -> int:
        """Return the descriptor to poll for reading."""

    def read(self) -> object:
        """Consume pending events, without waiting."""


class Live:
    """The frames of several interfaces from now on. It has the interface of `Savefiles`."""

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
        """Open the interfaces; CaptureError or OSError if one cannot be opened.

        `opener` makes a ring, now and whenever its interface was made again; it raises OSError ENODEV while there is
        none. `watch` reports changes of links at once; all links are checked every `idle_s` (s) in any case, which
        defaults to `wait_s`. `bell` ends a wait early, for the consumer of the blocks.
        """
        self.damage: list[Damage] = []
        self.seen_until = 0
        """Time in ns since the epoch before which no further frame will come. An empty block without frames moves it
        on, so that time passes on a quiet network."""
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
        """Yield frames as they come, at most `size` a block, until `stop`; may be called once.

        A block is valid until the next one is requested. It has a buffer for each interface, and its frames are in
        order of time; with several interfaces, a frame may be earlier than the block before by twice `retire_ms`. At
        low rates blocks are 20 ms apart, because each block costs its consumer a fixed amount. An empty block is
        yielded if nothing comes for `wait_s`, a link changes, or the bell rings; further ones come up to `idle_s`
        apart. After `stop` the frames still in the rings follow, and then the counters are exact.
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
        """Take no new frames; a signal handler or another thread may call this."""
        self._stopping = True
        if self._stop is not None:
            os.eventfd_write(self._stop, 1)

    @property
    def gaps(self) -> list[Gap]:
        """The newest completed gaps, interface by interface."""
        return [gap for tap in self.taps for gap in tap.gaps]

    @property
    def counters(self) -> dict[str, int]:
        """Counts of packets and losses so far, by name; `taps` have them for each interface.

        When `blocks` has ended, kernel_packets = packets_delivered + ring_drops.
        """
        sums: Counter[str] = Counter()
        for tap in self.taps:
            sums.update(tap.counters)
        return dict(sums)

    @property
    def progress(self) -> tuple[int, int | None]:
        """Bytes done; the total is unknown."""
        return sum(tap.bytes_read for tap in self.taps), None

    def close(self) -> None:
        """Close the interfaces; a block that a caller still holds shows zeros."""
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
        """Return the frames at hand, without waiting."""
        found = [tap.read(mine) for tap, mine in zip(self.taps, rows, strict=True)]
        self._is_more = any(tap.ring is not None and tap.ring.is_more for tap in self.taps)
        frames = found[0]
        if len(found) > 1:
            frames = np.concatenate(found)
            frames = frames[np.argsort(frames["ts"], kind="stable")]
        return Block(tuple(tap.data for tap in self.taps), frames)

    def _gather(self) -> None:
        """Wait for more frames until 20 ms after the last block, a ring fills up, or another event happens."""
        while (left := self._given + _GATHER_S - elapsed_s()) > 0:
            if any(tap.ring is not None and tap.ring.is_filling for tap in self.taps):
                return
            if self._poll(min(left, _LOOK_S), rings=False):
                return

    def _wait(self) -> bool:
        """Wait for frames, a link, the bell, or `stop`, at most `idle_s`; return True if frames may have come."""
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
        """Return whether the bell rang; remove it from `ready` and silence it."""
        if self._bell is None or ready.pop(self._bell.fileno(), None) is None:
            return False
        self._bell.read()
        return True

    def _poll(self, wait_s: float, *, rings: bool = True) -> dict[int, int]:
        """Wait for events; return poll states by descriptor."""
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
        """Check the state of the links."""
        self._looked = elapsed_s()
        if self._watch is not None:
            self._watch.read()
        for tap in self.taps:
            tap.poll()
