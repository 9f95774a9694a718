"""`-f FILTER` over files: what tcpdump would read, whoever shares the work, and all else counted."""

import shutil
import subprocess

import pytest

from tests.replaying import PCAPS, replay

SCAN = PCAPS / "random-scan.pcap"


@pytest.mark.parametrize("text", ["tcp port 22", "not tcp", "host 192.0.2.10 and tcp[tcpflags] & tcp-syn != 0", "ip6"])
def test_what_is_read_is_what_tcpdump_reads(text):
    if shutil.which("tcpdump") is None:
        pytest.skip("tcpdump is not installed")
    read = subprocess.run(["tcpdump", "-nr", SCAN, text], capture_output=True, text=True, check=True).stdout
    ran = replay(SCAN, "-f", text)
    whole = replay(SCAN).summary["packets_read"]
    assert ran.exit_code == 0
    assert ran.summary["packets_read"] == ran.summary["packets_decoded"] == len(read.splitlines())
    assert ran.summary["counters"]["packets_filtered"] == whole - len(read.splitlines())


def test_workers_that_share_a_file_share_the_filter():
    alone, shared = (replay(SCAN, "-f", "tcp portrange 1-30", *more) for more in ((), ("--workers", 2)))
    assert shared.summary["packets_read"] == alone.summary["packets_read"] < replay(SCAN).summary["packets_read"]
    assert [each["id"] for each in shared.alerts] == [each["id"] for each in alone.alerts]


def test_a_filter_that_is_none_is_a_usage_error_of_one_line():
    ran = replay(SCAN, "-f", "tcp prt 22")
    assert (ran.exit_code, ran.stderr.count("\n"), "tcp prt 22" in ran.stderr) == (2, 1, True)
