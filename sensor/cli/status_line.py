"""The status line: what a capture does now, on a terminal, in a line that others overwrite."""

import logging
from typing import TextIO

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from sensor.alerts import AlertRecord, AlertUpdate
from sensor.outputs.stats import Stats, Tally
from sensor.outputs.summary import Summary
from sensor.words import amount

_ERASE = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))


class StatusLine:
    """Redraws a line with each record. Put among the outputs before one that writes to the same terminal, it makes way.

    It is drawn only where something is told, so there is neither a thread nor a hidden cursor to be left over.
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False)
        self._is_there = False
        for handler in logging.getLogger().handlers:
            handler.addFilter(self._make_way)

    def stats(self, record: Stats) -> None:
        """Show what a second was like."""
        self.hide()
        if self._console.is_terminal:
            style = "yellow" if record.ring_drops.rate or record.nic_drops.rate else ""
            self._console.print(Text(sentence(record), style), end="\r", no_wrap=True, overflow="ellipsis")
            self._is_there = True

    def hide(self) -> None:
        """Make way for something else."""
        if self._is_there:
            self._console.control(_ERASE)
            self._is_there = False

    def _make_way(self, record: logging.LogRecord) -> bool:
        self.hide()
        return True

    def alert(self, record: AlertRecord) -> None:
        """Make way for an alert."""
        self.hide()

    def update(self, record: AlertUpdate) -> None:
        """Make way for what became of an alert."""
        self.hide()

    def summary(self, record: Summary) -> None:
        """Make way for the end."""
        self.hide()


def sentence(record: Stats) -> str:
    """A record in a line, each kind of loss by its name; those in queues and refusals only where there are any."""
    refused, dropped = (_rate(each) for each in (record.refused, record.queue_drops))
    return ", ".join(
        [
            f"{amount(round(record.kernel_packets.rate), 'packet')}/s",
            f"{record.bytes.rate * 8e-6:,.1f} Mbit/s",
            f"dropped {record.ring_drops.rate:,.0f}/s in the ring and {record.nic_drops.rate:,.0f}/s by the card",
            *([f"{refused:,.0f}/s refused"] if refused else []),
            *([f"{dropped:,.0f}/s lost in queues"] if dropped else []),
            amount(record.flows.total, "flow"),
            amount(record.alerts.total, "alert"),
        ]
    )


def _rate(tallies: dict[str, Tally]) -> float:
    return sum(each.rate for each in tallies.values())
