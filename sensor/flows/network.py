"""Networks: the VLAN and tunnel of a packet, which can distinguish flows of one five-tuple.

The network in which each side of a flow was seen is kept beside the flow. With `flows.key` `network`, a packet belongs
to

1. the flow whose same side was seen in the packet's network; else to
2. the flow whose other side was seen in it, and this side not yet: its answer; else to
3. the newest flow of the five-tuple whose other side has not been seen in any network, unless the packet opens a
   connection: the answer under another tag, as where each direction of a trunk has its own VLAN, or one has none;
4. else to a new flow.

In the index such a flow has an entry for each network in which it was seen, and, as long as it is the one of the third
rule, one for any network. With `five_tuple` it has one entry, and the networks only show that one direction had two.
"""

import numpy as np

from sensor._jit import njit
from sensor.flows.flow import ONE_WAY, FlowKey
from sensor.flows.index import SLOT, delete, find, insert, side_of, tag_of
from sensor.flows.key import key_of_flow

NETWORKS = np.dtype([("of", "i8", 2)])
"""For each side of a flow, the network in which it was first seen, if any."""

_VLAN_BITS = 12
ANY = 1 << 60
"""The number that stands for all networks in the index."""
_TOLD = 1 << 61  # for a side that was seen in another network too
_NETWORK = ANY - 1


@njit
def network_of(packet):
    """Return the outermost VLAN and the outermost tunnel's network as one number; 0 if there is neither.

    packet: a PACKET row.
    """
    return np.int64(packet["tunnel_id"]) << _VLAN_BITS | np.int64(packet["vlan"])


@njit
def _was_heard(flow, side):
    return flow["pkts"][side] > 0


@njit
def _heard_in(flow, heard, side, network):
    return _was_heard(flow, side) and heard["of"][side] & _NETWORK == network


@njit
def _find_heard(table, key, tag, is_quote):
    """Find a flow by the first two rules, as `find` does; a packet quoted by ICMP may be in either side's network."""
    mask = table.entries.shape[0] - 1
    place, found = tag & mask, -1
    while table.entries[place] != 0:
        entry = table.entries[place]
        if entry >> 32 == tag:
            slot = (entry & SLOT) - 1
            flow, heard = table.flows[slot], table.networks[slot]
            side = side_of(flow, key)
            if side >= 0:
                if _heard_in(flow, heard, side, key.network):
                    return 2 * slot + side
                if _heard_in(flow, heard, 1 - side, key.network) and (is_quote or not _was_heard(flow, side)):
                    found = 2 * slot + side
        place = (place + 1) & mask
        table.state["probes"] += 1
    return found


@njit
def find_flow(table, key, tag, may_join, is_quote):
    """Return twice the slot of a packet's flow, plus the side that sent the packet; -1 if there is none.

    `may_join`: it may be an answer under another tag; `is_quote`: an ICMP error quotes it.
    """
    if table.state["by_network"] == 0:
        return find(table.flows, table.entries, table.state, key, tag)
    found = _find_heard(table, key, tag, is_quote)
    if found >= 0 or not may_join or key.one_way != 0:
        return found
    found = find(table.flows, table.entries, table.state, key, tag_of(table.state["secret"], _in_any(key)))
    if found >= 0 and not is_quote and _was_heard(table.flows[found >> 1], found & 1):
        return -1
    return found


@njit
def _in_any(key):
    src, dst = (key.src_hi, key.src_lo), (key.dst_hi, key.dst_lo)
    any_of = np.int64(ANY)
    return FlowKey(src[0], src[1], dst[0], dst[1], key.src_p, key.dst_p, key.proto, key.one_way, any_of, key.mapped)


@njit
def enter(table, key, tag, slot):
    """Enter the flow that a packet begins into the index."""
    insert(table.entries, tag, slot)
    table.state["entries"] += 1
    if table.state["by_network"] == 0 or key.one_way != 0:
        return
    tag = tag_of(table.state["secret"], _in_any(key))
    earlier = find(table.flows, table.entries, table.state, key, tag)
    if earlier >= 0:
        delete(table.entries, tag, earlier >> 1)
        table.state["entries"] -= 1
    insert(table.entries, tag, slot)
    table.state["entries"] += 1


@njit
def leave(table, slot):
    """Remove a finished flow from the index."""
    flow, heard = table.flows[slot], table.networks[slot]
    one_way = 1 if np.int64(flow["marks"]) & ONE_WAY else 0
    if table.state["by_network"] == 0:
        delete(table.entries, tag_of(table.state["secret"], key_of_flow(flow, one_way, 0)), slot)
        table.state["entries"] -= 1
        return
    for side in range(2):
        network = heard["of"][side] & _NETWORK
        if _was_heard(flow, side) and not (side == 1 and _heard_in(flow, heard, 0, network)):
            delete(table.entries, tag_of(table.state["secret"], key_of_flow(flow, one_way, network)), slot)
            table.state["entries"] -= 1
    _leave_any(table, key_of_flow(flow, one_way, ANY), slot)


@njit
def _leave_any(table, key, slot):
    tag = tag_of(table.state["secret"], key)
    if key.one_way == 0 and find(table.flows, table.entries, table.state, key, tag) >> 1 == slot:
        delete(table.entries, tag, slot)
        table.state["entries"] -= 1


@njit
def note_network(table, key, slot, side, network, is_new):
    """Record the network of a flow's packet, before the packet is counted."""
    flow, heard = table.flows[slot], table.networks[slot]
    table.state["networks_seen"] = 1
    if _was_heard(flow, side):
        if heard["of"][side] & _NETWORK != network:
            _tell_apart(flow, heard, table.state, side)
        return
    heard["of"][side] = network
    if table.state["by_network"] == 0 or is_new:
        return
    if not _heard_in(flow, heard, 1 - side, network):
        insert(table.entries, tag_of(table.state["secret"], key), slot)
        table.state["entries"] += 1
    _leave_any(table, _in_any(key), slot)


@njit
def _tell_apart(flow, heard, state, side):
    """Count a flow once when one of its sides is seen in a second network."""
    is_told = heard["of"][side] & _TOLD != 0
    if _was_heard(flow, 1 - side):
        is_told = is_told or heard["of"][1 - side] & _TOLD != 0
    state["flows_under_two_tags"] += not is_told
    heard["of"][side] |= _TOLD
