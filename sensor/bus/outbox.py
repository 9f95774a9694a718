"""The queue to one peer, and the rate of what comes from it: neither grows beyond its bounds, whatever the peer does.

Messages go out in the order in which they were put in, except that acknowledgements, of which only the latest counts,
go first, and what tells how the cluster is goes last.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from sensor.bus.message import Message, Ping
from sensor.bus.vocabulary import Vocabulary


@dataclass(frozen=True)
class QueueLimits:
    """Limits on what may wait for one peer."""

    control_messages: int = 65536
    """Messages that must not be lost; a peer that lets more pile up is cut off: it asks again when it is back."""
    control_bytes: int = 32 << 20
    """Their bytes: room for the two largest frames."""
    telemetry_messages: int = 16
    """Messages on how the cluster is; beyond them the oldest goes, which the newer ones have overtaken anyway."""


class Outbox:
    """The queue of one peer, by class of message."""

    def __init__(self, limits: QueueLimits, vocabulary: Vocabulary) -> None:
        self._limits, self._vocabulary = limits, vocabulary
        self._newest = b""
        self._control: deque[bytes] = deque()
        self._control_bytes = 0
        self._telemetry: deque[bytes] = deque()
        self._changed = asyncio.Event()
        self._is_closed = False
        self.acks_coalesced = 0
        self.telemetry_dropped = 0

    def __bool__(self) -> bool:
        return bool(self._newest or self._control or self._telemetry)

    def put(self, message: Message, frame: bytes) -> bool:
        """Let a message wait, of which `frame` are the bytes; False: it must not be lost, and there is no room."""
        self._changed.set()
        if isinstance(message, self._vocabulary.newest):
            self.acks_coalesced += bool(self._newest)
            self._newest = frame
        elif isinstance(message, (Ping, *self._vocabulary.telemetry)):
            self._put_telemetry(frame)
        else:
            return self._put_control(frame)
        return True

    def close(self) -> None:
        """Nothing more will be put in: once it is empty, it has ended."""
        self._is_closed = True
        self._changed.set()

    async def drain(self, most: int) -> bytes:
        """Wait for what is to be sent next, of at least one message and about `most` bytes; nothing: it has ended."""
        while not self and not self._is_closed:
            self._changed.clear()
            await self._changed.wait()
        return self._pop(most)

    def _put_control(self, frame: bytes) -> bool:
        limits, n = self._limits, len(self._control)
        if n >= limits.control_messages or (n and self._control_bytes + len(frame) > limits.control_bytes):
            return False
        self._control.append(frame)
        self._control_bytes += len(frame)
        return True

    def _put_telemetry(self, frame: bytes) -> None:
        self._telemetry.append(frame)
        if len(self._telemetry) > self._limits.telemetry_messages:
            self._telemetry.popleft()
            self.telemetry_dropped += 1

    def _pop(self, most: int) -> bytes:
        frames, size = [self._newest], len(self._newest)
        self._newest = b""
        while waiting := self._control or self._telemetry:
            if size and size + len(waiting[0]) > most:
                break
            frames.append(waiting.popleft())
            size += len(frames[-1])
            self._control_bytes -= len(frames[-1]) if waiting is self._control else 0
        return b"".join(frames)


class Rate:
    """A token bucket: how much may come at once, and a second; `clock` counts seconds."""

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float]) -> None:
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._left, self._then = burst, clock()

    def spend(self, amount: float) -> float:
        """Spend an amount of the budget; return for how many seconds to read nothing more."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._then) * self._per_second) - amount
        self._then = now
        return max(0.0, -self._left / self._per_second)
