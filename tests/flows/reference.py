"""A slow, obvious flow table: dicts and lists, every timer looked at before every packet, one rule after another.

What it gives is compared with what the kernels give. It shares no code with them.
"""

import ipaddress
from dataclasses import dataclass, field

from sensor.address import to_address
from sensor.flows import ConnState, Event, FlowOptions
from sensor.packet import ACK, FIN, RST, SYN, Kind, Tunnel
from tests.flows.reference_contacts import SECOND, SLOT, Contacts

SERVICES = {
    1194, 1433, 1434, 1521, 1701, 1812, 1883, 1900, 3128, 3306, 3389, 3478, 3544, 3702, 4222, 4500, 5060, 5061,
    5222, 5223, 5228, 5353, 5355, 5432, 5671, 5672, 5900, 6379, 6443, 8000, 8080, 8443, 8883, 8888, 9092,
    9200, 11211, 25565, 27015, 27017, 51820, *range(1024),
}  # fmt: skip
ICMP, TCP, UDP, ICMPV6, SCTP = 1, 6, 17, 58, 132
CHUNKS = {0: "D", 1: "S", 2: "H", 6: "R", 7: "F", 10: "D"}
PAIRS = {
    1: {8: 0, 13: 14, 15: 16, 17: 18, 10: 9},
    58: {128: 129, 130: 131, 133: 134, 135: 136, 139: 140, 144: 145},
}
ORDER = [  # the order in which flows that are due at once go
    "attempt", "half-open", "refused", "partial 1", "udp 1", "icmp 1", "closed 1", "reset 1",
    "partial", "udp", "icmp", "closed", "reset", "established",
]  # fmt: skip
RANKS = [ORDER[:3], ORDER[3:8], ORDER[8:13], ORDER[13:]]
GRACE, WINDOW = 10**9, 2**24
EVICTED = ["evicted_half_open", "evicted_one_packet", "evicted_idle", "evicted_established"]


def may_be_reply(src_p, dst_p):
    return (src_p < 32768 <= dst_p) or (src_p in SERVICES and dst_p >= 1024)


def nonzero(columns):
    return {name: int(value) for name, value in columns.items() if value}


def ahead(a, b):
    delta = (a - b) % 2**32
    return delta - 2**32 if delta >= 2**31 else delta


@dataclass
class Hole:
    start: int
    length: int
    ack: int | None = None
    acked_at: int | None = None

    def part(self, begin, end):
        parts = [Hole((self.start + begin) % 2**32, end - begin, self.ack, self.acked_at)]
        return parts if begin < end else []

    def without(self, seq, length):
        begin = ahead(seq, self.start)
        end = begin + length
        if end <= 0 or begin >= self.length:
            return [self]
        return self.part(0, begin) + self.part(max(end, 0), self.length)

    def at(self, number):
        begin = ahead(number, self.start)
        return self.part(0, begin) + self.part(begin, self.length) if 0 < begin < self.length else [self]


@dataclass
class End:
    state: str = "inactive"
    pkts: int = 0
    bytes: int = 0
    seen: list = field(default_factory=list)
    next_seq: int | None = None
    start_seq: int | None = None
    upto: int | None = None
    holes: list = field(default_factory=list)
    first_flags: int = 0
    first_options: int = 0
    ttl: int = 255


@dataclass
class Flow:
    orig: tuple
    resp: tuple
    proto: int
    first: int
    last: int
    one_way: bool = False
    flipped: bool = False
    known: bool = False
    used: bool = False
    confirmed: bool = False
    is_open: bool = False
    attempted: bool = False
    ended: bool = False
    unreachable: bool = False
    time_exceeded: bool = False
    unproven: bool = False
    mapped: bool = False
    history: str = ""
    where: str = ""
    turn: int = 0
    networks: list = field(default_factory=lambda: [None, None])
    is_told: bool = False
    ends: tuple = field(default_factory=lambda: (End(), End()))

    @property
    def waiting(self):
        return self.attempted and self.ends[1].state == "inactive"

    @property
    def both_ways(self):
        o, r = self.ends
        return bool(o.bytes and r.bytes) if self.proto == TCP else "D" in o.seen and "D" in r.seen

    @property
    def service(self):
        return self.orig[0], self.resp[0], self.resp[1], self.proto

    @property
    def pair(self):
        return self.orig[0], self.resp[0]

    def note(self, side, letter):
        if letter not in self.ends[side].seen:
            self.ends[side].seen.append(letter)
            self.history += letter.lower() if side else letter

    @property
    def since(self):
        return self.first if self.where == "attempt" else self.last

    def conn_state(self):
        o, r = self.ends
        if self.proto in (17, 132):
            return {(True, True): "SF", (True, False): "S0", (False, True): "SHR"}[o.pkts > 0, r.pkts > 0]
        if self.proto != 6:
            return "OTH"
        silent = ("inactive", "partial")
        match o.state, r.state:
            case "syn_sent" | "syn_ack_sent", "reset":
                return "REJ"
            case "reset", "reset" if o.bytes == r.bytes == 0:
                return "REJ"
            case _, "reset":
                return "RSTRH" if o.state in silent else "RSTR"
            case "reset", _ if r.state not in silent:
                return "RSTO"
            case "reset", _:
                before, rst, _ = self.history.partition("R")
                return "RSTOS0" if rst and before.startswith("S") and not set(before) & set("HAFIQ") else "OTH"
            case "closed", "closed":
                return "SF"
            case "closed", _:
                return "SH" if r.state in silent else "S2"
            case _, "closed":
                return "SHR" if o.state in silent else "S3"
            case "syn_sent", "inactive":
                return "S0"
            case "established", "established":
                return "S1"
        return "OTH"


class Reference:
    def __init__(self, options=FlowOptions()):  # noqa: B008
        o = options
        waits = {"partial": o.tcp_inactivity, "udp": o.udp_inactivity, "icmp": o.icmp_inactivity}
        waits |= {"closed": o.tcp_close, "reset": o.tcp_reset}
        waits |= {f"{name} 1": wait for name, wait in waits.items()}
        waits["partial 1"] = o.tcp_attempt
        waits |= {"attempt": o.tcp_attempt, "half-open": o.tcp_half_open, "refused": o.tcp_attempt}
        waits["established"] = o.tcp_inactivity
        self.options, self.waits, self.contacts = options, waits, Contacts(o.contacts)
        self.flows, self.events, self.turn, self.now = [], [], 0, None
        self.counters = dict.fromkeys([*EVICTED, "flows", "not_flow", "arp_packets", "attempts_cut_short"], 0)
        self.counters |= dict.fromkeys(["tcp_acks", "tcp_acks_of_unseen", "tcp_bytes_unseen", "tcp_acks_wild"], 0)
        self.counters |= dict.fromkeys(["icmp_without_quote", "unrelated_ICMP_error", "flows_under_two_tags"], 0)
        self.by_network, self.awaiting = options.key == "network", {}

    # what goes on over time

    def due(self, flow):
        return flow.since + self.waits[flow.where]

    def expire(self, until, latest):
        while True:
            due = [flow for flow in self.flows if self.due(flow) <= until]
            if not due:
                return
            flow = min(due, key=lambda flow: (self.due(flow), ORDER.index(flow.where), flow.turn))
            self.remove(flow, min(self.due(flow), latest))

    def finish(self):
        self.expire(2**63, self.now)
        self.counters["contacts_evicted"] = self.contacts.evicted

    def remove(self, flow, ts):
        if flow.where == "attempt":
            self.tell_end(Event.CONNECTION_ATTEMPT, flow, ts)
        self.tell_end(Event.CONNECTION_STATE_REMOVE, flow, ts)
        if flow.is_open:
            self.contacts.closed(flow.pair, ts)
        self.judge(flow, 2**63)
        self.flows.remove(flow)
        self.answered(flow)

    def evict(self, now):
        for rank, name in zip(RANKS, EVICTED, strict=True):
            held = [flow for flow in self.flows if flow.where in rank]
            if held:
                flow = min(held, key=lambda flow: (flow.since, ORDER.index(flow.where), flow.turn))
                self.counters[name] += 1
                self.counters["attempts_cut_short"] += flow.where == "attempt"
                self.remove(flow, now)
                return

    def put(self, flow, where):
        self.turn += 1
        flow.where, flow.turn = where, self.turn

    def tell(self, event, flow, ts, **more):
        o, r = flow.ends
        ports = (flow.resp[1], flow.orig[1]) if flow.flipped else (flow.orig[1], flow.resp[1])
        more |= {"orig_known": flow.known, "may_be_reply": not flow.known and may_be_reply(*ports)}
        more["unproven"] = flow.unproven
        self.events.append(
            (int(event), ts, flow.orig, flow.resp, flow.proto, int(ConnState[flow.conn_state()]), flow.history,
             flow.last - flow.first, o.pkts, r.pkts, o.bytes, r.bytes, o.first_flags, o.first_options, o.ttl,
             int(flow.unreachable), int(flow.time_exceeded), None, 0, 0, flow.last, nonzero(more))
        )  # fmt: skip

    def tell_end(self, event, flow, ts):
        more = {}
        contact = self.contacts.find(flow.service, ts)
        if contact and not flow.both_ways:
            contact.failed = True
            more = {"first_try": contact.first, "tries": contact.tries, "steady": contact.steady}
        if flow.proto in (TCP, UDP) and not flow.both_ways:
            same_port = [self.contacts.find((*flow.service[:3], proto), ts) for proto in (TCP, UDP)]
            more["reached"] = any(each and each.reached for each in same_port)
        if flow.proto == TCP and not flow.both_ways:
            there, back = (self.contacts.find(("pair", *each), ts) for each in (flow.pair, flow.pair[::-1]))
            more["controls"] = bool(there and (there.open or ts - there.last <= 120 * SECOND))
            more["is_controlled"] = bool(back and (back.open or ts - back.last <= 120 * SECOND))
        self.tell(event, flow, ts, **more)

    # packets

    def packet(self, p, now):
        self.now = now
        self.expire(now, 2**63)
        kind, proto = int(p["kind"]), int(p["proto"])
        if kind == Kind.ARP:
            self.counters["arp_packets"] += 1
        if kind == Kind.REST:
            self.rest(p, now)
        is_other = kind == Kind.IP and proto not in (ICMP, TCP, UDP, ICMPV6, SCTP)
        if kind == Kind.WITNESS or (kind == Kind.UDP and (p["group"] or self.is_many(p))):
            self.contacts.asked_many(self.endpoints(p)[0], now)
        if kind in (Kind.TCP, Kind.TCP_CUT, Kind.UDP, Kind.ICMP, Kind.SCTP) or is_other:
            self.take(p, kind, now)
        elif kind in (Kind.IP, Kind.FRAGMENT, Kind.REST):
            self.counters["not_flow"] += 1

    def take(self, p, kind, now):
        src, dst, one_way = self.endpoints(p)
        proto, flags = int(p["proto"]), int(p["tcp_flags"])
        is_syn = kind == Kind.TCP and flags & SYN and not flags & (ACK | RST)
        opens = is_syn or (kind == Kind.SCTP and p["sctp_chunk"] == 1)
        flow = self.find(src, dst, proto, one_way, self.network(p), opens=opens, mapped=self.mapped(p, src, dst))
        if flow and is_syn and self.begins_another(flow, src, int(p["seq"])):
            self.remove(flow, now)
            flow = None
        is_new = flow is None
        if is_new:
            if len(self.flows) == self.options.capacity:
                self.evict(now)
            flow = self.begin(p, kind, src, dst, one_way, now)
            flow.attempted = bool(is_syn)
        side = int(src != flow.orig or (is_new and flow.flipped))
        before = flow.last
        self.hear(flow, side, self.network(p), is_new)
        filled = self.watch(flow, side, p, flags, now) if kind == Kind.TCP else 0
        raised, where = self.apply(flow, side, p, kind, filled)
        end = flow.ends[side]
        if side == 0:
            end.ttl = min(end.ttl, int(p["ttl"]))
            if end.pkts == 0:
                end.first_flags, end.first_options = flags, int(p["tcp_options"])
        end.pkts += 1
        if where == "udp" and self.is_refused(flow):
            where = "refused"
        self.place(flow, where, is_new, now)
        for event in raised:
            (self.tell if event == Event.CONNECTION_ESTABLISHED else self.tell_end)(event, flow, now)
        if kind != Kind.ICMP:
            self.follow_use(flow, before, now)
        if kind == Kind.UDP:
            self.tell(Event.UDP_REPLY if side else Event.UDP_REQUEST, flow, now)
        if kind == Kind.ICMP:
            self.icmp(flow, p, now)

    def begin(self, p, kind, src, dst, one_way, now):
        flipped, known = self.began(p, kind, src, dst, now)
        orig, resp = (dst, src) if flipped else (src, dst)
        is_one_way = kind == Kind.UDP and p["tunnel"] in (Tunnel.MPLS, Tunnel.LISP, Tunnel.GRE_IN_UDP)
        unproven = is_one_way or kind == Kind.TCP_CUT
        known = known and not unproven
        flow = Flow(
            orig,
            resp,
            int(p["proto"]),
            now,
            now,
            one_way,
            flipped,
            known,
            unproven=unproven,
            mapped=self.mapped(p, src, dst),
        )
        flow.history = "^" if flipped else ""
        self.flows.append(flow)
        self.counters["flows"] += 1
        if known and not flipped and flow.proto in (TCP, UDP, SCTP):
            self.contacts.tried(flow.service, src[1], now)
        return flow

    def follow_use(self, flow, before, now):
        o = flow.ends[0]
        is_stream = flow.proto == UDP and flow.known and o.pkts > 10 and flow.last - flow.first >= 5 * SECOND
        if flow.proto == TCP and flow.resp[1] in (21, 990) and flow.both_ways and not flow.is_open:
            flow.is_open = True
            self.contacts.opened(flow.pair, now)
        if flow.used and now // SLOT == before // SLOT:
            return
        flow.used |= flow.both_ways or is_stream or bool(flow.confirmed and o.bytes)
        contact = self.contacts.used(flow.service, flow.both_ways, now) if flow.used else None
        if contact:
            self.tell(
                Event.SERVICE_USED,
                flow,
                now,
                connections=contact.flows,
                first_try=contact.first,
                failed_before=contact.failed,
            )

    def place(self, flow, where, is_new, now):
        base = flow.where.removesuffix(" 1")
        if is_new:
            self.put(flow, where if where in ("attempt", "half-open", "established") else f"{where} 1")
        elif where in ("closed", "reset") and base == where:
            pass
        else:
            flow.last = now
            if not (where == "attempt" and flow.where == "attempt"):
                self.put(flow, where)

    def endpoints(self, p):
        src, dst = ((to_address(p[f"{end}_hi"], p[f"{end}_lo"]), int(p[f"{end}_port"])) for end in ("src", "dst"))
        if p["proto"] not in PAIRS:
            return src, dst, False
        kind, code = int(p["icmp_type"]), int(p["icmp_code"])
        pairs = PAIRS[int(p["proto"])]
        both = pairs | {reply: request for request, reply in pairs.items()}
        return (src[0], kind), (dst[0], both.get(kind, code)), kind not in both

    def find(self, src, dst, proto, one_way, network=0, opens=False, is_quote=False, mapped=False):
        of_tuple = []
        for flow in self.flows:
            direct = (flow.orig, flow.resp) == (src, dst)
            swapped = (flow.orig, flow.resp) == (dst, src) and not one_way
            is_same = flow.proto == proto and flow.one_way == one_way and flow.mapped == mapped
            if is_same and (direct or swapped):
                of_tuple.append((flow, 0 if direct else 1))
        if not self.by_network:
            return of_tuple[0][0] if of_tuple else None
        for flow, side in of_tuple:
            if flow.networks[side] == network:
                return flow
        for flow, side in of_tuple:
            if flow.networks[1 - side] == network and (is_quote or flow.networks[side] is None):
                return flow
        for flow, side in of_tuple:
            is_awaiting = self.awaiting.get(self.tuple_of(flow)) is flow and not one_way
            if is_awaiting and not opens and (is_quote or flow.networks[side] is None):
                return flow
        return None

    def mapped(self, p, src, dst):
        return p["ip_version"] == 6 and 4 in (src[0].version, dst[0].version)

    def network(self, p):
        return int(p["vlan"]), int(p["tunnel_id"])

    def tuple_of(self, flow):
        return frozenset([flow.orig, flow.resp]), flow.proto, flow.one_way, flow.mapped

    def answered(self, flow):
        if self.awaiting.get(self.tuple_of(flow)) is flow:
            del self.awaiting[self.tuple_of(flow)]

    def hear(self, flow, side, network, is_new):
        if flow.networks[side] is None:
            flow.networks[side] = network
            if is_new:
                self.awaiting[self.tuple_of(flow)] = flow
            else:
                self.answered(flow)
        elif flow.networks[side] != network and not flow.is_told:
            flow.is_told = True
            self.counters["flows_under_two_tags"] += 1

    def began(self, p, kind, src, dst, now):
        """Whether the receiver of a flow's first packet began it, and whether that is known."""
        flags, chunk, proto = int(p["tcp_flags"]), int(p["sctp_chunk"]), int(p["proto"])
        if kind == Kind.ICMP:
            return (proto, src[1]) in ((ICMP, 0), (ICMPV6, 129)), True
        if kind == Kind.TCP and flags & SYN:
            return bool(flags & ACK and not flags & RST), True
        if kind == Kind.TCP and not flags & (ACK | RST):
            return False, True
        if kind == Kind.SCTP and chunk in (1, 2):
            return chunk == 2, True
        asked = self.contacts.find(("socket", *dst), now) if kind == Kind.UDP else None
        if asked and now - asked.last <= 30 * SECOND:
            return True, True
        used = self.contacts.find((dst[0], *src, proto), now)
        if used and used.reached:
            return True, True
        if used and proto != TCP and used.port == dst[1] and now - used.last <= 300 * SECOND:
            return True, True
        if self.contacts.find((src[0], *dst, proto), now):
            return False, True
        is_answer = not self.is_many(p) and src[1] in SERVICES and dst[1] >= 32768
        is_answer = is_answer and kind in (Kind.TCP, Kind.TCP_CUT, Kind.UDP)
        return is_answer, kind == Kind.UDP and not may_be_reply(src[1], dst[1])

    def is_many(self, p):
        dst = to_address(p["dst_hi"], p["dst_lo"])
        return dst.is_multicast or dst == ipaddress.ip_address("255.255.255.255")

    def rest(self, p, now):
        src, dst, one_way = self.endpoints(p)
        flow = self.find(src, dst, int(p["proto"]), one_way, self.network(p), mapped=self.mapped(p, src, dst))
        if flow is None:
            return
        side, flags, length = int(src != flow.orig), int(p["tcp_flags"]), int(p["payload_len"])
        if flow.proto != 6:
            flow.ends[side].bytes += length
            return
        filled = self.watch(flow, side, p, flags, now)
        flow.note(side, "D")
        self.sequence(flow, side, p, flags, filled)

    def apply(self, flow, side, p, kind, filled):
        length = int(p["payload_len"])
        if kind == Kind.TCP:
            return self.tcp(flow, side, p, length, filled)
        if kind == Kind.TCP_CUT:
            return self.cut(flow, side)
        flow.ends[side].bytes += length
        if kind == Kind.ICMP:
            return [], "icmp"
        flow.note(side, CHUNKS.get(int(p["sctp_chunk"]), "A") if kind == Kind.SCTP else "D")
        return [], "udp"

    def cut(self, flow, side):
        flow.unproven = True
        if flow.ends[side].state == "inactive":
            flow.ends[side].state = "partial"
        return [], self.tcp_where(flow)

    def is_refused(self, flow):
        return flow.unreachable and not flow.ends[1].pkts

    def icmp(self, flow, p, now):
        is_v4, kind = p["proto"] == 1, int(p["icmp_type"])
        if kind == (8 if is_v4 else 128):
            self.tell(Event.ICMP_ECHO_REQUEST, flow, now)
        if kind == (0 if is_v4 else 129):
            self.tell(Event.ICMP_ECHO_REPLY, flow, now)
        unreachable = kind == (3 if is_v4 else 1) and not (is_v4 and p["icmp_code"] == 4)
        exceeded = kind == (11 if is_v4 else 3)
        if not (unreachable or exceeded):
            return
        if not p["quoted_proto"]:
            self.counters["icmp_without_quote"] += 1
            return
        src, dst = (
            (to_address(p[f"quoted_{end}_hi"], p[f"quoted_{end}_lo"]), int(p[f"quoted_{end}_port"]))
            for end in ("src", "dst")
        )
        quoted = self.quoted(src, dst, int(p["quoted_proto"]))
        about = self.find(*quoted, self.network(p), is_quote=True, mapped=self.mapped(p, src, dst))
        if (
            not about
            or about.orig[0] != src[0]
            or about.orig[1] != src[1]
            or not about.ends[0].pkts
            or now - about.last > 30 * SECOND
        ):
            self.counters["unrelated_ICMP_error"] += 1
            return
        about.unreachable |= unreachable
        about.time_exceeded |= exceeded
        if about.proto != TCP and self.is_refused(about):
            about.last = now
            self.put(about, "refused")
        event = Event.ICMP_UNREACHABLE if unreachable else Event.ICMP_TIME_EXCEEDED
        reporter = to_address(p["src_hi"], p["src_lo"])
        self.events.append(
            (int(event), now, src, dst, int(p["quoted_proto"]), 0, "", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
             reporter, kind, int(p["icmp_code"]), now, {})
        )  # fmt: skip

    def quoted(self, src, dst, proto):
        if proto not in PAIRS:
            return src, dst, proto, False
        both = PAIRS[proto] | {reply: request for request, reply in PAIRS[proto].items()}
        return src, (dst[0], both.get(src[1], dst[1])), proto, src[1] not in both

    # TCP

    def begins_another(self, flow, src, seq):
        (o, r), side = flow.ends, int(src != flow.orig)
        both_closed = o.state == r.state == "closed"
        if flow.waiting and not flow.confirmed:
            return side == 1 and o.state != "syn_sent"
        if "S" in flow.ends[side].seen:
            expected = o.start_seq if side == 0 else (r.next_seq - 1) % 2**32
            return both_closed or seq != expected
        if side == 0 and o.state == "inactive" and r.state == "established":
            return (seq + 1) % 2**32 != o.next_seq
        return True

    def tcp(self, flow, side, p, length, filled):
        flags, seq, ack = int(p["tcp_flags"]), int(p["seq"]), int(p["ack"])
        me, peer = flow.ends[side], flow.ends[1 - side]
        heeded = not flags & RST or self.is_heeded(flow, side, seq, ack, flags)
        self.letters(flow, side, flags, length)
        if p["window"] == 0 and not flags & RST and peer.state != "closed" and me.state != "reset":
            flow.note(side, "W")
        self.sequence(flow, side, p, flags, filled)
        was_waiting, mine, theirs = flow.waiting, me.state, peer.state
        raised = []
        if flags & RST:
            if heeded and mine != "reset" and not (mine == theirs == "closed"):
                me.state = "reset"
                if was_waiting:
                    raised += [Event.CONNECTION_REJECTED] if side == 1 else []
                elif theirs == "established" or (mine != "inactive" and theirs != "inactive"):
                    raised += [Event.CONNECTION_RESET]
        elif flags & SYN:
            if mine == "inactive" and side == 0:
                me.state = "syn_ack_sent" if flags & ACK else "established" if theirs == "established" else "syn_sent"
            elif mine == "inactive":
                me.state = "established"
                if theirs == "syn_sent":
                    peer.state = "established"
                raised += [Event.CONNECTION_ESTABLISHED] if theirs != "partial" else []
                raised += [Event.CONNECTION_RESET] if theirs == "reset" and flow.attempted else []
        elif flags & FIN:
            if mine not in ("closed", "reset"):
                me.state = "closed"
                if theirs == "reset" and "F" in peer.seen:
                    peer.state = "closed"
                raised += [Event.CONNECTION_FINISHED] if peer.state == "closed" else []
        elif mine == "inactive" and not (was_waiting and length == 0):
            me.state = "established" if flags & ACK and theirs == "established" else "partial"
        flow.confirmed |= bool(side == 0 and was_waiting and flags & ACK and not flags & (SYN | FIN | RST))
        ends = [each for each in raised if each != Event.CONNECTION_ESTABLISHED]
        if ends and flow.ended:
            raised.remove(ends[0])
        flow.ended |= bool(ends)
        return raised, self.tcp_where(flow)

    def tcp_where(self, flow):
        o, r = flow.ends
        if flow.waiting and not flow.confirmed:
            return "attempt"
        is_over = "reset" in (o.state, r.state) or o.state == r.state == "closed"
        if is_over and flow.attempted and "H" in r.seen and not o.bytes and not r.bytes:
            return "half-open"
        if "reset" in (o.state, r.state):
            return "reset"
        if {o.state, r.state} <= {"closed", "inactive"}:
            return "closed"
        if not {"S", "H"} & set(r.seen):
            return "partial"
        return "established" if {"A", "D"} & set(o.seen) else "half-open"

    def is_heeded(self, flow, side, seq, ack, flags):
        o, me = flow.ends[0], flow.ends[side]
        if flow.waiting and side == 1:
            return bool(flags & ACK) and ahead(ack, o.start_seq) > 0 and ahead(ack, o.next_seq) <= 0
        dropped = side == 0 and not {"A", "D"} & set(o.seen)
        return dropped or me.next_seq is None or abs(ahead(seq, me.next_seq)) <= 2**20

    def letters(self, flow, side, flags, length):
        match bool(flags & SYN), bool(flags & FIN), bool(flags & RST):
            case _, True, True:
                flow.note(side, "I")
            case (True, True, False) | (True, False, True):
                flow.note(side, "Q")
            case True, False, False:
                flow.note(side, "H" if flags & ACK else "S")
            case False, True, False:
                flow.note(side, "F")
            case False, False, True:
                flow.note(side, "R")
            case _ if length or flags & ACK:
                flow.note(side, "D" if length else "A")

    def sequence(self, flow, side, p, flags, filled):
        me, peer = flow.ends[side], flow.ends[1 - side]
        seq, ack, length = int(p["seq"]), int(p["ack"]), int(p["payload_len"])
        data_end = (seq + bool(flags & SYN) + length) % 2**32
        end = (data_end + (flags & FIN and not p["more"])) % 2**32
        if flags & RST:
            if me.next_seq is None:
                me.next_seq = seq
        elif me.next_seq is None or (flags & SYN and me.state in ("inactive", "syn_sent")):
            me.next_seq = end
            me.bytes += length if me.state == "inactive" else 0
        else:
            me.bytes += filled + min(length, max(0, ahead(data_end, me.next_seq)))
            if ahead(end, me.next_seq) > 0:
                me.next_seq = end
            elif length and not filled:
                flow.note(side, "T")
        if side == 0 and flags & SYN and not flags & (ACK | RST):
            me.start_seq = seq
        if flags & ACK and not flags & RST and peer.next_seq is None:
            peer.next_seq = ack

    # what is acknowledged though it has not passed by

    def judge(self, flow, until):
        for end in flow.ends:
            over = [hole for hole in end.holes if hole.acked_at is not None and hole.acked_at <= until]
            kept = [hole for hole in end.holes if hole not in over]
            self.counters["tcp_bytes_unseen"] += sum(hole.length for hole in over)
            self.counters["tcp_acks_of_unseen"] += len({hole.ack for hole in over} - {hole.ack for hole in kept})
            end.holes = kept

    def watch(self, flow, side, p, flags, now):
        me, peer = flow.ends[side], flow.ends[1 - side]
        if me.upto is None and me.state == peer.state == "established":
            me.upto, peer.upto = me.next_seq, peer.next_seq
        if me.next_seq is None or flags & (SYN | RST) or "reset" in (me.state, peer.state):
            return 0
        if me.upto is None and int(p["seq"]) == me.next_seq:
            return 0
        self.judge(flow, now - GRACE)
        filled = self.pass_by(me, int(p["seq"]), int(p["payload_len"]), bool(flags & FIN and not p["more"]))
        if flags & ACK and me.upto is not None:
            self.acknowledge(peer, int(p["ack"]), now)
        return filled

    def pass_by(self, end, seq, length, fin):
        """How many bytes, not FINs, of what was missing before `next_seq` come now."""
        upto = end.next_seq if end.upto is None else end.upto
        known = upto if 0 < ahead(upto, end.next_seq) <= WINDOW else end.next_seq
        jump = ahead(seq, known)
        if jump > 0:
            end.holes.append(Hole(known, min(jump, WINDOW)))
        if jump > 0 or length + fin == 0:
            return 0
        late = min(length, -ahead(seq, end.next_seq))
        before = sum(hole.length for hole in end.holes)
        after = sum(piece.length for hole in end.holes for piece in hole.without(seq, max(late, 0)))
        end.holes = [piece for hole in end.holes for piece in hole.without(seq, length + fin)]
        return before - after

    def acknowledge(self, end, ack, now):
        gained, beyond = ahead(ack, end.upto), ahead(ack, end.next_seq)
        if abs(gained) > WINDOW or beyond > WINDOW:
            self.counters["tcp_acks_wild"] += 1
            end.upto = ack if beyond <= 0 else end.upto
        elif gained > 0:
            self.counters["tcp_acks"] += 1
            end.holes = [piece for hole in end.holes for piece in hole.at(ack)]
            for hole in end.holes:
                into = ahead(hole.start, end.upto)
                if hole.ack is None and into >= 0 and into + hole.length <= gained:
                    hole.ack, hole.acked_at = ack, now
            if beyond > 0:
                missing = min(beyond, gained)
                end.holes.append(Hole((ack - missing) % 2**32, missing, ack, now))
            end.upto = ack
