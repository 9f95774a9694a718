"""Blocks of frames made by hand, a decoder's answer as rows, and a sample of every layer, made with Scapy."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scapy.contrib.erspan import ERSPAN_II, ERSPAN_III
from scapy.contrib.geneve import GENEVE
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import GRE, ICMP, IP, TCP, UDP, IPOption
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import (
    ARP,
    GRE_PPTP,
    LLC,
    SNAP,
    CookedLinux,
    CookedLinuxV2,
    Dot1AD,
    Dot1Q,
    Dot3,
    Ether,
)
from scapy.layers.ppp import HDLC, PPP, PPPoE
from scapy.layers.sctp import SCTP
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from sensor.decode import Decoder
from sensor.packet import FRAME, PACKET, Block, Tunnel
from sensor.weird import Weird

ETHERNET = 1
LINKTYPES = (0, 1, 9, 12, 14, 50, 51, 101, 104, 108, 113, 228, 229, 276)
MILLISECOND = 1_000_000


def block_of(
    frames: Sequence[bytes],
    linktype: int | Sequence[int] = ETHERNET,
    *,
    ts: Iterable[int] | None = None,
    snaplen: int | None = None,
) -> Block:
    """These frames in one buffer, cut to `snaplen`, a millisecond apart unless `ts` is given."""
    rows = np.zeros(len(frames), FRAME)
    kept = [frame[:snaplen] for frame in frames]
    rows["wirelen"] = [len(frame) for frame in frames]
    rows["caplen"] = [len(frame) for frame in kept]
    rows["offset"][1:] = np.cumsum([len(frame) for frame in kept])[:-1]
    rows["ts"] = np.arange(len(frames)) * MILLISECOND if ts is None else list(ts)
    rows["linktype"] = linktype
    return Block((np.frombuffer(b"".join(kept), np.uint8),), rows)


def in_parts(block: Block, size: int) -> list[Block]:
    """The same block as several of `size` frames."""
    return [Block(block.buffers, block.frames[i : i + size]) for i in range(0, len(block.frames), size)]


def decode(
    frames: Sequence[bytes], linktype: int | Sequence[int] = ETHERNET, *, snaplen: int | None = None
) -> np.ndarray:
    """The PACKET rows of these frames, by a new decoder."""
    return Decoder().decode(block_of(frames, linktype, snaplen=snaplen)).copy()


def decode_one(frame: Packet | bytes, linktype: int = ETHERNET, *, snaplen: int | None = None) -> np.void:
    """The PACKET row of one frame."""
    return decode([bytes(frame)], linktype, snaplen=snaplen)[0]


def weirds_of(row: np.void) -> set[Weird]:
    """The oddities of a row."""
    return {each for each in Weird if int(row["weird"]) >> each & 1}


def told(row: np.void) -> dict[str, int]:
    """The columns of a row that are not 0, but for those that capture filled."""
    return {name: int(row[name]) for name in PACKET.names if row[name] and name not in ("ts", "caplen", "wirelen")}


class Sample(NamedTuple):
    """A frame and the innermost packet in it."""

    frame: bytes
    inner: Packet
    linktype: int = ETHERNET
    tunnel: Tunnel = Tunnel.NONE
    vlan: int = 0


V4 = {"src": "192.0.2.1", "dst": "198.51.100.2"}
V6 = {"src": "2001:db8::1", "dst": "2001:db8:ffff::2"}
SYN = TCP(sport=40000, dport=443, flags="S", seq=0xDEADBEEF, ack=7, window=1234, options=[("MSS", 1460), ("WScale", 7)])
TCP4 = IP(**V4, ttl=61) / SYN
TCP6 = IPv6(**V6, hlim=61) / SYN / Raw(b"early data")
UDP4 = IP(**V4) / UDP(sport=50000, dport=53) / Raw(b"x" * 20)
UDP6 = IPv6(**V6) / UDP(sport=50000, dport=53) / Raw(b"x" * 20)


def ether(dst: str = "02:00:00:00:00:02", **fields: int) -> Packet:
    """An Ethernet header with addresses of its own: Scapy would ask the network for them."""
    return Ether(src="02:00:00:00:00:01", dst=dst, **fields)


def _pppoe(inner: Packet, protocol: int) -> Packet:
    return PPPoE(sessionid=9) / PPP(proto=protocol) / inner


def _outer(**fields: int) -> Packet:
    return ether() / IP(src="203.0.113.1", dst="203.0.113.2", **fields)


def _over_udp(port: int, inner: Packet | bytes, sport: int = 61111) -> bytes:
    return bytes(_outer() / UDP(sport=sport, dport=port) / inner)


def samples() -> dict[str, Sample]:
    """A frame for each layer by name."""
    arp = ARP(op=2, hwsrc="02:00:00:00:00:01", psrc="192.0.2.1", hwdst="02:00:00:00:00:02", pdst="192.0.2.9")
    return {
        "tcp over ipv4": Sample(bytes(ether() / TCP4), TCP4),
        "tcp over ipv6": Sample(bytes(ether() / TCP6), TCP6),
        "udp over ipv4, padded": Sample(bytes(ether() / UDP4) + bytes(30), UDP4),
        "udp over ipv6": Sample(bytes(ether() / UDP6), UDP6),
        "ipv4 options": Sample(bytes(ether() / (p := IP(**V4, options=[IPOption(b"\x94\4\0\0")]) / SYN)), p),
        "icmp echo": Sample(bytes(ether() / (p := IP(**V4) / ICMP(type=8, id=3) / Raw(b"ping"))), p),
        "icmpv6 echo": Sample(bytes(ether() / (p := IPv6(**V6) / ICMPv6EchoRequest(data=b"ping"))), p),
        "sctp": Sample(bytes(ether() / (p := IP(**V4) / SCTP(sport=2905, dport=2906, tag=5) / Raw(b"chunk"))), p),
        "esp is opaque": Sample(bytes(ether() / (p := IP(**V4, proto=50) / ESP(spi=1, seq=1, data=b"x" * 16))), p),
        "arp reply": Sample(bytes(ether() / arp), arp),
        "802.1q": Sample(bytes(ether() / Dot1Q(vlan=100) / TCP4), TCP4, vlan=100),
        "802.1ad": Sample(bytes(ether() / Dot1AD(vlan=7) / Dot1Q(vlan=8) / TCP6), TCP6, vlan=7),
        "0x9100": Sample(bytes(ether(type=0x9100) / Dot1Q(vlan=5) / UDP4), UDP4, vlan=5),
        "llc snap": Sample(bytes(Dot3() / LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0, code=0x800) / TCP4), TCP4),
        "linux cooked": Sample(bytes(CookedLinux(proto=0x800) / TCP4), TCP4, 113),
        "linux cooked v2": Sample(bytes(CookedLinuxV2(proto=0x86DD) / TCP6), TCP6, 276),
        "raw ipv4": Sample(bytes(TCP4), TCP4, 101),
        "raw ipv6": Sample(bytes(TCP6), TCP6, 12),
        "raw, openbsd": Sample(bytes(TCP6), TCP6, 14),
        "linktype ipv4": Sample(bytes(TCP4), TCP4, 228),
        "linktype ipv6": Sample(bytes(TCP6), TCP6, 229),
        "null, little-endian": Sample(b"\2\0\0\0" + bytes(TCP4), TCP4, 0),
        "null, big-endian": Sample(b"\0\0\0\x1e" + bytes(TCP6), TCP6, 0),
        "loop": Sample(b"\0\0\0\2" + bytes(TCP4), TCP4, 108),
        "ppp": Sample(bytes(HDLC() / PPP(proto=0x21) / TCP4), TCP4, 9),
        "ppp, compressed": Sample(b"\x21" + bytes(TCP4), TCP4, 9),
        "ppp in hdlc": Sample(bytes(HDLC() / PPP(proto=0x57) / TCP6), TCP6, 50),
        "cisco in ppp's linktype": Sample(b"\x0f\0\x08\0" + bytes(TCP4), TCP4, 50),
        "cisco hdlc": Sample(b"\x8f\0\x86\xdd" + bytes(TCP6), TCP6, 104),
        "pppoe": Sample(bytes(ether() / _pppoe(TCP4, 0x21)) + bytes(8), TCP4),
        "pppoe linktype": Sample(bytes(_pppoe(TCP6, 0x57)), TCP6, 51),
        "mpls": Sample(bytes(ether(type=0x8847) / MPLS(label=17, s=0) / MPLS(label=18, s=1) / TCP6), TCP6),
        "mpls pseudowire": Sample(bytes(ether(type=0x8847) / MPLS(s=1)) + bytes(4) + bytes(ether() / TCP4), TCP4),
        "mpls pseudowire, bare": Sample(bytes(ether(type=0x8848) / MPLS(s=1)) + bytes(ether() / UDP4), UDP4),
        **_extended(),
        **_tunnelled(),
    }


def _extended() -> dict[str, Sample]:
    routing = IPv6ExtHdrRouting(type=2, addresses=["2001:db8::7"])
    chains = {
        "hop-by-hop": IPv6ExtHdrHopByHop(options=[PadN(optdata=b"123456789012")]),
        "routing": routing,
        "destination options": IPv6ExtHdrDestOpt(),
        "atomic fragment": IPv6ExtHdrFragment(id=77),
        "all in a row": IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / routing / IPv6ExtHdrFragment(),
    }
    made = {}
    for name, chain in chains.items():
        packet = IPv6(**V6) / chain / SYN
        made[f"ipv6 {name}"] = Sample(bytes(ether() / packet), packet)
    ah = AH(nh=6, payloadlen=4, spi=1, seq=1, icv=b"i" * 12)
    v4, v6 = IP(**V4) / SYN, IPv6(**V6) / SYN
    made["ipv4 ah"] = Sample(bytes(ether() / IP(**V4, proto=51) / ah / SYN), v4)
    made["ipv6 ah"] = Sample(bytes(ether() / IPv6(**V6, nh=51) / ah / SYN), v6)
    made["ipv6 mobility"] = Sample(bytes(ether() / IPv6(**V6, nh=135) / Raw(b"\x06" + bytes(7)) / SYN), v6)
    none = IPv6(**V6, nh=59) / Raw(b"ignored")
    return made | {"ipv6 no next header": Sample(bytes(ether() / none), none)}


def _tunnelled() -> dict[str, Sample]:
    frame = ether() / Dot1Q(vlan=3) / TCP6
    session = GTP_U_Header(teid=1) / GTPPDUSessionContainer(type=1, QFI=2) / TCP4
    v6_outer = ether() / IPv6(src="2001:db8:1::1", dst="2001:db8:1::2")
    authenticated = b"\0\1\2\3idxyz" + bytes(9) + b"\0\0" + bytes(6) + bytes(UDP6)
    gre = {
        "gre": GRE() / TCP4,
        "gre, all fields": GRE(chksum_present=1, key_present=1, seqnum_present=1, key=5) / TCP6,
        "gre ethernet": GRE(proto=0x6558) / ether() / TCP4,
        "erspan": GRE(proto=0x88BE) / Raw(bytes(ether() / UDP4)),
        "erspan ii": GRE(proto=0x88BE, seqnum_present=1) / ERSPAN_II() / Raw(bytes(ether() / TCP4)),
        "erspan iii": GRE(proto=0x22EB, seqnum_present=1) / ERSPAN_III(o=0) / Raw(bytes(ether() / TCP4)),
        "pptp": GRE_PPTP(seqnum_present=1, acknum_present=1) / Raw(b"\xff\x03\0\x21" + bytes(TCP4)),
        "gre mpls": GRE(proto=0x8847) / MPLS(s=1) / TCP4,
    }
    inner = {"gre, all fields": TCP6, "erspan": UDP4}
    made = {
        name: Sample(bytes(_outer(proto=47) / tunnel), inner.get(name, TCP4), tunnel=Tunnel.GRE)
        for name, tunnel in gre.items()
    }
    return made | {
        "ipip": Sample(bytes(_outer() / TCP4), TCP4, tunnel=Tunnel.IPIP),
        "6in4": Sample(bytes(_outer() / TCP6), TCP6, tunnel=Tunnel.IPIP),
        "4in6": Sample(bytes(v6_outer / UDP4), UDP4, tunnel=Tunnel.IPIP),
        "6in6": Sample(bytes(v6_outer / UDP6), UDP6, tunnel=Tunnel.IPIP),
        "vxlan": Sample(_over_udp(4789, VXLAN(vni=5) / frame), TCP6, tunnel=Tunnel.VXLAN, vlan=3),
        "vxlan with a group": Sample(_over_udp(8472, b"\x88\0\0\7\0\0\5\0" + bytes(frame)), TCP6, 1, Tunnel.VXLAN, 3),
        "geneve ethernet": Sample(_over_udp(6081, GENEVE(proto=0x6558) / frame), TCP6, 1, Tunnel.GENEVE, 3),
        "geneve ip": Sample(_over_udp(6081, b"\1\0\x08\0\0\0\1\0" + bytes(4) + bytes(TCP4)), TCP4, 1, Tunnel.GENEVE),
        "teredo": Sample(_over_udp(3544, bytes(UDP6)), UDP6, tunnel=Tunnel.TEREDO),
        "teredo, indications": Sample(_over_udp(40000, authenticated, sport=3544), UDP6, tunnel=Tunnel.TEREDO),
        "gtp-u": Sample(_over_udp(2152, GTP_U_Header(teid=1) / TCP4), TCP4, tunnel=Tunnel.GTPU),
        "gtp-u, sequence": Sample(_over_udp(2152, GTP_U_Header(teid=1, S=1, seq=3) / TCP6), TCP6, 1, Tunnel.GTPU),
        "gtp-u, extension": Sample(_over_udp(2152, session), TCP4, tunnel=Tunnel.GTPU),
        "gre in vxlan": Sample(_over_udp(4789, VXLAN() / _outer(proto=47) / GRE() / TCP6), TCP6, tunnel=Tunnel.GRE),
    }
