"""Scripted traffic for the tests of scans: connections, datagrams and probes as (seconds, packet), made with Scapy."""

import random

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.sctp import SCTP, SCTPChunkAbort, SCTPChunkInit

from tests.replaying import ETHER, replay, write

CLIENT, SERVER = "192.0.2.66", "198.51.100.7"
FULL = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]


def host(n, net="198.51"):
    """The n-th of many hosts."""
    return f"{net}.{n // 250}.{n % 250 + 1}"


def tcp(src, sport, dst, dport, flags, seq=1, ack=0, data=b"", options=()):
    """One TCP packet."""
    return (
        ETHER
        / IP(src=src, dst=dst)
        / TCP(sport=sport, dport=dport, flags=flags, seq=seq, ack=ack, options=list(options))
        / data
    )


def udp(src, sport, dst, dport, data=b"x" * 20):
    """One datagram."""
    return ETHER / IP(src=src, dst=dst) / UDP(sport=sport, dport=dport) / data


def unreachable(by, packet, code=3):
    """The ICMP error of a host about a packet."""
    quoted = packet[IP].copy()
    return ETHER / IP(src=by, dst=quoted.src) / ICMP(type=3, code=code) / quoted


def web(t, client=CLIENT, server=SERVER, port=443, sport=40000, rtt=0.02, close="client"):
    """A connection with a request and an answer, and its close."""
    c, s = (client, sport, server, port), (server, port, client, sport)
    packets = [
        (t, tcp(*c, "S", 100, options=FULL)),
        (t + rtt, tcp(*s, "SA", 500, 101)),
        (t + rtt + 0.001, tcp(*c, "A", 101, 501)),
        (t + rtt + 0.002, tcp(*c, "PA", 101, 501, b"q" * 100)),
        (t + 2 * rtt, tcp(*s, "PA", 501, 201, b"a" * 300)),
    ]
    if close:
        packets += [(t + 3 * rtt, tcp(*c, "FA", 201, 801)), (t + 4 * rtt, tcp(*s, "FA", 801, 202))]
    return packets


def dead(t, client=CLIENT, server=SERVER, port=443, sport=40000, options=FULL):
    """A connection that nothing answers: a SYN, sent again after a second and after three."""
    return [(t + later, tcp(client, sport, server, port, "S", 100, options=options)) for later in (0, 1, 3)]


def refused(t, client=CLIENT, server=SERVER, port=443, sport=40000, flags="S"):
    """A probe that is met by a RST."""
    return [
        (t, tcp(client, sport, server, port, flags, 100)),
        (t + 0.01, tcp(server, port, client, sport, "RA", 0, 101)),
    ]


def dropped(t, client=CLIENT, server=SERVER, port=443, sport=40000):
    """A half-open check of a service that answers: SYN, SYN-ACK, RST."""
    c, s = (client, sport, server, port), (server, port, client, sport)
    return [(t, tcp(*c, "S", 100)), (t + 0.01, tcp(*s, "SA", 500, 101)), (t + 0.02, tcp(*c, "R", 101))]


def ask(t, client=CLIENT, server=SERVER, port=53, sport=40000, rtt=0.02):
    """A datagram and its answer."""
    return [(t, udp(client, sport, server, port)), (t + rtt, udp(server, port, client, sport))]


def init(t, client=CLIENT, server=SERVER, port=80, sport=40000, answered=True):
    """An SCTP INIT, and the ABORT that refuses it."""
    ends = ETHER / IP(src=client, dst=server) / SCTP(sport=sport, dport=port) / SCTPChunkInit(init_tag=1)
    back = ETHER / IP(src=server, dst=client) / SCTP(sport=port, dport=sport) / SCTPChunkAbort()
    return [(t, ends), *([(t + 0.01, back)] if answered else [])]


def ports(seed=1):
    """Source ports as systems draw them."""
    draw = random.Random(seed)
    while True:
        yield draw.randint(32768, 60999)


def run(tmp_path, packets, *arguments):
    """What a capture of these packets raises: detection, kind, severity, src, dst and port, sorted."""
    packets = sorted(packets, key=lambda each: each[0])
    ran = replay(write(tmp_path / "some.pcap", packets), *arguments)
    names = ("detection", "kind", "severity", "src", "dst", "port")
    return sorted([tuple(alert[name] for name in names) for alert in ran.alerts], key=str)
