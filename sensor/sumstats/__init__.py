"""SumStats: how much of what was seen, for whom, in an epoch. Zeek's framework as columns.

A `Definition` names the reducers of a key; a `Store` holds one epoch of it; `SumStats` runs the definitions of a worker
on the packet clock; a `Partial` is what nodes send each other, and `results` reads it; a `Collector` merges and judges
what several know. Each calculation can be imported from here by the name of its class, and all as `CALCULATIONS`.

| file | what it is |
| --- | --- |
| `definition.py`, `threshold.py`, `epochs.py` | what a SumStat is |
| `engine.py`, `window.py`, `panes.py` | SumStats of a worker on the packet clock |
| `store.py`, `store_layout.py`, `table.py`, `arena.py`, `observation_batch.py`, `support.py` | the states of keys |
| `judge.py`, `nearness.py`, `suppression.py`, `asked.py` | which levels a key has reached, and when it counts again |
| `partial.py`, `series.py`, `query.py` | what nodes send each other, and ask |
| `collector.py`, `merged.py`, `following.py` | what several know: merged, judged, and counted on |
| `calculation.py`, `calculations/`, `sketches/`, `bottom_k.py`, `double_double.py` | calculations |
| `text.py`, `zeek_types.py` | texts as words, and Zeek's types |
"""

import contextlib
from typing import Any

from sensor.sumstats.calculation import Reducer
from sensor.sumstats.calculations import every, find
from sensor.sumstats.collector import Collector
from sensor.sumstats.definition import Definition
from sensor.sumstats.engine import Crossings, EpochEnd, EpochEnds, Happening, SumStats
from sensor.sumstats.merged import EpochResult, Merged, Present, Told
from sensor.sumstats.partial import Partial, Result, results
from sensor.sumstats.query import Selection
from sensor.sumstats.series import Series, of_series
from sensor.sumstats.store import Crossed, Store
from sensor.sumstats.support import Rows, among
from sensor.sumstats.table import Keys
from sensor.sumstats.threshold import FUNCTION, JudgedValues, Override, Threshold, UnknownReducer

__all__ = [
    "FUNCTION",
    "Collector",
    "Crossed",
    "Crossings",
    "Definition",
    "EpochEnd",
    "EpochEnds",
    "EpochResult",
    "Happening",
    "JudgedValues",
    "Keys",
    "Merged",
    "Override",
    "Partial",
    "Present",
    "Reducer",
    "Result",
    "Rows",
    "Selection",
    "Series",
    "Store",
    "SumStats",
    "Threshold",
    "Told",
    "UnknownReducer",
    "among",
    "of_series",
    "results",
]


def __getattr__(name: str) -> Any:
    """A calculation's class, which is imported only now, or all of them."""
    if name == "CALCULATIONS":
        return every()
    if not name.startswith("_"):  # what importing and copying look for
        with contextlib.suppress(KeyError):
            return find(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
