"""Traffic that makes sense, by seed: what a few hosts say to each other over days, some of it seen in part."""

import random

import numpy as np

from sensor.packet import Kind
from tests.flows.packets import SECOND, packet, talk

HOSTS = ["192.0.2.1", "198.51.100.2", "2001:db8::1"]
SERVICES, CLIENTS = [53, 80, 3000, 40000], [123, 1025, 50000, 50001]
TALKS = [">S", ">S", ">S <RA", ">S <SA", ">S <SA >A >A+10 <A+20 >FA <FA", ">S <SA >A >A+1 <A+1", ">S <SA >A >A+1 <A+1"]
TALKS += [">S >A >A+10 >A+10", ">S >A <RA", ">S >A+5 <SA <A+7 >RA", "<SA <A+20 >A+5", ">A+10 <A+5", "<A+10 >A"]
TALKS += [">A", "<A", ">F", "<RA", ">R", ">S >FA", ">S <SA >A >A+1 <A+1 <RA"]
CHUNKS = [">1 <2 >10 <11 >0 <3", ">1 <6", "<2", ">0 <0", ">0", "<3", ">1 >1", ">0 >7"]
BRIEF = [0, 1, SECOND // 100, SECOND, 3 * SECOND, 3 * SECOND + 1, 11 * SECOND, 30 * SECOND, 30 * SECOND + 1]
GAPS = [2 * SECOND, 3 * SECOND, 3 * SECOND + 1, 60 * SECOND, 3600 * SECOND, 86400 * SECOND, 86400 * SECOND + 1]
ASKED = [("239.255.255.250", 1900, 0), ("255.255.255.255", 3702, 0), ("198.51.100.255", 137, 1)]


def story(draw, at):
    """What one host does at a time, once or again and again: (time, row) of each packet."""
    kind, hosts = (
        draw.choice([tcp, tcp, tcp, datagrams, datagrams, stream, sctp, tunnel, to_many]),
        draw.sample(HOSTS, 2),
    )
    service, gap, sent = draw.choice(SERVICES), draw.choice(GAPS), []
    for _ in range(draw.choice([1, 1, 1, 2, 4, 5])):
        rows = kind(draw, (hosts[0], draw.choice(CLIENTS)), (hosts[1], service))
        pace = draw.choice(BRIEF if kind in (tcp, datagrams, to_many) else BRIEF[:5])
        sent += [(at + number * pace, rows[number : number + 1]) for number in range(len(rows))]
        at += draw.choice([gap, gap, gap, gap * 5 // 4, gap * 3 // 2, gap * 2, gap // 2])
    return sent


def tcp(draw, orig, resp):
    return talk(draw.choice(TALKS), orig, resp)


def datagrams(draw, orig, resp):
    return spoken(Kind.UDP, draw.choice([">", "> <", "<", "> > < <", "> <", "< >"]), orig, resp)


def stream(draw, orig, resp):
    return spoken(Kind.UDP, " ".join([draw.choice("><")] * draw.choice([9, 10, 11, 30])), orig, resp)


def sctp(draw, orig, resp):
    return spoken(Kind.SCTP, draw.choice(CHUNKS), orig, resp)


def tunnel(draw, orig, resp):
    rows = spoken(Kind.IP, draw.choice(["> <", "< >", ">", "> > >"]), (orig[0], 0), (resp[0], 0))
    rows["proto"] = draw.choice([0, 47])
    return rows


def to_many(draw, orig, resp):
    """A question to all, and an answer by a port of the answerer's own."""
    address, port, group = draw.choice(ASKED)
    ask = packet(draw.choice([Kind.UDP, Kind.UDP, Kind.WITNESS]), orig, (address, port), proto=17, group=group)
    return np.concatenate([ask, spoken(Kind.UDP, draw.choice(["< >", "<", "< <"]), orig, resp)])


def spoken(kind, script, orig, resp):
    """Packets of a script such as `>1 <2`: who sends, and the chunk."""
    rows = []
    for word in script.split():
        ends = (orig, resp) if word[0] == ">" else (resp, orig)
        rows.append(packet(kind, *ends, sctp_chunk=int(word[1:] or 0), payload_len=5))
    return np.concatenate(rows)


def error(draw, row):
    """An ICMP error about a packet, from its receiver or from somebody."""
    quoted = row[0]
    kind, code, proto = draw.choice([(3, 3, 1), (3, 4, 1), (11, 0, 1), (1, 4, 58), (3, 0, 58)])
    found = packet(Kind.ICMP, ("203.0.113.1", 0), (HOSTS[0], 0), icmp_type=kind, icmp_code=code, proto=proto)
    found["dst_hi"], found["dst_lo"] = quoted["src_hi"], quoted["src_lo"]
    for name in ("src_hi", "src_lo", "dst_hi", "dst_lo", "src_port", "dst_port"):
        found[f"quoted_{name}"] = quoted[name]
    found["quoted_proto"] = quoted["proto"]
    return found


def stories(seed, many=20):
    """PACKET rows and the packet clock at each."""
    draw, sent = random.Random(seed), []
    for _ in range(many):
        at = draw.choice([0, 5 * SECOND, 9 * SECOND, 60 * SECOND, 400 * SECOND, 86400 * SECOND, 86401 * SECOND])
        sent += story(draw, at + draw.choice(BRIEF))
    sent += [(at + draw.choice(BRIEF), error(draw, row)) for at, row in sent if draw.random() < 0.1]
    sent.sort(key=lambda each: each[0])
    return np.concatenate([row for _, row in sent]), np.array([at for at, _ in sent], np.int64)
