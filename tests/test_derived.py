"""What tests derive of recorded captures is what they say: one direction, the later part, losses, each packet twice."""

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from tests.replaying import ETHER, write
from tools.derived import Record, after, both_sides, lossy, packed, read, sent_by, sent_to, twice

HERE, THERE = "192.0.2.20", "198.51.100.1"


def records(*packets):
    return [Record(n * 1_000_000, bytes(packet), len(packet)) for n, packet in enumerate(packets)]


def tcp(src, dst, ttl=64):
    return ETHER / IP(src=src, dst=dst, ttl=ttl) / TCP(sport=40000, dport=80, flags="S")


def test_one_direction_is_what_one_address_sent_and_the_other_what_others_sent():
    both = records(tcp(HERE, THERE), tcp(THERE, HERE), ETHER / ARP(psrc=HERE, pdst=THERE), ETHER / IPv6() / TCP())
    assert sent_by(HERE)(both) == both[:1]
    assert sent_to(HERE)(both) == both[1:2]


def test_the_later_part_begins_at_its_share_of_the_time():
    eleven = records(*[tcp(HERE, THERE)] * 11)
    assert after(0.5)(eleven) == eleven[5:]
    assert after(0.51)(eleven) == eleven[6:]


def test_losses_are_the_share_that_was_asked_for_and_the_same_each_time():
    many = records(tcp(HERE, THERE)) * 5000
    kept = lossy(0.03)(many)
    assert 4800 < len(kept) < 4900
    assert kept == lossy(0.03)(many)


def test_twice_is_each_packet_two_times():
    two = records(tcp(HERE, THERE), tcp(THERE, HERE))
    assert [each.frame for each in twice(two)] == [two[0].frame, two[0].frame, two[1].frame, two[1].frame]


@pytest.mark.parametrize("ttl", [2, 64, 255])
def test_behind_a_router_a_packet_has_a_ttl_less_and_a_checksum_that_is_right(ttl):
    [before, behind] = [Ether(each.frame) for each in both_sides(records(tcp(HERE, THERE, ttl)))]
    assert (before[Dot1Q].vlan, behind[Dot1Q].vlan) == (40, 41)
    assert (before[IP].ttl, behind[IP].ttl) == (ttl, ttl - 1)
    checksum = behind[IP].chksum
    del behind[IP].chksum
    assert IP(bytes(behind[IP])).chksum == checksum


def test_what_is_no_ipv4_passes_a_router_as_it_is():
    [_, behind] = both_sides(records(ETHER / IPv6() / TCP()))
    assert Ether(behind.frame)[IPv6] == Ether(bytes(ETHER / Dot1Q() / IPv6() / TCP()))[IPv6]


def test_a_file_is_read_and_packed_again_byte_by_byte(tmp_path):
    data = write(tmp_path / "a.pcap", [(0.0, tcp(HERE, THERE)), (1.5, tcp(THERE, HERE))]).read_bytes()
    assert data[:24] + b"".join(map(packed, read(data))) == data
