"""What a SumStat is: its key, its epoch, its reducers, its threshold. Every node builds the same from the settings."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property

from sensor.sumstats.calculation import Reducer

_MOST_ROWS = 2**30  # slots hold int32

_TAKEN = frozenset({"key", "num", "begin", "end", "span"})  # what a Result says itself


@dataclass(frozen=True)
class Definition:
    """One SumStat. ValueError names what is out of range."""

    name: str
    key_words: int
    """uint64 words of a key: 2 for an address, 3 for an address and a port."""
    epoch_ns: int
    """Length of an epoch; 0: epochs end when they are told to."""
    reducers: tuple[Reducer, ...]
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """The least value of each reducer named, for a key to cross: all of them at once. None named: no key ever does."""
    max_keys: int = 1_000_000
    """Keys held in one epoch; an observation of a key beyond them is dropped (`keys_refused`)."""
    max_elements: int = 16_000_000
    """Elements that the keys of one reducer hold together; one beyond them is dropped (`elements_refused`)."""

    def __post_init__(self) -> None:
        for reducer in self.reducers:
            reducer.check()
        names = [reducer.name for reducer in self.reducers]
        if not names or len(set(names)) < len(names) or _TAKEN & set(names):
            raise ValueError(f"{self.name}: reducers need names of their own, not {names}")
        if unknown := set(self.thresholds) - set(names):
            raise ValueError(f"{self.name}: there is no reducer {sorted(unknown)[0]!r} to have a threshold")
        if self.key_words < 1 or self.epoch_ns < 0:
            raise ValueError(f"{self.name}: a key needs at least one word and an epoch a length of 0 or more")
        if not (0 < self.max_keys <= _MOST_ROWS and 0 < self.max_elements <= _MOST_ROWS):
            raise ValueError(f"{self.name}: max_keys and max_elements must be from 1 to {_MOST_ROWS}")
        for name, least in self.thresholds.items():
            most = getattr(self.reducer(name), "max", 0)
            if most and least > most:
                raise ValueError(f"{self.name}: {name} holds {most} elements at most and can never reach {least}")

    def reducer(self, name: str) -> Reducer:
        """The reducer of that name."""
        return next(reducer for reducer in self.reducers if reducer.name == name)

    @cached_property
    def streams(self) -> dict[str, tuple[Reducer, ...]]:
        """The reducers of each stream."""
        names = dict.fromkeys(reducer.stream for reducer in self.reducers)
        return {name: tuple(reducer for reducer in self.reducers if reducer.stream == name) for name in names}

    @cached_property
    def digest(self) -> str:
        """Equal for definitions whose results may be merged: the same in every process."""
        reducers = [{"calculation": reducer.calculation, **asdict(reducer)} for reducer in self.reducers]
        own = {name: getattr(self, name) for name in ("name", "key_words", "epoch_ns", "max_keys", "max_elements")}
        text = json.dumps({**own, "reducers": reducers, "thresholds": dict(self.thresholds)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
