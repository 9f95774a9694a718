"""Scans by real tools, the alert that each is to raise, and by which packet it becomes one, counted without the sensor.

Each is by a scanner of its own, as one scanner's would add up to a random scan. SERVERS has services on some ports,
CLOSED has none, and SILENT never answers.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

import dpkt

WAIT_S = 1
"""What flows.tcp_attempt is to be."""
SERVERS, CLOSED, SILENT = "198.51.100.0/24", "203.0.113.0/24", "203.0.113.200"
NMAP = "nmap -n -Pn --send-ip --disable-arp-ping"
SSH = "ssh -F none -o BatchMode=yes -o ConnectTimeout=5 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"


@dataclass(frozen=True)
class Attack:
    """What a scanner runs, the alert that it makes, and which packets are counted, by what, up to how many."""

    scanner: str
    command: str
    detection: str
    kind: str
    counted: Callable
    threshold: int
    dst: str | None = None
    port: int | None = None
    waits_s: int = 0
    """How long it takes, from the packet on, until it can be counted."""

    @property
    def alert(self):
        return (self.detection, self.kind, self.scanner, self.dst, self.port)


def refused_port(packet, scanner):
    """The port of a RST to the scanner."""
    return _segment(packet, packet.dst, scanner, dpkt.tcp.TH_RST) and packet.data.sport


def refused_host(packet, scanner):
    """The host of a RST to the scanner."""
    return _segment(packet, packet.dst, scanner, dpkt.tcp.TH_RST) and packet.src


def tried_port(packet, scanner):
    """The port of a SYN by the scanner."""
    return _segment(packet, packet.src, scanner, dpkt.tcp.TH_SYN) and packet.data.dport


def unreachable_port(packet, scanner):
    """The port of a datagram of which ICMP tells the scanner that it is closed."""
    if packet.dst != ipaddress.ip_address(scanner).packed or not isinstance(packet.data, dpkt.icmp.ICMP):
        return None
    return packet.data.type == dpkt.icmp.ICMP_UNREACH and packet.data.data.data.data.dport


def _segment(packet, end, scanner, flag):
    is_its = end == ipaddress.ip_address(scanner).packed and isinstance(packet.data, dpkt.tcp.TCP)
    return is_its and bool(packet.data.flags & flag)


def scan_of_ports(scanner, dst, command, kind, counted=refused_port, waits_s=0):
    return Attack(scanner, command.format(dst), "port_scan", kind, counted, 15, dst=dst, waits_s=waits_s)


def scan_of_hosts(scanner, port, command, kind):
    return Attack(scanner, command, "address_scan", kind, refused_host, 25, port=port)


PORTS = f"{NMAP} -p 101-140 {{}}"
HPING = "hping3 -q -S -c 30 -i u10000 -p ++201 {}"
ATTACKS = {
    "nmap-syn": scan_of_ports("192.0.2.101", "198.51.100.11", f"{PORTS} -sS", "syn"),
    "nmap-connect": scan_of_ports("192.0.2.102", "198.51.100.12", f"{PORTS} -sT", "connect"),
    "nmap-udp": scan_of_ports("192.0.2.103", "203.0.113.13", f"{PORTS} -sU", "udp", unreachable_port, WAIT_S),
    "nmap-sweep": scan_of_hosts("192.0.2.104", 23, f"{NMAP} -sS -p 23 198.51.100.1-60", "syn"),
    "hping3-syn": scan_of_ports("192.0.2.105", "198.51.100.15", HPING, "syn"),
    "hping3-silent": scan_of_ports("192.0.2.106", SILENT, HPING, "syn", tried_port, WAIT_S),
    "ssh-hosts": scan_of_hosts("192.0.2.107", 22, f"for n in $(seq 40); do {SSH} root@203.0.113.$n; done", "connect"),
    "ssh-ports": scan_of_ports(
        "192.0.2.108", "198.51.100.18", f"for port in $(seq 2201 2225); do {SSH} -p $port root@{{}}; done", "connect"
    ),
}


def ip_packets(savefile):
    """The IPv4 packets of a capture, each with its time (ns)."""
    with savefile.open("rb") as file:
        frames = [(round(ts * 1e6) * 1000, dpkt.ethernet.Ethernet(data).data) for ts, data in dpkt.pcap.Reader(file)]
    return [(ts, packet) for ts, packet in frames if isinstance(packet, dpkt.ip.IP)]


def threshold_ns(packets, attack):
    """When it could first be known that the attack was a scan, by the packets alone."""
    counted = set()
    for ts, packet in packets:
        if element := attack.counted(packet, attack.scanner):
            counted.add(element)
        if len(counted) == attack.threshold:
            return ts + attack.waits_s * 1_000_000_000
    raise AssertionError(f"only {len(counted)} of {attack.threshold}")
