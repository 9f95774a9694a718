"""What is missing of a flow proves nothing where the snap length cut headers, and where tunnels go one way."""

import struct
from collections import Counter

import pytest
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import GRE, IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw
from scapy.utils import RawPcapReader

from tests.replaying import ETHER, PCAPS, replay, write

QUIET = sorted(path for path in PCAPS.glob("*.pcap") if "scan" not in path.stem)
TCP_SCANS = [PCAPS / f"{name}.pcap" for name in ("address-scan-syn", "port-scan-null", "port-scan-ack", "random-scan")]
PORTS_ONLY = 14 + 20 + 4


def cut(path, snaplen, made):
    """The same capture with another snap length."""
    with RawPcapReader(str(path)) as reader, made.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snaplen, reader.linktype))
        for frame, meta in reader:
            kept = frame[:snaplen]
            file.write(struct.pack("<IIII", meta.sec, meta.usec, len(kept), meta.wirelen) + kept)
    return made


@pytest.mark.parametrize("path", QUIET, ids=lambda path: path.stem)
@pytest.mark.parametrize("snaplen", [PORTS_ONLY, PORTS_ONLY + 15])
def test_ordinary_traffic_whose_headers_are_cut_is_silent_and_of_its_flows(path, snaplen, tmp_path):
    whole, found = replay(path).summary, replay(cut(path, snaplen, tmp_path / "cut.pcap"))
    assert found.alerts == []
    assert set(found.summary["refused"]) <= {"truncated_arp", *whole["refused"]}
    of_flows = found.summary["counters"]["flow_packets"] + found.summary["weirds"].get("truncated_icmp", 0)
    assert of_flows == whole["counters"]["flow_packets"]
    assert set(found.summary["weirds"]) <= {"truncated_tcp", "truncated_udp", "truncated_icmp", *whole["weirds"]}


@pytest.mark.parametrize("path", TCP_SCANS, ids=lambda path: path.stem)
def test_a_scan_of_which_no_flags_are_seen_is_no_scan(path, tmp_path):
    found = replay(cut(path, PORTS_ONLY, tmp_path / "cut.pcap"))
    assert replay(path).alerts and found.alerts == []
    assert found.summary["flows"] > 20


def test_a_udp_scan_needs_no_more_than_the_ports(tmp_path):
    path = PCAPS / "address-scan-udp.pcap"
    kinds = [alert["kind"] for alert in replay(cut(path, PORTS_ONLY, tmp_path / "cut.pcap")).alerts]
    assert kinds == [alert["kind"] for alert in replay(path).alerts]


def carried(tunnel, number, far_end):
    """A datagram to a host, in a tunnel to the router before it."""
    inner = IP(src="10.0.0.1", dst=f"10.9.0.{number}") / UDP(sport=5000, dport=5001) / Raw(b"x")
    outer = IP(src="192.0.2.1", dst=f"192.0.3.{far_end}")
    port, header = {
        "mpls": (6635, MPLS(label=16, s=1)),
        "lisp": (4341, Raw(b"\x80" + bytes(7))),
        "gre": (4754, GRE()),
        "vxlan": (4789, VXLAN() / Ether(src="02:00:00:00:00:03", dst="02:00:00:00:00:04")),
        "tzsp": (37008, Raw(b"\1\0\0\1\1") / Ether(src="02:00:00:00:00:03", dst="02:00:00:00:00:04")),
    }[tunnel]
    return 0.1 * number, ETHER / outer / UDP(sport=40000 + number, dport=port) / Raw(bytes(header / inner))


@pytest.mark.parametrize("tunnel", ["mpls", "lisp", "gre"])
@pytest.mark.parametrize("hosts", [40, 120])
def test_one_way_tunnels_to_many_routers_are_no_scan(tunnel, hosts, tmp_path):
    found = replay(write(tmp_path / "tunnels.pcap", [carried(tunnel, n, n) for n in range(1, hosts + 1)]))
    assert found.alerts == [] and found.summary["flows"] == hosts


@pytest.mark.parametrize("tunnel", ["vxlan", "tzsp"])
def test_a_scan_in_a_tunnel_that_may_have_the_answers_too_is_one(tunnel, tmp_path):
    found = replay(write(tmp_path / "tunnels.pcap", [carried(tunnel, n, 1) for n in range(1, 41)]))
    assert [(alert["src"], alert["kind"]) for alert in found.alerts] == [("10.0.0.1", "udp")]


def test_a_tunnel_on_a_port_of_ones_own_is_taken_off_where_the_port_is_named(tmp_path):
    frame = Ether(src="02:00:00:00:00:03", dst="02:00:00:00:00:04") / IPv6(src="::ffff:1.2.3.4") / UDP()
    path = write(tmp_path / "v.pcap", [(0, ETHER / IP() / UDP(sport=1025, dport=14789) / VXLAN(vni=7) / frame)])
    for ports, packets in ((), 0), (("--set", "decode.vxlan_ports=4789,14789"), 1):
        counted = Counter(replay(*ports, path).summary["weirds"])
        assert counted["ipv4_mapped_address"] == packets
