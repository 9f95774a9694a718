"""What one node knows of some keys, as columns to send and to merge, and the results to be read from it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensor.clock import format_duration
from sensor.sumstats.calculation import HEADER, Arrays, Value, rows_of
from sensor.sumstats.definition import Definition
from sensor.sumstats.support import Support


@dataclass(frozen=True, slots=True)
class Partial:
    """The states of some keys of one SumStat; nothing else refers to its arrays."""

    keys: np.ndarray
    """uint64, (m, key_words)."""
    headers: Mapping[str, np.ndarray]
    """HEADER, (m,), for each stream."""
    states: Mapping[str, Arrays]
    """Named arrays for each reducer: `state` (m,) if of fixed size; if not, with `count`, the items of each key."""
    support: Support = ()
    """What is not in the states, of these keys and of others: to be absorbed where a key is judged."""

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self.keys)

    @property
    def bare(self) -> "Partial":
        """The same without support."""
        return Partial(self.keys, self.headers, self.states)

    def take(self, definition: Definition, keys: np.ndarray) -> "Partial":
        """Some of the keys, by number (int64), without support."""
        states = {}
        for reducer in definition.reducers:
            arrays = self.states[reducer.name]
            items = _items(arrays["count"], keys) if reducer.flat else keys
            states[reducer.name] = {
                name: array[items if name in reducer.flat else keys] for name, array in arrays.items()
            }
        return Partial(self.keys[keys], {name: each[keys] for name, each in self.headers.items()}, states)

    def parts(self, definition: Definition, size: int) -> Iterator["Partial"]:
        """So many keys at a time, as views, without support."""
        if 0 < len(self) <= size:
            yield self.bare
            return
        flat = {each.name: each.flat for each in definition.reducers}
        ends = {name: np.cumsum(self.states[name]["count"]) for name, arrays in flat.items() if arrays}
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            states = {}
            for name, arrays in self.states.items():
                items = _between(ends[name], part) if flat[name] else part
                states[name] = {each: array[items if each in flat[name] else part] for each, array in arrays.items()}
            yield Partial(self.keys[part], {name: each[part] for name, each in self.headers.items()}, states)

    def rounds(self) -> list[np.ndarray]:
        """The numbers of the keys, those that come for the first time, then those for the second time, and so on."""
        if len(self) < 2:
            return [np.arange(1)] * len(self)
        _, number = np.unique(self.keys, axis=0, return_inverse=True)
        order = np.argsort(number, kind="stable")
        first = np.flatnonzero(np.diff(number[order], prepend=-1))
        times = np.empty(len(self), np.int64)
        times[order] = np.arange(len(self)) - np.repeat(first, np.diff(first, append=len(self)))
        return [np.flatnonzero(times == time) for time in range(int(times.max(initial=-1)) + 1)]

    @staticmethod
    def join(parts: Sequence["Partial"]) -> "Partial":
        """One after the other; there must be at least one."""
        first = parts[0]
        if len(parts) == 1:
            return first
        return Partial(
            np.concatenate([part.keys for part in parts]),
            {name: np.concatenate([part.headers[name] for part in parts]) for name in first.headers},
            {name: joined([part.states[name] for part in parts]) for name in first.states},
            tuple(rows for part in parts for rows in part.support),
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What is known of one key; each reducer's value under its name, `result["targets"]` or `result.targets`."""

    key: tuple[int, ...]
    """Its words."""
    num: int
    """Observations taken, all streams together."""
    begin: int
    """Time of the first."""
    end: int
    """Time of the last."""
    values: Mapping[str, Value]

    @property
    def span(self) -> str:
        """From the first observation to the last, for people."""
        return format_duration(self.end - self.begin)

    def __getitem__(self, name: str) -> Value:
        """The value of a reducer."""
        return self.values[name]

    def __getattr__(self, name: str) -> Any:
        """The value of a reducer, whose class the calculation decides."""
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(f"there is no reducer {name!r}; there are {sorted(self.values)}") from None


def _between(ends: np.ndarray, part: slice) -> slice:
    """The places of the items of the keys of a slice."""
    return slice(int(ends[part.start - 1]) if part.start else 0, int(ends[: part.stop][-1]))


def _items(counts: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """The places of the items of some keys."""
    own = counts[keys]
    starts = (np.cumsum(counts) - counts)[keys]
    places: np.ndarray = np.repeat(starts - (np.cumsum(own) - own), own) + np.arange(int(own.sum()))
    return places


def joined(states: Sequence[Arrays]) -> Arrays:
    """The states of one reducer for some keys, then for others, and so on; at least one."""
    if len(states) == 1:
        return states[0]
    return {name: np.concatenate([each[name] for each in states]) for name in states[0]}


def results(definition: Definition, partial: Partial) -> list[Result]:
    """A `Result` a key, in order. A stream that took nothing has the empty values and the times of the key."""
    whole = _whole(partial)
    of_reducer = {}
    for reducer in definition.reducers:
        header = partial.headers[reducer.stream].copy()
        for edge in ("begin", "end"):
            header[edge] = np.where(header["num"] > 0, header[edge], whole[edge])
        of_reducer[reducer.name] = reducer.results(header, partial.states[reducer.name])
    values = [dict(zip(of_reducer, row, strict=True)) for row in zip(*of_reducer.values(), strict=True)]
    rows = zip(map(tuple, partial.keys.tolist()), rows_of(whole), values, strict=True)
    return [Result(key, *header, of_key) for key, header, of_key in rows]


def _whole(partial: Partial) -> np.ndarray:
    """The streams' headers as one."""
    headers = list(partial.headers.values())
    if len(headers) == 1:
        return headers[0]
    whole = np.empty(len(partial), HEADER)
    whole["num"] = np.sum([header["num"] for header in headers], axis=0)
    whole["begin"] = np.min([header["begin"] for header in headers], axis=0)
    whole["end"] = np.max([header["end"] for header in headers], axis=0)
    return whole
