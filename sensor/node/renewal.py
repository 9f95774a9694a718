"""Renewal: a node asks for another certificate over the bus, before the one it has is too old."""

import logging
import ssl
from contextlib import closing
from pathlib import Path

from sensor.clock import elapsed_s, now_ns
from sensor.cluster.messages import CertificateIssued, CertificateRequest
from sensor.pki.authority import needs_renewal, new_request
from sensor.pki.credentials import CERTIFICATE, KEY
from sensor.storage.durable_folder import Folder

log = logging.getLogger(__name__)

LOOK_S = 3600.0
"""Seconds between looks at the age of a certificate, which is then valid for another month."""


class Renewal:
    """Keeps the certificate in a node's folder fresh; its key stays, so that one file changes and nothing else."""

    def __init__(self, folder: Path, tls: ssl.SSLContext) -> None:
        self._folder, self._tls = folder, tls
        self._next_look_s = 0.0

    def due(self) -> CertificateRequest | None:
        """Return the request to send to the manager, if one is due."""
        if elapsed_s() < self._next_look_s:
            return None
        self._next_look_s = elapsed_s() + LOOK_S
        if not needs_renewal((self._folder / CERTIFICATE).read_bytes(), now_ns()):
            return None
        return CertificateRequest(new_request((self._folder / KEY).read_bytes()))

    def apply(self, issued: CertificateIssued) -> None:
        """Show the new certificate from the next connection on."""
        try:
            with closing(Folder(self._folder)) as disk:
                disk.replace(CERTIFICATE, issued.certificate)
            self._tls.load_cert_chain(self._folder / CERTIFICATE, self._folder / KEY)
        except OSError as error:
            log.error("the new certificate could not be taken (%s): see to %s", error, self._folder)
        else:
            log.warning("the certificate of this node was renewed")
