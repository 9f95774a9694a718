"""Held messages: those that a worker keeps until the manager has acknowledged them."""

from collections import deque
from collections.abc import Iterator
from typing import Protocol

from sensor.cluster.messages import Numbered


class Held(Protocol):
    """A store of numbered messages that are not acknowledged yet."""

    def append(self, message: Numbered) -> bool:
        """Hold a message; False if there is no room."""

    def after(self, sequence: int) -> Iterator[Numbered]:
        """Yield the messages with greater numbers, in order."""

    def release(self, sequence: int) -> None:
        """Drop all messages up to this one, which are acknowledged."""


class InMemory:
    """Holds any number of messages, for a manager in the same process, which acknowledges at once."""

    def __init__(self) -> None:
        self._messages: deque[Numbered] = deque()

    def append(self, message: Numbered) -> bool:
        """Hold a message."""
        self._messages.append(message)
        return True

    def after(self, sequence: int) -> Iterator[Numbered]:
        """Yield the messages with greater numbers, in order."""
        return (each for each in self._messages if each.sequence > sequence)

    def release(self, sequence: int) -> None:
        """Drop all messages up to this one, which are acknowledged."""
        while self._messages and self._messages[0].sequence <= sequence:
            self._messages.popleft()
