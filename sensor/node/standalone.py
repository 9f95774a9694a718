"""A worker and a manager in one process: what `sensor replay` runs."""

from collections.abc import Callable, Sequence

from sensor.capture import Capture
from sensor.clock import elapsed_s
from sensor.cluster.in_process import InProcessBus
from sensor.cluster.manager import Manager
from sensor.cluster.worker import Worker
from sensor.config import Settings
from sensor.node.block_loop import feed
from sensor.node.reload import reloaded
from sensor.node.run_monitor import RunMonitor, View
from sensor.node.run_summary import summarise
from sensor.outputs.interface import Output, write_alerts
from sensor.outputs.summary import Summary


class Standalone:
    """One worker and one manager joined by an in-process bus.

    `early`: alerts go out at once, and are updated when their epoch is over; otherwise they go out then. `live`: what
    comes cannot be read again, nor be waited for.
    """

    def __init__(
        self, settings: Settings, outputs: Sequence[Output], *, early: bool = False, live: bool = False
    ) -> None:
        self._settings, self._outputs, self._early, self._is_live = settings, outputs, early, live
        self._worker, self._manager = self._make(settings)
        self._bus = InProcessBus(self._worker, self._manager)
        self._load: Callable[[], Settings] | None = None
        self._source: Capture | None = None
        self._stopping = False

    def stop(self) -> None:
        """Take nothing new: finish with what is there already."""
        self._stopping = True
        if self._source is not None:
            self._source.stop()

    def reload(self, load: Callable[[], Settings]) -> None:
        """Go on with other settings from the next block on; may be called by a signal handler."""
        self._load = load

    def run(
        self, source: Capture, progress: Callable[[int, int], None], accounting: RunMonitor | None = None
    ) -> Summary:
        """Run a source to its end, telling `progress` (bytes, packets) after each block, and `accounting` at each."""
        started, self._source = elapsed_s(), source
        if self._stopping:  # before there was one to stop
            source.stop()
        accounting = accounting or RunMonitor()
        packets = 0
        for block in feed(lambda: self._worker, source, is_live=self._is_live):
            write_alerts(self._bus.exchange(), self._outputs)
            packets += len(block.frames)
            progress(source.progress[0], packets)
            accounting.poll(self._view)
            if self._load is not None:
                load, self._load = self._load, None
                self._change(load)
        self._worker.finish()
        write_alerts(self._bus.exchange(), self._outputs)
        accounting.note(self._worker.clock_hints)
        accounting.finish(self._view())
        damage = [str(each) for each in source.damage]
        summary = summarise(self._manager, self._settings, elapsed_s() - started, damage, accounting.said)
        for output in self._outputs:
            output.summary(summary)
        return summary

    def _change(self, load: Callable[[], Settings]) -> None:
        """End the epochs that are open, and go on with the same connections under other settings."""
        settings = reloaded(load, self._settings)
        if settings is None:
            return
        before = self._worker, self._manager
        before[0].conclude()
        write_alerts(self._bus.exchange(), self._outputs)
        self._settings = settings
        self._worker, self._manager = self._make(settings, continues=True)
        self._worker.follow(before[0])
        self._manager.follow(before[1])
        self._bus = InProcessBus(self._worker, self._manager)

    def _make(self, settings: Settings, *, continues: bool = False) -> tuple[Worker, Manager]:
        worker = Worker(
            "worker-1",
            settings.make(),
            settings.flows,
            settings.decode,
            in_step=True,
            members=int(self._early),
            replays=not self._is_live,
            continues=continues,
            is_local=True,
        )
        return worker, Manager(settings.make(), [worker.name], early=self._early, is_local=True, has_journal=False)

    def _view(self) -> View:
        return View(self._manager.counts(), self._manager.alerts)
