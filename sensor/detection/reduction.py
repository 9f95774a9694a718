"""Reductions: the calculations of a detection's SumStat over a stream, one each."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache, cached_property
from typing import Any, ClassVar

import numpy as np

from sensor.detection.stream import Columns, DetectionError, KeyColumn, Part, ScalarKeys, Stream, column_of, parts_of
from sensor.events import Batch
from sensor.sumstats import Reducer
from sensor.sumstats.zeek_types import Observation
from sensor.words import hint

_NOT_OPTIONS = {"name", "stream", "words", "is_weighted", "is_dated"}  # the framework fills these in


class ScalarElements:
    """Takes Zeek's Observations in place of a value's columns."""

    columns: tuple[Any, ...] = ()
    words = Observation.WORDS

    def unpack(self, words: Sequence[int]) -> Any:
        """Return the observed value of one element's words."""
        seen = Observation.of(words)
        return next((each for each in (seen.num, seen.dbl, seen.str) if each is not None), None)


class Reduction:
    """One reducer as declared: a calculation over a stream's value, or over `of`, of the rows where `where` holds.

    of: columns, or functions of the batch; without any, each observation counts 1.
    where: a function of the batch that returns a boolean column (Zeek's `pred`).
    normalize_key: a function that gets the key's columns as a named tuple and returns them as another key for this
    reducer alone: `lambda key: key._replace(orig_h=key.orig_h.network(24, 64))`.
    weight (TopK alone): a column of whole numbers, the weight of each observation.
    when (Unique alone): a column, or a function of the batch, of times (int64 ns): each element keeps its earliest, so
    that the result's `reached(n)` is the time of the n-th element, and `until(ts)` the number of elements by then.
    Other options are those of the calculation.
    """

    engine: ClassVar[type[Reducer]]

    def __init__(
        self,
        stream: Stream,
        of: Part | Sequence[Part] | None = None,
        *,
        where: Callable[[Batch], np.ndarray] | None = None,
        normalize_key: Callable[[Any], Any] | None = None,
        weight: Part | None = None,
        when: Part | None = None,
        **options: Any,
    ) -> None:
        self.stream, self.of, self.where, self.normalize_key = stream, of, where, normalize_key
        self.weight, self.when, self.options = weight, when, options
        known = {each.name for each in fields(self.engine)}
        if unknown := set(options) - (known - _NOT_OPTIONS):
            name = sorted(unknown)[0]
            near = hint(name, known - _NOT_OPTIONS)
            raise DetectionError(f"{type(self).__name__} has no option {name!r}{near}")
        if weight is not None and "is_weighted" not in known:
            raise DetectionError(f"{type(self).__name__} takes no weight")
        if when is not None and "is_dated" not in known:
            raise DetectionError(f"{type(self).__name__} takes no times")
        self.is_set = "words" in known
        if self.is_set and not self.parts and not isinstance(stream.key, ScalarKeys):
            raise DetectionError(f"{type(self).__name__} needs a value to look at: give the stream a value, or `of`")
        self._check_columns()

    def _check_columns(self) -> None:
        """Raise DetectionError if a column is misspelt, or has a kind that the calculation cannot take."""
        looked_at = [column_of(each, self.stream.events, "value") for each in self.parts]
        if not self.is_set and (self.stream.events or self.of is not None):
            self._check_numbers(looked_at[:1])
        for role, part in (("weight", self.weight), ("when", self.when)):
            if part is not None:
                self._check_numbers([column_of(each, self.stream.events, role) for each in parts_of(part)])

    def _check_numbers(self, columns: Sequence[KeyColumn]) -> None:
        for each in columns:
            if each.kind != "number":
                name = type(self).__name__
                raise DetectionError(f"{name} takes numbers, and {each.name} is of kind {each.kind}")

    @property
    def parts(self) -> tuple[Part, ...]:
        """The columns or functions of the batch that it reads; none if each observation counts 1."""
        return (self.stream.value or ()) if self.of is None else parts_of(self.of)

    @cached_property
    def elements(self) -> Columns | ScalarElements:
        """The columns of a value as words, for a reducer that keeps elements."""
        if isinstance(self.stream.key, ScalarKeys) and self.of is None:
            return ScalarElements()
        return Columns(self.parts, self.stream.events, "value")

    @cached_property
    def beside(self) -> Columns | None:
        """The column that follows an element's columns: of weights, or of times."""
        for role, part in (("weight", self.weight), ("when", self.when)):
            if part is not None:
                return Columns(parts_of(part), self.stream.events, role)
        return None

    @property
    def source(self) -> tuple[Stream, Callable[[Any], Any] | None]:
        """The stream of its keys, and the change made to them."""
        return self.stream, self.normalize_key

    @property
    def takes(self) -> tuple[Any, ...]:
        """The selection of observations that it takes: reducers with the same one share their count and times."""
        return *self.source, self.where

    @cached_property
    def looks_at(self) -> tuple[Any, ...]:
        """The values that it reads of an observation: reducers with the same ones share the values read."""
        return *self.source, self.of is None, self.parts, self.is_set, self.weight, self.when

    @property
    def words(self) -> int:
        """The number of words that it reads of an observation; 0: a number."""
        return self.elements.words + (self.beside is not None) if self.is_set else 0

    def declare(self, name: str, stream: str) -> Reducer:
        """Return the engine's form of it."""
        options = dict(self.options)
        if self.is_set:
            options["words"] = self.elements.words
        if self.weight is not None:
            options["is_weighted"] = True
        if self.when is not None:
            options["is_dated"] = True
        return self.engine(name, stream, **options)


@cache
def reduction(engine: type[Reducer]) -> type[Reduction]:
    """Return the form in which detections use a calculation: `Mine = reduction(MyReducer)`."""
    return type(engine.__name__, (Reduction,), {"engine": engine, "__doc__": engine.__doc__})
