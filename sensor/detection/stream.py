"""Streams: which columns of which events are observed, under which key."""

from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensor.address import to_address
from sensor.events import EVENTS, AddressColumn, Batch, nearest

Part = str | Callable[[Batch], np.ndarray]
"""A column's name, or a function that computes a column of whole numbers from a batch."""


class DetectionError(Exception):
    """A detection that cannot be loaded or set as asked; the text is one line for whoever wrote or runs it."""


@dataclass(frozen=True)
class Column:
    """One part of a key or of a value: where it comes from and how wide it is."""

    name: str
    source: Part
    is_address: bool

    @property
    def words(self) -> int:
        """How many uint64 words hold it."""
        return 2 if self.is_address else 1

    def read(self, batch: Batch) -> np.ndarray:
        """Its words for each row of a batch: shape (n, words), uint64."""
        column = getattr(batch, self.source) if isinstance(self.source, str) else self.source(batch)
        return to_words(column, len(batch), self.name)


def to_words(column: Any, n: int, name: str) -> np.ndarray:
    """A column as uint64 words of shape (n, words); DetectionError where it cannot be one."""
    if isinstance(column, AddressColumn):
        words: np.ndarray = column.words
        return words
    values = np.asarray(column)
    if values.shape != (n,):
        raise DetectionError(f"{name}: {values.shape} values for {n} rows; give one for each row")
    if values.dtype.kind not in "iub":
        raise DetectionError(
            f"{name}: a column of {values.dtype} cannot be a key; it takes addresses and whole numbers"
        )
    return values.astype(np.uint64).reshape(n, 1)


class Columns:
    """Some columns side by side, such as a key, and the names to give their values back under."""

    def __init__(self, parts: Sequence[Part], events: Sequence[str], role: str) -> None:
        self.columns = tuple(_column(part, events, role) for part in parts)
        self.words = sum(column.words for column in self.columns)
        names = [column.name for column in self.columns]
        self.tuple_type: Any = namedtuple(role.title(), names)  # type: ignore[misc]  # made at run time

    def read(self, batch: Batch) -> np.ndarray:
        """The words of each row: shape (n, words), uint64, C-contiguous."""
        return np.ascontiguousarray(np.hstack([column.read(batch) for column in self.columns]))

    def gather(self, given: Sequence[Any], n: int) -> np.ndarray:
        """The words of columns that a detection computed by itself, in the order of this key's parts."""
        if len(given) != len(self.columns):
            names = ", ".join(column.name for column in self.columns)
            raise DetectionError(f"{len(given)} key columns given where the stream has ({names})")
        named = zip(given, self.columns, strict=True)
        return np.ascontiguousarray(np.hstack([to_words(each, n, column.name) for each, column in named]))

    def unpack(self, words: Sequence[int]) -> Any:
        """One row's words as a named tuple of addresses and whole numbers."""
        values: list[Any] = []
        at = 0
        for column in self.columns:
            values.append(to_address(words[at], words[at + 1]) if column.is_address else int(words[at]))
            at += column.words
        return self.tuple_type(*values)


class Stream:
    """Observations: one for each row of the named events where `where` holds.

    key: names of columns, or functions of the batch that compute whole numbers (the function's name is the part's).
    value: the column (or several) that reducers look at when they name none of their own; without it each counts 1.
    where: a function of the batch that gives a boolean column. `batch.event` tells which event it is.
    A stream of no events is fed by hand: `self.observe(stream, keys, values)` under `@on`.
    """

    def __init__(
        self,
        *events: str,
        key: Part | Sequence[Part],
        value: Part | Sequence[Part] | None = None,
        where: Callable[[Batch], np.ndarray] | None = None,
    ) -> None:
        for event in events:
            check_event(event)
        self.events, self.where = events, where
        self.key = Columns(parts_of(key), events, "key")
        self.value = None if value is None else parts_of(value)
        if value is not None:
            Columns(self.value or (), events, "value")
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name


def parts_of(parts: Part | Sequence[Part]) -> tuple[Part, ...]:
    """One part or several, as a tuple."""
    return (parts,) if isinstance(parts, str) or callable(parts) else tuple(parts)


def check_event(event: str) -> None:
    """DetectionError, naming the nearest, where there is no such event."""
    if event not in EVENTS:
        raise DetectionError(f"there is no event {event!r}; did you mean {nearest(event, EVENTS)!r}?")


def _column(part: Part, events: Sequence[str], role: str) -> Column:
    if not isinstance(part, str):
        return Column(part.__name__, part, is_address=False)
    for event in events or _all_with(part):
        columns = EVENTS[event].columns
        if part not in columns:
            near = nearest(part, columns)
            raise DetectionError(f"the event {event} has no column {part!r} for a {role}; did you mean {near!r}?")
        kind = columns[part].type
        if kind == "bytes":
            raise DetectionError(f"the column {part!r} is text, which cannot be a {role}")
    return Column(part, part, is_address=kind == "address")


def _all_with(part: str) -> list[str]:
    having = [name for name, event in EVENTS.items() if part in event.columns]
    if not having:
        every = {column for event in EVENTS.values() for column in event.columns}
        raise DetectionError(f"no event has a column {part!r}; did you mean {nearest(part, every)!r}?")
    return having[:1]
