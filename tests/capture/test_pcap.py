"""The pcap reader against dpkt, Scapy and the Wireshark tools, and against what the format says."""

import gzip
import io
import shutil
import subprocess

import dpkt
import numpy as np
import pytest
from scapy.utils import RawPcapReader

from sensor.capture import CaptureError, open_savefiles
from sensor.capture.files.pcap import Pcap
from sensor.capture.files.stream import open_stream
from sensor.packet import FRAME
from tests.capture.capture_files import SECOND, Packet, boundaries, packets, pcap, pcap_header, pcap_record, read, taken

MADE = packets(40)
VARIANTS = [(order, nano) for order in "<>" for nano in (False, True)]


@pytest.mark.parametrize("order,nano", VARIANTS)
def test_every_byte_order_and_unit_gives_the_same_packets(save, order, nano):
    found, source = read(save(pcap(MADE, order, nano=nano)))
    assert found == MADE
    assert source.counters["packets_read"] == len(MADE)
    assert source.counters["bytes_read"] == sum(len(packet.data) for packet in MADE)
    assert not source.damage


@pytest.mark.parametrize("order,nano", VARIANTS)
def test_dpkt_and_scapy_read_the_same(save, order, nano):
    path = save(pcap(MADE, order, nano=nano))
    found = read(path)[0]
    with open(path, "rb") as file:
        assert [packet.data for packet in found] == [data for _, data in dpkt.pcap.Reader(file)]
    with RawPcapReader(str(path)) as reader:
        unit = 1 if nano else 1000
        assert [(p.ts, p.data, p.wirelen) for p in found] == [
            (meta.sec * SECOND + meta.usec * unit, data, meta.wirelen) for data, meta in reader
        ]


@pytest.mark.skipif(not shutil.which("editcap"), reason="editcap is not installed")
@pytest.mark.parametrize("kind", ["pcap", "nsecpcap", "pcapng"])
def test_what_editcap_writes_anew_reads_the_same(save, tmp_path, kind):
    path, other = save(pcap(MADE)), tmp_path / "other"
    subprocess.run(["editcap", "-F", kind, path, other], check=True, capture_output=True)
    assert read(other)[0] == MADE


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_packets_do_not_depend_on_the_size_of_a_block(save, size):
    assert read(save(pcap(MADE)), size=size)[0] == MADE


def test_a_file_cut_at_any_byte_gives_every_whole_packet(save):
    made = packets(3, size=20)
    whole = pcap(made)
    ends = boundaries(24, [16 + len(packet.data) for packet in made])
    for cut in range(24, len(whole)):
        found, source = read(save(whole[:cut]))
        count = sum(end <= cut for end in ends)
        begins = ([24, *ends])[count]
        assert found == made[:count]
        assert [damage.offset for damage in source.damage] == ([] if cut == begins else [begins]), cut


@pytest.mark.parametrize("cut", range(4))
def test_a_file_cut_in_its_header_before_its_magic_is_refused_in_one_line(save, cut):
    path = save(pcap(MADE)[:cut])
    with pytest.raises(CaptureError) as caught:
        open_savefiles([str(path)])
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", range(4, 24))
def test_a_file_cut_in_its_header_is_damaged_from_there_on(save, cut):
    found, source = read(save(pcap(MADE)[:cut]))
    assert found == []
    assert [damage.offset for damage in source.damage] == [0]


def test_a_file_with_a_header_only_is_an_empty_capture(save):
    found, source = read(save(pcap([])))
    assert found == [] and not source.damage and source.counters["files"] == 1


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("magic,name", [(0xA1B234CD, "Mesquita"), (0x1C0001AC, "IXIA"), (0x1C0001AB, "IXIA")])
def test_a_modified_header_is_refused_by_name(save, order, magic, name):
    with pytest.raises(CaptureError, match=name):
        open_savefiles([str(save(pcap_header(order, magic)))])


@pytest.mark.parametrize("order", "<>")
def test_longer_record_headers_are_kuznetzovs_and_give_the_same_packets(save, order):
    data = pcap(MADE, order, is_longer=True)
    ends = boundaries(24, [24 + len(packet.data) for packet in MADE])
    assert read(save(data))[0] == MADE
    assert read(save(gzip.compress(data)))[0] == MADE
    with open_savefiles(["-"], stdin=io.BytesIO(data)) as source:
        assert taken(source) == MADE
    for cut in (ends[1] + 23, ends[1] + 24, ends[2] - 1, ends[2]):
        found, source = read(save(data[:cut]))
        assert found == MADE[: 3 if cut == ends[2] else 2]
        assert [damage.offset for damage in source.damage] == ([] if cut == ends[2] else [ends[1]])


@pytest.mark.skipif(not shutil.which("tcpdump"), reason="tcpdump is not installed")
@pytest.mark.parametrize("order", "<>")
def test_tcpdump_reads_the_same_of_longer_record_headers(save, order):
    path = save(pcap(MADE, order, is_longer=True))
    ran = subprocess.run(["tcpdump", "-r", path, "-w", "-"], check=True, capture_output=True)
    with open_savefiles(["-"], stdin=io.BytesIO(ran.stdout)) as source:
        assert taken(source) == read(path)[0]


def test_an_archaic_version_is_refused(save):
    with pytest.raises(CaptureError, match=r"version 1\.4"):
        open_savefiles([str(save(pcap_header(version=(1, 4))))])


@pytest.mark.parametrize("version", [(2, 2), (543, 0)])
def test_old_versions_have_the_two_lengths_the_other_way_round(save, version):
    made = MADE[0]
    record = pcap_record(made)
    swapped = record[:8] + record[12:16] + record[8:12] + record[16:]
    assert read(save(pcap_header(version=version) + swapped))[0] == [made]


def test_the_length_of_the_frame_check_sequence_is_no_part_of_the_link_type(save):
    data = pcap_header(linktype=0x5400_0000 | 113) + pcap_record(MADE[0])
    assert read(save(data))[0][0].linktype == 113


@pytest.mark.parametrize("nano,limit", [(False, 10**6), (True, 10**9)])
def test_a_fraction_of_a_second_or_more_is_counted_and_added(save, nano, limit):
    records = pcap(packets(2, size=4), nano=nano)
    patched = records[:28] + limit.to_bytes(4, "little") + records[32:]
    found, source = read(save(patched))
    assert source.counters["bad_subsecond"] == 1 and len(found) == 2
    assert found[0].ts == (found[1].ts // SECOND + 1) * SECOND
    under = records[:28] + (limit - 1).to_bytes(4, "little") + records[32:]
    assert read(save(under))[1].counters["bad_subsecond"] == 0


def test_the_longest_packet_is_read_and_one_byte_more_is_damage(save):
    longest = Packet(0, bytes(262144), 262144)
    found, source = read(save(pcap([MADE[0], longest, MADE[1]])))
    assert found == [MADE[0], longest, MADE[1]] and not source.damage
    found, source = read(save(pcap([MADE[0], Packet(0, bytes(262145), 262145), MADE[1]])))
    assert found == [MADE[0]]
    assert source.damage[0].offset == 24 + 16 + len(MADE[0].data)
    assert "262145" in str(source.damage[0])


def test_more_captured_than_was_on_the_wire_is_kept_and_counted(save):
    odd = Packet(0, bytes(60), 59)
    found, source = read(save(pcap([odd, Packet(0, bytes(60), 60)])))
    assert found[0] == odd and source.counters["caplen_exceeds_wirelen"] == 1


def test_times_up_to_2106_are_told_apart(save):
    latest = Packet((2**32 - 1) * SECOND + 999_999_999, b"x", 1)
    assert read(save(pcap([latest], nano=True)))[0] == [latest]


def test_frames_lie_where_the_file_was_read_to(save):
    with open_savefiles([str(save(pcap(MADE)))]) as source:
        block = next(source.blocks())
        assert len(block.buffers) == 1 and len(block.frames) == len(MADE)
        assert not block.buffers[0].flags.writeable and not block.buffers[0].flags.owndata


def test_a_window_gives_the_same_packets_wherever_its_edges_fall():
    data = pcap(MADE)
    for size in range(90, 400, 7):
        stream = open_stream("-", stdin=io.BytesIO(data), window=size)
        assert _through(Pcap(stream), len(MADE)) == [(packet.ts, packet.data) for packet in MADE]
        assert stream.data.nbytes == size


def _through(reader, most):
    frames, counts, found = np.zeros(most, FRAME), np.zeros(6, np.int64), []
    while count := reader.read(frames, counts):
        for frame in frames[:count]:
            begin = int(frame["offset"])
            found.append((int(frame["ts"]), reader.stream.data[begin : begin + int(frame["caplen"])].tobytes()))
    return found


def test_progress_ends_at_the_size_of_the_file(save):
    path = save(pcap(MADE))
    with open_savefiles([str(path)]) as source:
        assert source.progress == (24, path.stat().st_size)
        taken(source)
        assert source.progress == (path.stat().st_size, path.stat().st_size)
