"""What a simulated worker holds until it is acknowledged: the real spool, with little room."""

from collections.abc import Iterator

import msgspec

from sensor.cluster.messages import Numbered
from sensor.storage.spool import Spool

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Numbered] = msgspec.msgpack.Decoder(Numbered)


class Spooled:
    """Numbered messages in a spool that has room for so many bytes, all in memory."""

    def __init__(self, room: int) -> None:
        self._spool = Spool(None, room, 0)

    def append(self, message: Numbered) -> bool:
        """Hold a message; False: there is no room."""
        return self._spool.append(message.sequence, _encoder.encode(message))

    def after(self, sequence: int) -> Iterator[Numbered]:
        """Those with greater numbers, in order."""
        return (_decoder.decode(data) for _, data in self._spool.after(sequence))

    def release(self, sequence: int) -> None:
        """All up to this one are acknowledged."""
        self._spool.release(sequence)
