"""The check: whether a run told what it should have, by one process that saw all, or by all that there was.

Where nothing may be missing, results and standing alerts are equal to those of one process without faults. Where
something may, an epoch that lacks observations must say so and name whose; none may have more than there was.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from typing import Any

import msgspec
import numpy as np

from sensor.alerts import AlertRecord, AlertUpdate, identify
from tools.simulation import alone, detections, workload
from tools.simulation.detections import Told
from tools.simulation.manager import Heard
from tools.simulation.named import unjustified
from tools.simulation.run import Outcome
from tools.simulation.workload import PACE, WORKERS_BASE

_decoder: msgspec.json.Decoder[AlertRecord | AlertUpdate] = msgspec.json.Decoder(AlertRecord | AlertUpdate)

Standing = dict[str, tuple[Any, ...]]
_MOST = 6
"""Differences that are told of one kind."""


def differences(outcome: Outcome) -> list[str]:
    """What is wrong with a run, for people; empty if nothing is."""
    found = [*_in_file(outcome), *_known(outcome), *_incomplete(outcome)]
    if outcome.plan.is_exact:
        expected = alone.run(outcome.input, outcome.plan.by_time)
        by_time = {about: told for about, told in outcome.heard.results.items() if told.sumstat != "by_hand"}
        ends = outcome.plan.skews  # of one clock the input ends in an epoch that another has come past without a word
        found += _same("result", *(_without_ends(each) if ends else each for each in (expected.results, by_time)))
        found += _same("standing alert", standing(list(expected.alerts.values())), standing(outcome.lines))
    else:
        found += Truth(outcome).differences()
    if outcome.plan.ends_by_hand is not None:
        found += _by_hand(outcome)
    return found + list(unjustified(outcome))


def _without_ends(results: dict[Any, Told]) -> dict[Any, Told]:
    return {about: replace(told, end=0) for about, told in results.items()}


def standing(lines: list[bytes]) -> Standing:
    """The alerts that stand when all is over, by id: what each is about, its level, and its final figures."""
    told = [_decoder.decode(line) for line in lines if identify(line)]
    alerts = {each.id: each for each in told if isinstance(each, AlertRecord)}
    final: dict[str, AlertRecord | AlertUpdate] = dict(alerts)
    for each in told:
        if isinstance(each, AlertUpdate):
            final[each.id] = each
            if each.folded_into is not None or each.state == "withdrawn":
                del final[each.id]
    return {id: _about(alerts[id], last) for id, last in final.items()}


def _about(alert: AlertRecord, last: AlertRecord | AlertUpdate) -> tuple[Any, ...]:
    whose = alert.detection, last.port, alert.epoch, alert.threshold
    said = last.kind, last.severity, last.src, last.dst, last.message
    return *whose, last.value, last.first_seen, last.last_seen, last.complete, *said


def _same(what: str, expected: dict[Any, Any], found: dict[Any, Any]) -> Iterator[str]:
    wrong = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
    for key in wrong[:_MOST]:
        yield f"{what} {key}:\n  expected {expected.get(key)}\n  found    {found.get(key)}"
    if len(wrong) > _MOST:
        yield f"and {len(wrong) - _MOST} more of kind {what}"


def _in_file(outcome: Outcome) -> Iterator[str]:
    """The file has each alert that was told exactly once, and no other; what a crash has torn may be left."""
    written = Counter(identify(line) for line in outcome.lines)
    if written.pop(None, 0) and not outcome.counts["crashes"]:  # what one has torn may look like several lines
        yield "lines of the file cannot be read, and there was no crash"
    for id in sorted(written.keys() | outcome.heard.alerts.keys(), key=str):
        if written[id] != (id in outcome.heard.alerts):
            yield f"alert {id}: {written[id]} times in the file, told: {id in outcome.heard.alerts}"
    for line in outcome.lines:
        if outcome.heard.alerts.get(identify(line) or "") not in (None, line):
            yield f"alert {identify(line)}: the file has another line than was told"


def _incomplete(outcome: Outcome) -> Iterator[str]:
    """Final figures of an epoch that lacks somebody say so; there are none where all that is known of a key is lost."""
    told = [_decoder.decode(line) for line in outcome.lines if identify(line)]
    epochs = {each.id: (each.detection, each.epoch) for each in told if isinstance(each, AlertRecord)}
    for each in told:
        is_final = isinstance(each, AlertUpdate) or not outcome.plan.early
        result = outcome.heard.results.get(epochs.get(each.id, ("", 0)))
        if is_final and each.complete and result is not None and result.missing:
            yield f"{each}:\n  it says that it is complete, and its epoch is not: {result}"


def _by_hand(outcome: Outcome) -> Iterator[str]:
    """Of epochs that end by hand, all together have what there was, or say whose is missing; none has it twice.

    One that has left, or died and had nothing more to see, takes with it what it saw in the last epoch, where nobody
    has ended that: there is none to say so. Nor does any where no end of the epoch in which one died ever came.
    Nor is there where one that joins is heard of only when all of them are over.
    """
    told = [each for each in outcome.heard.results.values() if each.sumstat == "by_hand"]
    seen = np.bincount(outcome.input.observations.worker, minlength=workload.MOST_WORKERS).tolist()
    counted = _each(sum(by for each in told for _, by in each.keys.values()))
    named = {name for each in told for name in each.missing}
    for name, there, have in zip(workload.names(workload.MOST_WORKERS), seen, counted, strict=True):
        history, last = outcome.history, max((each.epoch for each in told), default=-1)
        is_excused = name in named | history.admitted.keys() or history.died.get(name, -1) > last
        is_excused |= any(until >= outcome.input.edges[-1] for _, until in history.gaps[name])
        if have > there or (have < there and not is_excused):
            yield f"by hand: {have} of {there} observations of {name} were told, and {sorted(named)} are missing"


def _known(outcome: Outcome) -> Iterator[str]:
    """An update is of an alert that was told."""
    alerts = {identify(line) for line in outcome.lines}
    for id in alerts:
        if id and id.partition(" update")[0] not in alerts:
            yield f"alert {id}: there is no such alert"


@dataclass(frozen=True)
class Truth:
    """All that there was to observe in a run, by brute force."""

    outcome: Outcome

    def differences(self) -> list[str]:
        """What was told and cannot be, or was not told and had to be."""
        found: list[str] = []
        for told in self.outcome.heard.results.values():
            found += self._in_result(told)
        for about in standing(self.outcome.lines).values():
            found += self._in_alert(*about[:5])
        return found + list(self._missed()) + list(self._lost())

    @cached_property
    def _sums(self) -> dict[tuple[str, int], dict[int, tuple[float, int, int]]]:
        """By SumStat and epoch, by key: the total, whose observations, and how many elements."""
        all = self.outcome.input.observations
        sums: dict[tuple[str, int], dict[int, tuple[float, int, int]]] = {}
        for name, definition in detections.definitions(self.outcome.plan.by_time).items():
            panes = self.outcome.input.panes(definition.pane_ns)
            again = self.outcome.input.first_again(definition.pane_ns)
            for last in range(int(panes.min()), int(panes.max()) + definition.panes):
                first = max(last + 1 - definition.panes, again if last >= again else 0)
                own = all.where((panes >= first) & (panes <= last))
                sums[name, last] = {int(key): _sum(own.where(own.key == key)) for key in np.unique(own.key)}
        return sums

    def _in_result(self, told: Told) -> Iterator[str]:
        names = workload.names(WORKERS_BASE.bit_length())
        truth = self._sums.get((told.sumstat, told.epoch), {})
        lost = set[str]()
        if told.sumstat in _WITH_RESULTS:
            for key in truth.keys() | told.keys.keys():
                own, (total, by) = truth.get(key, (0.0, 0, 0)), told.keys.get(key, (0.0, 0))
                fewer = [a - b for a, b in zip(_each(own[1]), _each(by), strict=True)]
                if min(fewer) < 0 or total > own[0]:
                    yield f"{told}:\n  key {key} has more than there was: {own}"
                lost |= {name for name, count in zip(names, fewer, strict=False) if count > 0}
        named = set(told.missing) | self._unheard_of(told)
        if (lost and not lost <= named) or (lost - self._unheard_of(told) and told.complete):
            yield f"{told}:\n  observations of {sorted(lost)} are not in it, and it does not say so"
        if not lost and told.complete and told.sumstat in _WITH_RESULTS:
            whole = {key: own[:2] for key, own in truth.items()}
            if whole != told.keys:
                yield f"{told}:\n  should be {whole}"

    def _unheard_of(self, told: Told) -> set[str]:
        """The workers that saw some of a window, part of which was over before the manager heard of them.

        One observes while its hello gets lost, and cannot be missing where nobody could know of it.
        """
        pane = detections.definitions(self.outcome.plan.detections)[told.sumstat].pane_ns
        over = (min(told.start + pane, told.end) - self.outcome.input.start) / PACE
        admitted = self.outcome.history.admitted
        late = {join.node for join in self.outcome.plan.joins if over <= admitted.get(join.node, inf)}
        late |= self.outcome.history.removed.keys()  # what it would have seen nobody knows
        seen = [_each(by) for _, by, _ in self._sums.get((told.sumstat, told.epoch), {}).values()]
        return {name for name in late if any(each[workload.number(name)] for each in seen)}

    def _in_alert(self, detection: str, key: int, epoch: int, level: float, value: float) -> Iterator[str]:
        total, _, elements = self._sums.get((detection, epoch), {}).get(key, (0.0, 0, 0))
        most = total if detection in _WITH_RESULTS else elements
        if not level <= most or value > (most if detection in _OF_ONE_EPOCH else self._ever(detection, key)):
            yield f"alert of {detection} about {key} in epoch {epoch}: {value} of {level}, and there were {most}"

    def _ever(self, detection: str, key: int) -> float:
        """What an alert of a key that is counted on can come to."""
        all = self.outcome.input.observations
        total, _, elements = _sum(all.where(all.key == key))
        return total if detection in _WITH_RESULTS else elements

    def _missed(self) -> Iterator[str]:
        """Alerts that complete epochs should have brought."""
        alerts = [about[:4] for about in standing(self.outcome.lines).values()]
        told = {about[:2] for about in alerts}
        for sumstat, level in (("volume", 12), ("volume", 30), ("volume", 31), ("volume", 60), ("spread", 6)):
            for (name, epoch), keys in self._sums.items():
                result = self.outcome.heard.results.get((name, epoch))
                if name != sumstat or result is None or not result.complete or self._unheard_of(result):
                    continue
                for key, (total, _, elements) in keys.items():
                    if name == "volume":
                        is_missed = total >= level and (name, key, epoch, level) not in alerts
                    else:  # a repeat is folded into one that went out
                        is_missed = elements >= level and not {(name, key), ("broad", key), ("weighed", key)} & told
                    if is_missed:
                        yield f"{name} about {key} in epoch {epoch} came to {total} or {elements}, and nothing was told"

    def _lost(self) -> Iterator[str]:
        """Alerts that there should be, on time or late, where all that was observed has come in the end."""
        history, plan = self.outcome.history, self.outcome.plan
        if any(history.gaps.values()) or history.given_up or plan.joins or plan.leaves or plan.steps_back:
            return  # what comes late of a time before the clock began anew is counted
        told = {about[:4] for about in standing(self.outcome.lines).values()}
        about = {each[:2] for each in told}
        for (name, epoch), keys in self._sums.items():
            for key, (total, _, elements) in keys.items():
                value = total if name in _WITH_RESULTS else elements
                reached = [level for level in _LEVELS.get(name, ()) if value >= level]
                folded = {(name, key), *((each, key) for each in ("broad", "weighed") if name == "spread")}
                for level in reached:
                    if (name, key, epoch, level) not in told if name == "volume" else not folded & about:
                        yield f"{name} about {key} in epoch {epoch} came to {total} or {elements}, and was never told"


_WITH_RESULTS = {"volume", "windows"}
_OF_ONE_EPOCH = {"volume"}
_LEVELS = {"volume": (12, 30, 31, 60), "spread": (6,), "broad": (9,), "windows": (40,)}


def _sum(own: workload.Observations) -> tuple[float, int, int]:
    by = sum(WORKERS_BASE**worker for worker in own.worker.tolist())
    return float(own.amount.sum()), by, len(np.unique(own.element))


def _each(by: int) -> list[int]:
    """How many observations of each worker."""
    return [by // WORKERS_BASE**at % WORKERS_BASE for at in range(workload.MOST_WORKERS)]


def incomplete(heard: Heard) -> int:
    """How many epochs say that they lack something."""
    return sum(not told.complete for told in heard.results.values())
