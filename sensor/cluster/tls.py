"""TLS for the bus: who is at the other end, by certificates of the cluster's own authority and of nobody else.

A node's folder holds its key and certificate, the authority's certificate, and what else it knows of its cluster. A
certificate names its node in one URI, sensor://CLUSTER/ROLE/NAME; those of managers serve for servers only and all
others for clients only, so that TLS itself refuses a worker that poses as the manager.
"""

import hashlib
import re
import ssl
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, NamedTuple, cast

import msgspec

from sensor.cluster.disk import Folder
from sensor.cluster.messages import Role

AUTHORITY, CERTIFICATE, KEY = "ca.pem", "node.pem", "node.key"
_CREDENTIALS = "node.json"

NAME = "[a-z0-9][a-z0-9-]{0,31}"
"""What nodes may be called (a regular expression)."""
_SUBJECT = re.compile(f"sensor://(?P<cluster>[0-9a-f]{{16}})/(?P<role>worker|manager|observer)/(?P<name>{NAME})")


class CredentialsError(Exception):
    """A node's folder is not as it must be; the text says what is wrong, where, and what to do."""


class Identity(NamedTuple):
    """Whom a certificate is of."""

    name: str
    role: Role
    serial: str
    """The certificate's number, in lower-case hexadecimal digits."""


class Credentials(msgspec.Struct, frozen=True):
    """What a node knows of its cluster, beside keys and certificates."""

    cluster: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{16}\Z")]
    name: Annotated[str, msgspec.Meta(pattern=rf"\A{NAME}\Z")]
    role: Role
    address: str
    """Of the bus, HOST:PORT; the manager's certificate is for this host."""
    secret: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
    """The cluster's own, which every node has."""
    enrolment: str = ""
    """Where nodes enrol, HOST:PORT; only the manager's folder says it."""

    def __repr__(self) -> str:
        return f"Credentials({self.role} {self.name} of {self.cluster})"

    @staticmethod
    def exist(folder: Path) -> bool:
        """Whether a folder is that of a node; what lacks them is left over from an attempt that failed."""
        return (folder / _CREDENTIALS).exists()

    @classmethod
    def load(cls, folder: Path) -> "Credentials":
        """Read those of a folder; CredentialsError if there are none."""
        path = folder / _CREDENTIALS
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError:
            join = "make one with `sensor cluster init`, join one with `sensor cluster join`"
            raise CredentialsError(f"no cluster in {folder}: {join}, or name its folder with --state") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CredentialsError(f"{path} is damaged ({error}): restore it, or remove {folder} and join") from None

    def save(self, folder: Path) -> None:
        """Write them; the last thing to be written of a folder, as with them it counts."""
        with closing(Folder(folder)) as disk:
            disk.replace(_CREDENTIALS, msgspec.json.encode(self))


def server_context(folder: Path, *, enrolment: bool = False) -> ssl.SSLContext:
    """For the manager's end. Peers must show a certificate of the authority's; not for `enrolment`, as they have none.

    CredentialsError names what is missing in the folder.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0  # a session that is resumed would outlive its certificate
    context.verify_mode = ssl.CERT_NONE if enrolment else ssl.CERT_REQUIRED
    return _with_certificates(context, folder)


def client_context(folder: Path) -> ssl.SSLContext:
    """For all other ends, with the host of `Credentials.address` as server name. CredentialsError as above."""
    return _with_certificates(_context(ssl.PROTOCOL_TLS_CLIENT), folder)


def pinned_context(authority: bytes) -> ssl.SSLContext:
    """For a client without a certificate, which trusts this authority only (DER). SSLError if it is no certificate."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority)
    return context


def blind_context() -> ssl.SSLContext:
    """For a client that trusts nothing of what it reads, and says nothing."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def fingerprint(folder: Path) -> bytes:
    """By which a token tells the authority of a folder: SHA-256 of its certificate (DER)."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert((folder / AUTHORITY).read_text())).digest()


def identity(ssl_object: ssl.SSLObject | ssl.SSLSocket, cluster: str) -> Identity:
    """Whom the certificate at the other end is of; ValueError if it is not of a node of this cluster."""
    certificate = ssl_object.getpeercert() or {}
    names = cast(tuple[tuple[str, str], ...], certificate.get("subjectAltName", ()))
    uris = [name for kind, name in names if kind == "URI"]
    match = _SUBJECT.fullmatch(uris[0]) if len(uris) == 1 else None
    if match is None:
        raise ValueError("the certificate does not name a node of a cluster")
    if match["cluster"] != cluster:
        raise ValueError(f"the certificate is of cluster {match['cluster']}, and this is {cluster}: join this one")
    serial = int(cast(str, certificate["serialNumber"]), 16)
    return Identity(match["name"], cast(Role, match["role"]), f"{serial:x}")


class Admission:
    """Says who may be in a cluster. `is_revoked` tells of a name and the serial number of its certificate."""

    def __init__(self, cluster: str, is_revoked: Callable[[str, str], bool]) -> None:
        self._cluster, self._is_revoked = cluster, is_revoked

    def identify(self, ssl_object: ssl.SSLObject | ssl.SSLSocket) -> Identity:
        """Who is at the other end; ValueError if its certificate is of another cluster, or holds no more."""
        peer = identity(ssl_object, self._cluster)
        self.check(peer)
        return peer

    def check(self, peer: Identity) -> None:
        """ValueError if a certificate that did hold does so no more."""
        if self._is_revoked(peer.name, peer.serial):
            raise ValueError(f"the certificate of {peer.name} no longer holds: it was revoked, replaced, or is too old")


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def _with_certificates(context: ssl.SSLContext, folder: Path) -> ssl.SSLContext:
    missing = [name for name in (AUTHORITY, CERTIFICATE, KEY) if not (folder / name).exists()]
    if missing:
        raise CredentialsError(f"{folder} lacks {', '.join(missing)}: restore it, or remove {folder} and join again")
    try:
        context.load_verify_locations(folder / AUTHORITY)
        context.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    except ssl.SSLError as error:
        text = f"the certificates in {folder} cannot be used ({error}): restore them, or remove {folder} and join again"
        raise CredentialsError(text) from None
    return context
