"""Bytes that TCP acknowledges though they never passed by: an estimate of what the capture, not the network, has lost.

What the network loses is sent again before it is acknowledged. What the receiver acknowledges and no packet has shown
was on the wire, and the capture missed it: Zeek's policy/misc/capture-loss estimates the same way, and needs no counter
of a driver or a kernel to be right. Here, as there, only connections count whose opening was seen from both ends, and
of their ACKs only those that acknowledge something new (`tcp_acks`). It differs from Zeek in these:

- Zeek judges an ACK as it comes. Two rings, or the two directions of a wire on two interfaces, may show an ACK before
  its data, so here it is judged `GRACE` later, as it was by then: what has come meanwhile, or was sent again, is seen.
  It is counted with the next ACK after that, at the latest when the flow is removed.
- Closing connections count too. The FIN takes a sequence number: one that was missed counts as a byte.
- Holes in what passed by are remembered one by one, and counted when an ACK passes them, `MANY` of a connection
  and `HOLES` in all; where there are more, the oldest is counted if it was acknowledged, else forgotten
  (`tcp_holes_forgotten`), which makes the estimate too small.
- An ACK of more than `WINDOW` beyond what was acknowledged or seen says nothing (`tcp_acks_wild`): it is forged, or so
  much was lost at once that numbers cannot be trusted. It goes on from there when data show the same. So a forged
  packet adds at most one ACK and `WINDOW` bytes; the share of ACKs is never above one.
"""

from collections.abc import Mapping

import numpy as np

from sensor._jit import njit
from sensor.clock import SECOND
from sensor.flows.flow import ESTABLISHED, HOLED, RESET, SYNCHRONISED
from sensor.flows.sequence import WORD, ahead
from sensor.packet import ACK, FIN, RST, SYN

GRACE = SECOND
"""ns that data may come after their ACK: ten times what one ring may be behind another, and most senders' timeouts."""
WINDOW = 1 << 24
"""Bytes: more than a receive window of Linux grows to by default (tcp_rmem: 6 MB), 1/256 of what a forger guesses among."""
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


def capture_loss(counters: Mapping[str, int]) -> float | None:
    """Which share (0 to 1) of the ACKs was of bytes that never passed by; None while there was no ACK to judge by."""
    acks = counters["tcp_acks"]
    return counters["tcp_acks_of_unseen"] / acks if acks else None


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
def _begin(holes, state, slot, side, start, length):
    """A new hole, with numbers after those of all others of its side; give its row."""
    row = _take_row(holes, state)
    hole = holes[row]
    hole["start"], hole["length"], hole["side"], hole["is_acked"] = start, length, side, 0
    _link(holes, state, slot, _list_of(slot), row)
    return row


@njit
def _mark(holes, row, ack, now):
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
def _settle(holes, state, slot, until):
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
def _fill(holes, state, slot, side, seq, length):
    """These numbers have passed by after all."""
    _split(holes, state, slot, side, seq)
    _split(holes, state, slot, side, (seq + length) & WORD)
    newer = _list_of(slot)
    row = np.int64(holes[newer]["older"])
    while row > 0:
        hole = holes[row]
        into = (np.int64(hole["start"]) - seq) & WORD
        if hole["side"] == side and into + np.int64(hole["length"]) <= length:
            _unlink(holes, newer, row)
        else:
            newer = row
        row = np.int64(hole["older"])


@njit
def _acknowledge(holes, state, slot, side, before, ack, now):
    """Mark the holes that an ACK covers, which goes on from number `before`."""
    _split(holes, state, slot, side, ack)
    gained = (ack - before) & WORD
    row = np.int64(holes[_list_of(slot)]["older"])
    while row > 0:
        hole = holes[row]
        into = (np.int64(hole["start"]) - before) & WORD
        if hole["side"] == side and hole["is_acked"] == 0 and into + np.int64(hole["length"]) <= gained:
            _mark(holes, row, ack, now)
        row = np.int64(hole["older"])


@njit
def _take_numbers(holes, state, slot, flow, side, packet):
    """What a packet's own sequence numbers show: a hole before them, or that they fill one."""
    seq, seen, upto = np.int64(packet["seq"]), np.int64(flow["next_seq"][side]), np.int64(flow["upto"][side])
    jump = ahead(seq, upto if 0 < ahead(upto, seen) <= WINDOW else seen)
    length = np.int64(packet["payload_len"]) + (np.int64(packet["tcp_flags"]) & FIN)
    if jump > 0:
        _begin(holes, state, slot, side, (seq - jump) & WORD, min(jump, WINDOW))
    elif length > 0:
        _fill(holes, state, slot, side, seq, length)


@njit
def _take_ack(holes, state, slot, flow, side, ack, now):
    """What a packet acknowledges of the other `side`."""
    seen, upto = np.int64(flow["next_seq"][side]), np.int64(flow["upto"][side])
    gained, beyond = ahead(ack, upto), ahead(ack, seen)
    if abs(gained) > WINDOW or beyond > WINDOW:
        state["tcp_acks_wild"] += 1
        if beyond <= 0:
            flow["upto"][side] = ack
    elif gained > 0:
        state["tcp_acks"] += 1
        flow["upto"][side] = ack
        _acknowledge(holes, state, slot, side, upto, ack, now)
        if beyond > 0:
            missing = min(beyond, gained)
            _mark(holes, _begin(holes, state, slot, side, (ack - missing) & WORD, missing), ack, now)


@njit
def is_odd(flow, side, packet, state):
    """Follow a TCP packet of `side`, before it is applied to its flow; whether it has to be looked at by `watch`.

    Nearly none has: they are in order, and acknowledge what has passed. It has few branches, which are hard to predict.
    """
    flags, marks, other = np.int64(packet["tcp_flags"]), np.int64(flow["marks"]), 1 - side
    mine, theirs = np.int64(flow["state"][side]), np.int64(flow["state"][other])
    if marks & SYNCHRONISED == 0:
        if mine != ESTABLISHED or theirs != ESTABLISHED:
            return False
        flow["marks"] = marks | SYNCHRONISED
        flow["upto"][0], flow["upto"][1] = flow["next_seq"][0], flow["next_seq"][1]
    gained = ahead(np.int64(packet["ack"]), np.int64(flow["upto"][other]))
    beyond = ahead(np.int64(packet["ack"]), np.int64(flow["next_seq"][other]))
    odd = (np.int64(packet["seq"]) ^ np.int64(flow["next_seq"][side])) | (flags & (SYN | RST | ACK) ^ ACK)
    odd |= (np.int64(flow["seen"]) & HOLED) | (mine == RESET) | (theirs == RESET)
    if odd | (beyond > 0) | (abs(gained) > WINDOW):
        return True
    state["tcp_acks"] += gained > 0
    flow["upto"][other] = (np.int64(packet["ack"]) - min(gained, 0)) & WORD
    return False


@njit
def watch(holes, state, slot, flow, side, packet, now):
    """Look closely at a TCP packet of `side`, before it is applied to its flow, at a time of the packet clock."""
    flags = np.int64(packet["tcp_flags"])
    if flags & (SYN | RST) != 0 or flow["state"][0] == RESET or flow["state"][1] == RESET:
        return
    _settle(holes, state, slot, now - GRACE)
    _take_numbers(holes, state, slot, flow, side, packet)
    if flags & ACK:
        _take_ack(holes, state, slot, flow, 1 - side, np.int64(packet["ack"]), now)
    is_holed = holes[_list_of(slot)]["older"] != 0
    flow["seen"] = (np.int64(flow["seen"]) & ~HOLED) | (HOLED if is_holed else 0)


@njit
def forget(holes, state, slot):
    """A flow is removed: count its holes that were acknowledged; the rest shows nothing."""
    head = _list_of(slot)
    while holes[head]["older"] > 0:
        row = np.int64(holes[head]["older"])
        if holes[row]["is_acked"] != 0:
            _tell(holes, state, row)
        _unlink(holes, head, row)
