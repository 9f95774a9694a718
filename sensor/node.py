"""Nodes: a capture source, a worker, a manager and outputs, put together."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from sensor import _jit
from sensor.alerts import AlertRecord, AlertUpdate
from sensor.capture import Savefiles
from sensor.clock import elapsed_s, rfc3339
from sensor.cluster.bus import InProcessBus
from sensor.cluster.manager import Manager
from sensor.cluster.worker import Worker
from sensor.config import Settings
from sensor.outputs.summary import Summary


class Output(Protocol):
    """What a node writes to."""

    def alert(self, record: AlertRecord) -> None:
        """Write an alert."""

    def update(self, record: AlertUpdate) -> None:
        """Write what became of an alert that was written before its epoch was over."""

    def summary(self, record: Summary) -> None:
        """Write the closing record."""


def tell(told: Iterable[AlertRecord | AlertUpdate], outputs: Sequence[Output]) -> None:
    """Write alerts, and what became of earlier ones, to all outputs."""
    for each in told:
        for output in outputs:
            if isinstance(each, AlertRecord):
                output.alert(each)
            else:
                output.update(each)


class Standalone:
    """One worker and one manager joined by an in-process bus.

    `early`: alerts go out at once, and are updated when their epoch is over; otherwise they go out then.
    """

    def __init__(self, settings: Settings, outputs: Sequence[Output], *, early: bool = False) -> None:
        self._settings, self._outputs = settings, outputs
        self._worker = Worker("worker-1", settings.make(), settings.flows, members=int(early), replays=True)
        self._manager = Manager(settings.make(), [self._worker.name], early=early, is_local=True)
        self._bus = InProcessBus(self._worker, self._manager)
        self._stopping = False

    def stop(self) -> None:
        """Take no further block: finish with what has been read."""
        self._stopping = True

    def run(self, source: Savefiles, progress: Callable[[int, int], None]) -> Summary:
        """Run a source to its end, telling `progress` (bytes, packets) after each block."""
        started = elapsed_s()
        packets = 0
        for block in source.blocks():
            self._worker.process(block)
            tell(self._bus.exchange(), self._outputs)
            packets += len(block.frames)
            progress(source.progress[0], packets)
            if self._stopping:
                break
        self._worker.finish()
        tell(self._bus.exchange(), self._outputs)
        summary = self._summarise(source, elapsed_s() - started)
        for output in self._outputs:
            output.summary(summary)
        return summary

    def _summarise(self, source: Savefiles, seconds: float) -> Summary:
        counts = self._manager.counts()
        captured = dict(source.counters)
        return Summary(
            packets_read=captured.pop("packets_read"),
            packets_decoded=counts.packets_decoded,
            refused=counts.refused,
            weirds=counts.weirds,
            flows=counts.flows,
            observations=counts.observations,
            alerts=self._manager.alerts,
            alerts_suppressed=self._manager.suppressed,
            bytes=counts.bytes,
            first_ts=None if counts.first_ts is None else rfc3339(counts.first_ts),
            last_ts=None if counts.last_ts is None else rfc3339(counts.last_ts),
            seconds=round(seconds, 6),
            packets_per_second=round(counts.packets_read / seconds, 1) if seconds else 0.0,
            damage=[str(each) for each in source.damage],
            detections=[each.name for each in self._settings.detections],
            detection_faults=counts.faults,
            workers=self._manager.workers,
            compiled=_jit.COMPILED,
            counters=captured | counts.counters | self._manager.counters,
        )


def unaccounted(summary: Summary) -> int:
    """How many packets were read and neither decoded nor refused under a name: anything but 0 is a defect of ours."""
    return summary.packets_read - summary.packets_decoded - sum(summary.refused.values())
