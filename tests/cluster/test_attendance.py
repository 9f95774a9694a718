"""A manager says who goes, who comes back and who is refused, and what was cut off: not more than can be read."""

import contextlib
import socket
import subprocess
import sys

from sensor.node.attendance import Attendance
from sensor.node.difference import definitions_that_differ, sources_that_differ
from tests.cluster.test_processes import PATIENCE_S, started, until
from tests.replaying import PCAPS, ROOT

CAPTURE = PCAPS / "port-scan-syn.pcap"
PLUGIN = """
from sensor.detection import Detection, Stream, Sum, SumStat

class {name}(Detection):
    tries = Stream("connection_attempt", key="orig_h", where=lambda batch: batch.resp_p > {above})
    count = SumStat(hops=0, epoch="{epoch}", total=Sum(tries))
"""


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Said:
    """What a process has said so far on its standard error, which is a file."""

    def __init__(self, path):
        self._path = path

    def lines(self, *parts):
        """The lines that have all of these in them."""
        return [line for line in self._path.read_text().splitlines() if all(part in line for part in parts)]

    def wait(self, *parts):
        return until(lambda: self.lines(*parts), f"a line with {parts}")


@contextlib.contextmanager
def manager(folder, listen, *options):
    path = folder / "said"
    command = [sys.executable, "-m", "sensor", "manager", "--listen", listen, *map(str, options)]
    with path.open("w") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors)
    try:
        [line, *_] = Said(path).wait("listens at")
        yield line.split("listens at ")[1], Said(path)
    finally:
        process.kill()
        process.wait()


def plugin(folder, file, name="Tries", above=0, epoch="1m"):
    path = folder / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(PLUGIN.format(name=name, above=above, epoch=epoch))
    return ["--detection", name.lower(), "--plugin", str(path)]


def worker(bus, name, *options):
    return started("worker", "--manager", bus, "--name", name, "--replay", CAPTURE, *options)


def test_a_worker_that_is_killed_goes_and_comes_back(tmp_path):
    own = plugin(tmp_path, "tries.py")
    with manager(tmp_path, f"unix:{tmp_path}/bus", "--workers", "w2", *own) as (bus, said):
        opened = subprocess.Popen(
            [sys.executable, "-m", "sensor", "worker", "--manager", bus, "--name", "w2", "--replay", "-", *own],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        opened.stdin.write(CAPTURE.read_bytes())
        opened.stdin.flush()
        status = ["status", "--manager", bus, "--json"]
        until(lambda: '"state":"up"' in ask(*status), "the worker")
        opened.kill()
        opened.communicate()
        assert said.wait("w2 has closed its connection", "after 30 s epochs go on without it")
        with worker(bus, "w2", *own) as process:
            assert process.wait(PATIENCE_S) == 0
        assert len(said.wait("w2 is back")) == 1
        assert len(said.lines("has closed")) == 1  # a worker that is done may go


def ask(*arguments):
    ran = subprocess.run([sys.executable, "-m", "sensor", *arguments], cwd=ROOT, capture_output=True, text=True)
    return ran.stdout


def test_a_worker_with_other_definitions_is_named_with_what_differs_on_both_sides(tmp_path):
    own = plugin(tmp_path, "tries.py")
    cases = {
        "w1": (plugin(tmp_path, "a/tries.py", epoch="2m"), "tries.count is defined otherwise there"),
        "w2": (plugin(tmp_path, "b/others.py", name="Others"), "tries.count is not there; others.count is not here"),
    }
    with manager(tmp_path, f"unix:{tmp_path}/bus", *own) as (bus, said):
        for name, (options, differs) in cases.items():
            with worker(bus, name, *options) as process:
                _, errors = process.communicate(timeout=PATIENCE_S)
            assert (process.returncode, differs in errors) == (1, True), errors
            assert len(said.wait(f"the worker {name}, of this host, is refused", differs)) == 1


def test_a_worker_whose_detection_is_from_another_file_is_named_and_taken(tmp_path):
    own, other = plugin(tmp_path, "tries.py"), plugin(tmp_path, "a/tries.py", above=1000)
    with manager(tmp_path, f"unix:{tmp_path}/bus", *own) as (bus, said):
        for name, options in (("w1", own), ("w2", other)):
            with worker(bus, name, *options) as process:
                assert process.wait(PATIENCE_S) == 0
        assert len(said.wait("w2 runs tries from another file than the manager")) == 1
        assert said.lines("w1") == []


def test_connections_that_say_nothing_of_use_are_told_together(tmp_path):
    with manager(tmp_path, "127.0.0.1:0", "--detection", "port_scan") as (bus, said):
        host, port = bus.rsplit(":", 1)
        for _ in range(50):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(bytes(range(256)))
                with contextlib.suppress(OSError):
                    connection.recv(1)
        [line] = said.wait("cut off, or ended, before it was known whose")
        assert "the last from 127.0.0.1" in line
        assert len(said.lines("")) <= 3


def test_a_worker_that_flaps_is_soon_not_told_and_others_are():
    clock = Clock()
    attendance = Attendance(30.0, clock)
    told = [line for _ in range(1000) for line in (*attendance.gone("a"), *attendance.came("a"))]
    assert len(told) == 11
    assert attendance.unsaid == 2000 - 11
    assert attendance.came("b") == []
    assert len(attendance.gone("b")) == 1
    assert attendance.came("b") == ["b is back"]
    clock.now = 20.0
    assert attendance.gone("a") != []


def test_the_same_refusal_is_told_once_a_minute_and_drives_no_terminal():
    clock = Clock()
    attendance = Attendance(30.0, clock)
    assert attendance.refused("a", "192.0.2.1", "x\x1b[2J") == ["the worker a, from 192.0.2.1, is refused: x\\x1b[2J"]
    for clock.now, wanted in ((59.9, 0), (60.0, 1)):
        assert len(attendance.refused("a", "192.0.2.1", "x\x1b[2J")) == wanted


def test_what_differs_is_named_by_kind():
    here, there = {"a": "1", "a.x": "2", "b.y": "3"}, {"a": "9", "a.x": "2", "c.z": "3"}
    assert definitions_that_differ(here, there) == "b.y is not there; c.z is not here"
    assert definitions_that_differ(here, here) == ""
    assert sources_that_differ(here, there) == ["a"]
