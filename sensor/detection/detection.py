"""Detections: classes that declare what to observe and what a crossing means; the framework runs them."""

import inspect
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from sensor.alerts import Severity
from sensor.clock import parse_duration
from sensor.detection.option import Option, OptionOverride, Value, parse_parts
from sensor.detection.stream import Columns, DetectionError, ScalarKeys, Stream, check_event
from sensor.detection.sumstat import SumStat, options_of
from sensor.events import Batch
from sensor.sumstats import Definition
from sensor.sumstats.zeek_types import Key, Observation
from sensor.words import hint

Observed = tuple[Stream, Batch, np.ndarray, Any]
"""Observations by hand for a stream: the batch with the rows' times, the words of the keys, and the values."""


_Scalar = tuple[Stream, Batch, Key, Observation]


class EndedByHand(NamedTuple):
    """An epoch that a detection ended by hand, after the event with this order, at time `ts` (ns)."""

    sumstat: SumStat
    order: int
    ts: int


def on(*events: str) -> Callable[[Any], Any]:
    """Mark a method to be called with each batch of these events; it may `self.observe(...)` the values it computes."""
    for event in events:
        check_event(event)

    def mark(method: Any) -> Any:
        method.events = events
        return method

    return mark


class Detection:
    """The base class of a detection.

    name: by default the class's name in snake case. severity, attack (an ATT&CK technique) and version go into its
    alerts. The docstring of the class, or of its module, describes what it finds; the part from "Misses" on describes
    what it does not find.
    """

    name: ClassVar[str] = ""
    severity: ClassVar[Severity] = "medium"
    attack: ClassVar[str | None] = None
    version: ClassVar[str] = "1"

    options: ClassVar[dict[str, Option]] = {}
    sumstats: ClassVar[dict[str, SumStat]] = {}
    sketch_key: tuple[int, int] | None = None
    handlers: ClassVar[dict[str, list[str]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        if cls.attack is None:
            found = re.search(r"\bT[0-9]{4}(?:\.[0-9]{3})?\b", cls.documentation())
            cls.attack = found[0] if found else None
        members = {name: member for parent in reversed(cls.__mro__) for name, member in vars(parent).items()}
        cls.options = {name: each for name, each in members.items() if isinstance(each, Option)}
        cls.sumstats = {name: each for name, each in members.items() if isinstance(each, SumStat)}
        cls.handlers = {}
        for name, member in members.items():
            for event in getattr(member, "events", ()) if inspect.isfunction(member) else ():
                cls.handlers.setdefault(event, []).append(name)

    def __init__(self, **settings: Value) -> None:
        self.settings = {name: option.default for name, option in self.options.items()}
        self.overrides: list[OptionOverride] = []
        for name, value in settings.items():
            self._set(name, value)
        self._check_overrides()
        self.observed: list[Observed] = []
        self.ended: list[EndedByHand] = []
        self._scalars: list[_Scalar] = []
        self._batch: Batch | None = None

    def _set(self, whole: str, value: Value) -> None:
        """Set an option, or (`name@part:value`) its value for some keys."""
        name, at, parts = whole.partition("@")
        if name not in self.options:
            raise DetectionError(f"{self.name} has no option {name!r}{hint(name, self.options)}")
        try:
            self.options[name].check(value)
            if at:
                self.overrides.append(OptionOverride(self.options[name], parse_parts(parts), value))
            else:
                self.settings[name] = value
        except ValueError as error:
            raise DetectionError(f"{self.name}.{whole}: {error}") from None

    def _check_overrides(self) -> None:
        levels = [level for sumstat in self.sumstats.values() for level in sumstat.levels.values()]
        names = {name for level in levels for name in options_of(level)}
        for each in self.overrides:
            if each.option.name not in names:
                raise DetectionError(
                    f"{self.name}.{each}: only thresholds can differ by key; {each.option.name} is none"
                )

    @classmethod
    def documentation(cls) -> str:
        """Return the docstring that describes it: its own, or else its module's."""
        module = sys.modules.get(cls.__module__)
        return inspect.cleandoc(cls.__doc__ or getattr(module, "__doc__", None) or "")

    @classmethod
    def misses(cls) -> str:
        """Return the docstring's part about what it does not find."""
        found = re.search(r"\bMisses\b(.*)", cls.documentation(), re.DOTALL)
        return " ".join(found[0].split()) if found else ""

    def define(self) -> dict[str, Definition]:
        """Return the engine's form of its SumStats under these settings, by their names on the class."""
        try:
            return {
                name: self._keyed(sumstat.define(self.name, self.settings, self.overrides))
                for name, sumstat in self.sumstats.items()
            }
        except ValueError as error:
            raise DetectionError(str(error)) from None

    def _keyed(self, definition: Definition) -> Definition:
        return definition if self.sketch_key is None else replace(definition, sketch_key=self.sketch_key)

    def run_handlers(self, batch: Batch) -> list[Observed]:
        """Call the methods marked `@on` for this batch's event; return their observations."""
        self.observed, self.ended, self._scalars, self._batch = [], [], [], batch
        for name in self.handlers.get(batch.event, ()):
            getattr(self, name)(batch)
        return self.observed + _columns(self._scalars, batch)

    def observe(
        self, stream: Stream, keys: Sequence[Any] | Key, values: Any = None, *, rows: Batch | None = None
    ) -> None:
        """Feed a stream from within a method marked `@on`.

        keys: a column for each part of the stream's key; values: a column, or nothing to count 1 each. Each row is
        observed at the time of that row of the batch, or of `rows`: the part of the batch that they were taken from.
        For a stream with `key=Key`, this is one observation: a Key and an Observation, at the time of the last of the
        rows.
        """
        batch = rows if rows is not None else self._batch
        if batch is None:
            raise DetectionError("observe() works within a method marked @on")
        if isinstance(stream.key, ScalarKeys) != isinstance(keys, Key):
            raise DetectionError(
                f"the stream {stream.name} takes {'a Key' if isinstance(stream.key, ScalarKeys) else 'columns'}"
            )
        if isinstance(keys, Key):
            observation = Observation() if values is None else values
            if not isinstance(observation, Observation):
                raise DetectionError(f"the stream {stream.name} takes an Observation, not {values!r}")
            if not len(batch):
                raise DetectionError(f"an observation of the stream {stream.name} needs rows to take its time from")
            self._scalars.append((stream, batch, keys, observation))
        elif isinstance(stream.key, Columns):
            self.observed.append((stream, batch, stream.key.gather(keys, len(batch)), values))

    def next_epoch(self, sumstat: SumStat, *, rows: Batch | None = None) -> None:
        """End the epoch of a SumStat with `epoch="0s"`, from within a method marked `@on`.

        Observations of events up to the last of the batch, or of `rows`, belong to the epoch that ends.
        """
        batch = rows if rows is not None else self._batch
        if batch is None or not len(batch):
            raise DetectionError("next_epoch() works within a method marked @on, and needs a row to say when")
        if self._epoch_ns(sumstat):
            raise DetectionError(
                f'the epochs of {sumstat.name} end by the clock: give it epoch="0s" to end them by hand'
            )
        self.ended.append(EndedByHand(sumstat, int(batch.order[-1]), int(batch.ts[-1])))

    def _epoch_ns(self, sumstat: SumStat) -> int:
        epoch = sumstat.epoch
        return parse_duration(str(self.settings[epoch.name] if isinstance(epoch, Option) else epoch))


def _columns(scalars: list[_Scalar], batch: Batch) -> list[Observed]:
    """Return single observations as columns: those of a stream in the order of the batch's rows."""
    observed: list[Observed] = []
    for stream in dict.fromkeys(each[0] for each in scalars):
        mine = [each for each in scalars if each[0] is stream]
        last = np.array([each[1].order[-1] for each in mine])
        order = np.argsort(last, kind="stable")
        rows = batch[np.searchsorted(batch.order, last[order])]
        keys = np.array([mine[at][2].words() for at in order], np.uint64)
        observed.append((stream, rows, keys, [mine[at][3] for at in order]))
    return observed
