"""A worker that is gone for good is not waited for, and nothing is incomplete because of it from then on."""

import json
import signal

import pytest
from click.testing import CliRunner

from sensor.cli.main import group
from sensor.clock import now_ns
from sensor.cluster.manager import Manager
from sensor.cluster.settings import ClusterSettings
from sensor.pki.registry import Registry
from tests.cluster.certificates import free_port
from tests.cluster.test_processes import PATIENCE_S, SYN, started, until
from tests.cluster.test_protocol import ByHand, Net, Totals

SETTINGS = ClusterSettings(deadline_s=30.0)


def epochs(net, name, pane):
    net.observe(name, 10 * pane + 1, 5, pane + 1)
    net.pass_time(name, 10 * pane + 11)
    net.carry("a", now=40.0)


@pytest.fixture
def net():
    """Of two workers one was lost in the first epoch; the other has ended two."""
    net = Net("a", "b", settings=SETTINGS)
    net.observe("b", 1, 5, 1)
    net.pass_time("b", 5)
    net.carry("b")
    net.manager.lost("b", 0.0)
    net.manager.tick(40.0)
    for pane in range(2):
        epochs(net, "a", pane)
    assert net.detection.results[-1] == (1, "finished", False, ("b",))
    return net


def test_what_begins_after_a_worker_was_removed_is_complete_without_it(net):
    assert net.manager.remove("b", 41.0) == ""
    for pane in range(2, 4):
        epochs(net, "a", pane)
    assert net.detection.results[-1] == (3, "finished", True, ())
    assert net.manager.workers == ["a"]
    again = Manager([Totals()], "ab", settings=SETTINGS)
    again.restore(net.manager.snapshot(), [], 50.0)
    assert again.workers == ["a"]


def test_a_worker_that_comes_back_is_waited_for_again(net):
    net.manager.remove("b", 41.0)
    epochs(net, "a", 2)
    net.connect("b", 42.0)
    net.pass_time("b", 35)
    net.carry(now=42.0)
    epochs(net, "a", 3)
    assert net.detection.results[-1][0] == 2
    net.observe("b", 36, 5, 1)
    net.pass_time("b", 51)
    net.carry(now=43.0)
    assert net.detection.results[-2:] == [(3, 5, 5.0, True, ()), (3, "finished", True, ())]


def test_who_is_connected_or_unknown_is_not_removed(net):
    assert "is connected" in net.manager.remove("a", 41.0)
    assert "there is no worker c" in net.manager.remove("c", 41.0)
    net.manager.remove("b", 41.0)
    net.manager.drain()
    assert net.manager.remove("b", 42.0) == "" and net.manager.drain().records == []  # it is so already


def test_epochs_that_end_by_hand_do_not_wait_for_one_that_was_removed():
    net = Net("a", "b", make=ByHand, settings=SETTINGS)
    net.manager.lost("b", 0.0)
    net.manager.remove("b", 1.0)
    for epoch in range(3):
        net.observe("a", epoch + 1, 5, element=epoch)
        for end in net.engines["a"].next_epoch("by_hand.sums", (epoch + 1) * 10**9):
            net.reporters["a"].ended(end)
        net.pass_time("a", epoch + 1.5)
        net.carry("a", now=2.0)
    assert net.detection.missing == [("b",), (), ()]


def test_a_worker_is_removed_by_a_command(tmp_path):
    bus = f"unix:{tmp_path}/bus"
    with started("manager", "--listen", bus, "--workers", "a,b", "--until-done", "--json") as manager:
        until((tmp_path / "bus").exists, "the manager")
        with started("cluster", "remove", "b", "--manager", bus) as removal:
            output, _ = removal.communicate(timeout=PATIENCE_S)
        assert (removal.returncode, output) == (0, "b is not waited for any more\n")
        with started("cluster", "remove", "b", "--manager", bus) as removal:
            output, _ = removal.communicate(timeout=PATIENCE_S)
        assert (removal.returncode, output) == (0, "b is not waited for any more\n")
        with started("cluster", "remove", "c", "--manager", bus) as removal:
            _, errors = removal.communicate(timeout=PATIENCE_S)
        assert (removal.returncode, errors) == (1, "sensor: there is no worker c: there are a\n")
        with started("worker", "--manager", bus, "--replay", SYN, "--name", "a") as worker:
            worker.communicate(timeout=PATIENCE_S)
        output, errors = manager.communicate(timeout=PATIENCE_S)
    alerts = [json.loads(line) for line in output.splitlines()[:-1]]
    assert alerts
    assert not any(each["missing"] for each in alerts)
    assert errors.count("b is gone for good") == 1


def test_a_worker_that_is_revoked_is_removed(tmp_path):
    folder = tmp_path / "m"
    made = ["cluster", "init", "--state", folder, "--listen", f"127.0.0.1:{free_port()}", "--enrol-port", free_port()]
    assert CliRunner().invoke(group, [*map(str, made)]).exit_code == 0
    Registry(folder / "cluster").invite("w", "worker", now_ns() + 10**12)
    with started("manager", "--state", folder, "--workers", "w") as manager:
        line = iter(manager.stderr.readline, "")
        assert any("listens" in each for each in line)
        with started("cluster", "revoke", "w", "--state", folder) as revoked:
            revoked.communicate(timeout=PATIENCE_S)
        assert any("w is revoked" in each for each in line)
        with started("cluster", "remove", "w", "--state", folder) as removal:  # as the README has it
            output, _ = removal.communicate(timeout=PATIENCE_S)
        assert (removal.returncode, output) == (0, "w is not waited for any more\n")
        with started("status", "--state", folder, "--json") as status:
            output, _ = status.communicate(timeout=PATIENCE_S)
        manager.send_signal(signal.SIGINT)
    assert [each["state"] for each in json.loads(output)["nodes"]] == ["left"]
