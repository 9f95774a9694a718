"""The journal: what the manager must know again after a crash, durable before it is acknowledged.

One file a generation, `journal-00000001` and so on: a snapshot, but in the first, and the records since. Compacting
writes a file of the next generation, which is there as a whole or not at all, and then removes the one before. So at
any time the file of the highest number holds all, and a crash costs what was not synced and nothing else.
"""

import contextlib
import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass

from sensor.storage import journal_format
from sensor.storage.durable_folder import Disk, Tail

LARGEST_RECORD = 1 << 30
"""Bytes; far above the largest message, and below what the length of a frame can say."""

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
    """The journal cannot be read or written: says what happened, where, and what to do."""


@dataclass(frozen=True)
class Recovered:
    """What is known again."""

    snapshot: bytes | None
    records: list[bytes]
    """Those since the snapshot, in order."""
    damage: list[str]
    """What is not as it was left, for people to read."""


class Journal:
    """Records on a disk, in order; `sync` may run in another thread while records are appended, all else may not.

    What is appended is held in memory until it is durable: whoever takes in messages stops while `pending` is above
    what it allows.
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
        """Bytes of records since the last compaction, those that are pending included."""
        return self._end - self._first

    @property
    def pending(self) -> int:
        """Bytes that are appended and not yet durable."""
        return self._end - self._tail.size

    def open(self) -> Recovered:
        """Read what there is and make ready to append; to be called once, before all else.

        A tail that a crash has torn is cut off. What is damaged in any other way, and all after it, is set aside in a
        file named `.damaged-N`. Raises `JournalError`, also for a file of a later version, which is left as it is.
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
        """Add a record, which becomes durable with the next `sync`; ValueError above `LARGEST_RECORD`."""
        if len(record) > LARGEST_RECORD:
            raise ValueError(f"a record of {len(record)} bytes is too large for the journal; at most {LARGEST_RECORD}")
        head = journal_format.frame_head(self._generation, self._end, record)
        self._pending += (head, record)
        self._end += len(head) + len(record)

    def sync(self) -> None:
        """Make durable all that was appended before the call, in one write; `JournalError` if it may not be.

        Then all of it is kept, and the next call tries again.
        """
        n = len(self._pending)
        if not n:
            return
        with self._explained("written to"):
            self._remove_stray()
            self._tail.add(b"".join(self._pending[:n]))
        del self._pending[:n]

    def compact(self, snapshot: bytes) -> None:
        """Begin anew with a snapshot of all that came of what was appended, durable or not; it is durable after this.

        After a `JournalError` the journal goes on as it was.
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
        # What cannot be removed is of no harm, and removed with the next compaction or opening.
        with contextlib.suppress(OSError):
            self._remove_older()

    def _newest_whole(self, generations: list[int], damage: list[str]) -> journal_format.Contents | None:
        """Go on with the newest file whose beginning is whole; those before it are set aside."""
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
        """Leave what is whole."""
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
        """Remove what a failed compaction may have left: it would be taken for newer than what is added from now on."""
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
