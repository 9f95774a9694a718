"""The spool: messages come back in order and as they were, within what memory and disk they may take."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sensor.storage.spool import OVERHEAD, SEGMENTS, Spool, SpoolError


def files(folder: Path) -> list[int]:
    """This process's open files in a folder: what it has on disk there, as its files have no name."""
    found = []
    for file in map(int, os.listdir("/proc/self/fd")):
        try:
            where = os.readlink(f"/proc/self/fd/{file}")
        except FileNotFoundError:
            continue
        if where.startswith(f"{folder}/"):
            found.append(file)
    return sorted(found)


def on_disk(folder: Path) -> int:
    return sum(os.fstat(file).st_size for file in files(folder))


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """The system refuses to make any file longer: what fits is written, and no more, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


SIZE = 30 + OVERHEAD
"""Bytes that a message of a test takes."""


def message(i: int, size: int = 30) -> bytes:
    return f"{i:x}".encode().ljust(size, b".")[:size]


def test_messages_come_back_in_order_from_any_one_on():
    spool = Spool(None, 10_000, 0)
    assert all(spool.append(i, message(i)) for i in range(1, 6))
    assert list(spool.after(0)) == [(i, message(i)) for i in range(1, 6)]
    assert list(spool.after(3)) == [(4, message(4)), (5, message(5))]
    assert list(spool.after(5)) == []
    assert (spool.first, spool.last, spool.nbytes) == (1, 5, 150)


def test_what_is_acknowledged_is_let_go():
    spool = Spool(None, 10_000, 0)
    assert (spool.first, spool.last, spool.nbytes) == (1, 0, 0)
    for i in range(1, 6):
        spool.append(i, message(i))
    spool.release(3)
    assert list(spool.after(0)) == [(4, message(4)), (5, message(5))]
    spool.release(2)
    assert (spool.first, spool.last, spool.nbytes) == (4, 5, 60)
    spool.release(5)
    assert (spool.first, spool.last, spool.nbytes) == (6, 5, 0)
    assert spool.append(6, message(6))


def test_an_acknowledgement_of_what_was_never_taken_lets_all_go_and_no_more():
    spool = Spool(None, 10_000, 0)
    spool.append(1, message(1))
    spool.release(1 << 62)
    assert (spool.first, spool.last) == (2, 1)
    assert spool.append(2, message(2))


@pytest.mark.parametrize("sequence", [0, 1, 3])
def test_a_number_that_does_not_follow_is_a_mistake_of_the_caller(sequence: int):
    spool = Spool(None, 10_000, 0)
    spool.append(1, message(1))
    with pytest.raises(ValueError, match=f"message {sequence} cannot follow message 1"):
        spool.append(sequence, b"")


@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_memory_takes_as_much_as_it_may(spare: int):
    spool = Spool(None, 3 * SIZE + spare, 0)
    assert [spool.append(1, message(1)), spool.append(2, message(2))] == [True, True]
    assert spool.append(3, message(3)) == (spare >= 0)
    assert spool.refused == (spare < 0)
    assert spool.last == (2 if spare < 0 else 3)


def test_a_message_that_was_refused_may_be_offered_again_when_there_is_room():
    spool = Spool(None, SIZE, 0)
    spool.append(1, message(1))
    assert not spool.append(2, message(2))
    spool.release(1)
    assert spool.append(2, message(2))
    assert list(spool.after(0)) == [(2, message(2))]
    assert spool.counters == {"spool_refused": 1, "spool_disk_errors": 0}


def test_newer_messages_go_to_disk_when_memory_is_full_and_come_back_in_order(tmp_path: Path):
    spool = Spool(tmp_path, 2 * SIZE, 16 * 3 * SIZE)
    assert all(spool.append(i, message(i)) for i in range(1, 2 + 3 * 16 + 1))
    assert on_disk(tmp_path) == 16 * 3 * 30
    assert not spool.append(51, message(51))
    assert list(spool.after(0)) == [(i, message(i)) for i in range(1, 51)]
    assert spool.nbytes == 50 * 30
    spool.close()


@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_the_disk_takes_as_much_as_it_may(tmp_path: Path, spare: int):
    spool = Spool(tmp_path, 0, 16 * (3 * SIZE + spare))
    while spool.append(spool.last + 1, message(1)):
        pass
    assert spool.last == 16 * (3 if spare >= 0 else 2)
    spool.close()


def test_files_are_removed_as_their_messages_are_released(tmp_path: Path):
    spool = Spool(tmp_path, 0, 16 * 3 * SIZE)
    for i in range(1, 49):
        spool.append(i, message(i))
    for i in range(1, 49):
        spool.release(i)
        assert len(files(tmp_path)) == 16 - i // 3
    assert spool.nbytes == 0


@pytest.mark.parametrize("size", [89, 90, 91])
def test_a_message_above_a_16th_of_the_disks_share_is_held_in_memory_only(tmp_path: Path, size: int):
    spool = Spool(tmp_path, 0, 16 * (90 + OVERHEAD) + 15)
    assert spool.append(1, bytes(size)) == (size <= 90)
    spool.close()
    spool = Spool(tmp_path, size + OVERHEAD, 16 * (90 + OVERHEAD))
    assert spool.append(1, bytes(size))
    spool.close()


def test_memory_takes_what_comes_when_the_disk_has_no_more_room(tmp_path: Path):
    spool = Spool(tmp_path, 2 * SIZE, 16 * SIZE)
    for i in range(1, 19):
        assert spool.append(i, message(i))
    spool.release(1)
    assert spool.append(19, message(19))
    assert on_disk(tmp_path) == 16 * 30
    assert list(spool.after(0)) == [(i, message(i)) for i in range(2, 20)]
    spool.close()


def test_a_disk_that_is_full_at_any_byte_refuses_and_garbles_nothing(tmp_path: Path):
    for size in range(120):
        spool = Spool(tmp_path, 0, 16 * 4 * SIZE)
        with files_no_longer_than(size):
            taken = [spool.append(spool.last + 1, message(spool.last + 1)) for _ in range(5)]
        assert sum(taken) == size // 30
        assert spool.counters == {"spool_refused": 5 - sum(taken), "spool_disk_errors": 5 - sum(taken)}
        assert spool.append(spool.last + 1, message(spool.last + 1))
        assert list(spool.after(0)) == [(i, message(i)) for i in range(1, sum(taken) + 2)]
        spool.close()


def test_a_message_that_the_disk_does_not_take_goes_to_memory_if_there_is_room(tmp_path: Path):
    spool = Spool(tmp_path, SIZE, 16 * 2 * SIZE)
    spool.append(1, message(1))
    spool.append(2, message(2))
    spool.release(1)
    with files_no_longer_than(40):
        assert spool.append(3, message(3))
        assert not spool.append(4, message(4, 45))
    assert spool.counters == {"spool_refused": 1, "spool_disk_errors": 2}
    assert spool.append(4, message(4))
    assert list(spool.after(0)) == [(i, message(i)) for i in range(2, 5)]
    spool.close()


def test_a_folder_that_went_away_refuses_and_raises_nothing(tmp_path: Path):
    spool = Spool(tmp_path / "spool", 0, 16 * SIZE)
    (tmp_path / "spool").rmdir()
    assert not spool.append(1, message(1))
    assert spool.counters == {"spool_refused": 1, "spool_disk_errors": 1}


def test_a_folder_that_cannot_be_made_is_told_at_the_start(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Spool(tmp_path / "file" / "spool", 0, 16 * SIZE)


def test_the_folder_is_for_its_owner_alone_and_nothing_is_left_in_it(tmp_path: Path):
    spool = Spool(tmp_path / "spool", 0, 16 * SIZE)
    assert spool.append(1, message(1))
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "spool").iterdir()) == []
    (file,) = files(tmp_path / "spool")
    assert not os.get_inheritable(file)
    spool.close()
    assert files(tmp_path / "spool") == []


@pytest.mark.parametrize("damage", [lambda file: os.pwrite(file, b"?", 40), lambda file: os.ftruncate(file, 50)])
def test_a_message_that_is_not_what_was_written_is_told_and_never_given_out(tmp_path: Path, damage: Any):
    spool = Spool(tmp_path, 0, 16 * 3 * SIZE)
    for i in range(1, 4):
        spool.append(i, message(i))
    (file,) = files(tmp_path)
    damage(file)
    messages = spool.after(0)
    assert next(messages) == (1, message(1))
    with pytest.raises(SpoolError, match="message 2 cannot be read back from the spool in"):
        next(messages)
    spool.close()


def test_messages_may_be_added_and_released_while_others_are_read():
    spool = Spool(None, 10_000, 0)
    for i in range(1, 4):
        spool.append(i, message(i))
    messages = spool.after(0)
    assert next(messages) == (1, message(1))
    spool.release(2)
    spool.append(4, message(4))
    assert list(messages) == [(3, message(3)), (4, message(4))]


class Spooling(RuleBasedStateMachine):
    """Anything that may happen to a spool, in any order, beside a dictionary that has no limits."""

    MEMORY, SEGMENT = 700, 250

    def __init__(self) -> None:
        super().__init__()
        self.temporary = TemporaryDirectory()
        self.folder = Path(self.temporary.name).resolve()
        self.spool = Spool(self.folder, self.MEMORY, SEGMENTS * self.SEGMENT)
        self.held: dict[int, bytes] = {}

    def offer(self, size: int) -> bool:
        following = self.spool.last + 1
        is_held = self.spool.append(following, message(following, size))
        if is_held:
            self.held[following] = message(following, size)
        else:
            assert self.in_memory + size + OVERHEAD > self.MEMORY
        return is_held

    @rule(sizes=st.lists(st.integers(0, 200), min_size=1, max_size=20))
    def append(self, sizes: list[int]) -> None:
        for size in sizes:
            assert self.offer(size) or len(files(self.folder)) == SEGMENTS or size > self.SEGMENT - OVERHEAD

    @rule(size=st.integers(0, 200), room=st.integers(0, 200))
    def append_to_a_full_disk(self, size: int, room: int) -> None:
        with files_no_longer_than(room):
            self.offer(size)

    @rule(n=st.integers(0, 30))
    def release(self, n: int) -> None:
        sequence = self.spool.first + n
        self.spool.release(sequence)
        self.held = {i: held for i, held in self.held.items() if i > sequence}

    @property
    def in_memory(self) -> int:
        return sum(len(held) + OVERHEAD for held in self.spool._memory.values())

    @invariant()
    def all_is_there_within_the_limits(self) -> None:
        assert dict(self.spool.after(0)) == self.held
        assert self.spool.nbytes == sum(map(len, self.held.values()))
        assert self.in_memory <= self.MEMORY
        assert on_disk(self.folder) <= SEGMENTS * self.SEGMENT

    def teardown(self) -> None:
        self.spool.close()
        self.temporary.cleanup()


Spooling.TestCase.settings = settings(derandomize=True, deadline=None, max_examples=40, stateful_step_count=20)
TestSpooling: Any = Spooling.TestCase
