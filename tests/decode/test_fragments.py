"""Fragments become datagrams: once, whatever their order and however the packets were cut into blocks."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import GRE, ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.packet import Raw

from sensor.decode import Decoder
from sensor.packet import Block, Kind, Tunnel
from sensor.weird import Weird
from tests.decode.decoding import V4, V6, block_of, decode, ether, in_parts, told, weirds_of

SECOND = 10**9


def piece4(data, offset, more, *, ident=7, proto=6, src=V4["src"]):
    fields = {"src": src, "dst": V4["dst"], "id": ident, "proto": proto, "frag": offset // 8, "flags": int(more)}
    return bytes(ether() / IP(**fields) / Raw(data))


def piece6(data, offset, more, *, ident=7, proto=6, src=V6["src"]):
    header = IPv6ExtHdrFragment(nh=proto, offset=offset // 8, m=int(more), id=ident)
    return bytes(ether() / IPv6(src=src, dst=V6["dst"]) / header / Raw(data))


def cut(data, size, make, **fields):
    """A datagram's payload as fragments of `size` bytes."""
    starts = range(0, len(data), size)
    return [make(data[at : at + size], at, at + size < len(data), **fields) for at in starts]


def run(frames, size=None, **options):
    decoder = Decoder(**options)
    block = block_of(frames)
    parts = in_parts(block, size or max(len(frames), 1))
    return decoder, np.concatenate([decoder.decode(each).copy() for each in parts])


def kinds(rows):
    return [Kind(each) for each in rows["kind"]]


SEGMENT = bytes(TCP(sport=40000, dport=443, flags="S", seq=9) / Raw(b"0123456789abcdef!"))  # 37 bytes
MAKERS = pytest.mark.parametrize("make", [piece4, piece6])


@MAKERS
@pytest.mark.parametrize("size", [8, 16])
def test_a_segment_in_tiny_fragments_is_seen_once_in_any_order(make, size):
    """RFC 1858: a first fragment too short for the flags must not hide them."""
    for order in itertools.permutations(cut(SEGMENT, size, make)):
        _, rows = run(order)
        assert kinds(rows) == [Kind.FRAGMENT] * (len(order) - 1) + [Kind.TCP]
        assert weirds_of(rows[-1]) == set()
        last = {
            name: int(rows[-1][name]) for name in ("src_port", "dst_port", "tcp_flags", "seq", "payload_len", "proto")
        }
        expected = {"src_port": 40000, "dst_port": 443, "tcp_flags": 2, "seq": 9, "payload_len": 17, "proto": 6}
        assert last == expected and rows[-1]["payload"] == rows[-1]["caplen"]


@MAKERS
def test_a_first_fragment_that_shows_its_transport_is_told_at_once_and_the_rest_when_it_is_whole(make):
    first, second = cut(SEGMENT, 24, make)
    decoder, rows = run([first, second])
    assert (kinds(rows), rows["payload_len"].tolist()) == ([Kind.TCP, Kind.REST], [4, 13])
    assert (rows["more"].tolist(), rows["seq"].tolist(), rows["tcp_flags"].tolist()) == ([1, 0], [9, 9 + 1 + 4], [2, 0])
    assert (rows["src_port"] == 40000).all() and (rows["dst_port"] == 443).all()
    assert decoder.fragment_counters["datagrams_reassembled"] == 1
    _, rows = run([second, first])
    assert (kinds(rows), rows[1]["payload_len"], rows[1]["more"]) == ([Kind.FRAGMENT, Kind.TCP], 17, 0)


@MAKERS
def test_a_first_fragment_that_comes_twice_is_told_once(make):
    first, second = cut(SEGMENT, 24, make)
    _, rows = run([first, first, second])
    assert kinds(rows) == [Kind.TCP, Kind.FRAGMENT, Kind.REST]
    assert rows["payload_len"][[0, 2]].tolist() == [4, 13]


def test_a_longer_first_fragment_after_a_shorter_one_is_told_once():
    pieces = [piece4(SEGMENT[:24], 0, True), piece4(SEGMENT[:32], 0, True), piece4(SEGMENT[32:], 32, False)]
    _, rows = run(pieces)
    assert (kinds(rows), rows["payload_len"][[0, 2]].tolist()) == ([Kind.TCP, Kind.FRAGMENT, Kind.REST], [4, 13])


def test_first_fragments_that_differ_are_both_told_and_the_rest_is_not():
    """So no probe can hide behind the identification of another."""
    other = bytes(TCP(sport=40000, dport=22, flags="S", seq=9) / Raw(b"0123456789abcdef!"))
    _, rows = run([*cut(SEGMENT, 24, piece4)[:1], *cut(other, 24, piece4)])
    assert (kinds(rows), rows["dst_port"].tolist()) == ([Kind.TCP, Kind.TCP, Kind.FRAGMENT], [443, 22, 0])


TRANSPORTS = {
    Kind.TCP: (6, TCP(sport=5, dport=6, flags="FA", seq=2**32 - 50)),
    Kind.UDP: (17, UDP(sport=5, dport=6)),
    Kind.ICMP: (1, ICMP(type=8)),
}


@given(st.data())
@settings(derandomize=True, deadline=None, max_examples=150)
def test_whatever_the_fragments_each_byte_of_a_whole_datagram_is_told_once(data):
    kind = data.draw(st.sampled_from(sorted(TRANSPORTS)))
    proto, header = TRANSPORTS[kind]
    whole = bytes(header / Raw(bytes(data.draw(st.integers(0, 300)))))
    units = (len(whole) + 7) // 8
    spans = data.draw(st.lists(st.tuples(st.integers(0, units - 1), st.integers(1, 12)), max_size=6))
    step = data.draw(st.integers(1, units))
    spans = data.draw(st.permutations(spans + [(at, step) for at in range(0, units, step)]))
    if units == step:  # no fragment
        return
    frames, held = [], set()
    for at, size in spans:
        if (at, at + size) != (0, units) and not (at == 0 and size >= units):
            frames.append(piece4(whole[8 * at : 8 * (at + size)], 8 * at, at + size < units, proto=proto))
            held |= set(range(at, min(at + size, units)))
            if len(held) == units:
                break
    if len(held) < units:
        return
    _, rows = run(frames)
    told = rows[(rows["kind"] == kind) | (rows["kind"] == Kind.REST)]
    assert (rows["kind"] == kind).sum() == 1
    assert told["payload_len"].sum() == len(whole) - len(bytes(header))
    if kind == Kind.TCP:
        ends = (told["seq"].astype(np.int64) + told["payload_len"]) % 2**32
        assert told["seq"][0] == 2**32 - 50 and (told["seq"][1:] == ends[:-1]).all()
        assert (told["tcp_flags"] == 0x11).all() and told["more"].tolist() == [1, 0][-len(told) :]


@MAKERS
def test_of_a_datagram_that_is_never_whole_what_the_first_fragment_has_is_told(make):
    pieces = cut(SEGMENT, 24, make)
    _, rows = run([pieces[0], pieces[0]])
    assert (kinds(rows), rows[0]["payload_len"]) == ([Kind.TCP, Kind.FRAGMENT], 4)


@MAKERS
@pytest.mark.parametrize("snaplen", [96, 500])
def test_fragments_that_the_snap_length_cut_are_counted_whole(make, snaplen):
    data = bytes(UDP(sport=5, dport=6, len=3008)) + bytes(range(250)) * 12
    for order in itertools.permutations(cut(data, 1480, make, proto=17)):
        decoder = Decoder()
        rows = decoder.decode(block_of(list(order), snaplen=snaplen))
        assert rows["payload_len"][(rows["kind"] == Kind.UDP) | (rows["kind"] == Kind.REST)].sum() == 3000
        assert (rows["kind"] == Kind.UDP).sum() == 1 and decoder.weirds == {}
        counters = decoder.fragment_counters
        assert (counters["datagrams_waiting"], counters["datagrams_reassembled"]) == (0, 0)
        assert counters["fragments_cut"] == sum(len(frame) > snaplen for frame in order)


def test_first_fragments_that_were_cut_are_all_told_as_they_may_differ():
    other = bytes(TCP(sport=40000, dport=22, flags="S", seq=9) / Raw(bytes(100)))
    first = bytes(TCP(sport=40000, dport=443, flags="S", seq=9) / Raw(bytes(100)))
    frames = [cut(each, 80, piece4)[0] for each in (first, other)]
    assert Decoder().decode(block_of(frames, snaplen=60))["dst_port"].tolist() == [443, 22]


def test_a_fragment_tells_its_own_addresses_and_length_and_no_ports():
    row = decode([piece4(b"x" * 16, 8, True)])[0]
    assert (row["kind"], row["proto"], row["payload_len"], row["ttl"]) == (Kind.FRAGMENT, 6, 16, 64)
    assert not {"src_port", "dst_port", "tcp_flags"} & told(row).keys()


@MAKERS
def test_a_tunnel_in_fragments_is_followed_when_it_is_whole(make):
    inner = bytes(GRE(proto=0x800) / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=5, dport=6) / Raw(bytes(100)))
    decoder, rows = run(cut(inner, 16, make, proto=47)[::-1])
    assert kinds(rows)[-1] == Kind.UDP and set(kinds(rows)[:-1]) == {Kind.FRAGMENT}
    assert (rows[-1]["tunnel"], rows[-1]["dst_port"], rows[-1]["payload_len"]) == (Tunnel.GRE, 6, 100)
    assert decoder.packets_decoded == len(rows)


def test_a_tunnel_that_shows_its_inside_in_the_first_fragment_is_told_there():
    inner = bytes(IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=5, dport=6) / Raw(bytes(100)))
    _, rows = run(cut(inner, 64, piece4, proto=4))
    assert kinds(rows) == [Kind.TCP, Kind.FRAGMENT, Kind.FRAGMENT]
    assert (rows[0]["tunnel"], rows[0]["payload_len"], rows[0]["weird"]) == (Tunnel.IPIP, 100, 0)


def test_a_fragment_in_a_reassembled_datagram_is_named_and_not_followed():
    inner = bytes(IP(src="10.0.0.1", dst="10.0.0.2", flags="MF", proto=6) / Raw(bytes(8)))
    _, rows = run(cut(inner, 16, piece4, proto=4))
    assert (kinds(rows), weirds_of(rows[-1])) == ([Kind.FRAGMENT] * 2, {Weird.NESTED_FRAGMENT})


def test_an_ipv6_datagram_in_one_fragment_is_no_fragment():
    decoder, rows = run([piece6(SEGMENT, 0, False)])
    assert kinds(rows) == [Kind.TCP] and decoder.fragment_counters["fragments"] == 0


def test_extension_headers_behind_the_fragment_header_are_walked_when_whole():
    rest = bytes(IPv6ExtHdrDestOpt(nh=6)) + SEGMENT
    _, rows = run(cut(rest, 16, piece6, proto=60))
    assert (kinds(rows)[-1], rows[-1]["proto"], rows[-1]["dst_port"]) == (Kind.TCP, 6, 443)


def test_the_longest_datagram_becomes_whole():
    data = bytes(UDP(sport=1, dport=2, len=65515)) + bytes(65507)
    decoder, rows = run(cut(data, 1480, piece4, proto=17)[::-1])
    assert decoder.fragment_counters["datagrams_reassembled"] == 1
    assert (kinds(rows)[-1], rows[-1]["payload_len"]) == (Kind.UDP, 65507)


@given(st.data())
@settings(derandomize=True, deadline=None, max_examples=40)
def test_rows_and_counters_do_not_depend_on_the_blocks(data):
    makers = st.sampled_from([piece4, piece6])
    pieces = st.tuples(
        makers, st.integers(0, 5), st.integers(1, 3), st.booleans(), st.integers(1, 3), st.integers(0, 1)
    )
    frames = [
        make((b"AB"[fill : fill + 1]) * (8 * units), 8 * offset, more, ident=ident, proto=47)
        for make, offset, units, more, ident, fill in data.draw(st.lists(pieces, min_size=1, max_size=40))
    ]
    options = {"max_fragmented": 3, "fragment_timeout_ns": 20_000_000}
    whole, rows = run(frames, **options)
    for size in (1, 7):
        other, same = run(frames, size, **options)
        assert np.array_equal(rows, same)
        assert (whole.weirds, whole.fragment_counters) == (other.weirds, other.fragment_counters)


def test_a_thousand_datagrams_are_told_alike_in_blocks_of_any_size():
    frames = [f for i in range(500) for f in cut(SEGMENT, 16, piece4, ident=i)]
    order = np.random.default_rng(7).permutation(len(frames))
    frames = [frames[i] for i in order]
    reference, rows = run(frames)
    assert reference.fragment_counters["datagrams_reassembled"] == 500 and kinds(rows).count(Kind.TCP) == 500
    for size in (1, 7, 1000):
        other, same = run(frames, size)
        assert np.array_equal(rows, same) and other.fragment_counters == reference.fragment_counters


def test_fragments_spread_over_two_buffers_are_put_together_in_order():
    frames = cut(SEGMENT, 8, piece4)
    blocks = [block_of(frames[::2]), block_of(frames[1::2])]
    rows = np.empty(len(frames), blocks[0].frames.dtype)
    rows[::2], rows[1::2] = blocks[0].frames, blocks[1].frames
    rows["buffer"][1::2] = 1
    decoded = Decoder().decode(Block(blocks[0].buffers + blocks[1].buffers, rows))
    assert kinds(decoded) == [Kind.FRAGMENT] * 4 + [Kind.TCP] and decoded[-1]["dst_port"] == 443


# What is ambiguous or malformed


def reference(pieces, *, version):
    """Slow and obvious: the bytes as a dictionary. What each piece shows, and whether the datagram became whole."""
    held, total, dead, shown = {}, None, False, []
    for start, data, more in pieces:
        if dead:
            shown.append(None)
            continue
        stop = start + len(data)
        new = {start + i: byte for i, byte in enumerate(data)}
        same = {at for at in new if at in held}
        reach = max(held, default=-1) + 1
        if (total is not None and (stop > total or (not more and stop != total))) or (not more and reach > stop):
            shown.append(Weird.FRAGMENT_SIZE_INCONSISTENCY)
        elif any(new[at] != held[at] for at in same):
            shown.append(Weird.FRAGMENT_INCONSISTENCY)
        elif 0 < len(same) < len(new):
            shown.append(Weird.FRAGMENT_OVERLAP)
        else:
            shown.append(None)
        dead = shown[-1] is not None and (shown[-1] != Weird.FRAGMENT_OVERLAP or version == 6)
        held |= new
        total = total if more else stop
        if not dead and total is not None and len(held) == total:
            return shown, True
    return shown, False


def chunks(n):
    """All ways to put `n` chunks into 3 units, each filled with one of two bytes, before or after a last fragment."""
    spans = [(start, stop) for start in range(3) for stop in range(start + 1, 4)]
    last = (24, b"AAAAA", False)
    for picked in itertools.product(spans, repeat=n):
        for fills in itertools.product((b"A", b"B"), repeat=n - 1):
            made = [(s * 8, f * 8 * (e - s), True) for (s, e), f in zip(picked, (b"A", *fills), strict=True)]
            yield from ([*made, last], [last, *made])


@pytest.mark.parametrize(("make", "version"), [(piece4, 4), (piece6, 6)])
@pytest.mark.parametrize("n", [2, 3])
def test_every_overlap_of_few_chunks_is_judged_as_by_a_slow_reference(n, make, version):
    frames, expected = [], []
    for ident, pieces in enumerate(chunks(n)):
        shown, is_whole = reference(pieces, version=version)
        frames += [make(data, at, more, ident=ident, proto=50) for at, data, more in pieces[: len(shown)]]
        expected += [(weird, is_whole and i == len(shown) - 1) for i, weird in enumerate(shown)]
    _, rows = run(frames, max_fragmented=8192)
    got = [(next(iter(weirds_of(row)), None), row["kind"] == Kind.IP) for row in rows]
    assert got == expected


@MAKERS
@pytest.mark.parametrize("ends", [(24, 16), (16, 24), (24, 21), (21, 24)])
def test_fragments_that_disagree_on_the_end_make_a_datagram_ambiguous(make, ends):
    decoder, rows = run([make(bytes(end - 8), 8, False) for end in ends] + [make(bytes(8), 0, True)])
    assert kinds(rows) == [Kind.FRAGMENT] * 3 and decoder.weirds == {"fragment_size_inconsistency": 1}


@MAKERS
def test_an_ambiguous_datagram_swallows_what_still_comes(make):
    first, second, third = cut(SEGMENT, 16, make)
    other = cut(SEGMENT[:16] + bytes(16) + SEGMENT[32:], 16, make)[1]
    decoder, rows = run([first, second, other, third, second])
    assert kinds(rows) == [Kind.FRAGMENT] * 5 and decoder.weirds == {"fragment_inconsistency": 1}
    counters = decoder.fragment_counters
    assert (counters["datagrams_ambiguous"], counters["fragments_swallowed"]) == (1, 2)
    assert (counters["datagrams_reassembled"], counters["datagrams_waiting"]) == (0, 1)


@MAKERS
def test_a_fragment_seen_twice_is_not_odd(make):
    frames = cut(SEGMENT, 16, make)
    decoder, rows = run([frames[0], frames[0], frames[1], frames[1], frames[2]])
    assert kinds(rows)[-1] == Kind.TCP and decoder.weirds == {}


MALFORMED = {
    "empty": (piece4(b"", 8, True), Weird.BAD_FRAGMENT_LENGTH),
    "not a multiple of 8": (piece4(b"x" * 12, 8, True), Weird.BAD_FRAGMENT_LENGTH),
    "a ping of death": (piece4(b"x" * 24, 65512, False), Weird.FRAGMENT_TOO_LONG),
    "past 65535 over ipv6": (piece6(b"x" * 24, 65512, False), Weird.FRAGMENT_TOO_LONG),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_fragment_is_named_and_left_out(name):
    frame, weird = MALFORMED[name]
    decoder, rows = run([frame])
    assert (kinds(rows), weirds_of(rows[0])) == ([Kind.FRAGMENT], {weird})
    assert (decoder.fragment_counters["fragments_refused"], decoder.fragment_counters["datagrams_waiting"]) == (1, 0)


def test_a_last_fragment_may_end_on_byte_65535_and_no_further():
    assert run([piece4(b"x" * 23, 65512, False)])[0].weirds == {}


def test_a_fragment_cut_by_the_snaplen_cannot_be_put_together_and_is_counted():
    decoder = Decoder()
    decoder.decode(block_of(cut(SEGMENT, 16, piece4), snaplen=40))
    assert decoder.fragment_counters["fragments_cut"] == 2 and decoder.weirds == {}


def test_a_fragment_longer_than_its_frame_is_left_out():
    frame = bytearray(piece4(b"x" * 16, 8, True))
    frame[16:18] = (20 + 24).to_bytes(2, "big")
    decoder, rows = run([bytes(frame)])
    assert (weirds_of(rows[0]), decoder.fragment_counters["fragments_cut"]) == ({Weird.TRUNCATED_IP}, 1)


# Bounds


@pytest.mark.parametrize(("gap", "is_whole"), [(30 * SECOND - 1, True), (30 * SECOND, False)])
def test_a_datagram_waits_for_thirty_seconds_of_packet_time(gap, is_whole):
    decoder = Decoder()
    rows = decoder.decode(block_of(cut(SEGMENT, 16, piece4), ts=[5, 6, 5 + gap]))
    assert (rows[-1]["kind"] == Kind.TCP) == is_whole
    assert decoder.fragment_counters["datagrams_timed_out"] == (not is_whole)


def test_time_does_not_run_backwards_in_the_table():
    decoder = Decoder()
    frames = [*cut(SEGMENT, 16, piece4)[:2], piece4(bytes(8), 0, True, ident=8), cut(SEGMENT, 16, piece4)[2]]
    decoder.decode(block_of(frames, ts=[0, 0, 40 * SECOND, 1]))
    assert decoder.fragment_counters["datagrams_timed_out"] == 1


@pytest.mark.parametrize(("datagrams", "evicted"), [(4, 0), (5, 1)])
def test_the_oldest_datagram_goes_first_when_the_table_is_full(datagrams, evicted):
    firsts = [cut(SEGMENT, 24, piece4, ident=i, proto=50)[0] for i in range(datagrams)]
    lasts = [cut(SEGMENT, 24, piece4, ident=i, proto=50)[1] for i in range(1, datagrams)]
    decoder, rows = run(firsts + lasts, max_fragmented=4)
    assert kinds(rows).count(Kind.IP) == datagrams - 1
    assert decoder.fragment_counters["datagrams_evicted"] == evicted


def test_the_oldest_others_go_when_the_bytes_are_used_up():
    big = [piece4(bytes(1024), 0, True, ident=i, proto=50) for i in range(64)]
    rest = [piece4(bytes(1024), 1024, False, ident=i, proto=50) for i in (0, 63)]
    decoder, rows = run(big + rest, max_fragment_bytes=65536)
    assert kinds(rows)[-2:] == [Kind.IP, Kind.IP]
    assert decoder.fragment_counters["datagrams_evicted"] == 1


def test_a_hundred_thousand_open_datagrams_stay_within_the_bounds():
    frame = np.frombuffer(piece4(bytes(8), 0, True, proto=47), np.uint8)
    count = 100_000
    flood = np.tile(frame, (count, 1))
    flood[:, 18], flood[:, 19], flood[:, 29] = (
        np.arange(count) >> 8 & 255,
        np.arange(count) & 255,
        np.arange(count) >> 16,
    )
    frames = np.repeat(block_of([frame.tobytes()]).frames, count)
    frames["offset"] = np.arange(count) * len(frame)
    decoder = Decoder()
    decoder.decode(Block((flood.ravel(),), frames))
    counters = decoder.fragment_counters
    assert (counters["fragments"], counters["datagrams_waiting"]) == (count, 4096)
    assert counters["datagrams_evicted"] == count - 4096


@pytest.mark.parametrize("options", [{"max_fragmented": 0}, {"max_fragment_bytes": 65535}, {"fragment_timeout_ns": 0}])
def test_a_table_without_room_is_refused(options):
    with pytest.raises(ValueError, match="fragment table"):
        Decoder(**options)


def test_an_icmp_echo_in_fragments_is_told_by_its_first():
    _, rows = run(cut(bytes(ICMP(type=8) / Raw(bytes(100))), 64, piece4, proto=1))
    assert kinds(rows) == [Kind.ICMP, Kind.REST] and rows["icmp_type"].tolist() == [8, 8]
    assert rows["payload_len"].tolist() == [56, 44]
