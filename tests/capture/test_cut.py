"""A file cut or begun anew while it is read: what was read of it counts, the rest is damage, and nothing dies."""

import gzip
import json
import os
import subprocess
import sys

import pytest
import zstandard

from sensor.capture import open_savefiles
from tests.capture.capture_files import packets, pcap, pcapng, taken
from tests.replaying import PCAPS, ROOT

MADE = packets(20_000, size=400)  # two windows
SHORTER = "the file became shorter while it was read"


def cut_after_a_block(path, length):
    """Read a block, cut the file, and read the rest: the packets in all, and the damage."""
    with open_savefiles([str(path)]) as source:
        blocks = source.blocks()
        first = len(next(blocks).frames)
        os.truncate(path, length)
        return first + sum(len(block.frames) for block in blocks), first, source.damage


@pytest.mark.parametrize("form", [pcap, pcapng])
@pytest.mark.parametrize("length", [0, 1000, -1])
def test_what_was_read_before_a_file_is_cut_counts_and_the_rest_is_damage(save, form, length):
    path = save(form(MADE))
    size = path.stat().st_size
    found, first, damage = cut_after_a_block(path, length % size)
    assert first <= found < len(MADE)
    assert [SHORTER in each.message for each in damage] == [True]


def test_a_file_that_has_all_its_bytes_still_or_more_is_whole(save):
    path = save(pcap(MADE))
    for more in (0, 1):
        assert cut_after_a_block(path, path.stat().st_size + more)[::2] == (len(MADE), [])


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_compressed_file_that_is_cut_says_so(save, pack):
    path = save(pack(pcap(MADE)) + pack(pcap(MADE)[24:]))
    found, _, damage = cut_after_a_block(path, 0)
    assert found < 2 * len(MADE)
    assert [SHORTER in each.message for each in damage] == [True]


def test_a_file_that_is_begun_anew_gives_nothing_of_its_new_bytes(save):
    path = save(pcap(MADE))
    with open_savefiles([str(path)]) as source:
        blocks = source.blocks()
        found = [int(ts) for ts in next(blocks).frames["ts"]]
        path.write_bytes(pcap(packets(18_000, start=10**18, size=400)))
        found += [int(ts) for block in blocks for ts in block.frames["ts"]]
        assert found == [packet.ts for packet in MADE[: len(found)]]
        assert SHORTER in source.damage[0].message


def test_a_file_that_was_begun_anew_before_its_turn_came_is_damage(save):
    early, late = save(pcap(MADE[:10]), "early"), save(pcap(MADE[10:20]), "late")
    with open_savefiles([str(early), str(late)]) as source:
        late.write_bytes(pcap(MADE[10:15]))
        assert taken(source)[:10] == MADE[:10]
        assert [SHORTER in each.message for each in source.damage] == [True]


def test_standard_input_from_a_file_that_is_cut_is_damaged_too(save):
    path = save(pcap(MADE))
    with path.open("rb") as stdin, open_savefiles(["-"], stdin=stdin) as source:
        blocks = source.blocks()
        next(blocks)
        os.truncate(path, 24)
        assert sum(len(block.frames) for block in blocks) < len(MADE)
        assert SHORTER in source.damage[0].message


def test_a_replay_of_a_file_that_is_cut_ends_with_alerts_a_summary_and_one(tmp_path):
    scan = (PCAPS / "port-scan-syn.pcap").read_bytes()
    path = tmp_path / "cut.pcap"
    path.write_bytes(scan + pcap(MADE)[24:])
    code = (
        "import os, sys\n"
        "from sensor.cli.main import group\n"
        "from sensor.cluster.worker import Worker\n"
        "process = Worker.process\n"
        "def cutting(self, block, **more):\n"
        "    os.truncate(sys.argv[-1], 0)\n"
        "    return process(self, block, **more)\n"
        "Worker.process = cutting\n"
        "group(prog_name='sensor')\n"
    )
    command = [sys.executable, "-c", code, "replay", "--json", str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    *alerts, summary = map(json.loads, ran.stdout.splitlines())
    assert ran.returncode == 1 and f"sensor: damaged: {path}: at byte " in ran.stderr and SHORTER in ran.stderr
    assert [alert["detection"] for alert in alerts] == ["port_scan"]
    assert 0 < summary["packets_read"] < len(MADE) and SHORTER in summary["damage"][0]
