"""The alert file: each alert is there exactly once, whatever crashes and however full the disk is."""

import errno
import json
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.storage import alert_file
from sensor.storage.alert_file import AlertFile
from sensor.storage.durable_folder import Folder
from tools.simulated_disk import Crashed, SimulatedDisk

_NAME = "alerts.jsonl"


def alert(i: int) -> tuple[str, bytes]:
    """An alert and its line, which says by a checksum whether it is whole."""
    content = f"alert {i} " + "x" * (i % 40)
    return f"{i}", json.dumps({"id": f"{i}", "content": content, "check": zlib.crc32(content.encode())}).encode()


def identify(line: bytes) -> str | None:
    try:
        held = json.loads(line)
        return held["id"] if held["check"] == zlib.crc32(held["content"].encode()) else None
    except (ValueError, KeyError, TypeError):
        return None


def opened(disk: SimulatedDisk, **limits: int) -> AlertFile:
    file = AlertFile(disk, _NAME, identify, **limits)
    file.open()
    return file


def ids(disk: SimulatedDisk) -> list[str]:
    """Of all that can be read, in order."""
    return [id for line in disk.read(_NAME).split(b"\n") if (id := identify(line))]


def test_alerts_are_written_a_line_each_and_durable_at_once():
    disk = SimulatedDisk()
    assert opened(disk).write([alert(1), alert(2)]) == 2
    survivor = disk.after_crash(survives=0)
    assert survivor.read(_NAME) == alert(1)[1] + b"\n" + alert(2)[1] + b"\n"


def test_an_alert_that_is_there_is_not_written_again_not_even_after_a_restart():
    disk = SimulatedDisk()
    file = opened(disk)
    assert file.write([alert(1), alert(2), alert(1)]) == 2
    assert file.write([alert(2)]) == 0
    assert opened(disk).write([alert(2), alert(3), alert(1)]) == 1
    assert ids(disk) == ["1", "2", "3"]


def test_nothing_new_leaves_the_disk_alone():
    disk = SimulatedDisk()
    file = opened(disk)
    file.write([alert(1)])
    before = disk.operations
    file.write([alert(1)])
    file.write([])
    assert disk.operations == before


def test_a_torn_last_line_of_any_length_is_cut_off_and_told():
    first, second = alert(1)[1] + b"\n", alert(2)[1] + b"\n"
    for size in range(1, len(second)):
        disk = SimulatedDisk({_NAME: first + second[:size]})
        file = AlertFile(disk, _NAME, identify)
        what = "1 byte" if size == 1 else f"{size} bytes"
        told = f"{_NAME}: no whole line, and cut off: its last {what}, from byte {len(first)} on"
        assert file.open() == [told]
        assert file.write([alert(1), alert(2)]) == 1
        assert disk.read(_NAME) == first + second


def test_a_file_with_nothing_but_a_torn_line_is_emptied():
    disk = SimulatedDisk({_NAME: alert(1)[1]})
    assert len(AlertFile(disk, _NAME, identify).open()) == 1
    assert disk.read(_NAME) == b""


def test_a_line_that_cannot_be_read_is_left_and_told():
    disk = SimulatedDisk({_NAME: alert(1)[1] + b"\n# a note\n" + alert(2)[1] + b"\n"})
    before = disk.read(_NAME)
    assert AlertFile(disk, _NAME, identify).open() == [f"{_NAME}: 1 of its lines cannot be read, and were left"]
    assert disk.read(_NAME) == before


def test_another_kind_of_file_is_refused_and_left_as_it_is():
    disk = SimulatedDisk({_NAME: b"root:x:0:0\nno end"})
    with pytest.raises(ValueError, match="has no alerts in it; name another file"):
        AlertFile(disk, _NAME, identify).open()
    assert disk.operations == 0


def test_a_file_without_lines_is_refused_before_it_takes_all_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(alert_file, "_BLOCK", 100)
    monkeypatch.setattr(alert_file, "LONGEST_LINE", 1000)
    assert len(AlertFile(SimulatedDisk({_NAME: bytes(1500)}), _NAME, identify, memory_bytes=500).open()) == 1
    with pytest.raises(ValueError, match="has a line of over 1500 bytes"):
        AlertFile(SimulatedDisk({_NAME: bytes(10_000)}), _NAME, identify, memory_bytes=500).open()


@pytest.mark.parametrize("block", [1, 2, 7, 64, 1000])
def test_the_ids_are_found_however_lines_and_blocks_meet(monkeypatch: pytest.MonkeyPatch, block: int):
    monkeypatch.setattr(alert_file, "_BLOCK", block)
    disk = SimulatedDisk({_NAME: b"".join(alert(i)[1] + b"\n" for i in range(20)) + b"torn"})
    assert opened(disk).write([alert(i) for i in range(21)]) == 1


def test_only_the_last_lines_are_remembered_and_the_oldest_is_forgotten_first():
    disk = SimulatedDisk()
    file = opened(disk, remembered=3)
    file.write([alert(i) for i in range(3)])
    assert file.write([alert(0)]) == 0
    assert file.write([alert(3)]) == 1
    assert file.write([alert(1), alert(2), alert(3)]) == 0
    assert file.write([alert(0)]) == 1
    again = opened(disk, remembered=3)
    assert again.write([alert(2), alert(3), alert(0)]) == 0
    assert again.write([alert(1)]) == 1
    assert again.write([alert(3), alert(0), alert(1)]) == 0
    assert again.write([alert(2)]) == 1


def test_a_line_that_is_two_is_a_mistake_of_the_caller():
    file = opened(SimulatedDisk())
    with pytest.raises(ValueError, match="the alert 7 is not one line"):
        file.write([alert(1), ("7", b"a\nb")])
    assert file.write([alert(1)]) == 1


def test_a_line_may_be_as_long_as_the_longest_and_is_lost_above(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(alert_file, "LONGEST_LINE", 100)
    disk = SimulatedDisk()
    file = opened(disk)
    assert file.write([("a", b"a" * 98), ("b", b"b" * 99), ("c", b"c" * 100)]) == 2
    assert file.lost == 1
    assert disk.size(_NAME) == 199


def test_alerts_wait_while_the_disk_is_full_and_are_written_once_when_there_is_room():
    size = sum(len(alert(i)[1]) + 1 for i in range(3))
    for room in range(size):
        disk = SimulatedDisk(room=room)
        file = opened(disk)
        assert file.write([alert(0)]) == 1
        assert file.write([alert(0), alert(1), alert(2)]) == 2
        assert file.waiting > 0
        assert file.failures > 0
        assert "No space left on device" in file.error
        assert len(ids(disk)) + file.waiting >= 3
        disk.room = None
        assert file.write([]) == 0
        assert (file.waiting, file.lost, file.error) == (0, 0, "")
        assert disk.after_crash(survives=0).read(_NAME) == b"".join(alert(i)[1] + b"\n" for i in range(3))


def test_what_waits_has_a_cap_and_what_is_beyond_it_is_counted_and_may_come_again():
    sizes = [len(alert(i)[1]) + 1 for i in range(4)]
    for memory in (sum(sizes[:2]) - 1, sum(sizes[:2]), sum(sizes[:2]) + 1):
        disk = SimulatedDisk(room=0)
        file = opened(disk, memory_bytes=memory)
        fit = 1 if memory < sum(sizes[:2]) else 2
        assert file.write([alert(i) for i in range(4)]) == fit
        assert (file.waiting, file.lost) == (fit, 4 - fit)
        disk.room = None
        assert file.write([alert(i) for i in range(4)]) == 4 - fit
        assert sorted(ids(disk)) == ["0", "1", "2", "3"]


def test_more_than_may_wait_is_written_when_the_disk_takes_it():
    disk = SimulatedDisk()
    file = opened(disk, memory_bytes=200)
    assert file.write([alert(i) for i in range(50)]) == 50
    assert (file.lost, file.waiting) == (0, 0)
    assert ids(disk) == [str(i) for i in range(50)]


def test_a_full_disk_is_tried_once_a_call():
    disk = SimulatedDisk(room=0)
    file = opened(disk, memory_bytes=200)
    file.write([alert(i) for i in range(100)])
    assert file.failures == 1


@given(
    seed=st.integers(0, 1 << 20), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5), point=st.integers(0, 12)
)
@settings(derandomize=True, deadline=None, max_examples=300)
def test_after_a_crash_at_any_point_each_alert_is_there_exactly_once(seed: int, sizes: list[int], point: int):
    disk = SimulatedDisk(seed=seed)
    disk.crash_at = point
    batches = [[alert(10 * b + i) for i in range(size)] for b, size in enumerate(sizes)]
    written = 0
    try:
        file = opened(disk)
        for batch in batches:
            file.write(batch)
            written += 1
    except Crashed:
        pass
    survivor = disk.after_crash()
    found = ids(survivor) if survivor.names() else []
    assert {id for batch in batches[:written] for id, _ in batch} <= set(found)
    again = opened(survivor)
    for batch in batches:
        again.write(batch)
    assert sorted(ids(survivor)) == sorted(id for batch in batches for id, _ in batch)


@given(
    seed=st.integers(0, 1 << 20),
    failures=st.dictionaries(st.integers(0, 15), st.sampled_from([errno.EIO, errno.ENOSPC]), max_size=6),
)
@settings(derandomize=True, deadline=None, max_examples=300)
def test_whatever_operations_fail_nothing_is_lost_or_doubled(seed: int, failures: dict[int, int]):
    disk = SimulatedDisk(seed=seed)
    file = opened(disk)
    disk.failures = failures
    for i in range(8):
        file.write([alert(2 * i), alert(2 * i + 1)])
    disk.failures = {}
    file.write([])
    assert file.waiting == 0
    survivor = disk.after_crash(survives=0)
    assert survivor.read(_NAME) == b"".join(alert(i)[1] + b"\n" for i in range(16))


def test_what_a_killed_process_had_not_synced_is_durable_once_it_is_known_again():
    disk = SimulatedDisk()
    file = opened(disk)
    disk.crash_at = 1
    with pytest.raises(Crashed):
        file.write([alert(1)])
    disk.crash_at = None
    assert opened(disk).write([alert(1)]) == 0
    assert ids(disk.after_crash(survives=0)) == ["1"]


def test_on_a_real_disk_it_is_a_file_of_lines_for_its_owner_alone(tmp_path: Path):
    folder = Folder(tmp_path / "alerts")
    file = AlertFile(folder, _NAME, identify)
    assert file.open() == []
    file.write([alert(1)])
    folder.close()
    path = tmp_path / "alerts" / _NAME
    assert path.read_bytes() == alert(1)[1] + b"\n"
    assert path.stat().st_mode & 0o777 == 0o600
