"""Every layer and tunnel, as Scapy makes it, comes out as Scapy says it is."""

import ipaddress

import pytest
from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import GRE, ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import ARP, GRE_PPTP, CookedLinux, CookedLinuxV2, Ether
from scapy.layers.sctp import SCTP, SCTPChunkAbort, SCTPChunkData, SCTPChunkInit, SCTPChunkInitAck
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from sensor.address import to_address
from sensor.packet import PACKET, Kind
from sensor.weird import Weird
from tests.decode.decoding import ETHERNET, TCP4, V4, V6, Sample, decode_one, ether, told, weirds_of
from tests.decode.samples import samples

SAMPLES = samples()


def addresses(row, prefix=""):
    words = (int(row[f"{prefix}{side}_{word}"]) for side in ("src", "dst") for word in ("hi", "lo"))
    src_hi, src_lo, dst_hi, dst_lo = words
    return str(to_address(src_hi, src_lo)), str(to_address(dst_hi, dst_lo))


def expected_transport(packet):
    """What Scapy knows of the transport: columns by name, and its payload."""
    if TCP in packet:
        tcp = packet[TCP]
        columns = {"kind": Kind.TCP, "src_port": tcp.sport, "dst_port": tcp.dport, "seq": tcp.seq, "ack": tcp.ack}
        columns |= {"tcp_flags": int(tcp.flags), "window": tcp.window, "tcp_options": tcp.dataofs * 4 - 20}
        return columns, bytes(tcp.payload)
    for layer, kind in ((UDP, Kind.UDP), (SCTP, Kind.SCTP)):
        if layer in packet:
            found = packet[layer]
            return {"kind": kind, "src_port": found.sport, "dst_port": found.dport}, bytes(found.payload)
    if ICMP in packet:
        return {"kind": Kind.ICMP, "icmp_type": packet[ICMP].type, "icmp_code": packet[ICMP].code}, b"ping"
    if packet.version == 6 and packet.nh == 58:
        return {"kind": Kind.ICMP, "icmp_type": 128, "icmp_code": 0}, b"ping"
    return {"kind": Kind.IP}, bytes(packet.payload)


def parsed(packet):
    return type(packet)(bytes(packet))


@pytest.mark.parametrize("name", SAMPLES)
def test_a_layer_reads_as_scapy_made_it(name):
    sample: Sample = SAMPLES[name]
    row = decode_one(sample.frame, sample.linktype)
    inner = parsed(sample.inner)
    assert weirds_of(row) == set() and row["refused"] == 0
    assert (row["tunnel"], row["vlan"]) == (sample.tunnel, sample.vlan)
    if ARP in inner:
        assert addresses(row) == (inner.psrc, inner.pdst)
        macs = int(inner.hwsrc.replace(":", ""), 16), int(inner.hwdst.replace(":", ""), 16)
        assert (row["kind"], row["arp_op"], row["sha"], row["tha"]) == (Kind.ARP, inner.op, *macs)
        return
    columns, payload = expected_transport(inner)
    assert {each: int(row[each]) for each in columns} == columns
    assert (row["ip_version"], row["ttl"]) == (inner.version, inner.ttl if inner.version == 4 else inner.hlim)
    assert addresses(row) == tuple(str(ipaddress.ip_address(each)) for each in (inner.src, inner.dst))
    start = int(row["payload"])
    assert sample.frame[start : start + int(row["payload_len"])] == payload


@pytest.mark.parametrize("name", SAMPLES)
def test_a_row_tells_the_capture_lengths_and_nothing_of_the_packet_before_it(name):
    sample = SAMPLES[name]
    row = decode_one(sample.frame, sample.linktype)
    assert (row["caplen"], row["wirelen"]) == (len(sample.frame), len(sample.frame))
    if row["kind"] != Kind.TCP:
        assert not {"seq", "ack", "tcp_flags", "window", "tcp_options"} & told(row).keys()
    if row["kind"] in (Kind.IP, Kind.ICMP, Kind.ARP):
        assert (row["src_port"], row["dst_port"]) == (0, 0)


@pytest.mark.parametrize("proto", [TCP(sport=1025, dport=80), UDP(sport=1025, dport=80)])
@pytest.mark.parametrize("kind", [3, 4, 5, 11, 12])
def test_an_icmp_error_names_the_packet_that_it_quotes(kind, proto):
    quoted = IP(src=V4["dst"], dst=V4["src"]) / proto
    row = decode_one(ether() / IP(**V4) / ICMP(type=kind, code=1) / Raw(bytes(quoted)[:28]))
    assert (row["kind"], row["icmp_type"], row["icmp_code"]) == (Kind.ICMP, kind, 1)
    assert addresses(row, "quoted_") == (V4["dst"], V4["src"])
    assert (row["quoted_proto"], row["quoted_src_port"], row["quoted_dst_port"]) == (quoted.proto or 6, 1025, 80)


def test_an_icmpv6_error_names_the_packet_that_it_quotes_behind_its_extension_headers():
    quoted = IPv6(src=V6["dst"], dst=V6["src"]) / IPv6ExtHdrDestOpt() / UDP(sport=1025, dport=161)
    row = decode_one(ether() / IPv6(**V6) / ICMPv6DestUnreach(code=4) / quoted)
    assert addresses(row, "quoted_") == (V6["dst"], V6["src"])
    assert (row["quoted_proto"], row["quoted_src_port"], row["quoted_dst_port"]) == (17, 1025, 161)


@pytest.mark.parametrize(("quoted_bytes", "has_address", "has_ports"), [(19, 0, 0), (20, 1, 0), (23, 1, 0), (24, 1, 1)])
def test_a_quotation_is_told_as_far_as_it_goes(quoted_bytes, has_address, has_ports):
    quoted = bytes(IP(src=V4["dst"], dst=V4["src"], proto=6) / TCP(sport=1025, dport=80))[:quoted_bytes]
    row = decode_one(ether() / IP(**V4) / ICMP(type=3, code=3) / Raw(quoted))
    assert (row["quoted_src_lo"] != 0, row["quoted_dst_port"] != 0) == (has_address, has_ports)
    assert weirds_of(row) == set()


NETWORKS = {
    "vxlan": (UDP(dport=4789) / VXLAN(vni=0xABCDEF) / ether() / TCP4, 0xABCDEF),
    "geneve": (UDP(dport=6081) / GENEVE(proto=0x6558, vni=77) / ether() / TCP4, 77),
    "gre with a key": (GRE(key_present=1, key=0xDEADBEEF) / TCP4, 0xDEADBEEF),
    "gre with a checksum and a key": (GRE(chksum_present=1, key_present=1, key=5) / TCP4, 5),
    "ethernet in gre with a key": (GRE(proto=0x6558, key_present=1, key=0xFFFFF) / ether() / TCP4, 0xFFFFF),
    "nvgre": (GRE(proto=0x6558, key_present=1, key=0x1000FF) / ether() / TCP4, 0x1000),
    "gre without a key": (GRE() / TCP4, 0),
    "a call of pptp": (GRE_PPTP(seqnum_present=1, call_id=9) / Raw(b"\xff\x03\0\x21" + bytes(TCP4)), 0),
    "the outermost": (UDP(dport=4789) / VXLAN(vni=3) / ether() / IP(**V4) / GRE(key_present=1, key=4) / TCP4, 3),
    "of a tunnel that is left as it is": (UDP(dport=4789) / VXLAN(vni=3) / ether(type=0x88CC) / Raw(bytes(40)), 0),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_that_the_outermost_tunnel_names_is_told(name):
    carried, number = NETWORKS[name]
    row = decode_one(ether() / IP(**V4) / carried)
    assert (row["tunnel_id"], row["refused"]) == (number, 0)


def test_a_segment_that_the_card_was_to_cut_up_has_the_length_of_its_frame():
    frame = ether() / IP(**V4, len=0) / TCP(sport=1, dport=2) / Raw(bytes(3000))
    row = decode_one(frame)
    assert (row["kind"], row["payload_len"], row["weird"]) == (Kind.TCP, 3000, 0)


def test_a_jumbogram_has_the_length_of_its_option():
    option = b"\x06\x00\xc2\x04" + (70_000 + 8 + 20).to_bytes(4, "big")
    frame = ether() / IPv6(**V6, plen=0, nh=0) / Raw(option + bytes(TCP(sport=1, dport=2, chksum=0)) + bytes(70_000))
    row = decode_one(frame)
    assert (row["kind"], row["payload_len"], row["weird"]) == (Kind.TCP, 70_000, 0)


def test_a_short_snaplen_leaves_the_lengths_of_the_headers():
    row = decode_one(ether() / IP(**V4) / TCP(sport=1, dport=2) / Raw(bytes(1000)), ETHERNET, snaplen=54)
    assert (row["kind"], row["payload_len"], row["caplen"], row["weird"]) == (Kind.TCP, 1000, 54, 0)


def test_a_refused_packet_has_nothing_but_its_lengths_and_the_reason():
    row = decode_one(ether(type=0x88CC) / Raw(bytes(50)))
    assert told(row) == {"refused": int(row["refused"])}
    assert (row["caplen"], row["wirelen"]) == (64, 64)
    assert PACKET.itemsize % 8 == 0  # rows are cleared by the word


@pytest.mark.parametrize(
    ("dst", "group"),
    [("02:00:00:00:00:01", 0), ("ff:ff:ff:ff:ff:ff", 1), ("01:00:5e:7f:ff:fa", 1), ("33:33:00:00:00:fb", 1)],
)
def test_a_frame_that_is_addressed_to_many_stations_is_known(dst, group):
    assert decode_one(bytes(Ether(dst=dst, type=0x800) / IP(**V4) / UDP()))["group"] == group


@pytest.mark.parametrize(("kind", "group"), [(0, 0), (1, 1), (2, 1), (3, 0), (4, 0)])
def test_linux_tells_of_a_cooked_frame_whether_it_went_to_many(kind, group):
    frames = (CookedLinux(pkttype=kind, proto=0x800), 113), (CookedLinuxV2(pkttype=kind, proto=0x800), 276)
    for link, linktype in frames:
        assert decode_one(bytes(link / IP(**V4) / UDP()), linktype)["group"] == group


@pytest.mark.parametrize("chunk", [SCTPChunkInit(), SCTPChunkInitAck(), SCTPChunkAbort(), SCTPChunkData(data=b"1")])
def test_the_first_chunk_of_an_sctp_packet_is_told(chunk):
    assert decode_one(bytes(ether() / IP(**V4) / SCTP() / chunk / SCTPChunkInit()))["sctp_chunk"] == chunk.type


def test_an_sctp_packet_that_ends_with_its_header_has_no_chunk():
    frame = bytes(ether() / IP(**V4) / SCTP())
    assert decode_one(frame + b"\7" * 10)["sctp_chunk"] == 0, "what comes after it is the link's"


@pytest.mark.parametrize("size", [3000, 70_000])
def test_an_ipv6_packet_of_length_0_has_that_of_its_frame(size):
    """As segmentation by the card leaves it, and Linux's BIG TCP, which has no option."""
    frame = ether() / IPv6(**V6, plen=0) / TCP(sport=1, dport=2, chksum=0) / Raw(bytes(size))
    row = decode_one(frame)
    assert (row["kind"], row["payload_len"], row["weird"]) == (Kind.TCP, size, 0)
    assert decode_one(frame, snaplen=74)["payload_len"] == size


@pytest.mark.parametrize(
    "outer",
    [
        IPv6(src="2001:db8:1::1", dst="2001:db8:1::2", plen=0, nh=41),
        IPv6(src="2001:db8:1::1", dst="2001:db8:1::2", plen=0) / UDP(dport=4789, len=0, chksum=1) / VXLAN() / ether(),
        IP(src="203.0.113.1", dst="203.0.113.2", len=0) / UDP(dport=4789, len=0, chksum=1) / VXLAN() / ether(),
        IP(src="203.0.113.1", dst="203.0.113.2", len=0) / UDP(dport=6081, len=0, chksum=1) / GENEVE() / ether(),
    ],
)
def test_lengths_of_0_are_understood_in_tunnels_too(outer):
    inner = IPv6(**V6, plen=0) / TCP(sport=1, dport=2, chksum=0) / Raw(bytes(70_000))
    row = decode_one(ether() / outer / inner)
    assert (row["kind"], row["payload_len"], row["weird"]) == (Kind.TCP, 70_000, 0)
    assert row["tunnel"] != 0


def test_an_ipv6_packet_that_ends_with_its_header_has_no_payload_whatever_the_padding():
    row = decode_one(bytes(ether() / IPv6(**V6, plen=0, nh=59)) + bytes(6))
    assert (row["kind"], row["payload_len"], row["weird"]) == (Kind.IP, 0, 0)


CUT = {
    "tcp": (TCP(sport=1025, dport=443, seq=7, flags="S"), 20, Kind.TCP_CUT, Weird.TRUNCATED_TCP),
    "udp": (UDP(sport=1025, dport=443), 8, Kind.UDP, Weird.TRUNCATED_UDP),
    "sctp": (SCTP(sport=1025, dport=443, tag=5), 12, Kind.SCTP, Weird.TRUNCATED_SCTP),
}


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("net", [IP(**V4), IPv6(**V6)])
def test_a_header_that_the_snap_length_cut_behind_the_ports_keeps_them(name, net):
    transport, header, kind, weird = CUT[name]
    frame, before = ether() / net / transport / Raw(bytes(100)), 14 + len(net)
    for captured in range(header + 1):
        row = decode_one(frame, snaplen=before + captured)
        if captured == header:
            assert (row["kind"] not in (Kind.IP, Kind.TCP_CUT), row["weird"]) == (True, 0)
            continue
        has_ports = captured >= 4
        assert weirds_of(row) == {weird}
        assert row["kind"] == (kind if has_ports else Kind.IP)
        assert (row["src_port"], row["dst_port"]) == ((1025, 443) if has_ports else (0, 0))
        if has_ports:
            assert row["payload_len"] == (0 if name == "tcp" else 100)
        assert not {"seq", "ack", "tcp_flags", "window", "tcp_options", "sctp_chunk"} & told(row).keys()


@pytest.mark.parametrize("name", CUT)
def test_a_header_that_is_short_on_the_wire_tells_no_ports(name):
    transport, header, _, weird = CUT[name]
    proto = {"tcp": 6, "udp": 17, "sctp": 132}[name]
    row = decode_one(ether() / IP(**V4, proto=proto) / Raw(bytes(transport)[: header - 1]))
    assert (row["kind"], row["src_port"], weirds_of(row)) == (Kind.IP, 0, {weird})


@pytest.mark.parametrize("name", CUT)
def test_a_first_fragment_whose_header_the_snap_length_cut_is_a_fragment(name):
    transport, _, _, _ = CUT[name]
    row = decode_one(ether() / IP(**V4, flags="MF") / transport / Raw(bytes(96)), snaplen=14 + 20 + 6)
    assert (row["kind"], row["src_port"], row["weird"]) == (Kind.FRAGMENT, 0, 0)


@pytest.mark.parametrize("side", ["src", "dst"])
def test_an_ipv4_address_inside_an_ipv6_one_is_odd_and_no_ipv4_address(side):
    rows = [
        decode_one(ether() / IPv6(**(V6 | {side: text})) / UDP(dport=9))
        for text in ("::ffff:192.0.2.1", "::192.0.2.1", "::fffe:192.0.2.1")
    ]
    assert [weirds_of(row) for row in rows] == [{Weird.IPV4_MAPPED_ADDRESS}, set(), set()]
    assert {int(row["ip_version"]) for row in rows} == {6}
    assert weirds_of(decode_one(ether() / IP(src="192.0.2.1", dst="192.0.2.2") / UDP())) == set()


BEHIND = {
    "macsec's check value": (1, b"\2" * 12 + b"\x88\xe5\0\0\0\0\0\1\x08\0", bytes(16)),
    "macsec's, by its short length": (1, b"\2" * 12 + b"\x88\xe5\0\x2b\0\0\0\1\x08\0", bytes(24)),
    "radiotap's check sequence": (
        127,
        b"\0\0\x09\0\2\0\0\0\x10\x08\2" + bytes(22) + b"\xaa\xaa\3\0\0\0\x08\0",
        bytes(4),
    ),
    "nflog's padding": (239, b"\2\0\0\0\x2d\0\x09\0", bytes(3)),
    "eoip's own": (1, None, bytes(9)),
}


@pytest.mark.parametrize("name", BEHIND)
def test_what_lies_behind_a_packet_is_none_of_it(name):
    """Where the packet's own length is 0, the layers around it must know."""
    linktype, before, behind = BEHIND[name]
    packet = bytes(IP(**V4, len=0) / TCP(sport=1, dport=2, chksum=0) / Raw(b"x"))
    if before is None:
        inner = bytes(ether() / Raw(packet))[:12] + b"\x08\0" + packet
        frame = bytes(ether() / IP(**V4, proto=47) / Raw(b"\x20\1\x64\0\0\x37\1\0" + inner + behind))
    else:
        frame = before + packet + behind
    row = decode_one(frame, linktype)
    assert (row["kind"], row["payload_len"], row["weird"]) == (Kind.TCP, 1, 0)


@pytest.mark.parametrize(
    ("carried", "number"),
    [
        (UDP(dport=4790) / Raw(b"\x0c\0\0\1\0\1\2\0" + bytes(TCP4)), 0x102),
        (UDP(dport=4341) / Raw(b"\x88\0\0\0\0\1\2\3" + bytes(TCP4)), 0x102),
        (UDP(dport=4341) / Raw(b"\x80\0\0\0\0\1\2\3" + bytes(TCP4)), 0),
        (Raw(b"\x20\1\x64\0\0\x3e\2\1" + bytes(ether() / TCP4)), 0x102),
    ],
)
def test_the_network_that_a_tunnel_names_is_told_of_the_new_ones_too(carried, number):
    row = decode_one(ether() / IP(**V4, proto=17 if UDP in carried else 47) / carried)
    assert (row["tunnel_id"], row["kind"]) == (number, Kind.TCP)


def test_a_service_instance_of_802_1ah_is_a_network():
    frame = b"\2" * 12 + b"\x88\xa8\0\x4d\x88\xe7\0\1\2\3" + bytes(ether() / TCP4)
    assert decode_one(frame)["tunnel_id"] == 0x10203


def test_the_station_that_a_wireless_frame_is_for_tells_whether_it_is_one_to_many():
    data, everybody, one = b"\xaa\xaa\3\0\0\0\x08\0" + bytes(TCP4), b"\xff" * 6, b"\2" * 6
    for flags, addresses in ((0, (everybody, one, one)), (1, (one, one, everybody)), (2, (everybody, one, one))):
        frame = bytes((8, flags, 0, 0)) + b"".join(addresses) + b"\0\0"
        assert decode_one(frame + data, 105)["group"] == 1
        assert decode_one(bytes((8, flags, 0, 0)) + one * 3 + b"\0\0" + data, 105)["group"] == 0
