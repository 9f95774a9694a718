"""A run: one whole cluster from its first observation to its last alert, all from one seed."""

import errno
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from sensor.storage.journal import JournalError
from tools.simulated_disk import Crashed, SimulatedDisk
from tools.simulation import detections, faults, workload
from tools.simulation.connection import Connection
from tools.simulation.faults import MANAGER, Kill, Leave, Plan
from tools.simulation.history import History
from tools.simulation.manager import ALERTS, Heard, ManagerProcess
from tools.simulation.network import Network, Timeline
from tools.simulation.worker import BrokenPromise, WorkerProcess
from tools.simulation.workload import Workload

_LIMIT_S = 300.0
"""How long all may take to come to an end once faults have ceased (virtual s)."""
_LOOK_S = 1.0
_ALL = 1 << 40  # bytes: what a process has written outlives it, as the system does


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    plan: Plan
    input: Workload
    heard: Heard
    history: History
    lines: list[bytes]
    """Of the alert file."""
    counts: Counter[str]
    digest: str
    """Of everything that happened."""


class Run:
    """A cluster under a plan; `go` lets it run to its end."""

    def __init__(self, seed: int, workers: int) -> None:
        self._random = Random(seed)
        self._names = workload.names(workers)
        self._input = workload.draw(self._random, workers)
        self._plan = faults.draw(self._random, self._names, self._input.length_s)
        self._change_input()
        self._timeline = Timeline()
        self._network = Network(self._timeline, self._random, self._plan)
        self._heard, self._history, self._counts = Heard(), History(), Counter[str]()
        self._disk = SimulatedDisk(seed=self._random.randrange(1 << 30))
        self._manager: ManagerProcess | None = None
        self._workers: dict[str, WorkerProcess] = {}
        self._incarnations: Counter[str] = Counter()
        self._expected, self._left = set(self._names), dict[str, bool]()
        self._down_s = 1.0
        self._is_over = False

    def _change_input(self) -> None:
        """Let it be such as the plan says."""
        if self._plan.steps_back:
            self._input = self._input.stepping_back(self._random)
        for join in self._plan.joins:
            since = self._input.edges[self._input.first_block(join.at)]
            self._input = self._input.shared_with(len(self._names), since, self._random)
        if self._plan.skews:
            self._input = self._input.skewed({workload.number(name): by for name, by in self._plan.skews.items()})

    def go(self) -> Outcome:
        """Run to the end; BrokenPromise if there is none, or a node has done what it must not do."""
        self._schedule()
        limit = self._plan.end + _LIMIT_S
        while not self._is_over:
            try:
                if not self._timeline.step(limit):
                    raise BrokenPromise(f"it did not come to an end within {limit:.0f} s: {self._describe()}")
            except Crashed:
                self._counts["crashes"] += 1
                self._end_manager(self._disk.after_crash())
        lines = self._disk.read(ALERTS).splitlines() if self._disk.size(ALERTS) else []
        self._timeline.note("alerts", b"".join(lines))
        self._history.finish(self._input.shift(len(self._input.edges)))
        self._counts["given_up"] = len(self._history.given_up)
        return Outcome(
            self._plan,
            self._input,
            self._heard,
            self._history,
            lines,
            self._counts + self._network.counts,
            self._timeline.digest,
        )

    def _schedule(self) -> None:
        self._begin_manager()
        for name in self._names:
            self._begin_worker(name)
        for kill in self._plan.kills:
            self._timeline.at(kill.at, self._kill, kill)
        for stop in self._plan.stops:
            self._timeline.at(stop.start, self._stop, stop.node, stop.end)
        for join in self._plan.joins:
            self._timeline.at(join.at, self._join, join.node)
        for at in self._plan.ends_by_hand or []:
            self._timeline.at(at, self._end_by_hand)
        for leave in self._plan.leaves:
            self._timeline.at(leave.at, self._leave, leave)
        for at in self._plan.disk_errors:
            self._timeline.at(at, self._fail_disk)
        self._timeline.at(self._plan.end, self._cease)
        self._timeline.after(_LOOK_S, self._look)
        self._counts["cuts"], self._counts["steps_back"] = len(self._plan.cuts), int(self._plan.steps_back)
        self._counts["skews"] = len(self._plan.skews)

    def _join(self, name: str) -> None:
        self._counts["joins"] += 1
        self._expected.add(name)
        place = self._input.edges[self._input.first_block(self._timeline.now)]
        self._history.lost(name, place - 1)  # of the epoch in which it begins it has not seen all
        self._begin_worker(name)

    def _end_by_hand(self) -> None:
        """A worker ends an epoch, as what it sees may tell it, or the manager ends the one that it is in."""
        worker = self._workers.get(self._random.choice(self._names))
        if worker is None or not worker.is_alive:
            return
        self._counts["ends_by_hand"] += 1
        if self._random.random() < 0.5 or self._manager is None:
            worker.end_by_hand()
        else:
            self._manager.end_by_hand(detections.BY_HAND, worker.epoch_by_hand)

    def _leave(self, leave: Leave) -> None:
        """It dies for good; the manager is told, over and over, until it waits for it no more (`_look`)."""
        self._counts["leaves"] += 1
        worker = self._workers.pop(leave.node, None)
        if worker is not None:
            worker.kill()
            self._history.lost(leave.node, worker.safe)
        self._left[leave.node] = leave.is_removed
        self._expected.discard(leave.node)

    def _begin_worker(self, name: str) -> None:
        if name in self._left:
            return
        self._incarnations[name] += 1
        self._timeline.note(f"begin {name}")
        self._workers[name] = WorkerProcess(
            name,
            workload.number(name),
            self._incarnations[name],
            detections.digest(self._plan.detections),
            self._plan,
            self._input,
            self._timeline,
            self._connect,
            len(self._names),
            self._random.choice([0.7, 1.0, 3.0]),
            self._history,
        )

    def _begin_manager(self) -> None:
        self._timeline.note("begin manager", b"".join(self._disk.read(name) for name in self._disk.names()))
        manager = ManagerProcess(self._names, self._plan, self._timeline, self._disk, self._heard, self._history)
        try:
            manager.start()
        except (JournalError, OSError, ValueError) as error:
            self._timeline.after(1.0, self._begin_manager)  # as a system's service manager does
            if isinstance(error, ValueError):
                self._move_alerts_away()
            return
        self._manager = manager

    def _move_alerts_away(self) -> None:
        """All that a crash has left of the first line is garbage that looks like a line of another kind of file."""
        self._counts["alert_files_moved"] += 1
        with suppress(OSError):
            self._disk.remove(ALERTS)

    def _connect(self, worker: WorkerProcess) -> Connection:
        now = self._timeline.now
        return Connection(self._network, worker.name, worker, self._manager, now, now)

    def _kill(self, kill: Kill) -> None:
        if kill.node != MANAGER:
            self._kill_worker(kill)
        elif kill.operations is not None:
            self._disk.crash_at, self._down_s = self._disk.operations + kill.operations, kill.down_s
        elif self._manager is not None:
            self._down_s = kill.down_s
            self._end_manager(self._disk.after_crash(survives=_ALL))

    def _kill_worker(self, kill: Kill) -> None:
        worker = self._workers.get(kill.node)
        if worker is not None and worker.is_alive:
            self._counts["kills"] += 1
            worker.kill()
            open_by_hand = worker.epoch_by_hand if self._plan.ends_by_hand is not None else -1
            self._history.died[kill.node] = max(open_by_hand, self._history.died.get(kill.node, -1))
            if not self._plan.replays:
                self._history.lost(kill.node, worker.safe)
            self._timeline.after(kill.down_s, self._begin_worker, kill.node)

    def _end_manager(self, disk: SimulatedDisk) -> None:
        self._counts["kills"] += 1
        if self._manager is not None:
            self._manager.kill()
        self._manager, self._disk = None, disk
        self._timeline.after(self._down_s, self._begin_manager)

    def _stop(self, node: str, until: float) -> None:
        process = self._manager if node == MANAGER else self._workers.get(node)
        if process is not None:
            self._counts["stops"] += 1
            process.stop(until)

    def _fail_disk(self) -> None:
        self._disk.failures[self._disk.operations + self._random.randint(0, 3)] = errno.ENOSPC

    def _cease(self) -> None:
        self._disk.crash_at = None
        self._disk.failures.clear()

    def _look(self) -> None:
        """See whether all is done, and that the manager knows who has left."""
        for name in self._left.keys() & set(self._manager.machine.workers) if self._manager else ():
            self._manager.leave(name, is_removed=self._left[name])
        for worker in self._workers.values():
            if worker.is_alive and worker.is_over:
                worker.exit()
        are_over = len(self._workers) == len(self._expected) and all(each.is_over for each in self._workers.values())
        self._is_over = are_over and self._manager is not None and self._manager.is_settled
        self._timeline.after(_LOOK_S, self._look)

    def _describe(self) -> str:
        waiting = [name for name, worker in self._workers.items() if not worker.is_over]
        is_settled = self._manager is not None and self._manager.is_settled
        return f"workers that are not done: {waiting}; the manager is {'' if is_settled else 'not '}done"
