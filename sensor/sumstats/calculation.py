"""The contract of a calculation, and all that those with a state of fixed size have in common.

A calculation is one file with one `Reducer` class: its options, its state, its kernels, its result. What each promises,
and the tests hold every one to:

- a key that was never observed has the empty state, and merging it changes nothing;
- merging is commutative and associative, so any split of the observations gives the same result as the whole;
- `update` applies a batch in order, so the result does not depend on how observations were cut into batches.

A state of fixed size needs a `Scalar`: a dtype, two kernels and two functions (see `sum.py`). Anything else brings a
`Column` of its own (see `unique.py`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

Arrays = Mapping[str, np.ndarray]
"""The states of one reducer for some keys, as named arrays that may be sent as they are."""

HEADER = np.dtype([("num", "<i8"), ("begin", "<i8"), ("end", "<i8")])
"""How many observations a stream of a key took, and the time of the first and the last: Zeek's ResultVal."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Observations in order, as every column of a stream sees them."""

    rows: np.ndarray
    """The key's row (int64, (n,)); -1 where the observation was dropped."""
    ts: np.ndarray
    """The time (int64, (n,))."""
    applies: np.ndarray
    """Whether this stream takes the observation (bool, (n,))."""


@dataclass(frozen=True, slots=True)
class Value:
    """What a reducer has to say of one key; each calculation adds its own fields."""

    num: int
    """Observations taken."""
    begin: int
    """Time of the first."""
    end: int
    """Time of the last."""


class Column(ABC):
    """The states of one reducer in one store, a row a key.

    States come in two forms, both as arrays: as measured (what a threshold needs) and as viewed (all that another
    node needs to go on). They differ only where a state is not of fixed size.
    """

    @property
    def counters(self) -> Mapping[str, int]:
        """What was refused, by name."""
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
        """Take the fields of all rows, from now on these; the store makes room and fills them with `empty`."""

    @abstractmethod
    def update(self, batch: Batch, values: np.ndarray, *, watch: bool) -> Arrays:
        """Take a batch in order; with `watch`, give each row's state as measured right after each observation."""

    @abstractmethod
    def measure(self, rows: np.ndarray) -> Arrays:
        """The states of some rows, as measured."""

    @abstractmethod
    def view(self, rows: np.ndarray, measured: Arrays) -> Arrays:
        """Complete what was measured now or during the last update; before `settle`, that is."""

    @abstractmethod
    def merge(self, rows: np.ndarray, states: Arrays) -> None:
        """Merge viewed states into rows (-1: dropped). ValueError says what is malformed."""

    def clear(self) -> None:  # noqa: B027 - as below
        """Forget what is held beside the fields, which the store clears itself."""

    def settle(self, rows: np.ndarray) -> None:  # noqa: B027 - most hold nothing beside their fields
        """Tidy up the rows of the last update or merge."""


@dataclass(frozen=True)
class Reducer(ABC):
    """One calculation over one stream of a SumStat, under a name."""

    name: str
    """What its result is called."""
    stream: str = ""
    """Reducers of one stream take the same observations and share `num`, `begin` and `end`."""

    calculation: ClassVar[str]
    """Zeek's name for it."""

    @property
    def element_words(self) -> int:
        """uint64 words of an observed value; 0: it is a float64."""
        return 0

    def check(self) -> None:
        """Raise ValueError naming an option that is out of range."""
        if not self.name.isidentifier():
            raise ValueError(f"a reducer's name must be an identifier, not {self.name!r}")

    @abstractmethod
    def column(self, secret: np.ndarray, max_elements: int) -> Column:
        """An empty column; `secret` keys its tables and `max_elements` bounds what its rows hold together."""

    @abstractmethod
    def values(self, num: np.ndarray, states: Arrays) -> np.ndarray:
        """What a threshold is compared with (float64, a row a key); NaN, which reaches none, where there is nothing."""

    @abstractmethod
    def results(self, headers: np.ndarray, states: Arrays) -> list[Value]:
        """The result of each key, from viewed states."""


class Scalar(Reducer):
    """A reducer whose state is one record of fixed size."""

    empty: ClassVar[np.ndarray]
    """The state of no observation: an array of shape ()."""

    @abstractmethod
    def update(self, state: np.ndarray, batch: Batch, values: np.ndarray, after: np.ndarray) -> None:
        """Apply `values` (float64) to `state`; if `after` is not empty, copy each row's state there as it goes."""

    @abstractmethod
    def merge(self, state: np.ndarray, rows: np.ndarray, other: np.ndarray) -> None:
        """Merge each of `other` into its row of `state`; -1 is passed over."""

    def column(self, secret: np.ndarray, max_elements: int) -> Column:
        """An empty column of such records."""
        return Scalars(self)


class Scalars(Column):
    """The states of a `Scalar`: one array."""

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

    def update(self, batch: Batch, values: np.ndarray, *, watch: bool) -> Arrays:
        """Take a batch in order."""
        after = np.zeros(len(batch.rows), self._state.dtype) if watch else self._unwatched
        self._reducer.update(self._state, batch, values, after)
        return {"state": after}

    def measure(self, rows: np.ndarray) -> Arrays:
        """The states of some rows."""
        return {"state": self._state[rows]}

    def view(self, rows: np.ndarray, measured: Arrays) -> Arrays:
        """What was measured is all there is."""
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
