"""The records of the manager's journal: what it must know again after a crash, in the order in which it was applied.

The manager's state follows from these alone: messages that change it, who joined, and which epochs were ended without
whom. So a manager that reads them anew comes to the same results, and to the same alerts under the same ids.
"""

from typing import Any

import msgspec

from sensor.cluster.messages import Hello, Numbered, PackedPartial


class Joined(msgspec.Struct, frozen=True, tag="joined"):
    """A worker said hello with an incarnation that was not known."""

    worker: str
    incarnation: int
    sequence: int
    replays: bool
    version: str
    is_late: bool
    """Others had come some way when it was first heard of."""
    started: int | None
    """The packet time (ns) at which it began to observe; None: before all epochs."""
    continues: bool = False
    """It counts on from its last incarnation."""

    @classmethod
    def of(cls, hello: Hello, *, is_late: bool) -> "Joined":
        """The record of a hello."""
        return cls(
            worker=hello.name,
            incarnation=hello.incarnation,
            sequence=hello.sequence,
            replays=hello.replays,
            version=hello.version,
            is_late=is_late,
            started=hello.started,
            continues=hello.continues,
        )


class Applied(msgspec.Struct, frozen=True, tag="applied"):
    """A numbered message was applied."""

    message: Numbered


class Settled(msgspec.Struct, frozen=True, tag="settled"):
    """Epochs were ended that are over at one time."""

    epochs: list[tuple[str, int, list[str]]]
    """The SumStat and number of each, and who was missing."""
    reached: dict[str, tuple[int, int]] = {}
    """How far (run, ns) each of the missing had come."""


class BegunRun(msgspec.Struct, frozen=True, tag="begun_run"):
    """The clocks of all members had begun anew, and all before is over."""


class Concluded(msgspec.Struct, frozen=True, tag="concluded"):
    """The input of all members has ended, and nothing more comes of the alerts that stand."""


class ToldEarly(msgspec.Struct, frozen=True, tag="told_early"):
    """Crossings of an open epoch were asked about: what was said of them has gone out."""

    sumstat: str
    epoch: int
    level: bytes
    value: bytes
    ts: bytes
    members: list[str]
    columns: PackedPartial


class Left(msgspec.Struct, frozen=True, tag="left"):
    """A member is not waited for any more."""

    worker: str
    until: tuple[int, int] | None = None
    """Where (run, ns) it is missed no more; None: nobody sees in its place what it would have seen."""


class Written(msgspec.Struct, frozen=True, tag="written"):
    """All alerts that came of the records before this one are written where alerts go, and need not go there again."""


Record = Joined | Applied | Settled | BegunRun | Concluded | ToldEarly | Left | Written

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Record)


def encode(record: Record) -> bytes:
    """A record as bytes."""
    return _encoder.encode(record)


def decode(data: bytes) -> Record:
    """A record from bytes; msgspec.ValidationError if it is none."""
    decoded: Record = _decoder.decode(data)
    return decoded
