"""Capture files made byte by byte from the formats' descriptions, and what is read from them as plain tuples."""

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from sensor.capture import Savefiles, open_savefiles

SECOND = 10**9


class Packet(NamedTuple):
    ts: int
    data: bytes
    wirelen: int
    linktype: int = 1
    interface: int = 0


def packets(count: int, *, start: int = 1_700_000_000 * SECOND, step: int = 1_001_000, size: int = 60) -> list[Packet]:
    """Packets that differ in time, length and content; every third is cut by a snaplen."""
    made = []
    for i in range(count):
        data = bytes((i + j) % 251 for j in range(size + i % 5))
        made.append(Packet(start + i * step, data, len(data) + (40 if i % 3 == 0 else 0)))
    return made


def pcap_header(
    order: str = "<", magic: int = 0xA1B2C3D4, version: tuple[int, int] = (2, 4), linktype: int = 1
) -> bytes:
    return struct.pack(order + "IHHiIII", magic, *version, 0, 0, 262144, linktype)


def pcap_record(packet: Packet, order: str = "<", unit: int = 1000, *, is_longer: bool = False) -> bytes:
    seconds, ns = divmod(packet.ts, SECOND)
    more = struct.pack(order + "IHBx", 2, 0x0800, 4) if is_longer else b""
    return struct.pack(order + "IIII", seconds, ns // unit, len(packet.data), packet.wirelen) + more + packet.data


def pcap(made: Iterable[Packet], order: str = "<", *, nano: bool = False, is_longer: bool = False) -> bytes:
    """`is_longer`: with Kuznetzov's record headers."""
    header = pcap_header(order, 0xA1B2CD34 if is_longer else 0xA1B23C4D if nano else 0xA1B2C3D4)
    return header + b"".join(pcap_record(packet, order, 1 if nano else 1000, is_longer=is_longer) for packet in made)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body = padded(body)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def section(order: str = "<", version: int = 1) -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, version, 0, -1), order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + padded(value)


def interface(order: str = "<", *, linktype: int = 1, snaplen: int = 0, options: bytes = b"") -> bytes:
    return block(1, struct.pack(order + "HHI", linktype, 0, snaplen) + options, order)


def enhanced(
    packet: Packet, order: str = "<", *, ticks: int | None = None, which: int = 0, options: bytes = b""
) -> bytes:
    ticks = packet.ts // 1000 if ticks is None else ticks
    head = struct.pack(order + "IIIII", which, ticks >> 32, ticks & 0xFFFFFFFF, len(packet.data), packet.wirelen)
    return block(6, head + padded(packet.data) + options, order)


def simple(data: bytes, wirelen: int, order: str = "<") -> bytes:
    return block(3, struct.pack(order + "I", wirelen) + data, order)


def obsolete(packet: Packet, order: str = "<", *, which: int = 0) -> bytes:
    ticks = packet.ts // 1000
    head = struct.pack(order + "HHIIII", which, 7, ticks >> 32, ticks & 0xFFFFFFFF, len(packet.data), packet.wirelen)
    return block(2, head + packet.data, order)


def pcapng(made: Iterable[Packet], order: str = "<") -> bytes:
    return section(order) + interface(order) + b"".join(enhanced(packet, order) for packet in made)


def taken(source: Savefiles, size: int = 16384) -> list[Packet]:
    """Everything a source gives, copied out block by block."""
    found = []
    for each in source.blocks(size):
        assert 0 < len(each.frames) <= size
        for frame in each.frames:
            data = each.buffers[frame["buffer"]][frame["offset"] : frame["offset"] + frame["caplen"]].tobytes()
            assert len(data) == frame["caplen"]
            found.append(Packet(int(frame["ts"]), data, *(int(frame[f]) for f in ("wirelen", "linktype", "interface"))))
    return found


def read(*paths: Path | str, size: int = 16384) -> tuple[list[Packet], Savefiles]:
    """All packets of some files, and the source when it is done."""
    with open_savefiles([str(path) for path in paths]) as source:
        return taken(source, size), source


def boundaries(start: int, sizes: Sequence[int]) -> list[int]:
    """Where records of these sizes end, if the first begins at `start`."""
    ends = []
    for size in sizes:
        start += size
        ends.append(start)
    return ends
