"""Crossings: keys whose merged results have reached levels, with all that is said of them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sensor.alerts import alert_id
from sensor.detection import Detection, SumStat
from sensor.sumstats import Definition, Merged, Partial, Result, results


@dataclass(frozen=True)
class Judged:
    """A SumStat, and the detection that says what crossing its threshold means."""

    detection: Detection
    sumstat: SumStat
    definition: Definition


@dataclass(frozen=True)
class Crossing:
    """A key whose merged result has reached a level (-1: none; its epoch is over)."""

    judged: Judged
    epoch: int
    level: int
    ts: int
    """When it did: where that is not known, when the key was last observed."""
    end: int
    """When its epoch was over; before that, `ts`."""
    words: np.ndarray
    result: Result
    value: float
    members: tuple[str, ...]
    missing: tuple[str, ...] = ()
    complete: bool = True
    late: bool = False
    """Its epoch had been over before some of this came."""
    source: tuple[Partial, int] | None = None
    """Its merged window, and which key of it this is."""

    @cached_property
    def key(self) -> Any:
        """The key as its detection sees it."""
        return self.judged.sumstat.key.unpack(self.words.tolist())

    @cached_property
    def id(self) -> str:
        """The id of its alert."""
        name = self.judged.sumstat.name
        if self.level < 0:
            name = f"{name}.{self.judged.sumstat.result_handler}"
        if self.late:  # what was said of that epoch before may be about less of the key
            name = f"{name}.late"
        return alert_id(self.judged.detection.name, name, self.words.tobytes(), self.epoch, max(self.level, 0))

    @cached_property
    def levels(self) -> np.ndarray:
        """The levels of the key's rule, one number each: those of the first reducer that is named."""
        threshold = self.judged.definition.threshold
        assert threshold is not None
        rule = int(threshold.rule_of(self.words[np.newaxis])[0])
        levels: np.ndarray = threshold.table[rule, : threshold.counts[rule], 0]
        return levels

    @property
    def threshold(self) -> float:
        """The level that was reached; NaN: none."""
        return float(self.levels[self.level]) if self.level >= 0 else np.nan


def crossings(judged: Judged, merged: Merged, ts: np.ndarray | None = None) -> list[Crossing]:
    """The levels that keys reached, one by one, at times `ts` (int64) if those are known."""
    partial = merged.partial
    rows = zip(partial.keys, results(judged.definition, partial), merged.value.tolist(), strict=True)
    found = []
    for at, (words, result, value) in enumerate(rows):
        when = result.end if ts is None else int(ts[at])
        crossing = Crossing(
            judged=judged,
            epoch=merged.epoch,
            level=int(merged.level[at]),
            ts=when,
            end=merged.end or when,
            words=words.copy(),
            result=result,
            value=value,
            members=merged.members,
            missing=merged.missing,
            complete=not (merged.missing or merged.late),
            late=merged.late,
            source=(partial, at),
        )
        found.append(crossing)
    return found
