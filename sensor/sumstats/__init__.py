"""SumStats: how much of what was seen, for whom, in an epoch. Zeek's framework as columns.

A `Definition` names the reducers of a key; a `Store` holds one epoch of it; `SumStats` runs the definitions of a worker
on the packet clock; a `Partial` is what nodes send each other, and `results` reads it.
"""

from sensor.sumstats.average import Average
from sensor.sumstats.calculation import Reducer
from sensor.sumstats.definition import Definition
from sensor.sumstats.engine import Crossing, EpochEnd, Happening, SumStats
from sensor.sumstats.extremes import Max, Min
from sensor.sumstats.partial import Partial, Result, results
from sensor.sumstats.store import Crossed, Store
from sensor.sumstats.sum import Sum
from sensor.sumstats.unique import Unique
from sensor.sumstats.variance import StdDev, Variance

CALCULATIONS: tuple[type[Reducer], ...] = (Sum, Average, Min, Max, Variance, StdDev, Unique)
"""All that there are: a new one is a file of its own, and a place here."""

__all__ = [
    "CALCULATIONS",
    "Average",
    "Crossed",
    "Crossing",
    "Definition",
    "EpochEnd",
    "Happening",
    "Max",
    "Min",
    "Partial",
    "Reducer",
    "Result",
    "StdDev",
    "Store",
    "Sum",
    "SumStats",
    "Unique",
    "Variance",
    "results",
]
