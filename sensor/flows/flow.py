"""The record of one flow, its history and its conn_state.

Side 0 of a flow is the originator, side 1 the responder; fields of two have one value for each side.
"""

from typing import NamedTuple

import numpy as np

from sensor._jit import njit
from sensor.flows.event import ConnState
from sensor.packet import PROTO_SCTP, PROTO_TCP, PROTO_UDP

INACTIVE, SYN_SENT, SYN_ACK_SENT, PARTIAL, ESTABLISHED, CLOSED, RESET = range(7)
"""The state of a TCP endpoint, as in Zeek. PARTIAL: it was joined in the middle."""

S, H, A, D, F, R, I, Q, T, W, FLIP = range(11)  # noqa: E741  the letters' own names
"""The letters of a history: SYN, SYN-ACK, pure ACK, data, FIN, RST, FIN with RST, SYN with FIN or RST, retransmission,
zero window; and `^`, the first packet's sender is not the originator. Each occurs at most once for each side."""

SIDE = 11  # bits of `seen` for each side

ATTEMPTED = 0x01  # the first packet was the originator's SYN
ENDED = 0x02  # connection_rejected, connection_reset or connection_finished was raised
KNOWN = 0x04  # `next_seq` of the originator is known, from its own packets or the other's ACK; of the responder: 0x08
ONE_WAY = 0x10  # ICMP messages without a matching reply type
UNREACHABLE = 0x20
TIME_EXCEEDED = 0x40
SYNCHRONISED = 0x80  # the acknowledgements of both sides are followed, in `upto`

HISTORY = 18
"""The letters of a history that are kept, of 21 possible ones: more do not fit into 128 bytes."""

HOLED = 1 << 27  # in `seen`: bytes of this flow are missing
USED = 1 << 28  # in `seen`: data went both ways, or other evidence of an answer replaces that
CONFIRMED = 1 << 29  # in `seen`: no answer has passed by, but the originator has acknowledged one
ORIG_KNOWN = 1 << 30  # in `seen`: the side that began is known
COUNTED = 1 << 31  # in `seen`: it counts as a control connection of its two hosts
UNPROVEN = 1 << 30  # in the first word of `history`, above its letters: packets missing from the flow prove nothing
MAPPED = 1 << 31  # in the same word: the packets are IPv6 with IPv4-mapped addresses
_LETTER_BITS, _LETTERS_A_WORD = 5, 6
_LENGTH = 22  # the lowest bit in `seen` of the history's length

FLOW = np.dtype(
    [
        ("orig_hi", "u8"),
        ("orig_lo", "u8"),
        ("resp_hi", "u8"),
        ("resp_lo", "u8"),
        ("first", "i8"),
        ("last", "i8"),  # packet that starts the timeout; packets after a close or a RST do not count
        ("bytes", "i8", 2),  # payload without retransmissions, TCP's RSTs, and gaps
        ("seen", "u4"),  # a bit for each letter of the history, its length, HOLED
        ("pkts", "u4", 2),
        ("before", "i4"),  # its neighbours in that list; in a free slot, `after` is the next free one
        ("after", "i4"),
        ("start_seq", "u4"),  # of the originator's SYN
        ("next_seq", "u4", 2),
        ("upto", "u4", 2),  # the first unacknowledged number of each side
        ("orig_p", "u2"),
        ("resp_p", "u2"),
        ("proto", "u1"),
        ("list", "u1"),  # the timer list that it is in
        ("state", "u1", 2),
        ("marks", "u1"),
        ("orig_flags", "u1"),
        ("orig_options", "u1"),
        ("orig_ttl", "u1"),
        ("history", "u4", HISTORY // _LETTERS_A_WORD),  # each letter as its number, and _LOWER if it is the responder's
    ],
    align=True,
)
"""128 bytes."""

_LETTERS = np.frombuffer(b"SHADFRIQTW^", np.uint8).copy()
_LOWER = 0x10
_TO_LOWER = 0x20 // _LOWER
_DATA = 1 << D | 1 << (D + SIDE)
_BEFORE_RST = (H, A, F, I, Q)

_OTH, _S0, _S1, _SF, _REJ = (
    int(each) for each in (ConnState.OTH, ConnState.S0, ConnState.S1, ConnState.SF, ConnState.REJ)
)
_S2, _S3, _SH, _SHR = (int(each) for each in (ConnState.S2, ConnState.S3, ConnState.SH, ConnState.SHR))
_RSTO, _RSTR = int(ConnState.RSTO), int(ConnState.RSTR)
_RSTOS0, _RSTRH = int(ConnState.RSTOS0), int(ConnState.RSTRH)


class FlowKey(NamedTuple):
    """A packet's five-tuple: addresses as words (uint64), the rest int64; `one_way` is 1 if no reply shares it.

    `network` is 0 if it does not distinguish flows (see `network`). `mapped` is 1 if an IPv6 packet has an IPv4-mapped
    address: its words are those of the IPv4 address, but the flow is a different one.
    """

    src_hi: np.uint64
    src_lo: np.uint64
    dst_hi: np.uint64
    dst_lo: np.uint64
    src_p: np.int64
    dst_p: np.int64
    proto: np.int64
    one_way: np.int64
    network: np.int64
    mapped: np.int64


@njit
def letters(flow):
    """Return the number of letters in the history. flow: a FLOW row."""
    return (np.int64(flow["seen"]) >> _LENGTH) & 0x1F


@njit
def _letter(flow, i):
    shift = _LETTER_BITS * (i % _LETTERS_A_WORD)
    return (np.int64(flow["history"][i // _LETTERS_A_WORD]) >> shift) & ((1 << _LETTER_BITS) - 1)


@njit
def letter_at(flow, i):
    """Return letter number `i` of the history, as ASCII. flow: a FLOW row."""
    letter = _letter(flow, i)
    return np.int64(_LETTERS[letter & (_LOWER - 1)]) | (_TO_LOWER * (letter & _LOWER))


@njit
def note(flow, side, letter):
    """Append a letter to the history, unless this side has had it. flow: a FLOW row."""
    bit = 1 << (letter + SIDE * side)
    seen = np.int64(flow["seen"])
    if seen & bit == 0:
        seen, length = seen | bit, letters(flow)
        if length < HISTORY:
            word, shift = length // _LETTERS_A_WORD, _LETTER_BITS * (length % _LETTERS_A_WORD)
            flow["history"][word] = np.int64(flow["history"][word]) | ((letter | (_LOWER * side)) << shift)
            seen += 1 << _LENGTH
        flow["seen"] = seen


@njit
def has_seen(flow, side, letter):
    """True if a letter is in the history. flow: a FLOW row."""
    return (np.int64(flow["seen"]) >> (letter + SIDE * side)) & 1 != 0


@njit
def carries_data(flow):
    """True if either side has sent data. flow: a FLOW row."""
    return np.int64(flow["seen"]) & _DATA != 0


@njit
def has_mark(flow, mark):
    """True if USED, CONFIRMED, ORIG_KNOWN or COUNTED is set. flow: a FLOW row."""
    return np.int64(flow["seen"]) & mark != 0


@njit
def set_mark(flow, mark):
    """Set USED, CONFIRMED, ORIG_KNOWN or COUNTED. flow: a FLOW row."""
    flow["seen"] = np.int64(flow["seen"]) | mark


@njit
def is_unproven(flow):
    """True if answers may have taken another path, or headers were cut. flow: a FLOW row."""
    return np.int64(flow["history"][0]) & UNPROVEN != 0


@njit
def mapped(flow):
    """Return 1 if the packets are IPv6 with IPv4-mapped addresses, else 0. flow: a FLOW row."""
    return np.int64(flow["history"][0]) >> 31


@njit
def doubt(flow):
    """Mark a flow as unproven: packets missing from it prove nothing. flow: a FLOW row."""
    flow["history"][0] = np.int64(flow["history"][0]) | UNPROVEN


@njit
def went_both_ways(flow):
    """True if both sides have sent data; without connections, each datagram is data. flow: a FLOW row."""
    if flow["proto"] == PROTO_TCP:
        return flow["bytes"][0] > 0 and flow["bytes"][1] > 0
    return np.int64(flow["seen"]) & _DATA == _DATA


@njit
def _is_syn_then_rst(flow):
    """True if the originator's SYN is followed by its RST, and no letter between them indicates an answer."""
    for i in range(letters(flow)):
        letter = _letter(flow, i)
        if i == 0 and letter != S:
            return False
        if letter == R:
            return True
        for other in _BEFORE_RST:
            if letter == other:
                return False
    return False


@njit
def _tcp_state(flow, orig, resp):
    orig_silent = orig in (INACTIVE, PARTIAL)
    resp_silent = resp in (INACTIVE, PARTIAL)
    if resp == RESET:
        is_empty = flow["bytes"][0] == 0 and flow["bytes"][1] == 0
        if orig in (SYN_SENT, SYN_ACK_SENT) or (orig == RESET and is_empty):
            return _REJ
        return _RSTRH if orig_silent else _RSTR
    if orig == RESET:
        if resp_silent:
            return _RSTOS0 if _is_syn_then_rst(flow) else _OTH
        return _RSTO
    if orig == CLOSED:
        if resp == CLOSED:
            return _SF
        return _SH if resp_silent else _S2
    if resp == CLOSED:
        return _SHR if orig_silent else _S3
    if orig == SYN_SENT and resp == INACTIVE:
        return _S0
    return _S1 if orig == ESTABLISHED and resp == ESTABLISHED else _OTH


@njit
def conn_state(flow):
    """Return the flow's ConnState, as Zeek's base/protocols/conn decides it; SCTP counts as UDP. flow: a FLOW row."""
    proto = np.int64(flow["proto"])
    if proto == PROTO_TCP:
        return _tcp_state(flow, np.int64(flow["state"][0]), np.int64(flow["state"][1]))
    if proto in (PROTO_UDP, PROTO_SCTP):
        if flow["pkts"][0] > 0:
            return _SF if flow["pkts"][1] > 0 else _S0
        return _SHR
    return _OTH
