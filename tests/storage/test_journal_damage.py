"""Journals that are not as they were left: what is damaged is told and set aside, and never passes for a record."""

import struct
import zlib

import pytest

from sensor.storage import journal as journal_module
from sensor.storage.journal import Journal, JournalError
from tests.storage.journals import Writer, a_file, continues, record
from tools.simulated_disk import SimulatedDisk


@pytest.mark.parametrize("compacted", [0, 2])
def test_every_flipped_bit_is_found(compacted: int):
    begun = ["append", "append", "compact"] if compacted else []
    name, whole = a_file(*begun, "append", "sync", "append", "append", "append", "sync")
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        disk = SimulatedDisk({name: bytes(flipped)})
        recovered = Journal(disk).open()
        assert len(recovered.damage) == 1
        assert recovered.records == [record(compacted + i) for i in range(len(recovered.records))]
        assert len(recovered.records) < 4
        assert recovered.snapshot is None or recovered.snapshot == struct.pack("<I", compacted)
        assert Journal(disk).open().damage == []


def test_a_torn_tail_of_any_length_is_cut_off_and_told():
    name, whole = a_file("append", "append", "append", "sync")
    last = len(whole) - 12 - len(record(2))
    for size in range(last + 1, len(whole)):
        disk = SimulatedDisk({name: whole[:size]})
        recovered = Journal(disk).open()
        torn = f"{name}: its last {size - last} bytes, from byte {last} on, are no whole record and were cut off"
        assert recovered.damage == [torn]
        assert recovered.records == [record(0), record(1)]
        assert disk.read(name) == whole[:last]


def test_what_follows_damage_in_the_middle_is_set_aside_and_never_overwritten():
    name, whole = a_file("append", "append", "append", "sync")
    first = len(whole) - 3 * 12 - sum(len(record(i)) for i in range(3))
    second = first + 12 + len(record(0))
    damaged = whole[: second + 14] + b"?" + whole[second + 15 :]
    disk = SimulatedDisk({name: damaged, f"{name}.damaged-1": b"of another time"})
    recovered = Journal(disk).open()
    assert recovered.records == [record(0)]
    (told,) = recovered.damage
    assert told == (
        f"{name}: damaged at byte {second}; the {len(whole) - second} bytes from there on "
        f"are set aside as {name}.damaged-2"
    )
    assert disk.read(f"{name}.damaged-1") == b"of another time"
    assert disk.read(f"{name}.damaged-2") == damaged[second:]
    assert disk.read(name) == whole[:second]


def test_a_file_without_a_whole_beginning_is_set_aside_for_the_generation_before():
    old, before = a_file("append", "append", "sync")
    new, _ = a_file("append", "compact")
    disk = SimulatedDisk({old: before, new: b"SJNL"})
    recovered = Journal(disk).open()
    assert recovered.records == [record(0), record(1)]
    assert recovered.damage == [f"{new}: its header is damaged; all of it is set aside as {new}.damaged-1"]
    assert disk.names() == [old, f"{new}.damaged-1"]


def test_with_nothing_whole_a_new_generation_begins():
    disk = SimulatedDisk({"journal-00000007": b"", "notes": b"of somebody"})
    writer = Writer(disk)
    assert len(writer.open()) == 1
    continues(writer)
    assert disk.read("notes") == b"of somebody"
    assert disk.names() == ["journal-00000007.damaged-1", "journal-00000009", "notes"]


def test_a_file_under_another_name_does_not_pass():
    _, whole = a_file("append", "sync")
    recovered = Journal(SimulatedDisk({"journal-00000003": whole})).open()
    assert recovered.records == []
    assert "it is of generation 1, and was given another name" in recovered.damage[0]


def test_a_file_of_another_kind_does_not_pass():
    head = struct.pack("<4sHHQ", b"PK\3\4", 1, 0, 1)
    recovered = Journal(SimulatedDisk({"journal-00000001": head + struct.pack("<I", zlib.crc32(head))})).open()
    assert "it is no journal" in recovered.damage[0]


def test_records_that_were_moved_or_are_of_another_generation_do_not_pass():
    name, one = a_file("append", "append", "sync")
    start = len(one) - 24 - len(record(0)) - len(record(1))
    second = one[start + 12 + len(record(0)) :]
    assert Journal(SimulatedDisk({name: one[:start] + second})).open().records == []
    assert Journal(SimulatedDisk({name: one + second})).open().records == [record(0), record(1)]
    newer, two = a_file("compact")
    _, other = a_file("compact", "compact")
    _, longer = a_file("compact", "compact", "append", "sync")
    assert len(other) == len(two)
    assert Journal(SimulatedDisk({newer: two + longer[len(other) :]})).open().records == []


@pytest.mark.parametrize("version", [1, 2, 65535])
def test_a_file_of_a_later_version_is_refused_and_left_as_it_is(version: int):
    head = struct.pack("<4sHHQ", b"SJNL", version, 0, 1)
    disk = SimulatedDisk({"journal-00000001": head + struct.pack("<I", zlib.crc32(head))})
    if version == 1:
        assert Journal(disk).open().damage == []
        return
    with pytest.raises(JournalError, match=rf"of version {version}, and this sensor reads up to version 1; run the"):
        Journal(disk).open()
    assert disk.operations == 0


def test_a_record_may_be_as_large_as_the_largest_and_may_be_empty(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(journal_module, "LARGEST_RECORD", 100)
    disk = SimulatedDisk()
    journal = Journal(disk)
    journal.open()
    with pytest.raises(ValueError, match="a record of 101 bytes is too large"):
        journal.append(bytes(101))
    sizes = [100, 0, 99]
    for size in sizes:
        journal.append(bytes(size))
    journal.sync()
    assert Journal(disk).open().records == [bytes(size) for size in sizes]
