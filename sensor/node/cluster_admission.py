"""Admission to a cluster: who is let in by certificate, who may join, and how certificates are renewed."""

import asyncio
import logging
from pathlib import Path

from sensor.bus.tls import Admission, Identity, server_context
from sensor.clock import now_ns
from sensor.cluster.enrol import EnrolmentServer
from sensor.cluster.messages import CertificateIssued
from sensor.pki.authority import Authority
from sensor.pki.credentials import Credentials, CredentialsError, Role
from sensor.pki.registry import Certificate, Registry, RegistryError

log = logging.getLogger(__name__)


class ClusterAdmission:
    """Admits nodes by the registry in `folder`. CredentialsError or RegistryError: it cannot be used."""

    def __init__(self, folder: Path) -> None:
        mine = Credentials.load(folder)
        if mine.role != "manager":
            raise CredentialsError(f"{folder} is that of {mine.role} {mine.name}: run the manager on its own host")
        self._folder = folder
        self.tls = server_context(folder)
        self._authority, self._registry = Authority(folder), Registry(folder)
        self.admission = Admission(mine.cluster, self._is_revoked)
        self.enrolment = EnrolmentServer(folder)
        self._failed = False
        self._renewing: set[str] = set()

    async def open(self) -> str:
        """Let nodes join; returns the address where they do. BusError says what is in the way."""
        return await self.enrolment.start()

    async def close(self) -> None:
        """Let none join any more."""
        await self.enrolment.close()

    def poll(self) -> None:
        """See what became of the registry, which the commands change."""
        try:
            self._registry.changed()
        except RegistryError as error:
            if not self._failed:
                log.error("%s; until then who was let in before is let in", error)
            self._failed = True
        else:
            self._failed = False

    @property
    def revoked(self) -> set[str]:
        """The nodes that were revoked, and not invited again."""
        return {name for name, node in self._registry.nodes.items() if node.state == "revoked"}

    def _is_revoked(self, name: str, serial: str) -> bool:
        if not self._registry.is_revoked(name, serial, now_ns()):
            return False
        self.poll()  # it may have joined, or been renewed, this moment
        return self._registry.is_revoked(name, serial, now_ns())

    async def renew(self, peer: Identity, request: bytes) -> CertificateIssued | None:
        """Another certificate for a node that has one; None: it gets none, or asks while it is being answered."""
        if peer.name in self._renewing:
            return None
        self._renewing.add(peer.name)
        try:
            return CertificateIssued(await asyncio.to_thread(self._renew, peer, request))
        except (ValueError, RegistryError, OSError) as error:
            log.warning("the certificate of %s was not renewed: %s", peer.name, error)
            return None
        finally:
            self._renewing.discard(peer.name)

    def _renew(self, peer: Identity, request: bytes) -> bytes:
        pem = b""

        def issue(role: Role) -> Certificate:
            nonlocal pem
            issued = self._authority.issue(request, peer.name, role, now_ns())
            pem = issued.pem
            return issued.certificate

        Registry(self._folder).renew(peer.name, peer.serial, issue)
        log.warning("the certificate of %s %s was renewed", peer.role, peer.name)
        return pem
