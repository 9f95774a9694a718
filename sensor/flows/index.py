"""The index of flows by five-tuple, with or without network: open addressing, linear probing, a keyed hash.

No sender can aim collisions at it. An entry is an int64, 0 where free: 31 bits of hash above 32 bits of the flow's slot
plus one. At most half are used.
"""

import numpy as np

from sensor._jit import njit
from sensor.flows.flow import mapped
from sensor.hash import hash_five

_TAG_SHIFT = np.uint64(33)
_NONE = np.uint64(0)
SLOT = 0xFFFF_FFFF


@njit
def tag_of(secret, key):
    """Return the 31 bits of hash of a five-tuple in a network: the same for both directions, unless it is one-way.

    secret: uint64, shape (2,).
    """
    ports = (key.src_p << 24) | (key.dst_p << 8) | key.proto | (key.one_way << 40) | (key.mapped << 41)
    swapped = key.src_hi > key.dst_hi or (
        key.src_hi == key.dst_hi and (key.src_lo > key.dst_lo or (key.src_lo == key.dst_lo and key.src_p > key.dst_p))
    )
    if swapped and key.one_way == 0:
        ports = (key.dst_p << 24) | (key.src_p << 8) | key.proto | (key.mapped << 41)
        word = hash_five(secret, key.dst_hi, key.dst_lo, key.src_hi, key.src_lo, np.uint64(ports))
    else:
        word = hash_five(secret, key.src_hi, key.src_lo, key.dst_hi, key.dst_lo, np.uint64(ports))
    if key.network != 0:
        word = hash_five(secret, word, np.uint64(key.network), _NONE, _NONE, _NONE)
    return np.int64(word >> _TAG_SHIFT)


@njit
def _joins(flow, orig_hi, orig_lo, resp_hi, resp_lo):
    same_orig = flow["orig_lo"] == orig_lo and flow["orig_hi"] == orig_hi
    return same_orig and flow["resp_lo"] == resp_lo and flow["resp_hi"] == resp_hi


@njit
def side_of(flow, key):
    """Return the side of a flow (FLOW row) that sends packets of this five-tuple; -1 if it belongs to another flow."""
    if np.int64(flow["proto"]) != key.proto or mapped(flow) != key.mapped:
        return -1
    orig_p, resp_p = np.int64(flow["orig_p"]), np.int64(flow["resp_p"])
    if orig_p == key.src_p and resp_p == key.dst_p and _joins(flow, key.src_hi, key.src_lo, key.dst_hi, key.dst_lo):
        return 0
    if orig_p == key.dst_p and resp_p == key.src_p and _joins(flow, key.dst_hi, key.dst_lo, key.src_hi, key.src_lo):
        return 1 if key.one_way == 0 else -1
    return -1


@njit
def find(flows, index, state, key, tag):
    """Return twice the slot of a packet's flow, plus the side that sent the packet; -1 if there is none.

    flows: FLOW rows; index: int64; state: the STATE record.
    """
    mask = index.shape[0] - 1
    place = tag & mask
    probes = 1
    found = -1
    while index[place] != 0:
        entry = index[place]
        if entry >> 32 == tag:
            slot = (entry & SLOT) - 1
            side = side_of(flows[slot], key)
            if side >= 0:
                found = 2 * slot + side
                break
        place = (place + 1) & mask
        probes += 1
    state["probes"] += probes
    state["lookups"] += 1
    return found


@njit
def insert(index, tag, slot):
    """Insert a flow that is not yet in the index (int64); at least one place must be free."""
    mask = index.shape[0] - 1
    place = tag & mask
    while index[place] != 0:
        place = (place + 1) & mask
    index[place] = (tag << 32) | (slot + 1)


@njit
def delete(index, tag, slot):
    """Delete a flow that is in the index (int64), and move back entries that the gap would hide."""
    mask = index.shape[0] - 1
    gap = tag & mask
    while index[gap] != (tag << 32) | (slot + 1):
        gap = (gap + 1) & mask
    place = (gap + 1) & mask
    while index[place] != 0:
        home = (index[place] >> 32) & mask
        if (place - home) & mask >= (place - gap) & mask:
            index[gap] = index[place]
            gap = place
        place = (place + 1) & mask
    index[gap] = 0


@njit
def copy(index, larger):
    """Insert all entries of one index into another that is empty and larger (both int64)."""
    for place in range(index.shape[0]):
        if index[place] != 0:
            insert(larger, index[place] >> 32, (index[place] & SLOT) - 1)
