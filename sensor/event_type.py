"""Event types: how a producer (the flow table, a protocol's analyzer) declares its events and delivers them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

_FIELDS: dict[str, tuple[tuple[str, str], ...]] = {
    "address": (("_hi", "u8"), ("_lo", "u8")),
    "port": (("", "u2"),),
    "integer": (("", "i8"),),
    "duration": (("", "i8"),),
    "time": (("", "i8"),),
    "mac": (("", "u8"),),
    "text": (("_at", "i8"), ("_len", "i8")),
}


@dataclass(frozen=True, slots=True)
class Column:
    """The content of one column of an event."""

    type: str
    """address, port, integer, duration or time (int64 ns), mac (48 bits as uint64), state (ConnState), bytes (of a
    fixed size, in the row), or text (bytes of any size, in the arena of the rows)."""
    doc: str


TIMES = {
    "ts": Column("time", "when it happened"),
    "seen": Column("time", "when the last packet that it tells of came: before `ts` where a wait was over"),
}
"""Columns of every event."""

_ORIG_H = "the originator; in ARP, the sender's protocol address; in what ICMP quotes, the quoted packet's"
_RESP_H = "the responder; in ARP, the target's protocol address; in what ICMP quotes, the quoted packet's"

ENDS = {"orig_h": Column("address", _ORIG_H), "resp_h": Column("address", _RESP_H)}
"""Columns of every event that is about two hosts."""

CONNECTION = TIMES | {
    "orig_h": ENDS["orig_h"],
    "orig_p": Column("port", "its port; of an ICMP flow, the type of its messages"),
    "resp_h": ENDS["resp_h"],
    "resp_p": Column("port", "its port; of an ICMP flow, the type that answers, or the code where none does"),
    "proto": Column("integer", "IP protocol number"),
}
"""Columns of every event of a flow; a protocol's events have them, and its own beside them."""


def fields_of(name: str, column: Column) -> list[tuple[str, str]]:
    """Return the fields of a row, with their dtypes, that hold a column: `orig_h` is in `orig_hi` and `orig_lo`."""
    stem = name.removesuffix("_h") if column.type == "address" else name
    return [(stem + suffix, dtype) for suffix, dtype in _FIELDS[column.type]]


@dataclass(frozen=True)
class EventType:
    """One kind of event: its columns, and the dtype of the rows that hold them.

    rows: the row dtype, from a producer whose kinds of events share rows; None: it is made of the columns. Either has
    the fields `event` (the kind's number among those of its producer) and `order`.
    """

    name: str
    doc: str
    columns: Mapping[str, Column]
    rows: np.dtype | None = field(default=None, compare=False)

    @cached_property
    def dtype(self) -> np.dtype:
        """The dtype of the rows."""
        if self.rows is not None:
            return self.rows
        own = [each for name, column in self.columns.items() for each in fields_of(name, column)]
        return np.dtype([("order", "i8"), *own, ("event", "u1")], align=True)


NO_TEXT = np.empty(0, np.uint8)


class EventRows(NamedTuple):
    """Events of one producer, in the order in which they happened."""

    types: tuple[EventType, ...]
    """The producer's kinds of events, by the number in `event`."""
    rows: np.ndarray
    """Rows of the types' dtype. `order` (int64) grows from packet to packet over all producers of a worker."""
    text: np.ndarray
    """The arena (uint8) of the text columns."""
