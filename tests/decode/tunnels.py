"""Samples of tunnels."""

from scapy.contrib.erspan import ERSPAN_II, ERSPAN_III
from scapy.contrib.geneve import GENEVE
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import GRE
from scapy.layers.inet6 import IPv6, IPv6ExtHdrSegmentRouting
from scapy.layers.l2 import GRE_PPTP, Dot1Q
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from sensor.packet import Tunnel
from tests.decode.decoding import TCP4, TCP6, UDP4, UDP6, Sample, ether, outer, over_udp
from tests.decode.links import llc, wifi

_NEXT: tuple[dict[str, int], ...] = {}, {"nh": 143}


def _over_udp() -> dict[str, Sample]:
    frame, ppp = ether() / TCP4, b"\xff\3\0\x21" + bytes(TCP4)
    nsh = b"\x0f\xc2\2\1" + bytes(4)
    version3, cookie = b"\0\3\0\0\0\0\0\7", b"\1\2\3\4"
    made = {
        "vxlan-gpe, ipv4": (4790, b"\x0c\0\0\1\0\0\5\0" + bytes(TCP4), Tunnel.VXLAN),
        "vxlan-gpe, ethernet": (4790, b"\x0c\0\0\3\0\0\5\0" + bytes(frame), Tunnel.VXLAN),
        "vxlan-gpe, nsh": (4790, b"\x0c\0\0\4\0\0\5\0" + nsh + bytes(TCP4), Tunnel.VXLAN),
        "gre over udp": (4754, bytes(GRE() / TCP4), Tunnel.GRE_IN_UDP),
        "mpls over udp": (6635, bytes(MPLS(label=20, s=0) / MPLS(label=21, s=1)) + bytes(TCP4), Tunnel.MPLS),
        "pseudowire over udp": (6635, bytes(MPLS(label=21, s=1)) + bytes(4) + bytes(frame), Tunnel.MPLS),
        "lisp": (4341, b"\x88\0\0\0\0\0\7\1" + bytes(TCP4), Tunnel.LISP),
        "l2tp": (1701, b"\0\2\0\5\0\6" + ppp, Tunnel.L2TP),
        "l2tp, all fields": (1701, b"\x4a\2\0\x44\0\5\0\6" + bytes(4) + b"\0\2??" + ppp, Tunnel.L2TP),
        "l2tp, no address": (1701, b"\0\2\0\5\0\6" + ppp[2:], Tunnel.L2TP),
        "l2tp 3": (1701, version3 + bytes(frame), Tunnel.L2TP),
        "l2tp 3, sublayer": (1701, version3 + bytes(4) + bytes(frame), Tunnel.L2TP),
        "l2tp 3, cookie": (1701, version3 + 2 * cookie + bytes(4) + bytes(frame), Tunnel.L2TP),
        "tzsp": (37008, b"\1\0\0\1\1" + bytes(frame), Tunnel.TZSP),
        "tzsp, fields": (37008, b"\1\1\0\1\0\x0a\1\xd0\x29\2\0\x3e\1" + bytes(frame), Tunnel.TZSP),
        "tzsp, wlan": (37008, b"\1\0\0\x12\1" + bytes(wifi(llc(TCP4))), Tunnel.TZSP),
    }
    samples = {name: Sample(over_udp(port, data), TCP4, tunnel=kind) for name, (port, data, kind) in made.items()}
    mirrored = b"\1\2\3\4\5\6\7\x08\0\x64\0\0" + bytes(frame)
    samples["l2tp, the other way"] = Sample(over_udp(40000, made["l2tp"][1], sport=1701), TCP4, tunnel=Tunnel.L2TP)
    return samples | {"hp erm": Sample(over_udp(7932, mirrored, sport=61112), TCP4, tunnel=Tunnel.HP_ERM)}


def _over_ip() -> dict[str, Sample]:
    frame, v6_outer = ether() / TCP4, ether() / IPv6(src="2001:db8:1::1", dst="2001:db8:1::2")
    segments, bare = (IPv6ExtHdrSegmentRouting(addresses=["2001:db8::7"] * 2, segleft=1, **each) for each in _NEXT)
    made = {
        "mpls in ip": (outer(proto=137) / MPLS(label=20, s=1) / TCP4, Tunnel.MPLS),
        "ethernet in ip": (outer(proto=97) / Raw(b"\x30\0" + bytes(frame)), Tunnel.ETHERIP),
        "l2tp 3 in ip": (outer(proto=115) / Raw(b"\0\0\0\7" + bytes(4) + bytes(frame)), Tunnel.L2TP),
        "segment routing, ipv4": (v6_outer / segments / TCP4, Tunnel.IPIP),
        "segment routing, ethernet": (v6_outer / bare / Raw(bytes(frame)), Tunnel.ETHERIP),
    }
    return {name: Sample(bytes(packet), TCP4, tunnel=kind) for name, (packet, kind) in made.items()}


def tunnelled() -> dict[str, Sample]:
    """A frame for each tunnel by name."""
    frame = ether() / Dot1Q(vlan=3) / TCP6
    ttag = bytes(ether(type=0x8988)) + b"\1\2\3\4\5\6\x08\0" + bytes(TCP4)
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
        "nvgre": GRE(proto=0x6558, key_present=1, key=0x123456) / ether() / TCP4,
        "erspan ii, ttag": GRE(proto=0x88BE, seqnum_present=1) / ERSPAN_II() / Raw(ttag),
        "erspan iii, subheader": GRE(proto=0x22EB, seqnum_present=1) / ERSPAN_III(o=1) / Raw(bytes(8) + ttag),
        "erspan iii, ip": GRE(proto=0x22EB, seqnum_present=1) / ERSPAN_III(ft=2, p=1) / Raw(bytes(TCP4)),
        "wccp": GRE(proto=0x883E) / Raw(bytes(TCP4)),
        "wccp, version 2": GRE(proto=0x883E) / Raw(b"\x80\1\0\5" + bytes(TCP4)),
        "eoip": Raw(b"\x20\1\x64\0\0\x3e\x2a\0" + bytes(ether() / TCP4) + bytes(4)),
        "gre frame relay": GRE(proto=0x6559) / Raw(b"\x18\x41\3\xcc" + bytes(TCP4)),
        "gre of an access point": GRE(proto=0x8210) / Raw(bytes(wifi(llc(TCP4)))),
    }
    inner = {"gre, all fields": TCP6, "erspan": UDP4}
    made = {
        name: Sample(bytes(outer(proto=47) / tunnel), inner.get(name, TCP4), tunnel=Tunnel.GRE)
        for name, tunnel in gre.items()
    }
    return (
        made
        | _over_udp()
        | _over_ip()
        | {
            "ipip": Sample(bytes(outer() / TCP4), TCP4, tunnel=Tunnel.IPIP),
            "6in4": Sample(bytes(outer() / TCP6), TCP6, tunnel=Tunnel.IPIP),
            "4in6": Sample(bytes(v6_outer / UDP4), UDP4, tunnel=Tunnel.IPIP),
            "6in6": Sample(bytes(v6_outer / UDP6), UDP6, tunnel=Tunnel.IPIP),
            "vxlan": Sample(over_udp(4789, VXLAN(vni=5) / frame), TCP6, tunnel=Tunnel.VXLAN, vlan=3),
            "vxlan with a group": Sample(
                over_udp(8472, b"\x88\0\0\7\0\0\5\0" + bytes(frame)), TCP6, 1, Tunnel.VXLAN, 3
            ),
            "geneve ethernet": Sample(over_udp(6081, GENEVE(proto=0x6558) / frame), TCP6, 1, Tunnel.GENEVE, 3),
            "geneve ip": Sample(over_udp(6081, b"\1\0\x08\0\0\0\1\0" + bytes(4) + bytes(TCP4)), TCP4, 1, Tunnel.GENEVE),
            "teredo": Sample(over_udp(3544, bytes(UDP6)), UDP6, tunnel=Tunnel.TEREDO),
            "teredo, indications": Sample(over_udp(40000, authenticated, sport=3544), UDP6, tunnel=Tunnel.TEREDO),
            "gtp-u": Sample(over_udp(2152, GTP_U_Header(teid=1) / TCP4), TCP4, tunnel=Tunnel.GTPU),
            "gtp-u, sequence": Sample(over_udp(2152, GTP_U_Header(teid=1, S=1, seq=3) / TCP6), TCP6, 1, Tunnel.GTPU),
            "gtp-u, extension": Sample(over_udp(2152, session), TCP4, tunnel=Tunnel.GTPU),
            "gre in vxlan": Sample(over_udp(4789, VXLAN() / outer(proto=47) / GRE() / TCP6), TCP6, tunnel=Tunnel.GRE),
        }
    )
