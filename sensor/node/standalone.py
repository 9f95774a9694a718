"""A worker and a manager in one process: what `sensor replay` runs."""

from collections.abc import Callable, Sequence

from sensor.capture import Savefiles
from sensor.clock import elapsed_s
from sensor.cluster.bus import InProcessBus
from sensor.cluster.manager import Manager
from sensor.cluster.worker import Worker
from sensor.config import Settings
from sensor.node.output import Output, summarise, tell
from sensor.outputs.summary import Summary


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
        self._worker.captured = dict(source.counters)
        self._worker.finish()
        tell(self._bus.exchange(), self._outputs)
        damage = [str(each) for each in source.damage]
        summary = summarise(self._manager, self._settings, elapsed_s() - started, damage)
        for output in self._outputs:
            output.summary(summary)
        return summary
