"""Ordinary traffic accuses nobody: each kind as a script, one scan's worth of it or more."""

import pytest
from scapy.layers.inet import ICMP, IP, UDP

from tests.replaying import ETHER
from tests.scans.speech import (
    CLIENT,
    SERVER,
    ask,
    dead,
    dropped,
    host,
    ports,
    refused,
    run,
    tcp,
    udp,
    unreachable,
    web,
)


def test_a_database_server_whose_client_was_restarted_is_no_ack_scanner(tmp_path):
    packets = []
    for n in range(100):
        packets += [(n, tcp(SERVER, 5432, CLIENT, 40000 + n, "A", 1, 1))]
        packets += [(n + 0.001, tcp(CLIENT, 40000 + n, SERVER, 5432, "R", 1))]
    assert run(tmp_path, packets) == []


@pytest.mark.parametrize("low", [1024, 20000])
def test_a_push_server_whose_clients_are_gone_is_no_random_scanner(tmp_path, low):
    packets = [(n, tcp(SERVER, 5223, host(n), low + 37 * n, "A", 1, 1)) for n in range(100)]
    assert run(tmp_path, packets) == []


def test_a_server_is_no_scanner_of_a_client_that_was_seen_to_use_it_whatever_its_port(tmp_path):
    packets = web(0, server=SERVER, port=49999)
    packets += [(10 + n, tcp(SERVER, 49999, CLIENT, 2000 + n, "A", 1, 1)) for n in range(100)]
    assert run(tmp_path, packets) == []


def test_keepalives_of_a_vpn_server_to_clients_that_roamed_are_no_scan(tmp_path):
    packets = [(n * 0.5, udp(SERVER, 51820, host(n), 2000 + 97 * n)) for n in range(60)]
    packets += [(t + 30 * round, packet.copy()) for round in (1, 2) for t, packet in packets]
    assert run(tmp_path, packets) == []


def test_answers_of_a_resolver_of_which_only_they_are_seen_are_no_scan(tmp_path):
    sources = ports()
    packets = [(n * 0.1, udp(SERVER, 53, CLIENT, next(sources))) for n in range(600)]
    assert run(tmp_path, packets) == []


def test_late_answers_to_closed_sockets_do_not_accuse_the_resolver(tmp_path):
    packets = []
    for n in range(40):
        query = udp(CLIENT, 40000 + n, SERVER, 53)
        answer = udp(SERVER, 53, CLIENT, 40000 + n)
        packets += [(n, query), (n + 0.05, answer), (n + 0.051, unreachable(CLIENT, answer))]
    assert run(tmp_path, packets) == []


def test_forged_icmp_errors_accuse_nobody(tmp_path):
    packets = [(n * 0.1, unreachable("203.0.113.9", udp(CLIENT, 40000, SERVER, 1000 + n))) for n in range(60)]
    assert run(tmp_path, packets) == []


@pytest.mark.parametrize("client", ["there and back", "there alone"])
def test_browsing_of_which_one_direction_is_seen_is_no_scan(tmp_path, client):
    sources, packets = ports(), []
    for n in range(60):
        packets += web(n, server=host(n), sport=next(sources))
    if client == "there alone":
        packets = [each for each in packets if each[1][IP].src == CLIENT]
    assert run(tmp_path, packets) == []


def test_servers_of_which_alone_is_seen_what_they_send_are_no_scanners(tmp_path):
    sources, packets = ports(), []
    for n in range(60):
        packets += web(n * 0.5, server=SERVER, sport=next(sources))
    packets = [each for each in packets if each[1][IP].src == SERVER]
    assert run(tmp_path, packets) == []


@pytest.mark.parametrize(
    ("group", "port"), [("239.255.255.250", 3702), ("224.0.0.251", 5353), ("255.255.255.255", 17500)]
)
def test_unicast_answers_to_a_request_to_many_are_no_scan(tmp_path, group, port):
    packets = []
    for n in range(60):
        asker, sport = host(n, "10.1"), 50200 - 400 * (n % 100)
        packets.append((n * 0.5, udp(asker, sport, group, port)))
        packets += [(n * 0.5 + 0.01 * each, udp(host(each, "10.2"), port + 7, asker, sport)) for each in range(3)]
    assert run(tmp_path, packets) == []


def test_unicast_answers_to_a_subnet_broadcast_are_no_scan(tmp_path):
    packets = []
    for n in range(60):
        asker, sport = f"10.1.0.{n + 1}", 20000 + n
        request = udp(asker, sport, "10.1.0.255", 137)
        request.dst = "ff:ff:ff:ff:ff:ff"
        packets += [(n, request), (n + 0.01, udp("10.1.0.200", 137, asker, sport))]
    assert run(tmp_path, packets) == []


@pytest.mark.parametrize("refuses", [False, True])
def test_one_way_streams_to_many_ports_are_no_scan(tmp_path, refuses):
    packets = []
    for stream in range(30):
        for n in range(31):
            sent = udp(CLIENT, 10000 + 2 * stream, SERVER, 40000 + 2 * stream, b"r" * 160)
            packets.append((stream * 3 + n * 0.2, sent))
            if refuses:
                packets.append((stream * 3 + n * 0.2 + 0.001, unreachable(SERVER, sent)))
    assert run(tmp_path, packets) == []


def test_a_poller_with_one_socket_most_of_whose_hosts_answer_is_no_scanner(tmp_path):
    packets = []
    for round in range(8):
        for n in range(100):
            packets += ask(round * 30 + n * 0.05, server=host(n), port=161, sport=40161)
        packets += [(round * 30 + n * 0.05, udp(CLIENT, 40161, host(n, "10.9"), 161)) for n in range(30)]
    assert run(tmp_path, packets) == []


def test_empty_listings_over_passive_ftp_are_no_port_scan(tmp_path):
    packets = web(0, port=21, close="")
    sources = ports()
    for n in range(30):
        sport, port, t = next(sources), 50000 + 11 * n, 1 + n
        c, s = (CLIENT, sport, SERVER, port), (SERVER, port, CLIENT, sport)
        packets += [(t, tcp(*c, "S", 100)), (t + 0.01, tcp(*s, "SA", 500, 101)), (t + 0.02, tcp(*c, "A", 101, 501))]
        packets += [(t + 0.03, tcp(*s, "FA", 501, 101)), (t + 0.04, tcp(*c, "FA", 101, 502))]
    assert run(tmp_path, packets) == []


def test_quic_that_is_blocked_beside_tcp_that_is_not_is_no_scan(tmp_path):
    sources, packets = ports(), []
    for n in range(60):
        packets += [(n, udp(CLIENT, next(sources), host(n), 443)), *web(n + 0.3, server=host(n), sport=next(sources))]
    assert run(tmp_path, packets) == []


def test_a_peer_to_peer_client_most_of_whose_peers_are_alive_is_no_scanner(tmp_path):
    packets = []
    for n in range(470):
        peer, port = host(n, "34.7"), 6881 + 91 * n
        alive = n % 8 != 0
        packets += (
            web(n * 0.4, server=peer, port=port, sport=30000 + n)
            if alive
            else dead(n * 0.4, server=peer, port=port, sport=30000 + n)
        )
    assert run(tmp_path, packets) == []


def test_a_gateway_of_many_users_most_of_whose_contacts_succeed_is_no_scanner(tmp_path):
    sources, packets = ports(), []
    for n in range(600):
        packets += web(n * 0.3, server=host(n, "34.7"), port=(80, 443, 993)[n % 3], sport=next(sources))
        if n % 10 == 0:
            packets += dead(n * 0.3, server=host(n, "34.8"), port=80 + n, sport=next(sources))
    assert run(tmp_path, packets) == []


def test_a_monitor_a_third_of_whose_targets_are_down_is_no_scanner(tmp_path):
    sources, packets = ports(), []
    for round in range(4):
        for n in range(60):
            packets += web(round * 15 + n * 0.1, server=host(n), port=9100, sport=next(sources))
        for n in range(30):
            packets += dead(round * 15 + n * 0.1, server=host(n, "10.3"), port=9100, sport=next(sources))
    assert run(tmp_path, packets) == []


def test_half_open_checks_of_a_load_balancer_are_no_scan(tmp_path):
    sources, packets = ports(), []
    for round in range(24):
        for n in range(30):
            packets += dropped(round * 5 + n * 0.01, server=host(n), port=80, sport=next(sources))
    assert run(tmp_path, packets) == []


def test_what_was_reached_before_may_refuse_and_be_no_target(tmp_path):
    sources, packets = ports(), []
    for n in range(40):
        packets += web(n * 0.1, server=host(n), sport=next(sources))
        packets += refused(400 + n * 0.1, server=host(n), sport=next(sources))
    assert run(tmp_path, packets) == []


def test_a_traceroute_over_udp_whose_ports_are_all_answered_by_errors_is_no_scan(tmp_path):
    packets = []
    for n in range(60):
        sent = ETHER / IP(src=CLIENT, dst=SERVER, ttl=1 + n // 3) / UDP(sport=40000, dport=33434 + n) / b"x"
        error = ETHER / IP(src="203.0.113.1", dst=CLIENT) / ICMP(type=11) / sent[IP].copy()
        packets += [(n * 0.1, sent), (n * 0.1 + 0.01, error)]
    assert run(tmp_path, packets) == []
