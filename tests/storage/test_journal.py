"""The journal: what was synced is known again after any crash, in order and whole, and nothing that was not written."""

import contextlib
import errno
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sensor.storage.journal import JournalError
from tests.storage.journals import Writer, continues, opened, record
from tools.simulated_disk import Crashed, SimulatedDisk

_OPERATIONS = ["append", "sync", "append", "append", "sync", "compact", "append", "sync", "append", "compact", "append"]
_OPERATIONS += ["sync"]


def count(write: Callable[[Writer], None]) -> int:
    """How many operations of the disk something takes."""
    writer = Writer(SimulatedDisk())
    write(writer)
    return writer.disk.operations


def everything(writer: Writer) -> None:
    writer.open()
    writer.run(_OPERATIONS)


def crashed(point: int, seed: int = 0) -> Writer:
    writer = Writer(SimulatedDisk(seed=seed))
    writer.disk.crash_at = point
    with pytest.raises(Crashed):
        everything(writer)
    return writer


def test_what_is_synced_or_compacted_is_known_again():
    writer = opened()
    writer.run(_OPERATIONS)
    after = writer.crash(survives=0)
    assert after.open() == []
    assert after.durable == writer.appended == 6


def test_what_was_never_synced_is_not_claimed():
    writer = opened()
    writer.run(["append", "sync", "append"])
    after = writer.crash()
    after.open()
    assert after.durable == 1


@pytest.mark.parametrize("point", range(count(everything)))
def test_a_crash_in_any_operation_with_any_torn_length_loses_nothing_that_was_synced(point: int):
    for survives in range(140):
        after = crashed(point, seed=survives).crash(survives=survives)
        after.open()
        continues(after)


@pytest.mark.parametrize("point", range(count(everything)))
def test_a_crash_that_garbles_what_was_not_synced_loses_nothing_that_was(point: int):
    for seed in range(60):
        after = crashed(point, seed).crash()
        after.open()
        continues(after)


def test_a_crash_while_it_is_opened_after_a_crash_loses_nothing_that_was_synced():
    for seed in range(60):
        torn = opened(SimulatedDisk(seed=seed))
        torn.run(["append", "sync", "compact", "append", "sync", "append", "append"])
        torn.disk.crash_at = torn.disk.operations + 1
        with pytest.raises(Crashed):
            torn.sync()
        for point in range(4):
            after = torn.crash()
            after.disk.crash_at = point
            try:
                after.open()
            except Crashed:
                after = after.crash()
                after.open()
            after.disk.crash_at = None
            continues(after)


def test_a_journal_that_could_not_be_begun_is_durable_once_it_is_opened_again():
    for seed in range(60):
        disk = SimulatedDisk(seed=seed)
        disk.failures = {0: errno.EIO}
        with pytest.raises(JournalError, match="cannot be opened"):
            opened(disk)
        writer = opened(disk)
        writer.run(["append", "sync"])
        after = writer.crash()
        after.open()
        continues(after)


def test_what_a_killed_process_had_not_synced_is_durable_once_it_is_known_again():
    writer = opened()
    writer.run(["append", "append"])
    writer.disk.crash_at = writer.disk.operations + 1
    with pytest.raises(Crashed):
        writer.sync()
    writer.disk.crash_at = None
    again = Writer(writer.disk)
    again.appended = 2
    again.open()
    assert again.durable == 2
    again.crash(survives=0).open()


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("point", range(1, count(everything)))
def test_an_operation_that_fails_is_told_and_can_be_tried_again(point: int, error: int):
    for seed in range(8):
        writer = opened(SimulatedDisk(seed=seed))
        writer.disk.failures = {point: error}
        for each in _OPERATIONS:
            try:
                writer.run([each])
            except JournalError:
                survivor = writer.crash()
                survivor.open()
                continues(survivor)
                writer.run([each])
        assert writer.crash(survives=0).open() == []


def test_after_a_compaction_that_failed_half_way_the_old_generation_goes_on():
    kept = 0
    for seed in range(8):
        writer = opened(SimulatedDisk(seed=seed))
        writer.run(["append", "sync"])
        writer.disk.failures = {writer.disk.operations: errno.EIO}
        with pytest.raises(JournalError, match="cannot be compacted"):
            writer.compact()
        kept += "journal-00000002" in writer.disk.names()
        writer.run(["append", "sync"])
        for _ in range(8):
            writer.crash().open()
    assert 0 < kept < 8


def test_a_full_disk_loses_nothing_at_whatever_byte_it_is_full():
    for room in range(20, 300):
        writer = opened(SimulatedDisk(seed=room, room=room))
        for each in ["append", "append", "sync", "append", "sync", "append", "append", "append", "sync"]:
            try:
                writer.run([each])
            except JournalError as error:
                assert "make room there" in str(error)
                survivor = writer.crash()
                survivor.disk.room = None
                survivor.open()
        writer.disk.room = None
        writer.sync()
        assert writer.appended == 6
        assert writer.crash(survives=0).open() == []


def test_what_is_pending_and_how_much_there_is_can_be_asked():
    writer = opened()
    assert (writer.journal.size, writer.journal.pending) == (0, 0)
    writer.append()
    framed = 12 + len(record(0))
    assert (writer.journal.size, writer.journal.pending) == (framed, framed)
    writer.sync()
    assert (writer.journal.size, writer.journal.pending) == (framed, 0)
    again = writer.crash()
    again.open()
    assert again.journal.size == framed
    again.compact()
    assert (again.journal.size, again.journal.pending) == (0, 0)
    again = again.crash()
    again.open()
    assert again.journal.size == 0


def test_a_sync_with_nothing_to_write_leaves_the_disk_alone():
    writer = opened()
    before = writer.disk.operations
    writer.sync()
    assert writer.disk.operations == before


def test_many_records_are_made_durable_by_one_write_and_one_sync():
    writer = opened()
    before = writer.disk.operations
    writer.run(["append"] * 1000 + ["sync"])
    assert writer.disk.operations == before + 2


class Busy(SimulatedDisk):
    """A disk that takes its time: something else happens while it syncs."""

    meanwhile: Callable[[], None] | None = None

    def sync(self, name: str) -> None:
        super().sync(name)
        if self.meanwhile is not None:
            self.meanwhile()


def test_a_record_that_is_appended_while_another_thread_syncs_waits_for_the_next_sync():
    disk = Busy()
    writer = opened(disk)
    writer.append()
    disk.meanwhile = writer.append
    writer.journal.sync()
    writer.durable = 1
    assert writer.journal.pending == 12 + len(record(1))
    disk.meanwhile = None
    writer.sync()
    after = writer.crash(survives=0)
    after.open()
    assert after.durable == 2


class Journaling(RuleBasedStateMachine):
    """Anything that may happen to a journal, in any order."""

    @rule(seed=st.integers(0, 1 << 20))
    @precondition(lambda self: not hasattr(self, "writer"))
    def begin(self, seed: int) -> None:
        self.writer = opened(SimulatedDisk(seed=seed))

    @rule(n=st.integers(1, 4))
    @precondition(lambda self: hasattr(self, "writer"))
    def append(self, n: int) -> None:
        self.writer.run(["append"] * n)

    @rule(operation=st.sampled_from(["sync", "compact"]), step=st.integers(0, 4))
    @precondition(lambda self: hasattr(self, "writer"))
    def crash(self, operation: str, step: int) -> None:
        self.writer.disk.crash_at = self.writer.disk.operations + step
        with contextlib.suppress(Crashed, JournalError):
            self.writer.run([operation])
        self.writer = self.writer.crash()
        self.writer.open()

    @rule(
        operation=st.sampled_from(["sync", "compact"]),
        steps=st.sets(st.integers(0, 4), max_size=3),
        error=st.sampled_from([errno.EIO, errno.ENOSPC]),
    )
    @precondition(lambda self: hasattr(self, "writer"))
    def attempt(self, operation: str, steps: set[int], error: int) -> None:
        self.writer.disk.failures = {self.writer.disk.operations + step: error for step in steps}
        with contextlib.suppress(JournalError):
            self.writer.run([operation])

    @rule(room=st.integers(0, 200))
    @precondition(lambda self: hasattr(self, "writer"))
    def fill(self, room: int) -> None:
        disk = self.writer.disk
        disk.room = sum(disk.size(name) for name in disk.names()) + room
        with contextlib.suppress(JournalError):
            self.writer.sync()
        disk.room = None

    @invariant()
    def nothing_is_lost(self) -> None:
        if hasattr(self, "writer"):
            self.writer.crash().open()


Journaling.TestCase.settings = settings(derandomize=True, deadline=None, max_examples=150, stateful_step_count=30)
TestJournaling: Any = Journaling.TestCase
