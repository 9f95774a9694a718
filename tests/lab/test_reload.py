"""HUP has settings read again while a capture goes on: no packet, connection or alert is lost by it, or told twice."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.lab.test_run import PATIENCE_S, about, ended, frames_of, listening, play
from tests.lab.wire import PCAPS, wire
from tests.replaying import ROOT, replay

assert wire  # a fixture


@pytest.fixture
def kept():
    """A settings file that whoever the sensor becomes may read, as what is in tmp_path may not."""
    with tempfile.TemporaryDirectory(prefix="sensor-reload-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder) / "sensor.toml"


def hang_up(process):
    """Send HUP, and what it says first."""
    process.send_signal(signal.SIGHUP)
    return process.stderr.readline()


@pytest.mark.parametrize("workers", [1, 2])
def test_other_settings_hold_from_then_on_and_no_packet_or_connection_is_lost(wire, kept, workers):
    frames = [(0.0, data) for _, data in frames_of("port-scan-syn")]
    kept.write_text('detections.run = ["port_scan"]\n[detections.port_scan]\nports = 60000\n')
    arguments = ["run", "-i", "near", "--json", "--stats", "--settings", kept, "--capture-workers", workers]
    with listening(wire, *arguments) as process:
        play(wire, frames[:41])  # within a connection: a SYN, of which the answer is yet to come
        kept.write_text('detections.run = ["port_scan"]\n[detections.port_scan]\nports = 20\n')
        assert hang_up(process) == "sensor: the settings were read again: port_scan\n"
        play(wire, frames[41:])
        while (told := json.loads(process.stdout.readline()))["event_type"] != "alert":
            pass
        lines, errors = ended(process)
    whole = replay(PCAPS / "port-scan-syn.pcap").summary
    assert (told["detection"], told["threshold"]) == ("port_scan", 20)
    assert (lines[-1]["packets_read"], lines[-1]["flows"]) == (len(frames), whole["flows"])
    assert lines[-1]["counters"]["kernel_packets"] == len(frames) and errors == ""


def test_settings_that_are_wrong_are_named_and_not_taken(wire, kept):
    kept.write_text('detections.run = ["port_scan"]\n')
    with listening(wire, "run", "-i", "near", "--json", "--settings", kept) as process:
        kept.write_text("[detections.port_scan]\nport = 3\n")
        said = hang_up(process)
        play(wire, frames_of("port-scan-syn"))
        lines, _ = ended(process)
    assert "the settings stay as they are" in said and "did you mean 'ports'" in said
    assert lines[-1]["detections"] == ["port_scan"]
    assert about(lines) == about(replay(PCAPS / "port-scan-syn.pcap").alerts)


def test_a_file_that_the_workers_may_not_read_is_not_taken(wire, kept):
    kept.write_text('detections.run = ["port_scan"]\n')
    with listening(wire, "run", "-i", "near", "--json", "--settings", kept, "--capture-workers", 2) as process:
        kept.chmod(0o600)
        said = hang_up(process)
        lines, _ = ended(process)
    assert "the settings stay as they are" in said and "Permission denied" in said
    assert lines[-1]["workers"] == ["worker-1", "worker-2"]


def test_an_alert_that_stands_is_not_told_again_and_a_plugin_that_changed_is(wire, kept):
    plugin = kept.parent / "knocks.py"
    source = """
from sensor.detection import Alert, Detection, Option, Stream, SumStat, Unique

class Knocks(Detection):
    \"\"\"Knocks.\"\"\"
    refused = Stream("connection_rejected", key="orig_h")
    count = SumStat(epoch="5m", ports=Unique(refused, of="resp_p"))

    @count.crosses(ports=10)
    def knocks(self, key, seen):
        return Alert("knocks", severity="low", same_as=key)
"""
    plugin.write_text(source)
    frames = [(0.0, data) for _, data in frames_of("port-scan-syn")]
    arguments = ["--detection", "knocks", "--detection", "port_scan", "--plugin", plugin]
    with listening(wire, "run", "-i", "near", "--json", *arguments) as process:
        play(wire, frames[:120])
        first = [json.loads(process.stdout.readline()) for _ in range(2)]
        plugin.write_text(source.replace('"knocks", severity', '"knocks anew", severity').replace("same_as=key", ""))
        assert "were read again: knocks, port_scan" in hang_up(process)
        play(wire, frames[120:])
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE_S)
    later = [json.loads(line) for line in out.splitlines()]
    assert sorted(each["detection"] for each in first) == ["knocks", "port_scan"]
    assert [each["message"] for each in later if each["event_type"] == "alert"] == ["knocks anew"]
    assert later[-1]["alerts"] == 3


PICKY = '''
from sensor.detection import Alert, Detection, Stream, SumStat, Unique

class Picky(Detection):
    """Refusals that it cares for."""
    refused = Stream("connection_rejected", key="orig_h", where=lambda batch: batch.resp_p == 0)
    count = SumStat(epoch="5m", ports=Unique(refused, of="resp_p"))

    @count.crosses(ports=10)
    def picked(self, key, seen):
        return Alert("picked", severity="low", same_as=key)
'''


def test_a_worker_of_a_manager_elsewhere_takes_what_defines_the_same(wire, kept):
    plugin = kept.parent / "picky.py"
    plugin.write_text(PICKY)
    kept.write_text('[detections]\nrun = ["picky"]\nplugins = ["picky.py"]\n')
    frames = [(0.0, data) for _, data in frames_of("port-scan-syn")]
    command = [sys.executable, "-m", "sensor", "manager", "--listen", "127.0.0.1:0", "--workers", "a"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with wire.host.inside():
        manager = subprocess.Popen([*command, "--settings", kept, "--json"], cwd=ROOT, text=True, **pipes)
    try:
        bus = re.search(r"127\.0\.0\.1:[0-9]+", manager.stderr.readline())[0]
        arguments = ["worker", "-i", "near", "--manager", bus, "--name", "a", "--settings", kept]
        with listening(wire, *arguments) as worker:
            plugin.write_text(PICKY.replace('"5m"', '"6m"'))
            assert "restart that with these settings, and then this worker" in hang_up(worker)
            plugin.write_text(PICKY.replace("== 0", "> 0"))
            assert hang_up(worker) == "sensor: the settings were read again: picky\n"
            play(wire, frames)
            told = json.loads(manager.stdout.readline())
            worker.send_signal(signal.SIGTERM)
            _, errors = worker.communicate(timeout=PATIENCE_S)
            assert (worker.returncode, errors) == (0, "")
        manager.send_signal(signal.SIGTERM)
        out, _ = manager.communicate(timeout=PATIENCE_S)
    finally:
        manager.kill()
        manager.communicate()
    summary = json.loads(out.splitlines()[-1])
    assert told["detection"] == "picky"
    assert summary["packets_read"] == summary["counters"]["kernel_packets"] == len(frames)
