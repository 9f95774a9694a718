"""Live accounting on a real wire: quiet is told from deaf and from away; the last record has what the summary has."""

import json
import re
import subprocess
import sys
import threading
import time

import pytest

from sensor.capture.bpf.filter import Filter
from sensor.capture.live.af_packet import Geometry
from sensor.config import configure
from sensor.node import Standalone
from sensor.node.run_monitor import RunMonitor
from tests.lab.test_run import ended, frames_of, listening, play
from tests.lab.wire import LIMIT_S, Sender, tagged, udp, wire  # noqa: F401 - a fixture
from tests.replaying import ROOT

SENSOR = (sys.executable, "-m", "sensor")
PATIENCE_S = 0.5


class Watched:
    """A sensor in this process that keeps what it says; `until` runs it until it has said so much."""

    def __init__(self, live, filter_text=""):
        self.lines, self.records = [], []
        self._heard = threading.Condition()
        self._node = Standalone(configure(names=("port_scan",)), [], live=True)
        told = {"tell": [self.records.append], "say": self._hear, "patience_s": PATIENCE_S, "every_s": 0.05}
        self.accounting = RunMonitor(live.taps, filter_text=filter_text, **told)
        self._runs = threading.Thread(target=self._run, args=(live,), daemon=True)

    def _run(self, live):
        self.summary = self._node.run(live, lambda done, packets: None, self.accounting)

    def _hear(self, text):
        with self._heard:
            self.lines.append(text)
            self._heard.notify()

    def wait_for(self, words):
        """The line with these words, once it is said after all that was waited for before."""
        with self._heard:
            assert self._heard.wait_for(lambda: any(words in line for line in self.lines), LIMIT_S), self.lines
            found = next(line for line in self.lines if words in line)
            del self.lines[: self.lines.index(found) + 1]
        return found

    def __enter__(self):
        self._runs.start()
        return self

    def __exit__(self, *about):
        self._node.stop()
        self._runs.join(LIMIT_S)


def test_quiet_is_told_from_away_and_is_over_with_a_packet(wire):  # noqa: F811
    with wire.live() as live, Watched(live) as watched:
        assert "none arrive there" in watched.wait_for("no packets for")
        wire.set("near", "down")
        assert "`ip link set near up`" in watched.wait_for("no packets for")
        wire.set("near", "up")
        assert "none arrive there" in watched.wait_for("no packets for")
        wire.send([udp(0)])
        watched.wait_for("near: packets come again")
    assert watched.accounting.hints == []
    assert [line.split(": ")[0] for line in watched.summary.hints] == ["near", "near"]
    assert watched.records[-1].kernel_packets.total == watched.summary.packets_read == 1


@pytest.mark.parametrize(
    ("filter_text", "frame", "words"),
    [
        ("udp port 9", udp(0), "none of them matches the filter 'udp port 9'"),
        ("udp port 53", tagged(udp(0), 7), "write 'vlan and (udp port 53)'"),
    ],
    ids=["filter", "tag"],
)
def test_an_interface_that_gets_packets_of_which_the_sensor_has_none_is_not_quiet(wire, filter_text, frame, words):  # noqa: F811
    with wire.live(program=Filter(filter_text).program(1)) as live, Watched(live, filter_text) as watched:
        watched.wait_for("none arrive there")
        wire.send([frame] * 3)
        assert "3 " in watched.wait_for(words)
        assert watched.accounting.hints
    assert any(words in line for line in watched.summary.hints)
    assert watched.summary.packets_read == 0


def test_losses_are_said_while_they_happen(wire):  # noqa: F811
    """The ring is filled while nobody reads it."""
    with wire.live(ring=Geometry(1 << 12, 4)) as live:
        wire.send([udp(n, size=1000) for n in range(200)])
        with Watched(live) as watched:
            said = watched.wait_for("packets are lost")
            assert "--ring" in said
            watched.wait_for("no more packets are lost there")
    last = watched.records[-1]
    assert last.ring_drops.total > 0
    assert last.kernel_packets.total == last.packets_delivered.total + last.ring_drops.total == 200


@pytest.mark.parametrize("directions", [1, 2])
def test_a_mirror_of_one_direction_is_told_from_one_of_both(wire, directions):  # noqa: F811
    frames = [data for _, data in frames_of("monitoring-poll")]
    if directions == 1:
        sender = frames[0][6:12]
        frames = [data for data in frames if data[6:12] == sender]
    with wire.live() as live, Watched(live) as watched:
        wire.send(frames)
        if directions == 1:
            assert "with data 80 were heard from one end" in watched.wait_for("one direction only")
        else:
            watched.wait_for("no packets for")  # by then it would have been said
    assert sum("one direction" in line for line in watched.summary.hints) == 2 - directions
    assert watched.summary.counters["data_connections"] == 80


def test_the_status_of_a_cluster_has_the_pace_and_the_losses_of_a_live_worker(wire):  # noqa: F811
    with wire.host.inside():
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        manager = subprocess.Popen(
            [*SENSOR, "manager", "--listen", "127.0.0.1:0", "--json"], cwd=ROOT, text=True, **pipes
        )
    sender = Sender(wire.sender(), lambda n: udp(n % 50))
    try:
        bus = re.search(r"127\.0\.0\.1:[0-9]+", manager.stderr.readline())[0]
        with listening(wire, "worker", "-i", "near", "--manager", bus, "--name", "a") as worker:
            sender.start()
            [node] = wait_until(lambda: paced(wire, bus))
            assert node["loss"] == pytest.approx(0.0, abs=1.0)
            assert 0.0 <= node["loss_now"] <= 1.0
            sender.finish()
            worker.terminate()
            assert worker.wait(60) == 0
        shown = status(wire, bus)
        assert shown.split()[:4] == ["node", "state", "packet", "clock"]
        assert "packets/s" in shown and "loss now" in shown
        manager.terminate()
        out, _ = manager.communicate(timeout=60)
    finally:
        if sender.ident:
            sender.finish()
        if manager.poll() is None:
            manager.kill()
            manager.communicate()
    counters = json.loads(out.splitlines()[-1])["counters"]
    assert counters["kernel_packets"] == counters["packets_delivered"] + counters["ring_drops"] == sender.sent


def status(wire, bus, *options):  # noqa: F811
    """What a manager on the loopback of the wire's namespace says of itself."""
    with wire.host.inside():
        command = [*SENSOR, "status", "--manager", bus, *options]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S).stdout


def paced(wire, bus):  # noqa: F811
    """The nodes of a manager, once the pace of each is known."""
    nodes = json.loads(status(wire, bus, "--json"))["nodes"]
    return nodes if nodes and all(each["packets_per_second"] for each in nodes) else None


def wait_until(found):
    """What is found, once it is; fails rather than wait for ever."""
    deadline = time.monotonic() + LIMIT_S
    while not (result := found()):
        assert time.monotonic() < deadline
    return result


def test_the_last_record_has_the_totals_of_the_summary(wire):  # noqa: F811
    frames = frames_of("random-scan")
    with listening(wire, "run", "-i", "near", "--json", "--stats") as process:
        play(wire, frames)
        lines, errors = ended(process)
    records = [each for each in lines if each["event_type"] == "stats"]
    summary, last = lines[-1], records[-1]
    assert len(records) > 2
    assert lines[-2] == last
    names = ("kernel_packets", "packets_delivered", "ring_drops", "nic_drops")
    assert {name: last[name]["total"] for name in names} == {name: summary["counters"][name] for name in names}
    for name in ("bytes", "flows", "observations", "alerts"):
        assert last[name]["total"] == summary[name], name
    assert {name: each["total"] for name, each in last["refused"].items()} == summary["refused"]
    assert all(each["total"] == summary["counters"][name] for name, each in last["queue_drops"].items())
    assert last["kernel_packets"]["total"] == len(frames)
    assert sum(each["kernel_packets"]["rate"] * each["seconds"] for each in records) == pytest.approx(len(frames), 0.01)
    assert all(each["seconds"] < 1.5 for each in records[:-1])
    assert (summary["hints"], errors) == ([], "")


def test_what_each_second_was_like_is_said_on_standard_error_if_asked_for(wire):  # noqa: F811
    with listening(wire, "run", "-i", "near", "--stats") as process:
        play(wire, frames_of("curl-and-dig"))
        assert "packets/s" in process.stderr.readline()
        process.terminate()
        out, errors = process.communicate(timeout=60)
    assert "packets/s, " not in out.partition("packets read")[0]
    assert "dropped 0/s in the ring and 0/s by the card" in errors
