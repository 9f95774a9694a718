"""JSON lines: one record a line, `event_type` of `alert`, `alert_update` or `summary`, written as they happen."""

from typing import TextIO

import msgspec

from sensor.alerts import AlertRecord, AlertUpdate
from sensor.outputs.summary import Summary


class JsonLines:
    """Writes records to a text stream, each flushed so that a reader of a pipe sees it at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def alert(self, record: AlertRecord) -> None:
        """Write an alert."""
        self._write(record)

    def update(self, record: AlertUpdate) -> None:
        """Write what became of an alert."""
        self._write(record)

    def summary(self, record: Summary) -> None:
        """Write the closing record."""
        self._write(record)

    def _write(self, record: AlertRecord | AlertUpdate | Summary) -> None:
        self._stream.write(msgspec.json.encode(record).decode() + "\n")
        self._stream.flush()
