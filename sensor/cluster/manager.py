"""The manager: merges what workers report, judges it against the thresholds, and raises alerts.

It is a state machine that touches no socket and no file: messages and time (s, of any clock) go in; what is to be made
durable, told and sent comes out, in this order (`take`). Numbered messages are applied once and in order for each
worker and incarnation, and acknowledged when that is durable. An epoch is over when every member, by name, has come
past it, or has not been heard of for the deadline, which its results and alerts then say.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sensor import __version__
from sensor.bus.message import Message, Refused
from sensor.cluster import record
from sensor.cluster.alerter import Told
from sensor.cluster.columns import pack, unpack_keys, unpack_numbers
from sensor.cluster.ledger import Ledger, Stat
from sensor.cluster.membership import MOST_MEMBERS, NOWHERE, THE_END, Late, Member, Position
from sensor.cluster.messages import (
    Ack,
    ClusterKeyIntermediateResponse,
    ClusterKeyResponse,
    ClusterShare,
    ClusterSsRequest,
    ClusterSsResponse,
    ClusterSsSeries,
    ClusterThresholdCrossed,
    Counts,
    DetectionSwitchedOff,
    Heartbeat,
    Hello,
    Numbered,
    Status,
    ThresholdsReset,
    Welcome,
)
from sensor.cluster.node_status import node_status
from sensor.cluster.pace import Paces
from sensor.cluster.queries import Queries
from sensor.cluster.settings import ClusterSettings
from sensor.cluster.views import KeyView, Views
from sensor.detection import Detection
from sensor.sumstats import Merged

EVERYBODY = ""
"""In place of a name: all workers."""


@dataclass
class Outgoing:
    """What comes of the messages since the last call, to be dealt with in this order."""

    records: list[bytes] = field(default_factory=list)
    """For the journal: durable before anything else is done."""
    alerts: list[Told] = field(default_factory=list)
    messages: list[tuple[str, Message]] = field(default_factory=list)
    """To whom, and what."""


class Manager:
    """Judges every key of every epoch once a level, on the merged value, and folds repeats into incidents.

    `members` are the workers that are waited for from the start; without any, those that say hello are. `early`: alerts
    go out as soon as they are known, and are updated, or withdrawn, when their epochs are over; otherwise they go out
    then, with their final figures. `is_local`: there is one worker, in the same process, which judges by itself and is
    not checked. `has_journal`: somebody keeps the records.
    """

    def __init__(
        self,
        detections: Sequence[Detection],
        members: Iterable[str] = (),
        *,
        early: bool = False,
        settings: ClusterSettings | None = None,
        is_local: bool = False,
        has_journal: bool = True,
    ) -> None:
        self._settings, self._has_journal = settings or ClusterSettings(), has_journal
        self._early, self._is_local = early and self._settings.enable_intermediate_updates, is_local
        self._ledger = Ledger(detections, members, self._settings.deadline_s, checks=not is_local)
        numbers = itertools.count(1)
        stats = self._ledger.stats
        self._views = {name: Views(stat.definition, self._settings, numbers) for name, stat in stats.items()}
        self.queries = Queries(self._ledger, self._settings)
        """What observers ask: apart from all else, as nothing comes of it that must not be forgotten."""
        self.paces = Paces()
        """How fast packets come to each worker: forgotten with the process, too."""
        self._to_acknowledge: set[str] = set()
        self._early_told: list[tuple[int, record.ToldEarly]] = []
        self._output, self._requests = Outgoing(), list[tuple[str, Message]]()
        self._counts: Counter[str] = Counter()

    @property
    def digest(self) -> str:
        """Of all definitions: equal for nodes whose results may be merged."""
        return self._ledger.digest

    @property
    def workers(self) -> list[str]:
        """The workers that are members."""
        return self._ledger.membership.names

    @property
    def incarnations(self) -> dict[str, int]:
        """Of the workers that are members."""
        return {name: self._ledger.membership[name].incarnation for name in self.workers}

    @property
    def alerts(self) -> int:
        """How many alerts went out."""
        return self._ledger.alerter.alerts

    @property
    def withdrawn(self) -> int:
        """How many of them were withdrawn when their epochs were over."""
        return self._ledger.alerter.withdrawn

    @property
    def suppressed(self) -> int:
        """How many were folded into others."""
        return self._ledger.alerter.incidents.suppressed

    @property
    def repeated(self) -> int:
        """How many of those were repeats of them."""
        return self._ledger.alerter.incidents.repeats.total()

    @property
    def folded_in(self) -> dict[str, int]:
        """How many were folded, by the detection whose they would have been."""
        incidents = self._ledger.alerter.incidents
        return dict(sorted((incidents.repeats + incidents.parts).items()))

    @property
    def is_done(self) -> bool:
        """Whether the input of all members has ended, and all that came of it was told."""
        members = self._ledger.membership.members.values()
        return bool(members) and all(each.reached == THE_END for each in members)

    @property
    def counters(self) -> dict[str, int]:
        """What was given up here, by name."""
        counts = self._counts + self._ledger.counts
        counts.update(self.queries.counters)
        counts.update(incidents_forgotten=self._ledger.alerter.incidents.forgotten)
        for name, stat in self._ledger.stats.items():
            own = stat.collector.counters | (self._views[name].counters if self._early else {})
            counts.update({f"manager_{what}": count for what, count in own.items()})
        return dict(counts)

    def has_delivered(self, name: str) -> bool:
        """Whether the input of a member has ended, and all that came of it was applied."""
        return name in self._ledger.membership and self._ledger.membership[name].is_done

    @property
    def furthest(self) -> Position:
        """Where the worker is that has come furthest."""
        return self._ledger.membership.furthest

    @property
    def late(self) -> dict[str, Late]:
        """What came of epochs that were over, by worker."""
        return {name: each.late for name, each in self._ledger.membership.members.items() if each.late.epochs}

    @property
    def lags(self) -> dict[str, float]:
        """By how much (s) the packet clock of each worker that captures is behind the furthest."""
        members = self._ledger.membership.members.values()
        live = [each for each in members if each.is_up and not each.replays and each.reached != THE_END]
        live = [each for each in live if each.position != NOWHERE]
        furthest = max((each.position[1] for each in live), default=0)
        return {each.name: (furthest - each.position[1]) / 1e9 for each in live}

    def counts(self) -> Counts:
        """What has become of all workers' packets so far, with the faults of detections here as well as there."""
        members = self._ledger.membership.members.values()
        own = Counts(faults=dict(self._ledger.alerter.faults.counts))
        return sum((each.before + each.counts for each in members), own)

    def follow(self, other: "Manager") -> None:
        """Go on where another has ended, under other settings: with the incidents that it told, and its counts."""
        self._ledger.alerter.follow(other._ledger.alerter)
        self._ledger.membership.follow(other._ledger.membership)
        self._counts.update({name: count for name, count in other.counters.items() if name != "incidents_forgotten"})

    def start(self, now: float) -> None:
        """Begin to wait for the members."""
        self._ledger.membership.start(now)

    def hello(self, hello: Hello, now: float) -> Welcome | Refused:
        """A worker has connected: whether, and where, it is to go on."""
        if hello.digest != self.digest:
            text = f"{hello.name} runs other detections or settings than the manager (sensor {hello.version} there, "
            return Refused(f"{text}{__version__} here): give both the same --detection, --set and --plugin", fatal=True)
        membership = self._ledger.membership
        if hello.name not in membership and len(membership.members) >= MOST_MEMBERS:
            return Refused(f"there are {MOST_MEMBERS} workers already")
        member = membership.admit(hello.name, now, hello.started)
        if hello.incarnation < member.incarnation:
            return Refused(f"a later process has taken the name {hello.name}", fatal=True)
        if hello.incarnation > member.incarnation or member.has_left:
            others = membership.members.values()
            is_late = any(each.position != NOWHERE for each in others if each is not member)
            self._do(record.Joined.of(hello, is_late=is_late))
        member.applied = max(member.applied, hello.sequence - 1)  # what it holds no more was acknowledged
        if member.is_up:  # views that wait for what was asked of its last connection would wait in vain
            self.lost(hello.name, now)
        member.is_up, member.heard = True, now
        return Welcome(member.applied, self.workers, self._early, self._ledger.open_by_hand())

    def lost(self, name: str, now: float) -> None:
        """The connection to a worker is gone."""
        if name not in self._ledger.membership:
            return
        member = self._ledger.membership[name]
        member.is_up, member.heard = False, now
        for sumstat, views in self._views.items():
            stat = self._ledger.stats[sumstat]
            for seen in views.lost(name, stat.collector, self._ledger.past(now)):
                self._seen(stat, seen)
        self.queries.lost(name)

    def leave(self, name: str, now: float) -> None:
        """A member is not to be waited for any more: what it has not delivered is missing."""
        if name in self._ledger.membership and not self._ledger.membership[name].has_left:
            self._do(record.Left(name))
            self.tick(now)

    def remove(self, name: str, now: float) -> str:
        """A worker is gone for good: nothing is missing for it from now on. Why that cannot be; empty: it is so.

        It may come back, and is waited for again then.
        """
        membership = self._ledger.membership
        if name in membership and membership[name].is_removed:
            return ""
        if name not in membership:
            return f"there is no worker {name}: there are {', '.join(self.workers) or 'none'}"
        if membership[name].is_up:
            return f"{name} is connected: stop it first"
        self._do(record.Left(name, membership.furthest))
        self.queries.lost(name)
        self.tick(now)
        return ""

    def receive(self, name: str, message: Message, now: float) -> None:
        """Take a message of a worker; ValueError says what in it cannot be, and it has changed nothing."""
        member = self._ledger.membership[name]
        member.heard = now
        match message:
            case ClusterSsResponse() | ClusterSsSeries() | DetectionSwitchedOff() | Heartbeat():
                self._receive_numbered(member, message, now)
            case ClusterKeyIntermediateResponse() if self._early and message.incarnation == member.incarnation:
                self._take_report(self._ledger.stat(message.sumstat, message.definition), message, now)
            case ClusterKeyResponse() if self.queries.is_of(message):
                if message.incarnation == member.incarnation:
                    self.queries.answer(name, message)
            case ClusterKeyResponse() if self._early and message.incarnation == member.incarnation:
                stat = self._ledger.stat(message.sumstat, message.definition)
                if seen := self._views[message.sumstat].answer(message, stat.collector, self._ledger.past(now)):
                    self._seen(stat, seen)
                self._ask(stat, now)

    def _receive_numbered(self, member: Member, message: Numbered, now: float) -> None:
        if message.incarnation != member.incarnation:
            self._counts["messages_stale"] += 1
            return
        self._to_acknowledge.add(member.name)
        if message.sequence <= member.applied:
            self._counts["messages_repeated"] += 1
            return
        if message.sequence > member.applied + 1:
            self._counts["messages_early"] += 1  # one before it is missing: it comes again, and this one after it
            return
        self._apply(message)
        if isinstance(message, Heartbeat):
            counts = message.counts
            self.paces.note(member.name, member.incarnation, counts.packets_read, counts.counters, now)
        self._close_epochs(now)

    def _apply(self, message: Numbered) -> None:
        self._do(record.Applied(message), keep=not isinstance(message, Heartbeat) or self._ledger.matters(message))
        if isinstance(message, ClusterSsResponse) and self._ledger.is_end_by_hand(message):
            self.next_epoch(message.sumstat, message.epoch)

    def next_epoch(self, sumstat: str, epoch: int) -> None:
        """End an epoch that ends by hand, on all workers."""
        self._send(EVERYBODY, ClusterSsRequest(sumstat, epoch))

    def tick(self, now: float) -> None:
        """Time goes on: what has waited too long is not waited for any more, and what may be lost is said again."""
        self.queries.expire(now)
        self._close_epochs(now)
        for sumstat, epoch, who in self._ledger.ended_by_hand():
            for name in (name for name in self.workers if name not in who and self._ledger.membership[name].is_up):
                self._send(name, ClusterSsRequest(sumstat, epoch))
        for name, views in self._views.items() if self._early else ():
            views.expire(now, self._ledger.past(now))
            self._ask(self._ledger.stats[name], now)

    def drain(self) -> Outgoing:
        """What has come of it since the last call."""
        self._tell_early()
        for name in sorted(self._to_acknowledge):
            member = self._ledger.membership[name]
            self._send(name, Ack(member.incarnation, member.applied))
        self._to_acknowledge.clear()
        taken, self._output = self._output, Outgoing()
        taken.messages = [*self.take_requests(), *taken.messages]
        return taken

    def take_requests(self) -> list[tuple[str, Message]]:
        """The requests for views since the last call: nothing must be durable before they are sent."""
        taken, self._requests = self._requests, []
        return taken

    def _close_epochs(self, now: float) -> None:
        """End, in order of time, the epochs that all members have come past."""
        frontier = self._ledger.membership.frontier(now)
        while True:
            if due := self._ledger.due(frontier, now):
                self._end(
                    record.Settled(
                        due, self._ledger.membership.reached({name for _, _, missing in due for name in missing})
                    )
                )
            elif self._ledger.begins_run(frontier):
                self._do(record.BegunRun())
            elif frontier == THE_END and self._ledger.has_standing_alerts:
                self._do(record.Concluded())
            else:
                return

    def _end(self, settled: record.Settled) -> None:
        """End epochs that are over at one time, or judge anew what was over."""
        ended = [(name, epoch) for name, epoch, _ in settled.epochs if not self._ledger.is_over(name, epoch)]
        self._tell_early()
        self._do(settled)
        for silence in self._ledger.take_silences():
            crossed = ClusterThresholdCrossed(
                sumstat=silence.judged.definition.name,
                epoch=silence.epoch,
                keys=silence.words.tobytes(),
                until=silence.until,
                run=self._ledger.run,
            )
            self._send(EVERYBODY, crossed)
        for name, epoch in ended if self._early else ():
            self._views[name].clear()
            self._send(EVERYBODY, ThresholdsReset(name, epoch))

    def _take_report(self, stat: Stat, message: ClusterKeyIntermediateResponse, now: float) -> None:
        """A worker reports keys: one alone has judged them; of several, all are asked."""
        if self._is_local:
            self._judge_report(stat, message, now)
            return
        keys = unpack_keys(message.keys, stat.definition.key_words)
        self._views[message.sumstat].report(keys, unpack_numbers(message.value, np.float64, len(keys)))
        self._ask(stat, now)

    def _judge_report(self, stat: Stat, message: ClusterKeyIntermediateResponse, now: float) -> None:
        """What the only worker has found stands, unless its epoch is one of a later clock."""
        if message.columns is None:
            raise ValueError("a report without columns, to a manager that asks nobody")
        partial = stat.packing.unpack(message.columns)
        ts, order = (unpack_numbers(each, np.int64, len(partial)) for each in (message.ts, message.order))
        if (message.run, message.start) > self._ledger.past(now):
            return  # what came before its epoch is not over yet, and may matter
        for keys in partial.rounds():
            view = partial.take(stat.definition, keys)
            at = {words.tobytes(): int(key) for words, key in zip(view.keys, keys, strict=True)}
            for merged in stat.collector.peek(message.epoch, {message.worker: view}):
                places = np.array([at[words.tobytes()] for words in merged.partial.keys], np.int64)
                self._note_early(stat, merged, ts[places], order[places])

    def _ask(self, stat: Stat, now: float) -> None:
        up = [name for name in self.workers if self._ledger.membership[name].is_up]
        for request in self._views[stat.definition.name].ask(up, now):
            self._requests += [(name, request) for name in up]

    def _seen(self, stat: Stat, seen: KeyView) -> None:
        for merged in seen.merged:
            ts = np.max([header["end"] for header in merged.partial.headers.values()], axis=0)
            self._note_early(stat, merged, ts, ts)
        share = ClusterShare(stat.definition.name, seen.epoch, seen.keys.tobytes(), seen.shares.tobytes())
        self._send(EVERYBODY, share)

    def _note_early(self, stat: Stat, merged: Merged, ts: np.ndarray, order: np.ndarray) -> None:
        """Note what has crossed in an open epoch, one by one: it is told in order of the events that made it cross."""
        for at in range(len(merged.level)):
            one = slice(at, at + 1)
            told = record.ToldEarly(
                sumstat=merged.sumstat,
                epoch=merged.epoch,
                level=merged.level[one].tobytes(),
                value=merged.value[one].tobytes(),
                ts=ts[one].tobytes(),
                members=list(merged.members),
                columns=pack(merged.partial.take(stat.definition, np.array([at]))),
            )
            self._early_told.append((int(order[at]), told))

    def _tell_early(self) -> None:
        found, self._early_told = self._early_told, []
        for _, told in sorted(found, key=lambda each: each[0]):
            self._do(told)

    def restore(self, held: bytes | None, data: Iterable[bytes], now: float) -> list[Told]:
        """Come to the state that a snapshot and the records after it led to; what they told and may not be written.

        ValueError: they are of a manager with other detections or settings.
        """
        if held is not None:
            self._ledger.restore(held)
        told: list[Told] = []
        for each in map(record.decode, data):
            told += self._ledger.apply(each)
            if isinstance(each, record.Written):
                told.clear()
        self._ledger.take_silences()
        for member in self._ledger.membership.members.values():
            member.is_up = False
        self.start(now)
        return told

    def snapshot(self) -> bytes:
        """All that must not be forgotten; to be called when nothing is left to `take`."""
        return self._ledger.snapshot()

    def status(self, now: float) -> Status:
        """How the cluster is."""
        members = self._ledger.membership.members.values()
        nodes = [
            node_status(each, self.paces.of(each.name, now), now, self.furthest[1], self._settings.deadline_s)
            for each in members
        ]
        closed, incomplete = self._ledger.counts["epochs_closed"], self._ledger.counts["epochs_incomplete"]
        return Status(__version__, self.digest, nodes, self.alerts, closed, incomplete, self.counters, self.withdrawn)

    def _do(self, what: record.Record, *, keep: bool = True) -> None:
        """Change the ledger, and note how for the journal."""
        self._output.alerts += self._ledger.apply(what)
        if keep and self._has_journal:
            self._output.records.append(record.encode(what))

    def _send(self, to: str, message: Message) -> None:
        self._output.messages.append((to, message))
