"""Bytes that TCP acknowledges though they never passed by: an estimate of the capture's loss, not the network's.

Bytes that the network loses are sent again before they are acknowledged. Bytes that the receiver acknowledges and no
packet has shown were on the wire, and the capture missed them: Zeek's policy/misc/capture-loss estimates the same way,
and needs no correct counter of a driver or a kernel. As in Zeek, only connections count whose opening was seen from
both ends, and of their ACKs only those that acknowledge something new (`tcp_acks`). It differs from Zeek as follows:

- Zeek judges an ACK as it comes. Two rings, or the two directions of a wire on two interfaces, may show an ACK before
  its data, so here it is judged `GRACE` later: data that came meanwhile, or was sent again, counts as seen. The ACK is
  counted with the next ACK after that, at the latest when the flow is removed.
- Closing connections count too. The FIN takes a sequence number: one that was missed counts as a byte.
- Holes in the bytes seen are remembered one by one, and counted when an ACK passes them, as far as `sequence_gaps` has
  room; beyond that some are forgotten, which makes the estimate too small.
- Holes are remembered for all connections, also for those whose ACKs are not judged: a segment that fills one came out
  of order, and its bytes count like others; one that fills none was sent again.
- An ACK of more than `WINDOW` beyond the bytes acknowledged or seen is ignored (`tcp_acks_wild`): it is forged, or so
  much was lost at once that numbers cannot be trusted. Counting continues from it once data show the same number. So
  a forged packet adds at most one ACK and `WINDOW` bytes; the share of ACKs never exceeds one.
"""

from collections.abc import Mapping

import numpy as np

from sensor._jit import njit
from sensor.clock import SECOND
from sensor.flows.flow import ESTABLISHED, HOLED, KNOWN, RESET, SYNCHRONISED
from sensor.flows.sequence import WORD, ahead
from sensor.flows.sequence_gaps import acknowledge, are_left, begin, count_unfilled, fill, mark
from sensor.packet import ACK, RST, SYN, fin_of

GRACE = SECOND
"""The time (ns) by which data may follow their ACK: ten times the lag between rings, and most senders' timeouts."""
WINDOW = 1 << 24
"""The most bytes lost in a row: more than most connections have in flight, 1/256 of a forger's range of guesses."""


def capture_loss(counters: Mapping[str, int]) -> float | None:
    """Return the share (0 to 1) of ACKs of bytes that never passed by; None if no ACK could be judged."""
    acks = counters["tcp_acks"]
    return counters["tcp_acks_of_unseen"] / acks if acks else None


@njit
def _take_numbers(holes, state, slot, flow, side, packet):
    """Record the hole before a packet's own sequence numbers, or fill holes with them; return the bytes filled.

    Bytes from `next_seq` on, which only an ACK had shown to be missing, are not counted as filled. holes: HOLE rows;
    flow: a FLOW row; packet: a PACKET row.
    """
    seq, seen = np.int64(packet["seq"]), np.int64(flow["next_seq"][side])
    upto = np.int64(flow["upto"][side]) if np.int64(flow["marks"]) & SYNCHRONISED else seen
    jump = ahead(seq, upto if 0 < ahead(upto, seen) <= WINDOW else seen)
    size = np.int64(packet["payload_len"])
    if jump > 0:
        begin(holes, state, slot, side, (seq - jump) & WORD, min(jump, WINDOW))
    elif size + fin_of(packet) > 0:
        until = (seq + min(size, -ahead(seq, seen))) & WORD
        return fill(holes, state, slot, side, seq, size + fin_of(packet), until)
    return 0


@njit
def _take_ack(holes, state, slot, flow, side, ack, now):
    """Process an acknowledgement of the bytes of `side`. holes: HOLE rows; flow: a FLOW row."""
    seen, upto = np.int64(flow["next_seq"][side]), np.int64(flow["upto"][side])
    gained, beyond = ahead(ack, upto), ahead(ack, seen)
    if abs(gained) > WINDOW or beyond > WINDOW:
        state["tcp_acks_wild"] += 1
        if beyond <= 0:
            flow["upto"][side] = ack
    elif gained > 0:
        state["tcp_acks"] += 1
        flow["upto"][side] = ack
        acknowledge(holes, state, slot, side, upto, ack, now)
        if beyond > 0:
            missing = min(beyond, gained)
            mark(holes, begin(holes, state, slot, side, (ack - missing) & WORD, missing), ack, now)


@njit
def _is_out_of_order(flow, side, packet):
    return (
        np.int64(flow["marks"]) & (KNOWN << side) != 0
        and np.int64(packet["tcp_flags"]) & (SYN | RST) == 0
        and packet["seq"] != flow["next_seq"][side]
    )


@njit
def track_acks(flow, side, packet, state):
    """Follow a TCP packet of `side`, before it is applied to its flow; return True if `watch` has to examine it.

    Nearly none needs it: they are in order, and acknowledge bytes seen. It has few branches, as they are hard to
    predict. flow: a FLOW row; packet: a PACKET row; state: the STATE record.
    """
    flags, marks, other = np.int64(packet["tcp_flags"]), np.int64(flow["marks"]), 1 - side
    mine, theirs = np.int64(flow["state"][side]), np.int64(flow["state"][other])
    if marks & SYNCHRONISED == 0:
        if mine != ESTABLISHED or theirs != ESTABLISHED:
            return _is_out_of_order(flow, side, packet)
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
    """Examine a TCP packet of `side`, before it is applied to its flow, at a time `now` of the packet clock (ns).

    Return how many of its bytes fill holes: bytes that had not passed by, though later ones had. holes: HOLE rows;
    flow: a FLOW row; packet: a PACKET row; state: the STATE record.
    """
    flags = np.int64(packet["tcp_flags"])
    if flags & (SYN | RST) != 0 or flow["state"][0] == RESET or flow["state"][1] == RESET:
        return 0
    count_unfilled(holes, state, slot, now - GRACE)
    filled = _take_numbers(holes, state, slot, flow, side, packet)
    if flags & ACK and np.int64(flow["marks"]) & SYNCHRONISED:
        _take_ack(holes, state, slot, flow, 1 - side, np.int64(packet["ack"]), now)
    flow["seen"] = (np.int64(flow["seen"]) & ~HOLED) | (HOLED if are_left(holes, slot) else 0)
    return filled
