"""The five-tuple of a packet, and the side that began its flow."""

import numpy as np

from sensor._jit import njit
from sensor.flows.contacts import answers_request, comes_from_used, goes_to_known
from sensor.flows.flow import FlowKey, mapped
from sensor.packet import ACK, PROTO_ICMP, PROTO_ICMPV6, RST, SYN, Kind

_TCP, _UDP, _ICMP, _SCTP = int(Kind.TCP), int(Kind.UDP), int(Kind.ICMP), int(Kind.SCTP)
_TCP_CUT = int(Kind.TCP_CUT)

INIT, INIT_ACK = 1, 2
"""SCTP's chunks that open an association (RFC 9260)."""
ECHO_REQUEST, ECHO_REPLY = 8, 0
ECHO_REQUEST_V6, ECHO_REPLY_V6 = 128, 129

_PAIRS_V4 = ((8, 0), (13, 14), (15, 16), (17, 18), (10, 9))
_PAIRS_V6 = ((128, 129), (130, 131), (133, 134), (135, 136), (139, 140), (144, 145))
"""ICMP messages and their answers, as Zeek pairs them (RFC 792, 950, 1256, 4443, 2710, 4861, 4620, 6275)."""


def _counterparts(pairs: tuple[tuple[int, int], ...]) -> np.ndarray:
    found = np.full(256, -1, np.int64)
    for request, reply in pairs:
        found[request], found[reply] = reply, request
    return found


_COUNTERPARTS = np.stack([_counterparts(_PAIRS_V4), _counterparts(_PAIRS_V6)])

_SYSTEM_PORTS = 1024  # RFC 6335
_EPHEMERAL = 32768  # the start of Linux's net.ipv4.ip_local_port_range; IANA's dynamic ports begin at 49152
_SERVERS = (1194, 1433, 1434, 1521, 1701, 1812, 1883, 1900, 3128, 3306, 3389, 3478, 3544, 3702, 4222, 4500, 5060, 5061)
_MORE_SERVERS = (5222, 5223, 5228, 5353, 5355, 5432, 5671, 5672, 5900, 6379, 6443, 8000, 8080, 8443, 8883, 8888, 9092)
SERVICES = frozenset((*_SERVERS, *_MORE_SERVERS, 9200, 11211, 25565, 27015, 27017, 51820))
"""Ports of known services above the system ports (IANA's registry, and common practice)."""

_IS_SERVICE = np.array([port < _SYSTEM_PORTS or port in SERVICES for port in range(1 << 16)])

_V4_MAPPED = np.uint64(0xFFFF)
_V4_SHIFT, _V4_CLASS_SHIFT = np.uint64(32), np.uint64(28)
_V4_CLASS, _V4_MULTICAST = np.uint64(0xF), np.uint64(0xE)
_V4_BROADCAST = np.uint64(0xFFFF_FFFF_FFFF)
_V6_SHIFT, _V6_MULTICAST = np.uint64(56), np.uint64(0xFF)
_NO_WORD = np.uint64(0)


@njit
def _icmp_ports(proto, kind, code):
    """Return ICMP's port substitutes (type and counterpart of a paired message, else type and code), and if one-way."""
    counterpart = _COUNTERPARTS[1 if proto == PROTO_ICMPV6 else 0, kind]
    return (kind, code, 1) if counterpart < 0 else (kind, counterpart, 0)


@njit
def key_of(packet, network):
    """Return the FlowKey of a packet (PACKET row) of TCP, UDP, SCTP or ICMP, or of kind REST."""
    proto = np.int64(packet["proto"])
    src_p, dst_p, one_way = np.int64(packet["src_port"]), np.int64(packet["dst_port"]), 0
    if proto in (PROTO_ICMP, PROTO_ICMPV6):
        src_p, dst_p, one_way = _icmp_ports(proto, np.int64(packet["icmp_type"]), np.int64(packet["icmp_code"]))
    src, dst = (packet["src_hi"], packet["src_lo"]), (packet["dst_hi"], packet["dst_lo"])
    is_mapped = _has_mapped(packet["ip_version"], src[0], src[1], dst[0], dst[1])
    return FlowKey(src[0], src[1], dst[0], dst[1], src_p, dst_p, proto, one_way, network, is_mapped)


@njit
def _has_mapped(ip_version, src_hi, src_lo, dst_hi, dst_lo):
    """Return 1 if an IPv6 packet has an address whose words are those of an IPv4 address, else 0."""
    if ip_version != 6:
        return 0
    is_src = src_hi == _NO_WORD and src_lo >> _V4_SHIFT == _V4_MAPPED
    return 1 if is_src or (dst_hi == _NO_WORD and dst_lo >> _V4_SHIFT == _V4_MAPPED) else 0


@njit
def quoted_key(packet, network):
    """Return the FlowKey of the packet that an ICMP error (PACKET row) quotes."""
    proto = np.int64(packet["quoted_proto"])
    src_p, dst_p, one_way = np.int64(packet["quoted_src_port"]), np.int64(packet["quoted_dst_port"]), 0
    if proto in (PROTO_ICMP, PROTO_ICMPV6):
        src_p, dst_p, one_way = _icmp_ports(proto, src_p & 0xFF, dst_p)
    src = packet["quoted_src_hi"], packet["quoted_src_lo"]
    dst = packet["quoted_dst_hi"], packet["quoted_dst_lo"]
    is_mapped = _has_mapped(packet["ip_version"], src[0], src[1], dst[0], dst[1])
    return FlowKey(src[0], src[1], dst[0], dst[1], src_p, dst_p, proto, one_way, network, is_mapped)


@njit
def key_of_flow(flow, one_way, network):
    """Return the FlowKey of packets that a flow's originator sends. flow: a FLOW row."""
    return FlowKey(
        flow["orig_hi"],
        flow["orig_lo"],
        flow["resp_hi"],
        flow["resp_lo"],
        np.int64(flow["orig_p"]),
        np.int64(flow["resp_p"]),
        np.int64(flow["proto"]),
        one_way,
        network,
        mapped(flow),
    )


@njit
def _is_one(hi, lo):
    """True if an address is one host's: neither multicast nor the IPv4 broadcast address."""
    if hi == _NO_WORD and lo >> _V4_SHIFT == _V4_MAPPED:
        return lo != _V4_BROADCAST and (lo >> _V4_CLASS_SHIFT) & _V4_CLASS != _V4_MULTICAST
    return hi >> _V6_SHIFT != _V6_MULTICAST


@njit
def _comes_from_server(key):
    """True if the ports suggest that a server sent it: from a service's port to a port that systems draw for clients.

    Zeek asks its likely_server_ports. Asking for a client's port too keeps a probe sent from port 53 or 80 a probe.
    """
    if key.dst_p < _EPHEMERAL or not _is_one(key.dst_hi, key.dst_lo):
        return False
    return _IS_SERVICE[key.src_p]


@njit
def may_be_reply(src_p, dst_p):
    """True if the ports allow a reply: to a client's port, from one that is not a client's or is a known service's."""
    if dst_p >= _EPHEMERAL and src_p < _EPHEMERAL:
        return True
    return dst_p >= _SYSTEM_PORTS and _IS_SERVICE[src_p]


@njit
def began(packet, key, contacts, state, now):
    """Return whether a flow's receiver began it, given its first packet, and whether that is certain.

    It is certain for a packet that only one side can send first: SYN and SYN-ACK, echo request and reply, SCTP's INIT
    and INIT-ACK, and packets that start no connection (TCP without SYN, ACK and RST), which are probes of their sender.
    Next come earlier packets: a service that the receiver has used, or asked from this very socket; a socket that has
    asked a multicast address. Otherwise only the ports remain, and it is uncertain.

    packet: a PACKET row.
    """
    kind = packet["kind"]
    if kind == _ICMP:
        return key.src_p == (ECHO_REPLY if key.proto == PROTO_ICMP else ECHO_REPLY_V6) and key.one_way == 0, True
    if kind == _TCP:
        flags = np.int64(packet["tcp_flags"])
        if flags & SYN != 0:
            return flags & (ACK | RST) == ACK, True
        if flags & (ACK | RST) == 0:
            return False, True
    elif kind == _SCTP:
        chunk = packet["sctp_chunk"]
        if chunk in (INIT, INIT_ACK):
            return chunk == INIT_ACK, True
    elif kind == _UDP and answers_request(contacts, state, key, now):
        return True, True
    if comes_from_used(contacts, state, key, now):
        return True, True
    if goes_to_known(contacts, state, key, now):
        return False, True
    if kind == _UDP:
        return _comes_from_server(key), not may_be_reply(key.src_p, key.dst_p)
    return kind in (_TCP, _TCP_CUT) and _comes_from_server(key), False


@njit
def is_to_many(packet):
    """True if a packet (PACKET row) goes to more than one host: by its address, or by its frame's address."""
    return packet["group"] != 0 or not _is_one(packet["dst_hi"], packet["dst_lo"])
