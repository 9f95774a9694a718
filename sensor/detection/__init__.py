"""The imports of a plugin author: a detection declares streams, SumStats and the meaning of a crossing.

from sensor.detection import Alert, Detection, Option, Stream, SumStat, Unique, on

Every calculation can be imported from here by the name of its class; an author's own becomes a reducer by
`reduction(MyReducer)`.

| file | what it is |
| --- | --- |
| `detection.py`, `stream.py`, `reduction.py`, `sumstat.py`, `option.py` | the declarations of an author |
| `load.py` | how detections are found, chosen and set |
| `feed.py` | turns events into observations, and contains exceptions |
"""

import contextlib
from typing import Any

from sensor.alerts import Alert
from sensor.detection.detection import Detection, on
from sensor.detection.option import Option
from sensor.detection.reduction import Reduction, reduction
from sensor.detection.stream import DetectionError, Stream, address, text
from sensor.detection.sumstat import Epoch, SumStat
from sensor.events import AddressColumn, Batch, ConnState
from sensor.sumstats.calculations import find
from sensor.sumstats.zeek_types import Key, Observation
from sensor.words import plural

__all__ = [
    "AddressColumn",
    "Alert",
    "Batch",
    "ConnState",
    "Detection",
    "DetectionError",
    "Epoch",
    "Key",
    "Observation",
    "Option",
    "Reduction",
    "Stream",
    "SumStat",
    "address",
    "on",
    "plural",
    "reduction",
    "text",
]


def __getattr__(name: str) -> Any:
    """Return a calculation's class as detections use it, imported at first use."""
    if not name.startswith("_"):  # names that importing and copying look for
        with contextlib.suppress(KeyError):
            return reduction(find(name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
