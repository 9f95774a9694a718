"""The kernels give what the slow reference gives, whatever the packets, the batches, the buffer and the key."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensor.address import to_address
from sensor.flows import FlowOptions, FlowTable
from sensor.packet import Kind, Tunnel
from tests.flows.packets import SECOND, packet, run, tcp
from tests.flows.reference import Reference
from tests.flows.stories import stories

HOSTS = ["192.0.2.1", "198.51.100.2", "2001:db8::1", "224.0.0.251"]
OTHER_KINDS = [Kind.UDP, Kind.UDP, Kind.ICMP, Kind.SCTP, Kind.ARP, Kind.IP, Kind.FRAGMENT, Kind.REFUSED, Kind.WITNESS]
FLAG_SETS = [0x02, 0x12, 0x10, 0x18, 0x11, 0x01, 0x04, 0x14, 0x00, 0x29, 0x03, 0x06, 0x05, 0x07, 0x32, 0x13, 0x16, 0x15]
SEQS = [0, 1, 2, 99, 100, 101, 102, 2**20, 2**20 + 200, 2**31, 2**32 - 1]
NEAR = [0, 0, 0, 1, 2, 99, 100, 101, 102, 200, 300, -1, -100, 2**24, 2**24 + 1, -(2**24), 2**31]
TIMES = [0, 1, SECOND, 5 * SECOND - 1, 5 * SECOND, 60 * SECOND, 300 * SECOND - 1, 300 * SECOND]
COUNTED = ["flows", "not_flow", "arp_packets", "attempts_cut_short"]
COUNTED += ["tcp_acks", "tcp_acks_of_unseen", "tcp_bytes_unseen", "tcp_acks_wild"]
COUNTED += ["icmp_without_quote", "contacts_evicted", "flows_under_two_tags"]
COUNTED += ["evicted_half_open", "evicted_one_packet", "evicted_idle", "evicted_established"]
UNRELATED = "unrelated_ICMP_error"
CONTACTS = ["first_try", "connections", "orig_known", "may_be_reply", "tries", "steady", "reached", "controls"]
CONTACTS += ["is_controlled", "failed_before", "unproven"]
LAWS = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def end():
    return st.tuples(st.sampled_from(HOSTS[:2]), st.sampled_from([80, 40000]))


@st.composite
def tcp_packets(draw):
    row = packet(
        Kind.TCP,
        draw(end()),
        draw(end()),
        tcp_flags=draw(st.sampled_from(FLAG_SETS)),
        seq=draw(st.sampled_from(SEQS)),
        ack=draw(st.sampled_from(SEQS)),
        payload_len=draw(st.sampled_from([0, 0, 0, 1, 100])),
        window=draw(st.sampled_from([0, 1000, 1000])),
        tcp_options=draw(st.sampled_from([0, 20])),
        ttl=draw(st.integers(1, 255)),
        more=draw(st.sampled_from([0, 0, 0, 1])),
        ip_version=draw(st.sampled_from([0, 0, 0, 0, 0, 6])),
    )
    row["kind"] = draw(st.sampled_from([Kind.TCP] * 9 + [Kind.REST, Kind.TCP_CUT]))
    return row


@st.composite
def other_packets(draw):
    kind = draw(st.sampled_from(OTHER_KINDS))
    hosts, ports = st.sampled_from(HOSTS), st.sampled_from([53, 443, 3306, 32767, 32768, 50000])
    row = packet(kind, (draw(hosts), draw(ports)), (draw(hosts), draw(ports)), payload_len=draw(st.integers(0, 9)))
    row["group"] = draw(st.sampled_from([0, 0, 0, 1]))
    row["ip_version"] = draw(st.sampled_from([0, 0, 0, 0, 6]))
    row["tunnel"] = draw(st.sampled_from([0, 0, 0, Tunnel.VXLAN, Tunnel.MPLS]))
    if kind == Kind.IP:
        row["src_port"] = row["dst_port"] = 0
        row["proto"] = draw(st.sampled_from([0, 2, 47, 17]))
    if kind == Kind.SCTP:
        row["sctp_chunk"] = draw(st.sampled_from([0, 0, 1, 2, 3, 6, 7, 10]))
    if kind == Kind.ICMP:
        row["src_port"] = row["dst_port"] = 0
        row["proto"] = proto = draw(st.sampled_from([1, 58]))
        row["icmp_type"] = draw(st.sampled_from([0, 3, 8, 11, 13, 5] if proto == 1 else [1, 2, 3, 128, 129, 135]))
        row["icmp_code"] = draw(st.sampled_from([0, 1, 3, 4]))
        quoted = draw(other_packets().filter(lambda row: row["kind"][0] in (Kind.UDP, Kind.IP)))
        row["quoted_proto"] = quoted["proto"]
        for name in ("src_hi", "src_lo", "dst_hi", "dst_lo", "src_port", "dst_port"):
            row[f"quoted_{name}"] = quoted[name]
    if kind in (Kind.ICMP, Kind.UDP, Kind.SCTP) and draw(st.integers(0, 3)) == 0:
        row["kind"] = Kind.REST
    return row


@st.composite
def traffic(draw, kinds):
    rows = draw(st.lists(kinds, min_size=1, max_size=40))
    steps = draw(st.lists(st.sampled_from(TIMES), min_size=len(rows), max_size=len(rows)))
    return np.concatenate(rows), np.cumsum(steps).astype(np.int64)


def readable(events):
    """EVENT rows as the reference writes them."""
    rows = []
    for e in events:
        has_reporter = e["reporter_hi"] or e["reporter_lo"]
        ends = [(to_address(e[f"{end}_hi"], e[f"{end}_lo"]), int(e[f"{end}_p"])) for end in ("orig", "resp")]
        names = "duration orig_pkts resp_pkts orig_bytes resp_bytes orig_flags orig_options orig_ttl unreachable"
        numbers = [int(e[name]) for name in f"{names} time_exceeded".split()]
        reporter = to_address(e["reporter_hi"], e["reporter_lo"]) if has_reporter else None
        head = int(e["event"]), int(e["ts"]), *ends, int(e["proto"]), int(e["conn_state"]), e["history"].decode()
        tail = int(e["icmp_type"]), int(e["icmp_code"]), int(e["seen"]), {n: int(e[n]) for n in CONTACTS if e[n]}
        rows.append((*head, *numbers, reporter, *tail))
    return rows


def compare(rows, now, options, batch):
    slow = Reference(options)
    for row, time in zip(rows, now.tolist(), strict=True):
        slow.packet(row, time)
    slow.finish()
    fast = FlowTable(options, event_rows=10)
    found = readable(run(fast, rows, now, batch))
    for got, wanted in zip(found, slow.events, strict=False):
        assert got == wanted
    assert len(found) == len(slow.events)
    counted = {name: fast.counters[name] for name in COUNTED} | {UNRELATED: fast.weirds.get(UNRELATED, 0)}
    assert counted == {name: slow.counters[name] for name in counted}
    assert fast.counters["flows_open"] == 0


@settings(LAWS, max_examples=500)
@given(traffic(tcp_packets()), st.sampled_from([1, 3, None]))
def test_tcp_agrees_with_the_reference(packets, batch):
    compare(*packets, FlowOptions(), batch)


@st.composite
def opened(draw):
    """A connection that both ends have opened, and then packets with any numbers near what they have come to."""
    ends = (HOSTS[0], 40000), (HOSTS[1], 80)
    following = draw(st.sampled_from([[0, 0], [1000, 2**32 - 50], [2**31, 2**32 - 1]]))
    rows = [tcp("S", *ends, seq=following[0])]
    rows += [tcp("SA", *reversed(ends), seq=following[1], ack=(following[0] + 1) % 2**32)]
    following = [each + 1 for each in following]
    for _ in range(draw(st.integers(1, 30))):
        side, length = draw(st.integers(0, 1)), draw(st.sampled_from([0, 1, 100, 100]))
        seq = following[side] + draw(st.sampled_from(NEAR))
        ack = following[1 - side] + draw(st.sampled_from(NEAR))
        flags = draw(st.sampled_from(["A"] * 12 + ["", "FA", "RA", "SA"]))
        pair = ends if side == 0 else ends[::-1]
        more = draw(st.sampled_from([0, 0, 0, 1]))
        rows.append(tcp(flags, *pair, seq=seq % 2**32, ack=ack % 2**32, length=length, more=more))
        if draw(st.integers(0, 9)) == 0:
            rows[-1]["kind"] = Kind.REST
        if abs(seq - following[side]) < 2**20 or draw(st.booleans()):
            following[side] = max(following[side], seq + length)
    steps = [draw(st.sampled_from([0, 1, SECOND - 1, SECOND, SECOND // 2])) for _ in rows]
    return np.concatenate(rows), np.cumsum(steps).astype(np.int64)


@settings(LAWS, max_examples=600)
@given(opened(), st.sampled_from([1, 3, None]))
def test_what_is_acknowledged_agrees_with_the_reference(packets, batch):
    compare(*packets, FlowOptions(), batch)


@settings(LAWS, max_examples=150)
@given(traffic(st.one_of(other_packets(), tcp_packets())), st.sampled_from([1, 3, None]))
def test_every_kind_agrees_with_the_reference(packets, batch):
    compare(*packets, FlowOptions(), batch)


@pytest.mark.parametrize("capacity", [1 << 20, 8])
@pytest.mark.parametrize("contacts", [1 << 18, 8])
@settings(LAWS, max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([1, 3, None]))
def test_stories_of_days_agree_with_the_reference(capacity, contacts, seed, batch):
    compare(*stories(seed), FlowOptions(capacity=capacity, contacts=contacts), batch)


@settings(LAWS, max_examples=150)
@given(traffic(st.one_of(other_packets(), tcp_packets())), st.integers(1, 6), st.sampled_from([1, 3, None]))
def test_eviction_agrees_with_the_reference(packets, capacity, batch):
    compare(*packets, FlowOptions(capacity=capacity), batch)


def tagged(packets, draw, networks):
    """Packets, each in one of so many networks, of which the first has no name."""
    rows = packets[0].copy()
    which = np.random.default_rng(draw).integers(0, networks, len(rows))
    rows["vlan"], rows["tunnel_id"] = which % 2 * 10, which // 2 * 5000
    return rows, packets[1]


SOME = traffic(st.one_of(other_packets(), tcp_packets()))


@pytest.mark.parametrize("key", ["five_tuple", "network"])
@settings(LAWS, max_examples=200)
@given(SOME, st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 8), st.sampled_from([1, 3, None]))
def test_networks_agree_with_the_reference(key, packets, draw, networks, capacity, batch):
    compare(*tagged(packets, draw, networks), FlowOptions(key=key, capacity=capacity), batch)


@pytest.mark.parametrize("key", ["five_tuple", "network"])
@settings(LAWS, max_examples=60)
@given(opened(), st.integers(0, 2**32), st.sampled_from([1, 3, None]))
def test_networks_of_connections_agree_with_the_reference(key, packets, draw, batch):
    compare(*tagged(packets, draw, 3), FlowOptions(key=key), batch)


def test_a_thousand_flows_of_few_five_tuples_in_many_networks_agree_with_the_reference():
    """Enough to rehash, probe, evict and delete among neighbours, with up to three entries a flow."""
    draw = np.random.default_rng(2)
    rows = np.concatenate([packet(Kind.UDP, (HOSTS[0], 1), (HOSTS[1], 2)) for _ in range(3000)])
    rows["src_port"], rows["dst_port"] = draw.integers(1, 4, 3000), draw.integers(1, 4, 3000)
    swapped = draw.integers(0, 2, 3000) == 1
    for one, other in (("src_hi", "dst_hi"), ("src_lo", "dst_lo"), ("src_port", "dst_port")):
        rows[one][swapped], rows[other][swapped] = rows[other][swapped], rows[one][swapped]
    rows["vlan"], rows["tunnel_id"] = draw.integers(0, 20, 3000), draw.integers(0, 20, 3000)
    compare(rows, np.cumsum(draw.integers(0, SECOND // 5, 3000)), FlowOptions(capacity=1500, key="network"), 1000)


@settings(LAWS, max_examples=40)
@given(traffic(st.one_of(other_packets(), tcp_packets())))
def test_the_key_of_the_hash_changes_nothing(packets):
    keys = [np.array([1, 2], np.uint64), np.array([2**64 - 1, 7], np.uint64)]
    first, second = (run(FlowTable(FlowOptions(capacity=5), key=key), *packets) for key in keys)
    assert readable(first) == readable(second)


def test_a_thousand_flows_at_once_agree_with_the_reference():
    """Enough to rehash, probe, evict and delete among neighbours."""
    draw = np.random.default_rng(1)
    rows = np.concatenate([packet(Kind.UDP, (HOSTS[0], 1), (HOSTS[1], 2)) for _ in range(3000)])
    rows["src_port"], rows["dst_port"] = draw.integers(1, 40, 3000), draw.integers(1, 40, 3000)
    now = np.cumsum(draw.integers(0, SECOND // 5, 3000))
    compare(rows, now, FlowOptions(capacity=700), 1000)
