"""What passes between two hosts is in one ring: both directions, fragments, ICMP errors, with VLAN tags, in and out."""

import contextlib
import random
from ipaddress import ip_address

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Timestamp, fragment
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6TimeExceeded, IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from sensor.capture.live.fanout import Fanout
from tests.lab.test_fanout import group, shared
from tests.lab.wire import fanout_of, tagged, wire

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
assert wire  # a fixture

KEY = 0x5DEECE67
TAGS_IN, TAGS_OUT = 4, 3
"""That are looked behind: Linux takes the first one out of what comes in."""
OPTIONS = [IPOption_Timestamp(flg=0, timestamp=[1, 2, 3])]
ROUTER = {4: "203.0.113.254", 6: "2001:db8:ffff::1"}


def ends(number, version):
    """A pair of hosts."""
    if version == 4:
        return f"192.0.2.{number % 250}", f"198.51.100.{number * 7 % 250}"
    return f"2001:db8::{number:x}", f"2001:db8:{number * 7 % 0xFFFF:x}::53"


def framed(packet):
    return bytes(Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff") / packet)


def exchange(number, version, *, options=()):
    """All that passes between two hosts, in many ways: frames."""
    a, b = ends(number, version)
    if version == 4:
        there, back = IP(src=a, dst=b, options=list(options)), IP(src=b, dst=a, options=list(options))
        error, away = IP(src=b, dst=a, options=list(options)), IP(src=ROUTER[4], dst=a)
        kinds = [ICMP(type=kind) for kind in (3, 4, 5, 11, 12)]
        pieces = [*fragment(there / UDP(sport=9, dport=99) / Raw(bytes(200)), 64)]
        pieces += fragment(back / ICMP(type=3) / there / UDP() / Raw(bytes(200)), 64)
    else:
        there, back = IPv6(src=a, dst=b), IPv6(src=b, dst=a)
        error, away = IPv6(src=b, dst=a), IPv6(src=ROUTER[6], dst=a)
        kinds = [ICMPv6DestUnreach(), ICMPv6TimeExceeded()]
        pieces = [there / IPv6ExtHdrFragment(offset=at, m=1, nh=17) / Raw(bytes(64)) for at in (0, 8)]
    probe, answer = there / UDP(sport=number + 1, dport=53) / b"probe", back / TCP(sport=80, dport=number + 1)
    echo = there / (ICMP() if version == 4 else ICMPv6EchoRequest())
    errors = [source / kind / probe for kind in kinds for source in (error, away)]
    return [framed(each) for each in (probe, answer, echo, *errors, *pieces)]


def word(frame, at, size=4):
    if at + size > len(frame):
        raise EOFError
    return int.from_bytes(frame[at : at + size], "big")


def expected(frame, key, tags=TAGS_IN):
    """The number of a frame, slowly."""
    try:
        at, kind = 14, word(frame, 12, 2)
        while kind in (0x8100, 0x88A8, 0x9100) and tags:
            at, kind, tags = at + 4, word(frame, at + 2, 2), tags - 1
        if kind == 0x0800:
            return of_pair(frame, counts(frame, at, 4), 12, 4, key)
        return of_pair(frame, counts(frame, at, 6), 8, 16, key) if kind == 0x86DD else 0
    except EOFError:
        return 0


def counts(frame, at, version):
    """Where the header is whose addresses count: the packet's own, or that of the one which its error quotes."""
    if version == 4:
        if word(frame, at + 9, 1) != 1 or word(frame, at + 6, 2) & 0x3FFF:
            return at
        message = at + (word(frame, at, 1) & 15) * 4
        quoted, size, errors = message + 8, 20, {3, 4, 5, 11, 12}
    else:
        if word(frame, at + 6, 1) != 58:
            return at
        message = at + 40
        quoted, size, errors = message + 8, 40, {1, 2, 3, 4}
    is_quoting = word(frame, message, 1) in errors and quoted + size <= len(frame) and frame[quoted] >> 4 == version
    return quoted if is_quoting else at


def of_pair(frame, at, src, size, key):
    total = sum(of_host(frame, at + start, size, key) for start in (src, src + size))
    return stirred(total % 2**32, key, 16)


def of_host(frame, at, size, key):
    found = key
    for part in range(0, size, 4):
        found = stirred(stirred(found ^ word(frame, at + part), key, 15), 0x85EBCA6B, 13)
    return found


def stirred(number, factor, shift):
    number = number * factor % 2**32
    return number ^ number >> shift


def owners(lives, sent):
    """Which source got each frame; each is to be in one of them."""
    found = shared(lives, len(sent))
    places = {}
    for owner, frames in enumerate(found):
        for frame in frames:
            places.setdefault(frame, set()).add(owner)
    assert sum(map(len, found)) == len(sent) and set(places) == set(sent)
    assert all(len(each) == 1 for each in places.values())
    return [min(places[frame]) for frame in sent]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("tags", [(), (5,), (5, 6)])
@pytest.mark.parametrize("end", ["far", "near"])
def test_all_that_passes_between_two_hosts_is_in_one_ring(wire, version, tags, end):
    exchanges = [exchange(number, version) for number in range(20)]
    if version == 4:
        exchanges += [exchange(number, version, options=OPTIONS) for number in range(20, 30)]
    for vlan in tags:
        exchanges = [[tagged(frame, vlan) for frame in frames] for frames in exchanges]
    sent = [frame for frames in exchanges for frame in frames]
    with group(wire, 3) as lives:
        wire.send(sent, name=end)
        found = iter(owners(lives, sent))
    of_exchange = [{next(found) for _ in frames} for frames in exchanges]
    assert all(len(each) == 1 for each in of_exchange) and set().union(*of_exchange) == {0, 1, 2}


def odd_ones():
    """Frames that are hard to share, each cut at every byte."""
    for version, options in ((4, ()), (4, OPTIONS), (6, ())):
        for frame in exchange(3, version, options=options)[:9]:
            yield from (frame[:size] for size in range(14, min(len(frame), 150)))
    probe = IP(src="192.0.2.1", dst="198.51.100.2") / UDP()
    for quoted in (IPv6(src="2001:db8::1", dst="2001:db8::2"), probe):
        yield framed(IP(src="192.0.2.9", dst="198.51.100.9") / ICMP(type=3) / quoted)
        yield framed(IPv6(src="2001:db8::9", dst="2001:db8::8") / ICMPv6DestUnreach() / quoted)
    for i in range(8):
        error = IP(src=f"203.0.113.{i}", dst="192.0.2.1", id=i) / ICMP(type=3) / probe / bytes(200)
        yield from map(framed, fragment(error, 64))
    for kind in range(20):
        yield framed(IP(src="192.0.2.9", dst="198.51.100.9") / ICMP(type=kind) / bytes(probe))
    yield from (framed(each) for each in (ARP(), Raw(b"\0" * 40), IP(src="192.0.2.3", proto=47) / Raw(bytes(60))))
    yield from (framed(probe)[:12] + kind + framed(probe)[14:] for kind in (b"\x88\x47", b"\x88\x64", b"\x00\x2a"))


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_frame_is_where_its_number_says_whole_or_cut(wire, count):
    sent = sorted(set(odd_ones()))
    with group(wire, count, key=KEY) as lives:
        wire.send(sent)
        found = owners(lives, sent)
    assert found == [expected(frame, KEY) % count for frame in sent]


@pytest.mark.parametrize("key", [1, 2**32 - 1, *(random.Random(seed).randrange(1, 2**32, 2) for seed in range(3))])
def test_random_hosts_are_where_their_number_says(wire, key):
    chance = random.Random(key)
    sent = []
    for _ in range(100):
        a, b = (ip_address(chance.randbytes(4)) for _ in "ab")
        sent.append(framed(IP(src=str(a), dst=str(b)) / UDP()))
        a, b = (ip_address(chance.randbytes(16)) for _ in "ab")
        sent.append(framed(IPv6(src=str(a), dst=str(b)) / UDP()))
    with group(wire, 4, key=key) as lives:
        wire.send(sent)
        found = owners(lives, sent)
    assert found == [expected(frame, key) % 4 for frame in sent]


@pytest.mark.parametrize(("end", "most"), [("far", TAGS_IN), ("near", TAGS_OUT)])
def test_frames_are_shared_behind_so_many_tags_and_with_one_more_go_to_the_first(wire, end, most):
    pairs = [framed(IP(src=f"192.0.2.{i}", dst="198.51.100.1") / UDP()) for i in range(20)]
    for tags in (most - 1, most, most + 1):
        sent = pairs
        for tag in range(tags):
            sent = [tagged(frame, tag, tpid=(0x8100, 0x88A8)[tag % 2]) for frame in sent]
        with group(wire, 2, key=KEY) as lives:
            wire.send(sent, name=end)
            found = owners(lives, sent)
        assert found == [expected(frame, KEY, most) % 2 for frame in sent]
        assert any(found) == (tags <= most)


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("version", [4, 6])
def test_the_hosts_of_one_network_are_spread_over_the_rings(wire, count, version):
    for seed in range(3):
        key = random.Random(seed).randrange(1, 1 << 32, 2)
        there = ("192.0.2.1", "198.51.100.") if version == 4 else ("2001:db8::1", "2001:db8:1::")
        layer = IP if version == 4 else IPv6
        sent = [framed(layer(src=there[0], dst=f"{there[1]}{i}") / TCP(sport=50000, dport=22)) for i in range(1, 255)]
        with group(wire, count, key=key) as lives:
            wire.send(sent)
            found = owners(lives, sent)
        shares = [found.count(owner) for owner in range(count)]
        assert all(254 / count * 0.7 < share < 254 / count * 1.3 for share in shares), (key, shares)


def test_another_key_shares_otherwise():
    pairs = [framed(IP(src="192.0.2.1", dst=f"198.51.100.{i}") / UDP()) for i in range(250)]
    same = sum(expected(frame, KEY) % 4 == expected(frame, KEY + 2) % 4 for frame in pairs)
    assert 40 < same < 85


def test_one_that_left_and_came_back_shares_by_the_same_key(wire):
    sent = [framed(IP(src="192.0.2.1", dst=f"198.51.100.{i}") / UDP()) for i in range(250)]
    with contextlib.ExitStack() as stack:
        stays = stack.enter_context(wire.live(fanout=Fanout(key=KEY), wait_s=0.01))
        fanout = fanout_of(stays)
        with wire.live(fanout=fanout):
            pass
        comes = stack.enter_context(wire.live(fanout=fanout, wait_s=0.01))
        assert fanout_of(comes) == fanout
        wire.send(sent)
        found = owners([stays, comes], sent)
    assert found == [expected(frame, KEY) % 2 for frame in sent]


def test_a_group_that_all_had_left_is_made_again_as_it_was(wire):
    sent = [framed(IP(src="192.0.2.1", dst=f"198.51.100.{i}") / UDP()) for i in range(250)]
    with wire.live(fanout=Fanout(key=KEY)) as first:
        fanout = fanout_of(first)
    with wire.live(fanout=fanout, wait_s=0.01) as one, wire.live(fanout=fanout, wait_s=0.01) as other:
        wire.send(sent)
        found = owners([one, other], sent)
    assert found == [expected(frame, KEY) % 2 for frame in sent]
