"""SumStats: how much of what was seen, for whom, in an epoch. Zeek's framework as columns.

A `Definition` names the reducers of a key; a `Store` holds one epoch of it; `SumStats` runs the definitions of a worker
on the packet clock; a `Partial` is what nodes send each other, and `results` reads it.
"""

from sensor.sumstats.calculation import Reducer
from sensor.sumstats.calculations import CALCULATIONS
from sensor.sumstats.calculations.average import Average
from sensor.sumstats.calculations.ends import First, Last
from sensor.sumstats.calculations.entropy import Entropy
from sensor.sumstats.calculations.extremes import Max, Min
from sensor.sumstats.calculations.hll_unique import HllUnique
from sensor.sumstats.calculations.quantile import Quantile
from sensor.sumstats.calculations.sample import Sample
from sensor.sumstats.calculations.sum import Sum
from sensor.sumstats.calculations.topk import TopK
from sensor.sumstats.calculations.unique import Unique
from sensor.sumstats.calculations.variance import StdDev, Variance
from sensor.sumstats.collector import Collector, EpochResult, Merged, Told
from sensor.sumstats.definition import Definition
from sensor.sumstats.engine import Crossing, EpochEnd, Happening, SumStats
from sensor.sumstats.partial import Partial, Result, results
from sensor.sumstats.query import Request, Selection
from sensor.sumstats.store import Crossed, Store
from sensor.sumstats.threshold import FUNCTION, Judged, Override, Threshold

__all__ = [
    "CALCULATIONS",
    "FUNCTION",
    "Average",
    "Collector",
    "Crossed",
    "Crossing",
    "Definition",
    "Entropy",
    "EpochEnd",
    "EpochResult",
    "First",
    "Happening",
    "HllUnique",
    "Judged",
    "Last",
    "Max",
    "Merged",
    "Min",
    "Override",
    "Partial",
    "Quantile",
    "Reducer",
    "Request",
    "Result",
    "Sample",
    "Selection",
    "StdDev",
    "Store",
    "Sum",
    "SumStats",
    "Threshold",
    "Told",
    "TopK",
    "Unique",
    "Variance",
    "results",
]
