"""Several workers share standard input: what stands is what the file gives, told at once, and nothing is lost."""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys

import pytest

from tests.cluster.test_processes import children, until
from tests.replaying import PCAPS, ROOT, replay, sensor

SCAN, RANDOM = PCAPS / "port-scan-syn.pcap", PCAPS / "random-scan.pcap"
SAME = ("packets_read", "packets_decoded", "bytes", "flows", "observations")
PATIENCE_S = 90.0
FINAL = ("id", "kind", "src", "dst", "port", "severity", "value", "first_seen", "last_seen")


@contextlib.contextmanager
def piped(*arguments):
    """`sensor replay --json -` with workers, whose standard input and lines the test has; ended, whatever happens."""
    command = [sys.executable, "-m", "sensor", "replay", "--json", *map(str, arguments), "-"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, cwd=ROOT, **pipes)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read(process):
    return json.loads(process.stdout.readline())


def rest(process, data=b""):
    """What it writes to the end, and says, when it was given the rest of its input."""
    output, errors = process.communicate(data, timeout=PATIENCE_S)
    return [json.loads(line) for line in output.splitlines()], errors.decode()


@pytest.mark.parametrize("workers", [2, 4])
def test_alerts_are_told_at_once_and_updated_with_what_the_file_gives(workers):
    alone, data = replay(SCAN), SCAN.read_bytes()
    with piped("--workers", workers) as run:
        run.stdin.write(data)
        run.stdin.flush()
        alert = read(run)  # the input has not ended
        records, errors = rest(run)
    update, summary = records
    assert (run.returncode, errors) == (0, "")
    assert (alert["event_type"], alert["id"]) == ("alert", alone.alerts[0]["id"])
    assert {name: update[name] for name in FINAL} == {name: alone.alerts[0][name] for name in FINAL}
    assert {name: summary[name] for name in SAME} == {name: alone.summary[name] for name in SAME}
    assert summary["workers"] == [f"worker-{n + 1}" for n in range(workers)]


def test_a_file_as_standard_input_and_another_one_are_merged_as_two_files_are():
    alone = replay(SCAN, RANDOM)
    with RANDOM.open("rb") as stdin:
        ran = sensor("replay", "--json", "--workers", 2, "-", SCAN, stdin=stdin)
    summary = json.loads(ran.stdout.splitlines()[-1])
    assert (ran.returncode, ran.stderr) == (0, "")
    assert {name: summary[name] for name in SAME} == {name: alone.summary[name] for name in SAME}


def test_a_worker_that_dies_is_named_as_missing_and_the_others_go_on():
    data = RANDOM.read_bytes()
    with piped("--workers", 2) as run:
        run.stdin.write(data[:30_000])
        run.stdin.flush()
        [first, _] = until(lambda: len(found := children(run.pid)) == 2 and found, "two workers")
        os.kill(first, signal.SIGKILL)
        said = run.stderr.readline().decode()
        run.stdin.write(data[30_000:])
        records, errors = rest(run)
    summary = records[-1]
    assert "died once, and its share is missing" in said and "standard input cannot be read again" in said
    assert "SIGKILL" in said
    assert (run.returncode, errors.count("\n"), len(summary["damage"]), len(summary["workers"])) == (1, 1, 1, 1)
    last = {each["id"]: each for each in records[:-1]}
    assert all(each["missing"] and not each["complete"] for each in last.values())


def test_an_interrupt_ends_all_workers_at_the_same_packet():
    data = SCAN.read_bytes()
    with piped("--workers", 2) as run:
        run.stdin.write(data[:-5])  # within a packet
        run.stdin.flush()
        assert read(run)["event_type"] == "alert"
        run.send_signal(signal.SIGINT)
        records, errors = rest(run)
    assert (run.returncode, errors.count("\n"), errors[:20]) == (0, 1, "sensor: interrupted:")
    assert records[-1]["packets_read"] == records[-1]["packets_decoded"] == replay(SCAN).summary["packets_read"] - 1


@pytest.mark.parametrize("length", [10, 24, 5000])
def test_input_that_ends_too_early_is_told_once_as_by_one_worker(length):
    data = SCAN.read_bytes()[:length]
    told = []
    for workers in (1, 2):
        with piped("--workers", workers) as run:
            records, errors = rest(run, data)
        told.append((run.returncode, errors, records[-1]["damage"], records[-1]["packets_read"]))
    assert told[0] == told[1]


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.0\r\n"])
def test_input_that_is_no_capture_is_said_as_by_one_worker(data):
    told = []
    for workers in (1, 2):
        with piped("--workers", workers) as run:
            told.append((rest(run, data), run.returncode))
    (records, errors), code = told[0]
    assert told == [told[0]] * 2
    assert (records, errors.count("\n"), code) == ([], 1, 1)


def test_input_that_cannot_be_read_to_its_end_is_damaged():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as stdin:
        writer, _ = server.accept()
        writer.sendall(SCAN.read_bytes())
        writer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        command = [sys.executable, "-m", "sensor", "replay", "--json", "--workers", "2", "-"]
        with subprocess.Popen(command, cwd=ROOT, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
            assert read(run)["event_type"] == "alert"
            writer.close()  # by a reset
            records, errors = rest(run, None)
    assert (run.returncode, errors) == (1, "sensor: damaged: -: reading failed: Connection reset by peer\n")
    assert records[-1]["packets_read"] == replay(SCAN).summary["packets_read"]


def test_standard_input_named_twice_is_one_line():
    ran = sensor("replay", "--workers", 2, "-", "-", stdin=subprocess.DEVNULL)
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert "read only once" in ran.stderr


def test_where_no_standard_input_is_open_that_is_said():
    for workers in ("1", "2"):
        command = f"'{sys.executable}' -m sensor replay --workers {workers} - <&-"
        ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_S)
        assert (ran.returncode, ran.stderr) == (1, "sensor: -: no standard input is open; name a file\n")
