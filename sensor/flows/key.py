"""The five-tuple of a packet, and who is taken for its originator where the packet begins a flow."""

import numpy as np

from sensor._jit import njit
from sensor.flows.flow import Key
from sensor.packet import ACK, PROTO_ICMP, PROTO_ICMPV6, RST, SYN, Kind

_TCP, _UDP, _ICMP = int(Kind.TCP), int(Kind.UDP), int(Kind.ICMP)

ECHO_REQUEST, ECHO_REPLY = 8, 0
ECHO_REQUEST_V6, ECHO_REPLY_V6 = 128, 129

_PAIRS_V4 = ((8, 0), (13, 14), (15, 16), (17, 18), (10, 9))
_PAIRS_V6 = ((128, 129), (130, 131), (133, 134), (135, 136), (139, 140), (144, 145))
"""ICMP messages and what answers them, as Zeek pairs them (RFC 792, 950, 1256, 4443, 2710, 4861, 4620, 6275)."""


def _counterparts(pairs: tuple[tuple[int, int], ...]) -> np.ndarray:
    found = np.full(256, -1, np.int64)
    for request, reply in pairs:
        found[request], found[reply] = reply, request
    return found


_COUNTERPARTS = np.stack([_counterparts(_PAIRS_V4), _counterparts(_PAIRS_V6)])

_SYSTEM_PORTS = 1024  # RFC 6335
_EPHEMERAL = 32768  # Linux's net.ipv4.ip_local_port_range begins here; IANA's dynamic ports begin at 49152
_SERVERS = (1194, 1434, 1812, 1900, 3128, 3306, 3389, 3478, 3544, 5060, 5222, 5353, 5355, 8000, 8080, 8443, 8888)

_V4_MAPPED = np.uint64(0xFFFF)
_V4_SHIFT, _V4_CLASS_SHIFT = np.uint64(32), np.uint64(28)
_V4_CLASS, _V4_MULTICAST = np.uint64(0xF), np.uint64(0xE)
_V4_BROADCAST = np.uint64(0xFFFF_FFFF_FFFF)
_V6_SHIFT, _V6_MULTICAST = np.uint64(56), np.uint64(0xFF)
_NO_WORD = np.uint64(0)


@njit
def _icmp_ports(proto, kind, code):
    """What stands for ports: type and counterpart of a message in a pair, else type and code; and whether one-way."""
    counterpart = _COUNTERPARTS[1 if proto == PROTO_ICMPV6 else 0, kind]
    return (kind, code, 1) if counterpart < 0 else (kind, counterpart, 0)


@njit
def key_of(packet):
    """The Key of a packet of TCP, UDP, SCTP or ICMP, or of the rest of one."""
    proto = np.int64(packet["proto"])
    src_p, dst_p, one_way = np.int64(packet["src_port"]), np.int64(packet["dst_port"]), 0
    if proto in (PROTO_ICMP, PROTO_ICMPV6):
        src_p, dst_p, one_way = _icmp_ports(proto, np.int64(packet["icmp_type"]), np.int64(packet["icmp_code"]))
    return Key(packet["src_hi"], packet["src_lo"], packet["dst_hi"], packet["dst_lo"], src_p, dst_p, proto, one_way)


@njit
def quoted_key(packet):
    """The Key of the packet that an ICMP error quotes."""
    return Key(
        packet["quoted_src_hi"],
        packet["quoted_src_lo"],
        packet["quoted_dst_hi"],
        packet["quoted_dst_lo"],
        np.int64(packet["quoted_src_port"]),
        np.int64(packet["quoted_dst_port"]),
        np.int64(packet["quoted_proto"]),
        0,
    )


@njit
def key_of_flow(flow, one_way):
    """The Key of what a flow's originator sends."""
    return Key(
        flow["orig_hi"],
        flow["orig_lo"],
        flow["resp_hi"],
        flow["resp_lo"],
        np.int64(flow["orig_p"]),
        np.int64(flow["resp_p"]),
        np.int64(flow["proto"]),
        one_way,
    )


@njit
def _is_one(hi, lo):
    """Whether an address is one host's: neither multicast nor the IPv4 broadcast address."""
    if hi == _NO_WORD and lo >> _V4_SHIFT == _V4_MAPPED:
        return lo != _V4_BROADCAST and (lo >> _V4_CLASS_SHIFT) & _V4_CLASS != _V4_MULTICAST
    return hi >> _V6_SHIFT != _V6_MULTICAST


@njit
def _comes_from_server(key):
    """Whether the ports say that a server sent it: one of a server to one that systems draw for clients.

    Zeek asks its likely_server_ports. To ask for a client's port too keeps a probe sent from port 53 or 80 a probe.
    """
    if key.dst_p < _EPHEMERAL or not _is_one(key.dst_hi, key.dst_lo):
        return False
    return key.src_p < _SYSTEM_PORTS or key.src_p in _SERVERS


@njit
def is_reply(packet, key):
    """Whether a flow that begins with this packet was begun by its receiver.

    So for a SYN-ACK and an echo reply; for UDP, and for TCP from the middle of a connection (it has ACK, or RST), where
    the ports say so. A probe without either, as FIN, NULL and Xmas scans send, is its sender's.
    """
    kind = packet["kind"]
    if kind == _TCP:
        flags = np.int64(packet["tcp_flags"])
        if flags & SYN != 0:
            return flags & (ACK | RST) == ACK
        return flags & (ACK | RST) != 0 and _comes_from_server(key)
    if kind == _UDP:
        return _comes_from_server(key)
    if kind == _ICMP:
        return key.src_p == (ECHO_REPLY if key.proto == PROTO_ICMP else ECHO_REPLY_V6) and key.one_way == 0
    return False
