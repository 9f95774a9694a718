"""SUM: the total of the observed values."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sensor._jit import njit
from sensor.sumstats.calculation import Arrays, RowBatch, Scalar, Value, rows_of
from sensor.sumstats.double_double import add, add_twofold

TOTAL = np.dtype([("high", "<f8"), ("low", "<f8")])
"""A sum as `double_double` holds it."""

_FLOAT_IS_INTEGER = 2.0**53  # from here on every float is one, and not every integer a float


@njit
def _update(state, rows, values, applies, after):
    """Add each value to its row's total."""
    watch = after.shape[0] > 0
    for i in range(rows.shape[0]):
        row = rows[i]
        if row < 0:
            continue
        if applies[i]:
            high, low = add(state[row]["high"], state[row]["low"], values[i])
            state[row]["high"] = high
            state[row]["low"] = low
        if watch:
            after[i]["high"] = state[row]["high"]
            after[i]["low"] = state[row]["low"]


@njit
def _merge(state, rows, other):
    """Add each other total to its row's."""
    for i in range(rows.shape[0]):
        row = rows[i]
        if row >= 0:
            high, low = add_twofold(state[row]["high"], state[row]["low"], other[i]["high"], other[i]["low"])
            state[row]["high"] = high
            state[row]["low"] = low


@dataclass(frozen=True, slots=True)
class Total(Value):
    """The result of SUM."""

    sum: float
    """0.0 with no observation; an int where a float cannot hold the whole number, beyond 2**53."""


class TotalState(Scalar):
    """A reducer whose state is the total of the values."""

    empty: ClassVar[np.ndarray] = np.zeros((), TOTAL)

    def update(self, state: np.ndarray, batch: RowBatch, values: np.ndarray, after: np.ndarray) -> None:
        """Add the values."""
        _update(state, batch.rows, values, batch.applies, after)

    def merge(self, state: np.ndarray, rows: np.ndarray, other: np.ndarray) -> None:
        """Add the other totals."""
        _merge(state, rows, other)


@dataclass(frozen=True)
class Sum(TotalState):
    """The total of the values: integers without rounding (to 2**106), others as if rounded once."""

    calculation: ClassVar[str] = "SUM"
    grows: ClassVar[bool] = True
    is_exact: ClassVar[bool] = True

    def values(self, num: np.ndarray, states: Arrays) -> np.ndarray:
        """The sum, as the nearest float."""
        return states["state"]["high"]

    def results(self, headers: np.ndarray, states: Arrays) -> list[Value]:
        """A `Total` a key."""
        rows = zip(rows_of(headers), states["state"].tolist(), strict=True)
        return [Total(*header, _whole(*total)) for header, total in rows]


def _whole(high: float, low: float) -> float:
    exact_as_int = _FLOAT_IS_INTEGER <= abs(high) < float("inf") and low.is_integer()
    return int(high) + int(low) if exact_as_int else high
