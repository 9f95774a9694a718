"""A worker as a process: a capture source, the worker's state machine, and the bus to a manager elsewhere."""

import logging
import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sensor import __version__
from sensor.bell import Bell
from sensor.bus.interface import Connected, Disconnected, Failed, Received
from sensor.bus.message import Refused
from sensor.capture import Capture
from sensor.clock import elapsed_s, incarnation
from sensor.cluster.ledger import digest_of
from sensor.cluster.messages import CertificateIssued, Delivered, Hello, Numbered, Welcome
from sensor.cluster.settings import ClusterSettings
from sensor.cluster.worker import Worker
from sensor.config import Settings
from sensor.node.block_loop import feed
from sensor.node.difference import parts_of
from sensor.node.manager_address import ManagerAddress
from sensor.node.reload import reloaded
from sensor.node.run_monitor import RunMonitor, View
from sensor.storage.spool import Spool
from sensor.sumstats import Definition

if TYPE_CHECKING:
    from sensor.node.renewal import Renewal

log = logging.getLogger(__name__)

MEMORY_BYTES, DISK_BYTES = 64 << 20, 1 << 30
"""Limits on unacknowledged results in memory and on disk."""

_BACKLOG = 2000  # messages that are not acknowledged, beyond which a worker that can wait reads no further
_WAIT_S = 0.2
_FLUSH_S = 2.0
_LAST_S = 3.0  # that a worker that was told to end, or cannot tell again, gives the manager to take all
GIVE_UP_S = 60.0
"""Seconds that a worker whose input has ended keeps dialling: a restarted manager is back by then."""

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Numbered] = msgspec.msgpack.Decoder(Numbered)


class RefusedError(Exception):
    """The manager does not take this worker, and says why."""


@dataclass(frozen=True)
class Place:
    """The place of a worker among the others."""

    name: str
    manager: ManagerAddress
    share: tuple[int, int] = (0, 1)
    """(number from 0, count) of its share of the hosts; with more than one share all workers read the same input."""
    spool: Path | None = None
    """Folder for results that do not fit into memory."""
    parent: int | None = None
    """Parent PID; the worker exits when its parent exits. None: standalone."""
    replays: bool = True
    """True if the input can be read again; otherwise nothing waits for the manager, and late results are lost."""


class _Spooled:
    """Numbered messages in a spool."""

    def __init__(self, folder: Path | None) -> None:
        self._spool = Spool(folder, MEMORY_BYTES, DISK_BYTES)

    def append(self, message: Numbered) -> bool:
        """Hold a message; False: there is no room."""
        return self._spool.append(message.sequence, _encoder.encode(message))

    def after(self, sequence: int) -> Iterator[Numbered]:
        """Those with greater numbers, in order."""
        return (_decoder.decode(data) for _, data in self._spool.after(sequence))

    def release(self, sequence: int) -> None:
        """All up to this one are acknowledged."""
        self._spool.release(sequence)

    @property
    def counters(self) -> dict[str, int]:
        """Counters of what went wrong, by name."""
        return self._spool.counters


class WorkerNode:
    """Runs a worker against a manager, until its input has ended and all that came of it is acknowledged."""

    def __init__(
        self,
        settings: Settings,
        place: Place,
        *,
        cluster: ClusterSettings | None = None,
    ) -> None:
        self._settings, self._place, self._cluster = settings, place, cluster or settings.cluster
        self._incarnation = incarnation()
        self._digest, self._parts = digest_of(definitions_of(settings)), parts_of(settings)
        self._worker: Worker | None = None
        self._spooled = _Spooled(place.spool)
        self.bell = Bell()
        """Is rung when the manager has said something, which `attend`, or the next block, hears."""
        self._client, tls = place.manager.client(self._hello, self.bell)
        self._renewal = _renewal(place.manager, tls)
        self._trouble = ""
        self._turned_away = 0.0
        self._alone_since: float | None = None
        self._stopping, self._is_over, self._is_changing = False, False, False
        self._load: Callable[[], Settings] | None = None

    def stop(self) -> None:
        """Take no further block: finish with what has been read."""
        self._stopping = True

    def reload(self, load: Callable[[], Settings]) -> None:
        """Go on with other settings from the next block on; may be called by a signal handler."""
        self._load = load

    def attend(self) -> bool:
        """While no packets come: hear the manager, and answer; False: take no more of them."""
        if self._worker is not None:
            self._exchange(0.0)
        return not self._stopping

    def run(self, source: Capture, accounting: RunMonitor | None = None) -> None:
        """Run a source to its end, with `accounting` asked at each block.

        RefusedError if the manager does not take this worker.
        """
        accounting = accounting or RunMonitor()
        self._client.start()
        try:
            self._worker = self._begin()
            for _ in feed(self._current, source, is_live=not self._place.replays):
                accounting.poll(self._view)
                self._worker.hints, self._worker.carried = accounting.hints, self._carried
                self._exchange(0.0)
                while self._place.replays and self._worker.unacknowledged > _BACKLOG and not self._stopping:
                    self._exchange(_WAIT_S)
                if self._stopping:
                    source.stop()
                elif self._load is not None:
                    load, self._load = self._load, None
                    self._change(load)
            self._worker.damage = [str(each) for each in source.damage]
            self._worker.finish()
            self._is_over = True
            accounting.finish(self._view())
            self._deliver()
        finally:
            self._client.stop(flush=_FLUSH_S)

    def _current(self) -> Worker:
        assert self._worker is not None
        return self._worker

    def _deliver(self) -> None:
        """Wait until the manager has all: for a while, if it cannot be told again, or if this is to end.

        RefusedError: the manager is gone for so long that the input is better read again.
        """
        assert self._worker is not None
        began = elapsed_s()
        while self._worker.unacknowledged and not self._is_late(began):
            self._exchange(_WAIT_S)
        if self._worker.unacknowledged:
            log.warning(
                "%d messages with results were not taken by the manager, and are lost", self._worker.unacknowledged
            )
        elif self._is_over:
            self._client.send(Delivered(self._place.name, self._incarnation))

    def _is_late(self, began: float) -> bool:
        """Return whether to give up what is not delivered, having begun at a time (s)."""
        now, alone = elapsed_s(), self._alone_since
        if not self._place.replays or self._stopping:
            return now - began >= _LAST_S or (self._stopping and alone is not None)
        if alone is not None and now - max(alone, began) >= GIVE_UP_S:
            raise RefusedError(
                f"the manager at {self._place.manager.address} was not there for {GIVE_UP_S:.0f} s, and has not "
                "acknowledged all: what it lacks is told again where the input is read again"
            )
        return False

    def _change(self, load: Callable[[], Settings]) -> None:
        """Go on with settings that are read again: as a parent does that has read them too, or as the manager may."""
        if self._place.parent is not None:
            self._follow(reloaded(load, self._settings, is_led=True))
            return
        settings = reloaded(
            load, self._settings, accepts=lambda found: digest_of(definitions_of(found)) == self._digest
        )
        if settings is not None:
            assert self._worker is not None
            self._settings = settings
            self._worker.adopt(settings.make())

    def _follow(self, settings: Settings | None) -> None:
        """End the epochs that are open, and go on as another incarnation, with the same connections.

        Meanwhile packets wait in the ring. RefusedError if there are no settings: the parent starts another process.
        """
        assert self._worker is not None
        self._worker.conclude()
        self._deliver()
        if settings is None:
            raise RefusedError("the settings cannot be read again by this process")
        before, self._worker, self._is_changing = self._worker, None, True
        self._client.stop(flush=_FLUSH_S)
        self._settings, self._incarnation, self._digest = settings, incarnation(), digest_of(definitions_of(settings))
        self._parts = parts_of(settings)
        self._client, tls = self._place.manager.client(self._hello, self.bell)
        self._renewal = _renewal(self._place.manager, tls)
        self._client.start()
        self._spooled = _Spooled(self._place.spool)
        self._worker = self._begin()
        self._is_changing = False
        self._worker.follow(before)

    def _view(self) -> View:
        assert self._worker is not None
        return View(self._worker.counts())

    @property
    def _carried(self) -> dict[str, int]:
        """Counters of what found no room on its way to the manager."""
        return {**self._spooled.counters, "messages_unsent": self._client.counters["messages_unsent"]}

    def _hello(self) -> Hello:
        return msgspec.structs.replace(self._own_hello(), parts=self._parts)

    def _own_hello(self) -> Hello:
        if self._worker is not None:
            return self._worker.hello(__version__, self._digest)
        return Hello(
            self._place.name,
            "worker",
            __version__,
            self._digest,
            self._incarnation,
            1,
            replays=self._place.replays,
            continues=self._is_changing,
        )

    def _begin(self) -> Worker:
        """Wait for the manager, which says how many observe, and make the worker."""
        welcome: Welcome | None = None
        while welcome is None:
            for each in self._client.receive(_WAIT_S):
                self._tell_of(each)
                if isinstance(each, Connected):
                    welcome = each.welcome
            if self._stopping:
                raise RefusedError("stopped before the manager was reached")
            self._end_with_parent()
        worker = Worker(
            self._place.name,
            self._settings.make(),
            self._settings.flows,
            self._settings.decode,
            in_step=self._place.share[1] > 1,
            incarnation=self._incarnation,
            share=self._place.share,
            members=max(len(welcome.members), 2) if welcome.early else 0,
            replays=self._place.replays,
            settings=self._cluster,
            held=self._spooled,
            continues=self._is_changing,
        )
        worker.receive([welcome], elapsed_s())
        return worker

    def _exchange(self, wait_s: float) -> None:
        """Hand over what there is to say, and take what has come, waiting so long for the first of it."""
        assert self._worker is not None
        self._end_with_parent()
        for message in self._worker.drain(elapsed_s()):
            self._client.send(message)
        if self._renewal and (request := self._renewal.due()):
            self._client.send(request)
        for each in self._client.receive(wait_s):
            self._tell_of(each)
            if isinstance(each, Connected):
                if each.welcome is not None:
                    self._worker.receive([each.welcome], elapsed_s())
            elif isinstance(each, CertificateIssued) and self._renewal:
                self._renewal.apply(each)
            elif isinstance(each, msgspec.Struct):
                self._worker.receive([each], elapsed_s())

    def _end_with_parent(self) -> None:
        if self._place.parent is not None and os.getppid() != self._place.parent:
            raise RefusedError("the process that started this worker is gone")

    def _tell_of(self, received: Received) -> None:
        """Tell people how it stands with the manager, once for each trouble; RefusedError if it will not get better."""
        if isinstance(received, Failed) or (isinstance(received, Refused) and received.fatal):
            raise RefusedError(received.reason)
        if isinstance(received, Connected):
            self._alone_since, self._turned_away = None, 0.0
        elif isinstance(received, Disconnected) and self._alone_since is None:
            self._alone_since = elapsed_s()
        elif isinstance(received, Refused) and received.retry_s is not None:
            self._turned_away = self._turned_away or elapsed_s()
            if elapsed_s() - self._turned_away >= received.retry_s:
                raise RefusedError(received.reason)
        address = self._place.manager.address
        is_delivered = self._is_over and self._worker and not self._worker.unacknowledged
        if is_delivered or self._is_changing:  # the manager may end, or let nobody in until all others have delivered
            return
        if isinstance(received, Connected) and self._trouble:
            log.warning("the manager at %s is there", address)
            self._trouble = ""
        elif isinstance(received, Refused | Disconnected) and received.reason != self._trouble:
            log.warning("the manager at %s: %s; trying again", address, received.reason)
            self._trouble = received.reason


def definitions_of(settings: Settings) -> list[Definition]:
    """Return the definitions of the detections."""
    return [each for detection in settings.make() for each in detection.define().values()]


def _renewal(contact: ManagerAddress, tls: ssl.SSLContext | None) -> "Renewal | None":
    if contact.folder is None or tls is None:
        return None
    from sensor.node.renewal import Renewal  # needs the cryptography library, as whoever has a certificate does

    return Renewal(contact.folder, tls)
