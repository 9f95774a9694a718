"""The same packets through tshark, dpkt and the kernels uncompiled: all tell the same."""

import ipaddress
import os
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import dpkt
import numpy as np
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import Dot1Q
from scapy.layers.sctp import SCTP
from scapy.packet import Raw

from sensor.address import to_address
from sensor.decode import Decoder
from sensor.packet import Kind
from tests.decode.decoding import ETHERNET, block_of, decode, ether
from tests.decode.samples import samples

ROOT = Path(__file__).parents[2]
SEED = 20240229
BY_PROTOCOL = {
    "ip": ("src", "dst", "ttl"),
    "ipv6": ("src", "dst", "hlim"),
    "arp": ("src.proto_ipv4", "dst.proto_ipv4"),
    "tcp": ("srcport", "dstport", "flags", "seq_raw", "ack_raw", "window_size_value", "len"),
    "udp": ("srcport", "dstport"),
    "sctp": ("srcport", "dstport"),
    "icmp": ("type", "code"),
    "icmpv6": ("type", "code"),
}
FIELDS = ["frame.protocols", *(f"{protocol}.{each}" for protocol, names in BY_PROTOCOL.items() for each in names)]
NETWORKS = {"ip": "ip.{}", "ipv6": "ipv6.{}", "arp": "arp.{}.proto_ipv4"}
TRANSPORTS = {"tcp": Kind.TCP, "udp": Kind.UDP, "sctp": Kind.SCTP, "icmp": Kind.ICMP, "icmpv6": Kind.ICMP}

# It tells whether a pseudowire has a control word by the makers of the addresses, ends at a mobility header, knows no
# bare IP in ERSPAN, learns from control messages what a session of L2TPv3 carries, and takes NFLOG for its machine's.
NOT_FOR_TSHARK = {"mpls pseudowire", "mpls pseudowire, bare", "pseudowire over udp", "ipv6 mobility", "erspan iii, ip"}
NOT_FOR_TSHARK |= {"l2tp 3", "l2tp 3, sublayer", "l2tp 3, cookie", "l2tp 3 in ip", "nflog, big-endian"}
DECODED_AS = ("udp.port==8472,vxlan", "udp.port==7932,hp_erm", "ethertype==0x9200,vlan", "ethertype==0x9300,vlan")


def mixed(count=400):
    """Plain traffic of every kind over Ethernet, from a fixed seed."""
    rng = random.Random(SEED)
    frames = []
    for _ in range(count):
        ports = {"sport": rng.randrange(1, 65536), "dport": rng.choice([9, 22, 443, 49999])}
        numbers = {"seq": rng.getrandbits(32), "ack": rng.getrandbits(32), "window": rng.getrandbits(16)}
        options = rng.choice([[], [("MSS", 1460)], [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]])
        tcp = TCP(**ports, **numbers, flags=rng.randrange(256), options=options)
        transport = rng.choice([tcp, tcp, UDP(**ports), SCTP(**ports)])
        if rng.random() < 0.5:
            src, dst = (str(ipaddress.IPv4Address(rng.getrandbits(32))) for _ in range(2))
            net = IP(src=src, dst=dst, ttl=rng.randrange(1, 256))
            transport = rng.choice([transport, ICMP(type=8, code=rng.randrange(4))])
        else:
            src, dst = (str(ipaddress.IPv6Address(rng.getrandbits(128))) for _ in range(2))
            net = IPv6(src=src, dst=dst, hlim=rng.randrange(256))
            transport = rng.choice([transport, IPv6ExtHdrDestOpt() / transport, ICMPv6EchoRequest()])
        link = rng.choice([ether(), ether() / Dot1Q(vlan=rng.randrange(1, 4095))])
        frames.append(bytes(link / net / transport / Raw(rng.randbytes(rng.choice([0, 1, 17, 400])))))
    return frames


def everything():
    """Frames and their link types: the samples of every layer, and mixed traffic."""
    made = list(samples().values())
    frames, linktypes = [each.frame for each in made], [each.linktype for each in made]
    plain = mixed()
    return frames + plain, linktypes + [ETHERNET] * len(plain)


def write_pcap(path, frames, linktype, order="<"):
    header = struct.pack(f"{order}IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, linktype)
    records = (struct.pack(f"{order}IIII", i, 0, len(frame), len(frame)) + frame for i, frame in enumerate(frames))
    path.write_bytes(header + b"".join(records))


def asked_of_tshark(path):
    """Each packet's fields by name, every occurrence of each in a list."""
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "separator=|", "-o", "ipv6.tso_support:TRUE"]
    for each in DECODED_AS:
        command += ["-d", each]
    for field in FIELDS:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return [
        dict(zip(FIELDS, (f.split(",") for f in line.split("|")), strict=True)) for line in done.stdout.splitlines()
    ]


def compare(row, fields):
    protocols = fields["frame.protocols"][0].split(":")
    innermost = max(i for i, each in enumerate(protocols) if each in NETWORKS)
    network = protocols[innermost]
    for side in ("src", "dst"):
        said = fields[NETWORKS[network].format(side)][-1]
        assert to_address(row[f"{side}_hi"], row[f"{side}_lo"]) == ipaddress.ip_address(said)
    if network == "arp":
        assert row["kind"] == Kind.ARP
        return
    assert row["ttl"] == int(fields["ip.ttl" if network == "ip" else "ipv6.hlim"][-1])
    transports = [each for each in protocols[innermost:] if each in TRANSPORTS]
    if not transports:
        assert row["kind"] == Kind.IP
        return
    name = transports[0]
    assert row["kind"] == TRANSPORTS[name]
    if name in ("icmp", "icmpv6"):
        said = [int(fields[f"{name}.{each}"][-1]) for each in ("type", "code")]
        assert [row["icmp_type"], row["icmp_code"]] == said
        return
    assert [row["src_port"], row["dst_port"]] == [int(fields[f"{name}.{each}"][-1]) for each in ("srcport", "dstport")]
    if name == "tcp":
        ours = [int(row[each]) for each in ("seq", "ack", "window", "payload_len", "tcp_flags")]
        theirs = [int(fields[f"tcp.{each}"][-1]) for each in ("seq_raw", "ack_raw", "window_size_value", "len")]
        assert ours == [*theirs, int(fields["tcp.flags"][-1], 16) & 0xFF]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_says_the_same_of_every_frame(tmp_path):
    frames, linktypes = everything()
    apart = [each.frame for name, each in samples().items() if name in NOT_FOR_TSHARK]
    for linktype in sorted(set(linktypes)):
        chosen = [frame for frame, each in zip(frames, linktypes, strict=True) if each == linktype]
        path = tmp_path / f"{linktype}.pcap"
        write_pcap(path, chosen, linktype)
        fields = asked_of_tshark(path)
        assert len(fields) == len(chosen)
        for frame, row, said in zip(chosen, decode(chosen, linktype), fields, strict=True):
            if frame not in apart:
                compare(row, said)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_says_the_same_of_lengths_of_0(tmp_path):
    nets = [IP(src="192.0.2.1", dst="192.0.2.2", len=0), IPv6(src="2001:db8::1", dst="2001:db8::2", plen=0)]
    segments = [TCP(sport=1, dport=2, chksum=0) / Raw(bytes(size)) for size in (1, 3000, 70_000)]
    frames = [bytes(ether() / net / segment) for net in nets for segment in segments]
    write_pcap(tmp_path / "long.pcap", frames, ETHERNET)
    for row, said in zip(decode(frames), asked_of_tshark(tmp_path / "long.pcap"), strict=True):
        compare(row, said)
        assert row["kind"] == Kind.TCP


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_says_the_same_of_nflog_from_a_machine_of_the_other_order(tmp_path):
    frame = samples()["nflog, big-endian"].frame
    write_pcap(tmp_path / "nflog.pcap", [frame], 239, ">")
    [said] = asked_of_tshark(tmp_path / "nflog.pcap")
    compare(decode([frame], 239)[0], said)


def test_dpkt_says_the_same_of_plain_traffic():
    frames = mixed()
    for frame, row in zip(frames, decode(frames), strict=True):
        net = dpkt.ethernet.Ethernet(frame).data
        transport = net.data
        assert to_address(row["src_hi"], row["src_lo"]) == ipaddress.ip_address(net.src)
        if isinstance(transport, dpkt.tcp.TCP):
            names = ("src_port", "dst_port", "seq", "ack", "tcp_flags", "window", "payload_len")
            ours = [int(row[each]) for each in names]
            flags = frame[int(row["payload"]) - int(row["tcp_options"]) - 7]
            theirs = [transport.sport, transport.dport, transport.seq, transport.ack, flags, transport.win]
            assert ours == [*theirs, len(transport.data)] and row["kind"] == Kind.TCP
        elif isinstance(transport, dpkt.udp.UDP | dpkt.sctp.SCTP):
            assert [row["src_port"], row["dst_port"]] == [transport.sport, transport.dport]
            assert row["kind"] in (Kind.UDP, Kind.SCTP)
        else:  # dpkt leaves some of what lies behind IPv6 extension headers as bytes
            assert row["kind"] == Kind.ICMP or isinstance(transport, bytes)


UNCOMPILED = """
import sys
import numpy as np
from sensor._jit import COMPILED
from sensor.decode import Decoder
from sensor.packet import Block
assert not COMPILED
data, frames = np.load(sys.argv[1]), np.load(sys.argv[2])
decoder = Decoder(max_fragmented=3)
np.save(sys.argv[3], decoder.decode(Block((data,), frames)))
print(decoder.packets_decoded, decoder.refused, decoder.weirds, decoder.fragment_counters)
"""


def test_uncompiled_kernels_give_the_same_rows_and_counters(tmp_path):
    frames, linktypes = everything()
    rng = random.Random(SEED)
    for frame, linktype in list(zip(frames, linktypes, strict=True)):
        broken = bytearray(frame)
        for _ in range(3):
            at = rng.randrange(min(len(broken), 90))
            broken[at] = rng.choice([0, 4, 5, 6, 17, 44, 0x45, 0x60, rng.randrange(256)])
        frames += [bytes(broken), frame[: rng.randrange(len(frame))]]
        linktypes += [linktype] * 2
    for _ in range(300):
        fields = {"id": rng.randrange(6), "proto": rng.choice([6, 17, 47]), "frag": rng.randrange(4)}
        datagram = IP(src="192.0.2.1", dst="192.0.2.2", flags=rng.randrange(2), **fields)
        frames.append(bytes(datagram / Raw(rng.choice([b"\0", b"A"]) * 8 * rng.randrange(1, 4))))
        linktypes.append(101)
    block = block_of(frames, linktypes)
    decoder = Decoder(max_fragmented=3)
    rows = decoder.decode(block)
    paths = [str(tmp_path / name) for name in ("data.npy", "frames.npy", "rows.npy")]
    np.save(paths[0], block.buffers[0])
    np.save(paths[1], block.frames)
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-W", "error", "-c", UNCOMPILED, *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    counters = (decoder.packets_decoded, decoder.refused, decoder.weirds, decoder.fragment_counters)
    assert done.stdout.strip() == " ".join(map(str, counters))
    assert np.array_equal(np.load(paths[2]), rows)
    assert decoder.fragment_counters["datagrams_evicted"] > 0 < decoder.fragment_counters["datagrams_reassembled"]
