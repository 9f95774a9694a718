"""The alerter: passes crossings to detections and decides which of the resulting alerts are sent.

When an epoch is over, its alerts are sent in an order that depends on the results alone: alerts that cover others
first, then by first observation. So the same alerts stand for any number of workers and any order of arrival. With
early alerts, each is sent as soon as it is known. When its epoch is over, its detection is called again, and the alert
is updated: with its final values and message, with the alert that it turned out to be part of, or, if the detection no
longer returns an alert, as withdrawn. A withdrawn alert covers nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sensor.alerts import Alert, AlertRecord, AlertUpdate, Incidents, State, alert_id
from sensor.clock import rfc3339
from sensor.cluster.crossing import Crossing, Judged
from sensor.detection import Detection, Epoch
from sensor.detection.feed import Faults
from sensor.sumstats import EpochResult, Partial, Result, results

Told = AlertRecord | AlertUpdate

_KEYS = 4096  # keys whose results are built at once
_MOST_IDLE = 1440  # consecutive idle epochs that are finished one by one: a day's minutes

_OUTWEIGHED = "outweighed by what came of contacts begun before"
_FELL = "below its threshold when its epoch was over"


@dataclass(frozen=True)
class Silence:
    """A key whose alert stands until a time (ns): workers need not count it."""

    judged: Judged
    epoch: int
    end: int
    words: np.ndarray
    until: int


@dataclass(frozen=True)
class _Said:
    """The alert a detection returned for a crossing, with its record."""

    alert: Alert
    record: AlertRecord


@dataclass(frozen=True)
class _Early:
    """The alert for a crossing before its epoch was over."""

    crossing: Crossing
    alert: Alert | None
    record: AlertRecord | None
    """None: no alert was sent."""


@dataclass(frozen=True)
class _Verdict:
    """The final alert for a crossing whose epoch is over."""

    crossing: Crossing
    said: _Said | None
    record: AlertRecord | None
    """The alert that was sent early."""
    why: str = _OUTWEIGHED
    """The reason, if there is no final alert."""


class Alerter:
    """Calls the handlers of detections and folds repeats into incidents."""

    def __init__(self, detections: Sequence[Detection]) -> None:
        self.alerts, self.withdrawn = 0, 0
        self.incidents = Incidents()
        self.faults = Faults()
        self._detections = {each.name: each for each in detections}
        self._order = {name: at for at, name in enumerate(self._detections)}
        self._early: dict[str, _Early] = {}
        self._provisional = Incidents()
        self._silences: list[Silence] = []
        self._standing: list[Crossing] = []
        self._begun: list[tuple[Crossing, AlertRecord]] = []

    def follow(self, other: "Alerter") -> None:
        """Continue another alerter's incidents and counts."""
        self.alerts, self.withdrawn, self.incidents = other.alerts, other.withdrawn, other.incidents

    def runs(self, detection: str) -> bool:
        """Return whether there is a detection of that name."""
        return detection in self._detections

    def take_silences(self) -> list[Silence]:
        """Return the keys that need no counting, added since the last call."""
        taken, self._silences = self._silences, []
        return taken

    def take_standing(self) -> list[Crossing]:
        """Return the crossings with an alert at their epoch's end, added since the last call."""
        taken, self._standing = self._standing, []
        return taken

    def take_begun(self) -> list[tuple[Crossing, AlertRecord]]:
        """Return the standing alerts about whole keys, added since the last call."""
        taken, self._begun = self._begun, []
        return taken

    def update(self, crossing: Crossing, record: AlertRecord, state: State) -> AlertUpdate:
        """Return an update of a standing alert; its detection gives the message if it returns an alert."""
        said = self._call(crossing)
        now = said.record if said else record
        return _update(crossing, now, message=now.message, state=state)

    def has_answer(self, id: str) -> bool:
        """Return whether a crossing of an open epoch has an alert: until the epoch ends it is not passed on again."""
        return id in self._early and self._early[id].alert is not None

    def went_out(self, id: str) -> bool:
        """Return whether that alert was sent."""
        return id in self._early and self._early[id].record is not None

    def early_id(self, sumstat: str, words: np.ndarray) -> str | None:
        """Return the id of the alert sent about a key before its epoch was over; None if there is none."""
        went_out = (each.crossing for each in self._early.values() if each.record is not None)
        own = (each for each in went_out if each.judged.definition.name == sumstat)
        return next((each.id for each in own if each.words.tobytes() == words.tobytes()), None)

    def early(self, found: Iterable[Crossing]) -> Iterator[Told]:
        """Yield alerts for crossings of open epochs, in the given order."""
        for crossing in found:
            if self.has_answer(crossing.id):
                continue
            said = self._call(crossing)
            record = said.record if said and self._seems_new(crossing, said.alert) else None
            self._know_early(_Early(crossing, said.alert if said else None, record))
            if record:
                self.alerts += 1
                yield record
            yield from self._newly_switched_off(crossing.ts)

    def recall(self, crossing: Crossing, *, went_out: bool) -> None:
        """Restore the alert for a crossing of an open epoch; `went_out`: it was sent."""
        said = self._call(crossing)
        if said and went_out:
            self._seems_new(crossing, said.alert)
        self._know_early(_Early(crossing, said.alert if said else None, said.record if said and went_out else None))

    def _know_early(self, known: _Early) -> None:
        self._early.pop(known.crossing.id, None)
        self._early[known.crossing.id] = known

    def _seems_new(self, crossing: Crossing, alert: Alert) -> bool:
        given = crossing.judged.detection.name, alert, _src(crossing, alert), crossing.ts, crossing.level
        began = crossing.result.begin
        if self.incidents.folded_into(*given, began=began) is not None:
            return False
        return self._provisional.open(*given, began=began)

    def close_epochs(self, found: Sequence[Crossing], ended: Iterable[EpochResult]) -> Iterator[Told]:
        """Yield the alerts and updates for all crossings of epochs that end at the same time."""
        if not (found or self._early):
            return
        verdicts = [self._verdict(each, self._early.pop(each.id, None)) for each in found]
        over = {(each.sumstat, each.epoch): each for each in ended}
        for id, known in list(self._early.items()):
            ended_now = over.get((known.crossing.judged.definition.name, known.crossing.epoch))
            if ended_now is not None:
                verdicts.append(self._without(ended_now, self._early.pop(id)))
        yield from self._withdraw(each for each in verdicts if each.said is None)
        stands = [(each.crossing, each.said, each.record) for each in verdicts if each.said is not None]
        for crossing, said, record in sorted(stands, key=self._place):
            yield from self._admit(crossing, said, record)
        for crossing in found:
            yield from self._newly_switched_off(crossing.end)
        self._provisional = Incidents()
        for known in self._early.values():
            if known.alert and known.record:
                self._seems_new(known.crossing, known.alert)

    def _verdict(self, crossing: Crossing, early: _Early | None) -> _Verdict:
        """Return the verdict on final values; the early alert stands if the detection cannot be called."""
        asked = self._ask(crossing)
        if asked is None and early and early.alert:
            asked = (_Said(early.alert, self._record(crossing, early.alert)),)
        return _Verdict(crossing, asked[0] if asked else None, early.record if early else None)

    def _without(self, ended: EpochResult, early: _Early) -> _Verdict:
        """Return the verdict on a crossing not found again at its epoch's end: results are missing, or it fell."""
        crossing, said = replace(early.crossing, end=ended.end, missing=ended.missing, complete=ended.complete), None
        if early.alert and not ended.complete:
            said = _Said(early.alert, self._record(crossing, early.alert))
        return _Verdict(crossing, said, early.record, _FELL)

    def _withdraw(self, verdicts: Iterable[_Verdict]) -> Iterator[Told]:
        for each in verdicts:
            if each.record:
                self.withdrawn += 1
                message = f"withdrawn: {each.why} ({each.record.message})"
                yield _update(each.crossing, each.record, message=message, state="withdrawn")

    def _place(self, candidate: tuple[Crossing, _Said, AlertRecord | None]) -> tuple[Any, ...]:
        crossing, said, _ = candidate
        judged = crossing.judged
        whose = self._order[judged.detection.name], judged.sumstat.name
        return not said.alert.covers, crossing.result.begin, *whose, crossing.words.tobytes(), crossing.level

    def _admit(self, crossing: Crossing, said: _Said, record: AlertRecord | None) -> Iterator[Told]:
        alert, now = said.alert, said.record
        given = crossing.judged.detection.name, alert, now.src, crossing.end, crossing.level
        into = self.incidents.folded_into(*given, began=crossing.result.begin)
        admitted = self.incidents.open(*given, began=crossing.result.begin, id=crossing.id)
        self._standing.append(crossing)
        if into is None:  # a repeat must count each time it comes
            self._silence(crossing, alert)
        if alert.same_as == crossing.key and into is None:
            self._begun.append((crossing, now))
        if record:
            yield _update(crossing, now, message=now.message, state="open", folded_into=into)
        elif admitted:
            self.alerts += 1
            yield now

    def _silence(self, crossing: Crossing, alert: Alert) -> None:
        """Mark a key as needing no counting while any alert it could cause is folded into this one."""
        definition = crossing.judged.definition
        levels = range(len(crossing.levels))
        if definition.wants_results or alert.same_as != crossing.key or crossing.level + 1 < len(levels):
            return
        until = [self.incidents.until(crossing.judged.detection.name, alert, level) for level in levels]
        known = [each for each in until if each is not None]
        if len(known) == len(levels):
            silence = Silence(crossing.judged, crossing.epoch, crossing.end, crossing.words, min(known))
            self._silences.append(silence)

    def idle(self, judged: Judged, told: EpochResult, lacking: Callable[[int, int], Iterable[str]]) -> Iterator[Told]:
        """Finish the idle epochs before an ended one; after the first 1440, all others in one call.

        lacking: returns the members missing from one time to another (ns).
        """
        if not judged.sumstat.finished_handler:
            return
        definition = judged.definition
        for epoch, count in _idle(told.epoch - told.idle, told.idle):
            start = told.start - (told.epoch - epoch) * definition.pane_ns
            end = start + (count - 1) * definition.pane_ns + definition.epoch_ns
            missing = tuple(lacking(start, end))
            yield from self._finish(judged, Epoch(epoch, start, end, not missing, missing, count))

    def _finish(self, judged: Judged, epoch: Epoch) -> Iterator[Told]:
        detection, handler = judged.detection, judged.sumstat.finished_handler
        if handler and self.faults.allows(detection):
            self.faults.call(detection, handler, getattr(detection, handler), epoch)
            yield from self._newly_switched_off(epoch.end)

    def results(self, judged: Judged, told: EpochResult) -> Iterator[Told]:
        """Call the handlers in Zeek's order: once for each key's result, then once for the finished epoch."""
        sumstat = judged.sumstat
        if not (sumstat.result_handler or sumstat.finished_handler):
            return
        epoch = Epoch(told.epoch, told.start, told.end, told.complete, told.missing)
        for words, result in _by_key(judged, told.partial) if sumstat.result_handler else ():
            crossing = Crossing(
                judged=judged,
                epoch=told.epoch,
                level=-1,
                ts=told.end,
                end=told.end,
                words=words,
                result=result,
                value=np.nan,
                members=told.members,
                missing=told.missing,
                complete=told.complete,
            )
            if said := self._call(crossing, epoch):
                yield from self._admit_result(crossing, said)
            yield from self._newly_switched_off(told.end)
        yield from self._finish(judged, epoch)

    def _admit_result(self, crossing: Crossing, said: _Said) -> Iterator[Told]:
        given = crossing.judged.detection.name, said.alert, said.record.src, crossing.end
        if self.incidents.open(*given, began=crossing.result.begin, id=crossing.id):
            self.alerts += 1
            yield said.record

    def _call(self, crossing: Crossing, *epoch: Epoch) -> _Said | None:
        """Return the alert of a detection for a crossing; None if there is none."""
        asked = self._ask(crossing, *epoch)
        return asked[0] if asked else None

    def _ask(self, crossing: Crossing, *epoch: Epoch) -> tuple[_Said | None] | None:
        """Return the same in a tuple; None: the detection is switched off or raised an exception."""
        detection, sumstat = crossing.judged.detection, crossing.judged.sumstat
        handler = sumstat.result_handler if epoch else sumstat.handler
        if not handler or not self.faults.allows(detection):
            return None
        asked: tuple[_Said | None] | None = self.faults.call(detection, handler, self._alert, crossing, handler, *epoch)
        return asked

    def _alert(self, crossing: Crossing, handler: str, *epoch: Epoch) -> tuple[_Said | None]:
        sumstat = crossing.judged.sumstat
        seen = sumstat.seen(crossing.result, max(crossing.level, 0), crossing.value, crossing.threshold)
        alert: Alert | None = getattr(crossing.judged.detection, handler)(crossing.key, seen, *epoch)
        if alert is None:
            return (None,)
        return (_Said(alert, self._record(crossing, alert)),)  # here, so that an invalid alert counts as its fault

    def _newly_switched_off(self, ts: int) -> Iterator[Told]:
        for name in self.faults.take_unreported():
            yield self.switched_off("manager", name, ts)

    def switched_off(self, worker: str, detection: str, ts: int) -> AlertRecord:
        """Return the alert that a detection is switched off on a worker or the manager."""
        self.alerts += 1
        at = rfc3339(ts)
        return AlertRecord(
            id=alert_id(detection, "switched_off", worker.encode(), 0, 0),
            ts=at,
            first_seen=at,
            last_seen=at,
            detection=detection,
            kind="switched_off",
            severity="high",
            message=f"{detection} raised too often on {worker} and is switched off there",
            version=self._detections[detection].version,
            workers=[worker],
        )

    def _record(self, crossing: Crossing, alert: Alert) -> AlertRecord:
        detection, result, key = crossing.judged.detection, crossing.result, crossing.key
        is_crossing = crossing.level >= 0
        return AlertRecord(
            id=crossing.id,
            ts=rfc3339(crossing.ts),
            first_seen=rfc3339(result.begin),
            last_seen=rfc3339(result.end),
            detection=detection.name,
            kind=alert.kind,
            severity=alert.severity or detection.severity,
            message=alert.message,
            src=_src(crossing, alert),
            dst=_text(alert.dst, key, "resp_h"),
            port=getattr(key, "resp_p", None) if alert.port is None else alert.port,
            proto=alert.proto,
            value=_number(crossing.value) if is_crossing else None,
            threshold=_number(crossing.threshold) if is_crossing else None,
            level=crossing.level if is_crossing and len(crossing.levels) > 1 else None,
            sample=[each if isinstance(each, int | float) else str(each) for each in alert.sample],
            epoch=crossing.epoch,
            complete=crossing.complete,
            missing=list(crossing.missing),
            late=crossing.late,
            attack=detection.attack,
            version=detection.version,
            workers=list(crossing.members),
        )


def _by_key(judged: Judged, partial: Partial) -> Iterator[tuple[np.ndarray, Result]]:
    """Yield keys with their results, ordered by key; built lazily, as together they take much memory."""
    for part in partial.take(judged.definition, np.lexsort(partial.keys.T[::-1])).parts(judged.definition, _KEYS):
        yield from zip(part.keys, results(judged.definition, part), strict=True)


def _idle(first: int, epochs: int) -> Iterator[tuple[int, int]]:
    """Yield (first epoch, count): the first `_MOST_IDLE` idle epochs one by one, then the others together."""
    singly = min(epochs, _MOST_IDLE)
    yield from ((first + at, 1) for at in range(singly))
    if epochs > singly:
        yield first + singly, epochs - singly


def _update(
    crossing: Crossing, record: AlertRecord, *, message: str, state: State, folded_into: str | None = None
) -> AlertUpdate:
    """Return an update of an alert that was sent; `record` is its current state."""
    return AlertUpdate(
        id=record.id,
        ts=rfc3339(crossing.end),
        state=state,
        severity=record.severity,
        kind=record.kind,
        message=message,
        src=record.src,
        dst=record.dst,
        port=record.port,
        first_seen=rfc3339(crossing.result.begin),
        last_seen=rfc3339(crossing.result.end),
        value=_number(crossing.value),
        complete=crossing.complete,
        missing=list(crossing.missing),
        workers=list(crossing.members),
        folded_into=folded_into,
    )


def _src(crossing: Crossing, alert: Alert) -> str | None:
    return _text(alert.src, crossing.key, "orig_h")


def _number(value: float) -> float:
    return int(value) if value.is_integer() else value


def _text(given: Any, key: Any, part: str) -> str | None:
    value = getattr(key, part, None) if given is None else given
    return None if value is None else str(value)
