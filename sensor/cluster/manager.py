"""The manager: merges what workers report, judges it against the thresholds, and raises alerts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensor.alerts import Alert, AlertRecord, Suppressor, alert_id
from sensor.clock import rfc3339
from sensor.cluster.messages import (
    ClusterKeyIntermediateResponse,
    ClusterSsResponse,
    Counts,
    DetectionSwitchedOff,
    Heartbeat,
    Message,
)
from sensor.detection import Detection, SumStat
from sensor.detection.feed import Faults
from sensor.hash import new_key
from sensor.sumstats import Definition, Result, Store


@dataclass(frozen=True)
class _Judged:
    """A SumStat with thresholds and the detection that says what crossing them means."""

    detection: Detection
    sumstat: SumStat
    definition: Definition


@dataclass(frozen=True)
class _Crossing:
    """One key's merged result at or over every threshold."""

    judged: _Judged
    epoch: int
    ts: int
    order: int
    words: np.ndarray
    result: Result
    worker: str


class Manager:
    """Judges every key of every epoch once a level, on the merged value, and folds repeats into incidents."""

    def __init__(self, detections: Sequence[Detection]) -> None:
        self.alerts = 0
        self.suppressor = Suppressor()
        self._faults = Faults()
        self._detections = {each.name: each for each in detections}
        self._judged: dict[str, _Judged] = {}
        for each in detections:
            for name, definition in each.define().items():
                self._judged[definition.name] = _Judged(each, each.sumstats[name], definition)
        self._secret = new_key()
        self._crossed: dict[tuple[str, int], set[bytes]] = {}
        self._counts: dict[str, Counts] = {}

    @property
    def workers(self) -> list[str]:
        """The workers that have been heard of."""
        return sorted(self._counts)

    def receive(self, messages: Iterable[Message]) -> Iterator[AlertRecord]:
        """Take the messages that arrived together; give the alerts that they bring about, in order of the crossings."""
        crossings: list[_Crossing] = []
        ended: list[ClusterSsResponse] = []
        for message in messages:
            match message:
                case Heartbeat():
                    self._counts[message.worker] = message.counts
                case DetectionSwitchedOff():
                    yield self._switched_off(message)
                case ClusterKeyIntermediateResponse():
                    crossings += self._judge(message, message.ts, message.order)
                case ClusterSsResponse():
                    ended.append(message)
        yield from self._report(sorted(crossings, key=lambda each: each.order))
        for message in ended:
            n = len(message.partial)
            yield from self._report(self._judge(message, np.full(n, message.end), np.zeros(n, np.int64)))
            self._crossed.pop((message.sumstat, message.epoch), None)

    def counts(self) -> Counts:
        """What has become of all workers' packets so far, with the faults of detections here as well as there."""
        return sum(self._counts.values(), Counts(faults=dict(self._faults.counts)))

    def _judge(
        self, message: ClusterKeyIntermediateResponse | ClusterSsResponse, ts: np.ndarray, order: np.ndarray
    ) -> list[_Crossing]:
        judged = self._judged[message.sumstat]
        if not judged.sumstat.handler:
            return []
        store = Store(judged.definition, self._secret)
        rows = store.merge(message.partial)
        found = zip(rows.tolist(), store.results(rows), strict=True)
        return [
            _Crossing(
                judged, message.epoch, int(ts[row]), int(order[row]), message.partial.keys[row], result, message.worker
            )
            for row, result in found
        ]

    def _report(self, crossings: Iterable[_Crossing]) -> Iterator[AlertRecord]:
        for crossing in crossings:
            judged = crossing.judged
            crossed = self._crossed.setdefault((judged.definition.name, crossing.epoch), set())
            if crossing.words.tobytes() in crossed or not self._faults.allows(judged.detection):
                continue
            crossed.add(crossing.words.tobytes())
            alert = self._faults.call(judged.detection, judged.sumstat.handler, self._alert, crossing)
            if alert is not None:
                self.alerts += 1
                yield alert
            for name in self._faults.take_unreported():
                yield self._switched_off(DetectionSwitchedOff("manager", name, crossing.ts))

    def _alert(self, crossing: _Crossing) -> AlertRecord | None:
        detection, sumstat = crossing.judged.detection, crossing.judged.sumstat
        key = sumstat.key.unpack(crossing.words.tolist())
        alert = getattr(detection, sumstat.handler)(key, sumstat.seen(crossing.result))
        if alert is None:
            return None
        record = _record(crossing, key, alert)
        return record if self.suppressor.admits(detection.name, alert, record.src, crossing.ts) else None

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


def _record(crossing: _Crossing, key: Any, alert: Alert) -> AlertRecord:
    detection, sumstat, result = crossing.judged.detection, crossing.judged.sumstat, crossing.result
    judged_by = next(iter(sumstat.levels))
    return AlertRecord(
        id=alert_id(detection.name, sumstat.name, crossing.words.tobytes(), crossing.epoch, 0),
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
        value=getattr(result.values[judged_by], crossing.judged.definition.reducer(judged_by).calculation.lower()),
        threshold=sumstat.level(judged_by, detection.settings),
        sample=[each if isinstance(each, int | float) else str(each) for each in alert.sample],
        epoch=crossing.epoch,
        attack=detection.attack,
        version=detection.version,
        workers=[crossing.worker],
    )


def _text(given: Any, key: Any, part: str) -> str | None:
    value = getattr(key, part, None) if given is None else given
    return None if value is None else str(value)
