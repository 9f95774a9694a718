"""Scans are found beside all that exempts ordinary traffic: each the nearest to a kind that is silent."""

import pytest
from scapy.layers.inet import IP, TCP
from scapy.packet import Raw
from scapy.utils import rdpcap

from tests.replaying import ETHER, PCAPS
from tests.scans.speech import (
    CLIENT,
    SERVER,
    ask,
    dead,
    dropped,
    host,
    init,
    ports,
    refused,
    run,
    tcp,
    udp,
    unreachable,
    web,
)

SCANNER = "192.0.2.10"


@pytest.mark.parametrize("port", [53, 80, 443])
@pytest.mark.parametrize("kind", ["ack", "fin", "null", "xmas"])
def test_odd_scans_are_found_from_the_ports_of_servers_too(tmp_path, kind, port):
    packets = []
    for packet in rdpcap(str(PCAPS / f"port-scan-{kind}.pcap")):
        if TCP in packet:
            side = "sport" if packet[IP].src == SCANNER else "dport"
            setattr(packet[TCP], side, port)
            del packet[TCP].chksum
        packets.append((float(packet.time) - 1_700_000_000, packet))
    [(detection, found, severity, src, dst, _)] = run(tmp_path, packets)
    assert (detection, found, severity, src) == ("port_scan", kind, "medium", SCANNER)
    assert dst


def test_a_syn_that_its_sender_never_follows_up_stays_an_attempt(tmp_path):
    packets = [(n * 0.1, tcp(CLIENT, 40000, host(n), 22, "S")) for n in range(25)]
    assert run(tmp_path, packets) == [("address_scan", "syn", "medium", CLIENT, None, 22)]
    assert run(tmp_path, packets[1:]) == []


def test_a_udp_scan_whose_targets_say_unreachable_is_found(tmp_path):
    packets = []
    for n in range(15):
        sent = udp(CLIENT, 40000, SERVER, 1000 + n)
        packets += [(n * 0.1, sent), (n * 0.1 + 0.01, unreachable(SERVER, sent))]
    assert run(tmp_path, packets) == [("port_scan", "udp", "medium", CLIENT, SERVER, None)]
    assert run(tmp_path, packets[2:]) == []


def test_a_udp_scan_from_one_socket_that_meets_an_open_port_is_found(tmp_path):
    packets = ask(0, port=53) + [(1 + n * 0.1, udp(CLIENT, 40000, SERVER, 1000 + n)) for n in range(20)]
    assert run(tmp_path, packets) == [("port_scan", "udp", "medium", CLIENT, SERVER, None)]


def test_a_udp_scan_of_hosts_some_of_which_answer_is_found(tmp_path):
    packets = [packet for n in range(5) for packet in ask(n * 0.1, server=host(n), port=161)]
    packets += [(1 + n * 0.1, udp(CLIENT, 40000, host(n, "10.3"), 161)) for n in range(30)]
    assert run(tmp_path, packets) == [("address_scan", "udp", "medium", CLIENT, None, 161)]


def test_streams_to_as_many_hosts_as_make_a_scan_are_told(tmp_path):
    packets = [(n * 0.01 + i * 0.6, udp(CLIENT, 9000, host(n), 514)) for n in range(25) for i in range(12)]
    assert [each[:2] for each in run(tmp_path, packets)] == [("address_scan", "udp")]
    assert run(tmp_path, [each for each in packets if each[1][IP].dst != host(0)]) == []


def test_thirty_dead_hosts_on_one_port_amid_three_hundred_web_connections_are_found(tmp_path):
    sources, packets = ports(), []
    for n in range(300):
        packets += web(n * 0.1, server=host(n, "34.7"), sport=next(sources))
    for n in range(30):
        packets += dead(n * 0.5, server=host(n), port=445, sport=next(sources))
    assert run(tmp_path, packets) == [("address_scan", "connect", "medium", CLIENT, None, 445)]


def test_sixty_ports_of_one_host_from_a_gateway_with_six_hundred_successes_are_found(tmp_path):
    sources, packets = ports(), []
    for n in range(600):
        packets += web(n * 0.1, server=host(n, "34.7"), sport=next(sources))
    for n in range(60):
        packets += refused(n * 0.2, port=1000 + n, sport=next(sources))
    assert run(tmp_path, packets) == [("port_scan", "syn", "medium", CLIENT, SERVER, None)]


def test_a_scanner_that_mixes_in_visits_to_fifty_live_hosts_is_found(tmp_path):
    sources, packets = ports(), []
    for n in range(200):
        packets += refused(n * 0.1, server=host(n), port=80, sport=next(sources))
        if n % 4 == 0:
            packets += web(n * 0.1, server=host(n, "34.7"), port=80, sport=next(sources))
    assert [each[:2] + each[3:] for each in run(tmp_path, packets)] == [("address_scan", "syn", CLIENT, None, 80)]


def test_a_sweep_by_who_first_talked_to_thirty_live_hosts_is_found(tmp_path):
    sources, packets = ports(), []
    for n in range(30):
        packets += web(n * 0.1, server=host(n, "34.7"), port=22, sport=next(sources))
    for n in range(200):
        packets += dead(5 + n * 0.05, server=host(n), port=22, sport=next(sources))
    assert [each[0] for each in run(tmp_path, packets)] == ["address_scan"]


def test_what_a_scanner_does_afterwards_does_not_clear_it(tmp_path):
    sources, packets = ports(), []
    for n in range(30):
        packets += refused(n * 0.1, server=host(n), port=80, sport=next(sources))
    for n in range(60):
        packets += web(5 + n * 0.1, server=host(n, "34.7"), port=80, sport=next(sources))
    assert run(tmp_path, packets) == [("address_scan", "syn", "medium", CLIENT, None, 80)]


@pytest.mark.parametrize("every", [5, 70])
def test_thirty_hosts_scanned_and_the_list_repeated_four_times_are_told(tmp_path, every):
    sources, packets = ports(), []
    for round in range(5):
        for n in range(30):
            packets += dead(round * every + n * 0.1, server=host(n), port=22, sport=next(sources))
    assert [each[0] for each in run(tmp_path, packets)] == ["address_scan"]


def test_a_monitor_most_of_whose_targets_are_down_is_told_low(tmp_path):
    sources, packets = ports(), []
    for round in range(16):
        for n in range(10):
            packets += web(round * 15 + n * 0.1, server=host(n), port=9100, sport=next(sources))
        for n in range(30):
            packets += dead(round * 15 + n * 0.1, server=host(n, "10.3"), port=9100, sport=next(sources))
    assert [each[:3] for each in run(tmp_path, packets)] == [("address_scan", "connect", "low")]


def test_new_pairs_of_a_known_monitor_count_as_ever(tmp_path):
    sources, packets = ports(), []
    for round in range(30):
        for n in range(30):
            packets += dropped(round * 10 + n * 0.01, server=host(n), port=80, sport=next(sources))
    for n in range(30):
        packets += dropped(200 + n * 0.1, server=host(n, "10.3"), port=80, sport=next(sources))
    assert [each[0] for each in run(tmp_path, packets)] == ["address_scan"]


def test_a_sweep_whose_open_hosts_answer_and_are_left_alone_is_found(tmp_path):
    packets = []
    for n in range(25):
        packets.append((n * 0.1, tcp(CLIENT, 40000, host(n), 22, "S", 100)))
        packets += [(n * 0.1 + 0.01 + later, tcp(host(n), 22, CLIENT, 40000, "SA", 500, 101)) for later in (0, 1, 3, 7)]
    assert run(tmp_path, packets) == [("address_scan", "syn", "medium", CLIENT, None, 22)]
    assert run(tmp_path, [each for each in packets if host(0) not in (each[1][IP].src, each[1][IP].dst)]) == []


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize(("flags", "kind"), [("FA", "maimon"), ("U", "flags"), ("P", "flags"), ("FP", "fin")])
def test_odd_flags_are_scans_of_their_kind(tmp_path, flags, kind, answered):
    packets = []
    for n in range(15):
        both = refused(n * 0.1, port=1000 + n, flags=flags)
        packets += both if answered else both[:1]
    assert run(tmp_path, packets) == [("port_scan", kind, "medium", CLIENT, SERVER, None)]
    assert run(tmp_path, packets[1 + answered :]) == []


@pytest.mark.parametrize("answered", [True, False])
def test_an_sctp_init_scan_is_found(tmp_path, answered):
    packets = [packet for n in range(15) for packet in init(n * 0.1, port=1000 + n, answered=answered)]
    assert run(tmp_path, packets) == [("port_scan", "sctp", "medium", CLIENT, SERVER, None)]
    assert run(tmp_path, packets[1 + answered :]) == []


def test_a_scan_of_ip_protocols_is_found(tmp_path):
    packets = [(n * 0.1, ETHER / IP(src=CLIENT, dst=SERVER, proto=100 + n) / Raw(b"")) for n in range(15)]
    assert run(tmp_path, packets) == [("port_scan", "ip_protocol", "medium", CLIENT, SERVER, None)]
    assert run(tmp_path, packets[1:]) == []


def test_a_version_scan_is_found_and_single_connections_to_as_many_ports_are_not(tmp_path):
    sources = ports()
    once = [packet for n in range(10) for packet in web(n * 0.2, port=1000 + n, sport=next(sources))]
    again = [packet for n in range(10) for packet in web(5 + n * 0.2, port=1000 + n, sport=next(sources))]
    assert run(tmp_path, once + again) == [("port_scan", "version", "low", CLIENT, SERVER, None)]
    assert run(tmp_path, once) == []


def test_acks_from_a_servers_port_to_many_registered_ports_are_told_low(tmp_path):
    packets = [(n * 0.1, tcp(CLIENT, 443, SERVER, 1100 + n, "A", 1, 1)) for n in range(30)]
    assert run(tmp_path, packets) == [("port_scan", "ack", "low", CLIENT, SERVER, None)]
    assert run(tmp_path, packets[1:]) == []
