"""A connection between a worker's process and the manager's, of which each end learns by itself that it is gone."""

from dataclasses import dataclass
from typing import Protocol

import msgspec

from sensor.bus.message import Message, Ping
from sensor.cluster.vocabulary import VOCABULARY
from tools.simulation.network import Network

SILENCE_S = 5.0
"""After how long without a message an end takes the other for gone."""

_encoder = msgspec.msgpack.Encoder()
_decoder = VOCABULARY.messages
PING = Ping()


class End(Protocol):
    """A process at one end of connections."""

    def arrived(self, connection: "Connection", message: Message) -> None:
        """A message has come."""

    def closed(self, connection: "Connection") -> None:
        """The other end has closed it."""


@dataclass(eq=False)
class Connection:
    """The way between two processes; what is on its way when it is closed may still arrive."""

    network: Network
    name: str
    """The worker's."""
    worker: End
    manager: End | None
    """None: nobody listens there."""
    heard_by_worker: float
    heard_by_manager: float

    def to_manager(self, message: Message) -> None:
        """Send a message, encoded as on a real bus."""
        self.network.carry(self.name, up=True, arrive=self._at_manager, data=_encoder.encode(message))

    def to_worker(self, message: Message) -> None:
        """Send a message, encoded as on a real bus."""
        self.network.carry(self.name, up=False, arrive=self._at_worker, data=_encoder.encode(message))

    def closed_by_worker(self) -> None:
        """The worker's end is gone, and the system tells the other."""
        self.network.signal(self.name, up=True, arrive=self._end_at_manager)

    def closed_by_manager(self) -> None:
        """The manager's end is gone, and the system tells the other."""
        self.network.signal(self.name, up=False, arrive=lambda: self.worker.closed(self))

    def _end_at_manager(self) -> None:
        if self.manager is not None:
            self.manager.closed(self)

    def _at_manager(self, data: bytes) -> None:
        if self.manager is not None:
            self.manager.arrived(self, _decoder.decode(data))

    def _at_worker(self, data: bytes) -> None:
        self.worker.arrived(self, _decoder.decode(data))
