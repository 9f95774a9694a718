"""What tests of the cluster share: whole clusters in one process, whose messages arrive at once."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sensor import __version__
from sensor.alerts import AlertRecord, AlertUpdate
from sensor.capture import open_savefiles
from sensor.cluster.manager import EVERYBODY, Manager
from sensor.cluster.messages import Counts, Welcome
from sensor.cluster.worker import Worker
from sensor.config import configure
from sensor.detection import Detection
from sensor.packet import Block


@dataclass(frozen=True)
class Ran:
    """What came of a run."""

    told: list[AlertRecord | AlertUpdate]
    counts: Counts
    manager: Manager

    @property
    def alerts(self) -> list[AlertRecord]:
        """The alerts that went out."""
        return [each for each in self.told if isinstance(each, AlertRecord)]

    @property
    def standing(self) -> dict[str, tuple[Any, ...]]:
        """The alerts that stand when all is over, by id: what each is about, as it was said last."""
        about = {each.id: each for each in self.alerts}
        final: dict[str, AlertRecord | AlertUpdate] = dict(about)
        for each in self.told:
            if isinstance(each, AlertUpdate):
                final[each.id] = each
                if each.folded_into is not None or each.state == "withdrawn":
                    del final[each.id]
        return {
            id: (about[id].detection, about[id].epoch, last.src, last.dst, last.port, *_said(last))
            for id, last in final.items()
        }


def _said(last: AlertRecord | AlertUpdate) -> tuple[Any, ...]:
    return last.kind, last.severity, last.message, last.value


class Cluster:
    """Workers that share one capture by pairs of hosts, and their manager."""

    def __init__(self, make: Callable[[], list[Detection]], n: int = 1, *, early: bool = False) -> None:
        names = [f"worker-{i + 1}" for i in range(n)]
        self.manager = Manager(make(), names, early=early, is_local=n == 1)
        self.workers = [
            Worker(
                name,
                make(),
                in_step=True,
                share=(i, n),
                members=n if early else 0,
                replays=True,
            )
            for i, name in enumerate(names)
        ]
        self.told: list[AlertRecord | AlertUpdate] = []
        for worker in self.workers:
            welcome = self.manager.hello(worker.hello(__version__, self.manager.digest), 0.0)
            assert isinstance(welcome, Welcome)
            worker.receive([welcome], 0.0)

    def exchange(self) -> None:
        """Carry messages until there are no more."""
        is_busy = True
        while is_busy:
            is_busy = False
            for worker in self.workers:
                for message in worker.take(0.0):
                    self.manager.receive(worker.name, message, 0.0)
                    is_busy = True
            output = self.manager.take()
            self.told += output.alerts
            for to, message in output.messages:
                for worker in self.workers:
                    if to in (EVERYBODY, worker.name):
                        worker.receive([message], 0.0)
                is_busy = True

    def run(self, path: Any, size: int = 10**9, waits: random.Random | None = None) -> Ran:
        """Let all workers read a capture, with at most `size` frames in a block; `waits` chooses which blocks wait."""
        with open_savefiles([str(path)]) as source:
            for block in source.blocks():
                for start in range(0, len(block.frames), size):
                    part = Block(block.buffers, block.frames[start : start + size])
                    for worker in self.workers:
                        worker.process(part, may_wait=waits is not None and waits.random() < 0.8)
                    self.exchange()
        return self.finish()

    def finish(self) -> Ran:
        """Let all input end."""
        for worker in self.workers:
            worker.finish()
        self.exchange()
        return Ran(self.told, self.manager.counts(), self.manager)


def run(
    path: Any, n: int = 1, *plugins: str, size: int = 10**9, early: bool = False, waits: random.Random | None = None
) -> Ran:
    """Let `n` workers share a capture in blocks of at most `size` frames, of which `waits` chooses those that wait."""
    return Cluster(configure(plugins=plugins).make, n, early=early).run(path, size, waits)
