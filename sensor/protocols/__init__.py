"""Protocols: turn the payloads of flows into events.

Input is segments of flows and the bytes that they carry; output is rows of events, with text. An analyzer runs only if
some detection uses its events.

| file | what it is |
| --- | --- |
| `analyzer.py` | the base class of a protocol's analyzer; a new protocol is one such class |
| `analysis.py` | the analyzers of one worker |
| `segments.py` | segments, with the positions of their bytes |
| `prefixes.py` | the first bytes of TCP streams, put in order |
"""

from sensor.event_type import CONNECTION, Column, EventType
from sensor.protocols.analysis import Analysis
from sensor.protocols.analyzer import ANALYZERS, MESSAGE_EVENTS, Analyzer
from sensor.protocols.prefixes import Prefixes
from sensor.protocols.segments import Segments

__all__ = [
    "ANALYZERS",
    "CONNECTION",
    "MESSAGE_EVENTS",
    "Analysis",
    "Analyzer",
    "Column",
    "EventType",
    "Prefixes",
    "Segments",
]
