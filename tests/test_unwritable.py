"""What cannot be written, on a full disk, a closed pipe or a closed descriptor, is one line and no traceback."""

import json
import os
import subprocess
import sys

import pytest

from tests.lab.nodes import Node, until
from tests.replaying import PCAPS, ROOT

SCAN = PCAPS / "port-scan-syn.pcap"
FULL = "sensor: standard output: No space left on device\n"


def run(shell, *arguments):
    """A line of bash, in which "$@" is the command."""
    command = ["bash", "-o", "pipefail", "-c", shell, "bash", sys.executable, "-m", "sensor", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("options", [("--json",), ()])
def test_a_replay_to_a_full_disk_is_a_failure_of_one_line(options, workers):
    ran = run('"$@" > /dev/full', "replay", *options, "--workers", workers, SCAN)
    assert (ran.returncode, ran.stderr) == (1, FULL)


def test_a_replay_of_standard_input_ends_when_its_alert_cannot_be_written_though_the_input_does_not():
    command = [sys.executable, "-m", "sensor", "replay", "-"]
    with (
        open("/dev/full", "w") as full,
        subprocess.Popen(command, stdin=-1, stdout=full, stderr=-1, cwd=ROOT) as process,
    ):
        process.stdin.write(SCAN.read_bytes())
        process.stdin.flush()
        line = process.stderr.readline().decode()
        process.stdin.close()
        assert (process.wait(60), line, process.stderr.read()) == (1, FULL, b"")


def test_a_closed_standard_output_is_named_and_no_file_that_is_opened_takes_its_place():
    ran = run('"$@" >&-', "replay", "--json", SCAN)
    assert (ran.returncode, ran.stderr) == (1, "sensor: standard output: Bad file descriptor\n")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reader_that_goes_away_ends_a_replay_quietly(workers):
    ran = run('"$@" | true', "replay", "--json", "--workers", workers, SCAN)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("events",), ("detections", "--json")])
def test_so_it_is_with_whatever_else_is_written_there(arguments):
    ran = run('"$@" > /dev/full', *arguments)
    assert (ran.returncode, ran.stderr) == (1, FULL)
    assert run('"$@" >&-', *arguments).returncode == 1
    ran = run('"$@" | true', *arguments)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("where", ["2> /dev/full", "2>&-"])
def test_what_standard_error_does_not_take_changes_nothing(tmp_path, where):
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(SCAN.read_bytes()[:-5])
    for files, code in (([SCAN], 0), ([cut], 1), ([tmp_path / "absent"], 1)):
        whole, less = run('"$@"', "replay", "--json", *files), run(f'"$@" {where}', "replay", "--json", *files)
        assert (less.returncode, less.stdout.splitlines()[:-1]) == (code, whole.stdout.splitlines()[:-1])


def test_a_closed_standard_input_is_named():
    for arguments in (("replay", "-"), ("replay", "--workers", 2, "-")):
        ran = run('"$@" <&-', *arguments)
        assert (ran.returncode, ran.stderr.count("\n")) == (1, 1) and "no standard input is open" in ran.stderr


@pytest.mark.parametrize("output", ["/dev/full", "gone"])
def test_a_manager_goes_on_when_its_output_cannot_be_written_and_counts_what_was_not_told(tmp_path, output):
    bus, state = f"unix:{tmp_path}/bus", tmp_path / "state"
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") if output == "gone" else open(output, "wb") as out:
        command = ["manager", "--json", "--listen", bus, "--state", state, "--workers", "a,b", "--until-done"]
        with (tmp_path / "log").open("wb") as log:
            manager = subprocess.Popen(
                [sys.executable, "-m", "sensor", *map(str, command)], stdout=out, stderr=log, cwd=ROOT
            )
    workers = []
    try:
        until((tmp_path / "bus").exists, "the manager")
        for name in "ab":
            own = ("worker", "--manager", bus, "--state", tmp_path / name, "--name", name, "--replay", SCAN)
            workers.append(Node((*own, "--share", f"{'ab'.index(name) + 1}/2"), tmp_path / f"{name}.log"))
        assert [each.wait() for each in workers] == [0, 0]
        code = manager.wait(60)
    finally:
        manager.kill()
        for each in workers:
            each.end()
    said = (tmp_path / "log").read_text()
    trouble = "Broken pipe" if output == "gone" else "No space left on device"
    assert said.count(f"sensor: standard output: {trouble}; what is told waits until it can be written\n") == 1
    kinds = [json.loads(line)["event_type"] for line in (state / "alerts.jsonl").read_text().splitlines()]
    assert kinds.count("alert") == 1 and "Traceback" not in said
    assert said.endswith(f"sensor: standard output: {len(kinds) + 1} lines could not be written\n")  # and the summary
    assert code == (0 if output == "gone" else 1)
