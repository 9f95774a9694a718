"""A run that could read nothing says why and ends with 1; where a filter took nothing, a line says so."""

import shutil
import subprocess

import pytest
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.packet import Raw

from sensor.capture.bpf.filter import INAPPLICABLE, LINKTYPES_MAX
from sensor.capture.bpf.libpcap import describe
from sensor.cluster.messages import Counts
from sensor.node.unread import hints_of_reading, is_blind
from tests.capture.capture_files import Packet, enhanced, interface, pcap, pcap_header, pcap_record, section
from tests.cluster.test_processes import started
from tests.replaying import ETHER, replay, sensor, write

IPV4 = IP(src="192.0.2.1", dst="198.51.100.1") / TCP(sport=40000, dport=443, flags="S")
UNKNOWN = 9999, 9998


def of_linktype(linktype, count=9):
    records = [pcap_record(Packet(10**18 + each, bytes(60), 60)) for each in range(count)]
    return pcap_header(linktype=linktype) + b"".join(records)


def carrying(path, *stacks):
    return write(path, [(at, stack) for at, stack in enumerate(stacks)])


def read_and_refused(read, refused, counters=None, text=""):
    counts = Counts(captured=read, refused=refused, counters=counters or {})
    return [hint.text for hint in hints_of_reading(counts, text)], is_blind(read, refused, counts.counters)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_file_of_a_link_type_without_a_decoder_is_named_by_it_and_fails(tmp_path, workers):
    path = tmp_path / "odd.pcap"
    path.write_bytes(of_linktype(UNKNOWN[0]))
    ran = replay("--workers", workers, path)
    assert ran.exit_code == 1 and ran.summary["counters"]["packets_unknown_linktype_9999"] == 9
    [hint] = ran.summary["hints"]
    assert hint.startswith("nothing could be read: all 9 packets were refused: unknown_linktype 9 (link type 9999): ")
    assert "tcpdump -i any" in hint and ran.stderr == f"sensor: {hint}\n"


def test_of_two_files_one_that_can_be_read_is_enough_and_the_other_is_named(tmp_path):
    (tmp_path / "odd.pcap").write_bytes(of_linktype(UNKNOWN[0]))
    carrying(tmp_path / "plain.pcap", ETHER / IPV4)
    ran = replay(tmp_path)
    assert ran.exit_code == 0
    assert ran.summary["hints"] == ["9 of 10 packets are of link type 9999, which is not read"]


@pytest.mark.parametrize(("decoded", "code"), [(0, 1), (1, 0)])
def test_frames_that_carry_no_ip_fail_unless_one_does(tmp_path, decoded, code):
    foreign = [Ether(src=ETHER.src, dst=ETHER.dst, type=0x88B5) / Raw(bytes(50))] * 3
    ran = sensor("replay", carrying(tmp_path / "foreign.pcap", *foreign, *[ETHER / IPV4] * decoded))
    assert ran.returncode == code
    assert ("all 3 packets were refused: not_ip 3: no IP and no ARP was found" in ran.stderr) == bool(code)


def test_a_worker_of_its_own_fails_where_nothing_could_be_read(tmp_path):
    path = tmp_path / "odd.pcap"
    path.write_bytes(of_linktype(UNKNOWN[0], 1))
    assert "the only packet was refused" in sensor("replay", path).stderr
    address = f"unix:{tmp_path}/bus"
    with started("manager", "--listen", address, "--state", tmp_path / "state", "--workers", "alone"):
        ran = sensor("worker", "--manager", address, "--name", "alone", "--replay", path)
    assert ran.returncode == 1 and "the only packet was refused" in ran.stderr


@pytest.mark.parametrize(
    ("read", "refused", "blind"),
    [(0, {}, False), (9, {}, False), (9, {"not_ip": 8}, False), (9, {"not_ip": 9}, True), (9, {"a": 4, "b": 5}, True)],
)
def test_all_refused_is_blind_and_one_fewer_is_not(read, refused, blind):
    hints, found = read_and_refused(read, refused)
    assert (bool(hints), found) == (blind, blind)


def test_an_empty_file_is_no_failure(tmp_path):
    path = tmp_path / "empty.pcap"
    path.write_bytes(pcap([]))
    for more in ((), ("-f", "tcp")):
        ran = replay(path, *more)
        assert (ran.exit_code, ran.stderr, ran.summary["hints"]) == (0, "", [])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_filter_without_meaning_for_all_link_types_fails(tmp_path, workers):
    path = tmp_path / "odd.pcap"
    path.write_bytes(of_linktype(UNKNOWN[0]))
    ran = replay("--workers", workers, "-f", "tcp", path)
    assert ran.exit_code == 1 and ran.summary["counters"][f"{INAPPLICABLE}_9999"] == 9
    assert "the filter 'tcp' has no meaning for link type 9999, of which all 9 packets were" in ran.stderr
    assert "9 packets left out by the filter, 9 of a link type that it has no meaning for" in (
        sensor("replay", "-f", "tcp", path).stdout
    )


def test_a_filter_without_meaning_for_some_link_types_says_so(tmp_path):
    frame = Packet(10**18, bytes(ETHER / IPV4), 54)
    both = section() + interface(linktype=UNKNOWN[0]) + interface()
    path = tmp_path / "both.pcapng"
    for text, took in (("tcp", 1), ("udp", 0)):
        path.write_bytes(both + enhanced(frame) * 3 + enhanced(frame, which=1))
        ran = replay("-f", text, path)
        assert (ran.exit_code, ran.summary["packets_read"]) == (0, took)
        assert f"the filter '{text}' has no meaning for link type 9999: 3 packets were left out" in ran.stderr
        assert ("took none of 4 packets" in ran.stderr) == (not took)


def test_only_the_first_link_types_are_counted_one_by_one(tmp_path):
    frame, numbers = Packet(10**18, bytes(60), 60), range(9000, 9000 + LINKTYPES_MAX + 1)
    path = tmp_path / "many.pcapng"
    interfaces = [interface(linktype=number) for number in numbers]
    path.write_bytes(section() + b"".join([*interfaces, *(enhanced(frame, which=k) for k in range(len(numbers)))]))
    counters = replay("-f", "tcp", path).summary["counters"]
    assert counters[INAPPLICABLE] == len(numbers)
    assert sum(name.startswith(f"{INAPPLICABLE}_") for name in counters) == LINKTYPES_MAX


TAGS = {
    "vlan": (Dot1Q(vlan=10), "a VLAN tag"),
    "vlan and vlan": (Dot1Q(vlan=10) / Dot1Q(vlan=20), "two VLAN tags"),
    "mpls": (MPLS(label=16, s=1), "an MPLS label"),
    "pppoes": (PPPoE(sessionid=7) / PPP(), "a PPPoE session's header"),
    "vlan and pppoes": (Dot1Q(vlan=10) / PPPoE(sessionid=7) / PPP(), "a VLAN tag and a PPPoE session's header"),
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("prefix", TAGS)
def test_tags_that_a_filter_does_not_ask_for_are_named_with_the_filter_that_takes_them(tmp_path, prefix, workers):
    tag, name = TAGS[prefix]
    path = carrying(tmp_path / "tagged.pcap", *[ETHER / tag / IPV4] * 3, ETHER / tag / IP(dst="203.0.113.9") / TCP())
    ran = replay("--workers", workers, "-f", "host 192.0.2.1", path)
    wanted = f"host 192.0.2.1 or ({prefix} and (host 192.0.2.1))"
    [hint] = ran.summary["hints"]
    assert (ran.exit_code, ran.stderr) == (0, f"sensor: {hint}\n")
    assert hint == (
        "the filter 'host 192.0.2.1' took none of 4 packets; "
        f"3 have {name}, behind which it does not look: write '{wanted}'"
    )
    assert replay("-f", wanted, path).summary["packets_read"] == 3
    if shutil.which("tcpdump"):
        shown = subprocess.run(["tcpdump", "-nr", path, wanted], capture_output=True, text=True, check=True).stdout
        assert len(shown.splitlines()) == 3


def test_tags_are_named_where_nothing_behind_them_matches_either(tmp_path):
    path = carrying(tmp_path / "tagged.pcap", *[ETHER / Dot1Q(vlan=10) / IPV4] * 2)
    assert "; 2 have a VLAN tag, behind" in replay("-f", "udp", path).stderr
    assert replay("-f", "vlan 11 and tcp", path).summary["hints"] == [
        "the filter 'vlan 11 and tcp' took none of 2 packets"
    ]


def test_a_filter_that_takes_one_packet_or_leaves_out_none_says_nothing(tmp_path):
    plain = ETHER / IP(src="192.0.2.2", dst="198.51.100.1") / TCP()
    path = carrying(tmp_path / "both.pcap", *[ETHER / Dot1Q(vlan=10) / IPV4] * 3, plain)
    ran = replay("-f", "tcp", path)
    assert (ran.summary["packets_read"], ran.summary["hints"], ran.stderr) == (1, [], "")
    assert not [name for name in ran.summary["counters"] if "behind" in name or "tagged" in name]
    assert replay("-f", "tcp or vlan", path).summary["hints"] == []
    assert replay("-f", "udp", carrying(tmp_path / "plain.pcap", ETHER / IPV4)).summary["hints"] == [
        "the filter 'udp' took none of 1 packet"
    ]


def test_link_types_are_named_by_number_and_name():
    assert describe(239) == "link type 239 (NFLOG)"
    assert describe(101) == "link type 101 (RAW)"
    assert describe(9999) == "link type 9999"
