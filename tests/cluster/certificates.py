"""Clusters with certificates for tests, and certificates that no authority of ours would issue."""

import contextlib
import datetime
import socket
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sensor.clock import SECOND, now_ns
from sensor.pki.authority import Authority, create, new_key, new_request
from sensor.pki.credentials import AUTHORITY, CERTIFICATE, KEY, Credentials
from sensor.pki.registry import Registry
from sensor.storage.durable_folder import Folder

NOW = now_ns()
"""OpenSSL asks the system for the time, so certificates must be of today."""
DAY = 86400 * SECOND


def make_cluster(folder: Path) -> Authority:
    """A cluster whose manager is at 127.0.0.1."""
    create(folder, "127.0.0.1", bus="127.0.0.1:47700", enrolment=f"127.0.0.1:{free_port()}", now=NOW)
    return Authority(folder)


def make_node(folder: Path, manager: Path, name: str = "worker-1", role="worker", now: int = NOW, cluster: str = ""):
    """The folder of a node that has joined; returns its certificate as the registry knows it."""
    authority = Authority(manager)
    authority.cluster = cluster or authority.cluster
    key = new_key()
    issued = authority.issue(new_request(key), name, role, now)
    registry = Registry(manager)
    secret = registry.invite(name, role, NOW + DAY)
    registry.redeem(name, secret, NOW, lambda role: issued.certificate)
    fill(folder, (manager / AUTHORITY).read_bytes(), issued.pem, key)
    mine = Credentials.load(manager)
    Credentials(mine.cluster, name, role, mine.address, mine.secret).save(folder)
    return issued.certificate


def fill(folder: Path, authority: bytes, certificate: bytes, key: bytes) -> None:
    """Write the files that TLS needs."""
    with contextlib.closing(Folder(folder)) as disk:
        disk.replace(AUTHORITY, authority)
        disk.replace(CERTIFICATE, certificate)
        disk.replace(KEY, key)


def forge(names: list[x509.GeneralName], signer: Path | None = None) -> tuple[bytes, bytes]:
    """A certificate and its key (PEM) for any names, signed by the authority in a folder; None: by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject, signing = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "forged")]), key
    issuer = subject
    if signer:
        issuer = x509.load_pem_x509_certificate((signer / AUTHORITY).read_bytes()).subject
        signing = load_pem_private_key((signer / "ca.key").read_bytes(), None)
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key())
    ski = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = builder.add_extension(aki, critical=False).add_extension(ski, critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signing, SHA256()).public_bytes(Encoding.PEM), pem_of(key)


def pem_of(key) -> bytes:
    """A key as PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def without_certificate(authority: bytes) -> ssl.SSLContext:
    """A client that knows the authority (PEM), and has no certificate to show."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.decode())
    return context
