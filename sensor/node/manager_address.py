"""The address of a manager: where a node reaches its manager, and as whom."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sensor.bell import Bell
from sensor.bus.endpoint import BusError, Endpoint
from sensor.bus.interface import BusClient
from sensor.bus.tls import client_context
from sensor.bus.transport import dial
from sensor.cluster.messages import Hello
from sensor.cluster.vocabulary import VOCABULARY
from sensor.pki.credentials import Credentials

DEFAULT = "127.0.0.1:47700"
"""Default address of a manager."""
CLUSTER, SOCKET = "cluster", "bus"
"""In a node's folder: certificates, and where a manager listens for this host's own users."""


@dataclass(frozen=True)
class ManagerAddress:
    """An address, and the folder of the certificate to show there; None: none is shown, and nobody else can listen.

    `secret` is the cluster's; None: it is of none.
    """

    address: str
    folder: Path | None = None
    secret: bytes | None = field(default=None, repr=False)

    @classmethod
    def find(cls, address: str | None, state: Path) -> "ManagerAddress":
        """The manager at an address, or else that of the cluster which this host is of by its `state` folder.

        BusError says what is missing where an address needs a certificate.
        """
        if address and Endpoint.parse(address).path and address != local_socket(state):
            return cls(address)
        mine = credentials(state)
        if address is None or address == local_socket(state):
            return cls(address or DEFAULT) if mine is None else cls._own(mine, state)
        if Endpoint.parse(address).is_local and (mine is None or address != mine.address):
            return cls(address)
        if mine is None or mine.role == "manager":
            who = f"there are none in {state / CLUSTER}" if mine is None else "the manager's own will not do"
            raise BusError(
                f"{address} is on another host, where the bus needs certificates, and {who}: get a token there with "
                "`sensor cluster invite NAME`, and use it here with `sensor cluster join TOKEN`"
            )
        return cls(address, state / CLUSTER, mine.secret)

    @classmethod
    def _own(cls, mine: Credentials, state: Path) -> "ManagerAddress":
        if mine.role == "manager":
            return cls(local_socket(state), None, mine.secret)
        return cls(mine.address, state / CLUSTER, mine.secret)

    @property
    def credentials(self) -> Credentials | None:
        """This node's credentials; None: its name is whatever it says."""
        return None if self.folder is None else Credentials.load(self.folder)

    def client(self, hello: Callable[[], Hello], bell: Bell | None = None) -> tuple[BusClient, ssl.SSLContext | None]:
        """A client of the bus, and what it shows its certificate by. CredentialsError if that cannot be used."""
        mine = self.credentials
        if self.folder is None or mine is None:
            return dial(self.address, hello, VOCABULARY, bell=bell), None
        tls = client_context(self.folder)
        host = Endpoint.parse(mine.address).host
        return dial(self.address, hello, VOCABULARY, tls=tls, server_name=host, bell=bell), tls


def credentials(state: Path) -> Credentials | None:
    """Return the credentials of a node's folder; None: it has none. CredentialsError if they are damaged."""
    return Credentials.load(state / CLUSTER) if Credentials.exist(state / CLUSTER) else None


def local_socket(state: Path) -> str:
    """Return the Unix socket where a manager listens for local users, beside the address that needs certificates."""
    return f"unix:{(state / SOCKET).absolute()}"
