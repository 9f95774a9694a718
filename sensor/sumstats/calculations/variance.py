"""VARIANCE and STD_DEV: how far the observed values lie from their mean.

Zeek's sample variance: divided by num - 1, and 0 for a single value. The state is the sums of the values and of their
squares, each held twofold. That merges by adding, does not depend on the order, and is exact where Welford's running
mean is not: nine digits even if the mean is 1e9 times the deviation. A deviation below 1e-15 of the mean counts as 0.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sensor._jit import njit
from sensor.sumstats.calculation import Arrays, RowBatch, Scalar, Value, rows_of
from sensor.sumstats.double_double import add, add_twofold, multiply

MOMENTS = np.dtype([("high", "<f8"), ("low", "<f8"), ("squares_high", "<f8"), ("squares_low", "<f8")])
"""The sum of the values and the sum of their squares, as `double_double` holds them."""

_NOISE = 2.0**-104  # of each addition: what the difference of two equal numbers may come to


@njit
def _update(state, rows, values, applies, after):
    watch = after.shape[0] > 0
    for i in range(rows.shape[0]):
        row = rows[i]
        if row < 0:
            continue
        moments = state[row]
        if applies[i]:
            high, low = add(moments["high"], moments["low"], values[i])
            moments["high"] = high
            moments["low"] = low
            square, rest = multiply(values[i], values[i])
            high, low = add_twofold(moments["squares_high"], moments["squares_low"], square, rest)
            moments["squares_high"] = high
            moments["squares_low"] = low
        if watch:
            after[i] = moments


@njit
def _merge(state, rows, other):
    for i in range(rows.shape[0]):
        if rows[i] < 0:
            continue
        into, add_in = state[rows[i]], other[i]
        high, low = add_twofold(into["high"], into["low"], add_in["high"], add_in["low"])
        into["high"] = high
        into["low"] = low
        high, low = add_twofold(
            into["squares_high"], into["squares_low"], add_in["squares_high"], add_in["squares_low"]
        )
        into["squares_high"] = high
        into["squares_low"] = low


@njit
def _variances(state, num, out):
    """(num * squares - total**2) / (num * (num - 1)), the difference taken in 106 bits."""
    for i in range(num.shape[0]):
        if num[i] < 2:
            out[i] = 0.0 if num[i] == 1 else np.nan
            continue
        n = np.float64(num[i])
        high, low = multiply(state[i]["squares_high"], n)
        low = low + state[i]["squares_low"] * n
        less, rest = multiply(state[i]["high"], state[i]["high"])
        rest = rest + 2.0 * state[i]["high"] * state[i]["low"]
        apart, _ = add_twofold(high, low, -less, -rest)
        is_noise = apart <= n * high * _NOISE  # false for what is not finite
        out[i] = 0.0 if is_noise else apart / (n * (n - 1.0))


@dataclass(frozen=True, slots=True)
class Spread(Value):
    """The result of VARIANCE and of STD_DEV; the state tells the mean as well."""

    average: float | None
    """None with no observation, as the other two."""
    variance: float | None
    """Sample variance."""
    std_dev: float | None
    """Its square root."""


class _Moments(Scalar):
    empty: ClassVar[np.ndarray] = np.zeros((), MOMENTS)

    def update(self, state: np.ndarray, batch: RowBatch, values: np.ndarray, after: np.ndarray) -> None:
        """Add the values and their squares."""
        _update(state, batch.rows, values, batch.applies, after)

    def merge(self, state: np.ndarray, rows: np.ndarray, other: np.ndarray) -> None:
        """Add the other sums."""
        _merge(state, rows, other)

    def results(self, headers: np.ndarray, states: Arrays) -> list[Value]:
        """A `Spread` a key."""
        sums, variances = states["state"]["high"].tolist(), _variance(headers["num"], states).tolist()
        rows = zip(rows_of(headers), sums, variances, strict=True)
        return [_spread(header, total, variance) for header, total, variance in rows]


def _variance(num: np.ndarray, states: Arrays) -> np.ndarray:
    out = np.empty(len(num))
    _variances(np.ascontiguousarray(states["state"]), np.ascontiguousarray(num), out)
    return out


def _spread(header: tuple[int, int, int], total: float, variance: float) -> Spread:
    if not header[0]:
        return Spread(*header, None, None, None)
    return Spread(*header, total / header[0], variance, math.sqrt(variance))


@dataclass(frozen=True)
class Variance(_Moments):
    """The sample variance."""

    calculation: ClassVar[str] = "VARIANCE"

    def values(self, num: np.ndarray, states: Arrays) -> np.ndarray:
        """The variance, or NaN."""
        return _variance(num, states)


@dataclass(frozen=True)
class StdDev(_Moments):
    """The sample standard deviation."""

    calculation: ClassVar[str] = "STD_DEV"

    def values(self, num: np.ndarray, states: Arrays) -> np.ndarray:
        """The standard deviation, or NaN."""
        deviations: np.ndarray = np.sqrt(_variance(num, states))
        return deviations
