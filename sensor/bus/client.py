"""The client: a worker's or an observer's end of the bus, in a thread of its own, as its owner is busy with packets.

It dials until it is let in, and again whenever the connection is lost, with pauses that grow and differ from node to
node. What is handed over while it is not connected is dropped: the protocol above sends again what must arrive. What
another engine has to provide in its place is `start`, `send`, `receive`, `room` and `stop`.
"""

import asyncio
import contextlib
import logging
import queue
import random
import ssl
import threading
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from sensor.bell import Bell
from sensor.bus.codec import FrameDecoder, FrameError, encode
from sensor.bus.endpoint import Endpoint, connect
from sensor.bus.interface import Connected, Disconnected, Failed, Received
from sensor.bus.message import Message, Ping, Refused
from sensor.bus.vocabulary import Vocabulary
from sensor.pki.credentials import Role

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClientLimits:
    """Timeouts and limits of a client."""

    queue_bytes: int = 128 << 20
    """Limits of the outbox: more than a worker may have unacknowledged."""
    received: int = 65536
    """Messages that may wait for the owner; beyond them nothing more is read."""
    chunk: int = 256 << 10
    hello_s: float = 5.0
    ping_s: float = 1.0
    """Seconds between keepalives to the manager; three times as long without a message closes the connection."""
    least_pause_s: float = 0.1
    most_pause_s: float = 5.0


class Client:
    """Keeps a connection to a manager. `hello` is called on every connection, in the client's thread.

    `bell` is rung when something has come.
    """

    def __init__(
        self,
        address: str,
        hello: Callable[[], Any],
        vocabulary: Vocabulary,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        limits: ClientLimits | None = None,
        seed: int | None = None,
        bell: Bell | None = None,
    ) -> None:
        self._endpoint = Endpoint.parse(address)
        self._endpoint.require(tls)
        "".encode("idna")  # TLS looks for that when it connects: by then this process may read no file of Python's
        self._hello, self._tls, self._server_name, self._bell = hello, tls, server_name, bell or Bell()
        self._vocabulary = vocabulary
        self._limits, self._random = limits or ClientLimits(), random.Random(seed)
        self._received: queue.Queue[Received] = queue.Queue(self._limits.received)
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._is_connected, self._is_stopping = False, False
        self._pause = self._limits.least_pause_s
        self._loop = asyncio.new_event_loop()
        self._wake = asyncio.Event()
        self._dialling: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._thread = threading.Thread(target=self._run, name="bus", daemon=True)
        self.counters: Counter[str] = Counter()
        """`messages_unsent`: dropped as there was no connection or no room; `messages_oversize`; `reconnects`."""

    def start(self) -> None:
        """Begin to dial."""
        self._thread.start()

    def stop(self, flush: float = 0.0) -> None:
        """End the connection, once all that waits is sent, or after so many seconds."""
        if not self._thread.is_alive():
            return
        self._is_stopping = True
        self._call(self._wake.set)
        self._thread.join(flush)
        self._call(self._cancel)
        self._thread.join()

    def send(self, message: Message) -> bool:
        """Hand over a message; False: it was dropped, as there is no connection, no room, or too much of it."""
        try:
            frame = encode(message)
        except FrameError as error:
            self.counters["messages_oversize"] += 1
            log.warning("%s", error.text)
            return False
        with self._lock:
            if not self._is_connected or self._waiting_bytes + len(frame) > self._limits.queue_bytes:
                self.counters["messages_unsent"] += 1
                return False
            is_first = not self._waiting
            self._waiting.append(frame)
            self._waiting_bytes += len(frame)
        if is_first:  # else it was woken for the one before
            self._call(self._wake.set)
        return True

    def room(self) -> int:
        """Bytes that may still be handed over."""
        return self._limits.queue_bytes - self._waiting_bytes

    def receive(self, timeout: float = 0.0) -> list[Received]:
        """Return what has come; if nothing has, wait `timeout` seconds for the first."""
        taken: list[Received] = []
        with contextlib.suppress(queue.Empty):
            taken.append(self._received.get(timeout > 0, timeout or None))
            while True:
                taken.append(self._received.get_nowait())
        return taken

    def _call(self, function: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(function)

    def _cancel(self) -> None:
        if self._dialling:
            self._dialling.cancel()

    def _run(self) -> None:
        self._dialling = self._loop.create_task(self._dial())
        try:
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._dialling)
        except Exception as error:
            log.exception("the bus has failed: nothing more is sent or received")
            with contextlib.suppress(queue.Full):
                self._received.put_nowait(Failed(f"the bus has failed: {error!r}"))
            self._bell.ring()
        self._loop.run_until_complete(self._clear())
        self._loop.close()

    async def _clear(self) -> None:
        """End what is left: it may have been stopped at any moment."""
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if self._writer is not None:
            self._writer.transport.abort()
            with contextlib.suppress(OSError):  # why it ended was told
                await self._writer.wait_closed()

    async def _dial(self) -> None:
        while not self._is_stopping:
            try:
                await self._converse()
            except FrameError as error:
                await self._tell(Disconnected(error.text))
                if error.fatal:
                    return
            except (OSError, TimeoutError, EOFError) as error:
                nobody = "nobody listens there" if isinstance(error, ConnectionRefusedError) else ""
                await self._tell(Disconnected(nobody or str(error) or type(error).__name__))
            self.counters["reconnects"] += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause * self._random.uniform(0.5, 1.0)):
                    while not self._is_stopping:
                        self._wake.clear()
                        await self._wake.wait()
            self._pause = min(2 * self._pause, self._limits.most_pause_s)

    async def _converse(self) -> None:
        """One connection."""
        async with asyncio.timeout(self._limits.hello_s):
            reader, writer = await connect(self._endpoint, self._tls, self._server_name, self._limits.chunk)
        self._writer = writer
        tasks: list[asyncio.Task[None]] = []
        try:
            hello = self._hello()
            writer.write(encode(hello))
            await self._receive(reader, hello.role, lambda: tasks.extend(self._begin(writer)))
        finally:
            with self._lock:
                self._is_connected = False
                self._waiting.clear()
                self._waiting_bytes = 0
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            writer.transport.abort()

    def _begin(self, writer: asyncio.StreamWriter) -> list[asyncio.Task[None]]:
        self._pause = self._limits.least_pause_s
        with self._lock:
            self._is_connected = True

        def spawn(work: Coroutine[object, object, None]) -> asyncio.Task[None]:
            return asyncio.get_running_loop().create_task(work)

        return [spawn(self._write(writer)), spawn(self._ping())]

    async def _receive(self, reader: asyncio.StreamReader, role: Role, begin: Callable[[], None]) -> None:
        decoder = FrameDecoder(self._vocabulary, role="manager")
        is_in = False
        if role == "observer":  # which is not welcomed
            is_in = True
            begin()
            await self._tell(Connected())
        while True:
            async with asyncio.timeout(3 * self._limits.ping_s if is_in else self._limits.hello_s):
                data = await reader.read(self._limits.chunk)
            if not data:
                raise EOFError(self._why_closed(is_in))
            for message in decoder.feed(data):
                if not self._vocabulary.allows("manager", message):
                    raise FrameError("role", f"a manager does not send {type(message).__name__}")
                if isinstance(message, Refused):
                    await self._tell(message)
                    raise FrameError("refused", message.reason, fatal=message.fatal)
                if isinstance(message, self._vocabulary.welcome) and not is_in:
                    is_in = True
                    begin()
                    await self._tell(Connected(message))
                elif not isinstance(message, Ping):
                    await self._tell(message)

    def _why_closed(self, is_in: bool) -> str:
        if is_in or self._tls or self._endpoint.path:
            return "the manager has closed the connection"
        return "it closed the connection at once; if it asks for certificates, join its cluster: `sensor cluster join`"

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        """Send what waits; when stopping, end the stream once there is nothing more: the manager then ends its own."""
        while True:
            with self._lock:
                frames = list(self._waiting)
                self._waiting.clear()
            for frame in frames:
                writer.write(frame)
                await writer.drain()
                with self._lock:
                    self._waiting_bytes -= len(frame)
            if self._waiting:
                continue
            if self._is_stopping:
                writer.write_eof() if writer.can_write_eof() else writer.close()
                return
            self._wake.clear()
            await self._wake.wait()

    async def _ping(self) -> None:
        frame = encode(Ping())
        while True:
            await asyncio.sleep(self._limits.ping_s)
            with self._lock:
                if not self._waiting:  # else the manager hears of this node anyway
                    self._waiting.append(frame)
                    self._waiting_bytes += len(frame)
            self._wake.set()

    async def _tell(self, what: Received) -> None:
        """Let the owner know; while it does not take anything, nothing more is read, unless it stops anyway."""
        while True:
            try:
                self._received.put_nowait(what)
                self._bell.ring()
                return
            except queue.Full:
                if self._is_stopping:
                    return
                await asyncio.sleep(self._limits.ping_s / 10)
