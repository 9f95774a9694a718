"""INT during a replay: it answers, says how far it came, exits with 130, and its summary says that it is not whole."""

import json
import re
import signal
import subprocess
import sys

import pytest

from tests.replaying import PCAPS, ROOT, sensor

SCAN = PCAPS / "port-scan-syn.pcap"

INTERRUPTING = """
import os, signal, time
from sensor.detection import Detection, on

class Interrupting(Detection):
    "Interrupts what runs it, once, and waits to be stopped; misses everything."
    has_begun = False

    @on("connection_established")
    def look(self, batch):
        if self.has_begun:
            return
        self.has_begun = True
        try:
            os.close(os.open({marker!r}, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            pass
        else:
            for _ in range({times}):  # each once the one before was taken: two that are pending count as one
                os.kill(os.{whom}(), signal.{name})
                while signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
                    time.sleep(0.002)
        while signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL or {times} > 1:
            time.sleep(0.002)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A capture of more packets than are taken at a time, by each of two workers."""
    path = tmp_path_factory.mktemp("large") / "large.pcap"
    traffic = [sys.executable, ROOT / "tools" / "traffic", "--packets", "300000", "--seed", "1", path]
    subprocess.run(traffic, check=True, capture_output=True, timeout=120)
    return path


def interrupted(folder, path, *arguments, name="SIGINT", whom="getpid", times=1):
    plugin = folder / "interrupting.py"
    plugin.write_text(INTERRUPTING.format(marker=str(folder / "marker"), name=name, whom=whom, times=times))
    chosen = ("--plugin", plugin, "--detection", "interrupting", "--detection", "port_scan")
    return sensor("replay", *arguments, *chosen, path)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_replay_of_files_says_how_far_it_came_and_that_it_is_not_whole(tmp_path, large, workers, name, code):
    whom = "getpid" if workers == 1 else "getppid"
    ran = interrupted(tmp_path, large, "--json", "--workers", workers, name=name, whom=whom)
    summary = json.loads(ran.stdout.splitlines()[-1])
    assert (ran.returncode, summary["event_type"], summary["interrupted"]) == (code, "summary", True)
    *_, answer, told = ran.stderr.splitlines()  # before it, perhaps, that kernels compile
    assert answer == "sensor: interrupted: finishing with what has been read; once more ends at once"
    found = re.fullmatch(rf"sensor: interrupted by {name}: stopped at byte ([\d,]+) of ([\d,]+)", told)
    done, total = (int(each.replace(",", "")) for each in found.groups())
    assert 0 <= done < total == large.stat().st_size
    assert 0 <= summary["packets_read"] < 300_000 and summary["damage"] == []


def test_people_read_in_the_summary_that_it_is_of_a_part(tmp_path, large):
    ran = interrupted(tmp_path, large)
    assert ran.returncode == 130 and "\ninterrupted: this is of a part of the input\n" in ran.stdout


def test_a_second_one_ends_it_at_once(tmp_path, large):
    ran = interrupted(tmp_path, large, "--json", times=2)
    assert (ran.returncode, ran.stdout) == (130, "") and "Traceback" not in ran.stderr


def test_a_second_one_ends_what_a_shell_runs_in_the_background(tmp_path, large):
    """A shell lets it ignore INT."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        ran = interrupted(tmp_path, large, "--json", times=2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (ran.returncode, ran.stdout) == (130, "") and "Traceback" not in ran.stderr


def test_what_was_read_to_its_end_is_whole_though_it_was_interrupted(tmp_path):
    ran = interrupted(tmp_path, SCAN, "--json")
    assert ran.returncode == 0 and json.loads(ran.stdout.splitlines()[-1])["interrupted"] is False


def piped(workers):
    """A replay of standard input that has read a scan."""
    command = [sys.executable, "-m", "sensor", "replay", "--json", "--workers", str(workers), "-"]
    process = subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, cwd=ROOT)
    process.stdin.write(SCAN.read_bytes())
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["event_type"] == "alert"
    return process


@pytest.mark.parametrize("workers", [1, 2])
def test_a_pipe_whose_writer_goes_on_is_cut_and_what_that_breaks_is_no_damage(workers):
    with piped(workers) as process:
        process.stdin.write(SCAN.read_bytes()[24:50])  # a part of a packet
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130  # and nothing has come, nor ended, since
        *_, summary = map(json.loads, process.stdout)
        said = process.stderr.read().decode()
    assert (summary["interrupted"], summary["damage"], summary["packets_read"]) == (True, [], 245)
    assert said.splitlines()[-1].startswith("sensor: interrupted by SIGINT: stopped at byte ")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_pipe_whose_writer_ends_too_is_read_to_its_end_and_whole(workers):
    with piped(workers) as process:
        process.send_signal(signal.SIGINT)
        process.stdin.write(SCAN.read_bytes()[24:])
        process.stdin.close()
        *_, summary = map(json.loads, process.stdout)
        assert process.wait(60) == 0
        assert (summary["interrupted"], summary["packets_read"]) == (False, 490)
