"""Captures that are made of recorded ones: seen in part, in one direction, with losses, or twice. Tests make them."""

import gzip
import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PCAPS = Path(__file__).parents[1] / "pcaps"
FILE_HEADER, RECORD_HEADER = 24, struct.Struct("<IIII")
IPV4 = b"\x08\x00"


@dataclass(frozen=True)
class Record:
    """A packet of a capture: when (in microseconds), what was kept of it, and how long it was."""

    ts: int
    frame: bytes
    wirelen: int

    @property
    def src(self) -> bytes:
        """The IPv4 source; empty where there is none."""
        return self.frame[26:30] if self.frame[12:14] == IPV4 else b""


Change = Callable[[list[Record]], list[Record]]


@dataclass(frozen=True)
class Derived:
    """A capture that is made of another, of which the same is right."""

    name: str
    folder: str
    base: str
    change: Change
    story: str
    why: str

    told: list[dict] | None = None
    """The alerts expected, where they are others than those of the base."""

    @property
    def alerts(self) -> list[dict]:
        """The alerts expected: those of the base."""
        if self.told is not None:
            return self.told
        return json.loads((PCAPS / self.folder / f"{self.base}.alerts.json").read_text())

    def make(self, path: Path) -> Path:
        """Write the capture to the path."""
        data = gzip.decompress((PCAPS / self.folder / f"{self.base}.pcap.gz").read_bytes())
        records = sorted(self.change(read(data)), key=lambda record: record.ts)
        path.write_bytes(data[:FILE_HEADER] + b"".join(map(packed, records)))
        return path


def read(data: bytes) -> list[Record]:
    """The packets of a little-endian pcap file, as tcpdump writes it here."""
    records, offset = [], FILE_HEADER
    while offset < len(data):
        seconds, micros, caplen, wirelen = RECORD_HEADER.unpack_from(data, offset)
        offset += RECORD_HEADER.size
        records.append(Record(seconds * 1_000_000 + micros, data[offset : offset + caplen], wirelen))
        offset += caplen
    return records


def packed(record: Record) -> bytes:
    """A packet as the file holds it."""
    return RECORD_HEADER.pack(*divmod(record.ts, 1_000_000), len(record.frame), record.wirelen) + record.frame


def sent_by(address: str) -> Change:
    """Only what this IPv4 address sent."""
    src = bytes(map(int, address.split(".")))
    return lambda records: [each for each in records if each.src == src]


def sent_to(address: str) -> Change:
    """Only what others sent."""
    src = bytes(map(int, address.split(".")))
    return lambda records: [each for each in records if each.src and each.src != src]


def after(share: float) -> Change:
    """Without the first part of the time."""

    def change(records: list[Record]) -> list[Record]:
        begin = records[0].ts + share * (records[-1].ts - records[0].ts)
        return [each for each in records if each.ts >= begin]

    return change


def lossy(share: float) -> Change:
    """Without this share of the packets, drawn with a seed."""

    def change(records: list[Record]) -> list[Record]:
        chance = random.Random(3)
        return [each for each in records if chance.random() >= share]

    return change


def twice(records: list[Record]) -> list[Record]:
    """Each packet two times, as a mirror of two ports shows it."""
    return [Record(each.ts + delay, each.frame, each.wirelen) for each in records for delay in (0, 2)]


def both_sides(records: list[Record]) -> list[Record]:
    """Each packet before a router and behind it, where it has a TTL less, each side with a VLAN tag of its own."""
    sides = [Record(each.ts, tagged(each.frame, 40), each.wirelen + 4) for each in records]
    return sides + [Record(each.ts + 30, tagged(routed(each.frame), 41), each.wirelen + 4) for each in records]


def tagged(frame: bytes, vlan: int) -> bytes:
    """The frame with an 802.1Q tag."""
    return frame[:12] + struct.pack(">HH", 0x8100, vlan) + frame[12:]


def routed(frame: bytes) -> bytes:
    """The frame with a TTL less, and the checksum that goes with it (RFC 1624)."""
    if frame[12:14] != IPV4:
        return frame
    total = int.from_bytes(frame[24:26], "big") + 0x0100
    checksum = (total & 0xFFFF) + (total >> 16)
    return frame[:22] + bytes([frame[22] - 1, frame[23]]) + checksum.to_bytes(2, "big") + frame[26:]


CLIENT, SCANNER = "192.0.2.20", "192.0.2.10"
ONE_WAY = "A mirror port or a route shows one direction only: that answers are not seen does not mean there were none."
LATE = "A sensor starts while connections last: their first packets have long passed."
LOSS = "A mirror port that is full loses packets, some of which are answers."
DOUBLE = "A sensor that sees two ports sees a packet twice."

DERIVED = [
    Derived("outgoing-browser", "ordinary", "browser-dead-ads", sent_by(CLIENT), "What the browser sent.", ONE_WAY),
    Derived("incoming-browser", "ordinary", "browser-dead-ads", sent_to(CLIENT), "What the browser was sent.", ONE_WAY),
    Derived("outgoing-proxy", "ordinary", "office-proxy", sent_by(CLIENT), "What the proxy sent.", ONE_WAY),
    Derived(
        "outgoing-prometheus",
        "ordinary",
        "prometheus-targets-down",
        sent_by(CLIENT),
        "What Prometheus sent to its targets.",
        ONE_WAY,
    ),
    Derived(
        "outgoing-resolver",
        "ordinary",
        "resolver-dead-authorities",
        sent_by("192.0.2.53"),
        "What the resolver sent, to servers and clients.",
        "Of half a minute of questions without any answers it cannot be told what they are: low is right.",
        [{"detection": "address_scan", "kind": "udp", "src": "192.0.2.53", "dst": None, "port": 53, "severity": "low"}],
    ),
    Derived("outgoing-home", "ordinary", "home-evening", sent_by(CLIENT), "What the house sent.", ONE_WAY),
    Derived("outgoing-server", "ordinary", "forged-clients", sent_by(CLIENT), "What the server answered.", ONE_WAY),
    Derived("incoming-fleet", "ordinary", "ssh-fleet", sent_to(CLIENT), "What the fleet answered.", ONE_WAY),
    Derived(
        "late-push-clients", "ordinary", "push-clients-gone", after(0.2), "Keep-alives to clients, from then on.", LATE
    ),
    Derived(
        "late-database-client", "ordinary", "database-client-restarted", after(0.5), "Keep-alives that are reset.", LATE
    ),
    Derived("late-pool", "ordinary", "pool-nat-restart", after(0.2), "What a NAT forgot, from then on.", LATE),
    Derived("late-broker", "ordinary", "broker-clients-gone", after(0.2), "FINs to clients, from then on.", LATE),
    Derived("late-vpn", "ordinary", "vpn-clients-gone", after(0.2), "Keep-alives of a VPN, from then on.", LATE),
    Derived("late-rtp", "ordinary", "rtp-ended", after(0.3), "Streams, and ICMP where they ended.", LATE),
    Derived("late-fleet", "ordinary", "ssh-fleet", after(0.3), "The rest of the log-ins.", LATE),
    Derived("lossy-browser", "ordinary", "browser-dead-ads", lossy(0.03), "3 % of the packets are lost.", LOSS),
    Derived(
        "lossy-resolver", "ordinary", "resolver-dead-authorities", lossy(0.03), "3 % of the packets are lost.", LOSS
    ),
    Derived("lossy-listings", "ordinary", "ftp-passive-empty", lossy(0.03), "3 % of the packets are lost.", LOSS),
    Derived("lossy-mirrors", "ordinary", "parallel-downloads", lossy(0.03), "3 % of the packets are lost.", LOSS),
    Derived("lossy-home", "ordinary", "home-evening", lossy(0.03), "3 % of the packets are lost.", LOSS),
    Derived("lossy-nat", "ordinary", "nat-gateway", lossy(0.03), "3 % of the packets are lost.", LOSS),
    Derived("both-sides-home", "ordinary", "home-evening", both_sides, "Both sides, in two VLANs.", DOUBLE),
    Derived("twice-quic", "ordinary", "quic-blocked", twice, "Each packet twice.", DOUBLE),
    Derived("twice-late-answers", "ordinary", "late-answers", twice, "Each packet twice.", DOUBLE),
    Derived(
        "both-sides-prometheus",
        "ordinary",
        "prometheus-targets-down",
        both_sides,
        "Both sides of the router, in two VLANs.",
        DOUBLE,
    ),
    Derived(
        "both-sides-proxy", "ordinary", "office-proxy", both_sides, "Both sides of the router, in two VLANs.", DOUBLE
    ),
    Derived(
        "outgoing-sweep",
        "attacks",
        "sweep-some-alive",
        sent_by(SCANNER),
        "Only what the scanner sent.",
        "It follows up none of its SYNs with data: whichever were answered, no service was used.",
    ),
    Derived(
        "late-shell-loop",
        "attacks",
        "shell-loop",
        after(0.3),
        "The sensor starts in the middle.",
        "What is left of a scan is one.",
    ),
    Derived(
        "lossy-shell-loop", "attacks", "shell-loop", lossy(0.03), "3 % of the packets are lost.", "Losses hide no scan."
    ),
    Derived(
        "lossy-ack-scan", "attacks", "ack-scan-from-80", lossy(0.03), "3 % of packets are lost.", "Losses hide no scan."
    ),
    Derived(
        "both-sides-sweep",
        "attacks",
        "sweep-some-alive",
        both_sides,
        "Both sides of the router, in two VLANs.",
        "One scan, seen twice, is one alert.",
    ),
    Derived(
        "twice-repeated-sweep",
        "attacks",
        "repeated-sweep",
        twice,
        "Each packet twice.",
        "One scan, seen twice, is one.",
    ),
]
"""What is derived; of each the same is right as of its base."""
