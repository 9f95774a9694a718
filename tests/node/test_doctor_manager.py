"""The doctor asks real managers: one that answers, one that is not there, and one that lets this host in no more."""

import asyncio

import pytest

from sensor import __version__
from sensor.config import configure
from sensor.node.cluster_admission import ClusterAdmission
from sensor.node.doctor import State
from sensor.node.doctor.manager import Answer, judge
from sensor.node.manager_address import local_socket
from sensor.node.manager_node import ManagerNode
from sensor.pki.credentials import Credentials
from sensor.pki.registry import Registry
from tests.cluster.certificates import free_port, make_cluster, make_node
from tests.cluster.nodes import PATIENCE_S, running


def asked(address, state):
    return judge(Answer.find(address, state), __version__)


def test_a_manager_that_runs_is_reached(tmp_path):
    async def test():
        async with running(tmp_path / "manager") as node:
            return await asyncio.to_thread(asked, node.servers.addresses[0], tmp_path)

    assert asyncio.run(test()).state is State.OK


def test_a_manager_that_does_not_run_is_told_with_the_command_that_starts_it(tmp_path):
    address = f"127.0.0.1:{free_port()}"
    check = asked(address, tmp_path)
    assert (check.state, check.finding) == (State.FAILED, f"{address}: nobody listens there")
    assert check.mend.argv[-3:] == ("manager", "--listen", address) and not check.mend.is_safe


def test_a_manager_of_this_folder_is_started_with_its_folder(tmp_path):
    make_cluster(tmp_path / "cluster")
    check = asked(None, tmp_path)
    assert check.state is State.FAILED
    assert check.mend.argv[-3:] == ("manager", "--state", str(tmp_path))


def test_a_host_that_has_joined_nothing_has_no_manager_to_reach(tmp_path):
    assert asked(None, tmp_path).state is State.SKIPPED


def test_another_host_is_not_reached_without_certificates(tmp_path):
    check = asked("192.0.2.1:47700", tmp_path)
    assert (check.state, "sensor cluster join" in check.finding) == (State.FAILED, True)


def test_a_folder_that_is_damaged_is_told(tmp_path):
    make_cluster(tmp_path / "cluster")
    (tmp_path / "cluster" / "node.json").write_text("{")
    check = asked(None, tmp_path)
    assert (check.state, "is damaged" in check.finding) == (State.FAILED, True)


def joined(tmp_path, role, address):
    """The folder of a node whose manager is at that address."""
    folder = tmp_path / role / "cluster"
    make_node(folder, tmp_path / "manager" / "cluster", f"{role}-1", role)
    mine = Credentials.load(folder)
    Credentials(mine.cluster, mine.name, role, address, mine.secret).save(folder)
    return folder.parent


@pytest.mark.parametrize("role", ["worker", "observer"])
def test_a_host_that_has_joined_reaches_its_manager_until_it_is_revoked(tmp_path, role):
    make_cluster(tmp_path / "manager" / "cluster")

    async def test():
        node = ManagerNode(configure(), [], gate=ClusterAdmission(tmp_path / "manager" / "cluster"))
        found = asyncio.get_running_loop().create_future()
        ran = asyncio.create_task(node.run("127.0.0.1:0", local_socket(tmp_path / "manager"), ready=found.set_result))
        async with asyncio.timeout(PATIENCE_S):
            state = joined(tmp_path, role, (await found)[0])
            before = await asyncio.to_thread(asked, None, state)
            Registry(tmp_path / "manager" / "cluster").revoke(f"{role}-1")
            while (after := await asyncio.to_thread(asked, None, state)).state is State.OK:
                pass  # the manager looks every second
            node.stop()
            await ran
        return before, after

    before, after = asyncio.run(test())
    assert before.state is State.OK, before.finding
    assert (after.state, "no longer holds" in after.finding) == (State.FAILED, True), after.finding
