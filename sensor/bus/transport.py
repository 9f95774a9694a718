"""Transports: what the bus runs over, chosen by the scheme of an address."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sensor.bell import Bell
from sensor.bus.client import Client
from sensor.bus.endpoint import Endpoint
from sensor.bus.interface import BusClient, BusServer, Handler
from sensor.bus.server import Server
from sensor.bus.tls import Admission
from sensor.bus.vocabulary import Vocabulary


class _MakesServers(Protocol):
    def __call__(
        self,
        address: str,
        handler: Handler,
        vocabulary: Vocabulary,
        *,
        tls: ssl.SSLContext | None,
        admission: Admission | None,
    ) -> BusServer: ...


class _MakesClients(Protocol):
    def __call__(
        self,
        address: str,
        hello: Callable[[], Any],
        vocabulary: Vocabulary,
        *,
        tls: ssl.SSLContext | None,
        server_name: str | None,
        bell: Bell | None,
    ) -> BusClient: ...


@dataclass(frozen=True)
class Transport:
    """Makes both ends of a transport."""

    server: _MakesServers
    client: _MakesClients


TRANSPORTS = {"tcp": Transport(Server, Client), "unix": Transport(Server, Client)}
"""By scheme. Another transport adds itself here, and to `SCHEMES`."""


def serve(
    address: str,
    handler: Handler,
    vocabulary: Vocabulary,
    *,
    tls: ssl.SSLContext | None = None,
    admission: Admission | None = None,
) -> BusServer:
    """Make a server for an address; BusError says what is wrong with that."""
    make = TRANSPORTS[Endpoint.parse(address).scheme].server
    return make(address, handler, vocabulary, tls=tls, admission=admission)


def dial(
    address: str,
    hello: Callable[[], Any],
    vocabulary: Vocabulary,
    *,
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
    bell: Bell | None = None,
) -> BusClient:
    """Make a client for an address, which asks for its `hello` on every connection; BusError: what is wrong.

    `bell` is rung when something has come for its owner.
    """
    make = TRANSPORTS[Endpoint.parse(address).scheme].client
    return make(address, hello, vocabulary, tls=tls, server_name=server_name, bell=bell)
