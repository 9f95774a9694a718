"""The registry: which nodes were invited, have joined or were revoked; one file, which several processes may change.

What is not in it is not let in: a certificate holds while its node's entry names its serial number.
"""

import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from sensor.pki.credentials import Role
from sensor.storage.durable_folder import Folder

_FILE, _LOCK = "registry.json", "lock"
MOST_NODES = 1024
"""As many as the bus has room for. Beyond them the node that was revoked first is forgotten, which lets nobody in."""
MOST_FAILURES = 3
"""Wrong secrets, after which an invitation is void."""
_CERTIFICATES = 2
"""Most certificates of a node: while one is renewed, the one before it is still valid."""

State = Literal["invited", "joined", "revoked"]


class RegistryError(Exception):
    """The registry cannot be read, or does not allow what was asked; the text says why, and what to do."""


class InvitationError(Exception):
    """An invitation does not hold; the text is the name under which that is counted, and not for the peer."""


class Certificate(msgspec.Struct, frozen=True):
    """One that was issued."""

    serial: str
    """In lower-case hexadecimal digits."""
    expires: int
    """ns since the epoch."""


class Invitation(msgspec.Struct):
    """An invitation, with which a node may join once."""

    digest: bytes
    """SHA-256 of the secret; it has 128 random bits, so that nothing slower is needed."""
    expires: int
    """ns since the epoch."""
    failures: int = 0
    """Number of wrong secrets."""


class Node(msgspec.Struct):
    """A node, as far as the registry knows it."""

    role: Role
    invitation: Invitation | None = None
    certificates: list[Certificate] = []
    """Those that hold, the latest last."""

    @property
    def state(self) -> State:
        """Its state. A joined node may be invited again."""
        return "joined" if self.certificates else "invited" if self.invitation else "revoked"


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: Literal[1]
    nodes: dict[str, Node]


class Registry:
    """The registry in a manager's folder, as it was when last read. RegistryError if it cannot be read."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / _FILE
        self._stamp = (0, 0, 0)
        self.nodes: dict[str, Node] = {}
        self._read()

    @staticmethod
    def create(folder: Path) -> None:
        """Write an empty one."""
        _write(folder, {})

    def changed(self) -> bool:
        """Whether the file is another than when last read; it is then read. Costs a look at the file's times if not.

        On RegistryError what was read before stays, and the next call tries again.
        """
        if self._stamp == _stamp_of(self._path):
            return False
        self._read()
        return True

    def is_revoked(self, name: str, serial: str, now: int = 0) -> bool:
        """Return whether a certificate is invalid at a time (ns since the epoch)."""
        node = self.nodes.get(name)
        return node is None or all(each.serial != serial or each.expires <= now for each in node.certificates)

    def invite(self, name: str, role: Role, expires: int) -> bytes:
        """Let a node join until then, in place of any earlier invitation; returns the secret that it has to show.

        A node that has joined may be invited again: its certificates hold until it does. RegistryError if it has
        joined in another role, or if there are too many nodes.
        """
        secret = secrets.token_bytes(16)
        with self._edit():
            node = self.nodes.get(name) or self._add(name, role)
            if node.state == "joined" and node.role != role:
                raise RegistryError(f"{name} has joined as {node.role}: revoke it first, or invite another name")
            node.role, node.invitation = role, Invitation(_digest(secret), expires)
        return secret

    def redeem(self, name: str, secret: bytes, now: int, issue: Callable[[Role], Certificate]) -> Role:
        """Let an invited node join with the certificate that `issue` makes for its role.

        InvitationError if the invitation does not hold. Whatever `issue` raises leaves the invitation as it was.
        """
        failure = ""
        with self._edit():
            node = self.nodes.get(name)
            failure = _failure(node, secret, now)
            if not failure and node is not None:
                node.certificates, node.invitation = [issue(node.role)], None
        if failure or node is None:
            raise InvitationError(failure)
        return node.role

    def renew(self, name: str, serial: str, issue: Callable[[Role], Certificate]) -> None:
        """Give a node that was authenticated by a certificate (`serial`) another; RegistryError if it was revoked."""
        with self._edit():
            if self.is_revoked(name, serial):
                raise RegistryError(f"the certificate of {name} was revoked: invite it again")
            node = self.nodes[name]
            node.certificates = [*node.certificates, issue(node.role)][-_CERTIFICATES:]

    def revoke(self, name: str) -> None:
        """Let a node in no more, neither by certificate nor by invitation; RegistryError if there is none."""
        with self._edit():
            if name not in self.nodes:
                raise RegistryError(f"there is no node {name}: `sensor cluster nodes` lists all")
            self.nodes[name] = Node(self.nodes.pop(name).role)  # at the end: the last to be forgotten

    def _add(self, name: str, role: Role) -> Node:
        if len(self.nodes) >= MOST_NODES:
            revoked = next((each for each, node in self.nodes.items() if node.state == "revoked"), None)
            if revoked is None:
                raise RegistryError(f"there are {MOST_NODES} nodes already: revoke one that is gone")
            del self.nodes[revoked]
        return self.nodes.setdefault(name, Node(role))

    @contextlib.contextmanager
    def _edit(self) -> Iterator[None]:
        """Change the nodes as nobody else does; nothing is written if that raises, or changes nothing."""
        with lock(self._folder):
            self._read()
            before = _encode(self.nodes)
            try:
                yield
                if _encode(self.nodes) != before:
                    _write(self._folder, self.nodes)
            finally:
                self._read()

    def _read(self) -> None:
        try:
            with self._path.open("rb") as file:
                stamp, data = _stamp(os.fstat(file.fileno())), file.read()
            self.nodes = msgspec.json.decode(data, type=_File).nodes
        except OSError as error:
            raise RegistryError(f"{self._path} cannot be read ({error.strerror}): restore it") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            text = f"{self._path} is damaged and was left as it is ({error}): repair it, or restore it"
            raise RegistryError(text) from None
        self._stamp = stamp


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Wait until nobody else is changing what is in a folder, and keep others out."""
    file = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


_NO_DIGEST = bytes(32)
"""Compared with where there is no invitation, so that it takes as long."""


def _failure(node: Node | None, secret: bytes, now: int) -> str:
    """Why a secret does not let a node in; empty: it does. A wrong one counts, also when too late."""
    invitation = node.invitation if node else None
    is_right = hmac.compare_digest(invitation.digest if invitation else _NO_DIGEST, _digest(secret))
    if invitation is None:
        return "not_invited"
    if invitation.failures >= MOST_FAILURES:
        return "void"
    invitation.failures += not is_right
    if not is_right:
        return "wrong_secret"
    return "" if now < invitation.expires else "expired"


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _encode(nodes: dict[str, Node]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(_File(1, nodes))) + b"\n"


def _write(folder: Path, nodes: dict[str, Node]) -> None:
    with contextlib.closing(Folder(folder)) as disk:
        disk.replace(_FILE, _encode(nodes))


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _stamp_of(path: Path) -> tuple[int, int, int]:
    try:
        return _stamp(path.stat())
    except OSError:
        return (0, 0, 0)  # reading it says what is wrong
