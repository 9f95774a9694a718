"""Packets for the tests of flows, written as short scripts."""

import numpy as np

from sensor.address import to_words
from sensor.flows import EVENT, Event, FlowTable
from sensor.packet import ACK, FIN, PACKET, PROTO_ICMP, PROTO_SCTP, PROTO_TCP, PROTO_UDP, PSH, RST, SYN, URG, Kind

FLAGS = {"S": SYN, "A": ACK, "F": FIN, "R": RST, "P": PSH, "U": URG}
SECOND = 1_000_000_000

A, B = ("192.0.2.1", 40000), ("198.51.100.2", 443)


def packet(kind, src, dst, **fields):
    """One PACKET row from (address, port) to (address, port)."""
    row = np.zeros(1, PACKET)
    row["kind"], row["ttl"], row["window"] = kind, 64, 1000
    row["proto"] = {Kind.TCP: PROTO_TCP, Kind.UDP: PROTO_UDP, Kind.ICMP: PROTO_ICMP, Kind.SCTP: PROTO_SCTP}.get(kind, 0)
    row["src_hi"], row["src_lo"] = to_words(src[0])
    row["dst_hi"], row["dst_lo"] = to_words(dst[0])
    row["src_port"], row["dst_port"] = src[1], dst[1]
    for name, value in fields.items():
        row[name] = value
    return row


def tcp(flags, src=A, dst=B, seq=0, ack=0, length=0, **fields):
    """One TCP packet; `flags` as letters of SAFRPU."""
    bits = sum(FLAGS[letter] for letter in flags)
    return packet(Kind.TCP, src, dst, tcp_flags=bits, seq=seq, ack=ack, payload_len=length, **fields)


def talk(script, orig=A, resp=B):
    """A TCP conversation with right numbers: words such as `>S <SA >A >A+10 <F`, `>` from the originator.

    The originator's numbers begin at 1000, the responder's at 5000.
    """
    following = {">": 1000, "<": 5000}
    rows = []
    for word in script.split():
        side, (flags, _, length) = word[0], word[1:].partition("+")
        flags = flags.replace("0", "")
        length = int(length or 0)
        other = "<" if side == ">" else ">"
        ends = (orig, resp) if side == ">" else (resp, orig)
        ack = following[other] if "A" in flags else 0
        rows.append(tcp(flags, *ends, seq=following[side], ack=ack, length=length))
        following[side] += length * ("R" not in flags) + ("S" in flags) + ("F" in flags)
    return np.concatenate(rows)


def every(step, rows, start=0):
    """A packet clock that advances by `step` a packet."""
    return start + step * np.arange(len(rows), dtype=np.int64)


def run(table, rows, now, batch=None, finish=True):
    """All events of some packets, in batches."""
    batch = batch or max(len(rows), 1)
    events = []
    for at in range(0, len(rows), batch):
        events += [each.copy() for each in table.process(rows[at : at + batch], now[at : at + batch])]
    if finish:
        events += [each.copy() for each in table.finish()]
    return np.concatenate([np.zeros(0, EVENT), *events])


def names(events):
    """The events' names, in order."""
    return [Event(each).name.lower() for each in events["event"].tolist()]


def play(script, **options):
    """The events of a conversation, one packet a millisecond, to the end of input."""
    rows = talk(script, **options)
    return run(FlowTable(), rows, every(1_000_000, rows))
