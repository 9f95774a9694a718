"""The manager: merges workers' results, compares them with the thresholds, and raises alerts.

It is a state machine without sockets or files: its inputs are messages and time (s, of any clock); its outputs are
records to make durable, alerts to write and messages to send, in this order (`drain`). Numbered messages are applied
once and in order per worker and incarnation, and acknowledged when durable. An epoch is over when every member, by
name, has passed it or has been silent for the deadline; results and alerts then list the silent members as missing.
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
"""Addresses all workers, in place of a name."""


@dataclass
class Outgoing:
    """The outputs since the last call, to be handled in this order."""

    records: list[bytes] = field(default_factory=list)
    """Records for the journal, to make durable before all else."""
    alerts: list[Told] = field(default_factory=list)
    messages: list[tuple[str, Message]] = field(default_factory=list)
    """Receiver and message."""


class Manager:
    """Judges every key of every epoch once per level, on the merged value, and folds repeats into incidents.

    `members` are the workers awaited from the start; without any, those that send a hello. `early`: alerts are sent as
    soon as they are known, and updated or withdrawn when their epochs are over; otherwise they are sent at that end,
    with final values. `is_local`: there is one worker, in the same process, which finds crossings itself and is not
    checked. `has_journal`: the caller keeps the records.
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
        """The queries of observers; kept apart from all else, as they change no durable state."""
        self.paces = Paces()
        """The packet rates of workers; also lost with the process."""
        self._to_acknowledge: set[str] = set()
        self._early_told: list[tuple[int, record.ToldEarly]] = []
        self._output, self._requests = Outgoing(), list[tuple[str, Message]]()
        self._counts: Counter[str] = Counter()

    @property
    def digest(self) -> str:
        """The digest of all definitions: equal for nodes whose results may be merged."""
        return self._ledger.digest

    @property
    def workers(self) -> list[str]:
        """The names of the workers that are members."""
        return self._ledger.membership.names

    @property
    def incarnations(self) -> dict[str, int]:
        """The incarnation of each worker that is a member."""
        return {name: self._ledger.membership[name].incarnation for name in self.workers}

    @property
    def alerts(self) -> int:
        """The number of alerts sent."""
        return self._ledger.alerter.alerts

    @property
    def withdrawn(self) -> int:
        """The number of alerts withdrawn when their epochs were over."""
        return self._ledger.alerter.withdrawn

    @property
    def suppressed(self) -> int:
        """The number of alerts folded into others."""
        return self._ledger.alerter.incidents.suppressed

    @property
    def repeated(self) -> int:
        """The number of folded alerts that were repeats."""
        return self._ledger.alerter.incidents.repeats.total()

    @property
    def folded_in(self) -> dict[str, int]:
        """The number of folded alerts, by the detection that returned them."""
        incidents = self._ledger.alerter.incidents
        return dict(sorted((incidents.repeats + incidents.parts).items()))

    @property
    def is_done(self) -> bool:
        """True if the input of all members has ended and all resulting alerts were sent."""
        members = self._ledger.membership.members.values()
        return bool(members) and all(each.reached == THE_END for each in members)

    @property
    def counters(self) -> dict[str, int]:
        """Counts of results, requests and messages dropped here, by name."""
        counts = self._counts + self._ledger.counts
        counts.update(self.queries.counters)
        counts.update(incidents_forgotten=self._ledger.alerter.incidents.forgotten)
        for name, stat in self._ledger.stats.items():
            own = stat.collector.counters | (self._views[name].counters if self._early else {})
            counts.update({f"manager_{what}": count for what, count in own.items()})
        return dict(counts)

    def has_delivered(self, name: str) -> bool:
        """Return whether the input of a member has ended and all its results were applied."""
        return name in self._ledger.membership and self._ledger.membership[name].is_done

    @property
    def furthest(self) -> Position:
        """The position of the worker that is furthest."""
        return self._ledger.membership.furthest

    @property
    def late(self) -> dict[str, Late]:
        """Counts of results delivered after their epochs were over, by worker."""
        return {name: each.late for name, each in self._ledger.membership.members.items() if each.late.epochs}

    @property
    def lags(self) -> dict[str, float]:
        """The lag (s) of each capturing worker's packet clock behind the furthest."""
        members = self._ledger.membership.members.values()
        live = [each for each in members if each.is_up and not each.replays and each.reached != THE_END]
        live = [each for each in live if each.position != NOWHERE]
        furthest = max((each.position[1] for each in live), default=0)
        return {each.name: (furthest - each.position[1]) / 1e9 for each in live}

    def counts(self) -> Counts:
        """Return the summed packet counts of all workers, with the faults of detections on workers and manager."""
        members = self._ledger.membership.members.values()
        own = Counts(faults=dict(self._ledger.alerter.faults.counts))
        return sum((each.before + each.counts for each in members), own)

    def follow(self, other: "Manager") -> None:
        """Continue another manager under other settings, with its incidents and counts."""
        self._ledger.alerter.follow(other._ledger.alerter)
        self._ledger.membership.follow(other._ledger.membership)
        self._counts.update({name: count for name, count in other.counters.items() if name != "incidents_forgotten"})

    def start(self, now: float) -> None:
        """Start waiting for the members."""
        self._ledger.membership.start(now)

    def hello(self, hello: Hello, now: float) -> Welcome | Refused:
        """Admit or refuse a worker that has connected; the `Welcome` says where it continues."""
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
        member.applied = max(member.applied, hello.sequence - 1)  # messages that it dropped were acknowledged
        if member.is_up:  # requests on its last connection would never be answered
            self.lost(hello.name, now)
        member.is_up, member.heard = True, now
        return Welcome(member.applied, self.workers, self._early, self._ledger.open_by_hand())

    def lost(self, name: str, now: float) -> None:
        """Note that the connection to a worker is lost."""
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
        """Stop waiting for a member: everything that it has not delivered counts as missing."""
        if name in self._ledger.membership and not self._ledger.membership[name].has_left:
            self._do(record.Left(name))
            self.tick(now)

    def remove(self, name: str, now: float) -> str:
        """Remove a worker for good: from now on nothing of it counts as missing. Returns the reason if it cannot.

        An empty string is success. The worker may come back, and is awaited again then.
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
        """Take a message of a worker; ValueError says what is invalid, and nothing changes."""
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
            self._counts["messages_early"] += 1  # one before it is missing; the worker resends both
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
        """Advance time: stop waiting for what has timed out, and repeat messages that may be lost."""
        self.queries.expire(now)
        self._close_epochs(now)
        for sumstat, epoch, who in self._ledger.ended_by_hand():
            for name in (name for name in self.workers if name not in who and self._ledger.membership[name].is_up):
                self._send(name, ClusterSsRequest(sumstat, epoch))
        for name, views in self._views.items() if self._early else ():
            views.expire(now, self._ledger.past(now))
            self._ask(self._ledger.stats[name], now)

    def drain(self) -> Outgoing:
        """Return the outputs since the last call."""
        self._tell_early()
        for name in sorted(self._to_acknowledge):
            member = self._ledger.membership[name]
            self._send(name, Ack(member.incarnation, member.applied))
        self._to_acknowledge.clear()
        taken, self._output = self._output, Outgoing()
        taken.messages = [*self.take_requests(), *taken.messages]
        return taken

    def take_requests(self) -> list[tuple[str, Message]]:
        """Return the requests for views since the last call; they may be sent before anything is durable."""
        taken, self._requests = self._requests, []
        return taken

    def _close_epochs(self, now: float) -> None:
        """End the epochs that all members have passed, in order of time."""
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
        """End epochs that are over at one time, or judge ended ones again."""
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
        """Take reported keys: judge them if there is one worker, else ask all workers for them."""
        if self._is_local:
            self._judge_report(stat, message, now)
            return
        keys = unpack_keys(message.keys, stat.definition.key_words)
        self._views[message.sumstat].report(keys, unpack_numbers(message.value, np.float64, len(keys)))
        self._ask(stat, now)

    def _judge_report(self, stat: Stat, message: ClusterKeyIntermediateResponse, now: float) -> None:
        """Judge the keys that the only worker reported, unless epochs before theirs are still open."""
        if message.columns is None:
            raise ValueError("a report without columns, to a manager that asks nobody")
        partial = stat.packing.unpack(message.columns)
        ts, order = (unpack_numbers(each, np.int64, len(partial)) for each in (message.ts, message.order))
        if (message.run, message.start) > self._ledger.past(now):
            return  # earlier epochs are not over yet, and may matter
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
        """Note crossings in an open epoch, one by one, so that their alerts follow the order of events."""
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
        """Restore a snapshot and replay the records after it; return the alerts that may not have been written.

        ValueError if they are of a manager with other detections or settings.
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
        """Return the whole durable state; call it when nothing is left to `drain`."""
        return self._ledger.snapshot()

    def status(self, now: float) -> Status:
        """Return the status of the cluster."""
        members = self._ledger.membership.members.values()
        nodes = [
            node_status(each, self.paces.of(each.name, now), now, self.furthest[1], self._settings.deadline_s)
            for each in members
        ]
        closed, incomplete = self._ledger.counts["epochs_closed"], self._ledger.counts["epochs_incomplete"]
        return Status(__version__, self.digest, nodes, self.alerts, closed, incomplete, self.counters, self.withdrawn)

    def _do(self, what: record.Record, *, keep: bool = True) -> None:
        """Apply a record to the ledger, and keep it for the journal."""
        self._output.alerts += self._ledger.apply(what)
        if keep and self._has_journal:
            self._output.records.append(record.encode(what))

    def _send(self, to: str, message: Message) -> None:
        self._output.messages.append((to, message))
