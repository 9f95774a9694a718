"""The scan detections on scripted packets: on the line, one under, and the nearest thing that is no scan."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from tests.replaying import ETHER, replay, write

SCANNER, VICTIM = "192.0.2.66", "198.51.100.7"


def probe(flags, dport, dst=VICTIM, sport=40000):
    return ETHER / IP(src=SCANNER, dst=dst) / TCP(sport=sport, dport=dport, flags=flags, seq=1)


def reset(dport, src=VICTIM, sport=40000):
    return ETHER / IP(src=src, dst=SCANNER) / TCP(sport=dport, dport=sport, flags="RA", ack=2)


def facts(ran):
    return [
        (each["detection"], each["kind"], each["src"], each["dst"], each["port"], each["value"]) for each in ran.alerts
    ]


def port_scan(flags, ports, answered):
    packets = []
    for n, port in enumerate(range(1000, 1000 + ports)):
        packets.append((n * 0.1, probe(flags, port)))
        if answered:
            packets.append((n * 0.1 + 0.01, reset(port)))
    return packets


KINDS = [("S", "syn"), ("F", "fin"), ("", "null"), ("FPU", "xmas"), ("A", "ack")]


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize(("flags", "kind"), KINDS)
def test_fifteen_ports_of_one_host_are_a_port_scan_of_their_kind(tmp_path, flags, kind, answered):
    ran = replay(write(tmp_path / "scan.pcap", port_scan(flags, 15, answered)))
    assert facts(ran) == [("port_scan", kind, SCANNER, VICTIM, None, 15)]


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize(("flags", "kind"), KINDS)
def test_fourteen_ports_of_one_host_are_no_scan(tmp_path, flags, kind, answered):
    assert facts(replay(write(tmp_path / "scan.pcap", port_scan(flags, 14, answered)))) == []


@pytest.mark.parametrize("end", ["RA", "FA", ""])
def test_twenty_connections_that_complete_and_carry_nothing_are_a_connect_scan(tmp_path, end):
    packets = []
    for n, port in enumerate(range(1000, 1020)):
        t = n * 0.1
        packets += [
            (t, probe("S", port)),
            (t + 0.01, ETHER / IP(src=VICTIM, dst=SCANNER) / TCP(sport=port, dport=40000, flags="SA", seq=7, ack=2)),
            (t + 0.02, ETHER / IP(src=SCANNER, dst=VICTIM) / TCP(sport=40000, dport=port, flags="A", seq=2, ack=8)),
        ]
        if end:
            packets.append(
                (t + 0.03, ETHER / IP(src=SCANNER, dst=VICTIM) / TCP(sport=40000, dport=port, flags=end, seq=2, ack=8))
            )
    assert facts(replay(write(tmp_path / "scan.pcap", packets))) == [
        ("port_scan", "connect", SCANNER, VICTIM, None, 20)
    ]


def address_scan(hosts):
    return [(n * 0.1, probe("S", 445, dst=f"198.51.100.{n + 1}")) for n in range(hosts)]


def test_twenty_five_hosts_on_one_port_are_an_address_scan_and_twenty_four_are_not(tmp_path):
    ran = replay(write(tmp_path / "on.pcap", address_scan(25)))
    assert facts(ran) == [("address_scan", "syn", SCANNER, None, 445, 25)]
    [alert] = ran.alerts
    assert len(alert["sample"]) == 10
    assert set(alert["sample"]) <= {f"198.51.100.{n + 1}" for n in range(25)}
    assert alert["first_seen"] == ran.summary["first_ts"]
    assert alert["last_seen"] == ran.summary["last_ts"]
    assert "in 2.4s" in alert["message"]
    assert facts(replay(write(tmp_path / "under.pcap", address_scan(24)))) == []


def test_the_same_host_again_and_again_is_no_scan(tmp_path):
    packets = [(n * 0.1, probe("S", 445, sport=40000 + n)) for n in range(100)]
    assert facts(replay(write(tmp_path / "retries.pcap", packets))) == []


def test_an_address_scan_over_ipv6_is_found(tmp_path):
    packets = [
        (n * 0.1, ETHER / IPv6(src="2001:db8::66", dst=f"2001:db8:1::{n + 1:x}") / TCP(sport=4, dport=22, flags="S"))
        for n in range(25)
    ]
    ran = replay(write(tmp_path / "six.pcap", packets))
    assert facts(ran) == [("address_scan", "syn", "2001:db8::66", None, 22, 25)]


def udp(dport, dst=VICTIM, ttl=64):
    return ETHER / IP(src=SCANNER, dst=dst, ttl=ttl) / UDP(sport=40000, dport=dport) / b"x"


def unreachable(dport):
    quoted = IP(src=SCANNER, dst=VICTIM) / UDP(sport=40000, dport=dport)
    return ETHER / IP(src=VICTIM, dst=SCANNER) / ICMP(type=3, code=3) / quoted


@pytest.mark.parametrize("answered", [True, False])
def test_fifteen_udp_ports_are_a_udp_scan(tmp_path, answered):
    packets = [(n * 0.1, udp(1000 + n)) for n in range(15)]
    if answered:
        packets = [pair for t, packet in packets for pair in ((t, packet), (t + 0.01, unreachable(packet[UDP].dport)))]
    ran = replay(write(tmp_path / "udp.pcap", packets))
    assert facts(ran) == [("port_scan", "udp", SCANNER, VICTIM, None, 15)]


def test_a_udp_traceroute_is_no_scan(tmp_path):
    packets = [(n * 0.1, udp(33434 + n, ttl=1 + n // 3)) for n in range(90)]
    packets += [(9 + n * 0.1, unreachable(33434 + 90 + n)) for n in range(3)]
    assert facts(replay(write(tmp_path / "traceroute.pcap", packets))) == []


def test_a_resolver_whose_servers_mostly_answer_is_no_scanner(tmp_path):
    packets = []
    for n in range(80):
        server = f"198.51.100.{n + 1}"
        packets.append((n * 0.1, udp(53, dst=server)))
        if n % 5 < 3:
            reply = ETHER / IP(src=server, dst=SCANNER) / UDP(sport=53, dport=40000) / b"y"
            packets.append((n * 0.1 + 0.02, reply))
    assert facts(replay(write(tmp_path / "resolver.pcap", packets))) == []


def test_a_scan_of_many_hosts_and_ports_is_one_alert_of_its_own_kind(tmp_path):
    order = [(host, port) for port in range(30) for host in range(30)]
    shuffled = [order[(n * 467) % len(order)] for n in range(len(order))]
    packets = [
        (n * 0.02, probe("S", 1000 + port, dst=f"198.51.100.{host + 1}", sport=40000 + n))
        for n, (host, port) in enumerate(shuffled)
    ]
    ran = replay(write(tmp_path / "random.pcap", packets))
    assert facts(ran) == [("random_scan", "random", SCANNER, None, None, 900)]
    folded_in = ran.summary["folded_in"]
    assert set(folded_in) == {"address_scan", "port_scan"}
    assert ran.summary["alerts_suppressed"] == sum(folded_in.values())
    assert ran.summary["alerts_repeated"] == 0  # they are its parts


@pytest.mark.parametrize("workers", [1, 4])
def test_a_new_target_of_a_known_scanner_is_an_alert_of_its_own(tmp_path, workers):
    """The scanner of many hosts and ports comes back within the hour, and tries a host that it left alone before."""
    order = [(host, port) for port in range(30) for host in range(30)]
    shuffled = [order[(n * 467) % len(order)] for n in range(len(order))]
    packets = [
        (n * 0.02, probe("S", 1000 + port, dst=f"198.51.100.{host + 1}", sport=40000 + n))
        for n, (host, port) in enumerate(shuffled)
    ]
    packets += [(1200 + n * 0.1, probe("S", 100 + n, dst="198.51.100.200", sport=50000 + n)) for n in range(40)]
    ran = replay("--workers", workers, write(tmp_path / "new.pcap", packets))
    assert facts(ran) == [
        ("random_scan", "random", SCANNER, None, None, 900),
        ("port_scan", "syn", SCANNER, "198.51.100.200", None, 40),
    ]


def test_a_repeat_within_the_hour_is_folded_and_one_after_it_is_an_alert(tmp_path):
    again = [(t + 1800, packet.copy()) for t, packet in address_scan(25)]
    later = [(t + 7200, packet.copy()) for t, packet in address_scan(25)]
    ran = replay(write(tmp_path / "again.pcap", [*address_scan(25), *again]))
    assert len(ran.alerts) == 1
    ran = replay(write(tmp_path / "later.pcap", [*address_scan(25), *later]))
    assert len(ran.alerts) == 2
    assert len({each["id"] for each in ran.alerts}) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_scan_that_rests_and_comes_again_within_the_hour_is_a_repeat_that_is_counted(tmp_path, workers):
    ports = [*range(1000, 1030)]
    starts = (0.0, 1500.0, 3000.0, 6600.0)  # the last is beyond the hour
    packets = [(start + n * 0.1, probe("S", port, sport=40000 + n)) for start in starts for n, port in enumerate(ports)]
    ran = replay("--workers", workers, write(tmp_path / "again.pcap", packets))
    assert facts(ran) == [("port_scan", "syn", SCANNER, VICTIM, None, 30)] * 2
    assert (ran.summary["alerts_repeated"], ran.summary["folded_in"]) == (2, {"port_scan": 2})
