"""JSON lines: a record a line, whose `event_type` is `alert`, `alert_update`, `stats` or `summary`, as they happen."""

from collections.abc import Callable
from typing import TextIO

import msgspec

from sensor.alerts import AlertRecord, AlertUpdate
from sensor.outputs.stats import Stats
from sensor.outputs.summary import Summary


class JsonLines:
    """Writes records to a text stream, each flushed so that a reader of a pipe sees it at once.

    `stats`: also those of every second; without, they are left out. `lost` says how many lines could not be written.
    """

    def __init__(self, stream: TextIO, *, stats: bool = False, lost: Callable[[], int] = lambda: 0) -> None:
        self._stream, self._writes_stats, self._lost = stream, stats, lost

    def alert(self, record: AlertRecord) -> None:
        """Write an alert."""
        self._write(record)

    def update(self, record: AlertUpdate) -> None:
        """Write what became of an alert."""
        self._write(record)

    def stats(self, record: Stats) -> None:
        """Write what came and what was lost in a second, if that is wanted."""
        if self._writes_stats:
            self._write(record)

    def summary(self, record: Summary) -> None:
        """Write the closing record, with how much of all before could not be written."""
        if lost := self._lost():
            record = msgspec.structs.replace(record, counters=record.counters | {"lines_lost": lost})
        self._write(record)

    def _write(self, record: AlertRecord | AlertUpdate | Stats | Summary) -> None:
        self._stream.write(msgspec.json.encode(record).decode() + "\n")
        self._stream.flush()
