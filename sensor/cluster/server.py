"""The server: the manager's end of the bus. Peers dial in, say who they are, and are heard as far as their role goes.

What another engine has to provide in its place is `start`, `close`, `send`, `broadcast` and `address`, with a `Handler`
called from one thread.
"""

import asyncio
import contextlib
import itertools
import logging
import re
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from sensor.clock import elapsed_s
from sensor.cluster.endpoint import Endpoint, is_friend
from sensor.cluster.frame import FrameDecoder, FrameError, encode
from sensor.cluster.link import Link, Peer, ServerLimits, accept
from sensor.cluster.listener import Listener
from sensor.cluster.messages import Hello, Message, Ping, Refused, Welcome
from sensor.cluster.queue import Rate
from sensor.cluster.roles import ADMITTED, may_send, speaks_for
from sensor.cluster.tls import Admission, Identity
from sensor.words import counted, printable

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9_.:@-]{1,128}")
"""What can stand in a log and on a terminal as it is."""
_SAY_S = 10.0
"""Between lines about connections that were cut off before they said who they are."""
_BLAMES_PER_SECOND, _BLAMES = 0.5, 20.0
"""Lines about peers that broke a rule."""
_TURN = 64
"""Messages of one peer before others have their turn."""


class Handler(Protocol):
    """Who is told what peers say; called in the loop's thread, and must not block."""

    def hello(self, peer: Peer, hello: Hello) -> Welcome | Refused | None:
        """A peer says who it is: what to answer; None, to an observer, nothing."""

    def received(self, peer: Peer, message: Message) -> None:
        """A message has come; ValueError, which ends the connection, says what in it cannot be."""

    def lost(self, peer: Peer) -> None:
        """A peer's connection is gone."""


class Server:
    """Listens at an address; `tls`, with `admission` to say whose certificates hold, is needed for all but loopback and
    Unix sockets. `clock` counts seconds."""

    def __init__(
        self,
        address: str,
        handler: Handler,
        *,
        tls: ssl.SSLContext | None = None,
        admission: Admission | None = None,
        limits: ServerLimits | None = None,
        clock: Callable[[], float] = elapsed_s,
    ) -> None:
        endpoint = Endpoint.parse(address)
        endpoint.require(tls if admission else None)
        self._endpoint, self._handler, self._tls, self._admission = endpoint, handler, tls, admission
        self._limits, self._clock = limits or ServerLimits(), clock
        self._links: dict[str, Link] = {}
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
        """What was refused or given up, by reason; `bad_frames NAME` by the peer that sent them, and beyond
        as many names as there may be peers, `bad_frames others`."""
        self._listener = Listener(endpoint, self._take_connection, self.counters, self._limits.ping_s)

    @property
    def address(self) -> str:
        """Where it listens, with the real port."""
        return self._listener.address

    @property
    def peers(self) -> list[Peer]:
        """Who is connected."""
        return [link.peer for link in self._links.values() if link.peer]

    async def start(self) -> None:
        """Begin to listen; BusError says what is in the way."""
        await self._listener.start()
        self._spawn(self._watch())

    async def close(self) -> None:
        """Send what is waiting, within a while, and end all connections."""
        self._listener.close()
        self._said_at -= _SAY_S
        self._say_of_strangers()
        links = list(self._links.values())
        for link in links:
            link.finish()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.linger_s):
                await asyncio.gather(*(link.is_written.wait() for link in links))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def is_paused(self) -> bool:
        """Whether nothing is read from workers."""
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
        link = self._links.get(name)
        return link is not None and self._put(name, link, message, encode(message))

    def broadcast(self, message: Message) -> None:
        """Let a message wait for every worker."""
        frame = encode(message)
        for name, link in list(self._links.items()):
            if link.peer and link.peer.role == "worker":
                self._put(name, link, message, frame)

    def _put(self, name: str, link: Link, message: Message, frame: bytes) -> bool:
        if link.is_closing:
            return False
        if not link.outbox.put(message, frame):
            self.counters["slow_peers"] += 1
            log.warning("%s does not take what it is sent and was cut off; it may come back", name)
            link.cut()
            return False
        return True

    def retire(self, name: str, where: str) -> None:
        """End the connection of a peer that has come again, from elsewhere."""
        if older := self._links.pop(name, None):
            self.counters["replaced"] += 1
            older.refuse(Refused(f"{name} has connected again, from {where}"))

    def check_admission(self) -> None:
        """Cut off those whose certificates hold no more."""
        for name, link in list(self._links.items()):
            if self._admission is None or link.identity is None:
                continue
            try:
                self._admission.check(link.identity)
            except ValueError as error:
                self.counters["revoked"] += 1
                log.warning("%s was cut off: %s", name, error)
                link.refuse(Refused(str(error), fatal=True))

    def _take_connection(self, connection: socket.socket, where: str) -> None:
        if reason := self._turns_away(connection, where):
            self.counters[reason] += 1
            self._note_stranger(reason, where)
            connection.close()
            return
        self._waiting[where] += 1
        served = self._spawn(self._serve(connection, where))
        served.add_done_callback(lambda _: connection.close())  # it may be cancelled before it has begun

    def _turns_away(self, connection: socket.socket, where: str) -> str:
        """Why a connection is closed before a byte is read; empty: it is not."""
        if not is_friend(connection, self._endpoint.path):
            return "other_user"
        if self._waiting.total() >= self._limits.waiting:
            return "too_many_waiting"
        if where != "unix" and self._waiting[where] >= self._limits.waiting_of_address:
            return "too_many_of_address"
        return "too_many_peers" if len(self._links) >= self._limits.peers else ""

    async def _serve(self, connection: socket.socket, where: str) -> None:
        """One connection, from its first byte to its last."""
        link: Link | None = None
        is_waiting = True
        try:
            async with asyncio.timeout(self._limits.hello_s):
                link = await accept(connection, self._tls, self._limits, self._clock)
                link.identity = self._identify(link)
                decoder = FrameDecoder(self._limits.frames)
                hello = await self._read_hello(link, decoder)
                answer = self._greet(link, hello, where, decoder)
            if isinstance(answer, Refused):
                link.refuse(answer)
            else:
                self._leave_waiting(where)
                is_waiting = False
                self._spawn(self._write(link, answer))
                await self._listen_to(link, decoder)
        except FrameError as error:
            self._blame(link, error, where)
        except OSError as error:
            is_slow = is_waiting and isinstance(error, TimeoutError)
            reason = "slow_hello" if is_slow else "broken_connections"
            self.counters[reason] += 1
            if is_waiting:
                self._note_stranger(reason, where, "" if is_slow else str(error))
        except Exception:
            log.exception("the manager failed on what a peer sent")
            failed = FrameError("handler_failed", "the manager could not deal with that; its log says why")
            self._blame(link, failed, where)
        finally:
            try:
                await self._end(link) if link else connection.close()
            finally:
                if is_waiting:
                    self._leave_waiting(where)

    def _leave_waiting(self, where: str) -> None:
        self._waiting[where] -= 1
        if not self._waiting[where]:
            del self._waiting[where]

    def _identify(self, link: Link) -> Identity | None:
        """Who is at the other end, by its certificate; None: there are none. Nothing was read of it yet."""
        ssl_object = link.writer.get_extra_info("ssl_object")
        if self._admission is None or ssl_object is None:
            return None
        try:
            return self._admission.identify(ssl_object)
        except ValueError as error:
            raise FrameError("certificate", str(error), fatal=True) from None

    async def _read_hello(self, link: Link, decoder: FrameDecoder) -> Hello:
        """The hello; what came with it waits in the decoder, for the rules of the peer's role."""
        while data := await link.read():
            for message in decoder.feed(data):
                if isinstance(message, Hello):
                    return message
        decoder.end()
        raise ConnectionResetError("it ended before it said hello")

    def _greet(self, link: Link, hello: Hello, where: str, decoder: FrameDecoder) -> Welcome | Refused | None:
        if hello.role not in ADMITTED:
            raise FrameError("role", f"nobody joins as a {hello.role}", fatal=True)
        if not _NAME.fullmatch(hello.name):
            raise FrameError("bad_name", "a name has 1 to 128 letters, digits and characters of _.:@-", fatal=True)
        if link.identity is not None and link.identity[:2] != (hello.name, hello.role):
            text = f"the certificate is of {link.identity.role} {link.identity.name}, not of {hello.role} {hello.name}"
            raise FrameError("other_name", text, fatal=True)
        name = hello.name if hello.role == "worker" else f"{hello.name} {next(self._numbers)}"
        peer = Peer(name, hello.role, hello.incarnation, where, link.identity)
        answer = self._handler.hello(peer, hello)
        if isinstance(answer, Refused):
            self.counters["refused"] += 1
            return answer
        self.retire(name, where)
        link.peer = peer
        decoder.greet(hello.role)
        self._links[name] = link
        return answer

    async def _listen_to(self, link: Link, decoder: FrameDecoder) -> None:
        peer, data = link.peer, b""
        assert peer is not None
        while not link.is_closing:
            count = 0
            for message in decoder.feed(data):
                count += 1
                self._take(peer, message)
                if count % _TURN == 0:
                    await asyncio.sleep(0)
                if self.is_paused and peer.role == "worker":
                    await link.wait(self._takes)
                    if link.is_closing:
                        return
            await link.pace(count, len(data))
            await asyncio.sleep(0)  # others have their turn
            data = await link.read()
            if not data:
                decoder.end()
                return

    def _take(self, peer: Peer, message: Message) -> None:
        if not may_send(peer.role, message):
            raise FrameError("role", f"a {peer.role} does not send {type(message).__name__}", fatal=True)
        if not speaks_for(peer.name, message):
            raise FrameError("other_name", f"{type(message).__name__} is in another's name", fatal=True)
        if isinstance(message, Ping):
            return
        try:
            self._handler.received(peer, message)
        except ValueError as error:
            raise FrameError("impossible", f"{type(message).__name__}: {error}") from None

    def _blame(self, link: Link | None, error: FrameError, where: str) -> None:
        """A peer broke a rule: it is told, and counted."""
        self.counters[error.name] += 1
        if link is None or link.peer is None:
            self._note_stranger(error.name, where, error.text)
        else:
            self._count_bad_frame(link.peer.name.partition(" ")[0])
            if not self._blames.spend(0.0):
                self._blames.spend(1.0)
                log.warning("%s was cut off: %s", link.peer.name, error.text)
        if link is not None:
            link.refuse(Refused(error.text, error.fatal))

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

    async def _write(self, link: Link, first: Message | None) -> None:
        try:
            if not await link.write(first):
                self.counters["stuck_peers"] += 1
                link.cut()
        except OSError:
            link.cut()

    async def _end(self, link: Link) -> None:
        peer = link.peer
        if peer and self._links.get(peer.name) is link:
            del self._links[peer.name]
            self._handler.lost(peer)
        if not link.is_closing:
            link.finish()
        try:
            await link.discard()
        finally:
            link.cut()

    async def _watch(self) -> None:
        """Tell all peers that the manager is there, and cut off those of whom nothing is heard."""
        frame = encode(Ping())
        while True:
            await asyncio.sleep(self._limits.ping_s)
            self._say_of_strangers()
            for name, link in list(self._links.items()):
                link.silent_for += not link.is_paused
                if link.silent_for > 3:
                    self.counters["silent_peers"] += 1
                    log.warning("%s was not heard of for %.0f s and was cut off", name, 3 * self._limits.ping_s)
                    link.cut()
                else:
                    self._put(name, link, Ping(), frame)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
