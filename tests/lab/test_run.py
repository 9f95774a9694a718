"""`sensor run` and `sensor worker -i` on real interfaces: the same alerts as from a file, and nothing uncounted."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import dpkt
import pytest

from sensor.counters import metric
from tests.lab.wire import PCAPS, udp, wait_for, wire  # noqa: F401 - a fixture
from tests.replaying import ROOT, replay

PATIENCE_S, WATCHDOG_S = 60.0, 120.0
ABOUT = ("detection", "kind", "src", "dst", "port", "threshold")


def frames_of(name):
    """Times (s, from the first on) and frames of a capture."""
    with (PCAPS / f"{name}.pcap").open("rb") as file:
        read = [(ts, bytes(data)) for ts, data in dpkt.pcap.Reader(file)]
    return [(ts - read[0][0], data) for ts, data in read]


def play(wire, frames):  # noqa: F811
    """Send frames at the pace at which they were captured."""
    with wire.sender() as sending:
        start = time.monotonic()
        for at, frame in frames:
            while (ahead := start + at - time.monotonic()) > 0:
                time.sleep(min(ahead, 0.01))
            sending.send(frame)


@contextlib.contextmanager
def listening(wire, *arguments):  # noqa: F811
    """A sensor in the wire's namespace that has opened its interfaces; ended, whatever happens."""
    command = [sys.executable, "-m", "sensor", *map(str, arguments)]
    with wire.host.inside():
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
        )
    watchdog = threading.Timer(WATCHDOG_S, process.kill)  # so that no test waits for ever for what is not said
    watchdog.start()
    try:
        line = process.stderr.readline()
        assert "listening on" in line, line + process.stderr.read()
        yield process
    finally:
        watchdog.cancel()
        if process.poll() is None:
            process.kill()
        process.communicate()


def ended(process):
    """What it has written, as JSON lines, after an INT, and what it said."""
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    told = [line for line in errors.splitlines() if not re.search("no packets for|packets come again", line)]
    return [json.loads(line) for line in out.splitlines()], "\n".join(told)


def about(alerts):
    """What alerts stand in the end: one that went out early may be part of another, or be withdrawn."""
    gone = {each["id"] for each in alerts if each.get("folded_into") or each.get("state") == "withdrawn"}
    told = [each for each in alerts if each["event_type"] == "alert" and each["id"] not in gone]
    return sorted([[each[name] for name in ABOUT] for each in told], key=str)


@pytest.mark.parametrize(
    ("name", "workers"),
    [("random-scan", 1), ("random-scan", 4), ("port-scan-syn", 2), ("port-scan-xmas", 1), ("curl-and-dig", 2)],
)
def test_what_is_played_over_a_wire_gives_the_alerts_of_the_file(wire, name, workers):  # noqa: F811
    frames = frames_of(name)
    with listening(wire, "run", "-i", "near", "--json", "--capture-workers", workers) as process:
        play(wire, frames)
        lines, errors = ended(process)
    summary = lines[-1]
    assert about(lines) == about(replay(PCAPS / f"{name}.pcap").alerts)
    assert len(summary["workers"]) == workers
    counters = summary["counters"]
    assert [name for name in counters if metric(name) is None] == []
    assert summary["packets_read"] == counters["packets_delivered"] == counters["kernel_packets"] == len(frames)
    assert (counters["ring_drops"], counters["nic_drops"], counters["gaps"], errors) == (0, 0, 0, "")


def test_scapy_captures_where_it_is_told_to_and_says_that_it_is_slow(wire):  # noqa: F811
    arguments = ["run", "-i", "near", "--json", "--source", "scapy"]
    with wire.host.inside():
        process = subprocess.Popen(
            [sys.executable, "-m", "sensor", *arguments],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    try:
        assert "slow" in process.stderr.readline()
        assert "listening on near as nobody, without any capability" in process.stderr.readline()
        play(wire, frames_of("port-scan-syn"))
        lines, _ = ended(process)
    finally:
        process.kill()
        process.communicate()
    assert about(lines) == about(replay(PCAPS / "port-scan-syn.pcap").alerts)
    assert lines[-1]["packets_read"] == lines[-1]["counters"]["packets_delivered"] == len(frames_of("port-scan-syn"))


def test_an_alert_is_told_while_packets_still_come_and_waits_end_while_none_do(wire):  # noqa: F811
    """Probes of a host that never answers are failures once the wait is over, though nothing else passes."""
    frames = [(0.0, data) for _, data in frames_of("port-scan-filtered")][:200]
    with listening(wire, "run", "-i", "near", "--json", "--set", "flows.tcp_attempt=1s") as process:
        play(wire, frames)
        told = json.loads(process.stdout.readline())
        assert (told["event_type"], told["detection"]) == ("alert", "port_scan")
        ended(process)


def test_a_filter_is_applied_in_the_kernel(wire):  # noqa: F811
    with listening(wire, "run", "-i", "near", "--json", "-f", "udp port 53") as process:
        play(wire, [(0.0, udp(n)) for n in range(50)] + frames_of("port-scan-syn")[:50])
        lines, _ = ended(process)
    assert lines[-1]["counters"]["kernel_packets"] == lines[-1]["packets_read"] == 50


def test_a_live_worker_reports_to_a_manager_as_one_that_reads_a_file_does(wire):  # noqa: F811
    command = [sys.executable, "-m", "sensor", "manager", "--listen", "127.0.0.1:0", "--workers", "a", "--until-done"]
    with wire.host.inside():
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        manager = subprocess.Popen([*command, "--json"], cwd=ROOT, text=True, **pipes)
    try:
        bus = re.search(r"127\.0\.0\.1:[0-9]+", manager.stderr.readline())[0]
        with listening(wire, "worker", "-i", "near", "--manager", bus, "--name", "a") as worker:
            play(wire, frames_of("random-scan"))
            worker.send_signal(signal.SIGTERM)
            _, errors = worker.communicate(timeout=PATIENCE_S)
            assert (worker.returncode, errors) == (0, "")
        out, errors = manager.communicate(timeout=PATIENCE_S)
    finally:
        if manager.poll() is None:
            manager.kill()
            manager.communicate()
    lines = [json.loads(line) for line in out.splitlines()]
    assert about(lines) == about(replay(PCAPS / "random-scan.pcap").alerts)
    assert lines[-1]["counters"]["kernel_packets"] == lines[-1]["packets_read"] == len(frames_of("random-scan"))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-i", "none0"], 1, "none0: there is no such interface; `sensor interfaces` lists"),
        (["-i", "near", "-f", "tcp prt 80"], 2, "filter 'tcp prt 80'"),
        (["-i", "near", "--ring", "65536"], 1, "make it smaller"),
        ([], 2, "give -i IFACE"),
        (["-i", "near", "--source", "scapy", "--capture-workers", "2"], 2, "cannot be shared"),
    ],
)
def test_what_is_in_the_way_is_said_in_a_line(wire, arguments, code, said):  # noqa: F811
    command = [sys.executable, "-m", "sensor", "run", *arguments]
    with wire.host.inside():
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (ran.returncode, said in ran.stderr) == (code, True), ran.stderr
    assert "Traceback" not in ran.stderr


def test_without_the_privilege_to_capture_it_says_so(wire):  # noqa: F811
    command = ["setpriv", "--bounding-set", "-net_raw", sys.executable, "-m", "sensor", "run", "-i", "near"]
    with wire.host.inside():
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (ran.returncode, "CAP_NET_RAW" in ran.stderr) == (77, True), ran.stderr


def test_a_capture_worker_that_is_killed_is_started_anew_and_what_it_missed_is_said(wire):  # noqa: F811
    frames = frames_of("random-scan")
    with listening(wire, "run", "-i", "near", "--json", "--stats", "--capture-workers", 2) as process:
        hear_of_both(wire, process)
        first, second = (pid for pid in workers_of(process.pid))
        os.kill(first, signal.SIGKILL)
        assert process.stderr.readline() == "sensor: worker-1 is restarted: it was ended by SIGKILL\n"
        assert "sensor: worker-1: listening on near as nobody" in process.stderr.readline()
        assert len({first, second, *workers_of(process.pid)}) == 3
        play(wire, frames)
        lines, _ = ended(process)
    assert about(lines) == about(replay(PCAPS / "random-scan.pcap").alerts)
    assert lines[-1]["workers"] == ["worker-1", "worker-2"]
    last = [each for each in lines if each["event_type"] in ("alert", "alert_update")][-1]
    # An alert that goes out early does not know yet. The other is missing too if it came to listen a little later.
    assert ("worker-1" in last["missing"], last["complete"]) == (True, False)


def hear_of_both(wire, process):  # noqa: F811
    """Wait until the manager knows of what came to either of two workers: pairs of hosts of both, 32 that may be."""
    wire.send([udp(0)[:29] + bytes([number]) + udp(0)[30:] for number in range(32)])
    while json.loads(process.stdout.readline())["kernel_packets"]["total"] < 32:
        pass


def workers_of(pid):
    """The worker processes that it has started."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if b"worker" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                found.append(int(child))
    return found
