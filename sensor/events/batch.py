"""Batches: rows of one event as columns."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from sensor.event_type import NO_TEXT, EventRows, EventType, fields_of
from sensor.events.catalogue import EVENTS
from sensor.events.columns import AddressColumn, TextColumn
from sensor.words import hint


class Batch:
    """Rows of one event as columns: `batch.orig_p` is an array, `batch.orig_h` an AddressColumn.

    of: the producer's rows. index: the numbers (int64) of its rows among them, in the order in which the events
    happened. A column is gathered at first use, and is a copy: a batch is valid as long as the producer's rows are, a
    column without limit; of a text column, the bytes are valid as long as the rows.
    """

    def __init__(self, event: str, of: EventRows, index: np.ndarray) -> None:
        self.event = event
        self._of, self._index = of, index
        self._gathered: dict[str, Any] = {}
        self._computed: dict[Callable[[Batch], Any], Any] = {}

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, rows: Any) -> "Batch":
        """Select rows by a mask, a slice or row numbers."""
        return Batch(self.event, self._of, self._index[rows])

    @property
    def order(self) -> np.ndarray:
        """int64: grows from event to event, over all events of a worker."""
        order: np.ndarray = self._of.rows["order"][self._index]
        return order

    def once(self, function: Callable[["Batch"], Any]) -> Any:
        """Return a function's result for this batch, and call it only once. Do not write to the result."""
        if function not in self._computed:
            self._computed[function] = function(self)
        return self._computed[function]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # attributes that copying looks for
            raise AttributeError(name)
        if name not in self._gathered:
            self._gathered[name] = self._gather(name)
        return self._gathered[name]

    def _gather(self, name: str) -> Any:
        columns = self._type.columns
        if name not in columns:
            raise AttributeError(f"the event {self.event} has no column {name!r}{hint(name, columns)}")
        kind, rows = columns[name].type, self._of.rows
        if kind not in ("address", "text"):
            return rows[name][self._index]
        first, second = (rows[field][self._index] for field, _ in fields_of(name, columns[name]))
        return AddressColumn(first, second) if kind == "address" else TextColumn(self._of.text, first, second)

    @property
    def _type(self) -> EventType:
        return next(each for each in self._of.types if each.name == self.event)


def empty(event: str) -> Batch:
    """Return a batch of an event without rows, for trying a function of batches."""
    event_type = EVENTS[event]
    return Batch(event, EventRows((event_type,), np.empty(0, event_type.dtype), NO_TEXT), np.empty(0, np.int64))


def split(given: Iterable[EventRows]) -> Iterator[tuple[str, Batch]]:
    """Split the rows of several producers into a batch for each kind of event, in the order of producers and kinds."""
    for of in given:
        kinds = np.ascontiguousarray(of.rows["event"])
        for kind in np.flatnonzero(np.bincount(kinds)).tolist():
            name = of.types[kind].name
            yield name, Batch(name, of, np.flatnonzero(kinds == kind))
