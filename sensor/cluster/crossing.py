"""Crossings: keys whose merged results have reached threshold levels, with the data for their alerts."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sensor.alerts import alert_id
from sensor.detection import Detection, SumStat
from sensor.sumstats import Definition, Merged, Partial, Result, results


@dataclass(frozen=True)
class Judged:
    """A SumStat, and the detection that interprets its threshold crossings."""

    detection: Detection
    sumstat: SumStat
    definition: Definition


@dataclass(frozen=True)
class Crossing:
    """A key whose merged result has reached a level (-1: none; the crossing carries the result of an ended epoch)."""

    judged: Judged
    epoch: int
    level: int
    ts: int
    """The time (ns) the level was reached; if unknown, the key's last observation."""
    end: int
    """The time (ns) its epoch was over; before that, equal to `ts`."""
    words: np.ndarray
    result: Result
    value: float
    members: tuple[str, ...]
    missing: tuple[str, ...] = ()
    complete: bool = True
    late: bool = False
    """True if some of the results came after the epoch was over."""
    source: tuple[Partial, int] | None = None
    """The merged window, and the index of this key in it."""

    @cached_property
    def key(self) -> Any:
        """The key in the form that its detection uses."""
        return self.judged.sumstat.key.unpack(self.words.tolist())

    @cached_property
    def id(self) -> str:
        """The id of the alert."""
        name = self.judged.sumstat.name
        if self.level < 0:
            name = f"{name}.{self.judged.sumstat.result_handler}"
        if self.late:  # an earlier alert of that epoch may be based on fewer of the key's observations
            name = f"{name}.late"
        return alert_id(self.judged.detection.name, name, self.words.tobytes(), self.epoch, max(self.level, 0))

    @cached_property
    def levels(self) -> np.ndarray:
        """The levels of the key's rule (float64), for the first reducer that the threshold names."""
        threshold = self.judged.definition.threshold
        assert threshold is not None
        rule = int(threshold.rule_of(self.words[np.newaxis])[0])
        levels: np.ndarray = threshold.table[rule, : threshold.counts[rule], 0]
        return levels

    @property
    def threshold(self) -> float:
        """The level that was reached; NaN if none was."""
        return float(self.levels[self.level]) if self.level >= 0 else np.nan


def crossings(judged: Judged, merged: Merged, ts: np.ndarray | None = None) -> list[Crossing]:
    """Return one crossing for each level that a key reached, at times `ts` (int64 ns) if known."""
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
