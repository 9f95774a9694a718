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
"""Frames whose headers are prefetched together: 72 ns a packet instead of 105."""


@njit
def _look_ahead(data, frames):
    """Prefetch the first two cache lines of each frame, which hold the headers. data: uint8; frames: FRAME rows."""
    for k in range(frames.shape[0]):
        prefetch(data, frames[k]["offset"], 0)
        prefetch(data, frames[k]["offset"], LINE)


@njit
def walk_frames(data, frames, rows, packets, words, pieces, found, ports, weirds, refusals, linktypes):
    """Decode `frames` (FRAME rows, all in `data`) into `packets[rows]`; return the pieces after that.

    data: uint8; rows: int64; packets: PACKET rows; `words` is `packets` as uint64, shape (n, itemsize / 8), for
    clearing rows. Fragments are described in `pieces` (PIECE rows) from index `found` on; the new `found` is returned.
    ports: uint8, the table of tunnels over UDP. `weirds` (int64, by Weird), `refusals` (int64, by Refusal, so index 0
    counts the packets decoded) and `linktypes` (LINKTYPE rows, for unknown link types) are increased.
    """
    for k in range(rows.shape[0]):
        if k % _AHEAD == 0:
            _look_ahead(data, frames[k : k + _AHEAD])
        words[rows[k], :] = 0
        at = frames[k]["offset"]
        row, frame = packets[rows[k]], data[at : at + np.int64(frames[k]["caplen"])]  # no read can leave this slice
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
    """Decode `packets[rows]`, whose fragments became whole: `frames` (FRAME) locate each datagram's bytes in `data`.

    data: uint8; rows: int64; packets: PACKET rows; told: TOLD rows; pieces: PIECE rows; ports: uint8; weirds: int64. If
    the first fragment's row has reported a datagram (`told`), its row reports only the rest, and no oddity, as the
    first one did. The payload's offset is then set to the frame's end, as its bytes are not all in the frame.
    `payloads[rows]` (PAYLOAD) get their positions in `data`, unless there are none.
    """
    for k in range(rows.shape[0]):
        at = frames[k]["offset"]
        row, frame = packets[rows[k]], data[at : at + np.int64(frames[k]["caplen"])]  # no read can leave this slice
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
    """Set the position of a datagram's payload; `size` captured bytes of the datagram are at `at`.

    payload: a PAYLOAD row; row: a PACKET row; told: a TOLD row.
    """
    payload["at"] = at + np.int64(row["payload"])
    payload["length"] = max(0, min(np.int64(row["payload_len"]), size - np.int64(row["payload"])))
    payload["told"] = told["payload_len"] if told["kind"] != 0 else 0


@njit
def _count_linktype(linktypes, number):
    """Count a frame by its unknown link type; in the last LINKTYPE row if all others hold other numbers."""
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
    """Strip layers until none is left to decode; return the code that ended the walk, and whether it is a fragment."""
    at, carrier, partial = np.int64(0), np.int64(0), np.bool_(False)  # bare literals would compile every function twice
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
    if carrier != 0 and row["tunnel"] == 0:  # the inner packet was not understood: the row describes its carrier
        row["tunnel_id"] = 0
    return layer, partial


@njit
def _stop(row, reason):
    """Record why the walk ended: a refusal if no network layer was decoded, else a Weird if it is one."""
    if row["kind"] == Kind.REFUSED:
        row["refused"] = reason
        row["vlan"] = 0
        row["tunnel_id"] = 0
        row["layers"] = 0
    elif reason < 64:
        flag(row, reason)


@njit
def _wait(row, layer):
    """Hide the row of a first fragment whose headers are cut; it reports nothing until its datagram is whole."""
    if layer >= STOP:
        hide(row)


@njit
def _keep(row, piece, index, offset):
    """Complete the description of a fragment (PIECE row) with its packet's row `index` and frame `offset`."""
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
    """Reduce a whole datagram's row to what its first fragment's row has not reported; hide it if the two disagree."""
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
