"""What is malformed gets its name, and the row keeps what was understood before it."""

import struct

import numpy as np
import pytest
from scapy.layers.inet import GRE, ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrRouting
from scapy.layers.l2 import ARP, LLC, STP, Dot3
from scapy.layers.sctp import SCTP
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from sensor.decode import LINKTYPES_MAX, OTHER_LINKTYPES, Decoder
from sensor.packet import Block, Kind, Tunnel
from sensor.weird import Refusal, Weird
from tests.decode.decoding import (
    ETHERNET,
    LINKTYPES,
    TCP4,
    V4,
    V6,
    block_of,
    decode,
    decode_one,
    ether,
    told,
    weirds_of,
)

SYN = TCP(sport=40000, dport=443, flags="S")


def ipv4(payload=b"", *, version=4, ihl=5, total=None, frag=0, proto=6):
    total = ihl * 4 + len(payload) if total is None else total
    fixed = struct.pack(">BBHHHBBH", version << 4 | ihl, 0, total, 1, frag, 64, proto, 0)
    return b"\2" * 12 + b"\x08\0" + fixed + bytes([192, 0, 2, 1, 198, 51, 100, 2]) + payload


def tag(ethertype, header):
    return b"\2" * 12 + ethertype.to_bytes(2, "big") + header


REFUSED = {
    "an ethernet header cut short": (bytes(ether() / TCP4)[:13], Refusal.TRUNCATED_LINK),
    "a tag cut short": (b"\2" * 12 + b"\x81\0\0", Refusal.TRUNCATED_LINK),
    "a label cut short": (b"\2" * 12 + b"\x88\x47\0\0\1", Refusal.TRUNCATED_LINK),
    "an ipv4 header cut short": (ipv4()[:33], Refusal.TRUNCATED_IP),
    "an ipv6 header cut short": (bytes(ether() / IPv6(**V6))[:53], Refusal.TRUNCATED_IP),
    "a header of four words": (ipv4(ihl=4), Refusal.BAD_IP_HEADER_LENGTH),
    "a total length below the header's": (ipv4(total=19), Refusal.BAD_IP_TOTAL_LENGTH),
    "version 6 announced as 4": (ipv4(version=6), Refusal.BAD_IP_VERSION),
    "version 4 announced as 6": (bytes(ether(type=0x86DD) / TCP4 / Raw(bytes(20))), Refusal.BAD_IP_VERSION),
    "an arp message cut short": (bytes(ether() / ARP())[:41], Refusal.TRUNCATED_ARP),
    "arp about something else": (bytes(ether() / ARP(ptype=0x86DD)), Refusal.CORRUPT_ARP_HEADER),
    "lldp": (bytes(ether(type=0x88CC) / Raw(bytes(46))), Refusal.NOT_IP),
    "spanning tree": (bytes(Dot3() / LLC() / STP()), Refusal.NOT_IP),
    "pppoe discovery": (bytes(ether(type=0x8863) / Raw(b"\x11\x09" + bytes(44))), Refusal.NOT_IP),
    "a vn-tag cut short": (tag(0x8926, bytes(5)), Refusal.TRUNCATED_LINK),
    "an e-tag cut short": (tag(0x893F, bytes(7)), Refusal.TRUNCATED_LINK),
    "metadata cut short": (tag(0x8909, bytes(7)), Refusal.TRUNCATED_LINK),
    "a ttag cut short": (tag(0x8988, bytes(7)), Refusal.TRUNCATED_LINK),
    "an r-tag cut short": (tag(0xF1C1, bytes(5)), Refusal.TRUNCATED_LINK),
    "an hsr tag cut short": (tag(0x892F, bytes(5)), Refusal.TRUNCATED_LINK),
    "an i-tag cut short": (tag(0x88E7, bytes(3)), Refusal.TRUNCATED_LINK),
    "fabricpath cut short": (tag(0x8903, bytes(1)), Refusal.TRUNCATED_LINK),
    "trill cut short": (tag(0x22F3, bytes(5)), Refusal.TRUNCATED_LINK),
    "a service header cut short": (tag(0x894F, bytes(7)), Refusal.TRUNCATED_LINK),
    "a security tag cut short": (tag(0x88E5, bytes(7)), Refusal.TRUNCATED_LINK),
    "a security tag without a type": (tag(0x88E5, b"\x20" + bytes(14)), Refusal.TRUNCATED_LINK),
    "a service header of one word": (tag(0x894F, b"\0\1\1\1" + bytes(40)), Refusal.NOT_IP),
    "a service header of version 1": (tag(0x894F, b"\x40\2\1\1" + bytes(40)), Refusal.NOT_IP),
    "a service header before 0": (tag(0x894F, b"\0\2\1\0" + bytes(40)), Refusal.NOT_IP),
    "a service header before 6": (tag(0x894F, b"\0\2\1\6" + bytes(40)), Refusal.NOT_IP),
    "a security tag of version 1": (tag(0x88E5, b"\x80" + bytes(40)), Refusal.NOT_IP),
    "encrypted": (tag(0x88E5, b"\x08" + bytes(40)), Refusal.ENCRYPTED),
    "changed": (tag(0x88E5, b"\x04" + bytes(40)), Refusal.ENCRYPTED),
    "a whole frame of labels": (b"\2" * 12 + b"\x88\x47" + b"\0\1\0\x40" * 371, Refusal.TOO_MANY_LAYERS),
    "a whole frame of tags": (b"\2" * 12 + b"\x81\0\0\1" * 372, Refusal.TOO_MANY_LAYERS),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_packet_without_a_network_layer_is_refused_by_name(name):
    frame, reason = REFUSED[name]
    decoder = Decoder()
    row = decoder.decode(block_of([frame]))[0]
    assert told(row) == {"refused": reason} | ({"group": 1} if name == "spanning tree" else {})
    assert (decoder.packets_decoded, decoder.refused, decoder.weirds) == (0, {reason.name.lower(): 1}, {})


WIFI_DATA = b"\x08\2" + bytes(22)
LINKS = {
    "a beacon": (105, b"\x80" + bytes(60), Refusal.NOT_IP),
    "no data": (105, b"\x48\1" + bytes(60), Refusal.NOT_IP),
    "a later fragment": (105, WIFI_DATA[:22] + b"\x11\0" + bytes(60), Refusal.NOT_IP),
    "a protected frame": (105, b"\x08\x42" + bytes(60), Refusal.ENCRYPTED),
    "a protected frame after radiotap": (127, b"\0\0\x08\0\0\0\0\0\x88\x42" + bytes(60), Refusal.ENCRYPTED),
    "802.11 cut short": (105, WIFI_DATA[:23], Refusal.TRUNCATED_LINK),
    "802.11 of four addresses cut short": (105, b"\x08\3" + bytes(27), Refusal.TRUNCATED_LINK),
    "an aggregate cut short": (105, b"\x88\2" + bytes(22) + b"\x80\0" + bytes(13), Refusal.TRUNCATED_LINK),
    "radiotap cut short": (127, b"\0\0\x09\0\0\0\0\0", Refusal.TRUNCATED_LINK),
    "radiotap of 7 bytes": (127, b"\0\0\7\0" + bytes(60), Refusal.NOT_IP),
    "radiotap of version 1": (127, b"\1\0\x08\0" + bytes(60), Refusal.NOT_IP),
    "radiotap, fields without an end": (127, b"\0\0\x0c\0" + b"\xff" * 8 + b"\x80" + bytes(60), Refusal.NOT_IP),
    "prism of 7 bytes": (119, b"\0\0\0\x44\0\0\0\7" + bytes(60), Refusal.NOT_IP),
    "nflog without a packet": (239, b"\2\0\0\0\x08\0\1\0\x08\0\3\0", Refusal.NOT_IP),
    "nflog cut short": (239, b"\2\0\0\0\x08\0", Refusal.TRUNCATED_LINK),
    "an attribute of 3 bytes": (239, b"\2\0\0\0\3\0\1\0" + bytes(60), Refusal.NOT_IP),
    "attributes without an end": (239, b"\2\0\0\0" + b"\4\0\2\0" * 100, Refusal.NOT_IP),
    "nflog of family 3": (239, b"\3\0\0\0\x18\0\x09\0" + bytes(60), Refusal.NOT_IP),
    "pflog of family 3": (117, b"\x3d\3" + bytes(100), Refusal.NOT_IP),
    "pflog cut short": (117, b"\x3d\2" + bytes(62), Refusal.TRUNCATED_IP),
    "ppi cut short": (192, b"\0\0\x08\0\1\0\0\0\0\0\0", Refusal.TRUNCATED_LINK),
    "ppi of 7 bytes": (192, b"\0\0\7\0\1\0\0\0" + bytes(60), Refusal.NOT_IP),
    "ppi of another link type": (192, b"\0\0\x08\0\x93\0\0\0" + bytes(60), Refusal.NOT_IP),
    "ppi of a link type beyond all": (192, b"\0\0\x08\0\xff\xff\xff\xff" + bytes(60), Refusal.NOT_IP),
    "ppi in ppi": (192, b"\0\0\x08\0\xc0\0\0\0" * 100, Refusal.TOO_MANY_LAYERS),
    "erf cut short": (197, bytes(15), Refusal.TRUNCATED_LINK),
    "erf of kind 0": (197, bytes(60), Refusal.NOT_IP),
    "erf, a whole frame of extensions": (197, b"\x82" * 1000, Refusal.NOT_IP),
    "frame relay, an address without an end": (107, bytes(3), Refusal.TRUNCATED_LINK),
    "frame relay, management": (107, b"\0\1\3\x08\0\x75" + bytes(20), Refusal.NOT_IP),
    "frame relay cut short": (107, b"\x18\x41\3\0\x80\0\0\0\x08", Refusal.TRUNCATED_LINK),
    "a token": (10, b"\x80" + bytes(60), Refusal.NOT_IP),
    "fddi cut short": (10, b"\x50" + bytes(11), Refusal.TRUNCATED_LINK),
    "ip over infiniband cut short": (242, bytes(43), Refusal.TRUNCATED_LINK),
    "enc of family 3": (109, b"\3\0\0\0" + bytes(60), Refusal.NOT_IP),
    "atm cut short": (100, b"\xfe\xfe\3\xcc\x45\0\0", Refusal.TRUNCATED_LINK),
}


@pytest.mark.parametrize("name", LINKS)
def test_a_frame_of_another_link_type_is_refused_by_name(name):
    linktype, frame, reason = LINKS[name]
    row = decode_one(frame, linktype)
    assert Refusal(row["refused"]) == reason and row["kind"] == Kind.REFUSED


def test_a_link_type_without_a_decoder_is_refused():
    linktypes = [each for each in range(300) if each not in LINKTYPES]
    rows = decode([bytes(ether() / TCP4)] * len(linktypes), linktypes)
    assert set(rows["refused"]) == {Refusal.UNKNOWN_LINKTYPE}


@pytest.mark.parametrize("more", [0, 1, 3])
def test_frames_of_unknown_link_types_are_counted_by_number_up_to_a_cap(more):
    decoder = Decoder()
    numbers = [*range(300, 300 + LINKTYPES_MAX), *range(400, 400 + more)]
    frame = bytes(ether() / TCP4)
    for _ in range(2):
        decoder.decode(block_of([frame] * (len(numbers) + 2), [ETHERNET, *numbers, 65535 if more else 300]))
    told = dict.fromkeys(numbers[:LINKTYPES_MAX], 2) | ({OTHER_LINKTYPES: 2 * more + 2} if more else {300: 4})
    assert decoder.unknown_linktypes == told
    assert decoder.refused == {"unknown_linktype": sum(told.values())}


def test_known_link_types_are_counted_nowhere():
    decoder = Decoder()
    decoder.decode(block_of([bytes(ether() / TCP4), b""]))
    assert decoder.unknown_linktypes == {}


def test_a_refusal_and_a_weird_of_one_number_have_one_name():
    assert {each.name: each.value for each in Weird if each in set(Refusal)} == {
        each.name: each.value for each in Refusal if 0 < each < 64
    }
    assert max(Weird) < 64


bad_doff = bytearray(bytes(SYN))
bad_doff[12] = 0x40
long_doff = bytearray(bytes(SYN))
long_doff[12] = 0x60
udp = struct.pack(">HHHH", 1025, 53, 0, 0)

KEPT = {
    "a tcp header cut short": (ipv4(bytes(SYN)[:19]), Weird.TRUNCATED_TCP, Kind.IP),
    "a tcp header of four words": (ipv4(bytes(bad_doff)), Weird.BAD_TCP_HEADER_LENGTH, Kind.IP),
    "a tcp header past the segment": (ipv4(bytes(long_doff)), Weird.BAD_TCP_HEADER_LENGTH, Kind.IP),
    "a udp header cut short": (ipv4(udp[:7], proto=17), Weird.TRUNCATED_UDP, Kind.IP),
    "a udp length of 7": (ipv4(udp[:4] + b"\0\7\0\0", proto=17), Weird.BAD_UDP_LENGTH, Kind.IP),
    "a udp length of 9 in 8": (ipv4(udp[:4] + b"\0\x09\0\0", proto=17), Weird.UDP_DATAGRAM_LENGTH_MISMATCH, Kind.UDP),
    "an icmp header cut short": (ipv4(bytes(ICMP())[:7], proto=1), Weird.TRUNCATED_ICMP, Kind.IP),
    "an sctp header cut short": (ipv4(bytes(SCTP())[:11], proto=132), Weird.TRUNCATED_SCTP, Kind.IP),
    "options cut short": (ipv4(ihl=6), Weird.TRUNCATED_IP, Kind.IP),
    "a length past the frame": (ipv4(bytes(SYN), total=1000), Weird.TRUNCATED_IP, Kind.TCP),
    "a gre header cut short": (ipv4(b"\0\0\x08", proto=47), Weird.TRUNCATED_GRE, Kind.IP),
    "gre version 2": (ipv4(b"\0\2\x08\0", proto=47), Weird.UNKNOWN_GRE_VERSION, Kind.IP),
    "gre with routing": (ipv4(b"\x40\0\x08\0" + bytes(8), proto=47), Weird.GRE_ROUTING, Kind.IP),
    "an inner header of four words": (ipv4(ipv4(ihl=4)[14:], proto=4), Weird.BAD_IP_HEADER_LENGTH, Kind.IP),
    "an inner header cut short": (ipv4(ipv4()[14:33], proto=4), Weird.TRUNCATED_IP, Kind.IP),
    "an inner version of 6": (ipv4(ipv4(version=6)[14:], proto=4), Weird.BAD_IP_VERSION, Kind.IP),
    "a type 0 routing header": (
        bytes(ether() / IPv6(**V6) / IPv6ExtHdrRouting(type=0) / SYN),
        Weird.ROUTING0_HDR,
        Kind.TCP,
    ),
    "an extension header cut short": (
        bytes(ether() / IPv6(**V6, nh=60) / Raw(b"\6\1" + bytes(13))),
        Weird.TRUNCATED_EXTENSION_HEADER,
        Kind.IP,
    ),
    "a jumbo option of 100 bytes": (
        bytes(ether() / IPv6(**V6, plen=0, nh=0) / Raw(b"\x3b\0\xc2\4\0\0\0\x08")),
        Weird.BAD_JUMBOGRAM,
        Kind.IP,
    ),
    "an arp operation of 3": (bytes(ether() / ARP(op=3)), Weird.UNKNOWN_ARP_OPCODE, Kind.ARP),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_malformed_deeper_is_named_and_the_rest_kept(name):
    frame, weird, kind = KEPT[name]
    decoder = Decoder()
    row = decoder.decode(block_of([frame]))[0]
    assert (row["kind"], row["refused"], weirds_of(row)) == (kind, 0, {weird})
    assert row["src_lo"] != 0 and row["tunnel"] == Tunnel.NONE
    assert (decoder.packets_decoded, decoder.refused, decoder.weirds) == (1, {}, {weird.name.lower(): 1})


def test_a_claimed_length_is_not_believed_past_the_frame():
    assert decode_one(ipv4(bytes(SYN) + b"data", total=65535))["payload_len"] == 4
    jumbo = bytes(ether() / IPv6(**V6, plen=0, nh=0) / Raw(b"\6\0\xc2\4\xff\xff\xff\xff") / SYN)
    assert decode_one(jumbo)["payload_len"] == 0


NO_TUNNELS = (
    *(bytes([value]) * length for value in (1, 2, 3, 8, 0x10, 0x40, 0x45, 0x60, 0xFF) for length in (4, 8, 12, 60)),
    b"\0\2\0\5\0\6\xc0\x21\1\1\0\4",  # PPP's own
    b"\x80\2" + bytes(40),  # a control message
    b"\x40\2\0\xff\0\5\0\6\xff\3\0\x21" + bytes(TCP4),  # longer than what carries it
    b"\0\x12\0\5\0\6\xff\3\0\x21" + bytes(TCP4),  # a bit that means nothing
    b"\0\0\1\0" + b"\2" * 12 + b"\x08\0\x60" + bytes(40),  # a frame of IPv4 with something else in it
    b"\0\3" + bytes(60),
    b"\1\4\0\1\1" + bytes(40),  # a keepalive
    b"\1\0\0\2\1" + bytes(40),
    b"\1\0\0\1" + bytes(200),  # no end of fields
    b"\0\0\1\0" + bytes(40),  # a label, and nothing that can be read
    b"\0\0\x08\x0a",
    b"\0\3\x08\0" + bytes(40),
    b"\x88\0\0\0\0\0\7\1\x45\0\1\0" + bytes(20),  # longer than what carries it
)


@pytest.mark.parametrize("port", [4789, 8472, 4790, 6081, 3544, 2152, 1701, 37008, 4341, 4754, 6635, 7932])
@pytest.mark.parametrize("payload", [b"", b"\x12\x34\x01\0\0\1\0\0\0\0\0\0", bytes(100), *NO_TUNNELS])
def test_a_datagram_to_a_tunnel_port_that_is_no_tunnel_stays_a_datagram(port, payload):
    row = decode_one(ether() / IP(**V4) / UDP(sport=53, dport=port) / Raw(payload))
    assert (row["kind"], row["src_port"], row["dst_port"], row["payload_len"]) == (Kind.UDP, 53, port, len(payload))
    assert (row["tunnel"], row["weird"], row["refused"]) == (0, 0, 0)


@pytest.mark.parametrize("proto", [97, 115, 137, 143])
@pytest.mark.parametrize("payload", [b"", b"\x30\0", bytes(4), bytes(60), b"\xff" * 60])
def test_a_packet_of_a_tunnels_protocol_that_is_no_tunnel_stays_what_it_is(proto, payload):
    row = decode_one(ether() / IP(**V4, proto=proto) / Raw(payload))
    assert (row["kind"], row["proto"], row["payload_len"]) == (Kind.IP, proto, len(payload))
    assert (row["tunnel"], row["weird"], row["refused"]) == (0, 0, 0)


def test_a_tunnel_cut_short_is_described_as_the_datagram_that_carries_it():
    whole = bytes(ether() / IP(**V4) / UDP(sport=1025, dport=4789) / VXLAN() / ether() / TCP4)
    row = decode_one(whole[: -len(bytes(TCP4)) + 10])
    assert (row["kind"], row["dst_port"], row["tunnel"]) == (Kind.UDP, 4789, Tunnel.NONE)
    assert Weird.TRUNCATED_IP in weirds_of(row)


@pytest.mark.parametrize(
    ("headers", "is_understood"), [(1, True), (13, True), (14, False), (180, False), (1000, False)]
)
def test_extension_headers_are_walked_up_to_sixteen_layers(headers, is_understood):
    chain = (b"\x3c\0" + bytes(6)) * (headers - 1) + b"\6\0" + bytes(6)
    row = decode_one(ether() / IPv6(**V6, nh=60) / Raw(chain + bytes(SYN)))
    if is_understood:
        assert (row["kind"], row["layers"], row["weird"]) == (Kind.TCP, headers + 3, 0)
    else:
        assert (row["kind"], row["layers"], weirds_of(row)) == (Kind.IP, 16, {Weird.TOO_MANY_LAYERS})


@pytest.mark.parametrize(
    ("tunnel", "over"),
    [(Tunnel.VXLAN, UDP(sport=9, dport=4789) / VXLAN() / ether(type=0x800)), (Tunnel.GRE, GRE(proto=0x800))],
)
def test_a_hundred_tunnels_end_after_sixteen_layers_with_what_was_understood(tunnel, over):
    packet = bytes(TCP4)
    for depth in range(100):
        packet = bytes(IP(src="10.0.0.1", dst=f"10.0.1.{depth}", proto=17 if UDP in over else 47) / over / Raw(packet))
    row = decode_one(bytes(ether(type=0x800)) + packet)
    assert weirds_of(row) == {Weird.TOO_MANY_LAYERS}
    assert (row["layers"], row["tunnel"]) == (16, tunnel)


def test_frames_of_several_buffers_come_out_in_their_order():
    frames = [bytes(ether() / IP(**V4) / UDP(sport=i, dport=9)) for i in range(1, 9)]
    first, second = block_of(frames[::2]), block_of(frames[1::2])
    rows = np.empty(8, first.frames.dtype)
    rows[::2], rows[1::2] = first.frames, second.frames
    rows["buffer"][1::2] = 1
    both = Block(first.buffers + second.buffers, rows)
    assert Decoder().decode(both)["src_port"].tolist() == list(range(1, 9))


def test_an_empty_block_gives_no_rows():
    assert len(decode([])) == 0


def test_a_read_only_buffer_and_a_writable_one_are_alike():
    block = block_of([bytes(ether() / TCP4)])
    writable = Block((block.buffers[0].copy(),), block.frames)
    assert np.array_equal(Decoder().decode(block).copy(), Decoder().decode(writable))


def test_ipv6_destination_options_without_a_transport_are_an_ip_packet():
    row = decode_one(ether() / IPv6(**V6) / IPv6ExtHdrDestOpt(nh=59))
    assert (row["kind"], row["proto"], row["payload_len"], row["weird"]) == (Kind.IP, 59, 0, 0)
