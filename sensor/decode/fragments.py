"""Reassembly of IP datagrams from their fragments (RFC 791, 8200, 5722), off the fast path.

Overlaps are compared, never overwritten. Fragments that disagree make their datagram ambiguous: hosts differ in which
bytes they keep, so no result is right for all. It is dropped, and its further fragments are swallowed until it times
out. Over IPv6 a partial overlap is enough for that. Rows are the same as they would be in batches of one.

A first fragment that holds the transport's header is reported at once, with its part of the payload; the row of the
packet that completes the datagram then reports the rest (kind REST), so each byte of a whole datagram is reported once.
For fragments cut by the snap length only the lengths are used: their bytes are neither compared nor decoded.
"""

from typing import NamedTuple

import numpy as np

from sensor._jit import njit
from sensor.decode.fragment_table import (
    AMBIGUOUS,
    BLOCK,
    CUT,
    FRAGMENTS,
    MAX_DATAGRAM,
    NONE,
    REASSEMBLED,
    REFUSED,
    SWALLOWED,
    TOLD,
    drop,
    expire,
    find,
    make_room,
    release,
)
from sensor.decode.layers import ALL, NOT, count, flag, hide
from sensor.packet import FRAME
from sensor.weird import Weird

WHOLE_BYTES, WHOLE_DATAGRAMS = 1 << 20, 1024
"""Room for the datagrams completed in one call of the kernel; it is called until all pieces are done."""
HEADERS = 512
"""Bytes needed of a datagram that a first fragment has reported: enough to find where its payload starts."""


class Whole(NamedTuple):
    """Datagrams that became whole and are not fully reported by any row yet."""

    data: np.ndarray
    """uint8: their bytes, concatenated, or the first bytes of each."""
    frames: np.ndarray
    """FRAME rows with the position of each in `data`."""
    rows: np.ndarray
    """int64: the row of the packet that completed it."""
    told: np.ndarray
    """TOLD rows: the fields reported by another packet's row; `kind` is 0 if there are none."""
    is_cut: np.ndarray
    """bool: not all of its bytes were captured."""


def new_whole() -> Whole:
    """Return arrays for the datagrams of one call."""
    n = WHOLE_DATAGRAMS
    rows, told, is_cut = np.zeros(n, np.int64), np.zeros(n, TOLD), np.zeros(n, np.bool_)
    return Whole(np.zeros(WHOLE_BYTES, np.uint8), np.zeros(n, FRAME), rows, told, is_cut)


@njit
def reassemble(table, timeout, data, pieces, start, packets, whole, headers, weirds):
    """Put `pieces[start:]` into the table, in order; fill `whole`.

    pieces: PIECE rows, whose bytes are in `data` (uint8); packets: PACKET rows; weirds: int64, shape (64,). For a
    datagram that a first fragment has reported, `headers` bytes are copied. Returns the number of pieces done and the
    datagrams in `whole`: it stops early when `whole` is full.
    """
    used, n = 0, 0
    for k in range(start, pieces.shape[0]):
        if whole.data.shape[0] - used < MAX_DATAGRAM or n == whole.rows.shape[0]:
            return k, n
        row = packets[pieces[k]["row"]]
        before = row["weird"]
        table.counts[FRAGMENTS] += 1
        expire(table, row["ts"], timeout)
        if _is_usable(table, pieces[k], row):
            d = find(table, pieces[k])
            held = table.datagrams[d]
            outcome = _add(table, d, pieces[k], data)
            if outcome:
                flag(row, outcome)
            is_told_by_this = _show(held, pieces[k], row)
            if _is_whole(held):
                table.counts[REASSEMBLED] += held["cut"] == 0
                if held["shown"] != ALL:
                    whole.rows[n], whole.told[n] = pieces[k]["row"], held["told"]
                    if is_told_by_this:
                        whole.told[n]["kind"] = 0
                    kept = headers if whole.told[n]["kind"] != 0 else np.int64(MAX_DATAGRAM)
                    used += _copy_out(table, d, kept, whole.data, used, whole.frames[n])
                    whole.is_cut[n] = held["cut"]
                    n += 1
                drop(table, d)
        count(row["weird"] & ~before, weirds)
    return pieces.shape[0], n


@njit
def _is_whole(held):
    return not held["dead"] and held["units"] * 8 >= held["total"] >= 0


@njit
def _show(held, piece, row):
    """Remember the first fragment's row; return True if this is the first. A repeated one counts as a mere fragment."""
    if piece["shown"] == NOT or held["dead"]:
        return False
    if held["shown"] != NOT:
        if not held["cut"]:  # with missing bytes it is not known to be the same
            hide(row)
        return False
    told = held["told"]
    held["shown"] = piece["shown"]
    told["payload_len"], told["kind"], told["tunnel"] = row["payload_len"], row["kind"], row["tunnel"]
    told["src_port"], told["dst_port"] = row["src_port"], row["dst_port"]
    return True


@njit
def _is_usable(table, piece, row):
    length = piece["length"]
    if piece["captured"] < length:
        table.counts[CUT] += 1
        if piece["captured"] < 0 or (piece["offset"] == 0 and piece["shown"] == NOT):
            return False
    if length == 0 or (piece["more"] and length % 8):
        flag(row, Weird.BAD_FRAGMENT_LENGTH)
        table.counts[REFUSED] += 1
        return False
    if piece["offset"] + length > MAX_DATAGRAM:
        flag(row, Weird.FRAGMENT_TOO_LONG)
        table.counts[REFUSED] += 1
        return False
    return True


@njit
def _kill(table, d, weird):
    table.counts[AMBIGUOUS] += 1
    table.datagrams[d]["dead"] = 1
    release(table, d)
    return np.int64(weird)


@njit
def _add(table, d, piece, data):
    """Add a piece (PIECE row) to datagram `d`; return the Weird found, or 0. data: uint8."""
    held = table.datagrams[d]
    if held["dead"]:
        table.counts[SWALLOWED] += 1
        return np.int64(0)
    start, stop = np.int64(piece["offset"]), np.int64(piece["offset"] + piece["length"])
    held["cut"] |= piece["captured"] < piece["length"]
    ends_elsewhere = held["total"] >= 0 and (stop > held["total"] or (not piece["more"] and stop != held["total"]))
    if ends_elsewhere or (not piece["more"] and held["reach"] > stop):
        return _kill(table, d, Weird.FRAGMENT_SIZE_INCONSISTENCY)
    same, differ = _compare(table, d, piece, data)
    units = (stop - start + 7) // 8
    if differ:
        return _kill(table, d, Weird.FRAGMENT_INCONSISTENCY)
    overlaps_in_part = 0 < same < units
    if overlaps_in_part and piece["ip_version"] == 6:
        return _kill(table, d, Weird.FRAGMENT_OVERLAP)
    if not piece["more"]:
        held["total"] = stop
    held["reach"] = max(held["reach"], stop)
    held["units"] += units - same
    if same < units:
        make_room(table, d, start, stop)
        _store(table, d, piece, data)
    return np.int64(Weird.FRAGMENT_OVERLAP) if overlaps_in_part else np.int64(0)


@njit
def _compare(table, d, piece, data):
    """Return how many units of a piece have arrived before, and whether known bytes differ. data: uint8."""
    same, length = 0, np.int64(piece["length"])
    known = 0 if table.datagrams[d]["cut"] else length
    for at in range(0, length, 8):
        where = np.int64(piece["offset"]) + at
        block, byte = table.blocks[d, where // BLOCK], where % BLOCK
        if block == NONE or not table.arrived[block, byte // 8]:
            continue
        same += 1
        for i in range(min(8, known - at)):
            if table.pool[block, byte + i] != data[piece["at"] + at + i]:
                return same, True
    return same, False


@njit
def _store(table, d, piece, data):
    start, stop = np.int64(piece["offset"]), np.int64(piece["offset"] + piece["length"])
    shift, reach = np.int64(piece["at"]) - start, start + np.int64(piece["captured"])
    for b in range(start // BLOCK, (stop - 1) // BLOCK + 1):
        block, begin = table.blocks[d, b], b * BLOCK
        for where in range(max(start, begin), min(stop, begin + BLOCK)):
            table.pool[block, where - begin] = data[where + shift] if where < reach else np.uint8(0)
        for where in range(max(start, begin), min(stop, begin + BLOCK), 8):
            table.arrived[block, (where - begin) // 8] = True


@njit
def _copy_out(table, d, most, out, used, frame):
    total = np.int64(table.datagrams[d]["total"])
    kept = min(total, most)
    for b in range((kept - 1) // BLOCK + 1):
        block, begin = table.blocks[d, b], b * BLOCK
        for i in range(begin, min(kept, begin + BLOCK)):
            out[used + i] = table.pool[block, i - begin]
    frame["offset"] = used
    frame["caplen"] = kept
    frame["wirelen"] = total
    return kept


@njit
def gather(data, pieces, start, stop, staging, used):
    """Append the bytes of `pieces[start:stop]` to `staging` from `used` on, and set their `at`; return the new `used`.

    data, staging: uint8; pieces: PIECE rows.
    """
    for k in range(start, stop):
        piece = pieces[k]
        length = max(0, min(piece["length"], piece["captured"]))
        for i in range(length):
            staging[used + i] = data[piece["at"] + i]
        piece["at"] = used
        used += length
    return used
