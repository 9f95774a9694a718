"""The token: the one line by which a node joins a cluster, made to be pasted into a terminal."""

import base64
import binascii
import zlib
from typing import Annotated

import msgspec

from sensor.pki.credentials import NAME

_PREFIX = "sensor1_"
"""The number is the format's."""
_CHECK_BYTES = 4
MOST = 1024
"""Letters of a line; a name of a host has 253 at most."""


class Token(msgspec.Struct, frozen=True, array_like=True):
    """An invitation: the address to enrol at, the key to trust, and the secret."""

    address: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    """HOST:PORT of the enrolment server."""
    name: Annotated[str, msgspec.Meta(pattern=rf"\A{NAME}\Z")]
    """Name of the invited node."""
    fingerprint: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    """SHA-256 of the authority's certificate (DER)."""
    secret: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
    """For one use."""
    expires: int
    """ns since the epoch."""

    def __repr__(self) -> str:
        return f"Token({self.name} at {self.address})"

    def line(self) -> str:
        """The token as one word, of letters that no shell takes for anything else."""
        body = msgspec.msgpack.encode(self)
        return _PREFIX + base64.urlsafe_b64encode(_check(body) + body).decode().rstrip("=")

    @classmethod
    def parse(cls, line: str) -> "Token":
        """Read a token; ValueError, which does not repeat it, if it is none or not whole.

        So a slip of the mouse does not cost one of the tries that an invitation has.
        """
        word = line.strip()
        if not word.startswith(_PREFIX) or len(word) > MOST:
            raise ValueError(f"this is no token; it begins with {_PREFIX} and comes from `sensor cluster invite`")
        text = word.removeprefix(_PREFIX)
        try:
            data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            check, body = data[:_CHECK_BYTES], data[_CHECK_BYTES:]
            if check != _check(body):
                raise ValueError
            return msgspec.msgpack.decode(body, type=cls)
        except (ValueError, binascii.Error, msgspec.DecodeError, RecursionError):
            raise ValueError(
                "the token is not whole; copy all of the line that `sensor cluster invite` wrote"
            ) from None


def _check(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(_CHECK_BYTES, "big")
