"""A manager that is killed at the very moment when it writes, or makes durable, loses no alert and doubles none."""

import random
import signal

import pytest

from tests.lab.nodes import BLOCKS, SENSOR, Capture, Cluster, until

DYING = """
import os, signal, sys
left, fsync, write = {number}, os.fsync, os.write

def is_due(point, file):
    global left
    is_there = point == {point!r} and {file!r} in os.readlink(f"/proc/self/fd/{{file}}")
    left -= is_there
    return is_there and not left

def die():
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()

def dying_fsync(file):
    is_due("before it syncs", file) and die()
    fsync(file)
    is_due("after it has synced", file) and die()

def dying_write(file, data):
    if is_due("half-way through a write", file):
        write(file, data[: len(data) // 2])
        die()
    return write(file, data)

os.fsync, os.write = dying_fsync, dying_write
from sensor.cli.main import main
main()
"""
"""What to run instead of the sensor: it is killed at a point, the n-th time that it comes there with such a file."""


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    return Capture(tmp_path_factory.mktemp("capture") / "scans.pcap")


def died(manager):
    return manager.is_over and manager.wait() == -signal.SIGKILL


@pytest.mark.parametrize("point", ["before it syncs", "after it has synced", "half-way through a write"])
@pytest.mark.parametrize("file", ["journal-", "alerts.jsonl"])
def test_a_manager_that_is_killed_as_it_writes_loses_no_alert_and_doubles_none(tmp_path, capture, file, point):
    number = random.Random(f"{file} {point}").randint(3, 12)
    programs = {"manager": ("-c", DYING.format(point=point, file=file, number=number))}
    with Cluster(tmp_path, capture, ["a", "b"], programs=programs) as cluster:
        cluster.start("manager", "a", "b")
        cluster.read(2)
        until(lambda: died(cluster.nodes["manager"]) or len(cluster.under_way()) == 2, "workers that read")
        for block in range(BLOCKS + 1):
            if died(cluster.nodes["manager"]):
                break
            cluster.read(block, "a", "b")
        until(lambda: died(cluster.nodes["manager"]), "the manager to die")
        programs["manager"] = SENSOR
        cluster.start("manager")
        cluster.finish()
        assert cluster.told() == capture.alerts
