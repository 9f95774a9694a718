"""Real clusters under real faults: whatever befalls nodes, links and disks, each alert is there, once."""

import contextlib
import os
import random
import subprocess

import pytest

from tests.lab.laboratory import lab, pyroute2, why_no_lab
from tests.lab.nodes import BLOCKS, FORGETFUL, Capture, Cluster, until

# pyroute2 forks to make a namespace; from Python 3.12 on, that warns where an earlier test has left threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    made = Capture(tmp_path_factory.mktemp("capture") / "scans.pcap")
    assert len(made.alerts) > 20
    return made


def befall(cluster, victim, fault, at, lag):
    """Let a fault befall a node when a block is taken, and end when the others have come some blocks further."""
    cluster.read(at, *cluster.under_way())
    cluster.wait_for(at, victim if victim != "manager" else cluster.names[at % len(cluster.names)])
    cluster.kill(victim) if fault == "kill" else cluster.halt(victim)
    cluster.read(min(at + lag, BLOCKS), *cluster.under_way() - {victim})
    cluster.start(victim) if fault == "kill" else cluster.go_on(victim)


@pytest.mark.parametrize("seed", range(6))
def test_nodes_that_are_killed_or_stand_still_at_any_time_lose_no_alert_and_double_none(tmp_path, capture, seed):
    chosen = random.Random(seed)
    with Cluster(tmp_path, capture, ["a", "b"]) as cluster:
        cluster.start("manager", "a", "b")
        for at in sorted(chosen.sample(range(1, BLOCKS), 3)):
            victim, fault = chosen.choice(["manager", "a", "b"]), chosen.choice(["kill", "kill", "stop"])
            befall(cluster, victim, fault, at, chosen.randint(0, 12))
        cluster.finish()
        assert cluster.told() == capture.alerts


def test_a_node_that_stands_still_for_longer_than_the_others_wait_goes_on_when_it_can(tmp_path, capture):
    with Cluster(tmp_path, capture, ["a", "b"]) as cluster:
        cluster.start("manager", "a", "b")
        cluster.read(30, "a", "b")
        cluster.halt("a")
        until(lambda: "a was not heard of" in cluster.nodes["manager"].said, "the manager to cut a off")
        cluster.read(50, "b")
        cluster.go_on("a")
        cluster.read(60, "a", "b")
        before = {name: cluster.nodes[name].sockets() for name in ("a", "b")}
        cluster.halt("manager")
        for name, sockets in before.items():
            until(
                lambda name=name, held=sockets: held - cluster.nodes[name].sockets(), f"{name} to give the manager up"
            )
        cluster.read(80, "a", "b")
        cluster.go_on("manager")
        cluster.finish()
        assert cluster.told() == capture.alerts


class Link:
    """Two hosts on one switch; in one direction at a time, frames between them can be made to go nowhere."""

    def __init__(self, net):
        self.hosts = {"manager": net.host("manager", "192.0.2.1/24"), "a": net.host("a", "192.0.2.2/24")}
        self._addresses = {"manager": "192.0.2.1", "a": "192.0.2.2"}

    def _other(self, name):
        return "a" if name == "manager" else "manager"

    @contextlib.contextmanager
    def cut(self, name):
        """What this host sends arrives nowhere."""
        address = self._addresses[self._other(name)]
        self.hosts[name].never_reach([address])
        yield
        with self.hosts[name].inside(), pyroute2.IPRoute() as route:
            index = route.link_lookup(ifname="eth0")[0]
            route.neigh("delete", dst=address, lladdr=lab.NOBODY, ifindex=index)


def test_a_worker_whose_link_is_cut_reads_on_and_delivers_when_it_is_mended(tmp_path, capture):
    """Over TLS; the other worker is on the manager's host."""
    if reason := why_no_lab():
        pytest.skip(reason)
    with lab.Lab() as net:
        link = Link(net)
        options = {"hosts": link.hosts, "programs": {"a": FORGETFUL}, "address": "192.0.2.1:47700"}
        with Cluster(tmp_path, capture, ["a", "b"], **options) as cluster:
            cluster.start("manager", "a", "b")
            for at, direction in ((20, "a"), (70, "manager")):
                cluster.read(at, "a", "b")
                held = cluster.nodes["a"].sockets()
                with link.cut(direction):
                    cluster.read(at + 30, "a", "b")  # on, though nothing comes back
                    assert cluster.nodes["a"].spool_files(cluster.spool("a"))
                    until(lambda held=held: held - cluster.nodes["a"].sockets(), "a to notice")
                    until(lambda: cluster.states()["a"] == "late", "the manager to notice")
                until(lambda: cluster.states()["a"] == "up", "a to come back by itself")
            cluster.finish()
            assert cluster.told() == capture.alerts


def test_what_a_worker_saw_while_it_was_away_for_longer_than_epochs_wait_is_told_when_it_is_back(tmp_path, capture):
    """Over TLS. Epochs end without it, and what it delivers then is merged and judged all the same."""
    if reason := why_no_lab():
        pytest.skip(reason)
    with lab.Lab() as net:
        link = Link(net)
        options = {"hosts": link.hosts, "programs": {"a": FORGETFUL}, "address": "192.0.2.1:47700"}
        options["options"] = ("--set", "cluster.deadline=1s")
        with Cluster(tmp_path, capture, ["a", "b"], **options) as cluster:
            cluster.start("manager", "a", "b")
            cluster.read(20, "a", "b")
            with link.cut("a"):
                cluster.read(50, "a", "b")
                until(lambda: cluster.states()["a"] == "down", "the manager to do without a")
                until(lambda: cluster.status()["epochs_incomplete"] > 0, "epochs to end without a")
            until(lambda: cluster.states()["a"] == "up", "a to come back by itself")
            until(lambda: late(cluster.status(), "a") > 0, "its results to come late")
            cluster.finish()
            assert accused(cluster.told()) == accused(capture.alerts)


def late(status, name):
    """How many epochs a worker told something of when they were over."""
    return next((each["late"] for each in status["nodes"] if each["name"] == name), 0)


def accused(standing):
    """Who is accused of what."""
    return {(each["detection"], each["src"]) for each in standing.values()}


@contextlib.contextmanager
def small_disk(path, size):
    """A file system of so many bytes, as long as the block lasts."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


@contextlib.contextmanager
def full(path):
    """No room on a file system for as long as the block lasts."""
    ballast = path / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    yield
    ballast.unlink()


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_manager_whose_disk_is_full_acknowledges_nothing_and_goes_on_when_there_is_room(tmp_path, capture, is_killed):
    with small_disk(tmp_path / "state", 16 << 20) as disk, Cluster(tmp_path, capture, ["a", "b"]) as cluster:
        cluster.start("manager", "a", "b")
        cluster.read(30, "a", "b")
        before = cluster.nodes["manager"].memory
        with full(disk):
            cluster.read(80, "a", "b")
            until(lambda: "cannot be written" in cluster.nodes["manager"].said, "the manager to say so")
            assert cluster.nodes["manager"].said.count("the journal in") == 1  # alerts may wait, too
            assert cluster.nodes["manager"].memory < before + (32 << 20)
            if is_killed:
                cluster.kill("manager")
                cluster.start("manager")
                cluster.read(90, "a", "b")
        cluster.finish()
        assert cluster.told() == capture.alerts


def test_what_a_worker_can_neither_deliver_nor_spool_is_counted_and_named_and_the_rest_is_right(tmp_path, capture):
    with (
        small_disk(tmp_path / "spool-a", 64 << 10) as disk,
        Cluster(tmp_path, capture, ["a", "b"], programs={"a": FORGETFUL}) as cluster,
    ):
        cluster.start("manager", "a", "b")
        cluster.read(30, "a", "b")
        with full(disk):
            cluster.halt("manager")
            cluster.read(80, "a", "b")
            cluster.go_on("manager")
        cluster.finish()
        found, expected = cluster.told(), capture.alerts
        assert cluster.summary()["counters"]["epochs_unsent"] > 0
        assert [each for each in found.values() if each["missing"]]
        whole = {id for id, each in found.items() if each["complete"]}
        both = whole & set(expected)
        assert {id: found[id] for id in both} == {id: expected[id] for id in both}
        folded = {(expected[id]["detection"], expected[id]["src"]) for id in set(expected) - whole}
        for each in (found[id] for id in whole - both):  # the alert that it is part of was lost, or has less
            assert (each["detection"], each["src"]) in folded
        assert all(each["missing"] == ["a"] for id, each in found.items() if id not in whole)
        last = max(each["epoch"] for each in found.values() if each["missing"])
        assert {id for id, each in expected.items() if each["epoch"] > last} <= whole
