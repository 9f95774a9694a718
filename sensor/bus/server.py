"""The server: the manager's end of the bus. Peers dial in, say who they are, and may send what their roles may."""

import asyncio
import contextlib
import itertools
import logging
import re
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, cast

from sensor.bus.codec import FrameDecoder, FrameError, encode
from sensor.bus.connection import Connection, ServerLimits, accept
from sensor.bus.endpoint import Endpoint, is_friend
from sensor.bus.interface import Handler, Peer
from sensor.bus.listener import Listener
from sensor.bus.message import Message, Ping, Refused
from sensor.bus.outbox import Rate
from sensor.bus.tls import Admission, Identity
from sensor.bus.vocabulary import Greeting, Vocabulary
from sensor.clock import elapsed_s
from sensor.words import counted, printable

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9_.:@-]{1,128}")
"""Text that can go to a log or a terminal unchanged."""
_SAY_S = 10.0
"""Between lines about connections that were cut off before they said who they are."""
_BLAMES_PER_SECOND, _BLAMES = 0.5, 20.0
"""Lines about peers that broke a rule."""
_TURN = 64
"""Messages of one peer before others have their turn."""


class Server:
    """Listens at an address; `tls`, with `admission` to say whose certificates hold, is needed for all but loopback and
    Unix sockets. `clock` counts seconds."""

    def __init__(
        self,
        address: str,
        handler: Handler,
        vocabulary: Vocabulary,
        *,
        tls: ssl.SSLContext | None = None,
        admission: Admission | None = None,
        limits: ServerLimits | None = None,
        clock: Callable[[], float] = elapsed_s,
    ) -> None:
        endpoint = Endpoint.parse(address)
        endpoint.require(tls if admission else None)
        self._endpoint, self._handler, self._tls, self._admission = endpoint, handler, tls, admission
        self._vocabulary, self._limits, self._clock = vocabulary, limits or ServerLimits(), clock
        self._connections: dict[str, Connection] = {}
        self._waiting: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)
        self._blamed: set[str] = set()
        self._blames = Rate(_BLAMES_PER_SECOND, _BLAMES, clock)
        self._strangers: Counter[str] = Counter()
        self._last_stranger, self._said_at = "", clock() - _SAY_S
        self._takes = asyncio.Event()
        self._takes.set()
        self.counters: Counter[str] = Counter()
        """Counts of what was refused or given up, by reason; `bad_frames NAME` by the peer that sent them, and beyond
        as many names as there may be peers, `bad_frames others`."""
        self._listener = Listener(endpoint, self._take_connection, self.counters, self._limits.ping_s)

    @property
    def address(self) -> str:
        """The addresses it listens at, with the real port."""
        return self._listener.address

    @property
    def peers(self) -> list[Peer]:
        """The connected peers."""
        return [connection.peer for connection in self._connections.values() if connection.peer]

    async def start(self) -> None:
        """Begin to listen; BusError says what is in the way."""
        await self._listener.start()
        self._spawn(self._watch())

    async def close(self) -> None:
        """Send what is waiting, within a while, and end all connections."""
        self._listener.close()
        self._said_at -= _SAY_S
        self._say_of_strangers()
        connections = list(self._connections.values())
        for connection in connections:
            connection.finish()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.linger_s):
                await asyncio.gather(*(connection.is_written.wait() for connection in connections))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def is_paused(self) -> bool:
        """True while nothing is read from workers."""
        return not self._takes.is_set()

    def pause(self) -> None:
        """Read nothing more from workers, but for what came already of a frame; they and observers are told all."""
        if not self.is_paused:
            self.counters["pauses"] += 1
        self._takes.clear()

    def resume(self) -> None:
        """Read from workers again."""
        self._takes.set()

    def send(self, name: str, message: Message) -> bool:
        """Let a message wait for a peer; False: it is not connected, or was cut off for letting too much wait."""
        connection = self._connections.get(name)
        return connection is not None and self._put(name, connection, message, encode(message))

    def broadcast(self, message: Message) -> None:
        """Let a message wait for every worker."""
        frame = encode(message)
        for name, connection in list(self._connections.items()):
            if connection.peer and connection.peer.role == "worker":
                self._put(name, connection, message, frame)

    def _put(self, name: str, connection: Connection, message: Message, frame: bytes) -> bool:
        if connection.is_closing:
            return False
        if not connection.outbox.put(message, frame):
            self.counters["slow_peers"] += 1
            log.warning("%s does not take what it is sent and was cut off; it may come back", name)
            connection.cut()
            return False
        return True

    def retire(self, name: str, where: str) -> None:
        """End the connection of a peer that has come again, from elsewhere."""
        if older := self._connections.pop(name, None):
            self.counters["replaced"] += 1
            older.refuse(Refused(f"{name} has connected again, from {where}"))

    def check_admission(self) -> None:
        """Cut off those whose certificates hold no more."""
        for name, connection in list(self._connections.items()):
            if self._admission is None or connection.identity is None:
                continue
            try:
                self._admission.check(connection.identity)
            except ValueError as error:
                self.counters["revoked"] += 1
                log.warning("%s was cut off: %s", name, error)
                connection.refuse(Refused(str(error), fatal=True))

    def _take_connection(self, accepted: socket.socket, where: str) -> None:
        if reason := self._turns_away(accepted, where):
            self.counters[reason] += 1
            self._note_stranger(reason, where)
            accepted.close()
            return
        self._waiting[where] += 1
        served = self._spawn(self._serve(accepted, where))
        served.add_done_callback(lambda _: accepted.close())  # it may be cancelled before it has begun

    def _turns_away(self, accepted: socket.socket, where: str) -> str:
        """Why a connection is closed before a byte is read; empty: it is not."""
        if not is_friend(accepted, self._endpoint.path):
            return "other_user"
        if self._waiting.total() >= self._limits.waiting:
            return "too_many_waiting"
        if where != "unix" and self._waiting[where] >= self._limits.waiting_of_address:
            return "too_many_of_address"
        return "too_many_peers" if len(self._connections) >= self._limits.peers else ""

    async def _serve(self, accepted: socket.socket, where: str) -> None:
        """One connection, from its first byte to its last."""
        connection: Connection | None = None
        is_waiting = True
        try:
            async with asyncio.timeout(self._limits.hello_s):
                connection = await accept(accepted, self._vocabulary, self._limits, self._clock, self._tls)
                connection.identity = self._identify(connection)
                decoder = FrameDecoder(self._vocabulary, self._limits.frames)
                hello = await self._read_hello(connection, decoder)
                answer = self._greet(connection, hello, where, decoder)
            if isinstance(answer, Refused):
                connection.refuse(answer)
            else:
                self._leave_waiting(where)
                is_waiting = False
                self._spawn(self._write(connection, answer))
                await self._listen_to(connection, decoder)
        except FrameError as error:
            self._blame(connection, error, where)
        except OSError as error:
            is_slow = is_waiting and isinstance(error, TimeoutError)
            reason = "slow_hello" if is_slow else "broken_connections"
            self.counters[reason] += 1
            if is_waiting:
                self._note_stranger(reason, where, "" if is_slow else str(error))
        except Exception:
            log.exception("the manager failed on what a peer sent")
            failed = FrameError("handler_failed", "the manager could not deal with that; its log says why")
            self._blame(connection, failed, where)
        finally:
            try:
                await self._end(connection) if connection else accepted.close()
            finally:
                if is_waiting:
                    self._leave_waiting(where)

    def _leave_waiting(self, where: str) -> None:
        self._waiting[where] -= 1
        if not self._waiting[where]:
            del self._waiting[where]

    def _identify(self, connection: Connection) -> Identity | None:
        """Return the peer's name from its certificate, before anything is read of it; None without certificates."""
        ssl_object = connection.writer.get_extra_info("ssl_object")
        if self._admission is None or ssl_object is None:
            return None
        try:
            return self._admission.identify(ssl_object)
        except ValueError as error:
            raise FrameError("certificate", str(error), fatal=True) from None

    async def _read_hello(self, connection: Connection, decoder: FrameDecoder) -> Greeting:
        """The hello; what came with it waits in the decoder, for the rules of the peer's role."""
        while data := await connection.read():
            for message in decoder.feed(data):
                if isinstance(message, self._vocabulary.hello):
                    return cast(Greeting, message)
        decoder.end()
        raise ConnectionResetError("it ended before it said hello")

    def _greet(self, connection: Connection, hello: Greeting, where: str, decoder: FrameDecoder) -> Message | None:
        if hello.role not in self._vocabulary.admitted:
            raise FrameError("role", f"nobody joins as a {hello.role}", fatal=True)
        if not _NAME.fullmatch(hello.name):
            raise FrameError("bad_name", "a name has 1 to 128 letters, digits and characters of _.:@-", fatal=True)
        if connection.identity is not None and connection.identity[:2] != (hello.name, hello.role):
            whose = f"{connection.identity.role} {connection.identity.name}"
            text = f"the certificate is of {whose}, not of {hello.role} {hello.name}"
            raise FrameError("other_name", text, fatal=True)
        name = hello.name if hello.role == "worker" else f"{hello.name} {next(self._numbers)}"
        peer = Peer(name, hello.role, hello.incarnation, where, connection.identity)
        answer = self._handler.hello(peer, hello)
        if isinstance(answer, Refused):
            self.counters["refused"] += 1
            return answer
        self.retire(name, where)
        connection.peer = peer
        decoder.greet(hello.role)
        self._connections[name] = connection
        return answer

    async def _listen_to(self, connection: Connection, decoder: FrameDecoder) -> None:
        peer, data = connection.peer, b""
        assert peer is not None
        while not connection.is_closing:
            count = 0
            for message in decoder.feed(data):
                count += 1
                self._take(peer, message)
                if count % _TURN == 0:
                    await asyncio.sleep(0)
                if self.is_paused and peer.role == "worker":
                    await connection.wait(self._takes)
                    if connection.is_closing:
                        return
            await connection.pace(count, len(data))
            await asyncio.sleep(0)  # others have their turn
            data = await connection.read()
            if not data:
                decoder.end()
                return

    def _take(self, peer: Peer, message: Message) -> None:
        if not self._vocabulary.allows(peer.role, message):
            raise FrameError("role", f"a {peer.role} does not send {type(message).__name__}", fatal=True)
        if not self._vocabulary.speaks_for(peer.name, message):
            raise FrameError("other_name", f"{type(message).__name__} is in another's name", fatal=True)
        if isinstance(message, Ping):
            return
        try:
            self._handler.received(peer, message)
        except ValueError as error:
            raise FrameError("impossible", f"{type(message).__name__}: {error}") from None

    def _blame(self, connection: Connection | None, error: FrameError, where: str) -> None:
        """A peer broke a rule: it is told, and counted."""
        self.counters[error.name] += 1
        if connection is None or connection.peer is None:
            self._note_stranger(error.name, where, error.text)
        else:
            self._count_bad_frame(connection.peer.name.partition(" ")[0])
            if not self._blames.spend(0.0):
                self._blames.spend(1.0)
                log.warning("%s was cut off: %s", connection.peer.name, error.text)
        if connection is not None:
            connection.refuse(Refused(error.text, error.fatal))

    def _note_stranger(self, reason: str, where: str, text: str = "") -> None:
        """A connection was cut off before it was known whose it is: that is said, of all of a while together."""
        self._strangers[reason] += 1
        whence = "of this host" if where == "unix" else f"from {where}"
        self._last_stranger = f"{whence}{text and ': '}{printable(text)}"

    def _say_of_strangers(self) -> None:
        if not self._strangers or self._clock() - self._said_at < _SAY_S:
            return
        self._said_at = self._clock()
        reasons = ", ".join(f"{name} {count:,}" for name, count in sorted(self._strangers.items()))
        ended = f"{counted(self._strangers.total(), 'connection')} cut off, or ended, before it was known whose"
        log.warning("%s: %s; the last %s", ended, reasons, self._last_stranger)
        self._strangers.clear()

    def _count_bad_frame(self, name: str) -> None:
        if len(self._blamed) < self._limits.peers:
            self._blamed.add(name)
        self.counters[f"bad_frames {name if name in self._blamed else 'others'}"] += 1

    async def _write(self, connection: Connection, first: Message | None) -> None:
        try:
            if not await connection.write(first):
                self.counters["stuck_peers"] += 1
                connection.cut()
        except OSError:
            connection.cut()

    async def _end(self, connection: Connection) -> None:
        peer = connection.peer
        if peer and self._connections.get(peer.name) is connection:
            del self._connections[peer.name]
            self._handler.lost(peer)
        if not connection.is_closing:
            connection.finish()
        try:
            await connection.discard()
        finally:
            connection.cut()

    async def _watch(self) -> None:
        """Tell all peers that the manager is there, and cut off those of whom nothing is heard."""
        frame = encode(Ping())
        while True:
            await asyncio.sleep(self._limits.ping_s)
            self._say_of_strangers()
            for name, connection in list(self._connections.items()):
                connection.silent_for += not connection.is_paused
                if connection.silent_for > 3:
                    self.counters["silent_peers"] += 1
                    log.warning("%s was not heard of for %.0f s and was cut off", name, 3 * self._limits.ping_s)
                    connection.cut()
                else:
                    self._put(name, connection, Ping(), frame)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
