"""The authority of a cluster: the key that signs the certificates of its nodes, and what a node asks it with.

Importing it needs the cryptography library (the extra `cluster`); who only talks over the bus does without.
"""

import ipaddress
import re
import secrets
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    raise ImportError(
        "certificates need the cryptography library: "
        "pip install cryptography (in a checkout of the sensor: pip install '.[cluster]')"
    ) from None

from sensor.clock import SECOND
from sensor.pki.credentials import AUTHORITY, CERTIFICATE, KEY, Credentials, CredentialsError, Role
from sensor.pki.registry import Certificate, Registry, lock
from sensor.storage.durable_folder import Folder

_AUTHORITY_KEY = "ca.key"
MANAGER = "manager"
"""The manager's name."""

_SKEW = timedelta(hours=1)
"""Certificates hold from so long ago on, as clocks of nodes differ."""
_LIFE = timedelta(days=90)
"""Lifetime of a node's certificate, which is renewed at two thirds of it."""
_AUTHORITY_LIFE = timedelta(days=3650)
"""Lifetime of the authority's and the manager's certificates: their keys lie together, so a shorter one is no help."""
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})?(\.[a-z0-9_]([a-z0-9_-]{0,62})?)*", re.IGNORECASE)


@dataclass(frozen=True)
class Issued:
    """A certificate that was issued."""

    pem: bytes
    certificate: Certificate
    """As the registry knows it."""


class Authority:
    """Signs certificates of one cluster. CredentialsError if the folder is not that of an authority."""

    def __init__(self, folder: Path) -> None:
        self.cluster = Credentials.load(folder).cluster
        try:
            self._certificate = x509.load_pem_x509_certificate((folder / AUTHORITY).read_bytes())
            self._key = _load_key((folder / _AUTHORITY_KEY).read_bytes())
        except (OSError, ValueError) as error:
            raise CredentialsError(f"the authority in {folder} cannot be used ({error}): restore it") from None

    @property
    def der(self) -> bytes:
        """Its certificate."""
        return self._certificate.public_bytes(Encoding.DER)

    def issue(self, request: bytes, name: str, role: Role, now: int) -> Issued:
        """Certify the key of a request (PKCS #10, DER) for a node that was authenticated; `now` in ns since the epoch.

        Nothing that the request says of itself is taken over. ValueError if it is not signed by a P-256 key.
        """
        san = [x509.UniformResourceIdentifier(f"sensor://{self.cluster}/{role}/{name}")]
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        issued = _certify(self._key, self._certificate, _key_of(request), (name, san, usage), _time(now), _LIFE)
        return _issued(issued)


def create(folder: Path, host: str, *, bus: str, enrolment: str, now: int) -> Credentials:
    """Make a cluster in a folder: its authority, and the manager, whose certificate is for a host.

    `bus` and `enrolment` are where it can be reached, as nodes write it.

    ValueError if that cannot be in a certificate, CredentialsError if there is a node in the folder already.
    """
    name = _general_name(host)
    Folder(folder).close()  # makes it
    with lock(folder):
        if Credentials.exist(folder):
            raise CredentialsError(f"there is a node in {folder} already: name another folder with --state")
        _write_keys(folder, cluster := secrets.token_hex(8), name, _time(now))
        Registry.create(folder)
        secret = secrets.token_bytes(16)
        credentials = Credentials(cluster, MANAGER, "manager", bus, secret, enrolment)
        credentials.save(folder)
    return credentials


def _write_keys(folder: Path, cluster: str, name: x509.GeneralName, begin: datetime) -> None:
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _authority(authority_key, cluster, begin)
    san = [x509.UniformResourceIdentifier(f"sensor://{cluster}/manager/{MANAGER}"), name]
    subject = MANAGER, san, ExtendedKeyUsageOID.SERVER_AUTH
    certificate = _certify(authority_key, authority, key.public_key(), subject, begin, _AUTHORITY_LIFE)
    with closing(Folder(folder)) as disk:
        disk.replace(_AUTHORITY_KEY, _pem_of(authority_key))
        disk.replace(AUTHORITY, authority.public_bytes(Encoding.PEM))
        disk.replace(KEY, _pem_of(key))
        disk.replace(CERTIFICATE, certificate.public_bytes(Encoding.PEM))


def new_key() -> bytes:
    """A key for a node (PEM)."""
    return _pem_of(ec.generate_private_key(ec.SECP256R1()))


def new_request(key: bytes) -> bytes:
    """What a node asks for a certificate of its key (PEM) with: a request (PKCS #10, DER) that names nobody.

    Whom the certificate will be of is for the authority to know.
    """
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(_load_key(key), SHA256()).public_bytes(Encoding.DER)


def needs_renewal(certificate: bytes, now: int) -> bool:
    """Return whether two thirds of a certificate's life (PEM) are over."""
    read = x509.load_pem_x509_certificate(certificate)
    life = read.not_valid_after_utc - read.not_valid_before_utc
    return _time(now) >= read.not_valid_before_utc + life * 2 / 3


_Subject = tuple[str, Sequence[x509.GeneralName], x509.ObjectIdentifier]
"""A name for people, the names that count, and what the certificate serves for."""


def _certify(
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    public: ec.EllipticCurvePublicKey,
    subject: _Subject,
    now: datetime,
    life: timedelta,
) -> x509.Certificate:
    name, san, usage = subject
    issuer = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    end = min(now + life, authority.not_valid_after_utc)
    builder = _builder(name, authority.subject, public, now, end)
    for extension, is_critical in (
        (x509.SubjectAlternativeName(san), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage(digital_signature=True), True),
        (x509.ExtendedKeyUsage([usage]), True),
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), False),
    ):
        builder = builder.add_extension(extension, critical=is_critical)
    return builder.sign(key, SHA256())


def _authority(key: ec.EllipticCurvePrivateKey, cluster: str, now: datetime) -> x509.Certificate:
    name = f"sensor cluster {cluster}"
    builder = _builder(name, _name(name), key.public_key(), now, now + _AUTHORITY_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(key_cert_sign=True), critical=True)
    return builder.sign(key, SHA256())


def _builder(
    name: str, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")
    unused = dict.fromkeys((*others, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=digital_signature, key_cert_sign=key_cert_sign, **unused)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if not _HOST.fullmatch(host):
            raise ValueError(f"{host!r} is neither an IP address nor a name of a host") from None
        return x509.DNSName(host)
    if address.is_unspecified:
        raise ValueError(f"{host} is no address to reach a manager at; name the one that nodes are to use")
    return x509.IPAddress(address)


def _key_of(request: bytes) -> ec.EllipticCurvePublicKey:
    try:
        read = x509.load_der_x509_csr(request)
        public, is_signed = read.public_key(), read.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("the request for a certificate cannot be read") from None
    is_p256 = isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1)
    if not is_p256 or not is_signed:
        raise ValueError("the request for a certificate is not signed by a P-256 key")
    return cast(ec.EllipticCurvePublicKey, public)


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is not an elliptic curve's")
    return key


def _pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _issued(certificate: x509.Certificate) -> Issued:
    expires = int(certificate.not_valid_after_utc.timestamp()) * SECOND
    return Issued(certificate.public_bytes(Encoding.PEM), Certificate(f"{certificate.serial_number:x}", expires))


def _time(now: int) -> datetime:
    return datetime.fromtimestamp(now // SECOND, UTC)
