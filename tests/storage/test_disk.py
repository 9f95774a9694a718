"""A real disk: a folder keeps what it promises, and a journal and alerts on it outlive a full disk and `kill -9`."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from sensor.storage.alert_file import AlertFile
from sensor.storage.durable_folder import Folder, Tail
from sensor.storage.journal import Journal, JournalError
from tools.simulated_disk import SimulatedDisk

_CHILD = """
import sys
from pathlib import Path
from random import Random
from sensor.storage.alert_file import AlertFile
from sensor.storage.durable_folder import Folder
from sensor.storage.journal import Journal

random, folder = Random(int(sys.argv[2])), Folder(Path(sys.argv[1]))
journal, alerts = Journal(folder), AlertFile(folder, "alerts", bytes.decode)
recovered = journal.open()
alerts.open()
n = int(recovered.snapshot or b"0") + len(recovered.records)
while True:
    for _ in range(random.randint(1, 20)):
        journal.append(b"%d:" % n + Random(n).randbytes(n % 5000))
        n += 1
    if random.random() < 0.1:
        journal.compact(b"%d" % n)
    else:
        journal.sync()
    alerts.write([(str(i), b"%d" % i) for i in range(max(0, n - 60), n)])
    print(n, flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path / "folder")
    yield folder
    folder.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    path = tmp_path / "small"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", path], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", path], check=True)


def test_what_is_appended_is_read_whole_or_in_part(folder: Folder):
    folder.append("a", b"one")
    folder.append("a", b"two")
    folder.sync("a")
    assert folder.read("a") == b"onetwo"
    assert folder.read("a", 1, 3) == b"net"
    assert folder.read("a", 4) == b"wo"
    assert folder.size("a") == 6


def test_a_file_that_is_not_there_has_no_size_and_cannot_be_read(folder: Folder):
    assert folder.size("a") == 0
    with pytest.raises(FileNotFoundError):
        folder.read("a")
    folder.remove("a")


def test_a_file_is_replaced_and_appended_to_and_removed(folder: Folder):
    folder.append("a", b"old and long")
    folder.replace("a", b"new")
    folder.append("a", b"er")
    assert folder.read("a") == b"newer"
    folder.replace("b", b"")
    assert folder.names() == ["a", "b"]
    folder.remove("a")
    assert folder.names() == ["b"]
    folder.append("a", b"again")
    assert folder.read("a") == b"again"


def test_a_file_is_only_ever_cut_shorter(folder: Folder):
    folder.append("a", b"123456")
    folder.truncate("a", 4)
    folder.append("a", b"!")
    folder.truncate("a", 100)
    assert folder.read("a") == b"1234!"


def test_what_a_crash_left_half_replaced_is_not_seen_and_not_in_the_way(folder: Folder, tmp_path: Path):
    (tmp_path / "folder" / "a.new").write_bytes(b"half of it, and more")
    assert folder.names() == []
    folder.replace("a", b"whole")
    assert folder.read("a") == b"whole"
    assert os.listdir(tmp_path / "folder") == ["a"]


def test_a_file_that_was_replaced_where_the_folder_could_not_be_synced_is_durable_with_the_next_sync(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fsync, synced, fails = os.fsync, list[bool](), [True]

    def watched(file: int) -> None:
        is_folder = os.path.samestat(os.fstat(file), (tmp_path / "folder").stat())
        if is_folder and fails.pop():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        synced.append(is_folder)
        fsync(file)

    monkeypatch.setattr(os, "fsync", watched)
    with pytest.raises(OSError, match="Input/output error"):
        folder.replace("a", b"new")
    fails.append(False)
    folder.append("a", b"er")
    folder.sync("a")
    assert synced == [False, False, True]  # what was written aside, then the file, then that it has the name
    folder.sync("a")
    assert synced == [False, False, True, False]


def test_folders_and_files_are_for_their_owner_alone_and_children_do_not_get_them(tmp_path: Path):
    folder = Folder(tmp_path / "one" / "two")
    folder.append("a", b"")
    folder.replace("b", b"")
    assert (tmp_path / "one" / "two").stat().st_mode & 0o777 == 0o700
    assert {(tmp_path / "one" / "two" / name).stat().st_mode & 0o777 for name in "ab"} == {0o600}
    assert not any(os.get_inheritable(file) for file in folder._files.values())
    folder.close()


@pytest.mark.parametrize("change", ["append", "replace"])
def test_two_processes_do_not_write_to_one_file(folder: Folder, tmp_path: Path, change: str):
    getattr(folder, change)("a", b"mine")
    other = Folder(tmp_path / "folder")
    with pytest.raises(BlockingIOError, match="is in use by another process"):
        other.append("a", b"theirs")
    assert other.read("a") == b"mine"
    folder.close()
    other.append("a", b"theirs")
    other.close()


def test_a_second_manager_is_told_to_use_another_folder(folder: Folder, tmp_path: Path):
    Journal(folder).open()
    other = Folder(tmp_path / "folder")
    with pytest.raises(JournalError, match=r"in use by another process.*let this one use another folder"):
        Journal(other).open()
    other.close()


def test_an_end_of_a_file_takes_pieces_whole_or_not_at_all():
    disk = SimulatedDisk(room=10)
    tail = Tail(disk, "a", 0)
    tail.add(b"123456")
    with pytest.raises(OSError, match="No space left"):
        tail.add(b"789abc")
    assert tail.size == 6
    assert disk.read("a") == b"123456"
    disk.room = 12
    tail.add(b"xyz")
    assert disk.after_crash(survives=0).read("a") == b"123456xyz"


def test_a_journal_on_a_disk_that_is_full_goes_on_when_there_is_room(small_disk: Path):
    (small_disk / "other").write_bytes(bytes(24 << 10))
    folder = Folder(small_disk / "journal")
    journal, records, durable = Journal(folder), [], 0
    journal.open()
    with pytest.raises(JournalError, match=r"No space left on device.*make room there"):
        while True:
            records.append(Random(len(records)).randbytes(1500))
            journal.append(records[-1])
            journal.sync()
            durable = len(records)
    with pytest.raises(JournalError, match="cannot be compacted"):
        journal.compact(bytes(64 << 10))
    assert folder.names() == ["journal-00000001"]
    assert 0 < durable < len(records)
    (small_disk / "other").unlink()
    journal.sync()
    folder.close()
    again = Folder(small_disk / "journal")
    recovered = Journal(again).open()
    again.close()
    assert (recovered.records, recovered.damage) == (records, [])


def test_what_was_synced_outlives_a_process_that_is_killed(tmp_path: Path):
    path, known = tmp_path / "folder", 0
    for seed in range(10):
        command = [sys.executable, "-c", _CHILD, str(path), str(seed)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(Random(seed).randint(1, 60)):
                known = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
        folder = Folder(path)
        recovered = Journal(folder).open()
        first = int(recovered.snapshot or b"0")
        found = first + len(recovered.records)
        assert recovered.records == [b"%d:" % i + Random(i).randbytes(i % 5000) for i in range(first, found)]
        assert found >= known
        AlertFile(folder, "alerts", bytes.decode).open()
        assert folder.read("alerts").split() == [b"%d" % i for i in range(len(folder.read("alerts").split()))]
        folder.close()
    assert known > 100


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_may_not_be_written_to_is_told(tmp_path: Path):
    (tmp_path / "closed").mkdir(mode=0o500)
    folder = Folder(tmp_path / "closed")
    with pytest.raises(JournalError, match="let the manager's user read and write there"):
        Journal(folder).open()
    assert folder.names() == []
