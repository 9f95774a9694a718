"""Flows: packets become connections, and connections raise events.

Columns of packets come in; columns of events go out. All state is arrays that kernels change.

| file | what it is |
| --- | --- |
| `table.py`, `table_state.py`, `options.py` | the flow table, its arrays, and its options |
| `track.py`, `tcp.py`, `icmp.py`, `use.py`, `removal.py`, `timers.py` | what a packet, or time, does to a flow |
| `flow.py`, `key.py`, `index.py`, `network.py` | one flow, what tells it from others, and how it is found |
| `contacts.py` | who has tried which service, remembered for a day |
| `sequence.py`, `sequence_gaps.py`, `capture_loss.py` | TCP's numbers, and what of a stream never passed by |
| `event.py`, `event_types.py`, `event_writer.py` | the events, their columns, and how they are written |
| `segment.py` | what ties payloads to flows |
| `sharding.py` | which worker tracks a packet |
"""

from sensor.flows.event import EVENT, ConnState, Event
from sensor.flows.options import FlowOptions
from sensor.flows.table import FlowTable

__all__ = ["EVENT", "ConnState", "Event", "FlowOptions", "FlowTable"]
