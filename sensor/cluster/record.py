"""The records of the manager's journal: the changes to replay after a crash, in the order in which they were applied.

The manager's state depends on these alone: messages that change it, joins, and epochs ended with members missing. So a
manager that replays them reaches the same results, and the same alerts with the same ids.
"""

from typing import Any

import msgspec

from sensor.cluster.messages import Hello, Numbered, PackedPartial


class Joined(msgspec.Struct, frozen=True, tag="joined"):
    """A worker sent a hello with a new incarnation."""

    worker: str
    incarnation: int
    sequence: int
    replays: bool
    version: str
    is_late: bool
    """True if other members had already made progress at its first hello."""
    started: int | None
    """The packet time (ns) at which it began to observe; None: before all epochs."""
    continues: bool = False
    """True if it continues the counts of its last incarnation."""

    @classmethod
    def of(cls, hello: Hello, *, is_late: bool) -> "Joined":
        """Return the record of a hello."""
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
    """Epochs that end at the same time were ended."""

    epochs: list[tuple[str, int, list[str]]]
    """SumStat, number and missing members of each epoch."""
    reached: dict[str, tuple[int, int]] = {}
    """Progress (run, ns) of each missing member."""


class BegunRun(msgspec.Struct, frozen=True, tag="begun_run"):
    """The clocks of all members have restarted, and everything before is over."""


class Concluded(msgspec.Struct, frozen=True, tag="concluded"):
    """The input of all members has ended, so the standing alerts end."""


class ToldEarly(msgspec.Struct, frozen=True, tag="told_early"):
    """Crossings of an open epoch were passed to their detections, and the resulting alerts were sent."""

    sumstat: str
    epoch: int
    level: bytes
    value: bytes
    ts: bytes
    members: list[str]
    columns: PackedPartial


class Left(msgspec.Struct, frozen=True, tag="left"):
    """A member has left; the cluster no longer waits for it."""

    worker: str
    until: tuple[int, int] | None = None
    """Position (run, ns) up to which its results are missing; None: for good, as no other worker sees its traffic."""


class Written(msgspec.Struct, frozen=True, tag="written"):
    """All alerts from the records before this one are in the alert store and need not be written again."""


Record = Joined | Applied | Settled | BegunRun | Concluded | ToldEarly | Left | Written

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Record)


def encode(record: Record) -> bytes:
    """Return a record as bytes."""
    return _encoder.encode(record)


def decode(data: bytes) -> Record:
    """Return a record from bytes; msgspec.ValidationError if they are none."""
    decoded: Record = _decoder.decode(data)
    return decoded
