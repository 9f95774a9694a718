"""One connection of the manager's end of the bus: what waits for the peer, and how it is ended."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from sensor.bus.codec import Limits, encode
from sensor.bus.interface import Peer
from sensor.bus.message import Message, Refused
from sensor.bus.outbox import Outbox, QueueLimits, Rate
from sensor.bus.tls import Identity
from sensor.bus.vocabulary import Vocabulary

CHUNK = 64 << 10
"""Bytes that are read or written at a time: what a peer may hold up the others by, in one turn of the loop."""


@dataclass(frozen=True)
class ServerLimits:
    """Limits on peers."""

    frames: Limits = field(default_factory=Limits)
    queue: QueueLimits = field(default_factory=QueueLimits)
    hello_s: float = 5.0
    """Seconds for a peer's TLS handshake and hello."""
    waiting: int = 64
    """Connections that have not said hello."""
    waiting_of_address: int = 4
    """Those of one address; for Unix sockets there is no such limit."""
    peers: int = 1024
    """Peers that have said hello, as many as file descriptors usually allow."""
    ping_s: float = 1.0
    """Seconds between keepalives to each peer; a peer that is silent for three times as long is cut off."""
    drain_s: float = 10.0
    """Seconds for a peer to accept what is written to it."""
    linger_s: float = 1.0
    """Seconds for a closing connection to deliver its reason."""
    messages_per_second: float = 10_000.0
    """Messages a second of one peer; a worker sends some for each block of packets and each thousand keys."""
    bytes_per_second: float = 256e6
    """Bytes a second of one peer: two gigabits a second."""
    burst_s: float = 2.0
    """For how long it may send so much at once."""


class Connection:
    """A connection; `peer` is None until its hello was accepted. `clock` counts seconds."""

    def __init__(
        self,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        vocabulary: Vocabulary,
        limits: ServerLimits,
        clock: Callable[[], float],
    ) -> None:
        self._reader, self.writer = streams
        self._limits = limits
        self.peer: Peer | None = None
        self.identity: Identity | None = None
        """Whom its certificate is of; None where there are none."""
        self.outbox = Outbox(limits.queue, vocabulary)
        self.silent_for = 0
        """Number of times in a row that the watch found nothing from the peer."""
        self.is_paused = False
        self.is_closing = False
        self.is_written = asyncio.Event()
        """Set when all that was put into the outbox before it was closed is sent, or will not be."""
        messages, size = limits.messages_per_second, limits.bytes_per_second
        self._messages = Rate(messages, messages * limits.burst_s, clock)
        self._bytes = Rate(size, size * limits.burst_s, clock)
        self.writer.transport.set_write_buffer_limits(CHUNK)

    async def read(self) -> bytes:
        """Return the next bytes; empty when the connection has ended."""
        data = await self._reader.read(CHUNK)
        self.silent_for = 0
        return data

    async def pace(self, messages: int, size: int) -> bool:
        """Take no more from a peer that has sent too much, for as long as it takes; whether it had."""
        pause = max(self._messages.spend(messages), self._bytes.spend(size))
        if pause:
            self.is_paused = True
            await asyncio.sleep(pause)
            self.is_paused, self.silent_for = False, 0
        return pause > 0

    async def wait(self, may_go_on: asyncio.Event) -> None:
        """Take no more from the peer until that is set, or its connection has ended; its silence is not its own."""
        self.is_paused = True
        while not (may_go_on.is_set() or self.is_closing):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.ping_s):
                    await may_go_on.wait()
        self.is_paused, self.silent_for = False, 0

    async def write(self, first: Message | None) -> bool:
        """Send `first` and then whatever is put into the outbox, until that is closed; False: the peer is stuck."""
        try:
            data = encode(first) if first else await self.outbox.drain(CHUNK)
            while data:
                self.writer.write(data)
                async with asyncio.timeout(self._limits.drain_s):
                    await self.writer.drain()
                data = await self.outbox.drain(CHUNK)
        except TimeoutError:
            return False
        finally:
            self.is_written.set()
        if self.writer.can_write_eof():
            self.writer.write_eof()
        return True

    def refuse(self, refused: Refused) -> None:
        """Tell the peer why, and end the connection when it has read that, or after a while."""
        if self.is_closing:
            return
        if self.peer is None:  # nothing else is written to it
            self.writer.write(encode(refused))
        else:
            self.outbox.put(refused, encode(refused))
        self.finish()

    def finish(self) -> None:
        """Send no more, and end the connection when the peer does, or after a while."""
        self.is_closing = True
        self.outbox.close()
        asyncio.get_running_loop().call_later(self._limits.linger_s, self.cut)

    def cut(self) -> None:
        """End the connection at once."""
        self.is_closing = True
        self.outbox.close()
        self.writer.transport.abort()

    async def discard(self) -> None:
        """Read on until the connection ends: closed with something unread, it would be reset, and the reason lost."""
        with contextlib.suppress(OSError):
            while await self._reader.read(CHUNK):
                pass


async def accept(
    peer: socket.socket,
    vocabulary: Vocabulary,
    limits: ServerLimits,
    clock: Callable[[], float],
    tls: ssl.SSLContext | None = None,
) -> Connection:
    """Make a connection of a socket that was accepted; OSError if its TLS handshake fails."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(CHUNK, loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    deadlines = {"ssl_handshake_timeout": limits.hello_s, "ssl_shutdown_timeout": limits.linger_s} if tls else {}
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, peer, ssl=tls, **deadlines)
    return Connection((reader, asyncio.StreamWriter(transport, protocol, reader, loop)), vocabulary, limits, clock)
