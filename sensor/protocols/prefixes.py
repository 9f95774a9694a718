"""Prefixes: the first bytes of each direction of TCP connections, in order, for data that span segments.

A direction is followed if its SYN has passed by: one that was joined in the middle has no known start. Bytes that come
again are compared, and the first ones are kept; each segment with differing bytes is counted
(`prefix_overlaps_differing`). When there is no room the oldest prefix is evicted, and its direction is not followed any
more; this is counted (`prefixes_evicted`) unless the prefix was closed or full.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sensor._jit import njit
from sensor.counters import PREFIXES, names
from sensor.flows.segment import BEGINS, ENDS
from sensor.packet import PROTO_TCP, SYN
from sensor.protocols.segments import Segments

COUNTERS = names(PREFIXES)
_EVICTED, _DIFFERING = range(len(COUNTERS))

_UNKNOWN, _WAITS, _DONE, _FIRST = 0, 1, 2, 3
"""States of a direction: its start is unknown; no payload yet; finished; from `_FIRST` on, the number of its prefix."""

_GROWN = np.dtype([("prefix", "i8"), ("segment", "i8"), ("length", "i8")])
_GROWN_ROWS = 4096

_PREFIX = np.dtype(
    [
        ("direction", "i8"),  # twice the slot of its flow, plus the side
        ("length", "i8"),  # bytes from the start without a gap
        ("grown", "i8"),  # the call in which it last grew
        ("used", "u1"),
        ("closed", "u1"),
    ],
    align=True,
)


class _Arrays(NamedTuple):
    prefixes: np.ndarray
    """_PREFIX rows."""
    data: np.ndarray
    """uint8 (prefixes, depth)."""
    has: np.ndarray
    """bool (prefixes, depth): True for bytes that have arrived."""
    places: np.ndarray
    """int32 by direction: _UNKNOWN, _WAITS, _DONE, or _FIRST and the number of its prefix."""
    bases: np.ndarray
    """uint32 by direction: the sequence number of its first byte."""
    grown: np.ndarray
    """_GROWN rows."""
    state: np.ndarray
    """int64: the next prefix to be reused, the call."""
    counts: np.ndarray
    """int64, by COUNTERS."""


class Prefix:
    """The bytes of a direction up to a segment that made its prefix longer."""

    def __init__(self, arrays: _Arrays, number: int, length: int, segment: np.void) -> None:
        self._arrays, self._number, self._length = arrays, number, length
        self.segment = segment
        """The SEGMENT row."""

    @property
    def data(self) -> bytes:
        """The bytes from the first on."""
        return self._arrays.data[self._number, : self._length].tobytes()

    @property
    def is_full(self) -> bool:
        """True if it holds `depth` bytes, the most that are kept."""
        return bool(self._length == self._arrays.data.shape[1])

    def close(self) -> None:
        """Close the prefix: no more bytes of this direction are wanted."""
        self._arrays.prefixes[self._number]["closed"] = 1


class Prefixes:
    """The prefixes of an analyzer's streams: at most `depth` bytes each, of `capacity` directions."""

    def __init__(self, *, depth: int = 4096, capacity: int = 1 << 13) -> None:
        self._arrays = _Arrays(
            prefixes=np.zeros(capacity, _PREFIX),
            data=np.zeros((capacity, depth), np.uint8),  # the system commits them as they are touched
            has=np.zeros((capacity, depth), np.bool_),
            places=np.zeros(0, np.int32),
            bases=np.zeros(0, np.uint32),
            grown=np.zeros(_GROWN_ROWS, _GROWN),
            state=np.zeros(2, np.int64),
            counts=np.zeros(len(COUNTERS), np.int64),
        )

    @property
    def counters(self) -> dict[str, int]:
        """Counts of losses and oddities, by name."""
        return dict(zip(COUNTERS, self._arrays.counts.tolist(), strict=True))

    def grown(self, segments: Segments) -> Iterator[Prefix]:
        """Process segments in order; yield each open prefix at every segment that made it longer."""
        rows, data = segments.of(PROTO_TCP)
        if not len(rows):
            return
        self._make_room(2 * int(rows["slot"].max()) + 2)
        arrays, done = self._arrays, 0
        while done < len(rows):
            done, n = _follow(arrays, rows, data, done)
            for number, segment, length in arrays.grown[:n].tolist():
                if not arrays.prefixes[number]["closed"]:
                    yield Prefix(arrays, number, length, rows[segment])

    def _make_room(self, directions: int) -> None:
        held = len(self._arrays.places)
        if directions > held:
            more = max(directions, 2 * held) - held
            self._arrays = self._arrays._replace(
                places=np.concatenate([self._arrays.places, np.zeros(more, np.int32)]),
                bases=np.concatenate([self._arrays.bases, np.zeros(more, np.uint32)]),
            )


@njit
def _follow(arrays, rows, data, start):
    """Process SEGMENT rows from `start` on, whose bytes are in `data` (uint8); fill `grown`.

    Returns the next row to process, and the number of rows in `grown`: it stops early if that is full, or if it has to
    evict a prefix that grew in this call, so that the caller can read that prefix first.
    """
    n = 0
    arrays.state[1] += 1
    for k in range(start, rows.shape[0]):
        row = rows[k]
        first = 2 * np.int64(row["slot"])
        if n == arrays.grown.shape[0]:
            return k, n
        if np.int64(row["marks"]) & (BEGINS | ENDS) != 0:
            _leave(arrays, first)
            _leave(arrays, first + 1)
        if np.int64(row["marks"]) & ENDS != 0:
            continue
        direction = first + np.int64(row["side"])
        place = np.int64(arrays.places[direction])
        if np.int64(row["flags"]) & SYN != 0 and place <= _WAITS:
            arrays.places[direction] = place = np.int64(_WAITS)
            arrays.bases[direction] = row["seq"]
        if row["length"] == 0 or place in (_UNKNOWN, _DONE):
            continue
        if place == _WAITS:
            number = arrays.state[0]
            if arrays.prefixes[number]["used"] != 0 and arrays.prefixes[number]["grown"] == arrays.state[1]:
                return k, n
            _take_place(arrays, number, direction)
        else:
            number = place - _FIRST
        if _add(arrays, number, row, data) and arrays.prefixes[number]["closed"] == 0:
            arrays.prefixes[number]["grown"] = arrays.state[1]
            grown = arrays.grown[n]
            grown["prefix"], grown["segment"], grown["length"] = number, k, arrays.prefixes[number]["length"]
            n += 1
    return rows.shape[0], n


@njit
def _leave(arrays, direction):
    """Forget a direction, as its slot gets another flow."""
    place = np.int64(arrays.places[direction])
    if place >= _FIRST:
        arrays.prefixes[place - _FIRST]["direction"] = -1
    arrays.places[direction] = _UNKNOWN


@njit
def _take_place(arrays, number, direction):
    """Give a direction the prefix `number`, evicting the direction that has it."""
    prefix = arrays.prefixes[number]
    owner = np.int64(prefix["direction"])
    if prefix["used"] != 0 and owner >= 0:
        arrays.places[owner] = _DONE
        arrays.counts[_EVICTED] += prefix["closed"] == 0 and prefix["length"] < arrays.data.shape[1]
    arrays.has[number, :] = False
    prefix["direction"], prefix["length"], prefix["grown"] = direction, 0, 0
    prefix["used"], prefix["closed"] = 1, 0
    arrays.places[direction] = number + _FIRST
    arrays.state[0] = (number + 1) % arrays.prefixes.shape[0]


@njit
def _add(arrays, number, row, data):
    """Add a segment's payload to a prefix; return True if its length without a gap grew.

    row: a SEGMENT row; data: uint8.
    """
    prefix, depth = arrays.prefixes[number], arrays.data.shape[1]
    ahead = (np.int64(row["seq"]) - np.int64(arrays.bases[prefix["direction"]])) & 0xFFFF_FFFF
    if ahead >= 0x8000_0000:
        ahead -= 0x1_0000_0000
    differ = False
    for i in range(max(0, -ahead), min(np.int64(row["length"]), depth - ahead)):
        byte = data[row["at"] + i]
        if arrays.has[number, ahead + i]:
            differ = differ or arrays.data[number, ahead + i] != byte
        else:
            arrays.has[number, ahead + i] = True
            arrays.data[number, ahead + i] = byte
    arrays.counts[_DIFFERING] += differ
    before = np.int64(prefix["length"])
    while prefix["length"] < depth and arrays.has[number, prefix["length"]]:
        prefix["length"] += 1
    return prefix["length"] > before
