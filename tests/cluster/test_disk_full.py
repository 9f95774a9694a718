"""A disk that takes nothing: what is not durable is not acknowledged, what waits has a cap, and then all goes on."""

import asyncio
import logging

import numpy as np
import pytest

from sensor.bus.message import Refused
from sensor.cluster.messages import (
    ClusterKeyIntermediateResponse,
    ClusterKeyRequest,
    Status,
    StatusRequest,
    Welcome,
)
from sensor.cluster.reporter import Reporter
from sensor.node import manager_node as module
from sensor.node import manager_store as disk_module
from sensor.sumstats import SumStats
from tests.cluster.nodes import running, speaking, switched_off, until
from tools.simulated_disk import SimulatedDisk


@pytest.fixture
def disk(monkeypatch):
    """What the manager takes for its folder."""
    made = SimulatedDisk()
    monkeypatch.setattr(disk_module, "Folder", lambda path: made)
    monkeypatch.setattr(disk_module, "RETRY_S", 0.05)
    return made


def fill(disk):
    """Leave no room."""
    disk.room = sum(disk.size(name) for name in disk.names())


def restarted(disk, monkeypatch):
    """What a manager knows that begins after a crash."""

    async def run():
        survivor = disk.after_crash(survives=0)
        survivor.room = None
        monkeypatch.setattr(disk_module, "Folder", lambda path: survivor)
        async with running("state") as node, speaking(node) as worker:
            await until(lambda: worker.last(Welcome), "a welcome")
            return worker.last(Welcome).sequence

    return asyncio.run(run())


def test_what_is_not_durable_is_not_acknowledged_and_is_when_there_is_room(disk, caplog):
    async def run():
        async with running("state") as node, speaking(node) as worker:
            worker.say(switched_off("a", 1))
            await until(lambda: worker.acknowledged == 1, "the first acknowledgement")
            fill(disk)
            worker.say(*(switched_off("a", n) for n in range(2, 30)))
            await until(lambda: node.manager._ledger.membership["a"].applied == 29, "all to be taken")
            await until(lambda: disk.operations > 20, "the disk to be tried again and again")
            assert worker.acknowledged == 1
            disk.room = None
            await until(lambda: worker.acknowledged == 29, "the last acknowledgement")

    with caplog.at_level(logging.WARNING, "sensor"):
        asyncio.run(run())
    (error,) = (each.getMessage() for each in caplog.records if each.levelno == logging.ERROR)
    assert "No space left on device" in error
    assert "make room there" in error


def test_a_welcome_acknowledges_nothing_that_is_not_durable(disk, monkeypatch):
    async def run():
        async with running("state") as node:
            async with speaking(node) as worker:
                worker.say(switched_off("a", 1))
                await until(lambda: worker.acknowledged == 1, "the first acknowledgement")
                fill(disk)
                worker.say(switched_off("a", 2))
                await until(lambda: node.manager._ledger.membership["a"].applied == 2, "the second to be taken")
            async with speaking(node, sequence=2) as again:
                await until(lambda: again.last(Welcome), "a welcome")
                assert again.last(Welcome).sequence == 1
                again.say(switched_off("a", 2))  # sent again, as it was not acknowledged, and known already
                assert restarted_knows() == 1
                disk.room = None
                await until(lambda: again.acknowledged == 2, "the acknowledgement of what was sent again")

    def restarted_knows():
        survivor = disk.after_crash(survives=0)
        journal = disk_module.Journal(survivor)
        return sum(b"applied" in each for each in journal.open().records)

    asyncio.run(run())
    assert restarted(disk, monkeypatch) == 2


@pytest.mark.parametrize("cap", [3_000, 10_000])
def test_nothing_more_is_taken_from_workers_when_too_much_waits_and_nobody_is_cut_off_for_it(disk, monkeypatch, cap):
    monkeypatch.setattr(module, "WAITING_BYTES", cap)

    async def run():
        async with running("state") as node, speaking(node) as worker, speaking(node, "ops", "observer") as observer:
            await until(lambda: worker.last(Welcome), "a welcome")
            fill(disk)
            worker.say(switched_off("a", 1))
            await until(lambda: node._disk.is_stuck, "the manager to notice")
            worker.say(*(switched_off("a", n) for n in range(2, 2001)))
            await until(lambda: node.servers.is_paused, "the manager to take no more")
            before, pings = node._waiting_bytes, worker.pings
            for n in range(1, 6):  # longer than one may be silent
                observer.say(StatusRequest())
                await until(lambda n=n: worker.pings >= pings + n, "a ping")
            assert observer.last(Status)
            assert cap < node._waiting_bytes == before < cap + 1_500  # one message and its alert above the line
            assert node.servers.pauses == 1
            async with speaking(node, "b") as other:
                await until(lambda: other.is_over, "an end")
                assert [type(each) for each in other.heard] == [Refused]
                assert not other.heard[0].fatal
            disk.room = None
            await until(lambda: worker.acknowledged == 2000, "all to be acknowledged")
            assert not worker.is_over
            assert not node.servers.is_paused
            observer.say(StatusRequest())
            await until(lambda: "manager_pauses" in observer.last(Status).counters, "a later answer")

    asyncio.run(run())
    assert restarted(disk, monkeypatch) == 2000


def test_members_that_were_turned_away_while_nothing_was_taken_have_their_deadline_anew(disk, monkeypatch):
    monkeypatch.setattr(module, "WAITING_BYTES", 3_000)

    async def run():
        async with running("state", members=["a", "b"]) as node, speaking(node) as worker:
            await until(lambda: worker.last(Welcome), "a welcome")
            fill(disk)
            worker.say(*(switched_off("a", n) for n in range(1, 100)))
            await until(lambda: node.servers.is_paused, "the manager to take no more")
            members = node.manager._ledger.membership
            members["b"].heard -= 1000
            disk.room = None
            await until(lambda: not node.servers.is_paused, "the manager to go on")
            assert "b" not in node.manager._ledger._not_awaited(module.elapsed_s())

    asyncio.run(run())


def test_alerts_that_cannot_be_written_wait_and_it_is_said_once(disk, caplog):
    """The journal takes them, and their file does not."""

    async def run():
        async with running("state") as node, speaking(node) as worker:
            await until(lambda: worker.last(Welcome), "a welcome")
            append = disk.append

            def refuse(name, data):
                if name == disk_module.ALERTS:
                    append(name, data[:1])
                    raise OSError(28, "No space left on device")
                append(name, data)

            disk.append = refuse
            worker.say(*(switched_off("a", n) for n in range(1, 4)))
            await until(lambda: node._disk.counters["alert_file_failures"] > 3, "the file to be tried again and again")
            worker.say(*(switched_off("a", n) for n in range(4, 7)))
            disk.append = append
            await until(
                lambda: worker.acknowledged == 6 and not node._disk.counters["alerts_waiting"], "all to be written"
            )

    with caplog.at_level(logging.WARNING, "sensor"):
        asyncio.run(run())
    said = [each.getMessage() for each in caplog.records]
    assert [line for line in said if "alerts" in line] == [
        "alerts wait: alerts.jsonl in the simulated disk: [Errno 28] No space left on device",
        "alerts can be written again",
    ]


def near_a_level(node):
    """What a worker of several says of a key that has grown by its share of a level."""
    definition = next(each.definition for each in node.manager._ledger.stats.values())
    engine = SumStats([definition], members=2)
    reporter = Reporter("a", 1, engine, [definition], members=2)
    engine.start(0)
    stream, many = definition.reducer(definition.threshold.names[0]).stream, 40
    keys, ts = np.zeros((many, definition.key_words), np.uint64), np.arange(many)
    values = {
        each.name: np.arange(many * each.element_words, dtype=np.uint64).reshape(many, -1)
        if each.element_words
        else np.ones(many)
        for each in definition.streams[stream]
    }
    for each in engine.observe(definition.name, keys, ts, values):
        reporter.crossed(each, each.at)
    reporter.receive(Welcome(0, ["a", "b"], early=True), 0.0)
    return [each for each in reporter.drain(0.0) if isinstance(each, ClusterKeyIntermediateResponse)]


def test_views_are_asked_for_though_the_disk_takes_nothing(disk):
    """Nothing must be durable before: an alert is told as much sooner."""

    async def run():
        async with running("state", members=["a", "b"], early=True) as node, speaking(node) as worker:
            await until(lambda: worker.last(Welcome), "a welcome")
            fill(disk)
            worker.say(switched_off("a", 1))
            await until(lambda: node._disk.is_stuck, "the manager to notice")
            worker.say(*near_a_level(node))
            await until(lambda: worker.last(ClusterKeyRequest), "a request")
            assert worker.acknowledged == 0
            disk.room = None

    asyncio.run(run())
