"""What tests of a whole manager share: one that runs in the test's own loop, and connections that speak for workers."""

import asyncio
import contextlib

from sensor.bus.codec import FrameDecoder, encode
from sensor.bus.message import Ping
from sensor.cluster.messages import Ack, DetectionSwitchedOff, Hello, Welcome
from sensor.cluster.vocabulary import VOCABULARY
from sensor.config import configure
from sensor.node.manager_node import ManagerNode

PATIENCE_S = 20.0
SETTINGS = configure(names=("port_scan",))


@contextlib.asynccontextmanager
async def running(state, outputs=(), **options):
    """A manager that keeps its state in a folder; ended in order with the block."""
    node, is_ready = ManagerNode(SETTINGS, outputs, state=state, **options), asyncio.Event()
    ran = asyncio.create_task(node.run("127.0.0.1:0", ready=lambda address: is_ready.set()))
    waits = asyncio.create_task(is_ready.wait())
    await asyncio.wait([ran, waits], return_when=asyncio.FIRST_COMPLETED)
    waits.cancel()
    try:
        if ran.done():
            ran.result()
        yield node
    finally:
        node.stop()
        async with asyncio.timeout(PATIENCE_S):
            await ran


async def until(condition, what):
    """Wait for what the manager in this loop does."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what}") from None


class Speaker:
    """A connection that says what a test tells it to, and keeps what it hears; made by `speaking`."""

    def __init__(self, reader, writer):
        self._reader, self.writer = reader, writer
        self._decoder = FrameDecoder(VOCABULARY, role="manager")
        self.heard, self.pings = [], 0
        self.is_over = False

    def say(self, *messages):
        """Send messages, as far as the manager reads them."""
        self.writer.write(b"".join(map(encode, messages)))

    async def listen(self):
        """Keep what comes, until the connection ends."""
        with contextlib.suppress(ConnectionError):
            while data := await self._reader.read(65536):
                for message in self._decoder.feed(data):
                    self.pings += isinstance(message, Ping)
                    self.heard += [] if isinstance(message, Ping) else [message]
        self.is_over = True

    def last(self, kind):
        """The latest of a kind of message, if any came."""
        return next((each for each in reversed(self.heard) if isinstance(each, kind)), None)

    @property
    def acknowledged(self):
        """Up to which message all are acknowledged: by a welcome as well as by what says so."""
        return max((each.sequence for each in self.heard if isinstance(each, Ack | Welcome)), default=0)


@contextlib.asynccontextmanager
async def speaking(node, name="a", role="worker", sequence=1, incarnation=1):
    """A connection that has said hello."""
    host, _, port = node.servers.addresses[0].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    speaker = Speaker(reader, writer)
    speaker.say(Hello(name, role, "0.1.0", node.manager.digest, incarnation, sequence, replays=True))
    listens = asyncio.create_task(speaker.listen())
    try:
        yield speaker
    finally:
        writer.transport.abort()
        await listens


def switched_off(name, sequence):
    """A numbered message that the journal must have, of about a hundred bytes, of which an alert comes."""
    return DetectionSwitchedOff(name, 1, sequence, "port_scan", sequence)
