"""The journal: records that the manager needs after a crash, durable before they are acknowledged.

One file per generation, `journal-00000001` and so on: a snapshot (except in the first), then the records since.
Compacting writes a file of the next generation atomically and then removes the previous one. So the file with the
highest number always holds everything, and a crash costs only what was not synced.
"""

import contextlib
import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass

from sensor.storage import journal_format
from sensor.storage.durable_folder import Disk, Tail

LARGEST_RECORD = 1 << 30
"""Bytes; far above the largest message, and below the limit of a frame's length field."""

_ROOM = "make room there; what was not acknowledged is kept, and written as soon as there is room"
_ADVICE = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EWOULDBLOCK: "stop the manager that uses it, or let this one use another folder",
    errno.EROFS: "mount it for writing, or let the manager use another folder",
    errno.EACCES: "let the manager's user read and write there, or use another folder",
}
_OTHERWISE = "see the kernel's log for what the disk has; nothing is acknowledged until it works again"


class JournalError(Exception):
    """The journal cannot be read or written; the text gives the error, the place and the remedy."""


@dataclass(frozen=True)
class Recovered:
    """The contents of a journal as read by `open`."""

    snapshot: bytes | None
    records: list[bytes]
    """Records since the snapshot, in order."""
    damage: list[str]
    """Messages for people about damaged or missing parts."""


class Journal:
    """Records on a disk, in order; only `sync` may run in another thread, while records are appended.

    Appended records stay in memory until they are durable: a caller that accepts messages should stop while `pending`
    is above its limit.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._generation = 0
        self._tail = Tail(disk, "", 0)
        self._first = 0
        self._end = 0
        self._pending: list[bytes] = []
        self._stray = ""

    @property
    def size(self) -> int:
        """Bytes of records since the last compaction, pending ones included."""
        return self._end - self._first

    @property
    def pending(self) -> int:
        """Bytes appended and not yet durable."""
        return self._end - self._tail.size

    def open(self) -> Recovered:
        """Read the existing journal and prepare to append; call it once, before all else.

        A tail that a crash has torn is cut off. Any other damaged part, and everything after it, is moved to a file
        named `.damaged-N`. Raises `JournalError`, also for a file of a later version, which is left unchanged.
        """
        damage: list[str] = []
        with self._explained("opened"):
            generations = self._generations()
            contents = self._newest_whole(generations, damage)
            if contents is None:
                contents = self._begin(max(generations, default=0) + 1)
            self._disk.sync(self._tail.name)
            self._remove_older()
        return Recovered(contents.snapshot, contents.records, damage)

    def append(self, record: bytes) -> None:
        """Append a record, which becomes durable with the next `sync`; ValueError above `LARGEST_RECORD`."""
        if len(record) > LARGEST_RECORD:
            raise ValueError(f"a record of {len(record)} bytes is too large for the journal; at most {LARGEST_RECORD}")
        head = journal_format.frame_head(self._generation, self._end, record)
        self._pending += (head, record)
        self._end += len(head) + len(record)

    def sync(self) -> None:
        """Make everything appended before the call durable in one write; `JournalError` if that fails.

        After an error all of it is kept, and the next call tries again.
        """
        n = len(self._pending)
        if not n:
            return
        with self._explained("written to"):
            self._remove_stray()
            self._tail.add(b"".join(self._pending[:n]))
        del self._pending[:n]

    def compact(self, snapshot: bytes) -> None:
        """Start the next generation with a snapshot that includes everything appended so far, durable or not.

        The snapshot is durable when this returns. After a `JournalError` the journal continues unchanged.
        """
        generation = self._generation + 1
        head = journal_format.header(generation, has_snapshot=True)
        data = head + journal_format.frame_head(generation, len(head), snapshot) + snapshot
        self._stray = _name(generation)
        with self._explained("compacted"):
            self._disk.replace(_name(generation), data)
        self._stray = ""
        self._pending.clear()
        self._go_on(generation, len(data), len(data))
        # An old file that cannot be removed does no harm; the next compaction or opening removes it.
        with contextlib.suppress(OSError):
            self._remove_older()

    def _newest_whole(self, generations: list[int], damage: list[str]) -> journal_format.Contents | None:
        """Continue with the newest file whose header and snapshot are whole; set damaged newer ones aside."""
        for generation in sorted(generations, reverse=True):
            name = _name(generation)
            data = self._disk.read(name)
            try:
                contents = journal_format.parse(data, generation)
            except journal_format.LaterVersion as error:
                raise JournalError(
                    f"{name} in {self._disk} cannot be read: {error}; run the version that wrote it, "
                    "or move the file away to begin without what it holds"
                ) from error
            except ValueError as error:
                damage.append(f"{name}: {error}; all of it is set aside as {self._set_aside(name, data)}")
                self._disk.remove(name)
                continue
            self._go_on(generation, contents.first, contents.end)
            self._cut(name, data, contents, damage)
            return contents
        return None

    def _cut(self, name: str, data: bytes, contents: journal_format.Contents, damage: list[str]) -> None:
        """Cut off everything after the last whole record."""
        end, rest = contents.end, len(data) - contents.end
        if not rest:
            return
        if contents.followed:
            aside = self._set_aside(name, data[end:])
            damage.append(f"{name}: damaged at byte {end}; the {rest} bytes from there on are set aside as {aside}")
        else:
            damage.append(f"{name}: its last {rest} bytes, from byte {end} on, are no whole record and were cut off")
        self._disk.truncate(name, end)

    def _set_aside(self, name: str, data: bytes) -> str:
        taken, n = self._disk.names(), 1
        while f"{name}.damaged-{n}" in taken:
            n += 1
        self._disk.replace(f"{name}.damaged-{n}", data)
        return f"{name}.damaged-{n}"

    def _begin(self, generation: int) -> journal_format.Contents:
        head = journal_format.header(generation, has_snapshot=False)
        self._disk.replace(_name(generation), head)
        self._go_on(generation, len(head), len(head))
        return journal_format.Contents(None, [], len(head), len(head), followed=False)

    def _go_on(self, generation: int, first: int, end: int) -> None:
        self._generation, self._first, self._end = generation, first, end
        self._tail = Tail(self._disk, _name(generation), end)

    def _remove_stray(self) -> None:
        """Remove the file that a failed compaction may have left, as it would be taken for newer than later records."""
        if self._stray:
            self._disk.remove(self._stray)
            self._stray = ""

    def _remove_older(self) -> None:
        for generation in self._generations():
            if generation < self._generation:
                self._disk.remove(_name(generation))

    def _generations(self) -> list[int]:
        matches = [re.fullmatch(r"journal-(\d{8,})", name) for name in self._disk.names()]
        return [int(match[1]) for match in matches if match]

    @contextlib.contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            advice = _ADVICE.get(error.errno or 0, _OTHERWISE)
            raise JournalError(f"the journal in {self._disk} cannot be {done}: {error}; {advice}") from error


def _name(generation: int) -> str:
    return f"journal-{generation:08d}"
