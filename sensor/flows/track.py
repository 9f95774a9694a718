"""The one pass over packets: expire due flows, find or make the flow, apply the packet, raise its events."""

import numpy as np

from sensor._jit import LINE, njit, prefetch
from sensor.flows.capture_loss import track_acks, watch
from sensor.flows.contacts import note_request, note_try
from sensor.flows.event import Event
from sensor.flows.event_writer import write_arp, write_end, write_flow
from sensor.flows.flow import (
    ATTEMPTED,
    FLIP,
    INACTIVE,
    MAPPED,
    ONE_WAY,
    ORIG_KNOWN,
    A,
    D,
    F,
    H,
    R,
    S,
    carries_data,
    doubt,
    note,
    set_mark,
)
from sensor.flows.icmp import take_icmp
from sensor.flows.index import SLOT, tag_of
from sensor.flows.key import (
    INIT,
    INIT_ACK,
    began,
    is_to_many,
    key_of,
)
from sensor.flows.network import enter, find_flow, network_of, note_network
from sensor.flows.removal import DONE, INDEX_FULL, OUT_FULL, expire, is_full, remove, take_slot
from sensor.flows.segment import is_followed, write_segment
from sensor.flows.tcp import begins_another, follow, take_cut, take_tcp
from sensor.flows.timers import (
    ICMP_LIST,
    PARTIAL_LIST,
    RESET_LIST,
    TO_MANY,
    UDP_LIST,
    append,
    datagram_list,
    restart,
    tcp_list,
)
from sensor.flows.use import follow_use
from sensor.packet import (
    ACK,
    FIN,
    ONE_WAY_TUNNELS,
    PROTO_ICMP,
    PROTO_ICMPV6,
    PROTO_SCTP,
    PROTO_TCP,
    PROTO_UDP,
    RST,
    SYN,
    Kind,
)

_ARP, _TCP, _UDP, _ICMP = int(Kind.ARP), int(Kind.TCP), int(Kind.UDP), int(Kind.ICMP)
_SCTP, _IP, _FRAGMENT = int(Kind.SCTP), int(Kind.IP), int(Kind.FRAGMENT)
_REST, _WITNESS, _TCP_CUT = int(Kind.REST), int(Kind.WITNESS), int(Kind.TCP_CUT)

_UDP_REQUEST, _UDP_REPLY = int(Event.UDP_REQUEST), int(Event.UDP_REPLY)
_IN_ORDER = (
    int(Event.CONNECTION_ESTABLISHED),
    int(Event.CONNECTION_REJECTED),
    int(Event.CONNECTION_FINISHED),
    int(Event.CONNECTION_RESET),
)

_ENDS = (int(Event.CONNECTION_REJECTED), int(Event.CONNECTION_FINISHED), int(Event.CONNECTION_RESET))

_DESCRIBED = (PROTO_ICMP, PROTO_TCP, PROTO_UDP, PROTO_ICMPV6, PROTO_SCTP)  # if of kind IP, their headers were bad
_WITH_PORTS = (PROTO_TCP, PROTO_UDP, PROTO_SCTP)
_MANY = 0xFFFF_FFFF
_ABORT, _COOKIE_ECHO, _DATA, _SHUTDOWN = 6, 10, 0, 7  # chunks of SCTP


@njit
def _clear(flow):
    for side in range(2):
        flow["bytes"][side] = 0
        flow["pkts"][side] = 0
        flow["next_seq"][side] = 0
        flow["state"][side] = INACTIVE
    flow["seen"] = 0
    for word in range(flow["history"].shape[0]):
        flow["history"][word] = 0
    flow["start_seq"] = 0
    flow["orig_flags"] = 0
    flow["orig_options"] = 0
    flow["orig_ttl"] = 255


@njit
def _begin(table, packet, key, tag, now):
    """Make the flow that a packet (PACKET row) begins; return its slot and the packet's side."""
    slot = take_slot(table, now)
    flow = table.flows[slot]
    _clear(flow)
    side = 0
    by_receiver, is_known = began(packet, key, table.contacts, table.state, now)
    if packet["kind"] == _TCP_CUT or (packet["kind"] == _UDP and packet["tunnel"] in ONE_WAY_TUNNELS):
        doubt(flow)
        is_known = False
    if by_receiver:
        side = 1
        note(flow, 0, FLIP)
        flow["orig_hi"], flow["orig_lo"], flow["orig_p"] = key.dst_hi, key.dst_lo, key.dst_p
        flow["resp_hi"], flow["resp_lo"], flow["resp_p"] = key.src_hi, key.src_lo, key.src_p
    else:
        flow["orig_hi"], flow["orig_lo"], flow["orig_p"] = key.src_hi, key.src_lo, key.src_p
        flow["resp_hi"], flow["resp_lo"], flow["resp_p"] = key.dst_hi, key.dst_lo, key.dst_p
    flow["proto"] = key.proto
    flow["history"][0] = np.int64(flow["history"][0]) | (key.mapped * MAPPED)
    flow["first"], flow["last"] = now, now
    flow["marks"] = ONE_WAY if key.one_way else 0
    if packet["kind"] == _TCP and np.int64(packet["tcp_flags"]) & (SYN | ACK | RST) == SYN:
        flow["marks"] = ATTEMPTED
    if is_known:
        set_mark(flow, ORIG_KNOWN)
        if side == 0 and key.proto in _WITH_PORTS:
            note_try(table.contacts, table.state, flow, now)
    enter(table, key, tag, slot)
    table.state["flows_open"] += 1
    table.state["flows"] += 1
    return slot, side


@njit
def _count(flow, side, packet):
    """Count a packet of a flow, and keep the originator's values. flow: a FLOW row; packet: a PACKET row."""
    if side == 0:
        flow["orig_ttl"] = min(flow["orig_ttl"], packet["ttl"])
        if flow["pkts"][0] == 0:
            flow["orig_flags"] = packet["tcp_flags"]
            flow["orig_options"] = packet["tcp_options"]
    pkts = np.int64(flow["pkts"][side])
    if pkts < _MANY:
        flow["pkts"][side] = pkts + 1


@njit
def _count_ways(flow, side, had_data, state):
    """Count a connection when it first carries data, and when it is first known from both ends from then on.

    Call it before the packet is counted in `pkts`. Only connections with data count, as a scan gets few answers and
    sends no data.
    """
    if not carries_data(flow):
        return
    state["data_connections"] += not had_data
    is_both = flow["pkts"][1 - side] > 0
    was_both = had_data and is_both and flow["pkts"][side] > 0
    state["data_connections_both_ways"] += is_both and not was_both


@njit
def _chunk_letter(packet):
    """Return an SCTP packet's letter by its first chunk, as TCP's: S for INIT, H for INIT-ACK, R for ABORT, ..."""
    chunk = packet["sctp_chunk"]
    if chunk == INIT:
        return S
    if chunk == INIT_ACK:
        return H
    if chunk == _ABORT:
        return R
    if chunk == _SHUTDOWN:
        return F
    return D if chunk in (_DATA, _COOKIE_ECHO) else A


@njit
def _watch(table, slot, side, packet, now):
    """Follow the capture loss of a TCP flow; return how many bytes of the packet fill gaps."""
    flow = table.flows[slot]
    if not track_acks(flow, side, packet, table.state):
        return np.int64(0)
    return np.int64(watch(table.holes, table.state, slot, flow, side, packet, now))


@njit
def _raise(table, flow, raised, now):
    """Write the events of a TCP packet: one for each bit in `raised`."""
    for event in _IN_ORDER:
        if (raised >> event) & 1:
            if event in _ENDS:
                write_end(table.out, table.state, table.contacts, event, flow, now)
            else:
                write_flow(table.out, table.state, event, flow, now)


@njit
def _take(table, packet, at, tag, now):
    """Apply a packet of TCP, UDP, SCTP or ICMP, row `at`, whose five-tuple hashes to `tag`, to its flow."""
    network = network_of(packet)
    key = key_of(packet, network * table.state["by_network"])
    kind = packet["kind"]
    is_syn = kind == _TCP and np.int64(packet["tcp_flags"]) & (SYN | ACK | RST) == SYN
    may_join = not is_syn and not (kind == _SCTP and packet["sctp_chunk"] == INIT)
    found = find_flow(table, key, tag, may_join, False)
    if found >= 0 and is_syn and begins_another(table.flows[found >> 1], found & 1, packet, table.state):
        remove(table, found >> 1, now)
        found = -1
    if found >= 0:
        slot, side = found >> 1, found & 1
    else:
        slot, side = _begin(table, packet, key, tag, now)
    if network | table.state["networks_seen"] != 0:
        note_network(table, key, slot, side, network, found < 0)
    flow = table.flows[slot]
    raised, before = 0, flow["last"]
    if kind == _TCP:
        filled = _watch(table, slot, side, packet, now)
        had_data = carries_data(flow)
        raised = take_tcp(flow, side, packet, filled, table.state)
        _count_ways(flow, side, had_data, table.state)
        which = tcp_list(flow)
    elif kind == _TCP_CUT:
        take_cut(flow, side)
        which = tcp_list(flow)
    elif kind == _ICMP:
        which = ICMP_LIST
    else:
        note(flow, side, _chunk_letter(packet) if kind == _SCTP else D)
        which = UDP_LIST
    if kind not in (_TCP, _TCP_CUT):
        flow["bytes"][side] += np.int64(packet["payload_len"])
    _count(flow, side, packet)
    if which == UDP_LIST:
        which = datagram_list(flow)
    if found >= 0:
        restart(table, slot, which, now)
    else:
        append(table, slot, which - TO_MANY if PARTIAL_LIST <= which <= RESET_LIST else which)
    _raise(table, flow, raised, now)
    if kind != _ICMP:
        follow_use(table, flow, before, now)
    if kind == _UDP:
        write_flow(table.out, table.state, _UDP_REQUEST if side == 0 else _UDP_REPLY, flow, now)
    elif kind == _ICMP:
        take_icmp(table, flow, packet, now)
    if table.state["followed"] != 0:
        _follow(table, slot, side, packet, at, found < 0, now)


@njit
def _follow(table, slot, side, packet, at, begins, now):
    """Write the segment of a packet, if its protocol is followed and the segment has content."""
    kind = packet["kind"]
    if (kind != _TCP and kind != _UDP) or not is_followed(table.state, packet["proto"]):
        return
    if begins or packet["payload_len"] != 0 or np.int64(packet["tcp_flags"]) & (SYN | FIN | RST) != 0:
        write_segment(table, slot, side, packet, at, begins, now)


@njit
def _take_rest(table, packet, at, now):
    """Count the rest of a fragmented datagram for the flow of its first fragment, if the flow is still held.

    It is no packet of its own: it raises no event, and restarts no timeout.
    """
    key = key_of(packet, network_of(packet) * table.state["by_network"])
    found = find_flow(table, key, tag_of(table.state["secret"], key), True, False)
    if found < 0:
        return
    slot, side = found >> 1, found & 1
    flow = table.flows[slot]
    if is_followed(table.state, key.proto):
        write_segment(table, slot, side, packet, at, False, now)
    if key.proto != PROTO_TCP:
        flow["bytes"][side] += np.int64(packet["payload_len"])
        return
    filled = _watch(table, slot, side, packet, now)
    had_data = carries_data(flow)
    note(flow, side, D)
    follow(flow, side, packet, filled)
    _count_ways(flow, side, had_data, table.state)


@njit
def _is_of_flow(packet):
    kind = packet["kind"]
    if kind == _IP:
        return packet["proto"] not in _DESCRIBED
    return kind in (_TCP, _UDP, _ICMP, _SCTP, _TCP_CUT)


@njit
def _look_ahead(table, packets, tags):
    """Hash the packets' five-tuples into `tags`, and prefetch the memory that they need, so that cache misses overlap.

    Otherwise each packet waits for memory several times in a row: 4.4 instead of 8.4 million packets/s with 100,000
    flows in random order. The prefetched data may change meanwhile; that does no harm. packets: PACKET rows; tags:
    int64.
    """
    mask = table.entries.shape[0] - 1
    for i in range(packets.shape[0]):
        packet = packets[i]
        network = network_of(packet) * table.state["by_network"]
        tags[i] = tag_of(table.state["secret"], key_of(packet, network)) if _is_of_flow(packet) else 0
        prefetch(table.entries, tags[i] & mask, 0)
    for i in range(packets.shape[0]):
        slot = (table.entries[tags[i] & mask] & SLOT) - 1
        if slot >= 0:
            prefetch(table.flows, slot, 0)
            prefetch(table.flows, slot, LINE)
            prefetch(table.flows, slot, 2 * LINE - 1)  # a flow has two lines, and lies on three
            if table.state["networks_seen"] != 0:
                prefetch(table.networks, slot, 0)
    for i in range(packets.shape[0]):
        slot = (table.entries[tags[i] & mask] & SLOT) - 1
        if slot >= 0:
            before, after = np.int64(table.flows[slot]["before"]), np.int64(table.flows[slot]["after"])
            if before >= 0:
                prefetch(table.flows, before, LINE)
            if after >= 0:
                prefetch(table.flows, after, LINE)


@njit
def track(table, tags, packets, now, start):
    """Process packets from row `start` on; return the reason for stopping, and the first row that is not done.

    tags: int64, scratch; packets: PACKET rows; now: int64, the packet clock (ns) at each row.
    """
    first = block = start
    for i in range(start, packets.shape[0]):
        if i == block:
            first, block = i, min(i + tags.shape[0], packets.shape[0])
            _look_ahead(table, packets[first:block], tags)
        table.state["clock"] = max(table.state["clock"], now[i])
        clock = table.state["clock"]
        if clock >= table.state["next_due"] and expire(table, clock, clock) == OUT_FULL:
            return OUT_FULL, i
        if is_full(table):
            return OUT_FULL, i
        if 2 * table.state["entries"] >= table.entries.shape[0]:
            return INDEX_FULL, i
        packet = packets[i]
        kind = packet["kind"]
        if kind == _WITNESS:
            note_request(table.contacts, table.state, packet, clock)
        elif _is_of_flow(packet):
            table.state["flow_packets"] += 1
            if kind == _UDP and is_to_many(packet):
                note_request(table.contacts, table.state, packet, clock)
            _take(table, packet, i, tags[i - first], clock)
        elif kind == _ARP:
            table.state["arp_packets"] += 1
            write_arp(table.out, table.state, packet, clock)
        elif kind in (_IP, _FRAGMENT, _REST):
            table.state["not_flow"] += 1
            if kind == _REST:
                _take_rest(table, packet, i, clock)
    return DONE, packets.shape[0]
