"""The same five-tuple on two VLANs: a hint says so, and `flows.key=network` makes two connections of it."""

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Dot1Q
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from sensor.node.hints import Acks, DirectionCounts, TwoTags, hints_of_replay
from tests.replaying import ETHER, replay, sensor, write
from tests.test_replay_hints import SENT


def conversation(wrap, *, start=0.0):
    packets = []
    for at, (side, flags, seq, ack, length) in enumerate(SENT):
        here, there = (("192.0.2.1", 40000), ("198.51.100.1", 443))[:: 1 if side == ">" else -1]
        segment = TCP(sport=here[1], dport=there[1], flags=flags, seq=seq, ack=ack) / Raw(bytes(length))
        packets.append((start + 0.01 * at, wrap(IP(src=here[0], dst=there[0]) / segment)))
    return packets


def vlan(number):
    return lambda packet: ETHER / Dot1Q(vlan=number) / packet


def vni(number):
    outer = ETHER / IP(src="203.0.113.1", dst="203.0.113.2") / UDP(sport=50000, dport=4789)
    return lambda packet: outer / VXLAN(vni=number, flags=8) / ETHER / packet


def two(tmp_path, wrap, second):
    both = conversation(wrap(10)) + conversation(wrap(second), start=0.003)
    return write(tmp_path / "two.pcap", sorted(both, key=lambda each: each[0]))


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("wrap", [vlan, vni])
def test_two_networks_of_one_five_tuple_are_a_hint_and_two_connections_where_that_is_set(tmp_path, wrap, workers):
    path = two(tmp_path, wrap, 20)
    ran = replay("--workers", workers, path)
    [hint] = ran.summary["hints"]
    assert hint.startswith("two tags: of 1 connection one direction was seen under two VLAN tags or tunnel ids")
    assert (ran.exit_code, ran.stderr, ran.summary["flows"]) == (0, f"sensor: {hint}\n", 1)
    ran = replay("--workers", workers, "--set", "flows.key=network", path)
    assert (ran.summary["hints"], ran.summary["flows"], ran.summary["weirds"]) == ([], 2, {})


@pytest.mark.parametrize("wrap", [vlan, vni])
def test_one_network_is_neither(tmp_path, wrap):
    path = write(tmp_path / "one.pcap", conversation(wrap(10)))
    for key in ("five_tuple", "network"):
        ran = replay("--set", f"flows.key={key}", path)
        assert (ran.summary["hints"], ran.summary["flows"]) == ([], 1)


def test_another_key_is_a_usage_error(tmp_path):
    ran = sensor("replay", "--set", "flows.key=vlan", two(tmp_path, vlan, 20))
    assert ran.returncode == 2 and "five_tuple or network" in ran.stderr


@pytest.mark.parametrize(("flows", "found"), [(0, []), (1, ["two tags"]), (2, ["two tags"])])
def test_one_flow_under_two_tags_is_enough_for_the_hint(flows, found):
    assert [hint.name for hint in hints_of_replay(DirectionCounts(0, 0), Acks(0, 0), flows)] == found


def test_live_it_is_said_once():
    judge = TwoTags()
    assert [bool(judge.judge(flows)) for flows in (0, 1, 2, 2)] == [False, True, False, False]
    assert "of 2 connections" in judge.hint.text
