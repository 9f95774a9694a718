"""Flows: packets become connections, and connections raise events.

Input is columns of packets; output is columns of events. All state is arrays that kernels change. In kernels, `table`
is an `Arrays`, `state` its STATE record, `contacts` a `Contacts`, `holes` HOLE rows, `flow` a FLOW row, `packet` a
PACKET row, `key` a `FlowKey`, and `secret` two uint64; times are int64 ns.

| file | what it is |
| --- | --- |
| `table.py`, `table_state.py`, `options.py` | the flow table, its arrays, and its options |
| `track.py`, `tcp.py`, `icmp.py`, `use.py`, `removal.py`, `timers.py` | the effects of packets and of time on flows |
| `flow.py`, `key.py`, `index.py`, `network.py` | one flow, its key, and how it is found |
| `contacts.py` | originators and the services that they tried, kept for a day |
| `sequence.py`, `sequence_gaps.py`, `capture_loss.py` | TCP's sequence numbers, and bytes that the capture missed |
| `event.py`, `event_types.py`, `event_writer.py` | the events, their columns, and how they are written |
| `segment.py` | the link between payloads and flows |
| `sharding.py` | which worker tracks a packet |
"""

from sensor.flows.event import EVENT, ConnState, Event
from sensor.flows.options import FlowOptions
from sensor.flows.table import FlowTable

__all__ = ["EVENT", "ConnState", "Event", "FlowOptions", "FlowTable"]
