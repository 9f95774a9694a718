"""Holes in what passed by of TCP connections: a list for each flow, the newest first, of rows that all flows share.

A list has MANY holes at most, and there are HOLES in all. Where one more comes, the oldest goes: it is counted if it
was acknowledged (`tcp_bytes_unseen`, `tcp_acks_of_unseen`), and else forgotten (`tcp_holes_forgotten`): what fills it
later is taken for retransmitted. What is done with them, and what it means, is told in `capture_loss`.
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
        ("ack", "u4"),  # by which it was acknowledged
        ("older", "i4"),  # the next of its flow, in which numbers of a side come before those of this one; 0: none
        ("owner", "i4"),  # its flow's slot plus one, 0 of one that is not in use
        ("side", "u1"),
        ("is_acked", "u1"),
    ],
    align=True,
)
"""Sequence numbers that have not passed by, though later ones have or their ACK.

Rows 1 to HOLES are holes; those after them are of the flow table's slots, and of them only `older` counts: the newest.
"""


def new_holes(capacity: int) -> np.ndarray:
    """The rows for a table of so many flows; memory is taken as there are holes."""
    return np.zeros(1 + HOLES + capacity, HOLE)


@njit
def _list_of(slot):
    return 1 + HOLES + slot


@njit
def _is_last_of_ack(holes, row):
    """Whether its flow has no other hole that the same ACK acknowledged."""
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
    """Count a hole that is about to go: if acknowledged as unseen, and its ACK with the last hole of that ACK."""
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
    """The row of a new hole; the hole that was there, the oldest of all, has to go."""
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
    """Put a hole after a newer one or the head of its flow's list; of more than MANY, the oldest has to go."""
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
    """A new hole, with numbers after those of all others of its side; give its row."""
    row = _take_row(holes, state)
    hole = holes[row]
    hole["start"], hole["length"], hole["side"], hole["is_acked"] = start, length, side, 0
    _link(holes, state, slot, _list_of(slot), row)
    return row


@njit
def mark(holes, row, ack, now):
    """A hole was acknowledged, by an ACK with this number."""
    hole = holes[row]
    hole["is_acked"], hole["ack"], hole["acked_at"] = 1, ack, now


@njit
def _around(holes, slot, side, number):
    """The hole that has a number and the one before it; 0 where there is none."""
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
    """Where a hole goes on across a number, make it two. Numbers that went round may have more than one there."""
    while _around(holes, slot, side, number) > 0:
        row = _take_row(holes, state)
        found = _around(holes, slot, side, number)
        if found == 0:  # it was the oldest of all, and had to make room
            return
        upper, lower = holes[found], holes[row]
        into = (number - np.int64(upper["start"])) & WORD
        lower["start"], lower["length"], lower["side"] = upper["start"], into, side
        lower["is_acked"], lower["ack"], lower["acked_at"] = upper["is_acked"], upper["ack"], upper["acked_at"]
        upper["start"], upper["length"] = number, np.int64(upper["length"]) - into
        _link(holes, state, slot, found, row)


@njit
def count_unfilled(holes, state, slot, until):
    """Count the holes that were acknowledged up to a time: nothing has filled them since."""
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
    """These numbers have passed by after all; give how many of them, before number `until`, had not until now."""
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
    """Mark the holes that an ACK covers, which goes on from number `before`."""
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
    """Whether a flow has any."""
    return holes[_list_of(slot)]["older"] != 0


@njit
def forget(holes, state, slot):
    """A flow is removed: count its holes that were acknowledged; the rest shows nothing."""
    head = _list_of(slot)
    while holes[head]["older"] > 0:
        row = np.int64(holes[head]["older"])
        if holes[row]["is_acked"] != 0:
            _tell(holes, state, row)
        _unlink(holes, head, row)
