"""Credentials: a node's folder, with keys and certificates, and what the node knows of its cluster."""

import hashlib
import ssl
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from sensor.storage.durable_folder import Folder

Role = Literal["worker", "manager", "observer"]

AUTHORITY, CERTIFICATE, KEY = "ca.pem", "node.pem", "node.key"
_CREDENTIALS = "node.json"

NAME = "[a-z0-9][a-z0-9-]{0,31}"
"""Regular expression for names of nodes."""


class CredentialsError(Exception):
    """A node's folder is not as it must be; the text says what is wrong, where, and what to do."""


class Credentials(msgspec.Struct, frozen=True):
    """A node's knowledge of its cluster, beside keys and certificates."""

    cluster: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{16}\Z")]
    name: Annotated[str, msgspec.Meta(pattern=rf"\A{NAME}\Z")]
    role: Role
    address: str
    """HOST:PORT of the bus; the manager's certificate is for this host."""
    secret: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
    """The cluster's own, which every node has."""
    enrolment: str = ""
    """HOST:PORT where nodes enrol; only in the manager's folder."""

    def __repr__(self) -> str:
        return f"Credentials({self.role} {self.name} of {self.cluster})"

    @staticmethod
    def exist(folder: Path) -> bool:
        """Return whether a folder is a node's; a folder without these files is left over from a failed attempt."""
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


def fingerprint(folder: Path) -> bytes:
    """By which a token tells the authority of a folder: SHA-256 of its certificate (DER)."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert((folder / AUTHORITY).read_text())).digest()
