"""The catalogue of events that detections can name: those of the flow table, and of every declared protocol.

Names and meanings are Zeek's. A packet's event has the packet clock's time; the event of a finished wait has the time
at which the wait ended, however much later the packet that showed it.
"""

from collections import ChainMap
from collections.abc import Mapping

from sensor.event_type import Column, EventType
from sensor.flows.event_types import FLOW_EVENTS
from sensor.protocols import MESSAGE_EVENTS

EVENTS: Mapping[str, EventType] = ChainMap(MESSAGE_EVENTS, {each.name: each for each in FLOW_EVENTS})
"""Every event, by name."""


def columns() -> dict[tuple[str, ...], dict[str, Column]]:
    """Return every column once, by name, grouped by the names of the events that have it."""
    found: dict[str, tuple[Column, list[str]]] = {}
    for event in EVENTS.values():
        for name, column in event.columns.items():
            found.setdefault(name, (column, []))[1].append(event.name)
    grouped: dict[tuple[str, ...], dict[str, Column]] = {}
    for name, (column, events) in found.items():
        grouped.setdefault(tuple(events), {})[name] = column
    return grouped
