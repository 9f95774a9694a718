"""Joining: the node's end of enrolment. It sends nothing before it has verified its token's authority.

The first of two connections only reads the authority's certificate; the second trusts that certificate in TLS, which
proves the server's identity.
"""

import asyncio
import hashlib
import ssl
from contextlib import closing
from pathlib import Path

import msgspec

from sensor.bus.endpoint import BusError, Endpoint, connect
from sensor.bus.message import Refused
from sensor.bus.tls import blind_context, client_context, pinned_context
from sensor.cluster.enrol import LENGTH_BYTES, Enrolled, EnrolmentRequest, Offer, frame
from sensor.pki.authority import new_key, new_request
from sensor.pki.credentials import AUTHORITY, CERTIFICATE, KEY, Credentials, CredentialsError
from sensor.pki.registry import lock
from sensor.pki.token import Token
from sensor.storage.durable_folder import Folder

_MOST_ANSWER = 16 << 10
"""Most bytes in the server's answer: certificates take less than 1 KiB each."""
_JOIN_S = 15.0
"""Time limit for joining: the server has 5 s for each of two connections."""


class EnrolmentError(Exception):
    """A node could not join; the text gives the reason and the remedy."""


def join(token: Token, folder: Path) -> Credentials:
    """Make a key in a folder, have it certified, and write the files that the node needs.

    EnrolmentError gives the reason if that fails; CredentialsError if the folder already belongs to a node.
    """
    with closing(Folder(folder)) as disk, lock(folder):
        if Credentials.exist(folder):
            was = Credentials.load(folder)
            text = f"{folder} is that of {was.role} {was.name} already: remove it, or name another with --state"
            raise CredentialsError(text)
        key = new_key()
        disk.replace(KEY, key)  # before the token is spent, so that a write error does not waste it
        authority, enrolled = asyncio.run(_enrol(token, new_request(key)))
        disk.replace(AUTHORITY, ssl.DER_cert_to_PEM_cert(authority).encode())
        disk.replace(CERTIFICATE, enrolled.certificate)
        client_context(folder)  # checks that the certificate fits the key
        mine = Credentials(enrolled.cluster, token.name, enrolled.role, enrolled.address, enrolled.secret)
        mine.save(folder)
        return mine


async def _enrol(token: Token, request: bytes) -> tuple[bytes, Enrolled]:
    """Return the authority's certificate (DER) and the manager's answer."""
    try:
        endpoint = Endpoint.parse(token.address)
        async with asyncio.timeout(_JOIN_S):
            authority = await _see_authority(endpoint, token.fingerprint)
            answer = await _ask(endpoint, authority, EnrolmentRequest(token.name, token.secret, request))
    except TimeoutError:
        raise EnrolmentError(f"the manager at {token.address} does not answer: is it running?") from None
    except ssl.SSLCertVerificationError as error:
        text = f"{token.address} is not the manager of the token's cluster ({error.verify_message}); nothing was sent"
        raise EnrolmentError(text) from None
    except (OSError, EOFError, BusError) as error:
        text = f"the manager at {token.address} cannot be reached ({error}): is it running, and may this host connect?"
        raise EnrolmentError(text) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        raise EnrolmentError(f"what answers at {token.address} is not a manager of this version") from None
    if isinstance(answer, Refused):
        raise EnrolmentError(f"the manager at {token.address} refuses: {answer.reason}")
    return authority, answer


async def _see_authority(endpoint: Endpoint, fingerprint: bytes) -> bytes:
    """Return the authority's certificate (DER); nothing is sent. EnrolmentError if its fingerprint differs."""
    reader, writer = await connect(endpoint, blind_context(), None, _MOST_ANSWER)
    try:
        offer = msgspec.msgpack.decode(await _read_frame(reader), type=Offer)
    finally:
        writer.transport.abort()
    if hashlib.sha256(offer.authority).digest() != fingerprint:
        text = "has another authority than the token says; nothing was sent. Ask for a new token, and from whom it is"
        raise EnrolmentError(f"the manager at {endpoint} {text}")
    return offer.authority


async def _ask(endpoint: Endpoint, authority: bytes, request: EnrolmentRequest) -> Enrolled | Refused:
    reader, writer = await connect(endpoint, pinned_context(authority), None, _MOST_ANSWER)
    try:
        await _read_frame(reader)
        writer.write(frame(request))
        return msgspec.msgpack.decode(await _read_frame(reader), type=Enrolled | Refused)
    finally:
        writer.transport.abort()


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
    if length > _MOST_ANSWER:
        raise ValueError(f"an answer of {length} bytes")
    return await reader.readexactly(length)
