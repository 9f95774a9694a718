"""A worker of a simulated cluster: the real engine and reporter, fed with observations in the place of packets."""

from collections.abc import Callable, Iterable

import numpy as np

from sensor import __version__
from sensor.bus.message import Message, Ping, Refused
from sensor.cluster.messages import Ack, Counts, Welcome
from sensor.cluster.reporter import Reporter
from sensor.sumstats import EpochEnd, EpochEnds, SumStats
from tools.simulation import detections, workload
from tools.simulation.connection import PING, SILENCE_S, Connection
from tools.simulation.detections import BY_HAND
from tools.simulation.faults import Plan
from tools.simulation.history import History
from tools.simulation.network import Timeline
from tools.simulation.process import Process
from tools.simulation.spooled import Spooled
from tools.simulation.workload import PACE, Observations, Workload

_SECRET = np.array([3, 4], np.uint64)
_PULSE_S = 1.1
_RECONNECT_S = 1.0


class BrokenPromise(Exception):
    """A node has done what it must never do."""


class WorkerProcess(Process):
    """One life of a worker. `pace`: how many times faster than live it reads input that it reads again."""

    def __init__(
        self,
        name: str,
        at: int,
        incarnation: int,
        digest: str,
        plan: Plan,
        input: Workload,
        timeline: Timeline,
        connect: Callable[["WorkerProcess"], Connection],
        members: int,
        pace: float,
        history: History,
    ) -> None:
        super().__init__(timeline)
        self.name = name
        self._digest, self._plan, self._pace, self._connect = digest, plan, pace, connect
        self._input, self._history = input, history
        self._definitions = list(detections.definitions(plan.detections).values())
        observing = max(members, 2)
        self._engine = SumStats(
            self._definitions,
            in_step=plan.replays,
            members=observing if plan.early else 0,
            secret=_SECRET,
        )
        self._reporter = Reporter(
            name,
            incarnation,
            self._engine,
            self._definitions,
            settings=plan.settings,
            held=None if plan.spool_bytes is None else Spooled(plan.spool_bytes),
            members=observing,
            replays=plan.replays,
            started=input.edges_of(at)[self._first_block] if self._first_block else None,
        )
        self._connection: Connection | None = None
        self._is_welcome = False
        self._acknowledged, self._knew_at_hello, self._run = 0, 0, 0
        self.is_finished = False
        self._events = 0
        self._begin(at)

    @property
    def is_over(self) -> bool:
        """Whether its input has ended, and the manager has all that came of it."""
        return self.is_finished and not self._reporter.unacknowledged

    def _begin(self, at: int) -> None:
        """Read input from its start; what is live, from the next block on."""
        self._edges = self._input.edges_of(at)
        first = self._first_block
        self._blocks = list(enumerate(self._input.blocks(at)))[first:]
        self._clock = int(self._edges[first])
        self.safe = self._reached = self._clock
        """Up to which packet time (ns, of the input) the manager has all; and how far it is itself."""
        self._history.begun(self.name, self._clock)
        self._engine.start(self._clock)
        self._reconnect()
        self._pulse()
        self._wait_for_block()

    @property
    def _first_block(self) -> int:
        """Where it begins in input that cannot be read again; 0: with all that there is."""
        return 0 if self._plan.replays else self._input.first_block(self._timeline.now)

    def _wait_for_block(self) -> None:
        """The next block is there when its time has come, or at this worker's pace."""
        if not self._blocks:
            self.after(0.0, self._finish)
            return
        at, _ = self._blocks[0]
        length_s = (self._edges[at + 1] - self._edges[at]) / PACE
        if self._plan.replays:
            delay = length_s / self._pace
        else:
            delay = (self._edges[at + 1] - self._edges[0]) / PACE - self._timeline.now
        self.after(max(0.0, delay), self._read)

    def _read(self) -> None:
        at, block = self._blocks.pop(0)
        shift = self._input.shift(at)
        if at == self._input.restart:
            self._end(self._engine.start(self._edges[at] - shift))
            self._run += 1
            self._reporter.run = self._run
        if len(block):
            self._observe(block.earlier(shift))
        self._reached = self._edges[at + 1]
        self._clock = self._reached - shift
        self._end(self._engine.advance(self._clock))
        self._reporter.review(self._clock)
        self._reporter.heartbeat(self._run, self._clock, Counts())
        self._exchange()
        self._wait_for_block()

    def _observe(self, block: Observations) -> None:
        for happened in workload.observe(self._engine, block, self._plan.detections):
            if isinstance(happened, EpochEnd):
                self._end([happened])
            elif isinstance(happened, EpochEnds):
                self._end_in_series(happened)
            else:
                self._reporter.crossed(happened, self._events + happened.at)
        self._events += len(block)

    def _end(self, ends: Iterable[EpochEnd]) -> None:
        for end in ends:
            before = self._given_up
            self._reporter.ended(end, self._run)
            if self._given_up > before:
                self._history.given_up.add((end.sumstat.partition(".")[0], end.epoch, self.name))

    def _end_in_series(self, ends: EpochEnds) -> None:
        before = self._given_up
        self._reporter.ended_in_series(ends, self._run)
        if self._given_up > before:
            name = ends.sumstat.partition(".")[0]
            self._history.given_up.update((name, epoch, self.name) for epoch in ends.series.epochs.tolist())

    @property
    def _given_up(self) -> int:
        return self._reporter.counters.get("epochs_unsent", 0)

    @property
    def epoch_by_hand(self) -> int:
        """Which of the epochs that end by hand is open."""
        return self._engine.epoch(BY_HAND)

    def end_by_hand(self) -> None:
        """End that epoch."""
        self.when_it_runs(self._end_by_hand)

    def _end_by_hand(self) -> None:
        if not self.is_finished:
            self._end(self._engine.next_epoch(BY_HAND, self._clock))
            self._exchange()

    def _finish(self) -> None:
        self._end(self._engine.finish(self._clock))
        self._reporter.heartbeat(self._run, self._clock, Counts(), done=True)
        self.is_finished = True
        self._exchange()

    def _pulse(self) -> None:
        """From time to time: look whether the manager is there, say that this worker is, and send what is due again."""
        connection = self._connection
        if connection and self._timeline.now - connection.heard_by_worker > SILENCE_S:
            self._disconnect()
        elif connection and self._is_welcome:
            connection.to_manager(PING)
        self._exchange()
        self.after(_PULSE_S, self._pulse)

    def _reconnect(self) -> None:
        if self._connection is None:
            self._connection = self._connect(self)
            self._is_welcome, self._knew_at_hello = False, self._acknowledged
            self._connection.to_manager(self._reporter.hello(__version__, self._digest))

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.closed_by_worker()
            self._connection = None
            self.after(_RECONNECT_S, self._reconnect)

    def _exchange(self) -> None:
        for message in self._reporter.drain(self._timeline.now):
            if self._connection is not None and self._is_welcome:
                self._connection.to_manager(message)

    def arrived(self, connection: Connection, message: Message) -> None:
        """A message of the manager has come."""
        self.when_it_runs(self._take, connection, message)

    def closed(self, connection: Connection) -> None:
        """The manager's end is gone."""
        self.when_it_runs(self._lose, connection)

    def kill(self) -> None:
        """The process dies; the system closes its connection."""
        self.is_alive = False
        if self._connection is not None:
            self._connection.closed_by_worker()

    def exit(self) -> None:
        """All is done."""
        self.kill()

    def _lose(self, connection: Connection) -> None:
        if connection is self._connection:
            self._disconnect()

    def _take(self, connection: Connection, message: Message) -> None:
        if connection is not self._connection:
            return
        connection.heard_by_worker = self._timeline.now
        match message:
            case Ping():
                return
            case Refused():
                raise BrokenPromise(f"{self.name} was refused: {message.reason}")
            case Welcome():
                self._is_welcome = True
                self._check_acknowledged(message.sequence)
                self._acknowledged = max(self._acknowledged, message.sequence)
            case Ack() if message.incarnation == self._reporter.incarnation:
                self._acknowledged = max(self._acknowledged, message.sequence)
        self._end(self._reporter.receive(message, self._timeline.now))
        if not self._reporter.unacknowledged:
            self._be_safe()
        self._exchange()

    def _be_safe(self) -> None:
        """The manager has all that was observed so far."""
        self.safe = self._reached
        self._history.begun(self.name, self.safe)

    def _check_acknowledged(self, sequence: int) -> None:
        if sequence < self._knew_at_hello:
            text = f"{self.name} was welcomed at message {sequence}, and had an acknowledgement of message"
            raise BrokenPromise(f"{text} {self._knew_at_hello}: what is acknowledged must not be forgotten")
