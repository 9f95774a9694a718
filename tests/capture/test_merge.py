"""Several files as one: order, ties, damage, directories, and how many may be open."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.capture import CaptureError, open_savefiles
from tests.capture.capture_files import Packet, packets, pcap, pcap_header, pcapng, read, taken

MADE = packets(40)
TIMES = st.lists(st.integers(0, 12), max_size=14)


def merged(files: list[list[Packet]]) -> list[Packet]:
    """The definition: always the earliest of the files' next packets, of equals the one named first."""
    rest, found = [list(each) for each in files], []
    while any(rest):
        first = min((each for each in rest if each), key=lambda each: each[0].ts)
        found.append(first.pop(0))
    return found


@settings(derandomize=True, max_examples=150, deadline=None)
@given(files=st.lists(TIMES, min_size=1, max_size=11), size=st.sampled_from([1, 2, 7, 4096]), ordered=st.booleans())
def test_the_earliest_next_packet_comes_first(tmp_path_factory, files, size, ordered):
    folder = tmp_path_factory.mktemp("merge")
    made = [
        [Packet(ts * 1000, bytes([number, i]), 2) for i, ts in enumerate(sorted(times) if ordered else times)]
        for number, times in enumerate(files)
    ]
    paths = [folder / str(number) for number in range(len(made))]
    for number, (path, each) in enumerate(zip(paths, made, strict=True)):
        path.write_bytes((pcap, pcapng)[number % 2](each))
    found, source = read(*paths, size=size)
    assert found == merged(made)
    assert source.counters["packets_read"] == len(found) and source.counters["files"] == len(made)
    assert source.progress[0] == source.progress[1]


def test_files_longer_than_a_block_interleave_to_what_was_split(save):
    made = packets(5000, size=4)
    parts = [save(pcap(made[i::3]), f"part{i}") for i in range(3)]
    assert read(*parts)[0] == made
    assert read(*parts, size=7)[0] == made


def test_a_pipe_merges_with_a_file(save):
    with (
        open(save(pcap(MADE[::2]), "pipe"), "rb") as stdin,
        open_savefiles(["-", str(save(pcap(MADE[1::2])))], stdin=stdin) as source,
    ):
        assert taken(source) == MADE
        assert source.counters["packets_read"] == len(MADE)


def test_damage_in_one_file_does_not_stop_the_others(save):
    good, cut = save(pcap(MADE[::2]), "good"), save(pcap(MADE[1::2])[:-1], "cut")
    empty, modified = save(b"", "empty"), save(pcap_header(magic=0xA1B234CD), "modified")
    short = save(pcap(MADE)[:30], "short")
    found, source = read(good, empty, cut, modified, short)
    assert found == MADE[:-1]
    assert {Path(damage.path).name for damage in source.damage} == {"cut", "empty", "modified", "short"}
    assert source.counters["files_damaged"] == 4 and source.counters["files"] == 3


def test_a_missing_file_is_one_line_before_any_packet(save):
    with pytest.raises(CaptureError, match=r"^/nowhere/at-all: No such file") as caught:
        open_savefiles([str(save(pcap(MADE))), "/nowhere/at-all"])
    assert isinstance(caught.value.__cause__, FileNotFoundError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_named(save):
    path = save(pcap(MADE))
    path.chmod(0)
    with pytest.raises(CaptureError, match="Permission denied"):
        open_savefiles([str(path)])


def test_a_file_that_is_no_capture_is_refused_with_what_it_begins_with(save):
    with pytest.raises(CaptureError, match="7f 45 4c 46"):
        open_savefiles([str(save(b"\x7fELF" + bytes(100)))])


def test_a_directory_stands_for_the_captures_below_it(save, tmp_path):
    (tmp_path / "b").mkdir()
    save(pcap(MADE[::2]), "b/one")
    save(pcapng(MADE[1::2]), "two")
    save(b"# notes", "README")
    save(b"", "empty")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        os.mkfifo(tmp_path / "fifo")
        found, source = read(tmp_path)
    assert found == MADE and not source.damage
    assert source.counters["files"] == 2 and source.counters["files_skipped"] == 2
    assert [line.split(":")[0] for line in source.skipped] == [str(tmp_path / "README"), str(tmp_path / "empty")]


def test_a_directory_without_captures_is_refused(tmp_path, save):
    save(b"# notes", "README")
    with pytest.raises(CaptureError, match="no capture"):
        open_savefiles([str(tmp_path)])


def test_an_empty_directory_is_refused(tmp_path):
    with pytest.raises(CaptureError, match="no capture"):
        open_savefiles([str(tmp_path)])


def test_standard_input_can_be_named_once():
    with pytest.raises(CaptureError, match="only once"):
        open_savefiles(["-", "-"])


def test_files_that_follow_each_other_may_be_more_than_can_be_open(tmp_path, save):
    made = packets(1200)
    for i in range(600):
        save(pcap(made[2 * i : 2 * i + 2]), f"{599 - i:03}")
    before = len(os.listdir("/proc/self/fd"))
    with open_savefiles([str(tmp_path)]) as source:
        assert len(os.listdir("/proc/self/fd")) < before + 10
        assert taken(source) == made


@pytest.mark.parametrize("count", [256, 257])
def test_as_many_files_may_overlap_as_can_be_open(tmp_path, save, count):
    for i in range(count):
        save(pcap(packets(2, start=i, size=4)), f"{i:03}")
    with open_savefiles([str(tmp_path)]) as source:
        if count == 256:
            assert len(taken(source)) == 2 * count
        else:
            with pytest.raises(CaptureError, match="256 files overlap"):
                taken(source)


def test_a_file_gone_since_it_was_looked_into_is_damage(save):
    gone, there = save(pcap(MADE[1::2]), "gone"), save(pcap(MADE[::2]), "there")
    with open_savefiles([str(gone), str(there)]) as source:
        gone.unlink()
        assert taken(source) == MADE[::2]
        assert [damage.path for damage in source.damage] == [str(gone)]


def test_kernels_not_compiled_give_the_same(save):
    paths = [save(pcap(MADE[::3], ">"), "one"), save(pcapng(MADE[1::3]), "two"), save(pcapng(MADE[2::3], ">"), "three")]
    script = "import sys; from tests.capture.capture_files import read; print(read(*sys.argv[1:])[0])"
    run = subprocess.run(
        [sys.executable, "-c", script, *paths],
        env={"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": ":".join([str(Path(__file__).parents[2]), *sys.path])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == str(MADE)
