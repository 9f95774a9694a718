"""TLS for the bus: who is at the other end, by certificates of the cluster's own authority and of nobody else.

A certificate names its node in one URI, sensor://CLUSTER/ROLE/NAME. Those of managers serve for servers only and all
others for clients only, so that TLS itself refuses a worker that poses as the manager.
"""

import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

from sensor.pki.credentials import AUTHORITY, CERTIFICATE, KEY, NAME, CredentialsError, Role

_SUBJECT = re.compile(f"sensor://(?P<cluster>[0-9a-f]{{16}})/(?P<role>worker|manager|observer)/(?P<name>{NAME})")


class Identity(NamedTuple):
    """Whom a certificate is of."""

    name: str
    role: Role
    serial: str
    """The certificate's number, in lower-case hexadecimal digits."""


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
        """Return the peer's name; ValueError if its certificate is of another cluster, or no longer valid."""
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
