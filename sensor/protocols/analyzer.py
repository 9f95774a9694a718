"""Analyzer: turns the segments of flows into the events of one protocol."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from sensor.address import to_words
from sensor.event_type import NO_TEXT, EventRows, EventType, fields_of
from sensor.packet import Kind
from sensor.protocols.segments import Segments

ANALYZERS: dict[str, type["Analyzer"]] = {}
"""Every declared analyzer, by the name of each event that it raises."""

MESSAGE_EVENTS: dict[str, EventType] = {}
"""Every event that an analyzer raises, by name."""

_FROM_SEGMENT = ("order", "ts", "orig_hi", "orig_lo", "resp_hi", "resp_lo", "orig_p", "resp_p", "proto")


class Analyzer:
    """The base class of a protocol's analyzer. Defining a subclass declares its events: detections can name them.

    transport: the kinds of packets whose segments it reads. events: the events it raises; their columns are
    `CONNECTION` and its own. One analyzer serves all the flows of a worker, in packet order; its events may not depend
    on how the segments are cut into calls. ValueError if the name of an event is taken.
    """

    transport: ClassVar[tuple[Kind, ...]] = (Kind.TCP,)
    events: ClassVar[tuple[EventType, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        columns = {name: column for event in cls.events for name, column in event.columns.items()}
        rows = EventType("", "", columns).dtype
        cls.events = tuple(replace(event, rows=rows) for event in cls.events)
        for event in cls.events:
            other = ANALYZERS.get(event.name)
            if other and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
                raise ValueError(f"{cls.__qualname__}: the event {event.name!r} is one of {other.__qualname__} already")
            ANALYZERS[event.name] = cls
            MESSAGE_EVENTS[event.name] = event

    def __init__(self) -> None:
        self.name = type(self).__name__
        self._rows: list[np.void] = []
        self._text = bytearray()

    @property
    def counters(self) -> dict[str, int]:
        """The analyzer's counters, by names of the catalogue of counters."""
        return {}

    def process(self, segments: Segments) -> None:
        """Process the next segments, of its transports and of others."""
        raise NotImplementedError

    def emit(self, event: str, segment: np.void, **columns: Any) -> None:
        """Raise an event at a segment (SEGMENT row), with its own columns: numbers, addresses, or bytes for text."""
        kind, own = next((at, each) for at, each in enumerate(self.events) if each.name == event)
        row = np.zeros(1, own.dtype)[0]
        for field in _FROM_SEGMENT:
            row[field] = segment[field]
        row["seen"] = segment["ts"]
        row["event"] = kind
        for name, value in columns.items():
            fields = [field for field, _ in fields_of(name, own.columns[name])]
            if own.columns[name].type == "text":
                at = len(self._text)
                self._text += value
                value = at, len(value)
            elif own.columns[name].type == "address":
                value = to_words(value)
            for field, part in zip(fields, value if len(fields) > 1 else (value,), strict=True):
                row[field] = part
        self._rows.append(row)

    def drain(self) -> EventRows:
        """Return the events since the last call."""
        rows = np.array(self._rows, self.events[0].dtype)
        text = np.frombuffer(bytes(self._text), np.uint8) if self._text else NO_TEXT
        self._rows, self._text = [], bytearray()
        return EventRows(self.events, rows, text)


def analyzers_of(events: Iterable[str]) -> list[type[Analyzer]]:
    """Return the analyzers that raise any of these events."""
    return list(dict.fromkeys(ANALYZERS[event] for event in sorted(events) if event in ANALYZERS))
