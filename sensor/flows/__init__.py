"""Flows: packets become connections, and connections raise events."""

from sensor.flows.event import EVENT, ConnState, Event
from sensor.flows.options import FlowOptions
from sensor.flows.table import FlowTable

__all__ = ["EVENT", "ConnState", "Event", "FlowOptions", "FlowTable"]
