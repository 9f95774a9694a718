"""The ledger: the manager's durable state, which only records change.

The records: a worker has joined, a numbered message was applied, epochs were ended with members missing, keys crossed
early. So a ledger that replays a journal, or a snapshot and the records after it, reaches the same state as the one
that wrote them, and emits the same alerts with the same ids.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import astuple, dataclass, replace

import numpy as np

from sensor.alerts.incident import Incident
from sensor.cluster import record, snapshot
from sensor.cluster.agenda import Agenda
from sensor.cluster.alerter import Alerter, Silence, Told
from sensor.cluster.columns import Packing, pack, unpack_numbers
from sensor.cluster.crossing import Crossing, Judged, crossings
from sensor.cluster.membership import NOWHERE, THE_END, Late, Member, Membership, Position
from sensor.cluster.messages import ClusterSsResponse, ClusterSsSeries, DetectionSwitchedOff, Heartbeat
from sensor.cluster.standing_alerts import StandingAlert, StandingAlerts
from sensor.detection import Detection
from sensor.sumstats import (
    Collector,
    Definition,
    EpochEnd,
    EpochEnds,
    EpochResult,
    Merged,
    Partial,
    Series,
    of_series,
)
from sensor.sumstats.asked import ANSWERED

_ROOM = 64  # a merge has room for the keys of this many members

Due = tuple[str, int, list[str]]
"""An epoch that is over: its SumStat, its number, and the missing members."""


@dataclass(frozen=True)
class Stat:
    """A SumStat with its collected results."""

    judged: Judged
    collector: Collector
    packing: Packing
    series: Packing
    """Unpacks results of several epochs at once."""

    @property
    def definition(self) -> Definition:
        """The definition of the SumStat."""
        return self.judged.definition


@dataclass(frozen=True)
class Groups:
    """The groups received so far of an epoch that a worker is delivering."""

    epoch: int
    count: int = 0
    parts: tuple[Partial, ...] = ()


def digest_of(definitions: Iterable[Definition]) -> str:
    """Return a digest that is equal for nodes whose results may be merged."""
    return hashlib.sha256("".join(each.digest for each in definitions).encode()).hexdigest()


class Ledger:
    """The state of the `members` and of the detections' SumStats. `checks`: workers' results are checked."""

    def __init__(
        self, detections: Sequence[Detection], members: Iterable[str], deadline_s: float, *, checks: bool
    ) -> None:
        self._checks, self._deadline_s = checks, deadline_s
        self.alerter = Alerter(detections)
        self.standing = StandingAlerts(self.alerter)
        self.membership = Membership(members, deadline_s)
        self.stats: dict[str, Stat] = {}
        for each in detections:
            for name, definition in each.define().items():
                judged = Judged(each, each.sumstats[name], definition)
                collector, series = Collector(definition, room=_ROOM), Packing(of_series(definition))
                self.stats[definition.name] = Stat(judged, collector, Packing(definition), series)
        self._by_hand = {name: stat for name, stat in self.stats.items() if not stat.definition.epoch_ns}
        self._agenda, self._anew = Agenda(), Agenda()
        self.digest = digest_of(stat.definition for stat in self.stats.values())
        self.counts: Counter[str] = Counter()
        self._groups: dict[tuple[str, str], Groups] = {}
        self._broken: set[tuple[str, int, str]] = set()
        self._told_early: dict[str, record.ToldEarly] = {}
        self._run, self._later = 0, list[tuple[int, str, EpochEnd]]()
        self._silences: list[Silence] = []

    @property
    def run(self) -> int:
        """Number of times all clocks have restarted."""
        return self._run

    def stat(self, sumstat: str, definition: str) -> Stat:
        """Return a SumStat by its name and its definition's digest; ValueError if there is none."""
        stat = self.stats.get(sumstat)
        if stat is None or stat.definition.digest != definition:
            raise ValueError(f"there is no SumStat {sumstat} with that definition")
        return stat

    def apply(self, what: record.Record) -> list[Told]:
        """Apply a record and return the resulting alerts; ValueError if it is invalid, and nothing changes."""
        match what:
            case record.Joined():
                self._join(what)
            case record.Applied():
                return self._apply(self.membership[what.message.worker], what)
            case record.Settled():
                return list(self._close_epoch(what))
            case record.BegunRun():
                told = self._conclude()
                self._begin_run()
                return told
            case record.Concluded():
                return self._conclude()
            case record.ToldEarly():
                return self._tell_early(what)
            case record.Left():
                self._leave(self.membership[what.worker], what.until)
        return []

    def matters(self, message: Heartbeat) -> bool:
        """Return whether a heartbeat changes the durable state; other heartbeats only report progress."""
        return message.done or self.membership[message.worker].gap is not None

    def is_end_by_hand(self, message: ClusterSsResponse) -> bool:
        """Return whether a worker ended an epoch by hand, so that all others must end it too."""
        return message.done and not self.stats[message.sumstat].definition.epoch_ns

    def open_by_hand(self) -> dict[str, int]:
        """Return the first open epoch of each SumStat whose epochs end by hand."""
        stats = self.stats.items()
        return {name: stat.collector.closed + 1 for name, stat in stats if not stat.definition.epoch_ns}

    def ended_by_hand(self) -> list[tuple[str, int, Set[str]]]:
        """Return (SumStat, number, members) for epochs that some members have ended by hand and others have not."""
        stats = {name: stat for name, stat in self.stats.items() if not stat.definition.epoch_ns}
        return [
            (name, epoch, who)
            for name, stat in stats.items()
            for epoch, (_, _, who) in sorted(stat.collector.delivered.items())
        ]

    def take_silences(self) -> list[Silence]:
        """Return the keys that need no counting any more, added since the last call."""
        taken, self._silences = self._silences, []
        return taken

    def due(self, frontier: Position, now: float) -> list[Due]:
        """Return the next epochs that are over at one time, given the position `frontier` that all have reached."""
        ready = self._due_by_hand(frontier, now)
        first = self._agenda.first()
        if first and (self._run, first[0]) <= frontier:
            until, epochs = first
            for name, epoch in epochs:
                start, _, who = self.stats[name].collector.pane(epoch)
                missing = self.missing(name, epoch, start, until, who)
                ready.setdefault(until, []).append((name, epoch, missing))
        return sorted(ready[min(ready)], key=lambda each: each[1]) if ready else self._due_anew(frontier)

    def _due_anew(self, frontier: Position) -> list[Due]:
        """Return the ended windows to judge again, once no open window holds the results that came late for them."""
        first = self._anew.first()
        if first is None:
            return []
        until, epochs = first
        definitions = [self.stats[name].definition for name, _ in epochs]
        until += max((each.panes - 1) * each.pane_ns for each in definitions)
        return [(name, epoch, []) for name, epoch in sorted(epochs)] if (self._run, until) <= frontier else []

    def is_over(self, sumstat: str, epoch: int) -> bool:
        """Return whether an epoch was ended."""
        return epoch <= self.stats[sumstat].collector.closed

    def _due_by_hand(self, frontier: Position, now: float) -> dict[int, list[Due]]:
        """Return due epochs that end by hand, in turn: a member may end one later than others end the next."""
        ready: dict[int, list[Due]] = {}
        for name, stat in self._by_hand.items():
            for epoch, (start, until, who) in sorted(stat.collector.delivered.items())[:1]:
                if (self._run, until) > frontier:
                    continue
                missing = self.missing(name, epoch, start, until, who)
                if not set(missing) - self._not_awaited(now):
                    ready.setdefault(until, []).append((name, epoch, missing))
        return ready

    def past(self, now: float) -> Position:
        """Return the position that all awaited members have passed."""
        return self.membership.frontier(now)

    def begins_run(self, frontier: Position) -> bool:
        """Return whether all members' clocks have restarted."""
        return bool(self._later) and frontier[0] > self._run

    def _not_awaited(self, now: float) -> set[str]:
        members = self.membership.members.values()
        late = {each.name for each in members if not each.is_up and now - each.heard >= self._deadline_s}
        return late | {each.name for each in members if each.reached == THE_END}

    def missing(self, name: str, epoch: int, start: int, end: int, who: Set[str]) -> list[str]:
        """Return the members whose results for an epoch are expected but absent or incomplete."""
        if not self._broken and len(who) == len(self.membership.members):
            return []
        missing = []
        since, until = (self._run, start), (self._run, end)
        by_hand = not self.stats[name].definition.epoch_ns
        for member in (self.membership[each] for each in self.membership.expected(since, until)):
            # By hand, the position does not show whether a member delivered an epoch before it ended its next.
            is_past = member.reached >= until
            if by_hand:
                is_past = (member.is_done and not member.rejoined) or member.is_removed
            has_nothing = is_past and not member.lacks(since, until)
            if (name, epoch, member.name) in self._broken or not (member.name in who or has_nothing):
                missing.append(member.name)
        return missing

    def _join(self, joined: record.Joined) -> None:
        member = self.membership.admit(joined.worker, 0.0, joined.started)
        member.begin(
            joined.incarnation,
            joined.sequence,
            self.stats,
            replays=joined.replays,
            is_late=joined.is_late,
            started=joined.started,
            continues=joined.continues,
        )
        member.version = joined.version
        if member.gap is not None:
            self._break_by_hand(member)
        for key in [each for each in self._groups if each[0] == joined.worker]:
            del self._groups[key]

    def _break_by_hand(self, member: Member) -> None:
        """Mark a member's open epochs that end by hand as incomplete: it had delivered nothing of them yet."""
        for name, stat in self.stats.items():
            if not stat.definition.epoch_ns:
                ended = [epoch for epoch, (_, _, who) in stat.collector.delivered.items() if member.name in who]
                self._broken.add((name, max([stat.collector.closed, *ended]) + 1, member.name))

    def _leave(self, member: Member, until: Position | None) -> None:
        if not member.is_done:
            self._break_by_hand(member)
        member.leave(until)

    def _apply(self, member: Member, applied: record.Applied) -> list[Told]:
        told: list[Told] = []
        match applied.message:
            case ClusterSsResponse() as response:
                self._apply_response(member, response)
            case ClusterSsSeries() as series:
                self._apply_series(member, series)
            case DetectionSwitchedOff() as off:
                if not self.alerter.runs(off.detection):
                    raise ValueError(f"there is no detection {off.detection}")
                told.append(self.alerter.switched_off(off.worker, off.detection, off.ts))
            case Heartbeat() as beat:
                position = NOWHERE if beat.watermark is None else (beat.run, beat.watermark)
                member.advance(position, beat.counts, is_done=beat.done)
        member.applied = applied.message.sequence
        return told

    def _apply_response(self, member: Member, message: ClusterSsResponse) -> None:
        stat = self.stat(message.sumstat, message.definition)
        partial = stat.packing.unpack(message.columns)
        if self._checks:
            stat.packing.check(partial)
        assembled = self._groups.pop((member.name, message.sumstat), Groups(message.epoch))
        if (assembled.epoch, assembled.count) != (message.epoch, message.group):
            self.counts["groups_missing"] += 1  # an earlier manager had the groups before, and its journal is lost
            self._broken.add((message.sumstat, message.epoch, member.name))
            assembled = Groups(message.epoch)
        assembled = Groups(message.epoch, message.group + 1, (*assembled.parts, partial))
        if not message.done:
            self._groups[member.name, message.sumstat] = assembled
            return
        self._take(member, stat, message, Partial.join(assembled.parts))

    def _apply_series(self, member: Member, message: ClusterSsSeries) -> None:
        stat = self.stat(message.sumstat, message.definition)
        if not stat.definition.pane_ns:
            raise ValueError(f"{message.sumstat}: its epochs end by hand, one by one")
        whole = stat.series.unpack(message.columns)
        if self._checks:
            stat.series.check(whole)
        epochs = unpack_numbers(message.epochs, np.int64, len(message.epochs) // 8)
        ends = EpochEnds(message.sumstat, Series(stat.definition, epochs, whole), message.following, message.start)
        first = int(epochs[0])
        if self._groups.pop((member.name, message.sumstat), None) is not None:
            self.counts["groups_missing"] += 1  # as for a single epoch
            self._broken.add((message.sumstat, first, member.name))
        if self._has_begun_within(member, message.sumstat, message.start):
            self._broken.add((message.sumstat, first, member.name))
        for end in ends.singly():
            if message.run > self._run:
                self._later.append((message.run, member.name, end))
            else:
                self._collect(stat, member, end, message.run)

    def _take(self, member: Member, stat: Stat, message: ClusterSsResponse, partial: Partial) -> None:
        """Take the complete results of a member for an epoch."""
        by_hand = not stat.definition.epoch_ns
        if self._is_partial(member, message, by_hand=by_hand):
            self._broken.add((message.sumstat, message.epoch, member.name))
        # A replaying member no longer knows where it ended epochs by hand: it delivered some of this in earlier ones.
        repeats, has_some = by_hand and member.rejoined, len(partial) > 0
        if repeats:
            partial = partial.take(stat.definition, np.empty(0, np.int64))
        end = EpochEnd(
            sumstat=message.sumstat,
            epoch=message.epoch,
            following=message.following,
            start=message.start,
            end=message.end,
            partial=partial,
            lost=message.lost,
        )
        if message.run > self._run:
            self._later.append((message.run, member.name, end))
        elif self._collect(stat, member, end, message.run):
            if repeats:
                self._broken.add((message.sumstat, message.epoch, member.name))
        elif by_hand and has_some:  # the member did not know which epoch was open, so the next one lacks these results
            self._broken.add((message.sumstat, stat.collector.closed + 1, member.name))

    def _collect(self, stat: Stat, member: Member, end: EpochEnd, run: int) -> bool:
        """Keep a member's results until their epoch is over; False if it is over already, or they are repeated."""
        length, is_over = stat.definition.pane_ns, end.epoch <= stat.collector.closed
        if is_over and length and run == self._run:
            self._collect_late(stat, member, end)
            return False
        is_new = stat.collector.apply(member.name, end)
        if is_over and not member.rejoined and len(end.partial):
            member.late += Late(left_out=1)
        if is_new and length:  # not end.end: the input's last epoch may end early
            start, _, _ = stat.collector.pane(end.epoch)
            self._agenda.note((end.sumstat, end.epoch), start + length)
        return is_new

    def _collect_late(self, stat: Stat, member: Member, end: EpochEnd) -> None:
        """Keep a member's results for an epoch that is over, and schedule its windows to be judged again."""
        about = end.sumstat, end.epoch, member.name
        is_whole = about not in self._broken
        self._broken.discard(about)
        reopened = stat.collector.take_late(member.name, end, is_whole=is_whole)
        length = stat.definition.pane_ns
        if reopened:
            is_joining = member.since is not None and (self._run, end.start + length) <= member.since
            member.late += Late(after_joining=is_joining, after_silence=not is_joining)
        for epoch in reopened or ():
            self._anew.note((end.sumstat, epoch), end.start + (epoch - end.epoch + 1) * length)

    def _is_partial(self, member: Member, message: ClusterSsResponse, *, by_hand: bool) -> bool:
        """Return whether a member's results for an epoch are incomplete."""
        return self._has_begun_within(member, message.sumstat, -1 if by_hand else message.start) or message.given_up

    def _has_begun_within(self, member: Member, sumstat: str, start: int) -> bool:
        """Return whether this is the first epoch a member delivers, and it began to observe only after `start` (ns)."""
        if sumstat not in member.to_begin:
            return False
        member.to_begin.remove(sumstat)
        return member.started is None or start < member.started

    def _close_epoch(self, settled: record.Settled) -> Iterator[Told]:
        """End epochs that are over at one time: first yield alerts for all their crossings, then for their results."""
        found: list[Crossing] = []
        results: list[tuple[Judged, EpochResult]] = []
        quiet: list[tuple[Judged, EpochResult]] = []
        for name, epoch, missing in settled.epochs:
            stat = self.stats[name]
            if self.is_over(name, epoch):
                self._anew.strike((name, epoch))
                found += [each for told in stat.collector.settle_late(epoch) for each in crossings(stat.judged, told)]
                continue
            self._agenda.strike((name, epoch))
            closed = stat.collector.closed
            for told in stat.collector.close_epoch(epoch, missing):
                if isinstance(told, Merged):
                    found += crossings(stat.judged, told)
                elif told.epoch < epoch:
                    since = told.end - (told.epoch - closed) * stat.definition.pane_ns
                    lacking = self._lacking(stat.judged, missing, settled.reached)(since, told.end)
                    quiet.append((stat.judged, replace(told, missing=tuple(sorted({*told.missing, *lacking})))))
                else:
                    results.append((stat.judged, told))
                    self.counts["epochs_closed"] += 1
                    self.counts["epochs_incomplete"] += not told.complete
        ended = {(name, epoch) for name, epoch, _ in settled.epochs}
        if self._broken:
            self._broken = {each for each in self._broken if each[:2] not in ended}
        if early := self._told_early.items():
            self._told_early = {id: told for id, told in early if (told.sumstat, told.epoch) not in ended}
        for judged, result in quiet:
            yield from self.alerter.results(judged, result)
        for judged, result in results:
            if result.idle:
                yield from self.alerter.idle(judged, result, self._lacking(judged, result.missing, settled.reached))
        yield from self.alerter.close_epochs(found, [result for _, result in results])
        self._fire()
        for judged, result in results:
            yield from self.standing.close_epoch(self.stats[judged.definition.name].collector, result)
        begun: dict[str, list[StandingAlert]] = {}
        for crossing, alert in self.alerter.take_begun():
            begun.setdefault(crossing.judged.definition.name, []).append(StandingAlert(crossing, alert))
        for name, alerts in begun.items():
            yield from self.standing.begin(alerts, self.stats[name].collector)
        for judged, result in results:
            yield from self.alerter.results(judged, result)
        self._silence()

    def _lacking(
        self, judged: Judged, missing: Iterable[str], reached: Mapping[str, Position]
    ) -> Callable[[int, int], Iterable[str]]:
        """Return a function (start, end in ns) that gives the members missing in earlier epochs without any results."""
        if not judged.definition.epoch_ns:
            return lambda start, end: missing
        return lambda start, end: self.membership.lacking(missing, reached, (self._run, start), (self._run, end))

    def _fire(self) -> None:
        """Mark levels alerted on at their epoch's end as fired, so that they do not alert again in the same window."""
        standing: dict[tuple[str, int], list[Crossing]] = {}
        for each in self.alerter.take_standing():
            standing.setdefault((each.judged.definition.name, each.epoch), []).append(each)
        for (name, epoch), own in standing.items():
            keys, levels = np.stack([each.words for each in own]), np.array([each.level for each in own], np.int64)
            self.stats[name].collector.fire(epoch, keys, levels)

    def _silence(self) -> None:
        """Exclude further observations of keys whose alert stands, on whichever worker they are counted."""
        for each in self.alerter.take_silences():
            if (each.judged.definition.name, each.words.tobytes()) not in self.standing.known:
                self._silences.append(each)
            definition = each.judged.definition
            since = each.epoch + 1
            if definition.pane_ns:  # the first epoch that begins at `until` or later
                since -= (each.end - each.until) // definition.pane_ns
            self.stats[definition.name].collector.silence(each.words[np.newaxis], each.epoch, since)

    def alert_about(self, sumstat: str, words: np.ndarray) -> str | None:
        """Return the id of the alert that stands about a key, in an open or an ended epoch; None if there is none."""
        return self.standing.id_of(sumstat, words) or self.alerter.early_id(sumstat, words)

    @property
    def has_standing_alerts(self) -> bool:
        """True if there are alerts whose keys are still counted."""
        return bool(self.standing.known)

    def _conclude(self) -> list[Told]:
        """End all standing alerts."""
        return list(self.standing.conclude(stat.collector for stat in self.stats.values()))

    def _begin_run(self) -> None:
        """Begin a new run: all members' clocks have restarted, and all earlier epochs are over."""
        self._run = min(run for run, _, _ in self._later)
        now, self._later = self._later, []
        self._agenda.clear()
        self._anew.clear()
        for stat in self.stats.values():
            first = min((end.epoch for _, _, end in now if end.sumstat == stat.definition.name), default=None)
            stat.collector.restart(stat.collector.closed + 1 if first is None else first)
        for run, member, end in now:
            if run > self._run:
                self._later.append((run, member, end))
            else:
                self._collect(self.stats[end.sumstat], self.membership[member], end, run)

    def _tell_early(self, told: record.ToldEarly) -> list[Told]:
        found = self._crossings_of(told)
        out = list(self.alerter.early(found))
        self._know_early(told, found)
        return out

    def _know_early(self, told: record.ToldEarly, found: Sequence[Crossing]) -> None:
        """Remember the latest record of each early crossing of an open epoch, in this order."""
        collector = self.stats[told.sumstat].collector
        for each in found:
            self._told_early.pop(each.id, None)
            self._told_early[each.id] = told
            value = ANSWERED if self.alerter.has_answer(each.id) else each.value
            words, level = each.words[np.newaxis], np.array([each.level], np.int64)
            collector.recall(told.epoch, words, level, np.array([value]))

    def _crossings_of(self, told: record.ToldEarly) -> list[Crossing]:
        stat = self.stats[told.sumstat]
        partial = stat.packing.unpack(told.columns)
        level = unpack_numbers(told.level, np.int64, len(partial))
        value = unpack_numbers(told.value, np.float64, len(partial))
        ts = unpack_numbers(told.ts, np.int64, len(partial))
        merged = Merged(told.sumstat, told.epoch, level, value, partial, tuple(told.members))
        return crossings(stat.judged, merged, ts)

    def snapshot(self) -> bytes:
        """Return the whole state, so that the journal can drop earlier records."""
        incidents, faults = self.alerter.incidents, self.alerter.faults
        groups = [
            snapshot.Group(member, name, each.epoch, each.count, [pack(part) for part in each.parts])
            for (member, name), each in self._groups.items()
        ]
        return snapshot.encode(
            snapshot.Snapshot(
                digest=self.digest,
                run=self._run,
                members=list(self.membership.members.values()),
                collected={name: snapshot.collected(stat.collector.memory) for name, stat in self.stats.items()},
                groups=groups,
                later=[snapshot.later(*each) for each in self._later],
                broken=sorted(self._broken),
                incidents_open=[
                    snapshot.standing(name, each, self.stats[name].collector)
                    for (name, _), each in self.standing.known.items()
                ],
                early=[(told, self.alerter.went_out(id)) for id, told in self._told_early.items()],
                incidents=[(about, *astuple(each)) for about, each in incidents.known.items()],
                alerts=self.alerter.alerts,
                withdrawn=self.alerter.withdrawn,
                repeats=incidents.repeats,
                parts=incidents.parts,
                forgotten=incidents.forgotten,
                faults=faults.counts,
                switched_off=faults.switched_off,
                counters=dict(self.counts),
            )
        )

    def restore(self, data: bytes) -> None:
        """Restore a snapshot. ValueError if it is of a manager with other detections or settings."""
        held = snapshot.decode(data)
        if held.digest != self.digest:
            raise ValueError("the journal is of a manager with other detections or settings")
        self._run = held.run
        self.membership.members.update((member.name, member) for member in held.members)
        for name, own in held.collected.items():
            stat = self.stats[name]
            stat.collector.restore(snapshot.memory_of(own, stat.packing, stat.definition.key_words))
            for epoch, (start, _, _) in stat.collector.delivered.items() if stat.definition.pane_ns else ():
                self._agenda.note((name, epoch), start + stat.definition.pane_ns)
            for epoch in own.reopened:
                self._anew.note((name, epoch), stat.collector.pane(epoch)[0] + stat.definition.pane_ns)
        for group in held.groups:
            packing = self.stats[group.sumstat].packing
            parts = tuple(packing.unpack(each) for each in group.columns)
            self._groups[group.member, group.sumstat] = Groups(group.epoch, group.count, parts)
        self._later = [
            (each.run, each.member, snapshot.end_of(each, self.stats[each.sumstat].packing)) for each in held.later
        ]
        self._broken = set(held.broken)
        incidents, faults = self.alerter.incidents, self.alerter.faults
        incidents.known.update(
            (about, Incident(until, id, targets, last)) for about, until, id, targets, last in held.incidents
        )
        for each in held.incidents_open:
            stat = self.stats[each.sumstat]
            crossing = snapshot.crossing_of(each, stat.judged, stat.packing, stat.collector)
            self.standing.known[each.sumstat, each.words] = StandingAlert(crossing, each.record)
        for told, went_out in held.early:
            found = self._crossings_of(told)
            for crossing in found:
                self.alerter.recall(crossing, went_out=went_out)
            self._know_early(told, found)
        incidents.repeats, incidents.parts = Counter(held.repeats), Counter(held.parts)
        incidents.forgotten = held.forgotten
        faults.counts, faults.switched_off = held.faults, held.switched_off
        faults.take_unreported()
        self.alerter.alerts, self.alerter.withdrawn = held.alerts, held.withdrawn
        self.counts = Counter(held.counters)
