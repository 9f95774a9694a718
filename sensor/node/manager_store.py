"""A manager's files: its journal and its alert file, and what waits while the disk takes nothing."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from sensor.alerts import AlertRecord, AlertUpdate, identify, line_id
from sensor.clock import elapsed_s
from sensor.cluster import record
from sensor.cluster.manager import Manager
from sensor.storage.alert_file import AlertFile
from sensor.storage.alert_store import AlertStore
from sensor.storage.durable_folder import Folder
from sensor.storage.journal import Journal, JournalError

log = logging.getLogger(__name__)

RETRY_S = 1.0
COMPACT_BYTES = 64 << 20
COMPACT_AGAIN_S = 60.0
"""Seconds from a failed compaction to the next try."""
ALERTS = "alerts.jsonl"

Told = AlertRecord | AlertUpdate


def _alert_file(folder: Folder) -> AlertStore:
    return AlertFile(folder, ALERTS, identify)


class ManagerStore:
    """Keeps a manager's records and alerts in a folder; None: nowhere, which never fails.

    `alerts` makes the store of alerts there.
    """

    def __init__(self, folder: Path | None, alerts: Callable[[Folder], AlertStore] = _alert_file) -> None:
        self._path, self._open_alerts = folder, alerts
        self._folder: Folder | None = None
        self._journal: Journal | None = None
        self._alerts: AlertStore | None = None
        self._has_failed, self._unwritten, self._is_marked = False, "", True
        self._retry_at = self._compact_at = 0.0

    def open(self, manager: Manager) -> list[Told]:
        """Let a manager go on from what is there; what it told before, and may not have gone out.

        JournalError, OSError or ValueError says why that cannot be.
        """
        if self._path is None:
            return []
        self._folder = Folder(self._path)
        self._journal = Journal(self._folder)
        recovered = self._journal.open()
        self._alerts = self._open_alerts(self._folder)
        for line in [*recovered.damage, *self._alerts.open()]:
            log.warning("%s", line)
        return manager.restore(recovered.snapshot, recovered.records, elapsed_s())

    def close(self) -> None:
        """Let go of the folder."""
        if self._folder is not None:
            self._folder.close()

    @property
    def counters(self) -> dict[str, int]:
        """Counters of what the files took and refused, if there are files."""
        if self._alerts is None:
            return {}
        about = {"alerts_waiting": self._alerts.waiting, "alerts_lost": self._alerts.lost}
        return {**about, "alert_file_failures": self._alerts.failures}

    @property
    def is_stuck(self) -> bool:
        """True if it refused records or alerts the last time."""
        return self._has_failed or bool(self._unwritten)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of records and alerts that it has yet to take."""
        alerts = self._alerts.waiting_bytes if self._alerts else 0
        return (self._journal.pending if self._journal else 0) + alerts

    def hurry(self) -> None:
        """Do not wait for the next time to try."""
        self._retry_at = 0.0

    def append(self, records: Sequence[bytes]) -> None:
        """Take records, which are durable when `sync` says so."""
        for each in records if self._journal else ():
            assert self._journal is not None
            self._journal.append(each)

    def sync(self) -> bool:
        """Return whether all records are durable; after a failure, try again only after `RETRY_S`."""
        if elapsed_s() < self._retry_at:
            return False
        if self._journal is None:
            return True
        try:
            self._journal.sync()
        except JournalError as error:
            if not self._has_failed:
                log.error("%s", error)
            self._has_failed, self._retry_at = True, elapsed_s() + RETRY_S
            return False
        if self._has_failed:
            log.warning("the journal can be written again")
        self._has_failed = False
        return True

    def write(self, told: Sequence[Told]) -> None:
        """Put alerts, each once, into the file for them."""
        self._is_marked = self._is_marked and not told
        if self._alerts is not None:
            self._alerts.write([(line_id(each), msgspec.json.encode(each)) for each in told])
            self._note(self._alerts.error)

    def mark(self) -> None:
        """Note in the journal that all alerts so far are written: the file may be moved away before the next start."""
        if self._journal and self._alerts and not (self._is_marked or self._alerts.waiting):
            self._journal.append(record.encode(record.Written()))
            self._is_marked = True

    def compact(self, snapshot: Callable[[], bytes]) -> None:
        """Let the journal start over when it has grown; not while an alert waits for a disk that takes it."""
        waits = self._alerts is not None and self._alerts.waiting
        is_due = elapsed_s() >= self._compact_at
        if self._journal and self._journal.size > COMPACT_BYTES and not waits and is_due:
            try:
                self._journal.compact(snapshot())
            except JournalError as error:
                self._compact_at = elapsed_s() + COMPACT_AGAIN_S
                log.error("%s", error)

    def _note(self, error: str) -> None:
        """Say once that alerts cannot be written, and once that they can."""
        if error and not self._unwritten:
            log.error("alerts wait: %s", error)
        elif self._unwritten and not error:
            log.warning("alerts can be written again")
        self._unwritten = error
        self._retry_at = elapsed_s() + RETRY_S if error else self._retry_at
