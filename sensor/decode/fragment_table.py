"""The bounded table of datagrams that wait for their fragments.

A datagram is kept as units of 8 bytes (the unit of fragment offsets) in blocks of 1 KiB from one pool, with a bit for
each unit that has arrived. Time is the latest packet timestamp seen here; a datagram times out a fixed time after its
first fragment. When the table or the pool is full, the oldest datagram is evicted first.
"""

from typing import NamedTuple

import numpy as np

from sensor import counters
from sensor._jit import njit
from sensor.hash import hash_five, new_key

MAX_DATAGRAM = 65535
BLOCK = 1024
_BLOCKS = 64  # the longest datagram's number of blocks
_UNITS = BLOCK // 8
NONE = -1

TOLD = np.dtype(
    [
        ("payload_len", "i4"),
        ("src_port", "u2"),
        ("dst_port", "u2"),
        ("kind", "u1"),
        ("tunnel", "u1"),
    ],
    align=True,
)
"""The transport's fields as given in a first fragment's row, if only a PART."""

DATAGRAM = np.dtype(
    [
        ("created", "i8"),  # ns
        ("ident", "u8"),
        ("src_hi", "u8"),
        ("src_lo", "u8"),
        ("dst_hi", "u8"),
        ("dst_lo", "u8"),
        ("bucket", "i4"),
        ("next", "i4"),  # in the bucket, or in the free list
        ("older", "i4"),
        ("newer", "i4"),
        ("total", "i4"),  # bytes, -1 until the last fragment is there
        ("reach", "i4"),  # end of the furthest fragment
        ("units", "i4"),  # arrived
        ("shown", "u1"),  # how much of the transport the first fragment's row describes: NOT, ALL or PART
        ("dead", "u1"),  # ambiguous: swallows further fragments
        ("cut", "u1"),  # some of its bytes are missing, as the snap length cut fragments
        ("told", TOLD),
    ],
    align=True,
)

COUNTERS = counters.names(counters.FRAGMENTS)
FRAGMENTS, REFUSED, CUT, SWALLOWED, REASSEMBLED, TIMED_OUT, EVICTED, AMBIGUOUS = range(8)
_NOW, _OLDEST, _NEWEST, _FREE_DATAGRAM, _FREE_BLOCKS, _HELD = range(6)


class FragmentTable(NamedTuple):
    """The arrays of a reassembly kernel."""

    datagrams: np.ndarray
    blocks: np.ndarray
    """int32 (datagrams, 64): the block that holds each KiB, -1 for none."""
    pool: np.ndarray
    """uint8 (blocks, 1024)."""
    arrived: np.ndarray
    """bool (blocks, 128): True for units that have arrived."""
    free_blocks: np.ndarray
    """int32: a stack."""
    buckets: np.ndarray
    """int32: the first datagram of each bucket."""
    key: np.ndarray
    """The secret of the hash."""
    state: np.ndarray
    """int64: clock, ends of the list by age, free lists, datagrams held."""
    counts: np.ndarray
    """int64, by COUNTERS."""

    @property
    def waiting(self) -> int:
        """The number of datagrams that are incomplete, or ambiguous and not yet timed out."""
        return int(self.state[_HELD])


def new_table(max_datagrams: int, blocks: int) -> FragmentTable:
    """Return an empty table for so many datagrams and blocks (64 at least: one datagram must fit)."""
    datagrams = np.zeros(max_datagrams, DATAGRAM)
    datagrams["next"] = np.arange(1, max_datagrams + 1)
    datagrams["next"][-1] = NONE
    state = np.array([np.iinfo(np.int64).min, NONE, NONE, 0, blocks, 0], np.int64)
    return FragmentTable(
        datagrams,
        np.full((max_datagrams, _BLOCKS), NONE, np.int32),
        np.zeros((blocks, BLOCK), np.uint8),
        np.zeros((blocks, _UNITS), np.bool_),
        np.arange(blocks, dtype=np.int32),
        np.full(1 << (2 * max_datagrams - 1).bit_length(), NONE, np.int32),
        new_key(),
        state,
        np.zeros(len(COUNTERS), np.int64),
    )


@njit
def expire(table, ts, timeout):
    """Move the clock on to `ts`, and drop datagrams older than `timeout` (ns)."""
    state = table.state
    state[_NOW] = max(state[_NOW], ts)
    while state[_OLDEST] != NONE and state[_NOW] - table.datagrams[state[_OLDEST]]["created"] >= timeout:
        table.counts[TIMED_OUT] += 1
        drop(table, state[_OLDEST])


@njit
def find(table, piece):
    """Return the datagram of a piece (PIECE row); make it if this is its first piece."""
    mask = table.buckets.shape[0] - 1
    hashed = hash_five(table.key, piece["ident"], piece["src_hi"], piece["src_lo"], piece["dst_hi"], piece["dst_lo"])
    bucket = np.int64(hashed & np.uint64(mask))
    d = np.int64(table.buckets[bucket])
    while d != NONE:
        held = table.datagrams[d]
        if (
            held["ident"] == piece["ident"]
            and held["src_lo"] == piece["src_lo"]
            and held["dst_lo"] == piece["dst_lo"]
            and held["src_hi"] == piece["src_hi"]
            and held["dst_hi"] == piece["dst_hi"]
        ):
            return d
        d = np.int64(held["next"])
    if table.state[_FREE_DATAGRAM] == NONE:
        table.counts[EVICTED] += 1
        drop(table, table.state[_OLDEST])
    return _open(table, piece, bucket)


@njit
def _open(table, piece, bucket):
    state = table.state
    d = state[_FREE_DATAGRAM]
    held = table.datagrams[d]
    state[_FREE_DATAGRAM] = held["next"]
    held["created"] = state[_NOW]
    held["ident"] = piece["ident"]
    held["src_hi"] = piece["src_hi"]
    held["src_lo"] = piece["src_lo"]
    held["dst_hi"] = piece["dst_hi"]
    held["dst_lo"] = piece["dst_lo"]
    held["bucket"] = bucket
    held["next"] = table.buckets[bucket]
    table.buckets[bucket] = d
    held["older"] = state[_NEWEST]
    held["newer"] = NONE
    if state[_NEWEST] == NONE:
        state[_OLDEST] = d
    else:
        table.datagrams[state[_NEWEST]]["newer"] = d
    state[_NEWEST] = d
    state[_HELD] += 1
    held["total"] = -1
    held["reach"] = 0
    held["units"] = 0
    held["shown"] = 0
    held["dead"] = 0
    held["cut"] = 0
    held["told"]["kind"] = 0
    return d


@njit
def drop(table, d):
    """Remove a datagram from its bucket and the list by age, and free its blocks."""
    state, held = table.state, table.datagrams[d]
    release(table, d)
    before, after = np.int64(held["older"]), np.int64(held["newer"])
    if before == NONE:
        state[_OLDEST] = after
    else:
        table.datagrams[before]["newer"] = after
    if after == NONE:
        state[_NEWEST] = before
    else:
        table.datagrams[after]["older"] = before
    at = np.int64(table.buckets[held["bucket"]])
    if at == d:
        table.buckets[held["bucket"]] = held["next"]
    else:
        while table.datagrams[at]["next"] != d:
            at = np.int64(table.datagrams[at]["next"])
        table.datagrams[at]["next"] = held["next"]
    held["next"] = state[_FREE_DATAGRAM]
    state[_FREE_DATAGRAM] = d
    state[_HELD] -= 1


@njit
def release(table, d):
    """Free the blocks of a datagram."""
    for b in range(_BLOCKS):
        block = table.blocks[d, b]
        if block != NONE:
            table.arrived[block, :] = False
            table.free_blocks[table.state[_FREE_BLOCKS]] = block
            table.state[_FREE_BLOCKS] += 1
            table.blocks[d, b] = NONE


@njit
def make_room(table, d, start, stop):
    """Give datagram `d` the blocks for bytes start to stop, evicting the oldest other ones while blocks are short."""
    state = table.state
    for b in range(start // BLOCK, (stop - 1) // BLOCK + 1):
        if table.blocks[d, b] != NONE:
            continue
        while state[_FREE_BLOCKS] == 0:
            oldest = state[_OLDEST]
            table.counts[EVICTED] += 1
            drop(table, np.int64(table.datagrams[oldest]["newer"]) if oldest == d else oldest)
        state[_FREE_BLOCKS] -= 1
        table.blocks[d, b] = table.free_blocks[state[_FREE_BLOCKS]]
