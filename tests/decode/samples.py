"""A sample of every layer, made with Scapy, or by hand where it has none."""

from scapy.contrib.mpls import MPLS
from scapy.layers.inet import ICMP, IP, IPOption
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
from scapy.layers.l2 import ARP, LLC, SNAP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Dot3
from scapy.layers.ppp import HDLC, PPP, PPPoE
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

from tests.decode.decoding import SYN, TCP4, TCP6, UDP4, UDP6, V4, V6, Sample, ether
from tests.decode.links import linked
from tests.decode.tags import tagged
from tests.decode.tunnels import tunnelled


def _pppoe(inner: Packet, protocol: int) -> Packet:
    return PPPoE(sessionid=9) / PPP(proto=protocol) / inner


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
        **linked(),
        **tagged(),
        **tunnelled(),
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
