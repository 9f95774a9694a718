"""The manager as a process: its state machine, journal and alert file behind the bus.

What comes of messages is made durable before it is acknowledged or told; messages that arrive within a few milliseconds
share one write. Where the disk takes nothing, nothing is acknowledged, and nothing more is taken once too much waits
for it: workers hold what they have, and all goes on when there is room.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sensor.alerts import AlertRecord, AlertUpdate
from sensor.bus.interface import Peer
from sensor.bus.message import Message, Refused
from sensor.clock import elapsed_s
from sensor.cluster.manager import EVERYBODY, Manager, Outgoing
from sensor.cluster.messages import (
    Ack,
    CertificateRequest,
    Delivered,
    Heartbeat,
    Hello,
    RemoveWorker,
    RequestKey,
    StatusRequest,
    Welcome,
    WorkerRemoved,
)
from sensor.cluster.settings import ClusterSettings
from sensor.config import Settings
from sensor.node import manager_store
from sensor.node.attendance import Attendance
from sensor.node.difference import definitions_that_differ, parts_of, sources_that_differ
from sensor.node.lateness import Lateness
from sensor.node.manager_store import ManagerStore
from sensor.node.reload import say_that_they_hold
from sensor.node.run_monitor import RunMonitor, View
from sensor.node.run_summary import summarise
from sensor.node.servers import Servers
from sensor.node.worker_hints import WorkerHints
from sensor.outputs.interface import Output, write_alerts
from sensor.outputs.summary import Summary

if TYPE_CHECKING:
    from sensor.node.cluster_admission import ClusterAdmission

log = logging.getLogger(__name__)

COMMIT_S = 0.005
"""Seconds that messages are gathered for one write: a twentieth of what an early alert may take."""
TICK_S = 0.1
STAY_S = 30.0
"""Seconds that a finished manager stays for workers that have no acknowledgement yet."""
AWAY_S = 6.0
"""The same for those that are not connected: one that waits dials every five seconds at least."""
TAKEN_S = 10.0
"""Seconds that a worker whose name is taken may retry: its owner may be gone without a notice."""
WAITING_BYTES, WAITING_MESSAGES = 32 << 20, 100_000
"""Most bytes that wait for a stuck disk: records, alerts, and messages that must follow them."""
_LONGEST = 1000  # letters of a reason that a peer is told
_ALERT_BYTES = 1024  # of an alert that waits, about
_SAY_S = 60.0  # between lines on who has a name that is taken


class ManagerNode:
    """Runs a manager behind a server. `state` is the folder of its journal and alerts; None: it keeps none.

    `early`: see `Manager`. `until_done`: it ends when the input of all members has. `gate`: of a cluster with
    certificates; None: it listens on loopback or a Unix socket, and lets in whoever can connect. `accounting`: see
    there; without, it only says which worker has too much to do, and what workers say.
    """

    def __init__(
        self,
        settings: Settings,
        outputs: Sequence[Output],
        *,
        members: Iterable[str] = (),
        early: bool = True,
        state: Path | None = None,
        cluster: ClusterSettings | None = None,
        until_done: bool = False,
        gate: "ClusterAdmission | None" = None,
        progress: Callable[[dict[str, int], int], None] | None = None,
        accounting: RunMonitor | None = None,
    ) -> None:
        self._settings, self._outputs, self._until_done, self._progress = settings, outputs, until_done, progress
        self._early, self._cluster = early, cluster or settings.cluster
        self.manager = Manager(settings.make(), members, early=early, settings=self._cluster)
        self._next: Settings | None = None
        self._disk = ManagerStore(state)
        self._pending = Outgoing()
        self._read: dict[str, int] = {}
        self._damage: list[str] = []
        self._pardoned: tuple[str, ...] = ()
        self._accounting, self._relay = accounting or RunMonitor(), WorkerHints()
        self._lateness = Lateness(self._cluster.deadline_s)
        self._attendance = Attendance(self._cluster.deadline_s)
        self._parts = parts_of(settings)
        self._started = elapsed_s()
        self._is_committing = False
        self._done_since: float | None = None
        self._have_heard: dict[str, int] = {}
        self._turned_away: dict[str, float] = {}
        self._acks: dict[str, Ack] = {}
        self._over = asyncio.Event()
        self.servers = Servers(self, gate)

    def stop(self) -> None:
        """End in order: tell what there is, and close."""
        self._over.set()

    def reload(self, settings: Settings) -> None:
        """Go on with other settings once all workers have ended their epochs under these. Not with a journal."""
        self._next = settings

    def has_delivered(self, name: str) -> bool:
        """Return whether the input of a worker has ended, and all its results are here."""
        return self._next is None and self.manager.has_delivered(name)

    def pardon(self, path: str) -> None:
        """Do not report a broken end of an input as damage: it was cut off on purpose."""
        self._pardoned = (*self._pardoned, f"{path}: ")

    def note_damage(self, line: str) -> None:
        """Something could not be read, which several may say."""
        if line not in self._damage and not line.startswith(self._pardoned):
            self._damage.append(line)

    def leave(self, name: str, why: str) -> None:
        """Wait for a member no more, and say why, if anything is missing for it."""
        self._damage += [why] if why else []
        self.manager.leave(name, elapsed_s())
        self._commit_soon()

    async def run(self, *addresses: str, ready: Callable[[list[str]], None] | None = None) -> Summary:
        """Serve at some addresses until it is stopped, or done; `ready` is told them, with their ports.

        With a gate, nodes join at one more, which is told last.
        """
        try:
            return await self._run(addresses, ready)
        finally:
            self._disk.close()

    async def _run(self, addresses: Sequence[str], ready: Callable[[list[str]], None] | None) -> Summary:
        self._tell(self._disk.open(self.manager))
        self.manager.start(elapsed_s())
        try:
            where = await self.servers.open(addresses)
            if ready:
                ready(where)
            while not self._over.is_set():
                try:
                    async with asyncio.timeout(TICK_S):
                        await self._over.wait()
                except TimeoutError:
                    self._tick()
            self._finish()
            await asyncio.sleep(0)
        finally:
            await self.servers.close()
        self._warn(self._lateness.finish(self.manager.late))
        self._accounting.finish(self._view())
        hints = [*self._accounting.said, *self._relay.said, *self._lateness.hints(self.manager.late)]
        summary = summarise(self.manager, self._settings, elapsed_s() - self._started, self._damage, hints)
        summary = msgspec.structs.replace(summary, counters=summary.counters | self._counters)
        for output in self._outputs:
            output.summary(summary)
        return summary

    def _finish(self) -> None:
        """Try the disk once more, and once for the mark that comes of it."""
        for _ in range(2):
            self._disk.hurry()
            self._commit()

    def hello(self, peer: Peer, hello: Hello) -> Welcome | Refused | None:
        """A node has connected."""
        if hello.role != "worker":
            return None
        if self._next is not None and hello.digest != self.manager.digest:
            return Refused("the manager waits until all workers have ended their epochs under the settings before")
        if self._is_full:
            return Refused("the manager's disk takes nothing, and as much waits for it as may; its log says why")
        if hello.digest == self.manager.digest and (where := self.servers.other_of(peer)):
            return self._turn_away(peer, where)
        answer = self.manager.hello(hello, elapsed_s())
        is_durable = self._commit()
        if isinstance(answer, Welcome):
            self.servers.retire(peer)
            self._warn_of_workers(self._attendance.came(peer.name))
            self._say_of_sources(hello)
            return answer if is_durable else answer.without_promise(hello)
        return self._refuse(peer, hello, answer)

    def _refuse(self, peer: Peer, hello: Hello, answer: Refused) -> Refused:
        """Name what differs, if that is why, and say it here too."""
        differs = definitions_that_differ(self._parts, hello.parts) if hello.digest != self.manager.digest else ""
        if differs:
            answer = msgspec.structs.replace(answer, reason=f"{answer.reason} ({differs})"[:_LONGEST])
        self._warn_of_workers(self._attendance.refused(peer.name, peer.address, answer.reason))
        return answer

    def _turn_away(self, peer: Peer, where: str) -> Refused:
        """Somebody else is heard of under that name: say so on both sides, here once in a while."""
        now = elapsed_s()
        if now - self._turned_away.get(peer.name, -_SAY_S) >= _SAY_S:
            self._turned_away[peer.name] = now
            text = "a second worker, %s, has the name %s, and is refused while the first is heard of, %s"
            log.warning(text, _whence(peer.address), peer.name, _whence(where))
        text = f"a worker of the name {peer.name} is connected already, {_whence(where)}: give this one another --name"
        return Refused(text, retry_s=TAKEN_S)

    def _say_of_sources(self, hello: Hello) -> None:
        if others := sources_that_differ(self._parts, hello.parts):
            text = f"{hello.name} runs {', '.join(others)} from another file than the manager's"
            advice = "`where` and such may differ there, and its results are merged all the same"
            self._warn_of_workers(self._attendance.once(hello.name, f"{text}: {advice}"))

    def _warn_of_workers(self, lines: Iterable[str]) -> None:
        """Say what is new of workers, unless whoever started them does."""
        for line in lines if not (self._accounting.is_together or self._accounting.is_replay) else ():
            log.warning("%s", line)

    def received(self, peer: Peer, message: Message) -> None:
        """A message has come. ValueError says what in it cannot be."""
        if isinstance(message, StatusRequest):
            status = self.manager.status(elapsed_s())
            hints = [*self._relay.hints, *self._lateness.hints(self.manager.late)]
            about = msgspec.structs.replace(status, counters=status.counters | self._counters, hints=hints)
            self.servers.send(peer.name, about)
        if isinstance(message, RemoveWorker):
            self._remove(peer, message.name)
        if isinstance(message, RequestKey):
            self.manager.queries.ask(peer.name, message, elapsed_s())
        if isinstance(message, CertificateRequest):
            self.servers.renew(peer, message)
        elif isinstance(message, Delivered):
            self._have_heard[message.worker] = message.incarnation
        elif peer.role == "worker":
            self.manager.receive(peer.name, message, elapsed_s())
            for to, request in self.manager.take_requests():
                self.servers.send(to, request)
            if isinstance(message, Heartbeat):
                self._note(message)
            self._commit_soon()
            if self._disk.is_stuck:
                self._gather()
        self._send_queries()

    def _remove(self, peer: Peer, name: str) -> None:
        """Let a worker go for good, and say so once that is durable."""
        reason = "this is for the manager's own host alone"
        was_there = name in self.manager.workers
        if peer.identity is None:
            reason = self.manager.remove(name, elapsed_s())
        if was_there and not reason:
            log.warning("%s is gone for good: nothing is missing for it from now on", name)
        self._gather()
        self._pending.messages.append((peer.name, WorkerRemoved(reason)))
        self._commit_soon()

    def _remove_revoked(self) -> None:
        """Whoever was revoked is not waited for."""
        for name in self.servers.revoked & set(self.manager.workers):
            self.manager.lost(name, elapsed_s())
            self.manager.remove(name, elapsed_s())
            log.warning("%s is revoked: nothing is missing for it from now on", name)

    @property
    def _counters(self) -> dict[str, int]:
        """Counters of unsaid lines and of the disk, if there is one."""
        of_disk = self._disk.counters
        pauses = {"manager_pauses": self.servers.pauses} if of_disk else {}
        return {"hints_unsaid": self._relay.unsaid, "lines_unsaid": self._attendance.unsaid, **of_disk, **pauses}

    def lost(self, peer: Peer) -> None:
        """A connection is gone."""
        if peer.role == "worker":
            self.manager.lost(peer.name, elapsed_s())
            self._relay.forget(peer.name)
            if not (self._over.is_set() or self.manager.has_delivered(peer.name)):
                self._warn_of_workers(self._attendance.gone(peer.name))
            self._commit_soon()
        self.manager.queries.forget(peer.name)
        self._send_queries()

    def _send_queries(self) -> None:
        """Send what observers asked, and were answered: it waits for no disk."""
        for to, message in self.manager.queries.drain():
            self.servers.send(to, message)

    def _view(self) -> View:
        now = elapsed_s()
        paces = {name: self.manager.paces.of(name, now) for name in self.manager.workers}
        rates = {name: pace.packets_per_second for name, pace in paces.items() if pace and pace.is_capture}
        hints = [*self._relay.hints, *self._lateness.hints(self.manager.late)]
        return View(self.manager.counts(), self.manager.alerts, self._counters, rates, hints)

    def _note(self, beat: Heartbeat) -> None:
        self._read[beat.worker] = beat.read
        self._warn_of_workers(self._relay.update(beat.worker, beat.hints))
        for line in beat.damage:
            self.note_damage(line)
        if self._progress:
            self._progress(self._read, self.manager.counts().packets_read)

    def _tick(self) -> None:
        if not self._is_full:  # paused workers would time out otherwise
            self.manager.tick(elapsed_s())
        self._send_queries()
        self._commit()
        self._warn(self._lateness.judge(self.manager.late, self.manager.lags))
        self._accounting.poll(self._view)
        self.servers.poll()
        self._remove_revoked()
        is_told = not (self._waiting_bytes or self._acks)
        if self._next is not None and self.manager.is_done and is_told:
            self._change(self._next)
        if self._until_done and is_told and self._may_end:
            self._over.set()

    @property
    def _may_end(self) -> bool:
        """Return whether all inputs have ended, and all workers know it or have had time to."""
        if not self.manager.is_done:
            self._done_since = None
            return False
        self._done_since = elapsed_s() if self._done_since is None else self._done_since
        waiting = [name for name, own in self.manager.incarnations.items() if self._have_heard.get(name) != own]
        stay_s = STAY_S if self.servers.has_any(waiting) else AWAY_S
        return not waiting or elapsed_s() - self._done_since >= stay_s

    def note_ended(self, name: str) -> None:
        """The process of a worker that has delivered all has ended."""
        self._have_heard[name] = self.manager.incarnations.get(name, 0)

    @staticmethod
    def _warn(lines: Iterable[str]) -> None:
        for line in lines:
            log.warning("%s", line)

    def _change(self, settings: Settings) -> None:
        before, self._settings, self._next = self.manager, settings, None
        self._parts = parts_of(settings)
        self.manager = Manager(settings.make(), before.workers, early=self._early, settings=self._cluster)
        self.manager.follow(before)
        self.manager.start(elapsed_s())
        say_that_they_hold(settings)

    def _commit_soon(self) -> None:
        if not self._is_committing:
            self._is_committing = True
            asyncio.get_running_loop().call_later(
                manager_store.RETRY_S if self._disk.is_stuck else COMMIT_S, self._commit
            )

    def _commit(self) -> bool:
        """Make durable what has come of messages, then tell it, then send what follows from it; whether it could."""
        self._is_committing = False
        self._gather()
        if not self._disk.sync():
            return False
        done, self._pending = self._pending, Outgoing()
        self._tell(done.alerts)
        self._disk.mark()
        acks, self._acks = self._acks, {}
        for to, message in [*acks.items(), *done.messages]:
            if to == EVERYBODY:
                self.servers.broadcast(message)
            else:
                self.servers.send(to, message)
        self._disk.compact(self.manager.snapshot)
        self._hold_back()
        return True

    def _gather(self) -> None:
        """Let what has come of messages wait for the disk."""
        taken = self.manager.drain()
        self._disk.append(taken.records)
        self._pending.alerts += taken.alerts
        for to, message in taken.messages:
            if isinstance(message, Ack):
                self._acks[to] = message  # only the latest counts
            else:
                self._pending.messages.append((to, message))
        self._hold_back()

    @property
    def _waiting_bytes(self) -> int:
        """Bytes that wait for the disk."""
        return self._disk.waiting_bytes + _ALERT_BYTES * len(self._pending.alerts)

    @property
    def _is_full(self) -> bool:
        """True if as much waits for the disk as may."""
        is_much = self._waiting_bytes > WAITING_BYTES or len(self._pending.messages) > WAITING_MESSAGES
        return self._disk.is_stuck and is_much

    def _hold_back(self) -> None:
        """Take nothing from workers while too much waits; then give those that were turned away time to return."""
        if self._is_full == self.servers.is_paused:
            return
        if self._is_full:
            log.error("nothing more is taken from workers: too much waits for the disk")
            self.servers.pause()
        else:
            log.warning("workers are heard again")
            self.manager.start(elapsed_s())
            self.servers.resume()

    def _tell(self, told: list[AlertRecord | AlertUpdate]) -> None:
        self._disk.write(told)
        write_alerts(told, self._outputs)


def _whence(address: str) -> str:
    return "of this host" if address == "unix" else f"from {address}"
