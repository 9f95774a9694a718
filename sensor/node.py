"""Nodes: a capture source, a worker, a manager and outputs, put together."""

from collections.abc import Callable, Sequence
from typing import Protocol

from sensor import _jit
from sensor.alerts import AlertRecord
from sensor.capture import Savefiles
from sensor.clock import elapsed_s, rfc3339
from sensor.cluster.bus import Bus, InProcessBus
from sensor.cluster.manager import Manager
from sensor.cluster.messages import Message
from sensor.cluster.worker import Worker
from sensor.config import Settings
from sensor.outputs.summary import Summary


class Output(Protocol):
    """What a node writes to."""

    def alert(self, record: AlertRecord) -> None:
        """Write an alert."""

    def summary(self, record: Summary) -> None:
        """Write the closing record."""


class Standalone:
    """One worker and one manager joined by an in-process bus."""

    def __init__(self, settings: Settings, outputs: Sequence[Output]) -> None:
        self._settings, self._outputs = settings, outputs
        self._worker = Worker("worker-1", settings.make(), settings.flows)
        self._manager = Manager(settings.make(), self._worker.name)
        self._bus: Bus = InProcessBus()
        self._stopping = False

    def stop(self) -> None:
        """Take no further block: finish with what has been read."""
        self._stopping = True

    def run(self, source: Savefiles, progress: Callable[[int, int], None]) -> Summary:
        """Run a source to its end, telling `progress` (bytes, packets) after each block; alerts go out at once."""
        started = elapsed_s()
        packets = 0
        for block in source.blocks():
            self._exchange(self._worker.process(block))
            packets += len(block.frames)
            progress(source.progress[0], packets)
            if self._stopping:
                break
        self._exchange(self._worker.finish())
        summary = self._summarise(source, elapsed_s() - started)
        for output in self._outputs:
            output.summary(summary)
        return summary

    def _exchange(self, messages: list[Message]) -> None:
        self._bus.send(messages)
        for alert in self._manager.receive(self._bus.receive()):
            for output in self._outputs:
                output.alert(alert)
        self._bus.publish(self._manager.take_messages())
        self._worker.receive(self._bus.subscribe())

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
            alerts_suppressed=self._manager.suppressor.suppressed,
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
