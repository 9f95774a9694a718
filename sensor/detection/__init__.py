"""What a plugin author imports: a detection declares streams, SumStats and what a crossing means.

from sensor.detection import Alert, Detection, Option, Stream, SumStat, Unique, on

Every calculation that there is can be imported from here by the name of its class; one of an author's own becomes a
reducer by `reduction(MyReducer)`.

| file | what it is |
| --- | --- |
| `detection.py`, `stream.py`, `reduction.py`, `sumstat.py`, `option.py` | what an author declares |
| `load.py` | how detections are found, chosen and set |
| `feed.py` | how events become observations; what raises is contained |
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
    """A calculation's class, as detections use it, which is imported only now."""
    if not name.startswith("_"):  # what importing and copying look for
        with contextlib.suppress(KeyError):
            return reduction(find(name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
