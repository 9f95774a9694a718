"""Holes in the bytes seen of TCP connections: a list for each flow, newest first, of rows shared by all flows.

A list has MANY holes at most, and there are HOLES in all. When one more comes, the oldest goes: it is counted if it was
acknowledged (`tcp_bytes_unseen`, `tcp_acks_of_unseen`), and else forgotten (`tcp_holes_forgotten`): bytes that fill it
later count as retransmitted. `capture_loss` explains the use of holes.
"""

import numpy as np

from sensor._jit import njit
from sensor.flows.sequence import WORD, ahead

MANY = 64
HOLES = 1 << 14

HOLE = np.dtype(
    [
        ("acked_at", "i8"),
        ("start", "u4"),
        ("length", "u4"),
        ("ack", "u4"),  # of the ACK that acknowledged it
        ("older", "i4"),  # the next of its flow, with earlier numbers if of the same side; 0: none
        ("owner", "i4"),  # its flow's slot plus one, 0 if it is not in use
        ("side", "u1"),
        ("is_acked", "u1"),
    ],
    align=True,
)
"""Sequence numbers that have not passed by, though later ones or their ACK have.

Rows 1 to HOLES are holes; those after them belong to the flow table's slots, and use only `older`: the newest hole."""


def new_holes(capacity: int) -> np.ndarray:
    """Return the rows for a table of so many flows; memory is committed as there are holes."""
    return np.zeros(1 + HOLES + capacity, HOLE)


@njit
def _list_of(slot):
    return 1 + HOLES + slot


@njit
def _is_last_of_ack(holes, row):
    """True if its flow has no other hole that the same ACK acknowledged. holes: HOLE rows."""
    hole = holes[row]
    at = np.int64(holes[_list_of(np.int64(hole["owner"]) - 1)]["older"])
    while at > 0:
        other = holes[at]
        is_acked = other["is_acked"] != 0 and other["side"] == hole["side"]
        if at != row and is_acked and other["ack"] == hole["ack"]:
            return False
        at = np.int64(other["older"])
    return True


@njit
def _tell(holes, state, row):
    """Count a hole before its removal: as unseen if it was acknowledged, and its ACK with that ACK's last hole.

    holes: HOLE rows.
    """
    hole = holes[row]
    if hole["is_acked"] == 0:
        state["tcp_holes_forgotten"] += 1
        return
    state["tcp_bytes_unseen"] += np.int64(hole["length"])
    state["tcp_acks_of_unseen"] += _is_last_of_ack(holes, row)


@njit
def _unlink(holes, newer, row):
    holes[newer]["older"] = holes[row]["older"]
    holes[row]["owner"] = holes[row]["is_acked"] = 0


@njit
def _take_row(holes, state):
    """Return the row of a new hole; the hole that was there, the oldest of all, is dropped."""
    row = np.int64(state["holes_made"]) % HOLES + 1
    state["holes_made"] += 1
    owner = np.int64(holes[row]["owner"])
    if owner > 0:
        newer = _list_of(owner - 1)
        while holes[newer]["older"] != row:
            newer = np.int64(holes[newer]["older"])
        _tell(holes, state, row)
        _unlink(holes, newer, row)
    return row


@njit
def _link(holes, state, slot, newer, row):
    """Link a hole behind a newer one or the head of its flow's list; beyond MANY, the oldest is dropped."""
    holes[row]["older"], holes[row]["owner"] = holes[newer]["older"], slot + 1
    holes[newer]["older"] = row
    count, before, at = 1, _list_of(slot), np.int64(holes[_list_of(slot)]["older"])
    while holes[at]["older"] > 0:
        count, before, at = count + 1, at, np.int64(holes[at]["older"])
    if count > MANY:
        _tell(holes, state, at)
        _unlink(holes, before, at)


@njit
def begin(holes, state, slot, side, start, length):
    """Make a hole, with numbers after those of all others of its side; return its row. holes: HOLE rows."""
    row = _take_row(holes, state)
    hole = holes[row]
    hole["start"], hole["length"], hole["side"], hole["is_acked"] = start, length, side, 0
    _link(holes, state, slot, _list_of(slot), row)
    return row


@njit
def mark(holes, row, ack, now):
    """Mark a hole as acknowledged, by an ACK with this number at time `now` (ns). holes: HOLE rows."""
    hole = holes[row]
    hole["is_acked"], hole["ack"], hole["acked_at"] = 1, ack, now


@njit
def _around(holes, slot, side, number):
    """Return the hole that has both a number and the one before it; 0 if there is none. holes: HOLE rows."""
    row = np.int64(holes[_list_of(slot)]["older"])
    while row > 0:
        hole = holes[row]
        into = (number - np.int64(hole["start"])) & WORD
        if hole["side"] == side and 0 < into < np.int64(hole["length"]):
            return row
        row = np.int64(hole["older"])
    return 0


@njit
def _split(holes, state, slot, side, number):
    """Split a hole that extends across a number. After a wrap-around several may contain it. holes: HOLE rows."""
    while _around(holes, slot, side, number) > 0:
        row = _take_row(holes, state)
        found = _around(holes, slot, side, number)
        if found == 0:  # it was the oldest of all, and was evicted
            return
        upper, lower = holes[found], holes[row]
        into = (number - np.int64(upper["start"])) & WORD
        lower["start"], lower["length"], lower["side"] = upper["start"], into, side
        lower["is_acked"], lower["ack"], lower["acked_at"] = upper["is_acked"], upper["ack"], upper["acked_at"]
        upper["start"], upper["length"] = number, np.int64(upper["length"]) - into
        _link(holes, state, slot, found, row)


@njit
def count_unfilled(holes, state, slot, until):
    """Count holes (HOLE rows) that were acknowledged at or before `until` (ns): nothing has filled them since."""
    newer = _list_of(slot)
    row = np.int64(holes[newer]["older"])
    while row > 0:
        hole = holes[row]
        if hole["is_acked"] != 0 and hole["acked_at"] <= until:
            _tell(holes, state, row)
            _unlink(holes, newer, row)
        else:
            newer = row
        row = np.int64(hole["older"])


@njit
def fill(holes, state, slot, side, seq, length, until):
    """Fill holes with numbers that arrived late; return how many of them lie before `until`. holes: HOLE rows."""
    _split(holes, state, slot, side, seq)
    _split(holes, state, slot, side, (seq + length) & WORD)
    newer, filled = _list_of(slot), 0
    row = np.int64(holes[newer]["older"])
    while row > 0:
        hole = holes[row]
        into, size = (np.int64(hole["start"]) - seq) & WORD, np.int64(hole["length"])
        if hole["side"] == side and into + size <= length:
            filled += max(0, min(size, ahead(until, np.int64(hole["start"]))))
            _unlink(holes, newer, row)
        else:
            newer = row
        row = np.int64(hole["older"])
    return filled


@njit
def acknowledge(holes, state, slot, side, before, ack, now):
    """Mark the holes covered by an ACK that advances from number `before`. holes: HOLE rows."""
    _split(holes, state, slot, side, ack)
    gained = (ack - before) & WORD
    row = np.int64(holes[_list_of(slot)]["older"])
    while row > 0:
        hole = holes[row]
        into = (np.int64(hole["start"]) - before) & WORD
        if hole["side"] == side and hole["is_acked"] == 0 and into + np.int64(hole["length"]) <= gained:
            mark(holes, row, ack, now)
        row = np.int64(hole["older"])


@njit
def are_left(holes, slot):
    """True if a flow has any holes. holes: HOLE rows."""
    return holes[_list_of(slot)]["older"] != 0


@njit
def forget(holes, state, slot):
    """Drop the holes of a removed flow: count the acknowledged ones; the others prove nothing. holes: HOLE rows."""
    head = _list_of(slot)
    while holes[head]["older"] > 0:
        row = np.int64(holes[head]["older"])
        if holes[row]["is_acked"] != 0:
            _tell(holes, state, row)
        _unlink(holes, head, row)
