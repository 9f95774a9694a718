"""AVERAGE: the mean of the observed values."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sensor.sumstats.calculation import Arrays, Value, rows_of
from sensor.sumstats.calculations.sum import TotalState


@dataclass(frozen=True, slots=True)
class Mean(Value):
    """The result of AVERAGE."""

    average: float | None
    """None with no observation."""


@dataclass(frozen=True)
class Average(TotalState):
    """The mean: the exact total over `num`, so that merging weighs nothing and loses nothing."""

    calculation: ClassVar[str] = "AVERAGE"

    def values(self, num: np.ndarray, states: Arrays) -> np.ndarray:
        """The mean, or NaN."""
        means = np.full(len(num), np.nan)
        np.divide(states["state"]["high"], num, out=means, where=num > 0)
        return means

    def results(self, headers: np.ndarray, states: Arrays) -> list[Value]:
        """A `Mean` a key."""
        rows = zip(rows_of(headers), self.values(headers["num"], states).tolist(), strict=True)
        return [Mean(*header, mean if header[0] else None) for header, mean in rows]
