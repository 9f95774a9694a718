"""Streams: the columns of events to observe, and their keys."""

from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensor.address import to_address
from sensor.events import EVENTS, AddressColumn, Batch, TextColumn, empty
from sensor.sumstats.text import TEXT_WORDS, text_of, text_words
from sensor.sumstats.zeek_types import Key
from sensor.words import hint

Part = str | Callable[[Batch], np.ndarray]
"""A column's name, or a function that computes a column of whole numbers from a batch."""


class DetectionError(Exception):
    """A detection cannot be loaded or set as requested; the text is one line for its author or user."""


@dataclass(frozen=True)
class KeyColumn:
    """One part of a key or of a value: its source, and its kind: an address, a text or a whole number."""

    name: str
    source: Part
    kind: str

    @property
    def words(self) -> int:
        """The number of uint64 words that hold it."""
        return {"address": 2, "text": TEXT_WORDS}.get(self.kind, 1)

    def read_into(self, words: np.ndarray, batch: Batch) -> None:
        """Fill in its words for each row of a batch: shape (n, words), uint64."""
        column = getattr(batch, self.source) if isinstance(self.source, str) else batch.once(self.source)
        if isinstance(column, AddressColumn) and self.kind == "address" and len(column) == len(words):
            words[:, 0], words[:, 1] = column.hi, column.lo
        else:
            words[:] = self.pack(column, len(batch))

    def pack(self, column: Any, n: int) -> np.ndarray:
        """Return a column as words; DetectionError if its kind is wrong."""
        if isinstance(column, AddressColumn):
            if len(column) != n:
                raise DetectionError(f"{self.name}: {len(column)} addresses for {n} rows; give one for each row")
            words: np.ndarray = column.words
        elif isinstance(column, TextColumn):
            words = text_words(column.bytes())
        else:
            values = np.asarray(column)
            if values.shape != (n,):
                raise DetectionError(f"{self.name}: {values.shape} values for {n} rows; give one for each row")
            if values.dtype.kind in "SU" or (values.dtype.kind == "O" and _are_texts(values)):
                words = text_words(values if values.dtype.kind == "S" else values.tolist())
            elif values.dtype.kind in "iub":
                words = values.astype(np.uint64).reshape(n, 1)
            else:
                raise DetectionError(f"{self.name}: a column of {values.dtype} cannot be a key; {_TAKES}")
        if words.shape[1] != self.words:
            raise DetectionError(f"{self.name}: it is of kind {self.kind}; what was given is not. {_HINT}")
        return words

    def unpack(self, words: Sequence[int]) -> Any:
        """Return the value of one row's words."""
        if self.kind == "address":
            return to_address(words[0], words[1])
        return text_of(words) if self.kind == "text" else int(np.array(words[0], np.uint64).astype(np.int64))

    def split(self, words: np.ndarray) -> Any:
        """Return the column of many rows' words: an AddressColumn, or an array of whole numbers or texts."""
        if self.kind == "address":
            return AddressColumn(words[:, 0], words[:, 1])
        if self.kind == "text":
            return np.array([text_of(row) for row in words.tolist()])
        return words[:, 0].astype(np.int64)


def _are_texts(values: np.ndarray) -> bool:
    return all(isinstance(each, str | bytes) for each in values)


_TAKES = "it takes addresses, whole numbers and text"
_HINT = "A function that gives text is marked with @text, one that gives addresses with @address"


class Columns:
    """Several columns side by side, such as a key, and the names of their values."""

    def __init__(self, parts: Sequence[Part], events: Sequence[str], role: str) -> None:
        self.columns = tuple(column_of(part, events, role) for part in parts)
        self.words = sum(column.words for column in self.columns)
        names = [column.name for column in self.columns]
        self.tuple_type: Any = namedtuple(role.title(), names)  # type: ignore[misc]  # made at run time
        ends = np.cumsum([0, *(column.words for column in self.columns)]).tolist()
        self._places = {column.name: slice(*ends[at : at + 2]) for at, column in enumerate(self.columns)}

    def read(self, batch: Batch) -> np.ndarray:
        """Return the words of each row: shape (n, words), uint64, C-contiguous."""
        words = np.empty((len(batch), self.words), np.uint64)
        self.read_into(words, batch)
        return words

    def read_into(self, words: np.ndarray, batch: Batch) -> None:
        """Fill in the words of each row: shape (n, words), uint64."""
        for column in self.columns:
            column.read_into(words[:, self._places[column.name]], batch)

    def gather(self, given: Sequence[Any], n: int) -> np.ndarray:
        """Return the words of columns that a detection computed itself, in the order of this key's parts."""
        if len(given) != len(self.columns):
            names = ", ".join(column.name for column in self.columns)
            raise DetectionError(f"{len(given)} columns given where it takes ({names})")
        named = zip(given, self.columns, strict=True)
        return np.ascontiguousarray(np.hstack([column.pack(each, n) for each, column in named]))

    def places(self) -> dict[str, slice]:
        """Return the slice of each part's words, by name."""
        return self._places

    def kinds(self) -> dict[str, str]:
        """Return each part's kind, by name: address, text or number."""
        return {column.name: column.kind for column in self.columns}

    def named(self, words: Sequence[int]) -> dict[str, Any]:
        """Return one row's words as parts by name."""
        found: dict[str, Any] = self.unpack(words)._asdict()
        return found

    def unpack(self, words: Sequence[int]) -> Any:
        """Return one row's words as a named tuple of addresses, whole numbers and texts."""
        places = zip(self.columns, self._places.values(), strict=True)
        return self.tuple_type(*[column.unpack(words[place]) for column, place in places])

    def change(self, words: np.ndarray, change: Callable[[Any], Any]) -> np.ndarray:
        """Return the words after a function has changed the columns, which it gets and returns as a named tuple.

        A column that is returned unchanged keeps its words, which hold more than a shortened text.
        """
        places = list(self.places().values())
        given = self.tuple_type(*(each.split(words[:, at]) for each, at in zip(self.columns, places, strict=True)))
        changed = change(given)
        if len(changed) != len(places):
            return self.gather(changed, len(words))  # raises the right error
        parts = zip(self.columns, places, given, changed, strict=True)
        columns = [words[:, at] if new is old else each.pack(new, len(words)) for each, at, old, new in parts]
        return np.ascontiguousarray(np.hstack(columns))


class ScalarKeys:
    """Takes Zeek's `Key{str, host}` in place of columns, for a stream fed by hand, one observation at a time."""

    columns: tuple[KeyColumn, ...] = ()
    words = Key.WORDS
    flags = Key.FLAGS
    """The bit in the first word that marks a part as present."""

    def places(self) -> dict[str, slice]:
        """Return the slice of each part's words, by name."""
        return {"host": slice(1, 3), "str": slice(3, Key.WORDS)}

    def kinds(self) -> dict[str, str]:
        """Return each part's kind, by name."""
        return {"host": "address", "str": "text"}

    def named(self, words: Sequence[int]) -> dict[str, Any]:
        """Return the parts present in one row's words, by name."""
        key = Key.of(words)
        return {name: value for name in self.flags if (value := getattr(key, name)) is not None}

    def unpack(self, words: Sequence[int]) -> Key:
        """Return one row's words as a Key."""
        return Key.of(words)

    def change(self, words: np.ndarray, change: Callable[[Key], Key]) -> np.ndarray:
        """Return the words after a function has changed each key."""
        return np.array([change(Key.of(row)).words() for row in words.tolist()], np.uint64).reshape(len(words), -1)


class Stream:
    """Observations: one for each row of the named events where `where` holds.

    key: names of columns, or functions of the batch that compute whole numbers (the function's name is the part's).
    value: the column (or several) that reducers read if they name none of their own; without it each observation counts
    1.
    where: a function of the batch that returns a boolean column. `batch.event` is the event's name.
    A stream without events is fed by hand: `self.observe(stream, keys, values)` under `@on`; with `key=Key`, by
    `self.observe(stream, Key(host=...), Observation(num=...))`, as in Zeek.
    """

    def __init__(
        self,
        *events: str,
        key: Part | Sequence[Part] | type[Key],
        value: Part | Sequence[Part] | None = None,
        where: Callable[[Batch], np.ndarray] | None = None,
    ) -> None:
        for event in events:
            check_event(event)
        self.events, self.where = events, where
        if key is Key and (events or value is not None):
            raise DetectionError("a stream with key=Key is fed by hand: it names neither events nor a value")
        self.key = ScalarKeys() if key is Key else Columns(parts_of(key), events, "key")  # type: ignore[arg-type]
        self.value = None if value is None else parts_of(value)
        if value is not None:
            Columns(self.value or (), events, "value")
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def try_functions(self) -> None:
        """Call the stream's functions with batches of no rows; DetectionError if one cannot work."""
        parts = [*(self.key.columns if isinstance(self.key, Columns) else ()), *parts_of(self.value or ())]
        for event in self.events:
            batch = empty(event)
            try_function(self.where, batch)
            for part in parts:
                try_function(part.source if isinstance(part, KeyColumn) else part, batch)


_MISTAKES = (AttributeError, NameError, TypeError, ImportError, SystemExit)
"""Errors of a function that no rows could fix. Without rows it may raise others, as max() of nothing does."""


def try_function(function: Any, batch: Batch) -> None:
    """Call a detection's function with a batch of no rows; DetectionError if it is misspelt or cannot work."""
    if not callable(function):
        return
    try:
        function(batch)
    except _MISTAKES as error:
        raise DetectionError(f"{function.__name__} does not work for {batch.event}: {error}") from error
    except Exception:
        return


def parts_of(parts: Part | Sequence[Part]) -> tuple[Part, ...]:
    """Return one part or several as a tuple."""
    return (parts,) if isinstance(parts, str) or callable(parts) else tuple(parts)


def check_event(event: str) -> None:
    """Raise DetectionError, with the nearest name, if there is no such event."""
    if event not in EVENTS:
        raise DetectionError(f"there is no event {event!r}{hint(event, EVENTS)}; `sensor events` lists them")


def text(function: Callable[[Batch], Any]) -> Callable[[Batch], Any]:
    """Mark a function of the batch that returns a column of text, for use as a key or a value."""
    function.kind = "text"  # type: ignore[attr-defined]
    return function


def address(function: Callable[[Batch], Any]) -> Callable[[Batch], Any]:
    """Mark a function of the batch that returns an AddressColumn, for use as a key or a value."""
    function.kind = "address"  # type: ignore[attr-defined]
    return function


def column_of(part: Part, events: Sequence[str], role: str) -> KeyColumn:
    """Return the column that a part names or computes; DetectionError suggests the nearest name for a misspelt one."""
    if not isinstance(part, str):
        return KeyColumn(part.__name__, part, getattr(part, "kind", "number"))
    for event in events or _all_with(part):
        columns = EVENTS[event].columns
        if part not in columns:
            raise DetectionError(f"the event {event} has no column {part!r} for a {role}{hint(part, columns)}")
        kind = columns[part].type
    return KeyColumn(part, part, {"address": "address", "bytes": "text", "text": "text"}.get(kind, "number"))


def _all_with(part: str) -> list[str]:
    having = [name for name, event in EVENTS.items() if part in event.columns]
    if not having:
        every = {column for event in EVENTS.values() for column in event.columns}
        raise DetectionError(f"no event has a column {part!r}{hint(part, every)}; `sensor events` lists them")
    return having[:1]
