"""Thresholds: the levels at which a key's merged value is worth telling, each once a key an epoch.

A value is that of one reducer, of several at once (a level is reached when each reaches its own), or what a function
makes of them (Zeek's `threshold_val`). Levels are one number or an ascending series, and may be others for some keys.
Reaching is `>=`, and NaN reaches nothing.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

Levels = float | Sequence[float]
"""One level, or a series of ascending ones."""

FUNCTION = ""
"""The name under which a function's levels stand, in place of a reducer's."""


class UnknownReducer(AttributeError):
    """A threshold function names a reducer that there is not."""


class JudgedValues:
    """What a threshold function is given: under each reducer's name, its values as a float64 column.

    `num` is how many observations there were, all streams together. A row that a reducer saw nothing of has what its
    calculation makes of nothing: 0 for a sum or a count, NaN for an average, a minimum or a maximum.
    """

    def __init__(self, num: np.ndarray, names: Iterable[str], values: Callable[[str], np.ndarray]) -> None:
        self.num, self._names, self._values = num, tuple(names), values

    def __getattr__(self, name: str) -> np.ndarray:
        if name.startswith("_"):  # what copying looks for
            raise AttributeError(name)
        if name not in self._names:
            raise UnknownReducer(f"there is no reducer {name!r}; there are {sorted(self._names)}", name=name)
        return self._values(name)

    def __getitem__(self, rows: slice) -> "JudgedValues":
        """Some of the rows."""
        return JudgedValues(self.num[rows], self._names, lambda name: self._values(name)[rows])


Function = Callable[[JudgedValues], np.ndarray]


@dataclass(frozen=True)
class Override:
    """Other levels for the keys whose words, masked, are `value`; of several that match, the longest mask decides."""

    mask: tuple[int, ...]
    value: tuple[int, ...]
    levels: Mapping[str, Levels]
    """By reducer; those not named keep theirs."""

    @property
    def bits(self) -> int:
        """Number of bits of a key it looks at."""
        return sum(word.bit_count() for word in self.mask)


@dataclass(frozen=True)
class Threshold:
    """When a key of a SumStat crosses. ValueError names what cannot be."""

    levels: Mapping[str, Levels]
    """By reducer, or under FUNCTION."""
    function: Function | None = None
    overrides: tuple[Override, ...] = ()
    one_a_check: bool = False
    """As Zeek does: a value that passes several levels at once fires one of them at each observation."""
    rules: tuple[tuple[tuple[float, ...], ...], ...] = field(init=False, repr=False)
    """The levels of each rule as rows of one number a reducer: the general rule first, then the overrides'."""

    def __post_init__(self) -> None:
        if not self.levels or (self.function is not None) != (set(self.levels) == {FUNCTION}):
            raise ValueError("a threshold needs levels: of reducers by name, or of a function under FUNCTION")
        rules = [_rows(self.levels, "a threshold")]
        for override in self.overrides:
            if unknown := set(override.levels) - set(self.levels):
                raise ValueError(f"an override gives a level to {sorted(unknown)[0]!r}, which has none to override")
            rules.append(_rows({**self.levels, **override.levels}, "an override"))
        object.__setattr__(self, "rules", tuple(rules))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what is compared: the reducers, or FUNCTION."""
        return tuple(self.levels)

    @cached_property
    def counts(self) -> np.ndarray:
        """Number of levels each rule has (int64)."""
        return np.array([len(rule) for rule in self.rules], np.int64)

    @cached_property
    def table(self) -> np.ndarray:
        """All levels, float64 (rules, most levels, names); what a rule has not is infinite and never reached."""
        table = np.full((len(self.rules), int(self.counts.max()), len(self.names)), np.inf)
        for at, rule in enumerate(self.rules):
            table[at, : len(rule)] = rule
        return table

    def share(self, growing: Collection[str], members: int, percent: float) -> "Threshold":
        """The level at which one of several members has a key worth asking all about: one for each of `names`.

        Of a value that only grows, its part of the first level: as long as no member has reached it, all together have
        not reached the level. Of others, `percent` of it (Zeek's cluster_request_global_view_percent).
        """
        part = 1 / members if set(self.names) <= set(growing) else percent
        others = tuple(replace(each, levels=_parts(each.levels, part)) for each in self.overrides)
        return replace(self, levels=_parts(self.levels, part), overrides=others, one_a_check=False)

    def rule_of(self, keys: np.ndarray) -> np.ndarray:
        """The rule of each key (uint64, (m, words)): int16."""
        rules = np.zeros(len(keys), np.int16)
        for at in sorted(range(len(self.overrides)), key=lambda each: self.overrides[each].bits):
            override = self.overrides[at]
            masked = keys & np.array(override.mask, np.uint64)
            rules[(masked == np.array(override.value, np.uint64)).all(axis=1)] = at + 1
        return rules

    def reached(self, values: Sequence[np.ndarray], rules: np.ndarray) -> np.ndarray:
        """How many levels, from the lowest on, each row has reached (int64), by the values of each of `names`."""
        reached = np.zeros(len(rules), np.int64)
        for level in range(self.table.shape[1]):
            is_reached = np.ones(len(rules), np.bool_)
            for at, column in enumerate(values):
                least = self.table[:, level, at]
                is_reached &= column >= (least[0] if len(least) == 1 else least[rules])
            if not is_reached.any():
                break
            reached += is_reached
        return reached

    def call(self, judged: JudgedValues) -> tuple[np.ndarray, list[Exception]]:
        """Return what the function makes of some rows, and what it raised.

        Where it raises, it is given each row by itself, so that a row does not depend on those beside it; one on which
        it raises again is NaN.
        """
        try:
            return self._call(judged), []
        except Exception:
            pass
        values, faults = np.full(len(judged.num), np.nan), []
        for i in range(len(values)):
            try:
                values[i] = self._call(judged[i : i + 1])[0]
            except Exception as error:
                faults.append(error)
        return values, faults

    def _call(self, judged: JudgedValues) -> np.ndarray:
        assert self.function is not None
        values = np.asarray(self.function(judged), np.float64)
        if values.shape != judged.num.shape:
            raise ValueError(f"a threshold function gave {values.shape} numbers for {judged.num.shape} keys")
        return values

    def describe(self) -> object:
        """Return what tells it from another, for a digest: the same in every process."""
        function = self.function and f"{self.function.__module__}.{self.function.__qualname__}"
        others = [(each.mask, each.value) for each in self.overrides]
        return [self.names, self.rules, others, function, self.one_a_check]


def _rows(levels: Mapping[str, Levels], what: str) -> tuple[tuple[float, ...], ...]:
    """Levels by reducer as rows; a single number stands at every level of the others' series."""
    series = {name: _series(each) for name, each in levels.items()}
    lengths = {len(each) for each in series.values()} - {1}
    if len(lengths) > 1:
        raise ValueError(f"{what} has series of different lengths: {sorted(lengths)}")
    for name, each in series.items():
        if not each or any(math.isnan(level) for level in each) or list(each) != sorted(set(each)):
            raise ValueError(f"{what} needs ascending levels, not {list(each)} for {name or 'its function'}")
    n = max(lengths, default=1)
    return tuple(zip(*(each * n if len(each) == 1 else each for each in series.values()), strict=True))


def _parts(levels: Mapping[str, Levels], part: float) -> dict[str, Levels]:
    return {name: _series(each)[0] * part for name, each in levels.items()}


def _series(levels: Levels) -> tuple[float, ...]:
    return tuple(map(float, levels)) if isinstance(levels, Iterable) else (float(levels),)
