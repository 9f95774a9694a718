"""What a SumStat is: its key, its epoch, its reducers, its threshold. Every node builds the same from the settings."""

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from functools import cached_property

from sensor.sumstats.calculation import Reducer
from sensor.sumstats.store_layout import Room
from sensor.sumstats.threshold import FUNCTION, Threshold

_MOST_ROWS = 2**30  # slots hold int32

_TAKEN = frozenset({"key", "num", "begin", "end", "span", "values"})  # what a Result says itself


@dataclass(frozen=True)
class Definition:
    """One SumStat. ValueError names what is out of range."""

    name: str
    key_words: int
    """uint64 words of a key: 2 for an address, 3 for an address and a port."""
    epoch_ns: int
    """Length of an epoch; 0: epochs end when they are told to."""
    reducers: tuple[Reducer, ...]
    threshold: Threshold | None = None
    hop_ns: int = 0
    """How far a window of the length of an epoch hops, so that windows overlap; 0: by its length, so they do not."""
    wants_results: bool = True
    """Whether results at an epoch's end are of use; if not, a key all of whose levels stand is counted no more."""
    max_keys: int = 1_000_000
    """Keys held at once; the lightest make room for others beyond them (`keys_evicted`)."""
    max_bytes: int = 1 << 30
    """Memory of the keys of a window, and of a pane; where it is short, the lightest make room, and what still does not
    fit is refused (`elements_refused`)."""
    sketch_key: tuple[int, int] = (0x73756D7374617473, 0x736B657463686573)
    """Keys the hashes that sketches and samples go by: the same on all nodes, and in a cluster its secret."""

    def __post_init__(self) -> None:
        for reducer in self.reducers:
            reducer.check()
        names = [reducer.name for reducer in self.reducers]
        if not names or len(set(names)) < len(names) or _TAKEN & set(names):
            raise ValueError(f"{self.name}: reducers need names of their own, not {names}")
        if self.key_words < 1 or self.epoch_ns < 0:
            raise ValueError(f"{self.name}: a key needs at least one word and an epoch a length of 0 or more")
        if self.hop_ns < 0 or (self.hop_ns and (self.epoch_ns < self.hop_ns or self.epoch_ns % self.hop_ns)):
            raise ValueError(f"{self.name}: an epoch must be a whole number of hops long")
        if not (0 < self.max_keys <= _MOST_ROWS and self.max_bytes > 0):
            raise ValueError(f"{self.name}: max_keys must be from 1 to {_MOST_ROWS}, and max_bytes above 0")
        if self.threshold is not None:
            self._check_threshold(self.threshold)

    def _check_threshold(self, threshold: Threshold) -> None:
        names = {reducer.name for reducer in self.reducers}
        if unknown := set(threshold.names) - names - {FUNCTION}:
            raise ValueError(f"{self.name}: there is no reducer {sorted(unknown)[0]!r} to have a threshold")
        if any({len(each.mask), len(each.value)} != {self.key_words} for each in threshold.overrides):
            raise ValueError(f"{self.name}: an override's mask and value must be of {self.key_words} words")
        for at, name in enumerate(threshold.names):
            reducer = next((each for each in self.reducers if each.name == name), None)
            if reducer is not None and not reducer.is_judged:
                raise ValueError(f"{self.name}: {reducer.calculation} has no number that a threshold could be of")
            most, least = getattr(reducer, "max", 0), max(rule[-1][at] for rule in threshold.rules)
            if most and reducer is not None and reducer.calculation == "UNIQUE" and least > most:
                raise ValueError(f"{self.name}: {name} holds {most} elements at most and can never reach {least}")

    @property
    def growing(self) -> frozenset[str]:
        """The reducers whose value never falls."""
        return frozenset(reducer.name for reducer in self.reducers if reducer.grows)

    @cached_property
    def supporting(self) -> frozenset[str]:
        """The streams that no level is compared with, so that they matter only for keys that others bring near one.

        There are none where every key's result is wanted, nor where epochs end by hand or Zeek's checks are counted.
        """
        threshold = self.threshold
        if threshold is None or threshold.function or threshold.one_a_check or self.wants_results or not self.epoch_ns:
            return frozenset()
        return frozenset(self.streams) - {self.reducer(name).stream for name in threshold.names}

    @cached_property
    def keeps_history(self) -> bool:
        """True if levels depend on the order of observations, so that these are reduced, and kept as they came, too.

        They do where a check fires one level, unless there is but one, of a value that never falls.
        """
        threshold = self.threshold
        if threshold is None or not threshold.one_a_check or self.hop_ns:
            return False
        return self.levels > 1 or not set(threshold.names) <= self.growing

    @property
    def logged(self) -> Collection[str]:
        """The streams whose observations are kept as they came: what supports others, or all."""
        return self.streams if self.keeps_history else self.supporting

    @property
    def panes(self) -> int:
        """Number of panes a window is made of."""
        return self.epoch_ns // self.hop_ns if self.hop_ns else 1

    @property
    def pane_ns(self) -> int:
        """The length of a pane."""
        return self.hop_ns or self.epoch_ns

    @property
    def levels(self) -> int:
        """The most levels that a key can fire."""
        return int(self.threshold.counts.max()) if self.threshold else 0

    def reducer(self, name: str) -> Reducer:
        """The reducer of that name; ValueError where there is none."""
        for reducer in self.reducers:
            if reducer.name == name:
                return reducer
        raise ValueError(f"{self.name}: there is no reducer {name!r}")

    @cached_property
    def streams(self) -> dict[str, tuple[Reducer, ...]]:
        """The reducers of each stream."""
        names = dict.fromkeys(reducer.stream for reducer in self.reducers)
        return {name: tuple(reducer for reducer in self.reducers if reducer.stream == name) for name in names}

    @cached_property
    def room(self) -> Room:
        """What a store of it may hold."""
        return Room.of(self.key_words, self.streams, self.reducers, self.max_keys, self.max_bytes, self.sketch_key)

    @cached_property
    def digest(self) -> str:
        """Equal for definitions whose results may be merged: the same in every process."""
        reducers = [{"calculation": reducer.calculation, **asdict(reducer)} for reducer in self.reducers]
        plain = ("name", "key_words", "epoch_ns", "hop_ns", "wants_results", "max_keys", "max_bytes", "sketch_key")
        own = {name: getattr(self, name) for name in plain}
        threshold = self.threshold and self.threshold.describe()
        text = json.dumps({**own, "reducers": reducers, "threshold": threshold}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
