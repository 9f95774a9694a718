"""What tests of the cluster share: whole clusters in one process, whose messages arrive at once, or whenever."""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sensor import __version__
from sensor.alerts import AlertRecord, AlertUpdate
from sensor.bus.message import Message
from sensor.capture import open_savefiles
from sensor.cluster.manager import EVERYBODY, Manager
from sensor.cluster.messages import Counts, Welcome
from sensor.cluster.worker import Worker
from sensor.config import configure
from sensor.detection import Detection
from sensor.packet import Block

_BLOCKS = 100  # of a worker, at least: so few that there is time for many captures


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

    def __init__(
        self, make: Callable[[], list[Detection]], n: int = 1, *, early: bool = False, is_local: bool = True
    ) -> None:
        names = [f"worker-{i + 1}" for i in range(n)]
        is_local = is_local and n == 1
        self.manager = Manager(make(), names, early=early, is_local=is_local)
        self.workers = [
            Worker(
                name,
                make(),
                in_step=True,
                share=(i, n),
                members=(n if is_local else max(n, 2)) if early else 0,
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
                for message in worker.drain(0.0):
                    self.manager.receive(worker.name, message, 0.0)
                    is_busy = True
            output = self.manager.drain()
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


class Trickle:
    """A cluster whose workers take a capture a few frames at a time, each at its own pace.

    What they and the manager say to each other arrives late: in order on each way, as of a connection, and in any order
    on different ones. All is chosen by `rng`. `is_local`: one worker is in the manager's process, and nothing is late.
    """

    def __init__(self, make: Callable[[], list[Detection]], n: int, rng: random.Random, *, is_local: bool) -> None:
        self._cluster, self._rng = Cluster(make, n, early=True, is_local=is_local), rng
        self._is_local = is_local
        self._ways: dict[tuple[str, str], deque[Message]] = {}
        self._now = 0.0

    def run(self, path: Any, most: int) -> Ran:
        """Let all workers read a capture, with at most `most` frames in a block."""
        workers = self._cluster.workers
        with open_savefiles([str(path)]) as source:
            frames = [Block(each.buffers, each.frames.copy()) for each in source.blocks()]
            assert len(frames) <= 1, "a block lies where the next one will"
            most = max(most, sum(len(each.frames) for each in frames) // _BLOCKS)
            waiting = {each.name: 0 for each in workers} if frames else {}
            while waiting:
                near = min(waiting.values()) + 2 * most  # all see about the same, as of one interface or pipe
                worker = self._rng.choice([each for each in workers if waiting.get(each.name, near) < near])
                start = waiting[worker.name]
                part = frames[0].frames[start : start + self._rng.randint(1, self._rng.randint(1, most))]
                worker.process(Block(frames[0].buffers, part))
                waiting[worker.name] += len(part)
                if waiting[worker.name] == len(frames[0].frames):
                    worker.finish()
                    del waiting[worker.name]
                self._carry(self._rng.randint(0, 6 + 6 * len(workers)))
        return self._finish()

    def _finish(self) -> Ran:
        manager = self._cluster.manager
        while not manager.is_done or any(self._ways.values()):
            self._carry(self._rng.randint(1, 50))
        return Ran(self._cluster.told, manager.counts(), manager)

    def _carry(self, most: int) -> None:
        """Let time pass, and so many messages arrive."""
        if self._is_local:
            self._cluster.exchange()
            return
        manager, rng = self._cluster.manager, self._rng
        self._now += rng.random()
        for worker in self._cluster.workers:
            self._send(worker.name, EVERYBODY, worker.drain(self._now))
        for _ in range(most):
            if not (ways := [each for each, waiting in self._ways.items() if waiting]):
                break
            way = rng.choice(ways)
            message = self._ways[way].popleft()
            if way[1] == EVERYBODY:
                manager.receive(way[0], message, self._now)
            else:
                next(each for each in self._cluster.workers if each.name == way[1]).receive([message], self._now)
        if rng.random() < 0.3:
            manager.tick(self._now)
        output = manager.drain()
        self._cluster.told += output.alerts
        for to, message in output.messages:
            for worker in self._cluster.workers:
                if to in (EVERYBODY, worker.name):
                    self._send(EVERYBODY, worker.name, [message])

    def _send(self, source: str, to: str, messages: list[Message]) -> None:
        self._ways.setdefault((source, to), deque()).extend(messages)
