"""The one pass over packets: expire what is due, find or make the flow, apply the packet, raise its events."""

import numpy as np

from sensor._jit import LINE, njit, prefetch
from sensor.clock import SECOND
from sensor.flows.capture_loss import is_odd, watch
from sensor.flows.contacts import SLOT as TIME_SLOT
from sensor.flows.contacts import note_open, note_request, note_try, note_used
from sensor.flows.event import Event
from sensor.flows.event_writer import write_arp, write_end, write_flow, write_icmp_error, write_used
from sensor.flows.flow import (
    ATTEMPTED,
    CONFIRMED,
    COUNTED,
    FLIP,
    HOLED,
    INACTIVE,
    MAPPED,
    ONE_WAY,
    ORIG_KNOWN,
    TIME_EXCEEDED,
    UNREACHABLE,
    USED,
    A,
    D,
    F,
    H,
    R,
    S,
    carries_data,
    doubt,
    has_mark,
    note,
    set_mark,
    went_both_ways,
)
from sensor.flows.index import SLOT, tag_of
from sensor.flows.key import (
    ECHO_REPLY,
    ECHO_REPLY_V6,
    ECHO_REQUEST,
    ECHO_REQUEST_V6,
    INIT,
    INIT_ACK,
    began,
    is_to_many,
    key_of,
    quoted_key,
)
from sensor.flows.network import enter, find_flow, hear, leave, network_of
from sensor.flows.sequence_gaps import forget
from sensor.flows.tcp import begins_another, follow, take_cut, take_tcp
from sensor.flows.timers import (
    ATTEMPT,
    ICMP_LIST,
    PARTIAL_LIST,
    REFUSED,
    RESET_LIST,
    TO_MANY,
    UDP_LIST,
    append,
    datagram_list,
    first_due,
    oldest,
    restart,
    tcp_list,
    unlink,
)
from sensor.packet import (
    ACK,
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

ROOM = 10
"""More events than one packet, or one expiry, can raise."""

DONE, OUT_FULL, INDEX_FULL = range(3)
"""Why a kernel came back."""

_ARP, _TCP, _UDP, _ICMP = int(Kind.ARP), int(Kind.TCP), int(Kind.UDP), int(Kind.ICMP)
_SCTP, _IP, _FRAGMENT = int(Kind.SCTP), int(Kind.IP), int(Kind.FRAGMENT)
_REST, _WITNESS, _TCP_CUT = int(Kind.REST), int(Kind.WITNESS), int(Kind.TCP_CUT)

_CONNECTION_ATTEMPT, _REMOVE = int(Event.CONNECTION_ATTEMPT), int(Event.CONNECTION_STATE_REMOVE)
_AT_THE_END = (_CONNECTION_ATTEMPT, _REMOVE)
_UDP_REQUEST, _UDP_REPLY = int(Event.UDP_REQUEST), int(Event.UDP_REPLY)
_REQUEST, _REPLY = int(Event.ICMP_ECHO_REQUEST), int(Event.ICMP_ECHO_REPLY)
_UNREACHABLE, _TIME_EXCEEDED = int(Event.ICMP_UNREACHABLE), int(Event.ICMP_TIME_EXCEEDED)
_IN_ORDER = (
    int(Event.CONNECTION_ESTABLISHED),
    int(Event.CONNECTION_REJECTED),
    int(Event.CONNECTION_FINISHED),
    int(Event.CONNECTION_RESET),
)

_ENDS = (int(Event.CONNECTION_REJECTED), int(Event.CONNECTION_FINISHED), int(Event.CONNECTION_RESET))

_DESCRIBED = (PROTO_ICMP, PROTO_TCP, PROTO_UDP, PROTO_ICMPV6, PROTO_SCTP)  # whose headers were cut or malformed
_WITH_PORTS = (PROTO_TCP, PROTO_UDP, PROTO_SCTP)
_MANY = 0xFFFF_FFFF
_CONTROL = (21, 990)
_STREAM_PACKETS, _STREAM_TIME = 10, 5 * SECOND
_RECENT = 30 * SECOND  # how old a packet may be that an ICMP error quotes
_ABORT, _COOKIE_ECHO, _DATA, _SHUTDOWN = 6, 10, 0, 7  # chunks of SCTP


@njit
def _is_full(out, state):
    return state["written"] + ROOM > out.shape[0]


@njit
def _remove(table, slot, ts):
    """A flow is over: raise what is left to raise and forget it."""
    flow = table.flows[slot]
    for event in _AT_THE_END:
        if event == _REMOVE or flow["list"] == ATTEMPT:
            write_end(table.out, table.state, table.contacts, event, flow, ts)
    if has_mark(flow, COUNTED):
        note_open(table.contacts, table.state, flow, -1, ts)
    if np.int64(flow["seen"]) & HOLED != 0:
        forget(table.holes, table.state, slot)
    unlink(table, slot)
    leave(table, slot)
    flow["after"] = table.state["free"]
    table.state["free"] = slot
    table.state["flows_open"] -= 1


@njit
def expire(table, until, latest):
    """Remove every flow due at or before `until`, in order, as of when it was due but no later than `latest`."""
    while True:
        which, when = first_due(table)
        if which < 0 or when > until:
            table.state["next_due"] = when
            return DONE
        if _is_full(table.out, table.state):
            return OUT_FULL
        _remove(table, table.lists[which]["first"], min(when, latest))


@njit
def _count_eviction(state, flow, rank):
    if rank == 0:
        state["evicted_half_open"] += 1
        if flow["list"] == ATTEMPT:
            state["attempts_cut_short"] += 1
    elif rank == 1:
        state["evicted_one_packet"] += 1
    elif rank == 2:
        state["evicted_idle"] += 1
    else:
        state["evicted_established"] += 1


@njit
def _take_slot(table, now):
    """A free slot; where there is none, the eviction of another flow makes one."""
    if table.state["free"] < 0 and table.state["touched"] == table.flows.shape[0]:
        slot, rank = oldest(table)
        _count_eviction(table.state, table.flows[slot], rank)
        _remove(table, slot, now)
    slot = table.state["free"]
    if slot < 0:
        slot = table.state["touched"]
        table.state["touched"] += 1
    else:
        table.state["free"] = np.int64(table.flows[slot]["after"])
    return slot


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
    """Make the flow that a packet begins; give its slot and the packet's side."""
    slot = _take_slot(table, now)
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
    """Count a packet of a flow, and keep what is told of the originator's."""
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
    """Count a connection when it first carries data, and when from then on it is first known from both ends.

    Before the packet is counted in `pkts`. Data, as a scan has answers from few and sends none.
    """
    if not carries_data(flow):
        return
    state["data_connections"] += not had_data
    is_both = flow["pkts"][1 - side] > 0
    was_both = had_data and is_both and flow["pkts"][side] > 0
    state["data_connections_both_ways"] += is_both and not was_both


@njit
def _mark_quoted(table, packet, mark, now):
    """Mark the flow that an ICMP error is about; whether it is held, and its originator sent what is quoted, lately."""
    key = quoted_key(packet, network_of(packet) * table.state["by_network"])
    found = find_flow(table, key, tag_of(table.state["secret"], key), True, True)
    if found < 0 or found & 1 != 0:
        return False
    flow = table.flows[found >> 1]
    if flow["pkts"][0] == 0 or now - flow["last"] > _RECENT:
        return False
    flow["marks"] = np.int64(flow["marks"]) | mark
    if key.proto != PROTO_TCP and datagram_list(flow) == REFUSED:
        restart(table, found >> 1, REFUSED, now)
    return True


@njit
def _take_icmp(table, flow, packet, now):
    """Raise the events of an ICMP message. Fragmentation needed (3/4) does not say that anything is unreachable.

    An error is evidence only where its receiver sent what it quotes; anybody can make up another.
    """
    kind, code = np.int64(packet["icmp_type"]), np.int64(packet["icmp_code"])
    is_v4 = packet["proto"] == PROTO_ICMP
    is_request = kind == (ECHO_REQUEST if is_v4 else ECHO_REQUEST_V6)
    if is_request or kind == (ECHO_REPLY if is_v4 else ECHO_REPLY_V6):
        write_flow(table.out, table.state, _REQUEST if is_request else _REPLY, flow, now)
    unreachable = kind == (3 if is_v4 else 1) and not (is_v4 and code == 4)
    if unreachable or kind == (11 if is_v4 else 3):
        if packet["quoted_proto"] == 0:
            table.state["icmp_without_quote"] += 1
            return
        mark = UNREACHABLE if unreachable else TIME_EXCEEDED
        if _mark_quoted(table, packet, mark, now):
            write_icmp_error(table.out, table.state, _UNREACHABLE if unreachable else _TIME_EXCEEDED, packet, now)
        else:
            table.state["unrelated_ICMP_error"] += 1


@njit
def _chunk_letter(packet):
    """The letter of an SCTP packet by its first chunk, as TCP's: S for INIT, H for INIT-ACK, R for ABORT, and so on."""
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
def _is_control(flow):
    """Whether this may be a control connection of FTP, which announces others (RFC 959, RFC 4217)."""
    return np.int64(flow["proto"]) == PROTO_TCP and np.int64(flow["resp_p"]) in _CONTROL


@njit
def _is_stream(flow):
    """Whether many datagrams have gone one way for some time: a probe is repeated a few times at most."""
    is_long = flow["pkts"][0] > _STREAM_PACKETS and flow["last"] - flow["first"] >= _STREAM_TIME
    return is_long and np.int64(flow["proto"]) == PROTO_UDP and has_mark(flow, ORIG_KNOWN)


@njit
def _follow_use(table, flow, before, now):
    """Tell that a service is used: when data has first gone both ways, and in each time slot in which it goes on.

    Where no answer is seen but acknowledged, the originator's data alone shows it. A stream of datagrams (RTP, syslog,
    NetFlow) uses the service too, though it needs no answer.
    """
    if not has_mark(flow, COUNTED) and _is_control(flow) and went_both_ways(flow):
        set_mark(flow, COUNTED)
        note_open(table.contacts, table.state, flow, 1, now)
    if has_mark(flow, USED):
        if now // TIME_SLOT == before // TIME_SLOT:
            return
    elif went_both_ways(flow) or (has_mark(flow, CONFIRMED) and flow["bytes"][0] > 0) or _is_stream(flow):
        set_mark(flow, USED)
    else:
        return
    contact = note_used(table.contacts, table.state, flow, went_both_ways(flow), now)
    if contact >= 0:
        write_used(table.out, table.state, table.contacts.rows[contact], flow, now)


@njit
def _take(table, packet, tag, now):
    """Apply a packet of TCP, UDP, SCTP or ICMP, whose five-tuple hashes to `tag`, to its flow."""
    network = network_of(packet)
    key = key_of(packet, network * table.state["by_network"])
    kind = packet["kind"]
    is_syn = kind == _TCP and np.int64(packet["tcp_flags"]) & (SYN | ACK | RST) == SYN
    may_join = not is_syn and not (kind == _SCTP and packet["sctp_chunk"] == INIT)
    found = find_flow(table, key, tag, may_join, False)
    if found >= 0 and is_syn and begins_another(table.flows[found >> 1], found & 1, packet, table.state):
        _remove(table, found >> 1, now)
        found = -1
    if found >= 0:
        slot, side = found >> 1, found & 1
    else:
        slot, side = _begin(table, packet, key, tag, now)
    if network | table.state["networks_seen"] != 0:
        hear(table, key, slot, side, network, found < 0)
    flow = table.flows[slot]
    raised, before = 0, flow["last"]
    if kind == _TCP:
        filled = (
            watch(table.holes, table.state, slot, flow, side, packet, now)
            if is_odd(flow, side, packet, table.state)
            else 0
        )
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
    for event in _IN_ORDER:
        if (raised >> event) & 1:
            if event in _ENDS:
                write_end(table.out, table.state, table.contacts, event, flow, now)
            else:
                write_flow(table.out, table.state, event, flow, now)
    if kind != _ICMP:
        _follow_use(table, flow, before, now)
    if kind == _UDP:
        write_flow(table.out, table.state, _UDP_REQUEST if side == 0 else _UDP_REPLY, flow, now)
    elif kind == _ICMP:
        _take_icmp(table, flow, packet, now)


@njit
def _take_rest(table, packet, now):
    """Count the rest of a datagram in fragments for the flow that its first one belongs to, if it is still held.

    It is no packet of its own: it raises nothing, and no timeout runs anew.
    """
    key = key_of(packet, network_of(packet) * table.state["by_network"])
    found = find_flow(table, key, tag_of(table.state["secret"], key), True, False)
    if found < 0:
        return
    slot, side = found >> 1, found & 1
    flow = table.flows[slot]
    if key.proto != PROTO_TCP:
        flow["bytes"][side] += np.int64(packet["payload_len"])
        return
    filled = (
        watch(table.holes, table.state, slot, flow, side, packet, now) if is_odd(flow, side, packet, table.state) else 0
    )
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
    """Hash the packets' five-tuples into `tags`, and ask for what they will need, so that cache misses overlap.

    Without it each packet waits for memory several times, one after the other: 4.4 instead of 8.4 million packets/s
    where 100,000 flows come in random order. It does not matter that what it read may change.
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
    """Process packets from row `start` on; return why it stopped, and the row to go on with, which is not done yet."""
    first = block = start
    for i in range(start, packets.shape[0]):
        if i == block:
            first, block = i, min(i + tags.shape[0], packets.shape[0])
            _look_ahead(table, packets[first:block], tags)
        table.state["clock"] = max(table.state["clock"], now[i])
        clock = table.state["clock"]
        if clock >= table.state["next_due"] and expire(table, clock, clock) == OUT_FULL:
            return OUT_FULL, i
        if _is_full(table.out, table.state):
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
            _take(table, packet, tags[i - first], clock)
        elif kind == _ARP:
            table.state["arp_packets"] += 1
            write_arp(table.out, table.state, packet, clock)
        elif kind in (_IP, _FRAGMENT, _REST):
            table.state["not_flow"] += 1
            if kind == _REST:
                _take_rest(table, packet, clock)
    return DONE, packets.shape[0]
