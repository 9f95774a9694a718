"""One TCP packet's effect on its connection: history, byte counts, the two endpoints' states, and the events raised.

The states are Zeek's (packet_analysis/protocol/tcp), and every pair of state and flags has a defined effect. RST is
handled first, then SYN, then FIN. It differs from Zeek where a sender could hide a probe by its packets:

- While the originator's SYN is unanswered, no FIN, RST or other SYN of the originator's ends or extends the wait for an
  answer. SYN with FIN is a SYN. Its ACK ends it (CONFIRMED): there was an answer, and only one direction is seen.
- A RST that its receiver would ignore changes no state: one that answers a SYN must acknowledge it (RFC 9293,
  3.10.7.3); later its number must lie near those that its sender uses, unless the originator drops a half-open
  connection.
- Only the first of connection_rejected, connection_finished and connection_reset is raised, once.
"""

import numpy as np

from sensor._jit import njit
from sensor.flows.event import Event
from sensor.flows.flow import (
    ATTEMPTED,
    CLOSED,
    CONFIRMED,
    ENDED,
    ESTABLISHED,
    INACTIVE,
    KNOWN,
    PARTIAL,
    RESET,
    SYN_ACK_SENT,
    SYN_SENT,
    A,
    D,
    F,
    H,
    I,
    Q,
    R,
    S,
    T,
    W,
    doubt,
    has_mark,
    has_seen,
    note,
    set_mark,
)
from sensor.flows.sequence import WORD, ahead
from sensor.packet import ACK, FIN, RST, SYN, URG, fin_of

_NEAR = 1 << 20  # Zeek's TOO_LARGE_SEQ_DELTA: more than usual windows, 1/2048 of a blind sender's range of guesses

RAISE_REJECTED = 1 << int(Event.CONNECTION_REJECTED)
RAISE_ESTABLISHED = 1 << int(Event.CONNECTION_ESTABLISHED)
RAISE_FINISHED = 1 << int(Event.CONNECTION_FINISHED)
RAISE_RESET = 1 << int(Event.CONNECTION_RESET)


@njit
def is_waiting(flow):
    """True if the originator's SYN is still unanswered. flow: a FLOW row."""
    return np.int64(flow["marks"]) & ATTEMPTED != 0 and np.int64(flow["state"][1]) == INACTIVE


@njit
def begins_another(flow, side, packet, state):
    """True if a SYN, with neither ACK nor RST, on the five-tuple of a flow begins a new connection.

    flow: a FLOW row; packet: a PACKET row; state: the STATE record.
    """
    seq = np.int64(packet["seq"])
    orig, resp = np.int64(flow["state"][0]), np.int64(flow["state"][1])
    both_closed = orig == CLOSED and resp == CLOSED
    if is_waiting(flow) and not has_mark(flow, CONFIRMED):
        another = side == 1 and orig != SYN_SENT
    elif side == 0 and has_seen(flow, 0, S):
        another = both_closed or seq != np.int64(flow["start_seq"])
    elif side == 1 and has_seen(flow, 1, S):
        another = both_closed or (seq + 1) & WORD != np.int64(flow["next_seq"][1])
    else:  # a SYN and its SYN-ACK may have been reordered on their way to the sensor
        swapped = side == 0 and orig == INACTIVE and resp == ESTABLISHED
        another = not swapped or (seq + 1) & WORD != np.int64(flow["next_seq"][0])
    if another and orig != RESET and resp != RESET:
        if both_closed:
            state["premature_connection_reuse"] += 1
        else:
            state["active_connection_reuse"] += 1
    return another


@njit
def _note_flags(flow, side, flags, length):
    controls = (flags & FIN) + (flags & SYN) // SYN + (flags & RST) // RST
    if controls > 1:
        note(flow, side, I if flags & FIN and flags & RST else Q)
    elif flags & SYN:
        note(flow, side, H if flags & ACK else S)
    elif flags & FIN:
        note(flow, side, F)
    elif flags & RST:
        note(flow, side, R)
    elif length > 0:
        note(flow, side, D)
    elif flags & ACK:
        note(flow, side, A)


@njit
def _is_known(flow, side):
    return np.int64(flow["marks"]) & (KNOWN << side) != 0


@njit
def _know(flow, side, following):
    flow["next_seq"][side] = following
    flow["marks"] = np.int64(flow["marks"]) | (KNOWN << side)


@njit
def _is_credible(flow, side, seq, ack, flags):
    """True if the receiver of this RST would accept it."""
    if is_waiting(flow) and side == 1:
        behind, beyond = ahead(ack, np.int64(flow["start_seq"])), ahead(ack, np.int64(flow["next_seq"][0]))
        return flags & ACK != 0 and behind > 0 and beyond <= 0
    if not _is_known(flow, side) or (side == 0 and not (has_seen(flow, 0, A) or has_seen(flow, 0, D))):
        return True
    return abs(ahead(seq, np.int64(flow["next_seq"][side]))) <= _NEAR


@njit
def follow(flow, side, packet, filled):
    """Update the sequence numbers and byte counts. `filled`: the number of late bytes that fill holes.

    All other bytes that do not go beyond earlier ones are retransmitted. flow: a FLOW row; packet: a PACKET row.
    """
    flags, length = np.int64(packet["tcp_flags"]), np.int64(packet["payload_len"])
    seq, mine = np.int64(packet["seq"]), np.int64(flow["state"][side])
    data_end = (seq + (flags & SYN) // SYN + length) & WORD
    end = (data_end + fin_of(packet)) & WORD
    following = np.int64(flow["next_seq"][side])
    if flags & RST:
        if not _is_known(flow, side):
            _know(flow, side, seq)
    elif not _is_known(flow, side) or (flags & SYN and mine in (INACTIVE, SYN_SENT)):
        if mine == INACTIVE:
            flow["bytes"][side] += length
        _know(flow, side, end)
    else:
        flow["bytes"][side] += filled + min(length, max(0, ahead(data_end, following)))
        if ahead(end, following) > 0:
            flow["next_seq"][side] = end
        elif length > 0 and filled == 0:
            note(flow, side, T)
    if side == 0 and flags & (SYN | ACK | RST) == SYN:
        flow["start_seq"] = seq
    if flags & ACK and flags & RST == 0 and not _is_known(flow, 1 - side):
        _know(flow, 1 - side, np.int64(packet["ack"]))


@njit
def _reset(flow, side, mine, theirs, state):
    if mine == RESET or (mine == CLOSED and theirs == CLOSED):
        return 0
    if is_waiting(flow) and side == 0:
        flow["state"][0] = RESET
        return 0
    waiting = is_waiting(flow)
    flow["state"][side] = RESET
    if waiting:
        return RAISE_REJECTED
    if mine == INACTIVE and theirs == INACTIVE:
        state["spontaneous_RST"] += 1
    both_spoke = mine != INACTIVE and theirs != INACTIVE
    return RAISE_RESET if both_spoke or theirs == ESTABLISHED else 0


@njit
def _open(flow, side, flags, mine, theirs, state):
    if mine != INACTIVE:
        return 0
    if side == 0:
        if flags & ACK:
            state["connection_originator_SYN_ack"] += 1
            flow["state"][0] = SYN_ACK_SENT
        else:
            flow["state"][0] = ESTABLISHED if theirs == ESTABLISHED else SYN_SENT
        return 0
    if theirs == INACTIVE:
        state["unsolicited_SYN_response"] += 1
    if flags & ACK == 0:
        state["simultaneous_open"] += 1
    flow["state"][1] = ESTABLISHED
    if theirs == SYN_SENT:
        flow["state"][0] = ESTABLISHED
    if theirs == RESET and np.int64(flow["marks"]) & ATTEMPTED != 0:  # the answer came after the originator gave up
        return RAISE_ESTABLISHED | RAISE_RESET
    return RAISE_ESTABLISHED if theirs != PARTIAL else 0


@njit
def _close(flow, side, mine, theirs, state):
    if mine in (CLOSED, RESET):
        return 0
    if mine == INACTIVE and theirs == INACTIVE:
        state["spontaneous_FIN"] += 1
    flow["state"][side] = CLOSED
    if theirs == RESET and has_seen(flow, 1 - side, F):  # FIN, then a RST: still a close
        flow["state"][1 - side] = CLOSED
    return RAISE_FINISHED if flow["state"][1 - side] == CLOSED else 0


@njit
def _go_on(flow, side, flags, length, mine, theirs, state):
    if length > 0 and (theirs == RESET or mine == RESET):
        state["data_after_reset"] += 1
    elif length > 0 and mine == SYN_SENT:
        state["data_before_established"] += 1
    if side == 0 and is_waiting(flow) and flags & ACK != 0:
        set_mark(flow, CONFIRMED)
    is_early_ack = length == 0 and is_waiting(flow)  # Zeek has seen hosts that acknowledge a SYN before they answer it
    if mine == INACTIVE and not is_early_ack:
        flow["state"][side] = ESTABLISHED if flags & ACK and theirs == ESTABLISHED else PARTIAL


@njit
def take_tcp(flow, side, packet, filled, state):
    """Apply a packet that `side` sent, before it is counted in `pkts`; return a bit for each Event that it raises.

    flow: a FLOW row; packet: a PACKET row; state: the STATE record.
    """
    flags, length = np.int64(packet["tcp_flags"]), np.int64(packet["payload_len"])
    mine, theirs = np.int64(flow["state"][side]), np.int64(flow["state"][1 - side])
    credible = flags & RST == 0 or _is_credible(flow, side, np.int64(packet["seq"]), np.int64(packet["ack"]), flags)
    is_repeated_syn = side == 0 and flow["pkts"][0] > 0 and flags & (SYN | ACK | RST) == SYN
    if is_repeated_syn and np.int64(packet["seq"]) != np.int64(flow["start_seq"]):
        state["SYN_seq_jump"] += 1
    _note_flags(flow, side, flags, length)
    if packet["window"] == 0 and flags & RST == 0 and theirs != CLOSED and mine != RESET:
        note(flow, side, W)
    follow(flow, side, packet, filled)
    if flags & SYN:
        state["TCP_christmas"] += flags & RST != 0
        state["baroque_SYN"] += flags & URG != 0
        state["SYN_with_data"] += length > 0
    if flags & RST:
        state["RST_out_of_window"] += not credible
        raised = _reset(flow, side, mine, theirs, state) if credible else 0
    elif flags & SYN:
        raised = _open(flow, side, flags, mine, theirs, state)
    elif flags & FIN:
        raised = _close(flow, side, mine, theirs, state)
    else:
        _go_on(flow, side, flags, length, mine, theirs, state)
        raised = 0
    return _once(flow, raised)


@njit
def take_cut(flow, side):
    """Apply a segment of `side` of which only the ports are known: its flags may have been any. flow: a FLOW row."""
    doubt(flow)
    if np.int64(flow["state"][side]) == INACTIVE:
        flow["state"][side] = PARTIAL


@njit
def _once(flow, raised):
    """Remove a second end of a connection from the raised events."""
    ends = RAISE_REJECTED | RAISE_FINISHED | RAISE_RESET
    if raised & ends != 0:
        if np.int64(flow["marks"]) & ENDED != 0:
            return raised & RAISE_ESTABLISHED
        flow["marks"] = np.int64(flow["marks"]) | ENDED
    return raised
