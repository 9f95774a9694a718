"""The manager as a process: its state machine, journal and alert file behind the bus.

What comes of messages is made durable before it is acknowledged or told; messages that arrive within a few milliseconds
share one write. Where the disk takes nothing, nothing is acknowledged: workers hold what they have, and all goes on
when there is room.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sensor.alerts import AlertRecord, AlertUpdate
from sensor.clock import elapsed_s
from sensor.cluster.alert_file import AlertFile
from sensor.cluster.disk import Folder
from sensor.cluster.journal import Journal, JournalError
from sensor.cluster.link import Peer
from sensor.cluster.manager import EVERYBODY, Manager, Output
from sensor.cluster.messages import (
    CertificateRequest,
    Heartbeat,
    Hello,
    Message,
    Refused,
    RequestKey,
    StatusRequest,
    Welcome,
)
from sensor.cluster.server import Server
from sensor.cluster.settings import ClusterSettings
from sensor.config import Settings
from sensor.node.output import Output as Writer
from sensor.node.output import summarise, tell
from sensor.outputs.summary import Summary

if TYPE_CHECKING:
    from sensor.node.gate import Gate

log = logging.getLogger(__name__)

COMMIT_S = 0.005
"""How long messages are gathered before they share a write: a twentieth of what an early alert may take."""
TICK_S = 0.1
RETRY_S = 1.0
COMPACT_BYTES = 64 << 20
ALERTS = "alerts.jsonl"


class ManagerNode:
    """Runs a manager behind a server. `state` is the folder of its journal and alerts; None: it keeps none.

    `early`: see `Manager`. `until_done`: it ends when the input of all members has. `gate`: of a cluster with
    certificates; None: it listens on loopback or a Unix socket, and lets in whoever can connect.
    """

    def __init__(
        self,
        settings: Settings,
        outputs: Sequence[Writer],
        *,
        members: Iterable[str] = (),
        early: bool = True,
        state: Path | None = None,
        cluster: ClusterSettings | None = None,
        until_done: bool = False,
        gate: "Gate | None" = None,
        progress: Callable[[dict[str, int], int], None] | None = None,
    ) -> None:
        self._settings, self._outputs, self._until_done, self._progress = settings, outputs, until_done, progress
        self.manager = Manager(settings.make(), members, early=early, settings=cluster)
        self._journal: Journal | None = None
        self._file: AlertFile | None = None
        self._state, self._gate = state, gate
        self._pending = Output()
        self._read: dict[str, int] = {}
        self._damage: list[str] = []
        self._started = elapsed_s()
        self._is_committing, self._failed = False, False
        self._over = asyncio.Event()
        self._servers: list[Server] = []
        self._renewals: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """End in order: tell what there is, and close."""
        self._over.set()

    def has_delivered(self, name: str) -> bool:
        """Whether the input of a worker has ended, and all that came of it is here."""
        return self.manager.has_delivered(name)

    def leave(self, name: str, why: str) -> None:
        """Wait for a member no more, and say why."""
        self._damage.append(why)
        self.manager.leave(name, elapsed_s())
        self._commit_soon()

    async def run(self, *addresses: str, ready: Callable[[list[str]], None] | None = None) -> Summary:
        """Serve at some addresses until it is stopped, or done; `ready` is told them, with their ports.

        With a gate, nodes join at one more, which is told last.
        """
        self._restore()
        self.manager.start(elapsed_s())
        try:
            where = await self._open(addresses)
            if ready:
                ready(where)
            while not self._over.is_set():
                try:
                    async with asyncio.timeout(TICK_S):
                        await self._over.wait()
                except TimeoutError:
                    self._tick()
            self._commit()
            await asyncio.sleep(0)
        finally:
            await self._close()
        summary = summarise(self.manager, self._settings, elapsed_s() - self._started, self._damage)
        for output in self._outputs:
            output.summary(summary)
        return summary

    async def _open(self, addresses: Sequence[str]) -> list[str]:
        for address in addresses:
            is_own = self._gate is None or address.startswith("unix:")
            gate = None if is_own else self._gate
            tls, admission = (gate.tls, gate.admission) if gate else (None, None)
            server = Server(address, self, tls=tls, admission=admission)
            self._servers.append(server)
            await server.start()
        joining = [await self._gate.open()] if self._gate else []
        return [*(server.address for server in self._servers), *joining]

    async def _close(self) -> None:
        for server in self._servers:
            await server.close()
        if self._gate:
            await self._gate.close()
        await asyncio.gather(*self._renewals)

    def _restore(self) -> None:
        """Go on from the journal, and tell what was told before and may not have gone out."""
        if self._state is None:
            return
        disk = Folder(self._state)
        self._journal = Journal(disk)
        recovered = self._journal.open()
        self._file = AlertFile(disk, ALERTS, _id_of)
        for line in [*recovered.damage, *self._file.open()]:
            log.warning("%s", line)
        told = self.manager.restore(recovered.snapshot, recovered.records, elapsed_s())
        self._tell(told)

    def hello(self, peer: Peer, hello: Hello) -> Welcome | Refused | None:
        """A node has connected."""
        if hello.role != "worker":
            return None
        answer = self.manager.hello(hello, elapsed_s())
        self._commit()  # that it has joined is durable before it is welcome
        if isinstance(answer, Welcome):
            for server in self._servers:
                server.retire(peer.name, peer.address)
        return answer

    def received(self, peer: Peer, message: Message) -> None:
        """A message has come. ValueError says what in it cannot be."""
        if isinstance(message, StatusRequest):
            self._send(peer.name, self.manager.status(elapsed_s()))
        if isinstance(message, RequestKey):
            self.manager.queries.ask(peer.name, message, elapsed_s())
        if isinstance(message, CertificateRequest):
            self._renew(peer, message)
        elif peer.role == "worker":
            self.manager.receive(peer.name, message, elapsed_s())
            if isinstance(message, Heartbeat):
                self._note(message)
            self._commit_soon()
        self._send_queries()

    def lost(self, peer: Peer) -> None:
        """A connection is gone."""
        if peer.role == "worker":
            self.manager.lost(peer.name, elapsed_s())
            self._commit_soon()
        self.manager.queries.forget(peer.name)
        self._send_queries()

    def _send_queries(self) -> None:
        """Send what observers asked, and were answered: it waits for no disk."""
        for to, message in self.manager.queries.take():
            self._send(to, message)

    def _send(self, name: str, message: Message) -> None:
        any(server.send(name, message) for server in self._servers)

    def _renew(self, peer: Peer, message: CertificateRequest) -> None:
        if self._gate is None or peer.identity is None:
            raise ValueError("only who has a certificate has it renewed")
        gate, identity = self._gate, peer.identity

        async def renew() -> None:
            if issued := await gate.renew(identity, message.request):
                self._send(peer.name, issued)

        task = asyncio.get_running_loop().create_task(renew())
        self._renewals.add(task)
        task.add_done_callback(self._renewals.discard)

    def _note(self, beat: Heartbeat) -> None:
        self._read[beat.worker] = beat.read
        for line in beat.damage:
            if line not in self._damage:
                self._damage.append(line)
        if self._progress:
            self._progress(self._read, self.manager.counts().packets_read)

    def _tick(self) -> None:
        self.manager.tick(elapsed_s())
        self._send_queries()
        self._commit()
        if self._gate:
            self._gate.look()
            for server in self._servers:
                server.check_admission()
        is_told = not (self._pending.records or self._pending.alerts)
        if self._until_done and self.manager.is_done and is_told:
            self._over.set()

    def _commit_soon(self) -> None:
        if not self._is_committing:
            self._is_committing = True
            asyncio.get_running_loop().call_later(RETRY_S if self._failed else COMMIT_S, self._commit)

    def _commit(self) -> None:
        """Make durable what has come of messages, then tell it, then send what follows from it."""
        self._is_committing = False
        taken = self.manager.take()
        self._pending.records += taken.records
        self._pending.alerts += taken.alerts
        self._pending.messages += taken.messages
        if not self._make_durable():
            return
        done, self._pending = self._pending, Output()
        self._tell(done.alerts)
        for to, message in done.messages:
            if to != EVERYBODY:
                self._send(to, message)
                continue
            for server in self._servers:
                server.broadcast(message)
        self._compact()

    def _make_durable(self) -> bool:
        if self._journal is None:
            self._pending.records.clear()
            return True
        for each in self._pending.records:
            self._journal.append(each)
        self._pending.records.clear()
        try:
            self._journal.sync()
        except JournalError as error:
            if not self._failed:
                log.error("%s", error)
            self._failed = True
            return False
        if self._failed:
            log.warning("the journal can be written again")
        self._failed = False
        return True

    def _tell(self, told: list[AlertRecord | AlertUpdate]) -> None:
        if self._file is not None:
            self._file.write([_line(each) for each in told])
        tell(told, self._outputs)

    def _compact(self) -> None:
        """Let the journal begin anew when it has grown; not while an alert waits for a disk that takes it."""
        waits = self._file is not None and self._file.waiting
        if self._journal and self._journal.size > COMPACT_BYTES and not waits:
            try:
                self._journal.compact(self.manager.snapshot())
            except JournalError as error:
                log.error("%s", error)


def _line(told: AlertRecord | AlertUpdate) -> tuple[str, bytes]:
    """An alert as the alert file has it, and its id there: that of an update is its own."""
    line = msgspec.json.encode(told)
    return (told.id if isinstance(told, AlertRecord) else f"{told.id} update"), line


class _Line(msgspec.Struct):
    event_type: str
    id: str


_decoder = msgspec.json.Decoder(_Line)


def _id_of(line: bytes) -> str | None:
    try:
        read = _decoder.decode(line)
    except msgspec.MsgspecError:
        return None
    return read.id if read.event_type == "alert" else f"{read.id} update"
