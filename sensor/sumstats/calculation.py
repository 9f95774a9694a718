"""The contract of a calculation, and what those with a state of fixed size have in common.

A calculation is one file in `sensor.sumstats.calculations` with one `Reducer` class: its options, its state, its
kernels, its result. It is found there by itself: there is no list to add it to. What each promises, and the tests hold
every one to:

- a key that was never observed has the empty state, and merging it changes nothing;
- merging is commutative and associative, so any split of the observations gives the same result as the whole (a sketch
  may differ within the bound that it states);
- `update` applies a batch in order, so the result does not depend on how observations were cut into batches.

A state of fixed size needs a `Scalar`: a record, two kernels and two functions. This is a whole one:

    import numpy as np
    from dataclasses import dataclass
    from sensor._jit import njit
    from sensor.sumstats.calculation import Scalar, Value, rows_of

    @njit
    def _update(state, rows, values, applies, after):
        watch = after.shape[0] > 0
        for i in range(rows.shape[0]):
            row = rows[i]
            if row < 0:
                continue
            if applies[i]:
                state[row] += values[i] != 0.0
            if watch:
                after[i] = state[row]

    @njit
    def _merge(state, rows, other):
        for i in range(rows.shape[0]):
            if rows[i] >= 0:
                state[rows[i]] += other[i]

    @dataclass(frozen=True, slots=True)
    class Counted(Value):
        nonzero: int

    @dataclass(frozen=True)
    class Nonzero(Scalar):
        \"\"\"How many of the values were not zero.\"\"\"

        calculation = "NONZERO"
        empty = np.zeros((), np.int64)

        def update(self, state, batch, values, after):
            _update(state, batch.rows, values, batch.applies, after)

        def merge(self, state, rows, other):
            _merge(state, rows, other)

        def values(self, num, states):
            return states["state"].astype(np.float64)

        def results(self, headers, states):
            rows = zip(rows_of(headers), states["state"].tolist(), strict=True)
            return [Counted(*header, count) for header, count in rows]

A state that grows brings a `StateColumn` of its own: see `arena.py` for where its room comes from, and
`calculations/sample.py` for a short one.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sensor._jit import njit

Arrays = Mapping[str, np.ndarray]
"""The states of one reducer for some keys, as named arrays that may be sent as they are."""

_INT64 = np.dtype(np.int64)

HEADER = np.dtype([("num", "<i8"), ("begin", "<i8"), ("end", "<i8")])
"""How many observations a stream of a key took, and the time of the first and the last: Zeek's ResultVal."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a column is made for."""

    secret: np.ndarray
    """Keys the tables of this node (two uint64): no result depends on it."""
    sketch_key: np.ndarray
    """Keys what results go by, such as the hash of a sketch (two uint64): the same on all nodes."""
    max_bytes: int
    """What the column may hold beside the fields of the rows."""


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Observations in order, as every column of a stream sees them."""

    rows: np.ndarray
    """The key's row (int64, (n,)); -1 where the observation was dropped."""
    ts: np.ndarray
    """The time (int64, (n,))."""
    applies: np.ndarray
    """Whether this stream takes the observation (bool, (n,))."""

    def __getitem__(self, part: slice) -> "RowBatch":
        """Some of them, one after the other."""
        return RowBatch(self.rows[part], self.ts[part], self.applies[part])


@dataclass(frozen=True, slots=True)
class Value:
    """What a reducer has to say of one key; each calculation adds its own fields."""

    num: int
    """Observations taken."""
    begin: int
    """Time of the first."""
    end: int
    """Time of the last."""


class StateColumn(ABC):
    """The states of one reducer in one store, a row a key.

    States come in two forms, both as arrays: as measured (what a threshold needs) and as viewed (all that another
    node needs to go on). They differ only where a state is not of fixed size.
    """

    holds_more: ClassVar[bool] = False
    """Whether it holds anything beside the fields of the rows."""
    remembers: ClassVar[bool] = False
    """Whether `view` can go back to what was measured within the last update; if not, the store updates it only up to
    the observation that is to be viewed."""

    @property
    def counters(self) -> Mapping[str, int]:
        """Counts of what was refused for lack of room, by name."""
        return {}

    @property
    def nbytes(self) -> int:
        """Memory held beside the fields of the rows."""
        return 0

    @property
    @abstractmethod
    def empty(self) -> np.ndarray:
        """The field of a row in which nothing was observed: an array of shape ()."""

    @abstractmethod
    def attach(self, state: np.ndarray) -> None:
        """Take the fields of all rows, from now on these; the store makes room and fills new ones with `empty`."""

    @abstractmethod
    def update(self, batch: RowBatch, values: np.ndarray, *, watch: bool) -> Arrays:
        """Take a batch in order; with `watch`, give each row's state as measured right after each observation."""

    @abstractmethod
    def measure(self, rows: np.ndarray) -> Arrays:
        """The states of some rows, as measured."""

    @abstractmethod
    def view(self, rows: np.ndarray, measured: Arrays) -> Arrays:
        """Complete what was measured now, or (if it `remembers`) during the last update and before `compact`."""

    @abstractmethod
    def merge(self, rows: np.ndarray, states: Arrays) -> None:
        """Merge viewed states into rows (-1: dropped). ValueError says what is malformed."""

    def clear(self) -> None:  # noqa: B027 - as below
        """Forget what is held beside the fields, which the store clears itself."""

    def compact(self, rows: np.ndarray) -> None:  # noqa: B027 - most hold nothing beside their fields
        """Tidy up the rows of the last update or merge."""

    def renumber(self, numbers: np.ndarray) -> None:  # noqa: B027 - as above
        """Rows get other numbers: `numbers` (int64) has the new one of each, -1 where the row is forgotten.

        Called while the fields still lie where they were; the store moves them afterwards.
        """


@dataclass(frozen=True)
class Reducer(ABC):
    """One calculation over one stream of a SumStat, under a name."""

    name: str
    """What its result is called."""
    stream: str = ""
    """Reducers of one stream take the same observations and share `num`, `begin` and `end`."""

    calculation: ClassVar[str]
    """Zeek's name for it."""
    is_judged: ClassVar[bool] = True
    """Whether it has a number that a threshold can be compared with."""
    grows: ClassVar[bool] = False
    """Whether that number never falls, and that of a merge is at most the sum of the numbers merged."""
    is_exact: ClassVar[bool] = False
    """Whether that holds to the letter, and not only about."""

    @property
    def flat(self) -> tuple[str, ...]:
        """Those of its arrays that have no row a key: the items of all keys one after the other, `count` of each."""
        return ()

    @property
    def element_words(self) -> int:
        """uint64 words of an observed value; 0: it is a float64."""
        return 0

    def check(self) -> None:
        """Raise ValueError naming an option that is out of range."""
        if not self.name.isidentifier():
            raise ValueError(f"a reducer's name must be an identifier, not {self.name!r}")

    @abstractmethod
    def column(self, setting: Setting) -> StateColumn:
        """An empty column."""

    @abstractmethod
    def values(self, num: np.ndarray, states: Arrays) -> np.ndarray:
        """What a threshold is compared with (float64, a row a key); NaN, which reaches none, where there is nothing."""

    @abstractmethod
    def results(self, headers: np.ndarray, states: Arrays) -> list[Value]:
        """The result of each key, from viewed states."""

    def weights(self, values: np.ndarray) -> np.ndarray:
        """Return how much each of some observed values adds (float64), where `ceiling` goes by that."""
        return np.ones(len(values))

    def ceiling(self, num: np.ndarray, states: Arrays, added: np.ndarray) -> np.ndarray:
        """What the value of each key can come to at any time while so much is added (float64); infinite: anything.

        For columns that do not remember: a key that cannot reach a level need not be looked at closely.
        """
        return np.full(len(num), np.inf)


@dataclass(frozen=True)
class ElementReducer(Reducer):
    """A reducer whose values are elements: rows of words that are equal or not."""

    words: int = 1
    """Words of an element: 2 for an address."""

    @property
    def element_words(self) -> int:
        """uint64 words of an element."""
        return self.words

    def check(self) -> None:
        """Raise ValueError naming an option that is out of range."""
        super().check()
        if self.words < 1:
            raise ValueError(f"{self.name}: words must be at least 1")


class Scalar(Reducer):
    """A reducer whose state is one record of fixed size."""

    empty: ClassVar[np.ndarray]
    """The state of no observation: an array of shape ()."""

    @abstractmethod
    def update(self, state: np.ndarray, batch: RowBatch, values: np.ndarray, after: np.ndarray) -> None:
        """Apply `values` (float64) to `state`; if `after` is not empty, copy each row's state there as it goes."""

    @abstractmethod
    def merge(self, state: np.ndarray, rows: np.ndarray, other: np.ndarray) -> None:
        """Merge each of `other` into its row of `state`; -1 is passed over."""

    def column(self, setting: Setting) -> StateColumn:
        """An empty column of such records."""
        return Scalars(self)


class Scalars(StateColumn):
    """The states of a `Scalar`: one array."""

    remembers: ClassVar[bool] = True

    def __init__(self, reducer: Scalar) -> None:
        self._reducer = reducer
        self._state = np.empty(0, reducer.empty.dtype)
        self._unwatched = np.empty(0, reducer.empty.dtype)

    @property
    def empty(self) -> np.ndarray:
        """The state of no observation."""
        return self._reducer.empty

    def attach(self, state: np.ndarray) -> None:
        """Take the states of all rows."""
        self._state = state

    def update(self, batch: RowBatch, values: np.ndarray, *, watch: bool) -> Arrays:
        """Take a batch in order."""
        after = np.zeros(len(batch.rows), self._state.dtype) if watch else self._unwatched
        self._reducer.update(self._state, batch, values, after)
        return {"state": after}

    def measure(self, rows: np.ndarray) -> Arrays:
        """The states of some rows."""
        return {"state": self._state[rows]}

    def view(self, rows: np.ndarray, measured: Arrays) -> Arrays:
        """Return the measured states: there is nothing else."""
        return measured

    def merge(self, rows: np.ndarray, states: Arrays) -> None:
        """Merge states into rows."""
        self._reducer.merge(self._state, rows, checked(states, "state", self._state.dtype, len(rows)))


def rows_of(headers: np.ndarray) -> list[tuple[int, int, int]]:
    """Each header as num, begin and end."""
    rows: list[tuple[int, int, int]] = headers.tolist()
    return rows


def extended(array: np.ndarray, rows: int, empty: Any) -> np.ndarray:
    """A copy of `array` with room for `rows`, filled up with `empty`."""
    longer = np.empty((rows, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    longer[len(array) :] = empty
    return longer


def checked(states: Arrays, name: str, dtype: np.dtype[Any], rows: int) -> np.ndarray:
    """One of the arrays of a merge, of the one dtype that kernels take; ValueError where it cannot be that."""
    array = states.get(name)
    if array is None or array.dtype != dtype or array.shape[:1] != (rows,):
        raise ValueError(f"a state needs {name!r} as {rows} of {dtype}")
    return np.ascontiguousarray(array)


@njit
def _add_up(counts, total):
    """Return whether counts, none of them below 0, come to a total."""
    left = np.int64(total)
    for i in range(counts.shape[0]):
        if not 0 <= counts[i] <= left:
            return False
        left -= counts[i]
    return left == 0


def checked_counts(states: Arrays, items: str, rows: int) -> np.ndarray:
    """The array `count` (int64) of a merge: how many of `items` each row has; ValueError where they do not add up."""
    counts = checked(states, "count", _INT64, rows)
    have = len(states.get(items, ()))
    if counts.ndim != 1 or not _add_up(counts, have):
        raise ValueError(f"a state's counts do not add up to its {have} {items}")
    return counts
