"""What workers tell the manager, under the names of the original protocol."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from sensor.sumstats import EpochEnd, Partial


class Counts(msgspec.Struct):
    """What became of a worker's packets; those of several workers are added up."""

    packets_read: int = 0
    packets_decoded: int = 0
    refused: dict[str, int] = {}
    weirds: dict[str, int] = {}
    flows: int = 0
    observations: int = 0
    bytes: int = 0
    first_ts: int | None = None
    last_ts: int | None = None
    faults: dict[str, int] = {}
    counters: dict[str, int] = {}

    def __add__(self, other: "Counts") -> "Counts":
        merged: dict[str, Any] = {}
        for name in self.__struct_fields__:
            merge: Callable[[Any, Any], Any] = _MERGE.get(name, _add)
            merged[name] = merge(getattr(self, name), getattr(other, name))
        return Counts(**merged)


class ClusterKeyIntermediateResponse(msgspec.Struct, frozen=True, tag=True):
    """What a worker knows of some keys in its open window, because it saw them grow enough to matter."""

    worker: str
    sumstat: str
    epoch: int
    ts: np.ndarray
    """When each grew so (ns)."""
    order: np.ndarray
    """Which of the worker's events it was: what tells the order of crossings of several SumStats."""
    partial: Partial


class ClusterSsResponse(msgspec.Struct, frozen=True, tag=True):
    """A worker's partial results of a whole epoch (a pane, where windows hop), once it has entered another."""

    worker: str
    ended: EpochEnd


class DetectionSwitchedOff(msgspec.Struct, frozen=True, tag=True):
    """A detection raised so often on a worker that it no longer runs there."""

    worker: str
    detection: str
    ts: int


class Heartbeat(msgspec.Struct, frozen=True, tag=True):
    """How far a worker's packet clock has come, and its counts so far."""

    worker: str
    watermark: int | None
    counts: Counts


class ClusterThresholdCrossed(msgspec.Struct, frozen=True, tag=True):
    """What the manager tells workers: keys whose alert stands until a time (ns), which need no counting."""

    sumstat: str
    keys: np.ndarray
    """uint64, (m, key_words)."""
    until: int


Message = ClusterKeyIntermediateResponse | ClusterSsResponse | DetectionSwitchedOff | Heartbeat
"""From a worker."""


def _add(a: Any, b: Any) -> Any:
    if isinstance(a, dict):
        return {name: a.get(name, 0) + b.get(name, 0) for name in a | b}
    return a + b


def _earliest(a: int | None, b: int | None) -> int | None:
    return min((ts for ts in (a, b) if ts is not None), default=None)


def _latest(a: int | None, b: int | None) -> int | None:
    return max((ts for ts in (a, b) if ts is not None), default=None)


_MERGE: dict[str, Callable[[Any, Any], Any]] = {"first_ts": _earliest, "last_ts": _latest}
