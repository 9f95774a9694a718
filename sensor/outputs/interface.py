"""The output: what alerts, summaries and the records of each second are written to, whatever it is.

An output can rely on this: calls come from one thread, in the order in which things happened; each alert comes once,
and each update after its alert; the summary comes last. It must return soon, as the next packets wait, must not raise,
and must count what it could not write.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from sensor.alerts import AlertRecord, AlertUpdate
from sensor.outputs.stats import Stats
from sensor.outputs.summary import Summary


class Output(Protocol):
    """Takes the records of a run."""

    def alert(self, record: AlertRecord) -> None:
        """Write an alert."""

    def update(self, record: AlertUpdate) -> None:
        """Write what became of an alert that was written."""

    def stats(self, record: Stats) -> None:
        """Write what came and what was lost in a second, if that is wanted."""

    def summary(self, record: Summary) -> None:
        """Write the closing record."""


def write_alerts(told: Iterable[AlertRecord | AlertUpdate], outputs: Sequence[Output]) -> None:
    """Write alerts, and what became of earlier ones, to all outputs."""
    for each in told:
        for output in outputs:
            if isinstance(each, AlertRecord):
                output.alert(each)
            else:
                output.update(each)
