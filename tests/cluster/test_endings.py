"""Real processes: who waits for whom at the end, and for how long; what ends nothing; and two of one name."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time

import pytest

from sensor.bus.client import Client
from sensor.capture import open_savefiles
from sensor.cluster.messages import Ack, Counts, Delivered, Heartbeat
from sensor.node import manager_node, worker_node
from sensor.node.manager_address import ManagerAddress
from sensor.node.warm import warm_up
from tests.cluster.nodes import SETTINGS, running, speaking
from tests.cluster.nodes import until as until_in_loop
from tests.cluster.test_processes import PATIENCE_S, ROOT, SYN, started, until


@pytest.fixture
def bus(tmp_path):
    return f"unix:{tmp_path}/bus"


@contextlib.contextmanager
def listening(bus, *options):
    """A manager, once it listens; its standard error line by line."""
    with started("manager", "--listen", bus, *options) as manager:
        lines = iter(manager.stderr.readline, "")
        assert any("listens" in line for line in lines)
        yield manager, lines


def test_hup_ends_no_manager_and_is_said(bus):
    with listening(bus) as (manager, lines):
        manager.send_signal(signal.SIGHUP)
        assert any("HUP is not taken" in line for line in lines)
        with started("status", "--manager", bus) as status:
            assert status.wait(PATIENCE_S) == 0
        manager.send_signal(signal.SIGINT)
        assert manager.wait(PATIENCE_S) == 0


@contextlib.contextmanager
def piped(bus, *options):
    """A worker that reads an input that has no end."""
    command = [sys.executable, "-m", "sensor", "worker", "--manager", bus, "--replay", "-", "--name", "a", *options]
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as worker:
        try:
            worker.stdin.write(SYN.read_bytes())
            worker.stdin.flush()
            yield worker
        finally:
            worker.kill()


def has_come(bus, name):
    def looks():
        with started("status", "--manager", bus, "--json") as status:
            nodes = json.loads(status.communicate(timeout=PATIENCE_S)[0])["nodes"]
        return any((each["name"], each["state"]) == (name, "up") for each in nodes)

    return looks


def test_term_ends_a_worker_of_a_replay_whose_manager_is_gone_and_it_says_what_is_lost(bus):
    with listening(bus) as (manager, _), piped(bus) as worker:
        until(has_come(bus, "a"), "the worker")
        manager.kill()
        manager.wait(PATIENCE_S)
        assert any(b"trying again" in line for line in worker.stderr)
        began = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        errors = worker.stderr.read()
        assert worker.wait(PATIENCE_S) == 0, errors
        assert time.monotonic() - began < 20  # it waited for ever
    assert b"were not taken by the manager" in errors


def test_a_second_worker_of_a_name_is_refused_on_both_sides_and_the_first_goes_on(bus):
    with listening(bus) as (_, lines), piped(bus) as first:
        until(has_come(bus, "a"), "the worker")
        with started("worker", "--manager", bus, "--replay", SYN, "--name", "a") as second:
            _, errors = second.communicate(timeout=PATIENCE_S)
        assert second.returncode == 1
        assert "the name a is connected already, of this host: give this one another --name" in errors
        assert any("a second worker, of this host, has the name a, and is refused" in line for line in lines)
        assert first.poll() is None


def test_a_worker_that_was_killed_is_replaced_at_once(bus):
    with listening(bus, "--until-done") as (manager, _):
        with piped(bus) as first:
            until(has_come(bus, "a"), "the worker")
            first.kill()
        with started("worker", "--manager", bus, "--replay", SYN, "--name", "a") as second:
            assert (second.communicate(timeout=PATIENCE_S)[1], second.returncode) == ("", 0)
        assert manager.wait(PATIENCE_S) == 0


def replaying(address):
    """A worker that reads a file against a manager; to be called in a thread: what it raised."""
    node = worker_node.WorkerNode(SETTINGS, worker_node.Place("a", ManagerAddress(address)))
    with open_savefiles([str(SYN)]) as source:
        try:
            node.run(source)
        except worker_node.RefusedError as error:
            return str(error)
    return ""


def done(sequence):
    return Heartbeat("a", 1, sequence, 0, 10**9, Counts(), done=True)


def test_a_manager_that_is_done_stays_until_all_have_heard_so():
    async def scenario():
        async with running(None, until_done=True) as node, speaking(node) as speaker:
            speaker.say(done(1))
            await until_in_loop(lambda: speaker.acknowledged == 1, "the acknowledgement")
            pings = speaker.pings
            await until_in_loop(lambda: speaker.pings >= pings + 2, "a manager that stays")
            speaker.say(Delivered("a", 1))
            await until_in_loop(lambda: speaker.is_over, "its end")

    asyncio.run(scenario())


@pytest.mark.parametrize("stays", ["STAY_S", "AWAY_S"])
def test_a_manager_that_is_done_stays_no_longer_than_it_has_to(monkeypatch, stays):
    """For one that is connected and says nothing, or that is not connected any more."""
    monkeypatch.setattr(manager_node, stays, 0.0)

    async def scenario():
        async with running(None, until_done=True) as node:
            async with speaking(node) as speaker:
                speaker.say(done(1))
                await until_in_loop(lambda: speaker.acknowledged == 1, "the acknowledgement")
                if stays == "STAY_S":
                    await until_in_loop(lambda: speaker.is_over, "its end")
            await until_in_loop(lambda: node.servers._servers == [] or node._over.is_set(), "its end")

    asyncio.run(scenario())


def test_a_worker_that_has_read_all_gives_up_when_its_manager_is_gone_for_long(monkeypatch):
    warm_up(SETTINGS)
    monkeypatch.setattr(worker_node, "GIVE_UP_S", 0.3)

    async def scenario():
        async with running(None) as node:
            send = node.servers.send
            node.servers.send = lambda name, message: isinstance(message, Ack) or send(name, message)
            worker = asyncio.create_task(asyncio.to_thread(replaying, node.servers.addresses[0]))
            await until_in_loop(lambda: node.manager.is_done, "all results")
        return await worker

    assert "was not there for" in asyncio.run(scenario())


def test_a_worker_whose_bus_has_failed_for_good_ends(monkeypatch):
    async def fail(self):
        raise LookupError("unknown encoding: idna")

    monkeypatch.setattr(Client, "_converse", fail)
    assert "the bus has failed: LookupError('unknown encoding: idna')" in replaying("127.0.0.1:1")


def test_what_tls_imports_lazily_is_there_before_privileges_go():
    """In a process of its own: whoever made a client finds the codec that a connection by name asks for."""
    code = (
        "import sys; from sensor.bus.client import Client; from sensor.cluster.vocabulary import VOCABULARY\n"
        "assert 'encodings.idna' not in sys.modules\n"
        "Client('127.0.0.1:1', lambda: None, VOCABULARY); assert 'encodings.idna' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
