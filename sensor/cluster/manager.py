"""The manager: merges what workers report, judges it against the thresholds, and raises alerts."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensor.alerts import Alert, AlertRecord, Suppressor, alert_id
from sensor.clock import rfc3339
from sensor.cluster.messages import (
    ClusterKeyIntermediateResponse,
    ClusterSsResponse,
    ClusterThresholdCrossed,
    Counts,
    DetectionSwitchedOff,
    Heartbeat,
    Message,
)
from sensor.detection import Detection, Epoch, SumStat
from sensor.detection.feed import Faults
from sensor.sumstats import Collector, EpochResult, Merged, Result, Told, results


@dataclass(frozen=True)
class _Judged:
    """A SumStat, the detection that says what crossing its threshold means, and all that is known of it."""

    detection: Detection
    sumstat: SumStat
    collector: Collector


@dataclass(frozen=True)
class _Crossing:
    """A key's merged result that has reached a level."""

    judged: _Judged
    epoch: int
    level: int
    ts: int
    order: int
    words: np.ndarray
    result: Result
    value: float
    members: tuple[str, ...]
    missing: tuple[str, ...] = ()
    complete: bool = True


class Manager:
    """Judges every key of every epoch once a level, on the merged value, and folds repeats into incidents.

    It knows one worker: what several know of a key would have to be asked of all before it can be judged.
    """

    def __init__(self, detections: Sequence[Detection], worker: str = "worker-1") -> None:
        self.alerts = 0
        self.suppressor = Suppressor()
        self._faults = Faults()
        self._detections = {each.name: each for each in detections}
        self._judged: dict[str, _Judged] = {}
        for each in detections:
            for name, definition in each.define().items():
                self._judged[definition.name] = _Judged(each, each.sumstats[name], Collector(definition, [worker]))
        self._counts: dict[str, Counts] = {}
        self._messages: list[ClusterThresholdCrossed] = []

    @property
    def workers(self) -> list[str]:
        """The workers that have been heard of."""
        return sorted(self._counts)

    @property
    def counters(self) -> dict[str, int]:
        """What was given up here, by name."""
        counts = Counter(incidents_forgotten=self.suppressor.forgotten)
        for judged in self._judged.values():
            counts.update({f"manager_{name}": count for name, count in judged.collector.counters.items()})
        return dict(counts)

    def receive(self, messages: Iterable[Message]) -> Iterator[AlertRecord]:
        """Take the messages that arrived together; give the alerts that they bring about.

        In order of the events that made keys cross, whatever SumStats they are of; what comes of an epoch's end stands
        before the crossings from then on.
        """
        crossings: list[_Crossing] = []
        ended: list[tuple[_Judged, Told]] = []
        for message in messages:
            match message:
                case Heartbeat():
                    self._counts[message.worker] = message.counts
                case DetectionSwitchedOff():
                    yield self._switched_off(message)
                case ClusterKeyIntermediateResponse():
                    crossings += self._look(message)
                case ClusterSsResponse():
                    judged = self._judged[message.ended.sumstat]
                    ended += [(judged, told) for told in judged.collector.deliver(message.worker, message.ended)]
                    if message.ended.restarts:  # what comes next is earlier by the clock, and later all the same
                        yield from self._in_order(crossings, ended)
                        crossings, ended = [], []
        yield from self._in_order(crossings, ended)

    def _in_order(self, crossings: list[_Crossing], ended: list[tuple[_Judged, Told]]) -> Iterator[AlertRecord]:
        crossings.sort(key=lambda each: each.order)
        for judged, told in sorted(ended, key=lambda each: each[1].end):
            before = _before(crossings, judged, told)
            yield from self._report(crossings[:before])
            del crossings[:before]
            yield from self._tell(judged, told)
        yield from self._report(crossings)

    def take_messages(self) -> list[ClusterThresholdCrossed]:
        """What workers are to be told since the last call."""
        taken, self._messages = self._messages, []
        return taken

    def counts(self) -> Counts:
        """What has become of all workers' packets so far, with the faults of detections here as well as there."""
        return sum(self._counts.values(), Counts(faults=dict(self._faults.counts)))

    def _look(self, message: ClusterKeyIntermediateResponse) -> list[_Crossing]:
        judged = self._judged[message.sumstat]
        found: list[_Crossing] = []
        for keys in message.partial.rounds():
            view = message.partial.take(judged.collector.definition, keys)
            at = {words.tobytes(): int(key) for words, key in zip(view.keys, keys, strict=True)}
            for merged in judged.collector.look(message.epoch, {message.worker: view}):
                places = [at[words.tobytes()] for words in merged.partial.keys]
                found += _crossings(judged, merged, message.ts[places], message.order[places])
        return found

    def _tell(self, judged: _Judged, told: Told) -> Iterator[AlertRecord]:
        if isinstance(told, Merged):
            nothing = np.zeros(len(told.partial), np.int64)
            yield from self._report(_crossings(judged, told, nothing + told.end, nothing))
        else:
            yield from self._epoch_result(judged, told)

    def _epoch_result(self, judged: _Judged, told: EpochResult) -> Iterator[AlertRecord]:
        """Zeek's order: the result of each key, then once that the epoch is finished."""
        detection, sumstat = judged.detection, judged.sumstat
        epoch = Epoch(told.epoch, told.start, told.end, told.complete, told.missing)
        definition = judged.collector.definition
        found = zip(told.partial.keys, results(definition, told.partial), strict=True)
        for words, result in found if sumstat.result_handler else ():
            if not self._faults.allows(detection):
                return
            who = told.members, told.missing, told.complete
            crossing = _Crossing(judged, told.epoch, -1, told.end, 0, words, result, np.nan, *who)
            yield from self._call(crossing, sumstat.result_handler, epoch)
        if sumstat.finished_handler and self._faults.allows(detection):
            handler = getattr(detection, sumstat.finished_handler)
            self._faults.call(detection, sumstat.finished_handler, handler, epoch)
            yield from self._newly_switched_off(told.end)

    def _report(self, crossings: Iterable[_Crossing]) -> Iterator[AlertRecord]:
        for crossing in crossings:
            if crossing.judged.sumstat.handler and self._faults.allows(crossing.judged.detection):
                yield from self._call(crossing, crossing.judged.sumstat.handler)

    def _call(self, crossing: _Crossing, handler: str, *epoch: Epoch) -> Iterator[AlertRecord]:
        """Call a detection's handler, and give the alert that comes of it, if any."""
        judged = crossing.judged
        alert = self._faults.call(judged.detection, handler, self._alert, crossing, handler, *epoch)
        if alert is not None:
            self.alerts += 1
            yield alert
        yield from self._newly_switched_off(crossing.ts)

    def _newly_switched_off(self, ts: int) -> Iterator[AlertRecord]:
        for name in self._faults.take_unreported():
            yield self._switched_off(DetectionSwitchedOff("manager", name, ts))

    def _alert(self, crossing: _Crossing, handler: str, *epoch: Epoch) -> AlertRecord | None:
        detection, sumstat = crossing.judged.detection, crossing.judged.sumstat
        key = sumstat.key.unpack(crossing.words.tolist())
        seen = sumstat.seen(crossing.result, max(crossing.level, 0), crossing.value)
        alert = getattr(detection, handler)(key, seen, *epoch)
        if alert is None:
            return None
        record = _record(crossing, key, alert)
        admitted = self.suppressor.admits(detection.name, alert, record.src, crossing.ts, crossing.level)
        if not epoch:
            self._silence(crossing, key, alert)
        return record if admitted else None

    def _silence(self, crossing: _Crossing, key: Any, alert: Alert) -> None:
        """Tell workers that a key need not be counted while all that it could bring about is folded into this alert."""
        definition = crossing.judged.collector.definition
        levels = range(len(_levels(crossing)))
        if definition.wants_results or alert.same_as != key or crossing.level + 1 < len(levels):
            return
        until = [self.suppressor.until(crossing.judged.detection.name, alert, level) for level in levels]
        known = [each for each in until if each is not None]
        if len(known) == len(levels):
            self._messages.append(ClusterThresholdCrossed(definition.name, crossing.words[np.newaxis], min(known)))

    def _switched_off(self, message: DetectionSwitchedOff) -> AlertRecord:
        self.alerts += 1
        ts = rfc3339(message.ts)
        return AlertRecord(
            id=alert_id(message.detection, "switched_off", message.worker.encode(), 0, 0),
            ts=ts,
            first_seen=ts,
            last_seen=ts,
            detection=message.detection,
            kind="switched_off",
            severity="high",
            message=f"{message.detection} raised too often on {message.worker} and is switched off there",
            version=self._detections[message.detection].version,
            workers=[message.worker],
        )


def _before(crossings: Sequence[_Crossing], judged: _Judged, told: Told) -> int:
    """How many of the crossings stand before what comes of an epoch's end.

    Input may end at the very time of a crossing, and with it the epoch: the crossing is of that epoch all the same.
    """
    count = next((i for i, each in enumerate(crossings) if each.ts >= told.end), len(crossings))
    own = [i for i, each in enumerate(crossings) if each.judged is judged and each.epoch <= told.epoch]
    return max([count, *(each + 1 for each in own)])


def _crossings(judged: _Judged, merged: Merged, ts: np.ndarray, order: np.ndarray) -> list[_Crossing]:
    definition, partial = judged.collector.definition, merged.partial
    found = zip(partial.keys, results(definition, partial), merged.value.tolist(), strict=True)
    when = zip(merged.level.tolist(), ts.tolist(), order.tolist(), strict=True)
    return [
        _Crossing(judged, merged.epoch, *at, *key, merged.members, merged.missing, not merged.missing)
        for at, key in zip(when, found, strict=True)
    ]


def _levels(crossing: _Crossing) -> np.ndarray:
    """The levels of the key's rule, one number each: those of the first reducer that is named."""
    threshold = crossing.judged.collector.definition.threshold
    assert threshold is not None
    rule = int(threshold.rule_of(crossing.words[np.newaxis])[0])
    levels: np.ndarray = threshold.table[rule, : threshold.counts[rule], 0]
    return levels


def _record(crossing: _Crossing, key: Any, alert: Alert) -> AlertRecord:
    detection, sumstat, result = crossing.judged.detection, crossing.judged.sumstat, crossing.result
    is_crossing = crossing.level >= 0
    name = sumstat.name if is_crossing else f"{sumstat.name}.{sumstat.result_handler}"
    return AlertRecord(
        id=alert_id(detection.name, name, crossing.words.tobytes(), crossing.epoch, max(crossing.level, 0)),
        ts=rfc3339(crossing.ts),
        first_seen=rfc3339(result.begin),
        last_seen=rfc3339(result.end),
        detection=detection.name,
        kind=alert.kind,
        severity=alert.severity or detection.severity,
        message=alert.message,
        src=_text(alert.src, key, "orig_h"),
        dst=_text(alert.dst, key, "resp_h"),
        port=getattr(key, "resp_p", None) if alert.port is None else alert.port,
        proto=alert.proto,
        value=_number(crossing.value) if is_crossing else None,
        threshold=_number(float(_levels(crossing)[crossing.level])) if is_crossing else None,
        sample=[each if isinstance(each, int | float) else str(each) for each in alert.sample],
        epoch=crossing.epoch,
        complete=crossing.complete,
        missing=list(crossing.missing),
        attack=detection.attack,
        version=detection.version,
        workers=list(crossing.members),
    )


def _number(value: float) -> float:
    return int(value) if value.is_integer() else value


def _text(given: Any, key: Any, part: str) -> str | None:
    value = getattr(key, part, None) if given is None else given
    return None if value is None else str(value)
