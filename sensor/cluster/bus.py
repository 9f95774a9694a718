"""The bus: carries messages from workers to the manager, in order."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol

from sensor.cluster.messages import Message


class Bus(Protocol):
    """What a node needs of any bus."""

    def send(self, messages: Iterable[Message]) -> None:
        """Hand over a worker's messages."""

    def receive(self) -> Iterator[Message]:
        """Take what has arrived for the manager."""


class InProcessBus:
    """Joins a worker and a manager within one process: what is sent is there at once, and the same object."""

    def __init__(self) -> None:
        self._queue: deque[Message] = deque()

    def send(self, messages: Iterable[Message]) -> None:
        """Hand over a worker's messages."""
        self._queue.extend(messages)

    def receive(self) -> Iterator[Message]:
        """Take what has arrived for the manager."""
        while self._queue:
            yield self._queue.popleft()
