"""MIN and MAX: the least and the greatest observed value."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sensor._jit import njit
from sensor.sumstats.calculation import Arrays, RowBatch, Scalar, Value, rows_of


@njit
def _lower(state, rows, values, applies, sign, after):
    """Take each value, times `sign`, if it is below its row's; the greatest is the least of what is turned round."""
    watch = after.shape[0] > 0
    for i in range(rows.shape[0]):
        row = rows[i]
        if row < 0:
            continue
        if applies[i] and sign * values[i] < state[row]:
            state[row] = sign * values[i]
        if watch:
            after[i] = state[row]


_UNWATCHED = np.empty(0)


class _Extreme(Scalar):
    empty: ClassVar[np.ndarray] = np.array(np.inf)
    sign: ClassVar[float]

    def update(self, state: np.ndarray, batch: RowBatch, values: np.ndarray, after: np.ndarray) -> None:
        """Take the values; NaN is passed over."""
        _lower(state, batch.rows, values, batch.applies, self.sign, after)

    def merge(self, state: np.ndarray, rows: np.ndarray, other: np.ndarray) -> None:
        """Take the other extremes."""
        _lower(state, rows, other * self.sign, np.ones(len(rows), np.bool_), self.sign, _UNWATCHED)

    def values(self, num: np.ndarray, states: Arrays) -> np.ndarray:
        """The extreme, or NaN."""
        return np.where(num > 0, states["state"] * self.sign, np.nan)


@dataclass(frozen=True, slots=True)
class Least(Value):
    """The result of MIN."""

    min: float | None
    """None with no observation."""


@dataclass(frozen=True, slots=True)
class Greatest(Value):
    """The result of MAX."""

    max: float | None
    """None with no observation."""


@dataclass(frozen=True)
class Min(_Extreme):
    """The least value."""

    calculation: ClassVar[str] = "MIN"
    sign: ClassVar[float] = 1.0

    def results(self, headers: np.ndarray, states: Arrays) -> list[Value]:
        """A `Least` a key."""
        rows = zip(rows_of(headers), self.values(headers["num"], states).tolist(), strict=True)
        return [Least(*header, least if header[0] else None) for header, least in rows]


@dataclass(frozen=True)
class Max(_Extreme):
    """The greatest value."""

    calculation: ClassVar[str] = "MAX"
    grows: ClassVar[bool] = True
    sign: ClassVar[float] = -1.0

    def results(self, headers: np.ndarray, states: Arrays) -> list[Value]:
        """A `Greatest` a key."""
        rows = zip(rows_of(headers), self.values(headers["num"], states).tolist(), strict=True)
        return [Greatest(*header, greatest if header[0] else None) for header, greatest in rows]
