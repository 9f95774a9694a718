"""Samples of link types, made by hand but for 802.11."""

import struct

from scapy.layers.dot11 import Dot11, Dot11QoS, RadioTap
from scapy.layers.l2 import LLC, SNAP
from scapy.packet import Packet, Raw

from tests.decode.decoding import TCP4, TCP6, UDP4, UDP6, Sample, ether

_MACS = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03", "02:00:00:00:00:04"
_TO, _FROM = 1, 2  # the distribution system


def llc(inner: Packet) -> Packet:
    """A packet in 802.2, as 802.11, FDDI and ATM have it."""
    return LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0, code=0x800 if inner.version == 4 else 0x86DD) / inner


def nflog(inner: Packet, order: str = "<", family: int = 2) -> bytes:
    """A packet with two of the attributes that come before it, and the one that is it."""
    header, payload, prefix = b"\x08\0\3\0", bytes(inner), b"drop: \0"
    attributes = (1, header), (10, prefix), (9, payload)
    made = bytes((family, 0, 0, 5))
    for kind, value in attributes:
        made += struct.pack(order + "HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
    return made


def _pflog(inner: Packet, length: int, family: int) -> bytes:
    return bytes((length, family)) + bytes((length + 3) // 4 * 4 - 2) + bytes(inner)


def _erf(kind: int, data: bytes, extensions: bytes = b"") -> bytes:
    size = 16 + len(extensions) + len(data)
    is_framed = kind in (2, 11, 16, 20)
    header = struct.pack(">BBHHH", kind, 4, size, 0, len(data) - 2 * is_framed)
    return bytes(8) + header + extensions + data


def wifi(inner: Packet, towards: int = _FROM, **fields: int) -> Packet:
    """A data frame of 802.11."""
    one, two, three, four = _MACS
    return Dot11(type=2, FCfield=towards, addr1=one, addr2=two, addr3=three, addr4=four, **fields) / inner


def _aggregated(inner: Packet) -> bytes:
    data = bytes(llc(inner))
    frame = bytes.fromhex("020000000001020000000002") + len(data).to_bytes(2, "big") + data
    return frame + bytes(-len(frame) % 4) + frame


def linked() -> dict[str, Sample]:
    """A frame for each link type by name."""
    nat = b"\0" * 20 + b"\xfe" * 20
    padded = b"\xaa\xaa\3\0\x80\xc2\0\1\0\0"
    macs = b"\2\0\0\0\0\1\2\0\0\0\0\2"
    return _wireless() | {
        "nflog": Sample(nflog(TCP4), TCP4, 239),
        "nflog, big-endian": Sample(nflog(TCP6, ">", 10), TCP6, 239),
        "nflog of a bridge": Sample(nflog(UDP4, family=7), UDP4, 239),
        "pflog": Sample(_pflog(TCP4, 61, 2), TCP4, 117),
        "pflog, ipv6": Sample(_pflog(TCP6, 100, 24), TCP6, 117),
        "ppi": Sample(b"\0\0\x08\0\1\0\0\0" + bytes(ether() / TCP4), TCP4, 192),
        "ppi, fields": Sample(b"\0\0\x10\0\x69\0\0\0" + b"\1\0\4\0abcd" + bytes(wifi(llc(UDP6))), UDP6, 192),
        "ppp with a direction": Sample(b"\1\xff\3\0\x21" + bytes(TCP4), TCP4, 204),
        "frame relay": Sample(b"\x18\x41\3\xcc" + bytes(TCP4), TCP4, 107),
        "frame relay, padded": Sample(b"\x18\x41\3\0\x8e" + bytes(TCP6), TCP6, 107),
        "frame relay, four bytes": Sample(b"\x18\x40\x20\x41\3\0\x80\0\0\0\x08\0" + bytes(UDP4), UDP4, 107),
        "frame relay, bridged": Sample(b"\x18\x41\3\0\x80\0\x80\xc2\0\7" + bytes(ether() / UDP4), UDP4, 107),
        "frame relay, cisco's": Sample(b"\x18\x41\x08\0" + bytes(TCP4), TCP4, 107),
        "fddi": Sample(b"\x50" + macs + bytes(llc(TCP6)), TCP6, 10),
        "atm": Sample(bytes(llc(TCP4)), TCP4, 100),
        "atm, bridged": Sample(padded + bytes(ether() / TCP4) + bytes(4), TCP4, 100),
        "atm, routed": Sample(b"\xfe\xfe\3\xcc" + bytes(UDP4), UDP4, 100),
        "enc": Sample(b"\2\0\0\0" + bytes(8) + bytes(TCP4), TCP4, 109),
        "enc, big-endian": Sample(b"\0\0\0\x18" + bytes(8) + bytes(TCP6), TCP6, 109),
        "ip over infiniband": Sample(nat + b"\x08\0\0\0" + bytes(TCP4), TCP4, 242),
        "erf": Sample(_erf(2, b"\0\0" + bytes(ether() / TCP4)), TCP4, 197),
        "erf, extended": Sample(_erf(0x82, b"\0\0" + bytes(ether() / TCP6), b"\x83" + bytes(7) + bytes(8)), TCP6, 197),
        "erf, sonet": Sample(_erf(1, b"\xff\3\0\x21" + bytes(UDP4)), UDP4, 197),
        "erf, ipv6": Sample(_erf(23, bytes(UDP6)), UDP6, 197),
        "pktap": Sample(b"\x6c\0\0\0\1\0\0\0\1\0\0\0" + bytes(96) + bytes(ether() / TCP4), TCP4, 258),
    }


def _wireless() -> dict[str, Sample]:
    plain, qos = wifi(llc(TCP4)), wifi(Dot11QoS(TID=5) / llc(TCP6), subtype=8)
    four = wifi(Dot11QoS() / llc(UDP4), _TO | _FROM, subtype=8)
    controlled = wifi(Raw(bytes(Dot11QoS()) + b"\1\2\3\4" + bytes(llc(TCP4))), 0x80 | _TO, subtype=8)
    aggregated = wifi(Dot11QoS(A_MSDU_Present=1) / Raw(_aggregated(TCP4)), subtype=8)
    gap = wifi(Dot11QoS() / Raw(b"\0\0" + bytes(llc(UDP6))), subtype=8)
    checked = RadioTap(present="TSFT+Flags", mac_timestamp=7, Flags="FCS") / Raw(bytes(qos) + b"fcs!")
    padded = RadioTap(present="Flags", Flags="pad") / gap
    aligned = b"\0\0\x19\0\3\0\0\x80" + bytes(4 + 4 + 8) + b"\x20"  # two words, a time and the flags
    prism = b"\0\0\0\x44\0\0\0\x90" + bytes(136)
    avs = b"\x80\x21\x10\1\0\0\0\x40" + bytes(56)
    return {
        "wlan": Sample(bytes(plain), TCP4, 105),
        "wlan, quality of service": Sample(bytes(qos), TCP6, 105),
        "wlan, four addresses": Sample(bytes(four), UDP4, 105),
        "wlan, high throughput": Sample(bytes(controlled), TCP4, 105),
        "wlan, aggregated": Sample(bytes(aggregated), TCP4, 105),
        "radiotap": Sample(bytes(RadioTap() / plain), TCP4, 127),
        "radiotap, a check sequence": Sample(bytes(checked), TCP6, 127),
        "radiotap, padding": Sample(bytes(padded), UDP6, 127),
        "radiotap, aligned": Sample(aligned + bytes(gap), UDP6, 127),
        "prism": Sample(prism + bytes(plain), TCP4, 119),
        "prism, little-endian": Sample(b"\x44\0\0\0\x90\0\0\0" + bytes(136) + bytes(plain), TCP4, 119),
        "avs": Sample(avs + bytes(qos), TCP6, 163),
    }
