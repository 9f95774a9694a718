"""The walk: one pass over the layers of each frame, at most 16 of them, every read inside the captured bytes."""

import numpy as np

from sensor._jit import LINE, njit, prefetch
from sensor.decode.layers import (
    ALL,
    DONE,
    FIRST_NETWORK,
    FIRST_TRANSPORT,
    FIRST_TUNNEL,
    MAX_LAYERS,
    PART,
    STOP,
    count,
    flag,
    hide,
)
from sensor.decode.link import link
from sensor.decode.linktype import by_linktype
from sensor.decode.network import by_proto, network
from sensor.decode.transport import transport
from sensor.decode.tunnel import tunnel
from sensor.packet import SYN, Kind
from sensor.weird import Refusal, Weird

_AHEAD = 64
"""Frames whose headers are brought into the cache together: 72 ns a packet instead of 105."""


@njit
def _look_ahead(data, frames):
    """The first two cache lines, where the headers are."""
    for k in range(frames.shape[0]):
        prefetch(data, frames[k]["offset"], 0)
        prefetch(data, frames[k]["offset"], LINE)


@njit
def walk_frames(data, frames, rows, packets, words, pieces, found, ports, weirds, refusals, linktypes):
    """Decode `frames` (FRAME rows, all in `data`) into `packets[rows]`.

    `words` is `packets` seen as uint64, shape (n, itemsize / 8), for clearing rows. Fragments are described in
    `pieces` from index `found` on; returns how many are there after that. `ports` is the table of tunnels over UDP.
    `weirds` (by Weird) and `refusals` (by Refusal, so index 0 counts the packets decoded) are added to, and `linktypes`
    (LINKTYPE rows) where none is known.
    """
    for k in range(rows.shape[0]):
        if k % _AHEAD == 0:
            _look_ahead(data, frames[k : k + _AHEAD])
        words[rows[k], :] = 0
        at = frames[k]["offset"]
        row, frame = packets[rows[k]], data[at : at + np.int64(frames[k]["caplen"])]  # which no read can leave
        _head(row, frames[k])
        layer = by_linktype(frames[k]["linktype"])
        end = max(np.int64(row["wirelen"]), frame.shape[0])
        layer, is_fragment = _walk(frame, row, pieces[found], layer, end, ports)
        if is_fragment:
            _wait(row, layer)
            _keep(row, pieces[found], rows[k], frames[k]["offset"])
            found += 1
        elif layer >= STOP:
            _stop(row, layer - STOP)
        refusals[row["refused"]] += 1
        if row["refused"] == Refusal.UNKNOWN_LINKTYPE:
            _count_linktype(linktypes, frames[k]["linktype"])
        count(row["weird"], weirds)
    return found


@njit
def walk_datagrams(data, frames, rows, packets, payloads, told, pieces, ports, weirds):
    """Go on with `packets[rows]`, whose fragments became whole: `frames` say where each datagram's bytes are in `data`.

    Of one of which the first fragment's row has `told`, the row tells the rest, and nothing odd, which that one did.
    The payload's offset is then that of the frame's end: its bytes are not all in the frame. `payloads[rows]` (PAYLOAD)
    say where in `data` they are, unless there are none.
    """
    for k in range(rows.shape[0]):
        at = frames[k]["offset"]
        row, frame = packets[rows[k]], data[at : at + np.int64(frames[k]["caplen"])]  # which no read can leave
        before, size = row["weird"], np.int64(frames[k]["wirelen"])
        row["kind"] = Kind.IP
        row["more"] = 0
        row["payload_len"] = size
        layer, is_fragment = by_proto(row["proto"], row["ip_version"]), np.bool_(False)
        if layer != DONE:
            layer, is_fragment = _walk(frame, row, pieces[0], layer, size, ports)
        if is_fragment:
            _wait(row, layer)
            flag(row, Weird.NESTED_FRAGMENT)
        elif layer >= STOP:
            _stop(row, layer - STOP)
        if payloads.shape[0] != 0:
            _locate(payloads[rows[k]], row, told[k], at, frame.shape[0])
        row["payload"] = row["caplen"]
        if told[k]["kind"] != 0:
            _tell_rest(row, told[k])
            row["weird"] = before
        count(row["weird"] & ~before, weirds)


@njit
def _locate(payload, row, told, at, size):
    """Say where the payload of a datagram lies whose `size` bytes, as far as they are known, are at `at`."""
    payload["at"] = at + np.int64(row["payload"])
    payload["length"] = max(0, min(np.int64(row["payload_len"]), size - np.int64(row["payload"])))
    payload["told"] = told["payload_len"] if told["kind"] != 0 else 0


@njit
def _count_linktype(linktypes, number):
    """Count a frame by its unknown link type; in the last row, where the others are all taken by other numbers."""
    last = linktypes.shape[0] - 1
    k = 0
    while k < last and linktypes[k]["count"] != 0 and linktypes[k]["number"] != number:
        k += 1
    if k < last:
        linktypes[k]["number"] = number
    linktypes[k]["count"] += 1


@njit
def _head(row, frame):
    row["ts"] = frame["ts"]
    row["caplen"] = frame["caplen"]
    row["wirelen"] = frame["wirelen"]


@njit
def _walk(frame, row, piece, layer, end, ports):
    """Take layers off until there is nothing more to understand; what ended it, and whether it is a fragment."""
    at, carrier, partial = np.int64(0), np.int64(0), np.bool_(False)  # bare literals would have all compiled twice
    for _ in range(MAX_LAYERS):
        if layer < FIRST_NETWORK:
            layer, at, end = link(frame, row, layer, at, end)
        elif layer < FIRST_TUNNEL:
            layer, at, end = network(frame, row, piece, layer, at, end, carrier, partial)
            partial = partial or row["kind"] == Kind.FRAGMENT
        elif layer < FIRST_TRANSPORT:
            carrier = layer - FIRST_TUNNEL
            layer, at, end = tunnel(frame, row, layer, at, end, partial)
        elif layer < STOP:
            layer, at, end = transport(frame, row, layer, at, end, ports)
        if layer < STOP:
            row["layers"] += 1
        if layer == DONE or layer >= STOP:
            break
    else:
        layer = STOP + Weird.TOO_MANY_LAYERS
    if carrier != 0 and row["tunnel"] == 0:  # what was in there was not understood: the row is that of its carrier
        row["tunnel_id"] = 0
    return layer, partial


@njit
def _stop(row, reason):
    """Say why the walk ended: a refusal where nothing was understood before, else a weird if it is one."""
    if row["kind"] == Kind.REFUSED:
        row["refused"] = reason
        row["vlan"] = 0
        row["tunnel_id"] = 0
        row["layers"] = 0
    elif reason < 64:
        flag(row, reason)


@njit
def _wait(row, layer):
    """A first fragment whose headers are cut shows nothing, and nothing is said of it, until its datagram is whole."""
    if layer >= STOP:
        hide(row)


@njit
def _keep(row, piece, index, offset):
    """Complete a fragment's description."""
    if row["kind"] != Kind.FRAGMENT:
        is_outer = row["tunnel"] == piece["tunnel"] and row["src_lo"] == piece["src_lo"]
        reach = np.int64(row["payload"]) + np.int64(row["payload_len"])
        is_open = is_outer and piece["more"] != 0 and reach == piece["at"] + np.int64(piece["length"])
        piece["shown"] = PART if is_open else ALL
        row["more"] = is_open
    piece["row"] = index
    piece["at"] += offset


@njit
def _tell_rest(row, told):
    """Leave of a whole datagram's row what the row of its first fragment has not told: nothing, if they disagree."""
    rest = np.int64(row["payload_len"]) - np.int64(told["payload_len"])
    is_same = row["kind"] == told["kind"] and row["tunnel"] == told["tunnel"]
    is_same = is_same and row["src_port"] == told["src_port"] and row["dst_port"] == told["dst_port"]
    if not is_same or rest <= 0:
        hide(row)
        return
    flags = np.int64(row["tcp_flags"])
    row["kind"] = Kind.REST
    row["seq"] = (np.int64(row["seq"]) + (flags & SYN) // SYN + np.int64(told["payload_len"])) & 0xFFFF_FFFF
    row["tcp_flags"] = flags & ~SYN
    row["payload_len"] = rest
