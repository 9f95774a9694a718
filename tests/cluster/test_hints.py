"""A manager says what looks wrong at its workers, and which of them has too much to do; its summary and status too."""

import asyncio

from sensor.clock import elapsed_s
from sensor.cluster.messages import Counts, Heartbeat
from sensor.node.accounting import Accounting
from tests.cluster.nodes import running, speaking, until


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
        accounting = Accounting(tell=[records.append], say=said.append, every_s=0.02)
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


def test_the_manager_says_which_worker_has_too_much_to_do_and_the_status_how_fast_each_is():
    outputs, said = Kept(), []

    async def run():
        accounting = Accounting(say=said.append, every_s=0.02)
        async with running(None, [outputs], accounting=accounting) as node, speaking(node, "a"), speaking(node, "b"):
            await until(lambda: len(node.manager.workers) == 2, "both workers")
            for name, packets in (("a", 90_000), ("b", 10_000)):
                for at, count in ((elapsed_s() - 1.0, 0), (elapsed_s(), packets)):
                    counters = {"kernel_packets": count, "ring_drops": count // 4}
                    node.manager.paces.note(name, 1, count, counters, at)
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
        accounting = Accounting(together="eth1", filter_text="udp", say=said.append, every_s=0.02, patience_s=0.2)
        async with running(None, accounting=accounting) as node, speaking(node) as speaker:
            speaker.say(beat(1, kernel_packets=0, nic_packets=0))
            await until(lambda: said, "silence")
            speaker.say(beat(2, kernel_packets=0, nic_packets=5))
            await until(lambda: len(said) == 2, "deafness")
            speaker.say(beat(3, kernel_packets=1, packets_delivered=1, nic_packets=6))
            await until(lambda: len(said) == 3, "packets")

    asyncio.run(run())
    assert "none arrive there" in said[0]
    assert "5 arrived, and none of them matches the filter 'udp'" in said[1]
    assert said[2] == "eth1: packets come again"
