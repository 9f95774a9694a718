"""SumStats as an author declares them: reducers over streams, an epoch, and what to do when a threshold is crossed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from sensor.clock import format_duration, parse_duration
from sensor.detection.option import Option
from sensor.detection.stream import Columns, DetectionError, Part, Stream, parts_of
from sensor.events import Batch, nearest
from sensor.sumstats import Average as _Average
from sensor.sumstats import Definition, Reducer, Result
from sensor.sumstats import Max as _Max
from sensor.sumstats import Min as _Min
from sensor.sumstats import StdDev as _StdDev
from sensor.sumstats import Sum as _Sum
from sensor.sumstats import Unique as _Unique
from sensor.sumstats import Variance as _Variance


@dataclass(frozen=True, eq=False)
class Reduction:
    """One reducer as declared: a calculation over a stream's value, or over `of`, of the rows where `where` holds."""

    stream: Stream
    of: Part | Sequence[Part] | None = None
    where: Callable[[Batch], np.ndarray] | None = None

    engine: ClassVar[Callable[..., Reducer]]
    is_set: ClassVar[bool] = False

    @property
    def parts(self) -> tuple[Part, ...]:
        """What it looks at: columns or functions of the batch; none where each observation counts 1."""
        return (self.stream.value or ()) if self.of is None else parts_of(self.of)

    @cached_property
    def elements(self) -> Columns:
        """The columns of a value as words, for a reducer that keeps a set of them."""
        return Columns(self.parts, self.stream.events, "value")

    @property
    def takes(self) -> tuple[Stream, Callable[[Batch], np.ndarray] | None]:
        """Which observations it takes: reducers that take the same ones share their count and times."""
        return self.stream, self.where

    def declare(self, name: str, stream: str) -> Reducer:
        """The engine's form of it."""
        return type(self).engine(name, stream)


class Sum(Reduction):
    """The total of the values, `.sum`; without a value, how many observations there were."""

    engine = _Sum


class Average(Reduction):
    """The mean, `.average`."""

    engine = _Average


class Min(Reduction):
    """The smallest value, `.min`."""

    engine = _Min


class Max(Reduction):
    """The largest value, `.max`."""

    engine = _Max


class Variance(Reduction):
    """The sample variance, `.variance`."""

    engine = _Variance


class StdDev(Reduction):
    """The sample standard deviation, `.std_dev`."""

    engine = _StdDev


@dataclass(frozen=True, eq=False)
class Unique(Reduction):
    """How many distinct values there were, `.count`; `.sample` holds up to `keep` of them.

    Exact up to `max` for a key (0: no limit of its own); then `.saturated`.
    """

    max: int = 0
    keep: int = 0

    engine = _Unique
    is_set = True

    def declare(self, name: str, stream: str) -> Reducer:
        """The engine's form of it."""
        return _Unique(name, stream, words=self.elements.words, max=self.max, keep=self.keep)


@dataclass(frozen=True)
class Seen:
    """What had been seen of a key: `begin` and `end` in ns, `span` as text, and each reducer under its own name."""

    begin: int
    end: int
    reducers: dict[str, Any]

    @property
    def span(self) -> str:
        """How long it took, for people."""
        return format_duration(self.end - self.begin)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.reducers[name]
        except KeyError:
            near = nearest(name, self.reducers)
            raise AttributeError(f"the SumStat has no reducer {name!r}; did you mean {near!r}?") from None


class SumStat:
    """Statistics per key over epochs: `scan = SumStat(epoch="5m", targets=Unique(failures))`.

    epoch: an Option or text, such as "5m". All reducers' streams must have the same key.
    `@scan.crosses(targets=hosts)` names what runs, once a key and epoch, when every named reducer is at or over its
    threshold (a number or an Option); the first named is the one that the alert reports.
    """

    def __init__(self, *, epoch: Option | str, **reducers: Reduction) -> None:
        if not reducers:
            raise DetectionError("a SumStat needs at least one reducer, such as targets=Unique(stream)")
        for name, reducer in reducers.items():
            if not isinstance(reducer, Reduction):
                raise DetectionError(f"{name}={reducer!r} is not a reducer; write one such as {name}=Unique(stream)")
        if isinstance(epoch, str):
            parse_duration(epoch)
        self.epoch, self.reducers = epoch, reducers
        self.streams = tuple(dict.fromkeys(reducer.stream for reducer in reducers.values()))
        self.key = self.streams[0].key
        if any(stream.key.columns != self.key.columns for stream in self.streams):
            raise DetectionError("the streams of one SumStat must have the same key")
        takes = list(dict.fromkeys(reducer.takes for reducer in reducers.values()))
        self.takes = {name: str(takes.index(reducer.takes)) for name, reducer in reducers.items()}
        self.elements = {name: each.elements for name, each in reducers.items() if each.is_set}
        self.levels: dict[str, Option | float] = {}
        self.handler = ""
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def crosses(self, **levels: Option | float) -> Callable[[Any], Any]:
        """Mark the method that says what a crossing means: called with the key and what was seen, returns an Alert."""
        if not levels:
            raise DetectionError("crosses() needs a threshold, such as crosses(targets=25)")
        for name in levels:
            if name not in self.reducers:
                near = nearest(name, self.reducers)
                raise DetectionError(f"crosses({name}=…): there is no reducer {name!r}; did you mean {near!r}?")

        def mark(method: Any) -> Any:
            self.levels, self.handler = levels, method.__name__
            return method

        return mark

    def level(self, name: str, settings: dict[str, Any]) -> float:
        """The threshold of one reducer under these settings."""
        level = self.levels[name]
        return settings[level.name] if isinstance(level, Option) else level

    def define(self, owner: str, settings: dict[str, Any]) -> Definition:
        """The engine's form of it, with options replaced by their settings."""
        epoch = settings[self.epoch.name] if isinstance(self.epoch, Option) else self.epoch
        return Definition(
            name=f"{owner}.{self.name}",
            key_words=self.key.words,
            epoch_ns=parse_duration(epoch),
            reducers=tuple(reducer.declare(name, self.takes[name]) for name, reducer in self.reducers.items()),
            thresholds={name: float(self.level(name, settings)) for name in self.levels},
        )

    def seen(self, result: Result) -> Seen:
        """One key's result with the elements of its sets turned back into addresses and numbers."""
        named: dict[str, Any] = dict(result.values)
        for name, columns in self.elements.items():
            named[name] = Elements(named[name], columns)
        return Seen(result.begin, result.end, named)


class Elements:
    """A set's result, whose `sample` is in the vocabulary of its columns."""

    def __init__(self, result: Any, columns: Columns) -> None:
        self._result, self._columns = result, columns

    @property
    def sample(self) -> list[Any]:
        """The kept elements in order: an address or a number each, or a named tuple where there are several columns."""
        rows = [self._columns.unpack(words) for words in sorted(self._result.sample)]
        return [row[0] for row in rows] if len(self._columns.columns) == 1 else rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self._result, name)
