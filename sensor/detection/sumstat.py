"""SumStats as an author declares them: reducers over streams, an epoch, and the actions when a threshold is crossed."""

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

import numpy as np

from sensor.address import to_words as address_words
from sensor.clock import format_duration, parse_duration
from sensor.detection.option import Option, OptionOverride
from sensor.detection.reduction import Reduction
from sensor.detection.stream import Columns, DetectionError, ScalarKeys, try_function
from sensor.events import empty
from sensor.sumstats import FUNCTION, Definition, JudgedValues, Override, Result, Threshold, UnknownReducer
from sensor.sumstats.text import text_words
from sensor.words import hint

Level = Option | float | Sequence[Option | float]

HOPS = 5
"""Hops per epoch: a window moves by 1/HOPS of an epoch, unless a SumStat sets `hops`."""


@dataclass(frozen=True)
class Epoch:
    """A finished epoch, as passed to `epoch_result` and `epoch_finished`."""

    index: int
    start: int
    """ns."""
    end: int
    """ns."""
    complete: bool
    """True if all workers delivered, and had room for all their observations."""
    missing: tuple[str, ...]
    """The workers that did not deliver."""
    count: int = 1
    """The number of epochs it stands for, from `index` on: more than 1 for epochs without packets after many such."""


@dataclass(frozen=True)
class Seen:
    """The observations of a key: `begin` and `end` in ns, `span` as text, and each reducer under its own name."""

    begin: int
    end: int
    reducers: dict[str, Any]
    level: int = 0
    """The number of the level of a series that was reached."""
    value: float = float("nan")
    """The value that was compared with the level."""
    threshold: float = float("nan")
    """The level that was reached, as it applies to this key; NaN in the result of an epoch."""

    @property
    def span(self) -> str:
        """The duration from `begin` to `end`, for people."""
        return format_duration(self.end - self.begin)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # attributes that copying looks for
            raise AttributeError(name)
        try:
            return self.reducers[name]
        except KeyError:
            raise AttributeError(f"the SumStat has no reducer {name!r}{hint(name, self.reducers)}") from None


_TAKEN = {each.name for each in fields(Seen)} | {"span", "num"}


class SumStat:
    """Statistics per key over epochs: `scan = SumStat(epoch="5m", targets=Unique(failures))`.

    epoch: an Option or text, such as "5m"; "0s" for one that ends by hand: exactly at the event that ends it if one
    worker sees all events (files have one worker), and on others of a cluster as soon as they are notified. All streams
    must have the same key.
    hops: a window moves by 1/hops of an epoch (a hop), and is one hop longer than an epoch, so that any activity no
    longer than an epoch lies within one window. 0: epochs follow one another, and an activity across the border of two
    may reach the level in neither. Default: HOPS; 0 if epochs end by hand, and with compat="zeek".
    compat: with "zeek", a value that passes several levels of a series at once fires one of them at each observation,
    in order of time, and of the observed values if times are equal. For that, observations are kept until their epoch
    is over, in up to half of the SumStat's memory; a key some of whose observations found no room fires one level then.
    `@scan.crosses(targets=hosts)` marks the method to run when every named reducer is at or over its threshold (a
    number or an Option); it decides whether to alert; the alert reports the first reducer named. A sequence of
    ascending thresholds is a series, whose levels fire one by one (`seen.level` is the level's number, from 0). Instead
    of reducers, a function of their values may be compared: `@scan.crosses(lambda seen: seen.bad / seen.all, at=0.5)`;
    it gets columns, one number per key, and returns one.
    `@scan.epoch_result` marks the method to run for each key when an epoch is over, with the key, its observations, and
    the Epoch; `@scan.epoch_finished` the method to run once after that, with the Epoch. Both run also for epochs
    without packets, as soon as there are packets again: for 1,440 in a row one by one, and for all further ones once,
    with their `count`.
    """

    def __init__(
        self, *, epoch: Option | str, hops: int | None = None, compat: str | None = None, **reducers: Reduction
    ) -> None:
        if not reducers:
            raise DetectionError("a SumStat needs at least one reducer, such as targets=Unique(stream)")
        for name, reducer in reducers.items():
            if not isinstance(reducer, Reduction):
                raise DetectionError(f"{name}={reducer!r} is not a reducer; write one such as {name}=Unique(stream)")
            if name in _TAKEN:
                raise DetectionError(f"a reducer cannot be called {name!r}, which is what else was seen of the key")
        if isinstance(epoch, str):
            parse_duration(epoch)
        if compat not in (None, "zeek"):
            raise DetectionError(f'compat={compat!r} is not known; it may be "zeek"')
        if compat and hops:
            raise DetectionError(f'hops={hops} with compat="zeek": windows do not hop in Zeek; leave it out')
        self.epoch, self.hops, self.compat, self.reducers = epoch, hops, compat, reducers
        self.sources = tuple(dict.fromkeys(reducer.source for reducer in reducers.values()))
        self.streams = tuple(dict.fromkeys(reducer.stream for reducer in reducers.values()))
        self.key = self.streams[0].key
        if any((type(each.key), each.key.columns) != (type(self.key), self.key.columns) for each in self.streams):
            raise DetectionError("the streams of one SumStat must have the same key")
        takes = list(dict.fromkeys(reducer.takes for reducer in reducers.values()))
        self.takes = {name: str(takes.index(reducer.takes)) for name, reducer in reducers.items()}
        self.levels: dict[str, Level] = {}
        self.function: Callable[[Any], Any] | None = None
        self.handler, self.result_handler, self.finished_handler = "", "", ""
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def crosses(self, function: Callable[[Any], Any] | None = None, **levels: Level) -> Callable[[Any], Any]:
        """Mark the method that judges a crossing: it gets the key and its observations, and returns an Alert or None.

        None: nothing to report. Its answer at the end of the epoch is the verdict. If alerts are wanted early, it is
        also called when the level is reached, and again as the value grows until it returns an Alert, which is
        withdrawn if the verdict is None. After that it is called at the end of each further epoch in which the key was
        observed and is still at or over the level. A level whose alert stands is not judged again while that alert's
        epoch is in the window. So the method must be a function of the key and the observations alone: it keeps no
        count of its calls, reads no clock, and returns the same for the same arguments.
        """
        if not levels:
            raise DetectionError("crosses() needs a threshold, such as crosses(targets=25)")
        if function is not None and set(levels) != {"at"}:
            raise DetectionError("crosses(function) needs the level of what the function gives, and no other: at=0.5")
        for name in levels if function is None else ():
            if name not in self.reducers:
                near = hint(name, self.reducers)
                raise DetectionError(f"crosses({name}=…): there is no reducer {name!r}{near}")
        for name, level in levels.items():
            if not all(isinstance(each, Option | Real) for each in _series(level)):
                raise DetectionError(
                    f"crosses({name}={level!r}): a level is a number, an Option, or a series of numbers and Options"
                )
        self._check_unmarked("crosses", self.handler)

        def mark(method: Any) -> Any:
            self.levels = levels if function is None else {FUNCTION: levels["at"]}
            self.function, self.handler = function, method.__name__
            return method

        return mark

    def epoch_result(self, method: Any) -> Any:
        """Mark the method that gets each key's result when an epoch is over, and may return an Alert."""
        self._check_unmarked("epoch_result", self.result_handler)
        self.result_handler = method.__name__
        return method

    def epoch_finished(self, method: Any) -> Any:
        """Mark the method that is called, after all results, when an epoch is over."""
        self._check_unmarked("epoch_finished", self.finished_handler)
        self.finished_handler = method.__name__
        return method

    def _check_unmarked(self, mark: str, handler: str) -> None:
        if handler:
            raise DetectionError(f"{mark} marks {handler} already: a SumStat has one such method")

    def define(self, owner: str, settings: dict[str, Any], overrides: Sequence[OptionOverride] = ()) -> Definition:
        """Return the engine's form of it, with options replaced by their settings."""
        self._try_functions(owner)
        epoch_ns = parse_duration(settings[self.epoch.name] if isinstance(self.epoch, Option) else self.epoch)
        hops = self._hops(epoch_ns)
        pane_ns = epoch_ns // hops if hops else 0
        if hops and not pane_ns:
            raise DetectionError(f"{owner}.{self.name}: an epoch of {epoch_ns} ns cannot hop {hops} times")
        return Definition(
            name=f"{owner}.{self.name}",
            key_words=self.key.words,
            epoch_ns=pane_ns * (hops + 1) if hops else epoch_ns,
            hop_ns=pane_ns,
            reducers=tuple(reducer.declare(name, self.takes[name]) for name, reducer in self.reducers.items()),
            threshold=self._threshold(settings, overrides) if self.levels else None,
            wants_results=bool(self.result_handler),
        )

    def _hops(self, epoch_ns: int) -> int:
        if self.hops is not None:
            return self.hops
        return 0 if self.compat == "zeek" else min(HOPS, epoch_ns)

    def _try_functions(self, owner: str) -> None:
        """Find mistakes in the functions of streams and reducers before any packet arrives."""
        try:
            for stream in self.streams:
                stream.try_functions()
            for reducer in self.reducers.values():
                for event in reducer.stream.events:
                    for function in (reducer.where, *reducer.parts, reducer.weight, reducer.when):
                        try_function(function, empty(event))
        except DetectionError as error:
            raise DetectionError(f"{owner}.{self.name}: {error}") from error

    def _threshold(self, settings: dict[str, Any], overrides: Sequence[OptionOverride]) -> Threshold:
        levels = {name: _under(level, settings) for name, level in self.levels.items()}
        own = []
        for each in overrides:
            its = {name: level for name, level in self.levels.items() if each.option.name in options_of(level)}
            changed = settings | {each.option.name: each.number}
            if its:
                own.append(Override(*self._match(each), {name: _under(level, changed) for name, level in its.items()}))
        if self.function is not None:
            self._try(self.function)
        return Threshold(levels, self.function, tuple(own), one_a_check=self.compat == "zeek")

    def _try(self, function: Callable[[Any], Any]) -> None:
        """Call a threshold function with no rows, to find a reducer that it cannot use before any packet arrives."""
        nothing = np.empty(0)
        judged = [name for name, each in self.reducers.items() if each.engine.is_judged]
        try:
            function(JudgedValues(nothing, judged, lambda name: nothing))
        except UnknownReducer as error:
            why = str(error)
            if error.name in self.reducers:
                kind = type(self.reducers[error.name]).__name__
                why = f"{error.name!r} is of {kind}, which gives no number to compare; there are {sorted(judged)}"
            raise DetectionError(f"{self.name}: in the function of crosses(): {why}") from None
        except Exception:
            return  # without rows any other error is acceptable

    def _match(self, override: OptionOverride) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the words of a key that an override tests, and their required values."""
        if not isinstance(self.key, Columns):
            raise DetectionError(f"{override}: the key of {self.name} has no named parts to tell keys apart by")
        try:
            return self.match(override.parts)
        except DetectionError as error:
            raise DetectionError(f"{override}: {error}") from None

    def match(self, parts: Mapping[str, str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return a mask of a key's words, and their values if its parts have these values, each given as text.

        For an address the text is a host or a network. DetectionError: there is no such part, or its text is invalid.
        """
        mask, value = np.zeros((2, self.key.words), np.uint64)
        kinds, places = self.key.kinds(), self.key.places()
        for name, text in parts.items():
            if name not in places:
                raise DetectionError(f"the key of {self.name} has no part {name!r}{hint(name, places)}")
            try:
                mask[places[name]], value[places[name]] = _matching(kinds[name], text)
            except ValueError as error:
                raise DetectionError(str(error)) from None
            if isinstance(self.key, ScalarKeys):
                mask[0] = value[0] = mask[0] | np.uint64(self.key.flags[name])
        return tuple(mask.tolist()), tuple(value.tolist())

    def seen(
        self, result: Result, level: int = 0, value: float = float("nan"), threshold: float = float("nan")
    ) -> Seen:
        """Return one key's result with the elements of its sets turned back into addresses, numbers and texts."""
        named: dict[str, Any] = dict(result.values)
        for name, reducer in self.reducers.items():
            if reducer.is_set:
                named[name] = ShownElements(named[name], reducer.elements)
        return Seen(result.begin, result.end, named, level, value, threshold)


class ShownElements:
    """The result of a reducer that keeps elements, with the elements shown as values of their columns."""

    def __init__(self, result: Any, elements: Any) -> None:
        self._result, self._elements = result, elements

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # attributes that copying looks for
            raise AttributeError(name)
        value = getattr(self._result, name)
        if name == "sample":  # a set is unordered, so sort it
            return [self._shown(words) for words in sorted(value)]
        if name in ("samples", "last_elements", "first_elements"):
            return [self._shown(words) for words in value]
        return [(self._shown(words), *rest) for words, *rest in value] if name == "topk" else value

    def _shown(self, words: Sequence[int]) -> Any:
        row = self._elements.unpack(words)
        return row[0] if len(self._elements.columns) == 1 else row


def _series(level: Any) -> Sequence[Any]:
    """Return the levels of a series, or the only level."""
    return level if isinstance(level, Sequence) and not isinstance(level, str) else (level,)


def options_of(level: Level) -> list[str]:
    """Return the names of the options in a level, or in a series of them."""
    return [each.name for each in _series(level) if isinstance(each, Option)]


def _under(level: Level, settings: Mapping[str, Any]) -> Any:
    """Replace options by their settings."""
    values = [settings[each.name] if isinstance(each, Option) else each for each in _series(level)]
    return values if isinstance(level, Sequence) else values[0]


def _matching(kind: str, text: str) -> tuple[Sequence[int], Sequence[int]]:
    """Return the mask and the value of one part's words; ValueError if the text is not of its kind."""
    whole = 2**64 - 1
    if kind == "text":
        words = text_words([text])[0].tolist()
        return [whole] * len(words), words
    if kind == "number":
        if not text.removeprefix("-").isdecimal() or not -(2**63) <= int(text) <= whole:
            raise ValueError(f"{text!r} is not a whole number of 64 bits")
        return [whole], [int(text) & whole]
    network = ipaddress.ip_network(text)
    bits = network.prefixlen + (96 if network.version == 4 else 0)
    mask = ((1 << bits) - 1) << (128 - bits)
    return [mask >> 64, mask & whole], address_words(network.network_address)
