"""Protocols: what the payloads of flows say, as events.

Segments of flows and the bytes that they carry come in; rows of events, with text, go out. Only the analyzers run whose
events somebody looks at.

| file | what it is |
| --- | --- |
| `analyzer.py` | what a protocol's analyzer is derived from; a new protocol is one such class |
| `analysis.py` | the analyzers of one worker |
| `segments.py` | segments, with where their bytes are |
| `prefixes.py` | the beginnings of streams of TCP, put in order |
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
