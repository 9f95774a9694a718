"""Standing alerts: alerts whose keys are still counted, with updates as they grow and when they end.

An alert is updated when its value is at least twice the last reported one, and when it ends, because its key rests or
the input has ended. The update has the first and last observation, the value and the message for the whole time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from sensor.alerts import AlertRecord, State
from sensor.cluster.alerter import Alerter, Told
from sensor.cluster.crossing import Crossing
from sensor.sumstats import Collector, EpochResult, Partial, results

_GROWN = 2.0

Key = tuple[str, bytes]
"""A SumStat's name, and the words of a key as bytes."""


@dataclass(frozen=True)
class StandingAlert:
    """A standing alert with the values last reported."""

    crossing: Crossing
    record: AlertRecord


class StandingAlerts:
    """The standing alerts of all SumStats; `alerter` calls their detections."""

    def __init__(self, alerter: Alerter) -> None:
        self._alerter = alerter
        self.known: dict[Key, StandingAlert] = {}

    def id_of(self, sumstat: str, words: np.ndarray) -> str | None:
        """Return the id of the alert that stands about a key; None if there is none."""
        known = self.known.get((sumstat, words.tobytes()))
        return known.record.id if known else None

    def begin(self, alerts: Iterable[StandingAlert], collector: Collector) -> Iterator[Told]:
        """Add standing alerts and count their keys further, as far as there is room; end earlier ones of these keys."""
        name = collector.definition.name
        latest = {each.crossing.words.tobytes(): each for each in alerts}
        for key, each in latest.items():
            if (name, key) in self.known:
                yield from self._end(collector, each.crossing.words[np.newaxis], each.crossing.end)
        for window, own in _by_window(latest.values()):
            room = collector.following.begin(window, collector.closed)
            self.known.update(((name, each.crossing.words.tobytes()), each) for each in own[:room])

    def close_epoch(self, collector: Collector, ended: EpochResult) -> Iterator[Told]:
        """Yield updates at an epoch's end: of alerts that have grown, and of those that end as their keys rest."""
        following = collector.following
        if ended.missing:
            self._lack(collector.definition.name, ended.missing)
        touched = following.touched(ended.epoch)
        if len(touched):
            yield from self._tell(collector, touched, ended.end, _GROWN, "open")
        resting = following.resting(ended.epoch)
        if len(resting):
            yield from self._end(collector, resting, ended.end)
            collector.resume(resting, ended.epoch + 1)  # so that these keys are counted again when they return

    def _lack(self, name: str, missing: tuple[str, ...]) -> None:
        """Add missing members of an epoch to all standing alerts of a SumStat."""
        for key, known in [each for each in self.known.items() if each[0][0] == name]:
            every = tuple(sorted({*known.crossing.missing, *missing}))
            self.known[key] = replace(known, crossing=replace(known.crossing, missing=every, complete=False))

    def conclude(self, collectors: Iterable[Collector]) -> Iterator[Told]:
        """End all standing alerts: input has ended, or the clocks have restarted."""
        for collector in collectors:
            if len(keys := collector.following.keys):
                yield from self._end(collector, keys)

    def _end(self, collector: Collector, keys: np.ndarray, end: int | None = None) -> Iterator[Told]:
        yield from self._tell(collector, keys, end, 0.0, "ended")
        collector.following.end(keys)
        for words in keys:
            del self.known[collector.definition.name, words.tobytes()]

    def _tell(
        self,
        collector: Collector,
        keys: np.ndarray,
        end: int | None,
        least: float,
        state: State,
    ) -> Iterator[Told]:
        """Yield updates of those keys that have `least` times the last reported value and new observations."""
        name, values = collector.definition.name, collector.following.values(keys)
        before = [self.known[name, words.tobytes()] for words in keys]
        said = np.array([each.crossing.value for each in before])
        rows = np.flatnonzero(values >= least * said)
        partial = collector.following.partial(keys[rows])
        for row, result in zip(rows.tolist(), results(collector.definition, partial), strict=True):
            known = before[row].crossing
            if result.num == known.result.num:
                continue
            now = replace(known, result=result, value=float(values[row]), end=end or max(known.end, result.end))
            told = self._alerter.update(now, before[row].record, state)
            self.known[name, keys[row].tobytes()] = StandingAlert(now, before[row].record)
            yield told


def _by_window(alerts: Iterable[StandingAlert]) -> Iterator[tuple[Partial, list[StandingAlert]]]:
    """Group alerts by merged window, as taking their keys out one by one is far slower."""
    found: dict[int, tuple[Partial, list[int], list[StandingAlert]]] = {}
    for each in alerts:
        if each.crossing.source is not None:
            window, at = each.crossing.source
            _, rows, own = found.setdefault(id(window), (window, [], []))
            rows.append(at)
            own.append(each)
    for window, rows, own in found.values():
        yield window.take(own[0].crossing.judged.definition, np.array(rows)), own
