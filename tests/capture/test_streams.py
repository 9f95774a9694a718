"""Standard input, pipes and compressed files: the same packets, in constant memory, up to the damaged place."""

import bz2
import gzip
import io
import os
import random
import struct
import sys
import threading
import zlib

import pytest
import zstandard

from sensor.capture import CaptureError, open_savefiles
from tests.capture.capture_files import Packet, boundaries, packets, pcap, pcap_header, pcap_record, pcapng, read, taken

MADE = packets(12)
PLAIN = pcap(MADE)
ENDS = boundaries(24, [16 + len(packet.data) for packet in MADE])


def zst(data: bytes, **options: bool) -> bytes:
    return zstandard.ZstdCompressor(level=1, **options).compress(data)


PACKED = {
    "gzip": gzip.compress(PLAIN),
    "gzip, stored": gzip.compress(PLAIN, 0),
    "gzip, members": gzip.compress(PLAIN[:100]) + gzip.compress(b"") + gzip.compress(PLAIN[100:]),
    "gzip, padded": gzip.compress(PLAIN) + bytes(70_000),
    "zstd": zst(PLAIN),
    "zstd, checksum": zst(PLAIN, write_checksum=True, write_content_size=False),
    "zstd, frames": zst(PLAIN[:100]) + zst(b"") + zst(PLAIN[100:]),
    "zstd, skippable": struct.pack("<II", 0x184D2A5F, 99_999) + bytes(99_999) + zst(PLAIN),
}


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_compressed_file_is_known_by_its_content_and_reads_the_same(save, name, streamed):
    path = "-" if streamed else str(save(PACKED[name], "named.txt"))
    with open_savefiles([path], stdin=io.BytesIO(PACKED[name])) as source:
        assert taken(source) == MADE and not source.damage
        assert source.progress == (len(PACKED[name]), None if streamed else len(PACKED[name]))


@pytest.mark.parametrize("name", ["gzip", "gzip, stored", "gzip, members"])
def test_a_gzip_file_cut_at_any_byte_gives_every_packet_that_can_be_had(save, name):
    _cut_everywhere(save, PACKED[name], _gunzip)


@pytest.mark.parametrize("name", ["zstd", "zstd, checksum", "zstd, frames"])
def test_a_zstd_file_cut_at_any_byte_gives_every_packet_that_can_be_had(save, name):
    _cut_everywhere(save, PACKED[name], _unzstd)


def _cut_everywhere(save, packed, prefix):
    for cut in range(len(packed)):
        plain, is_whole = prefix(packed[:cut])
        assert PLAIN.startswith(plain)
        if not packed[:cut].startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
            with pytest.raises(CaptureError):
                open_savefiles([str(save(packed[:cut]))])
            continue
        if len(plain) < 24:
            found, source = read(save(packed[:cut]))
            assert found == [] and [damage.offset for damage in source.damage] == [0], cut
            continue
        found, source = read(save(packed[:cut]))
        offset = ([24, *ENDS])[len(found)]
        assert found == MADE[: sum(end <= len(plain) for end in ENDS)], cut
        is_damaged = not is_whole or len(plain) > offset
        assert [damage.offset for damage in source.damage] == ([offset] if is_damaged else [])


def _gunzip(packed: bytes, step: int = 1 << 20) -> tuple[bytes, bool]:
    """What zlib has of the data, and whether they end where a member does."""
    return _inflate(packed, lambda: zlib.decompressobj(31), step)


def _unzstd(packed: bytes, step: int = 1 << 20) -> tuple[bytes, bool]:
    return _inflate(packed, lambda: zstandard.ZstdDecompressor().decompressobj(), step)


def _inflate(packed, make, step):
    plain = b""
    while packed:
        engine, part = make(), b""
        while packed and not engine.eof:
            part, packed = packed[:step], packed[step:]
            try:
                plain += engine.decompress(part)
            except (zlib.error, zstandard.ZstdError):
                return plain, False
        packed = engine.unused_data + packed
        if not engine.eof:
            return plain, False
    return plain, True


@pytest.mark.parametrize("pack,inflate", [(gzip.compress, _gunzip), (zst, _unzstd)], ids=["gzip", "zstd"])
def test_what_precedes_damaged_compressed_data_is_given(save, pack, inflate):
    draw = random.Random(1)
    made = [Packet(i * 1000, draw.randbytes(500).hex().encode(), 1000) for i in range(300)]
    packed = bytearray(pack(pcap(made)))
    packed[len(packed) // 2 : len(packed) // 2 + 3000] = b"\xff" * 3000
    found, source = read(save(bytes(packed)))
    byte_by_byte = inflate(bytes(packed), 1)[0]
    assert found == read(save(byte_by_byte, "plain"))[0]
    assert found[:100] == made[:100] and len(found) < 300
    assert len(source.damage) == 1  # or what it expands to makes no sense any more


@pytest.mark.parametrize("name,at", [("gzip", -5), ("zstd, checksum", -1)])
def test_a_wrong_checksum_at_the_end_is_damage_after_all_packets(save, name, at):
    packed = bytearray(PACKED[name])
    packed[at] ^= 1
    found, source = read(save(bytes(packed)))
    assert found == MADE
    assert [damage.offset for damage in source.damage] == [len(PLAIN)]


def test_bytes_after_the_last_member_that_are_not_compressed_are_damage(save):
    for name in ("gzip", "zstd"):
        found, source = read(save(PACKED[name] + b"trailing"))
        assert found == MADE and len(source.damage) == 1


def test_zstd_without_its_library_says_what_to_install(save, monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(CaptureError, match=r"to read it: pip install zstandard "):
        open_savefiles([str(save(PACKED["zstd"]))])


@pytest.mark.parametrize("data", [gzip.compress(PACKED["gzip"]), bz2.compress(PLAIN)], ids=["twice", "bzip2"])
def test_other_compression_is_refused_by_name(save, data):
    with pytest.raises(CaptureError, match=r"compressed .*expand it first"):
        open_savefiles([str(save(data))])


def test_a_file_that_expands_without_end_is_read_in_constant_memory(save):
    header = pcap_header() + pcap_record(Packet(0, b"x", 1))
    packed = gzip.compress(header + bytes(16 * 1_000_000))  # a million empty packets in 16 kB
    with open_savefiles([str(save(packed))]) as source:
        count = 0
        for block in source.blocks():
            count += len(block.frames)
            assert sum(buffer.nbytes for buffer in block.buffers) <= 4 << 20
    assert count == 1_000_001 and source.counters["bytes_read"] == 1


@pytest.mark.parametrize("form", [pcap, pcapng])
def test_a_long_stream_through_a_fifo_takes_constant_memory(tmp_path, form):
    path, chunk = tmp_path / "fifo", form(packets(2000, size=1400))
    header = 24 if form is pcap else 28 + 20
    os.mkfifo(path)

    def write() -> None:
        with open(path, "wb") as fifo:
            fifo.write(chunk)
            for _ in range(20):
                fifo.write(chunk[header:])

    writer = threading.Thread(target=write)
    writer.start()
    with open_savefiles([str(path)]) as source:
        largest = max(sum(buffer.nbytes for buffer in block.buffers) for block in source.blocks())
    writer.join()
    assert source.counters["packets_read"] == 21 * 2000
    assert source.progress == (len(chunk) + 20 * (len(chunk) - header), None)
    assert largest <= 4 << 20 and not source.damage


def test_packets_of_a_slow_pipe_are_given_before_the_next_ones_come():
    reading, writing = os.pipe()
    with open(reading, "rb") as stdin, open(writing, "wb", buffering=0) as tap:
        tap.write(pcap(MADE[:2]))
        with open_savefiles(["-"], stdin=stdin) as source:
            blocks = source.blocks()
            assert next(blocks).frames["ts"].tolist() == [packet.ts for packet in MADE[:2]]
            record = pcap_record(MADE[2])
            tap.write(record[:30])
            tap.write(record[30:])
            assert next(blocks).frames["ts"].tolist() == [MADE[2].ts]
            tap.close()
            assert next(blocks, None) is None
        assert not stdin.closed


def test_a_pipe_that_breaks_off_is_damage():
    data = PLAIN[: ENDS[5] + 20]
    with open_savefiles(["-"], stdin=io.BytesIO(data)) as source:
        assert taken(source) == MADE[:6]
        assert [(damage.path, damage.offset) for damage in source.damage] == [("-", ENDS[5])]


class Failing(io.BytesIO):
    """Input whose disk gives up after its data."""

    def readinto1(self, view: memoryview) -> int:
        count = super().readinto(view)
        if not count:
            raise OSError(5, "Input/output error")
        return count


def test_a_read_error_is_damage_after_what_was_read():
    with open_savefiles(["-"], stdin=Failing(PLAIN)) as source:
        assert taken(source) == MADE
        assert "Input/output error" in str(source.damage[0]) and source.damage[0].offset == len(PLAIN)


def test_an_empty_standard_input_is_refused():
    with pytest.raises(CaptureError, match="-: the file is empty"):
        open_savefiles(["-"], stdin=io.BytesIO())


def test_standard_input_that_is_closed_is_refused():
    with pytest.raises(CaptureError, match="no standard input"):
        open_savefiles(["-"])
