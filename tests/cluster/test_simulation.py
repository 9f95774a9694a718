"""Simulated clusters: they come to what one process comes to, whatever dies; faults put in on purpose are found."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from random import Random

import pytest

from sensor.bus.message import Message
from sensor.cluster.messages import Ack, Counts, Heartbeat, Hello, Welcome
from tests.replaying import ROOT
from tools.simulated_disk import SimulatedDisk
from tools.simulation import faults
from tools.simulation.connection import Connection
from tools.simulation.history import History
from tools.simulation.manager import Heard, ManagerProcess
from tools.simulation.network import Network, Timeline

BROKEN = {
    "skip-sequence-check": 0,
    "acknowledge-before-log": 5,
    "count-replies": 0,
    "judge-last-group": 0,
    "drop-epoch-from-crossings": 53,
    "forget-given-up": 12,
    "name-all": 1,
    "forget-runs": 5,
    "last-by-hand-first": 0,
    "drop-late": 58,
    "late-by-itself": 3,
    "trust-first-clock": 0,
    "freeze-figures": 0,
}
"""Ways to break the protocol, and a seed that finds each; `welcome-before-log`, which is rare, has its test below."""


def simulate(*arguments, seed="0"):
    return subprocess.run(
        [sys.executable, "tools/simulate", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )


def test_clusters_that_lose_messages_links_and_nodes_tell_what_one_process_tells():
    seeds = 100
    ran = simulate("--seeds", seeds, "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    summary = json.loads(ran.stdout)
    assert (summary["seeds"], summary["failed"]) == (seeds, 0)
    network = "cuts", "dropped", "duplicated", "reordered"
    nodes = "kills", "crashes", "joins", "leaves", "steps_back", "skews", "ends_by_hand", "given_up"
    assert min(summary[name] for name in (*network, *nodes)) > 0


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_protocol_that_is_broken_on_purpose_is_found_out_and_the_command_that_is_printed_repeats_it(name):
    ran = simulate("--seeds", 1, "--first-seed", BROKEN[name], "--break", name)
    assert ran.returncode == 1
    assert "AttributeError" not in ran.stderr  # what the break replaces is there
    [command] = re.findall(r"failed; tools/simulate (.*)", ran.stderr)
    assert simulate(*command.split()).stderr == ran.stderr


def test_what_a_broken_cluster_is_compared_with_is_not_broken():
    """In seed 4 each epoch is one group, of which the last is all: nothing is wrong with that run."""
    ran = simulate("--seeds", 1, "--first-seed", 4, "--break", "judge-last-group")
    assert (ran.returncode, ran.stderr) == (0, "")


def digest(first_seed, seeds, *, hash_seed):
    return json.loads(simulate("--seeds", seeds, "--first-seed", first_seed, "--json", seed=hash_seed).stdout)["digest"]


def test_a_seed_is_the_same_run_byte_for_byte_and_another_seed_another():
    assert digest(20, 3, hash_seed="1") == digest(20, 3, hash_seed="2") != digest(21, 3, hash_seed="1")


def test_a_seed_with_a_snapshot_of_a_member_that_has_just_begun_is_the_same_byte_for_byte():
    assert digest(2, 1, hash_seed="1") == digest(2, 1, hash_seed="2")


class Listening(Connection):
    """A connection that keeps what the worker is told."""

    def __init__(self, network: Network) -> None:
        super().__init__(network, "a", self, None, 0.0, 0.0)
        self.told: list[Message] = []

    def to_worker(self, message: Message) -> None:
        """Keep a message."""
        self.told.append(message)

    @property
    def acknowledged(self) -> list[int]:
        """Up to which message each that acknowledges does so."""
        return [each.sequence for each in self.told if isinstance(each, Ack | Welcome)]


def test_a_simulated_manager_welcomes_nobody_to_what_is_not_durable():
    """As the real one does: a worker that takes it for acknowledged would end, and a crash lose what it held."""
    timeline, disk = Timeline(), SimulatedDisk()
    plan = replace(faults.draw(Random(0), ["a"], 10.0), commit_s=0.0)
    manager = ManagerProcess(["a"], plan, timeline, disk, Heard(), History())
    manager.start()
    connection = Listening(Network(timeline, Random(0), plan))

    def say(*messages: Message) -> list[int]:
        connection.told.clear()
        for message in messages:
            manager.arrived(connection, message)
        return connection.acknowledged

    hello = Hello("a", "worker", "1", manager.machine.digest, 1, 1, plan.replays)
    assert say(hello) == [0]
    disk.room = 0
    last = Heartbeat("a", 1, 1, 0, 7, Counts(), done=True)
    assert say(last, hello) == [0]
    disk.room = None
    assert say(hello) == [1, 1]
