"""The manager of a simulated cluster: the real state machine, journal and alert file, on a disk that crashes."""

from dataclasses import dataclass, field
from math import inf

import msgspec

from sensor.alerts import AlertRecord, AlertUpdate, identify, line_id
from sensor.bus.message import Message, Ping
from sensor.cluster.manager import EVERYBODY, Manager, Outgoing
from sensor.cluster.messages import Hello, Welcome
from sensor.storage.alert_file import AlertFile
from sensor.storage.journal import Journal, JournalError
from tools.simulated_disk import SimulatedDisk
from tools.simulation import detections
from tools.simulation.connection import PING, SILENCE_S, Connection
from tools.simulation.detections import Told
from tools.simulation.faults import Plan
from tools.simulation.history import History
from tools.simulation.network import Timeline
from tools.simulation.process import Process
from tools.simulation.worker import BrokenPromise

ALERTS = "alerts.jsonl"
_TICK_S = 1.0
_RETRY_S = 1.0

AnyAlert = AlertRecord | AlertUpdate


@dataclass
class Heard:
    """What all lives of the manager have told, once it was durable."""

    results: dict[tuple[str, int], Told] = field(default_factory=dict)
    alerts: dict[str, bytes] = field(default_factory=dict)
    """Lines of alerts and of their updates, by the id that the alert file knows them by."""

    def hear_result(self, told: Told) -> None:
        """Take the result of an epoch; an epoch that is told again must be told in the same way."""
        known = self.results.setdefault((told.sumstat, told.epoch), told)
        if known != told:
            raise BrokenPromise(f"an epoch was told twice, and not in the same way:\n  {known}\n  {told}")

    def hear_alert(self, id: str, line: bytes) -> None:
        """Take an alert; one that is told again must be told in the same way."""
        known = self.alerts.setdefault(id, line)
        if known != line:
            raise BrokenPromise(f"alert {id} was told twice, and not in the same way:\n  {known!r}\n  {line!r}")


class ManagerProcess(Process):
    """One life of the manager, which does what the real process does: make durable, then tell, then send."""

    def __init__(
        self,
        members: list[str],
        plan: Plan,
        timeline: Timeline,
        disk: SimulatedDisk,
        heard: Heard,
        history: History,
    ) -> None:
        super().__init__(timeline)
        self.disk = disk
        self._members = members
        self._plan, self._heard, self._history = plan, heard, history
        self._detections = detections.make(plan.detections)
        self.machine = Manager(self._detections, members, early=plan.early, settings=plan.settings)
        self._connections: dict[str, Connection] = {}
        self._pending, self._results = Outgoing(), list[Told]()
        self._is_committing, self._has_failed = False, False
        self._journal = Journal(disk)
        self._file = AlertFile(disk, ALERTS, identify)

    def start(self) -> None:
        """Go on from the journal, and tell what was told before and may not have gone out."""
        recovered = self._journal.open()
        self._file.open()
        told = self.machine.restore(recovered.snapshot, recovered.records, self._timeline.now)
        self._tell(told, self._take_results())
        self.machine.start(self._timeline.now)
        for name in self.machine.workers:
            self._history.gone(name, self._timeline.now)
        self.after(_TICK_S, self._tick)

    @property
    def is_settled(self) -> bool:
        """Whether all has come, and all that came of it is durable and told."""
        is_idle = not (self._pending.records or self._pending.alerts or self._pending.messages or self._results)
        is_idle = is_idle and not self._is_committing
        return self.machine.is_done and is_idle and not self._journal.pending and not self._file.waiting

    def arrived(self, connection: Connection, message: Message) -> None:
        """A message of a worker has come."""
        self.when_it_runs(self._receive, connection, message)

    def closed(self, connection: Connection) -> None:
        """A worker's end is gone."""
        self.when_it_runs(self._lose, connection)

    def kill(self) -> None:
        """The process dies; the system closes its connections."""
        self.is_alive = False
        for connection in self._connections.values():
            connection.closed_by_manager()

    def end_by_hand(self, sumstat: str, epoch: int) -> None:
        """End an epoch on all workers."""
        self.when_it_runs(self._end_by_hand, sumstat, epoch)

    def _end_by_hand(self, sumstat: str, epoch: int) -> None:
        self.machine.next_epoch(sumstat, epoch)
        self._commit_soon()

    def leave(self, name: str, *, is_removed: bool) -> None:
        """Wait for a worker no more."""
        self.when_it_runs(self._let_go, name, is_removed)

    def _let_go(self, name: str, is_removed: bool) -> None:
        if not is_removed:
            self.machine.leave(name, self._timeline.now)
        elif not self.machine.remove(name, self._timeline.now):
            self._history.removed[name] = self.machine.furthest
        self._commit_soon()

    def _receive(self, connection: Connection, message: Message) -> None:
        now = self._timeline.now
        connection.heard_by_manager = now
        if isinstance(message, Hello):
            self._greet(connection, message)
        elif connection.name in self._connections and not isinstance(message, Ping):
            # One of a connection that is closed may come, too: what is said twice or late must do no harm.
            self.machine.receive(connection.name, message, now)
            self._send(self.machine.take_requests())
            self._commit_soon()

    def _greet(self, connection: Connection, hello: Hello) -> None:
        answer = self.machine.hello(hello, self._timeline.now)
        self._history.back(hello.name, self._timeline.now)
        is_awaited = hello.name in self._members and not self._plan.replays
        if self._history.is_first_and_late(hello.name) and is_awaited:
            self._history.lost(hello.name, -inf)
        self._connections[connection.name] = connection
        is_durable = self._commit()
        if is_durable and hello.name not in self._members:
            self._history.admitted.setdefault(hello.name, self._timeline.now)
        promises = is_durable or not isinstance(answer, Welcome)
        connection.to_worker(answer if promises else answer.without_promise(hello))

    def _lose(self, connection: Connection) -> None:
        if self._connections.get(connection.name) is connection:
            del self._connections[connection.name]
            self.machine.lost(connection.name, self._timeline.now)
            self._history.gone(connection.name, self._timeline.now)
            self._commit_soon()

    def _tick(self) -> None:
        now = self._timeline.now
        for connection in list(self._connections.values()):
            if now - connection.heard_by_manager > SILENCE_S:
                connection.closed_by_manager()
                self._lose(connection)
            else:
                connection.to_worker(PING)
        self.machine.tick(now)
        self._commit()
        self.after(_TICK_S, self._tick)

    def _commit_soon(self) -> None:
        if not self._is_committing:
            self._is_committing = True
            self.after(_RETRY_S if self._has_failed else self._plan.commit_s, self._commit)

    def _commit(self) -> bool:
        """Make durable, then tell, then send; whether it could."""
        self._is_committing = False
        taken = self.machine.drain()
        self._pending.records += taken.records
        self._pending.alerts += taken.alerts
        self._pending.messages += taken.messages
        self._results += self._take_results()
        if not self._make_durable():
            return False
        self._tell(self._pending.alerts, self._results)
        self._send(self._pending.messages)
        self._pending, self._results = Outgoing(), []
        self._compact()
        return True

    def _make_durable(self) -> bool:
        for record in self._pending.records:
            self._journal.append(record)
        self._pending.records.clear()
        try:
            self._journal.sync()
        except JournalError:
            self._has_failed = True
            return False
        self._has_failed = False
        return True

    def _tell(self, alerts: list[AnyAlert], results: list[Told]) -> None:
        lines = [(line_id(each), msgspec.json.encode(each)) for each in alerts]
        self._file.write(lines)
        for line in lines:
            self._heard.hear_alert(*line)
        for told in results:
            self._heard.hear_result(told)
            self._history.told.setdefault((told.sumstat, told.epoch), self._timeline.now)

    def _take_results(self) -> list[Told]:
        results = [told for detection in self._detections for told in detection.told]
        for detection in self._detections:
            detection.told.clear()
        return results

    def _send(self, messages: list[tuple[str, Message]]) -> None:
        for to, message in messages:
            for name in list(self._connections) if to == EVERYBODY else [to]:
                if name in self._connections:
                    self._connections[name].to_worker(message)

    def _compact(self) -> None:
        if self._journal.size > self._plan.compact_bytes and not self._file.waiting:
            try:
                self._journal.compact(self.machine.snapshot())
            except JournalError:
                self._has_failed = True
