"""What a plugin author imports: a detection declares streams, SumStats and what a crossing means.

from sensor.detection import Alert, Detection, Option, Stream, SumStat, Unique, on
"""

from sensor.alerts import Alert
from sensor.detection.detection import Detection, on
from sensor.detection.option import Option
from sensor.detection.stream import DetectionError, Stream
from sensor.detection.sumstat import Average, Max, Min, StdDev, Sum, SumStat, Unique, Variance
from sensor.events import AddressColumn, Batch, ConnState

__all__ = [
    "AddressColumn",
    "Alert",
    "Average",
    "Batch",
    "ConnState",
    "Detection",
    "DetectionError",
    "Max",
    "Min",
    "Option",
    "StdDev",
    "Stream",
    "Sum",
    "SumStat",
    "Unique",
    "Variance",
    "on",
]
