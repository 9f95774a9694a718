"""Enrolment: issues a certificate to an invited node. This is the manager's end; `join` is the node's.

The server sends first: the authority's certificate. A node that finds the fingerprint of its token in it connects
again, with TLS that trusts this authority only, and sends its secret. Frames are a length (4 bytes, big-endian) and a
MessagePack message.
"""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from sensor.bus.connection import Connection, ServerLimits, accept
from sensor.bus.endpoint import Endpoint
from sensor.bus.listener import Listener
from sensor.bus.message import Refused
from sensor.bus.tls import server_context
from sensor.clock import elapsed_s, now_ns
from sensor.cluster.vocabulary import VOCABULARY
from sensor.pki.authority import Authority
from sensor.pki.credentials import Credentials, Role
from sensor.pki.registry import Certificate, InvitationError, Registry, RegistryError

log = logging.getLogger(__name__)

LENGTH_BYTES = 4
_INVALID = (
    "the token does not hold: it was used, is too old, or a wrong one was shown three times; "
    "ask for another (`sensor cluster invite`)"
)
"""One text for all reasons, so that nobody can find out which names are invited."""


class Offer(msgspec.Struct, frozen=True):
    """The server's first message, sent to any peer."""

    authority: bytes
    """The authority's certificate (DER)."""


class EnrolmentRequest(msgspec.Struct, frozen=True):
    """A node's request to join."""

    name: str
    secret: bytes
    request: bytes
    """The certificate request (PKCS #10, DER)."""


class Enrolled(msgspec.Struct, frozen=True, tag="enrolled"):
    """The answer to a node that has joined."""

    certificate: bytes
    """The node's certificate (PEM)."""
    cluster: str
    role: Role
    address: str
    """Address of the bus."""
    secret: bytes
    """The cluster's secret."""


@dataclass(frozen=True)
class EnrolmentLimits:
    """Limits for peers that are not authenticated."""

    request_bytes: int = 4 << 10
    deadline_s: float = 5.0
    """Limit for the whole exchange, from the first byte of the TLS handshake."""
    linger_s: float = 1.0
    """Extra time for the peer to read the answer."""
    connections: int = 16
    connections_of_address: int = 4


class EnrolmentServer:
    """Enrols nodes. `folder` is the manager's; `now` returns the time in ns since the epoch."""

    def __init__(self, folder: Path, *, limits: EnrolmentLimits | None = None, now: Callable[[], int] = now_ns) -> None:
        self._folder, self._limits, self._now = folder, limits or EnrolmentLimits(), now
        self._authority, self._credentials = Authority(folder), Credentials.load(folder)
        self._tls = server_context(folder, enrolment=True)
        # The handshake limit is above the deadline, so that a slow handshake counts as slow and not as a fault.
        self._connection_limits = ServerLimits(hello_s=2 * self._limits.deadline_s, linger_s=self._limits.linger_s)
        self._connections: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: Listener | None = None
        self.counters: Counter[str] = Counter()
        """`enrolled`; `offers`: connections that only read the authority; all others name a reason for refusal."""

    async def start(self, address: str | None = None) -> str:
        """Listen at an address, by default that of the tokens; return it with its port. BusError if it fails."""
        endpoint = Endpoint.parse(address or self._credentials.enrolment)
        self._listener = Listener(endpoint, self._take_connection, self.counters, self._limits.linger_s)
        await self._listener.start()
        return self._listener.address

    async def close(self) -> None:
        """End all connections."""
        if self._listener is not None:
            self._listener.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take_connection(self, accepted: socket.socket, where: str) -> None:
        if reason := self._turns_away(where):
            self.counters[reason] += 1
            accepted.close()
            return
        self._connections[where] += 1
        served = self._spawn(self._serve(accepted, where))
        served.add_done_callback(lambda _: accepted.close())  # the task may be cancelled before it starts

    def _turns_away(self, where: str) -> str:
        """Return why a connection is closed before TLS, without an answer; empty: it is not."""
        if self._connections.total() >= self._limits.connections:
            return "too_many"
        return "too_many_of_address" if self._connections[where] >= self._limits.connections_of_address else ""

    async def _serve(self, accepted: socket.socket, where: str) -> None:
        connection: Connection | None = None
        try:
            async with asyncio.timeout(self._limits.deadline_s):
                connection = await accept(accepted, VOCABULARY, self._connection_limits, elapsed_s, self._tls)
                connection.writer.write(frame(Offer(self._authority.der)))
                body = await self._read(connection)
                if body is not None:
                    connection.writer.write(frame(await self._answer(body, where)))
        except TimeoutError:
            self._tell(
                connection, self._refused("slow", where, f"nothing whole came within {self._limits.deadline_s:g} s")
            )
        except ValueError as error:
            self._tell(connection, self._refused("oversize", where, str(error)))
        except (OSError, ssl.SSLError):
            self.counters["broken_connections"] += 1
        finally:
            await self._end(connection, accepted, where)

    async def _read(self, connection: Connection) -> bytes | None:
        """Return the request; None if the peer only read the authority. ValueError if it is too long."""
        data = b""
        while more := await connection.read():
            data += more
            length = int.from_bytes(data[:LENGTH_BYTES], "big")
            if len(data) >= LENGTH_BYTES and length > self._limits.request_bytes:
                raise ValueError(f"a request has {self._limits.request_bytes} bytes at most")
            if len(data) >= LENGTH_BYTES + length:
                return data[LENGTH_BYTES : LENGTH_BYTES + length]
        if data:
            raise ConnectionResetError("it ended within its request")
        self.counters["offers"] += 1
        return None

    async def _answer(self, body: bytes, where: str) -> Enrolled | Refused:
        try:
            request = msgspec.msgpack.decode(body, type=EnrolmentRequest)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._refused("malformed", where, "this is not a request of this version of the sensor")
        try:
            enrolled = await asyncio.to_thread(self._enrol, request)  # it waits for a lock and for the disk
        except InvitationError as error:
            return self._refused(str(error), where, _INVALID)
        except ValueError as error:
            return self._refused("bad_certificate_request", where, str(error))
        except (OSError, RegistryError) as error:
            log.error("%s", error)
            return self._refused("registry", where, "the manager cannot write down who joins; its log says more")
        self.counters["enrolled"] += 1
        log.warning("%s %s has joined from %s", enrolled.role, request.name, where)
        return enrolled

    def _enrol(self, request: EnrolmentRequest) -> Enrolled:
        pem = b""

        def issue(role: Role) -> Certificate:
            nonlocal pem
            issued = self._authority.issue(request.request, request.name, role, self._now())
            pem = issued.pem
            return issued.certificate

        role = Registry(self._folder).redeem(request.name, request.secret, self._now(), issue)
        mine = self._credentials
        return Enrolled(pem, mine.cluster, role, mine.address, mine.secret)

    def _refused(self, name: str, where: str, reason: str) -> Refused:
        self.counters[name] += 1
        log.warning("somebody at %s may not join: %s", where, name)
        return Refused(reason)

    def _tell(self, connection: Connection | None, refused: Refused) -> None:
        if connection is not None:
            connection.writer.write(frame(refused))

    async def _end(self, connection: Connection | None, accepted: socket.socket, where: str) -> None:
        """Close when the peer has, or after a delay: closing with unread data could lose the answer."""
        try:
            if connection is None:
                accepted.close()
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.linger_s):
                    await connection.discard()
        finally:
            if connection is not None:
                connection.cut()
            self._connections[where] -= 1
            self._connections += Counter()  # drops addresses without connections

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def frame(message: Offer | EnrolmentRequest | Enrolled | Refused) -> bytes:
    """Return a message as a frame."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body
