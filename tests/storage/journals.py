"""What tests of the journal share: a writer that knows what must be known again after a crash.

The journals here hold numbered records, and each snapshot says how many records it stands for. So what is known again
is one number, and being right is one property: it is all records up to some number, at least as many as were synced.
"""

import struct
from random import Random

from sensor.storage.journal import Journal
from tools.simulated_disk import SimulatedDisk


def record(i: int) -> bytes:
    """The record of a number: it differs from all others, and is up to 40 bytes long."""
    return struct.pack("<I", i) + Random(i).randbytes(i * 7 % 37)


class Writer:
    """Writes numbered records to a journal, and knows how many must be known again, and how many may be."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.disk, self.journal = disk, Journal(disk)
        self.appended = self.durable = 0

    def append(self) -> None:
        self.journal.append(record(self.appended))
        self.appended += 1

    def sync(self) -> None:
        self.journal.sync()
        self.durable = self.appended

    def compact(self) -> None:
        self.journal.compact(struct.pack("<I", self.appended))
        self.durable = self.appended

    def open(self) -> list[str]:
        recovered = self.journal.open()
        first = 0 if recovered.snapshot is None else struct.unpack("<I", recovered.snapshot)[0]
        found = first + len(recovered.records)
        assert recovered.records == [record(i) for i in range(first, found)]
        assert self.durable <= found <= self.appended
        self.appended = self.durable = found
        return recovered.damage

    def crash(self, survives: int | None = None) -> "Writer":
        after = Writer(self.disk.after_crash(survives=survives))
        after.appended, after.durable = self.appended, self.durable
        return after

    def run(self, operations: list[str]) -> None:
        for each in operations:
            getattr(self, each)()


def opened(disk: SimulatedDisk | None = None) -> Writer:
    writer = Writer(SimulatedDisk() if disk is None else disk)
    writer.open()
    return writer


def continues(writer: Writer) -> None:
    """What was opened after a crash is as good as any other journal."""
    writer.run(["append", "sync", "append", "compact", "append", "sync"])
    assert writer.crash(survives=0).open() == []


def a_file(*operations: str) -> tuple[str, bytes]:
    writer = opened()
    writer.run(list(operations))
    (name,) = writer.disk.names()
    return name, writer.disk.read(name)
