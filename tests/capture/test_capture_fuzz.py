"""Arbitrary damage: nothing raises but CaptureError on opening, all ends, and no frame lies outside its buffer."""

import gzip
import io
import struct

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sensor.capture import CaptureError, open_savefiles
from tests.capture.capture_files import (
    Packet,
    block,
    enhanced,
    interface,
    obsolete,
    option,
    packets,
    pcap,
    section,
    simple,
    taken,
)

MADE = packets(6, size=8)
NG = (
    section()
    + interface(snaplen=64, options=option(9, b"\x09") + option(14, struct.pack("<q", 3)))
    + b"".join(map(enhanced, MADE[:3]))
    + block(5, bytes(8))
    + simple(b"abc", 3)
    + obsolete(MADE[3])
    + section(">")
    + interface(">")
    + enhanced(MADE[4], ">")
)
SEEDS = {
    "pcap": pcap(MADE),
    "pcap, big-endian": pcap(MADE, ">", nano=True),
    "pcapng": NG,
    "gzip": gzip.compress(NG),
    "zstd": zstandard.ZstdCompressor().compress(NG),
}
VALUES = st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFF]) | st.integers(0, 255)
PATCHES = st.lists(st.tuples(st.integers(0, len(NG) - 1), VALUES), min_size=1, max_size=6)


def outcome(paths: list[str], data: bytes, size: int = 16384) -> tuple[list[Packet], list[tuple[int, str]]] | None:
    try:
        source = open_savefiles(paths, stdin=io.BytesIO(data))
    except CaptureError as error:
        assert "\n" not in str(error)
        return None
    with source:
        found = taken(source, size)
        assert source.counters["packets_read"] == len(found)
        assert source.counters["bytes_read"] == sum(len(packet.data) for packet in found)
        assert len(source.damage) <= 1
        return found, [(damage.offset, damage.message) for damage in source.damage]


@pytest.mark.parametrize("name", SEEDS)
@settings(derandomize=True, max_examples=120, deadline=None)
@given(patches=PATCHES, cut=st.none() | st.integers(0, len(NG)))
@example(patches=[(0, 0)], cut=0)
def test_changed_bytes_raise_nothing_and_read_the_same_either_way(tmp_path_factory, name, patches, cut):
    data = bytearray(SEEDS[name])
    for at, value in patches:
        data[at % len(data)] = value
    data = bytes(data[:cut])
    path = tmp_path_factory.mktemp("fuzz") / "capture"
    path.write_bytes(data)
    mapped = outcome([str(path)], data)
    assert outcome(["-"], data) == mapped
    assert outcome([str(path)], data, size=1) == mapped


@settings(derandomize=True, max_examples=200, deadline=None)
@given(head=st.sampled_from([seed[:24] for seed in SEEDS.values()] + [NG[:76], b""]), rest=st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing(head, rest):
    outcome(["-"], head + rest)


@pytest.mark.parametrize("name", ["pcap", "pcap, big-endian", "pcapng"])
def test_every_single_byte_may_be_anything(name):
    seed = SEEDS[name]
    for at in range(len(seed)):
        for value in (0, 0x7F, 0xFF, seed[at] ^ 1):
            outcome(["-"], seed[:at] + bytes([value]) + seed[at + 1 :])
