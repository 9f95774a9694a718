"""The manager: merges what workers report, judges it against the thresholds, and raises alerts.

It is a state machine that touches no socket and no file: messages and time (s, of any clock) go in; what is to be made
durable, told and sent comes out, in this order (`take`). Numbered messages are applied once and in order for each
worker and incarnation, and acknowledged when that is durable. An epoch is over when every member, by name, has come
past it, or has not been heard of for the deadline, which its results and alerts then say.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np

from sensor import __version__
from sensor.cluster import record, snapshot
from sensor.cluster.alerter import Alerter, Crossing, Judged, Told, crossings
from sensor.cluster.columns import Packing, pack, unpack_numbers
from sensor.cluster.membership import NOWHERE, THE_END, Member, Membership
from sensor.cluster.messages import (
    Ack,
    ClusterKeyIntermediateResponse,
    ClusterKeyResponse,
    ClusterShare,
    ClusterSsRequest,
    ClusterSsResponse,
    ClusterThresholdCrossed,
    Columns,
    Counts,
    DetectionSwitchedOff,
    Heartbeat,
    Hello,
    Message,
    NodeStatus,
    Numbered,
    Refused,
    Status,
    ThresholdsReset,
    Welcome,
)
from sensor.cluster.settings import ClusterSettings
from sensor.cluster.views import Seen, Views
from sensor.detection import Detection
from sensor.sumstats import Collector, Definition, EpochEnd, EpochResult, Merged, Partial

EVERYBODY = ""
"""In place of a name: all workers."""

_ROOM = 64  # members' worth of keys that a merge has room for


@dataclass
class Output:
    """What comes of the messages since the last call, to be dealt with in this order."""

    records: list[bytes] = field(default_factory=list)
    """For the journal: durable before anything else is done."""
    alerts: list[Told] = field(default_factory=list)
    messages: list[tuple[str, Message]] = field(default_factory=list)
    """To whom, and what."""


@dataclass(frozen=True)
class _Stat:
    """A SumStat, and all that is known of it."""

    judged: Judged
    collector: Collector
    packing: Packing
    views: Views

    @property
    def definition(self) -> Definition:
        return self.judged.definition


@dataclass(frozen=True)
class Groups:
    """What came so far of an epoch that a worker is delivering."""

    epoch: int
    count: int = 0
    parts: tuple[Partial, ...] = ()


def digest_of(definitions: Iterable[Definition]) -> str:
    """Equal for nodes whose results may be merged."""
    return hashlib.sha256("".join(each.digest for each in definitions).encode()).hexdigest()


class Manager:
    """Judges every key of every epoch once a level, on the merged value, and folds repeats into incidents.

    `members` are the workers that are waited for from the start; without any, those that say hello are. `early`: alerts
    go out as soon as they are known, and are updated when their epochs are over; otherwise they go out then, with their
    final figures. `is_local`: there is one worker, in the same process, which judges by itself and is not checked.
    """

    def __init__(
        self,
        detections: Sequence[Detection],
        members: Iterable[str] = (),
        *,
        early: bool = False,
        settings: ClusterSettings | None = None,
        is_local: bool = False,
    ) -> None:
        self._settings = settings or ClusterSettings()
        self._early, self._is_local = early and self._settings.enable_intermediate_updates, is_local
        self._alerter = Alerter(detections)
        self._membership = Membership(members, self._settings.deadline_s)
        self._stats: dict[str, _Stat] = {}
        numbers = itertools.count(1)
        for each in detections:
            for name, definition in each.define().items():
                judged = Judged(each, each.sumstats[name], definition)
                collector = Collector(definition, room=_ROOM)
                views = Views(definition, self._settings, numbers)
                self._stats[definition.name] = _Stat(judged, collector, Packing(definition), views)
        self.digest = digest_of(stat.definition for stat in self._stats.values())
        self._groups: dict[tuple[str, str], Groups] = {}
        self._broken: set[tuple[str, int, str]] = set()
        self._told_early: dict[tuple[str, int], list[bytes]] = {}
        self._run, self._later = 0, list[tuple[int, str, str, EpochEnd]]()
        self._to_acknowledge: set[str] = set()
        self._crossings: list[tuple[int, Crossing]] = []
        self._output = Output()
        self._counts: Counter[str] = Counter()

    @property
    def workers(self) -> list[str]:
        """The workers that are members."""
        return self._membership.names

    @property
    def alerts(self) -> int:
        """How many alerts went out."""
        return self._alerter.alerts

    @property
    def suppressed(self) -> int:
        """How many were folded into others."""
        return self._alerter.suppressor.suppressed

    @property
    def is_done(self) -> bool:
        """Whether the input of all members has ended, and all that came of it was told."""
        members = self._membership.members.values()
        return bool(members) and all(each.reached == THE_END for each in members)

    @property
    def counters(self) -> dict[str, int]:
        """What was given up here, by name."""
        counts = self._counts + Counter(incidents_forgotten=self._alerter.suppressor.forgotten)
        for stat in self._stats.values():
            own = stat.collector.counters | (stat.views.counters if self._early else {})
            counts.update({f"manager_{name}": count for name, count in own.items()})
        return dict(counts)

    def counts(self) -> Counts:
        """What has become of all workers' packets so far, with the faults of detections here as well as there."""
        members = self._membership.members.values()
        own = Counts(faults=dict(self._alerter.faults.counts))
        return sum((each.before + each.counts for each in members), own)

    def start(self, now: float) -> None:
        """Begin to wait for the members."""
        self._membership.start(now)

    def hello(self, hello: Hello, now: float) -> Welcome | Refused:
        """A worker has connected: whether, and where, it is to go on."""
        if hello.digest != self.digest:
            text = f"{hello.name} runs other detections or settings than the manager (sensor {hello.version} there, "
            return Refused(f"{text}{__version__} here): give both the same --detection, --set and --plugin", fatal=True)
        member = self._membership.admit(hello.name, now)
        if hello.incarnation < member.incarnation:
            return Refused(f"a later process has taken the name {hello.name}", fatal=True)
        if hello.incarnation > member.incarnation:
            self._join(
                record.Joined(hello.name, hello.incarnation, hello.sequence, hello.replays, hello.version), keep=True
            )
        member.applied = max(member.applied, hello.sequence - 1)  # what it holds no more was acknowledged
        member.is_up, member.heard = True, now
        return Welcome(member.applied, self.workers, self._early)

    def _join(self, joined: record.Joined, *, keep: bool) -> None:
        member = self._membership.admit(joined.worker, 0.0)
        member.begin(joined.incarnation, joined.sequence, self._stats, replays=joined.replays)
        member.version = joined.version
        for key in [each for each in self._groups if each[0] == joined.worker]:
            del self._groups[key]
        self._keep(joined, keep=keep)

    def lost(self, name: str, now: float) -> None:
        """The connection to a worker is gone."""
        if name not in self._membership:
            return
        member = self._membership[name]
        member.is_up, member.heard = False, now
        for stat in self._stats.values():
            for seen in stat.views.lost(name, stat.collector):
                self._seen(stat, seen)

    def leave(self, name: str, now: float) -> None:
        """A member is not to be waited for any more: what it has not delivered is missing."""
        if name in self._membership and not self._membership[name].has_left:
            self._leave(record.Left(name), keep=True)
            self.tick(now)

    def _leave(self, left: record.Left, *, keep: bool) -> None:
        member = self._membership[left.worker]
        if not member.is_done:
            member.gap = member.position if member.gap is None else member.gap
            member.gaps = [*member.gaps, (member.gap, THE_END)]
        member.has_left, member.is_up = True, False
        self._keep(left, keep=keep)

    def receive(self, name: str, message: Message, now: float) -> None:
        """Take a message of a worker; ValueError says what in it cannot be, and it has changed nothing."""
        member = self._membership[name]
        member.heard = now
        match message:
            case ClusterSsResponse() | DetectionSwitchedOff() | Heartbeat():
                self._receive_numbered(member, message, now)
            case ClusterKeyIntermediateResponse() if self._early and message.incarnation == member.incarnation:
                self._look(self._stat(message.sumstat, message.definition), message, now)
            case ClusterKeyResponse() if self._early and message.incarnation == member.incarnation:
                stat = self._stat(message.sumstat, message.definition)
                if seen := stat.views.answer(message, stat.collector):
                    self._seen(stat, seen)
                self._ask(stat, now)

    def _stat(self, sumstat: str, definition: str) -> _Stat:
        stat = self._stats.get(sumstat)
        if stat is None or stat.definition.digest != definition:
            raise ValueError(f"there is no SumStat {sumstat} with that definition")
        return stat

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
        self._apply(member, message, keep=True)
        self._settle(now)

    def _apply(self, member: Member, message: Numbered, *, keep: bool) -> None:
        match message:
            case ClusterSsResponse():
                self._apply_response(member, message)
            case DetectionSwitchedOff():
                if not self._alerter.runs(message.detection):
                    raise ValueError(f"there is no detection {message.detection}")
                alert = self._alerter.switched_off(message.worker, message.detection, message.ts)
                self._output.alerts.append(alert)
            case Heartbeat():
                keep = keep and (message.done or message.leaves or member.gap is not None)
                position = NOWHERE if message.watermark is None else (message.run, message.watermark)
                member.advance(position, message.counts, is_done=message.done)
                member.has_left |= message.leaves
        member.applied = message.sequence
        self._keep(record.Applied(message), keep=keep)

    def _apply_response(self, member: Member, message: ClusterSsResponse) -> None:
        stat = self._stat(message.sumstat, message.definition)
        partial = stat.packing.unpack(message.columns)
        if not self._is_local:
            stat.packing.check(partial)
        assembled = self._groups.pop((member.name, message.sumstat), Groups(message.epoch))
        if (assembled.epoch, assembled.count) != (message.epoch, message.group):
            self._counts["groups_missing"] += 1  # an earlier manager had those before, and its journal is gone
            self._broken.add((message.sumstat, message.epoch, member.name))
            assembled = Groups(message.epoch)
        assembled = Groups(message.epoch, message.group + 1, (*assembled.parts, partial))
        if not message.done:
            self._groups[member.name, message.sumstat] = assembled
            return
        if message.sumstat in member.to_begin:  # where in this epoch its incarnation began is not known
            member.to_begin.discard(message.sumstat)
            self._broken.add((message.sumstat, message.epoch, member.name))
        whole = Partial.join(assembled.parts)
        about = message.sumstat, message.epoch, message.following, message.start, message.end
        end = EpochEnd(*about, whole, message.lost)
        if message.run > self._run:
            self._later.append((message.run, member.name, message.sumstat, end))
        else:
            stat.collector.take(member.name, end)
            self._end_by_hand(stat, end)

    def _end_by_hand(self, stat: _Stat, end: EpochEnd) -> None:
        """One member has ended an epoch by hand: all others are to end it, too."""
        if not stat.definition.epoch_ns:
            self._send(EVERYBODY, ClusterSsRequest(end.sumstat, end.epoch))

    def next_epoch(self, sumstat: str, epoch: int) -> None:
        """End an epoch that ends by hand, on all workers."""
        self._send(EVERYBODY, ClusterSsRequest(sumstat, epoch))

    def tick(self, now: float) -> None:
        """Time goes on: what has waited too long is not waited for any more."""
        self._settle(now)
        for stat in self._stats.values() if self._early else ():
            stat.views.expire(now)
            self._ask(stat, now)

    def take(self) -> Output:
        """What has come of it since the last call."""
        self._tell_early()
        for name in sorted(self._to_acknowledge):
            member = self._membership[name]
            self._send(name, Ack(member.incarnation, member.applied))
        self._to_acknowledge.clear()
        taken, self._output = self._output, Output()
        return taken

    def _settle(self, now: float) -> None:
        """End, in order of time, the epochs that all members have come past."""
        frontier, _ = self._membership.frontier(now)
        while True:
            due = self._due(frontier, now)
            if due:
                self._settle_group(record.Settled(due), keep=True)
            elif self._later and frontier[0] > self._run:
                self._keep(record.BegunRun(), keep=True)
                self._begin_run()
            else:
                return

    def _due(self, frontier: tuple[int, int], now: float) -> list[tuple[str, int, list[str]]]:
        """The epochs that end next, at one time: each with its SumStat, its number and who is missing."""
        ready: dict[int, list[tuple[str, int, list[str]]]] = {}
        for name, stat in self._stats.items():
            length = stat.definition.pane_ns
            for epoch, (start, end, who) in stat.collector.delivered.items():
                until = start + length if length else end  # the last one of all may have ended before
                missing = self._missing(name, epoch, start, until, who)
                is_over = (self._run, until) <= frontier
                if not length:
                    is_over = is_over and not set(missing) - self._late(now)
                if is_over:
                    ready.setdefault(until, []).append((name, epoch, missing))
        return sorted(ready[min(ready)], key=lambda each: each[1]) if ready else []

    def _late(self, now: float) -> set[str]:
        members = self._membership.members.values()
        return {each.name for each in members if not each.is_up and now - each.heard >= self._settings.deadline_s} | {
            each.name for each in members if each.reached == THE_END
        }

    def _missing(self, name: str, epoch: int, start: int, end: int, who: frozenset[str]) -> list[str]:
        """Whose results of an epoch should be there and are not, or not wholly."""
        missing = []
        since, until = (self._run, start), (self._run, end)
        by_hand = not self._stats[name].definition.epoch_ns
        for member in (self._membership[each] for each in self._membership.expected(since, until)):
            has_nothing = member.reached >= until and not by_hand and not member.lacks(since, until)
            if (name, epoch, member.name) in self._broken or not (member.name in who or has_nothing):
                missing.append(member.name)
        return missing

    def _settle_group(self, settled: record.Settled, *, keep: bool) -> None:
        """End epochs that are over at one time: all their crossings first, then their results."""
        found: list[Crossing] = []
        results: list[tuple[Judged, EpochResult]] = []
        self._keep(settled, keep=keep)
        for name, epoch, missing in settled.epochs:
            stat = self._stats[name]
            for told in stat.collector.settle(epoch, missing):
                if isinstance(told, Merged):
                    found += crossings(stat.judged, told)
                else:
                    results.append((stat.judged, told))
                    self._counts["epochs_closed"] += 1
                    self._counts["epochs_incomplete"] += not told.complete
            stat.views.clear()
            if self._early:
                self._send(EVERYBODY, ThresholdsReset(name, epoch))
        self._tell_early()
        ended = [(name, epoch) for name, epoch, _ in settled.epochs]
        self._broken = {each for each in self._broken if each[:2] not in ended}
        for each in ended:
            self._told_early.pop(each, None)
        self._output.alerts += self._alerter.settle(found, ended)
        for judged, result in results:
            self._output.alerts += self._alerter.results(judged, result)
        self._silence()

    def _silence(self) -> None:
        for each in self._alerter.take_silences():
            definition = each.judged.definition
            since = each.epoch + 1
            if definition.pane_ns:  # the first that begins at that time or later
                since -= (each.end - each.until) // definition.pane_ns
            self._stats[definition.name].collector.silence(each.words[np.newaxis], each.epoch, since)
            message = ClusterThresholdCrossed(definition.name, each.epoch, each.words.tobytes(), each.until)
            self._send(EVERYBODY, message)

    def _begin_run(self) -> None:
        """All members' clocks began anew, and all before is over."""
        self._run = min(run for run, _, _, _ in self._later)
        now, self._later = self._later, []
        for stat in self._stats.values():
            first = min((end.epoch for run, _, name, end in now if name == stat.definition.name), default=None)
            stat.collector.restart(stat.collector.closed + 1 if first is None else first)
        for run, member, name, end in now:
            if run > self._run:
                self._later.append((run, member, name, end))
            else:
                self._stats[name].collector.take(member, end)

    def _look(self, stat: _Stat, message: ClusterKeyIntermediateResponse, now: float) -> None:
        """A worker reports keys: one alone has judged them; of several, all are asked."""
        partial = stat.packing.unpack(message.columns)
        ts, order = (unpack_numbers(each, np.int64, len(partial)) for each in (message.ts, message.order))
        if not self._is_local:
            for keys in partial.rounds():
                view = partial.take(stat.definition, keys)
                stat.packing.check(view)
                stat.views.report(*stat.collector.known({message.worker: view}))
            self._ask(stat, now)
            return
        for keys in partial.rounds():
            view = partial.take(stat.definition, keys)
            at = {words.tobytes(): int(key) for words, key in zip(view.keys, keys, strict=True)}
            for merged in stat.collector.look(message.epoch, {message.worker: view}):
                places = np.array([at[words.tobytes()] for words in merged.partial.keys], np.int64)
                found = crossings(stat.judged, merged, ts[places])
                self._crossings += zip(order[places].tolist(), found, strict=True)
                self._keep_early(merged, ts[places])

    def _ask(self, stat: _Stat, now: float) -> None:
        up = [name for name in self._membership.names if self._membership[name].is_up]
        for request in stat.views.ask(up, now):
            for name in up:
                self._send(name, request)

    def _seen(self, stat: _Stat, seen: Seen) -> None:
        for merged in seen.merged:
            found = crossings(stat.judged, merged)
            self._crossings += ((each.ts, each) for each in found)
            self._keep_early(merged, np.array([each.ts for each in found], np.int64))
        share = ClusterShare(stat.definition.name, seen.epoch, seen.keys.tobytes(), seen.shares.tobytes())
        self._send(EVERYBODY, share)

    def _tell_early(self) -> None:
        """Tell of what crossed in open epochs, in order of the events that made it cross."""
        found, self._crossings = self._crossings, []
        found.sort(key=lambda each: each[0])
        self._output.alerts += self._alerter.early([crossing for _, crossing in found])

    def _keep_early(self, merged: Merged, ts: np.ndarray) -> None:
        columns = msgspec.msgpack.encode(pack(merged.partial))
        what = merged.sumstat, merged.epoch, merged.level.tobytes(), merged.value.tobytes(), ts.tobytes()
        data = record.encode(record.ToldEarly(*what, list(merged.members), columns))
        self._output.records.append(data)
        self._told_early.setdefault((merged.sumstat, merged.epoch), []).append(data)

    def _restore_early(self, told: record.ToldEarly, data: bytes, *, is_new: bool) -> None:
        self._told_early.setdefault((told.sumstat, told.epoch), []).append(data)
        stat = self._stats[told.sumstat]
        partial = stat.packing.unpack(msgspec.msgpack.decode(told.columns, type=Columns))
        numbers: list[Callable[[], np.ndarray]] = [
            lambda: unpack_numbers(told.level, np.int64, len(partial)),
            lambda: unpack_numbers(told.value, np.float64, len(partial)),
            lambda: unpack_numbers(told.ts, np.int64, len(partial)),
        ]
        level, value, ts = (each() for each in numbers)
        if is_new:
            stat.collector.recall(told.epoch, partial.keys, level)
        merged = Merged(told.sumstat, told.epoch, level, value, partial, tuple(told.members))
        alerts = self._alerter.alerts
        self._crossings += ((each.ts, each) for each in crossings(stat.judged, merged, ts))
        self._tell_early()
        if not is_new:
            self._alerter.alerts = alerts

    def snapshot(self) -> bytes:
        """All that is known, so that the journal can begin anew; to be called when nothing is left to `take`."""
        suppressor, faults = self._alerter.suppressor, self._alerter.faults
        collected = {name: snapshot.collected(stat.collector.memory) for name, stat in self._stats.items()}
        groups = [
            snapshot.Group(member, name, each.epoch, each.count, [pack(part) for part in each.parts])
            for (member, name), each in self._groups.items()
        ]
        later = [
            snapshot.Later(run, member, name, end.epoch, end.following, end.start, end.end, end.lost, pack(end.partial))
            for run, member, name, end in self._later
        ]
        return snapshot.encode(
            snapshot.Snapshot(
                digest=self.digest,
                run=self._run,
                members=list(self._membership.members.values()),
                collected=collected,
                groups=groups,
                later=later,
                broken=sorted(self._broken),
                early=[data for told in self._told_early.values() for data in told],
                incidents=[(incident, *about) for incident, about in suppressor.incidents.items()],
                alerts=self._alerter.alerts,
                suppressed=suppressor.suppressed,
                forgotten=suppressor.forgotten,
                faults=faults.counts,
                switched_off=faults.switched_off,
                counters=dict(self._counts),
            )
        )

    def _restore_snapshot(self, data: bytes) -> None:
        held = snapshot.decode(data)
        if held.digest != self.digest:
            raise ValueError("the journal is of a manager with other detections or settings")
        self._run = held.run
        self._membership.members.update((member.name, member) for member in held.members)
        for member in held.members:
            member.is_up = False
        for name, own in held.collected.items():
            stat = self._stats[name]
            stat.collector.restore(snapshot.memory_of(own, stat.packing, stat.definition.key_words))
        for group in held.groups:
            packing = self._stats[group.sumstat].packing
            parts = tuple(packing.unpack(each) for each in group.columns)
            self._groups[group.member, group.sumstat] = Groups(group.epoch, group.count, parts)
        for later in held.later:
            partial = self._stats[later.sumstat].packing.unpack(later.columns)
            about = later.sumstat, later.epoch, later.following, later.start, later.end
            self._later.append((later.run, later.member, later.sumstat, EpochEnd(*about, partial, later.lost)))
        self._broken = set(held.broken)
        suppressor, faults = self._alerter.suppressor, self._alerter.faults
        suppressor.incidents.update((incident, (until, id)) for incident, until, id in held.incidents)
        suppressor.suppressed, suppressor.forgotten = held.suppressed, held.forgotten
        faults.counts, faults.switched_off = held.faults, held.switched_off
        self._alerter.alerts, self._counts = held.alerts, Counter(held.counters)
        for each in held.early:
            told = record.decode(each)
            assert isinstance(told, record.ToldEarly)
            self._restore_early(told, each, is_new=False)

    def restore(self, held: bytes | None, data: Iterable[bytes], now: float) -> list[Told]:
        """Come to the state that a snapshot and the records after it led to; what those records told, once more.

        ValueError: they are of a manager with other detections or settings.
        """
        if held is not None:
            self._restore_snapshot(held)
        for each in data:
            match record.decode(each):
                case record.Joined() as joined:
                    self._join(joined, keep=False)
                case record.Applied() as applied:
                    self._apply(self._membership[applied.message.worker], applied.message, keep=False)
                case record.Settled() as settled:
                    self._settle_group(settled, keep=False)
                case record.ToldEarly() as told:
                    self._restore_early(told, each, is_new=True)
                case record.BegunRun():
                    self._begin_run()
                case record.Left() as left:
                    self._leave(left, keep=False)
        self.start(now)
        self._crossings.clear()
        return self.take().alerts

    def status(self, now: float, started: int) -> Status:
        """How the cluster is."""
        furthest = max((each.position[1] for each in self._membership.members.values()), default=0)
        nodes = [self._node(each, now, furthest) for each in self._membership.members.values()]
        closed, incomplete = self._counts["epochs_closed"], self._counts["epochs_incomplete"]
        return Status(__version__, self.digest, started, nodes, self.alerts, closed, incomplete, self.counters)

    def _node(self, member: Member, now: float, furthest: int) -> NodeStatus:
        state: Literal["expected", "up", "late", "down", "done", "left"]
        state = "up" if member.is_up else "down" if member.incarnation >= 0 else "expected"
        if member.has_left or member.is_done:
            state = "left" if member.has_left else "done"
        elif state == "down" and now - member.heard < self._settings.deadline_s:
            state = "late"
        is_placed = member.position != NOWHERE
        watermark = member.position[1] if is_placed else None
        lag = (furthest - member.position[1]) / 1e9 if is_placed and not member.is_done else None
        counts = member.before + member.counts
        lost = sum(counts.counters.get(name, 0) for name in ("sumstats_observations_evicted", "ring_drops"))
        lost += sum(counts.refused.values())
        return NodeStatus(
            member.name, state, member.version, member.incarnation, watermark, lag, counts.packets_read, lost
        )

    def _keep(self, what: record.Record, *, keep: bool) -> None:
        if keep:
            self._output.records.append(record.encode(what))

    def _send(self, to: str, message: Message) -> None:
        self._output.messages.append((to, message))
