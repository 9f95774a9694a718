"""The bus: carries messages between workers and the manager, in order."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol

from sensor.cluster.messages import ClusterThresholdCrossed, Message


class Bus(Protocol):
    """What a node needs of any bus."""

    def send(self, messages: Iterable[Message]) -> None:
        """Hand over a worker's messages."""

    def receive(self) -> Iterator[Message]:
        """Take what has arrived for the manager."""

    def publish(self, messages: Iterable[ClusterThresholdCrossed]) -> None:
        """Hand over the manager's messages to all workers."""

    def subscribe(self) -> Iterator[ClusterThresholdCrossed]:
        """Take what has arrived for a worker."""


class InProcessBus:
    """Joins a worker and a manager within one process: what is sent is there at once, and the same object."""

    def __init__(self) -> None:
        self._to_manager: deque[Message] = deque()
        self._to_worker: deque[ClusterThresholdCrossed] = deque()

    def send(self, messages: Iterable[Message]) -> None:
        """Hand over a worker's messages."""
        self._to_manager.extend(messages)

    def receive(self) -> Iterator[Message]:
        """Take what has arrived for the manager."""
        while self._to_manager:
            yield self._to_manager.popleft()

    def publish(self, messages: Iterable[ClusterThresholdCrossed]) -> None:
        """Hand over the manager's messages."""
        self._to_worker.extend(messages)

    def subscribe(self) -> Iterator[ClusterThresholdCrossed]:
        """Take what has arrived for the worker."""
        while self._to_worker:
            yield self._to_worker.popleft()
