"""The bus as its owners see it, and its contract, which every transport keeps.

- *Ordered*: what one peer sends arrives in the order in which it was sent. But of what a server sends, the newest
  acknowledgement goes first and telemetry last. Between peers there is no order.
- *Acknowledged*: nothing. A message that was handed over may be lost with its connection. Who needs an acknowledgement
  numbers its messages and sends again what was not acknowledged, once it is `Connected` again.
- *Bounded*: a frame, what a message may hold, what waits for a peer and for an owner, how much a peer may send in a
  second, how long a peer may be silent. `Limits`, `QueueLimits`, `ServerLimits` and `ClientLimits` say how much.
- *Lost*: what is handed over while there is no connection or no room; telemetry that newer telemetry overtook. A peer
  that lets too much wait is cut off, and told so where that is possible.
- *Counted*: all of that, in `counters`, by name.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Protocol

from sensor.bus.message import Message
from sensor.bus.tls import Identity
from sensor.pki.credentials import Role


@dataclass(frozen=True)
class Peer:
    """A connected peer. Observers are numbered, as several may share a name."""

    name: str
    role: Role
    incarnation: int
    address: str
    identity: Identity | None = None
    """Whom its certificate is of; None where there are none."""


class Handler(Protocol):
    """Receives what peers send; called in the loop's thread, and must not block."""

    def hello(self, peer: Peer, hello: Any) -> Message | None:
        """A peer says who it is: what to answer; None, to an observer, nothing."""

    def received(self, peer: Peer, message: Message) -> None:
        """A message has come; ValueError, which ends the connection, says what in it cannot be."""

    def lost(self, peer: Peer) -> None:
        """A peer's connection is gone."""


class BusServer(Protocol):
    """The manager's end of the bus, in the loop of its owner."""

    counters: Counter[str]
    """Counts of what was refused or given up, by reason."""

    @property
    def address(self) -> str:
        """The addresses it listens at, with the real port."""

    @property
    def peers(self) -> list[Peer]:
        """The connected peers."""

    async def start(self) -> None:
        """Begin to listen; BusError says what is in the way."""

    async def close(self) -> None:
        """Send what is waiting, within a while, and end all connections."""

    def send(self, name: str, message: Message) -> bool:
        """Let a message wait for a peer; False: it is not connected, or was cut off for letting too much wait."""

    def broadcast(self, message: Message) -> None:
        """Let a message wait for every worker."""

    def pause(self) -> None:
        """Read nothing more from workers."""

    def resume(self) -> None:
        """Read from workers again."""

    @property
    def is_paused(self) -> bool:
        """True while nothing is read from workers."""

    def retire(self, name: str, where: str) -> None:
        """End the connection of a peer that has come again, from elsewhere."""

    def check_admission(self) -> None:
        """Cut off those whose certificates hold no more."""


@dataclass(frozen=True)
class Connected:
    """The manager has let this node in; `welcome` is what it said to a worker."""

    welcome: Any = None


@dataclass(frozen=True)
class Disconnected:
    """The connection is gone, or could not be made."""

    reason: str


@dataclass(frozen=True)
class Failed:
    """Nothing more is sent or received, ever."""

    reason: str


Received = Message | Connected | Disconnected | Failed


class BusClient(Protocol):
    """A worker's or an observer's end of the bus. It dials again whenever the connection is lost."""

    counters: Counter[str]
    """Counts of what was dropped, by reason, and of dials."""

    def start(self) -> None:
        """Begin to dial."""

    def stop(self, flush: float = 0.0) -> None:
        """End the connection, once all that waits is sent, or after so many seconds."""

    def send(self, message: Message) -> bool:
        """Hand over a message; False: it was dropped, as there is no connection, no room, or too much of it."""

    def receive(self, timeout: float = 0.0) -> list[Received]:
        """Return what has come; if nothing has, wait `timeout` seconds for the first."""

    def room(self) -> int:
        """Bytes that may still be handed over."""
