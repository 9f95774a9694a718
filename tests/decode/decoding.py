"""Blocks of frames made by hand, a decoder's answer as rows, and what samples are made of."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from sensor.decode import Decoder
from sensor.packet import FRAME, PACKET, Block, Tunnel
from sensor.weird import Weird

ETHERNET = 1
LINKTYPES = (0, 1, 9, 10, 12, 14, 50, 51, 100, 101, 104, 105, 107, 108, 109, 113, 117, 119, 127, 163, 192, 197, 204)
LINKTYPES += (228, 229, 239, 242, 258, 276)
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


def outer(**fields: int) -> Packet:
    """The headers around a tunnel."""
    return ether() / IP(src="203.0.113.1", dst="203.0.113.2", **fields)


def over_udp(port: int, inner: Packet | bytes, sport: int = 61111) -> bytes:
    """A frame of a tunnel over UDP."""
    return bytes(outer() / UDP(sport=sport, dport=port) / inner)
