"""Removal: flows that time out, or are evicted, raise their last events and are forgotten."""

import numpy as np

from sensor._jit import njit
from sensor.flows.contacts import note_open
from sensor.flows.event import Event
from sensor.flows.event_writer import write_end
from sensor.flows.flow import (
    COUNTED,
    HOLED,
    has_mark,
)
from sensor.flows.network import leave
from sensor.flows.segment import is_followed, write_end_of_flow
from sensor.flows.sequence_gaps import forget
from sensor.flows.timers import (
    ATTEMPT,
    first_due,
    oldest,
    unlink,
)

ROOM = 10
"""More events, or segments, than one packet or one expiry can raise."""

DONE, OUT_FULL, INDEX_FULL = range(3)
"""Reasons why a kernel returns."""

_CONNECTION_ATTEMPT, _REMOVE = int(Event.CONNECTION_ATTEMPT), int(Event.CONNECTION_STATE_REMOVE)
_AT_THE_END = (_CONNECTION_ATTEMPT, _REMOVE)


@njit
def is_full(table):
    """True if a table's events or segments lack room for those of one packet, or one expiry."""
    if table.state["segments"] + ROOM > table.segments.shape[0]:
        return True
    return table.state["written"] + ROOM > table.out.shape[0]


@njit
def remove(table, slot, ts):
    """Remove a flow: raise its remaining events and forget it. ts: ns."""
    flow = table.flows[slot]
    for event in _AT_THE_END:
        if event == _REMOVE or flow["list"] == ATTEMPT:
            write_end(table.out, table.state, table.contacts, event, flow, ts)
    if is_followed(table.state, flow["proto"]):
        write_end_of_flow(table, slot, ts)
    if has_mark(flow, COUNTED):
        note_open(table.contacts, table.state, flow, -1, ts)
    if np.int64(flow["seen"]) & HOLED != 0:
        forget(table.holes, table.state, slot)
    unlink(table, slot)
    leave(table, slot)
    flow["after"] = table.state["free"]
    table.state["free"] = slot
    table.state["flows_open"] -= 1


@njit
def expire(table, until, latest):
    """Remove every flow due at or before `until`, in order, as of its due time but no later than `latest` (ns)."""
    while True:
        which, when = first_due(table)
        if which < 0 or when > until:
            table.state["next_due"] = when
            return DONE
        if is_full(table):
            return OUT_FULL
        remove(table, table.lists[which]["first"], min(when, latest))


@njit
def _count_eviction(state, flow, rank):
    if rank == 0:
        state["evicted_half_open"] += 1
        if flow["list"] == ATTEMPT:
            state["attempts_cut_short"] += 1
    elif rank == 1:
        state["evicted_one_packet"] += 1
    elif rank == 2:
        state["evicted_idle"] += 1
    else:
        state["evicted_established"] += 1


@njit
def take_slot(table, now):
    """Return a free slot; if there is none, evict a flow."""
    if table.state["free"] < 0 and table.state["touched"] == table.flows.shape[0]:
        slot, rank = oldest(table)
        _count_eviction(table.state, table.flows[slot], rank)
        remove(table, slot, now)
    slot = table.state["free"]
    if slot < 0:
        slot = table.state["touched"]
        table.state["touched"] += 1
    else:
        table.state["free"] = np.int64(table.flows[slot]["after"])
    return slot
