"""A live sensor whose standard output takes nothing goes on, says so, and writes what it found when there is room."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sensor.clock import now_ns
from sensor.pki.authority import create
from tests.cluster.certificates import make_node
from tests.lab.nodes import until
from tests.lab.sensing import ENVIRONMENT
from tests.lab.test_run_faults import RUN, scan
from tests.lab.wire import wire
from tests.replaying import ROOT, sensor

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
assert wire  # a fixture


@contextlib.contextmanager
def running(wire, folder, out):
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "sensor", *RUN]
        process = wire.host.popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=out, stderr=log)
    try:
        until(lambda: "listening on" in (folder / "log").read_text(), "the sensor")
        yield process, lambda: (folder / "log").read_text()
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_on_a_full_disk_it_captures_on_and_an_alert_is_written_when_there_is_room(wire, tmp_path, small_disk):
    filler, out = small_disk / "filler", small_disk / "out"
    with out.open("wb") as file, filler.open("wb", buffering=0) as fill, contextlib.suppress(OSError):
        while True:
            fill.write(bytes(4096))
    with out.open("ab") as file, running(wire, tmp_path, file) as (process, said):
        scan(wire)
        trouble = "sensor: standard output: No space left on device; what is told waits until it can be written\n"
        until(lambda: trouble in said(), said)
        assert process.poll() is None and out.stat().st_size == 0
        filler.unlink()
        until(lambda: "sensor: standard output can be written again\n" in said(), said)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert "interfaces" not in said() and "Traceback" not in said()
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [records[0]["event_type"], records[-1]["event_type"]] == ["alert", "summary"]
    assert records[-1]["packets_read"] == records[-1]["counters"]["kernel_packets"] > 200


def test_to_a_full_disk_it_ends_with_1_and_a_count_and_to_a_closed_pipe_with_0(wire, tmp_path):
    for name, code in (("/dev/full", 1), ("pipe", 0)):
        reader, writer = os.pipe()
        os.close(reader)
        with (
            os.fdopen(writer, "wb") if name == "pipe" else open(name, "wb") as out,
            running(wire, tmp_path, out) as (process, said),
        ):
            scan(wire)
            until(lambda said=said: "; what is told waits" in said(), said)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == code
            *_, last = [line for line in said().splitlines() if "standard output" in line]
            assert last.endswith("lines could not be written") and "Traceback" not in said()


@pytest.fixture
def anybodys():
    """A folder that every user can enter; those of tests are closed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("closed", ["--state", "--spool"])
def test_a_worker_whose_folder_its_user_cannot_enter_says_which_and_calls_nobody(anybodys, closed):
    manager, shut = anybodys / "manager", anybodys / "shut"
    state, open_folder = shut / "w", anybodys / "open" / "w"
    shut.mkdir(mode=0o700)
    open_folder.parent.mkdir()
    create(manager / "cluster", "127.0.0.1", bus="127.0.0.1:47799", enrolment="127.0.0.1:47798", now=now_ns())
    for folder in (state, open_folder):
        make_node(folder / "cluster", manager / "cluster", "w")
    given = ("--state", state) if closed == "--state" else ("--state", open_folder, "--spool", shut / "spool")
    ran = sensor("worker", *given, "-i", "lo", "--user", "nobody")
    assert (ran.returncode, ran.stdout) == (77, "")
    [line] = ran.stderr.splitlines()
    assert f"nobody, whom this worker becomes, may not enter {shut}: chmod o+x {shut}" in line
