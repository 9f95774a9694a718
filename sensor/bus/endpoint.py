"""Endpoints: where the bus is reached, "tcp://HOST:PORT" or "unix:///PATH", and how a socket is had there.

People may leave the slashes out: "HOST:PORT" and "unix:/PATH" are read, and written, too.

What has no TLS stays on the machine: on loopback, or on a Unix socket of mode 0600 at both ends of which is the same
user, or root, by what the kernel says.
"""

import asyncio
import contextlib
import ipaddress
import os
import socket
import ssl
import struct
from dataclasses import dataclass

SCHEMES = ("tcp", "unix")
"""Schemes of addresses: the transports that the bus runs over."""
_BACKLOG = 128
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))


class BusError(Exception):
    """The bus cannot be set up as asked; the text says how it can."""


@dataclass(frozen=True)
class Endpoint:
    """An address of the bus; `path` is empty unless it is a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """Read "HOST:PORT" ("[HOST]:PORT" for IPv6; port 0: any that is free) or "unix:/PATH"; BusError if neither."""
        scheme = text.partition("://")[0] if "://" in text else ""
        if scheme not in ("", *SCHEMES):
            raise BusError(f"{text!r}: there is no transport {scheme}://; write tcp://HOST:PORT or unix:///PATH")
        if text.startswith("unix:/"):
            return cls(path=text.removeprefix("unix:").replace("//", "", 1) if scheme else text.removeprefix("unix:"))
        host, _, port = text.removeprefix("tcp://").rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
            raise BusError(f"{text!r} is no address of the bus; write HOST:PORT, [HOST]:PORT for IPv6, or unix:/PATH")
        return cls("127.0.0.1" if host == "localhost" else host, int(port))

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def scheme(self) -> str:
        """The transport of the address."""
        return "unix" if self.path else "tcp"

    @property
    def is_local(self) -> bool:
        """True if no traffic to the address leaves the machine; a name might lead anywhere."""
        try:
            return bool(self.path) or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def require(self, tls: ssl.SSLContext | None) -> None:
        """BusError unless there is TLS where it is needed."""
        if tls is None and not self.is_local:
            raise BusError(
                f"{self} is not on this machine alone, so the bus needs TLS there: give it certificates, "
                "or use 127.0.0.1, [::1] or unix:/PATH"
            )


def is_friend(peer: socket.socket, heir: str = "") -> bool:
    """Return whether a Unix socket's peer is this user, root, or the owner of the path `heir`; True for other sockets.

    `heir`: the path of a listener, which root may have handed over to the user that its workers become.
    """
    if peer.family != socket.AF_UNIX:
        return True
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    friends = {0, os.geteuid()}
    if heir:
        with contextlib.suppress(FileNotFoundError):
            friends.add(os.stat(heir).st_uid)
    return _CREDENTIALS.unpack(credentials)[1] in friends


async def listen(endpoint: Endpoint) -> socket.socket:
    """A socket that takes connections there; BusError says what is in the way."""
    try:
        return _listen_unix(endpoint.path) if endpoint.path else await _listen_tcp(endpoint)
    except OSError as error:
        raise BusError(f"cannot listen on {endpoint}: {error.strerror or error}; is a manager running there?") from None


async def connect(
    endpoint: Endpoint, tls: ssl.SSLContext | None, server_name: str | None, most: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Streams to whoever listens there, of which `most` bytes are read ahead; OSError if nobody does."""
    if endpoint.path:
        reader, writer = await asyncio.open_unix_connection(endpoint.path, limit=most)
        if not is_friend(writer.get_extra_info("socket")):
            writer.transport.abort()
            raise ConnectionError(f"the manager at {endpoint} belongs to another user; give it a path that is yours")
        return reader, writer
    name = (server_name or endpoint.host) if tls else None
    return await asyncio.open_connection(endpoint.host, endpoint.port, ssl=tls, server_hostname=name, limit=most)


async def _listen_tcp(endpoint: Endpoint) -> socket.socket:
    found = await asyncio.get_running_loop().getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    listener = socket.create_server(found[0][4][:2], family=found[0][0], backlog=_BACKLOG)
    listener.setblocking(False)
    return listener


def _listen_unix(path: str) -> socket.socket:
    """Nobody can connect before `listen`, by when the mode is set."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        _remove_stale(path)
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _remove_stale(path: str) -> None:
    """Remove a socket on which nobody listens any more."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except FileNotFoundError:
            pass
