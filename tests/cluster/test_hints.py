"""A manager says what looks wrong at its workers, and which of them has too much to do; its summary and status too."""

import asyncio
import contextlib
import itertools

from sensor.clock import elapsed_s
from sensor.cluster.manager import Manager
from sensor.cluster.messages import Counts, Heartbeat, Hello
from sensor.node.run_monitor import RunMonitor
from tests.cluster.nodes import SETTINGS, running, speaking, until


class Kept(list):
    """An output that keeps the summary."""

    def summary(self, record):
        self.append(record)


def beat(sequence, hints=(), **counters):
    counts = Counts(captured=counters.get("packets_delivered", 0), counters=counters)
    return Heartbeat("a", 1, sequence, 0, sequence, counts, hints=list(hints))


def test_what_a_worker_hints_at_is_said_by_the_manager_and_is_in_its_records_and_its_summary():
    outputs, said, records = Kept(), [], []

    async def run():
        accounting = RunMonitor(tell=[records.append], say=said.append, every_s=0.02)
        async with running(None, [outputs], accounting=accounting) as node, speaking(node) as speaker:
            listens = asyncio.create_task(speaker.listen())
            speaker.say(beat(1), beat(2, ["eth1: odd"]), beat(3, ["eth1: odd"]))
            await until(lambda: any(each.hints for each in records), "a record with the hint")
            speaker.say(beat(4))
            await until(lambda: not records[-1].hints, "a record without it")
            listens.cancel()

    asyncio.run(run())
    assert next(each.hints for each in records if each.hints) == ["a: eth1: odd"]
    assert outputs[0].hints == ["a: eth1: odd"]
    assert outputs[0].counters["hints_unsaid"] == 0


def test_what_a_worker_hints_at_is_over_when_the_worker_is_gone():
    records = []

    async def run():
        accounting = RunMonitor(tell=[records.append], every_s=0.02)
        async with running(None, accounting=accounting) as node:
            async with speaking(node) as speaker:
                speaker.say(beat(1, ["eth1: odd"]))
                await until(lambda: any(each.hints for each in records), "a record with the hint")
            await until(lambda: not records[-1].hints, "a record without it")

    asyncio.run(run())


def test_the_pace_of_a_worker_is_made_of_its_heartbeats():
    manager = Manager(SETTINGS.make(), ["a"])
    manager.hello(Hello("a", "worker", "1", manager.digest, 1, 1), 0.0)
    manager.receive("a", beat(1, kernel_packets=100, ring_drops=0), 0.0)
    assert manager.status(0.0).nodes[0].packets_per_second is None
    manager.receive("a", beat(2, kernel_packets=400, ring_drops=30), 2.0)
    [node] = manager.status(2.0).nodes
    assert (node.packets_per_second, node.loss, node.loss_now) == (150.0, 0.075, 0.1)
    manager.lost("a", 3.0)
    [node] = manager.status(3.0).nodes
    assert (node.packets_per_second, node.loss, node.loss_now) == (None, 0.075, None)


def test_the_manager_says_which_worker_has_too_much_to_do_and_the_status_how_fast_each_is():
    outputs, said = Kept(), []

    async def run():
        accounting = RunMonitor(say=said.append, every_s=0.02)
        async with running(None, [outputs], accounting=accounting) as node, contextlib.AsyncExitStack() as stack:
            for name in ("a", "b", "files"):
                await stack.enter_async_context(speaking(node, name))
            await until(lambda: len(node.manager.workers) == 3, "all workers")
            for at, some in ((elapsed_s() - 1.0, 0), (elapsed_s(), 10_000)):
                for name, count in (("a", 9 * some), ("b", some)):
                    counters = {"kernel_packets": count, "ring_drops": count // 4}
                    node.manager.paces.note(name, 1, count, counters, at)
                node.manager.paces.note("files", 1, 100 * some, {}, at)
            await until(lambda: said, "the manager to say it")
            found = {each.name: each for each in node.manager.status(elapsed_s()).nodes}
            assert 80_000 < found["a"].packets_per_second < 100_000
            assert (found["a"].loss_now, found["a"].loss) == (0.25, None)  # no heartbeat was sent

    asyncio.run(run())
    assert said[0].startswith("a gets 90% of the packets of 2 workers")
    assert any("a gets 90%" in each for each in outputs[0].hints)


def test_several_workers_of_one_capture_are_judged_together():
    said = []

    async def run():
        accounting = RunMonitor(together="eth1", filter_text="udp", say=said.append, every_s=0.02, patience_s=0.2)
        async with running(None, accounting=accounting) as node, speaking(node) as speaker:
            speaker.say(beat(1, kernel_packets=0, nic_packets=0))
            await until(lambda: said, "silence")
            speaker.say(beat(2, kernel_packets=0, nic_packets=5))
            await until(lambda: len(said) == 2, "deafness")
            speaker.say(beat(3, kernel_packets=1, packets_delivered=1, nic_packets=6))
            await until(lambda: len(said) == 3, "packets")
            growing = itertools.count(4)
            while not any(
                "it is down" in each for each in said
            ):  # a heartbeat each look: an interface is away as long as its gap grows
                number = next(growing)
                speaker.say(beat(number, kernel_packets=1, packets_delivered=1, nic_packets=6, gap_ns=number))
                await until(lambda number=number: node.manager.counts().counters.get("gap_ns") == number, "the beat")

    asyncio.run(run())
    assert "none arrive there" in said[0]
    assert "5 arrived, and none of them matches the filter 'udp'" in said[1]
    assert said[2] == "eth1: packets come again"
