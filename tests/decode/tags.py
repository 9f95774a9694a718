"""Samples of tags, made by hand: Scapy has few of them."""

from scapy.contrib.nsh import NSH
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import LLC, SNAP, Dot1Q
from scapy.packet import Packet

from tests.decode.decoding import TCP4, TCP6, UDP4, V4, Sample, ether

SHORT = IP(**V4) / UDP(sport=50000, dport=53)
_IPV4 = b"\x08\0"
_ICV = bytes(range(16))


def _tag(ethertype: int, header: Packet | bytes, inner: Packet | bytes) -> bytes:
    return bytes(ether(type=ethertype)) + bytes(header) + bytes(inner)


def tagged() -> dict[str, Sample]:
    """A frame for each tag by name."""
    frame, jumbo = ether() / TCP4, LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0, code=0x86DD) / TCP6
    made = {
        "vn-tag": _tag(0x8926, b"\x80\1\0\2" + _IPV4, TCP4),
        "e-tag": _tag(0x893F, b"\0\0\x10\5\0\0" + _IPV4, TCP4),
        "cisco metadata": _tag(0x8909, b"\1\1\0\1\0\x0a" + _IPV4, TCP4),
        "ttag": _tag(0x8988, b"\1\2\3\4\5\6" + _IPV4, TCP4),
        "r-tag": _tag(0xF1C1, b"\0\0\0\7" + _IPV4, TCP4),
        "hsr": _tag(0x892F, b"\0\x40\0\7" + _IPV4, TCP4),
        "fabricpath, a check sequence": _tag(0x8903, b"\0\x50", bytes(frame) + bytes(4)),
        "trill": _tag(0x22F3, b"\0\x1e\0\1\0\2", frame),
        "trill, options": _tag(0x22F3, b"\0\x9e\0\1\0\2" + bytes(8), frame),
        "nsh, md type 1": _tag(0x894F, NSH(mdtype=1, nextproto=1, context_header=b"c" * 16), TCP4),
        "nsh, md type 2": _tag(0x894F, b"\x0f\xc4\2\3\0\0\1\xff\1\0\1\4meta", frame),
        "nsh in nsh": _tag(0x894F, b"\x0f\xc2\2\4" + bytes(4) + b"\x0f\xc2\2\1" + bytes(4), TCP4),
        "macsec": _tag(0x88E5, b"\0\0\0\0\0\1" + _IPV4, bytes(TCP4) + _ICV),
        "macsec, an identifier": _tag(0x88E5, b"\x20\0\0\0\0\1" + b"ABCDEF\0\1" + _IPV4, bytes(TCP4) + _ICV),
    }
    samples = {name: Sample(each, TCP4) for name, each in made.items()}
    return samples | {
        "vn-tag, then 802.1q": Sample(_tag(0x8926, bytes(4) + b"\x81\0", Dot1Q(vlan=6) / TCP6), TCP6, vlan=6),
        "802.1ah": Sample(_tag(0x88A8, b"\0\x4d\x88\xe7" + b"\0\0\x12\x34", frame), TCP4, vlan=77),
        "0x9200": Sample(_tag(0x9200, b"\0\5" + _IPV4, UDP4), UDP4, vlan=5),
        "0x9300": Sample(_tag(0x9300, b"\0\6\x81\0", Dot1Q(vlan=7) / UDP4), UDP4, vlan=6),
        "802.2 of a jumbo frame": Sample(_tag(0x8870, b"", jumbo), TCP6),
        "macsec, short": Sample(_tag(0x88E5, b"\0\x1e\0\0\0\1" + _IPV4, bytes(SHORT) + _ICV + bytes(20)), SHORT),
        "nsh, ipv6": Sample(_tag(0x894F, NSH(mdtype=1, nextproto=2), TCP6), TCP6),
    }
