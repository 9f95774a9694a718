"""The pcapng reader: against the pcap of the same packets, against tshark, and on blocks that cannot be."""

import io
import shutil
import struct
import subprocess

import pytest

from sensor.capture import CaptureError, open_savefiles
from tests.capture.capture_files import (
    SECOND,
    Packet,
    block,
    boundaries,
    enhanced,
    interface,
    obsolete,
    option,
    packets,
    pcapng,
    read,
    section,
    simple,
    taken,
)

MADE = packets(40)
ONE = packets(1)[0]
START = section() + interface()


@pytest.mark.parametrize("order", "<>")
def test_either_byte_order_gives_the_packets_of_the_pcap(save, order):
    found, source = read(save(pcapng(MADE, order)))
    assert found == MADE and not source.damage
    assert source.counters["packets_read"] == len(MADE)
    assert source.counters["bytes_read"] == sum(len(packet.data) for packet in MADE)


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_packets_do_not_depend_on_the_size_of_a_block(save, size):
    assert read(save(pcapng(MADE)), size=size)[0] == MADE


RESOLUTIONS = {b"\x03": 10**3, b"\x06": 10**6, b"\x09": 10**9, b"\x0c": 10**12, b"\x94": 2**20, b"\xa8": 2**40}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("resolution", RESOLUTIONS, ids=lambda value: value.hex())
def test_each_resolution_and_offset_gives_the_same_times(save, order, resolution):
    offset = 1_699_999_000
    options = option(9, resolution, order) + option(14, struct.pack(order + "q", offset), order) + option(0, b"", order)
    made = packets(10, step=1_000_000)
    data = section(order) + interface(order, options=option(2, b"eth0", order) + options)
    for packet in made:
        ticks = -((packet.ts - offset * SECOND) * -RESOLUTIONS[resolution] // SECOND)
        data += enhanced(packet, order, ticks=ticks)
    found = read(save(data))[0]
    slack = 0 if resolution < b"\x80" else max(1, SECOND // RESOLUTIONS[resolution])
    assert all(0 <= there.ts - here.ts <= slack for there, here in zip(found, made, strict=True))
    assert [packet.data for packet in found] == [packet.data for packet in made]


def test_sections_and_interfaces_each_have_their_own_order_link_type_and_clock(save):
    def at(linktype: int, which: int, ts: int) -> Packet:
        return ONE._replace(linktype=linktype, interface=which, ts=ts)

    nano = option(9, b"\x09", ">")
    data = section("<") + interface("<", linktype=1) + interface("<", linktype=101)
    data += enhanced(ONE, "<", which=1, ticks=5) + enhanced(ONE, "<", which=0, ticks=6)
    data += section(">") + interface(">", linktype=113, options=nano) + enhanced(ONE, ">", ticks=7)
    data += interface(">", linktype=228) + enhanced(ONE, ">", which=1, ticks=8) + enhanced(ONE, ">", which=0, ticks=9)
    found, source = read(save(data))
    assert found == [at(101, 1, 5000), at(1, 0, 6000), at(113, 2, 7), at(228, 3, 8000), at(113, 2, 9)]
    assert not source.damage


def test_an_interface_of_the_section_before_is_unknown(save):
    found, source = read(save(START + enhanced(ONE) + section() + enhanced(ONE)))
    assert found == [ONE] and "not described" in str(source.damage[0])


def test_a_simple_packet_has_the_time_of_the_one_before(save):
    data = START + simple(b"abcde", 5) + enhanced(ONE) + simple(b"abcdef", 6)
    assert read(save(data))[0] == [Packet(0, b"abcde", 5), ONE, Packet(ONE.ts, b"abcdef", 6)]


def test_a_simple_packet_is_cut_by_the_snaplen(save):
    data = section() + interface(snaplen=4) + simple(b"abcd", 100) + simple(b"abc", 3) + simple(b"abcd", 4)
    assert [(p.data, p.wirelen) for p in read(save(data))[0]] == [(b"abcd", 100), (b"abc", 3), (b"abcd", 4)]


def test_the_obsolete_packet_block_is_read(save):
    data = section(">") + interface(">") + interface(">") + obsolete(ONE, ">", which=1)
    assert read(save(data))[0] == [ONE._replace(interface=1)]


def test_other_blocks_are_passed_over_and_counted(save):
    data = section() + block(0xBAD, bytes(99)) + interface() + block(5, bytes(8)) + enhanced(ONE) + block(4, b"")
    found, source = read(save(data))
    assert found == [ONE] and not source.damage
    assert source.counters["blocks_skipped"] == 3


@pytest.mark.parametrize("streamed", [False, True])
def test_an_unknown_block_longer_than_any_buffer_is_passed_over(save, streamed):
    data = START + enhanced(ONE) + block(0xBAD, bytes(9 << 20)) + enhanced(ONE)
    path = "-" if streamed else str(save(data))
    with open_savefiles([path], stdin=io.BytesIO(data)) as source:
        assert taken(source) == [ONE, ONE]
        assert source.counters["blocks_skipped"] == 1 and not source.damage


@pytest.mark.parametrize("streamed", [False, True])
def test_a_file_that_ends_in_a_long_unknown_block_is_damaged_where_that_begins(save, streamed):
    data = START + enhanced(ONE)
    cut = data + block(0xBAD, bytes(9 << 20))[:-5]
    with open_savefiles(["-" if streamed else str(save(cut))], stdin=io.BytesIO(cut)) as source:
        assert taken(source) == [ONE]
        assert [damage.offset for damage in source.damage] == [len(data)]


def test_a_packets_options_are_not_its_data(save):
    data = START + enhanced(ONE, options=option(1, b"a comment") + option(0, b""))
    assert read(save(data))[0] == [ONE]


@pytest.mark.parametrize(
    "offset,ticks,ts", [(-(1 << 63), 5, 0), (-1, 999_999, 0), (1 << 62, 5, 1 << 62), (0, 2**64 - 1, 1 << 62)]
)
def test_a_time_out_of_range_is_clamped_and_counted(save, offset, ticks, ts):
    data = section() + interface(options=option(14, struct.pack("<q", offset))) + enhanced(ONE, ticks=ticks)
    found, source = read(save(data))
    assert [packet.ts for packet in found] == [ts]
    assert source.counters["timestamps_clamped"] == 1


def test_a_time_on_the_edge_of_the_range_is_not_clamped(save):
    data = section() + interface(options=option(14, struct.pack("<q", -1))) + enhanced(ONE, ticks=1_000_000)
    found, source = read(save(data))
    assert found[0].ts == 0 and source.counters["timestamps_clamped"] == 0


def test_a_file_cut_at_any_byte_gives_every_whole_packet(save):
    made = packets(3, size=20)
    blocks = [section(), interface(), enhanced(made[0]), block(5, bytes(8)), enhanced(made[1]), enhanced(made[2])]
    whole, ends = b"".join(blocks), boundaries(0, [len(each) for each in blocks])
    packet_ends = [ends[2], ends[4], ends[5]]
    for cut in range(ends[0], len(whole)):
        found, source = read(save(whole[:cut]))
        begins = max(end for end in ends if end <= cut)
        assert found == made[: sum(end <= cut for end in packet_ends)]
        assert [damage.offset for damage in source.damage] == ([] if cut == begins else [begins]), cut


@pytest.mark.parametrize("cut", range(4))
def test_a_file_cut_in_its_first_header_before_its_magic_is_refused_in_one_line(save, cut):
    path = save(pcapng(MADE)[:cut])
    with pytest.raises(CaptureError) as caught:
        open_savefiles([str(path)])
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", range(4, 28))
def test_a_file_cut_in_its_first_header_is_damaged_from_there_on(save, cut):
    found, source = read(save(pcapng(MADE)[:cut]))
    assert found == []
    assert [damage.offset for damage in source.damage] == [0]


def test_another_major_version_is_refused(save):
    with pytest.raises(CaptureError, match="version 2"):
        open_savefiles([str(save(section(version=2)))])


def _length(data: bytes, first: int, last: int) -> bytes:
    return data[:4] + struct.pack("<I", first) + data[8:-4] + struct.pack("<I", last)


SOME = block(5, bytes(8))
DAMAGED = {
    "length 0": _length(SOME, 0, 0),
    "length 8": _length(SOME, 8, 8),
    "length not a multiple of 4": _length(SOME, 18, 18),
    "lengths that differ": _length(SOME, 20, 24),
    "packet lengths that differ": _length(enhanced(ONE), len(enhanced(ONE)), 24),
    "length past the end": _length(SOME, 4000, 4000),
    "length of 4 GiB": _length(SOME, 0xFFFFFFFC, 0xFFFFFFFC),
    "packet block of 4 GiB": _length(enhanced(ONE), 0xFFFFFFFC, 0xFFFFFFFC),
    "packet block without room for its header": block(6, bytes(16)),
    "simple packet block without room for its header": block(3, b""),
    "packet longer than its block": block(6, struct.pack("<IIIII", 0, 0, 0, 80, 80) + bytes(8)),
    "simple packet longer than its block": simple(b"abcd", 100),
    "simple packet that claims 4 GiB": simple(b"abcd", 0xFFFFFFFF),
    "packet that claims 4 GiB": block(6, struct.pack("<IIIII", 0, 0, 0, 0xFFFFFFFF, 80) + bytes(8)),
    "packet over the limit": block(6, struct.pack("<IIIII", 0, 0, 0, 262145, 262145) + bytes(262148)),
    "packet of no interface": enhanced(ONE, which=1),
    "packet of interface 4294967295": enhanced(ONE, which=0xFFFFFFFF),
    "interface too short": block(1, b""),
    "interface option past its end": interface(options=struct.pack("<HH", 9, 400) + bytes(4)),
    "interface too long": interface(options=bytes(600 << 10)),
    "interface of length 0": _length(interface(), 0, 0),
    "section without byte-order magic": block(0x0A0D0D0A, bytes(16)),
    "section of length 0": _length(section(), 0, 0),
    "section of another version": section(version=7),
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", DAMAGED)
def test_a_block_that_cannot_be_ends_the_file_and_is_named_with_its_place(save, name, streamed):
    data = START + enhanced(ONE) + DAMAGED[name] + enhanced(ONE)
    with open_savefiles(["-" if streamed else str(save(data))], stdin=io.BytesIO(data)) as source:
        assert taken(source) == [ONE]
        (damage,) = source.damage
        assert damage.offset == len(START + enhanced(ONE))
        assert "\n" not in str(damage) and len(str(damage)) < 300


def test_the_longest_packet_is_read(save):
    longest = Packet(0, bytes(262144), 262144)
    assert read(save(START + enhanced(longest) + enhanced(ONE)))[0] == [longest, ONE]


def test_a_section_may_have_65535_interfaces_and_no_more(save):
    many = section() + interface() * 65535 + enhanced(ONE, which=65534)
    found, source = read(save(many))
    assert found == [ONE._replace(interface=65534)] and not source.damage
    found, source = read(save(many + interface() + enhanced(ONE)))
    assert len(found) == 1 and "65535 interfaces" in str(source.damage[0])


@pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")
def test_tshark_reads_the_same(save):
    nano = option(9, b"\x09", ">") + option(14, struct.pack(">q", 1000), ">")
    data = pcapng(MADE[:5]) + interface(linktype=101) + enhanced(MADE[5], which=1) + obsolete(MADE[6])
    data += section(">") + interface(">", options=nano) + enhanced(MADE[7], ">", ticks=1_700_000_000_123_456_789)
    data += block(0xABCD, bytes(8), ">") + interface(">", linktype=113) + enhanced(MADE[8], ">", which=1)
    path = save(data)
    fields = [part for name in ("time_epoch", "len", "cap_len", "interface_id") for part in ("-e", f"frame.{name}")]
    run = subprocess.run(["tshark", "-r", path, "-T", "fields", *fields], capture_output=True, text=True, check=True)
    found = read(path)[0]
    seen = [f"{p.ts // SECOND}.{p.ts % SECOND:09}\t{p.wirelen}\t{len(p.data)}\t{p.interface}" for p in found]
    # tshark numbers the interfaces of each section from 0
    assert [line.rsplit("\t", 1)[0] for line in run.stdout.splitlines()] == [line.rsplit("\t", 1)[0] for line in seen]
    assert len(seen) == 9
