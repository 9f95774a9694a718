"""A worker and a manager: what they find depends on the packets alone, not on how they were cut into blocks."""

import random
from datetime import datetime

import pytest

from sensor.capture import open_savefiles
from sensor.clock import SECOND
from sensor.cluster.messages import Heartbeat, Welcome
from sensor.cluster.worker import Worker
from sensor.config import configure
from sensor.packet import Block
from tests.cluster.clusters import Cluster, run
from tests.replaying import PCAPS

CAPTURES = ["port-scan-connect.pcap", "random-scan.pcap", "address-scan-ipv6.pcap", "port-scan-fragmented.pcap"]


@pytest.mark.parametrize("name", CAPTURES)
def test_alerts_and_counts_do_not_depend_on_the_size_of_blocks(name):
    whole = run(PCAPS / name)
    assert whole.alerts
    for size in (1, 7, 100):
        cut = run(PCAPS / name, size=size)
        assert (cut.told, cut.counts) == (whole.told, whole.counts)


@pytest.mark.parametrize("name", CAPTURES)
def test_alerts_and_counts_do_not_depend_on_which_blocks_wait_for_more(name):
    whole = run(PCAPS / name)
    for seed in range(4):
        cut = run(PCAPS / name, size=13, waits=random.Random(seed))
        assert (cut.told, cut.counts) == (whole.told, whole.counts)


@pytest.mark.parametrize("then", ["time passes", "others follow", "a block that does not wait"])
def test_what_waits_for_more_is_observed_when_nothing_more_comes(then):
    hasty, patient = (Worker("a", configure().make(), replays=False) for _ in range(2))
    with open_savefiles([str(PCAPS / "port-scan-syn.pcap")]) as source:
        for block in source.blocks():
            last = int(block.frames["ts"][-1])
            hasty.process(block)
            patient.process(block, may_wait=True)
            empty = Block(block.buffers, block.frames[:0])
    assert patient.counts().observations == 0 < hasty.counts().observations
    if then == "time passes":
        patient.pass_time(last + SECOND // 50)
    elif then == "others follow":
        patient.conclude()
    else:
        patient.process(empty)
    assert patient.counts().observations == hasty.counts().observations


def test_the_hash_secret_changes_nothing():
    first, *others = (run(PCAPS / "random-scan.pcap") for _ in range(3))
    assert all((each.told, each.counts) == (first.told, first.counts) for each in others)


def test_a_worker_without_input_has_nothing_to_say_and_counts_nothing():
    ran = Cluster(configure().make).finish()
    assert ran.told == []
    counts = ran.counts
    assert (counts.packets_read, counts.flows, counts.observations, counts.first_ts) == (0, 0, 0, None)


def test_where_no_packets_come_waits_and_epochs_end_with_time():
    worker = Worker("a", configure().make(), replays=False)
    with open_savefiles([str(PCAPS / "port-scan-filtered.pcap")]) as source:
        for block in source.blocks():
            worker.process(block)

    def known():
        counts = worker.counts()
        return counts.counters["flows_open"], counts.observations

    last, (flows, observations) = worker.counts().last_ts, known()
    assert flows > 0
    worker.pass_time(last + SECOND // 20)  # no step yet
    assert known() == (flows, observations)
    worker.pass_time(last + 600 * SECOND)
    assert known()[0] == 0
    assert known()[1] > observations


def test_a_live_worker_that_has_seen_nothing_yet_says_how_far_it_has_come():
    worker = Worker("a", configure().make(), replays=False)
    worker.receive([Welcome(0, ["a"])], 0.0)
    worker.pass_time(10**18)
    beats = [each.watermark for each in worker.drain(0.0) if isinstance(each, Heartbeat)]
    assert beats == [10**18]


def test_a_leap_back_in_time_ends_what_was_open(tmp_path):
    from scapy.layers.inet import IP, TCP

    from tests.replaying import ETHER, replay, write

    day = 86400
    packets = [
        (start + n * 0.1, ETHER / IP(src="192.0.2.1", dst=f"198.51.100.{n + 1}") / TCP(dport=22, flags="S"))
        for start in (5 * day, 0)
        for n in range(25)
    ]
    ran = replay(write(tmp_path / "leap.pcap", packets))
    [alert] = ran.alerts
    last = datetime.fromisoformat(alert["first_seen"]).timestamp() + 2.4
    assert (alert["first_seen"][:10], alert["epoch"]) == ("2023-11-19", last // 60)  # panes of a minute
    assert ran.summary["alerts_suppressed"] == 1
    assert ran.summary["counters"]["clock_jumps"] == 1
    assert ran.summary["packets_read"] == 50


RAISING = """
from sensor.detection import Alert, Detection, Stream, Sum, SumStat, on

class OnWorker(Detection):
    "Raises. Misses everything."
    @on("connection_rejected")
    def look(self, batch):
        raise ValueError("on purpose")

class OnManager(Detection):
    "Raises. Misses everything."
    refusals = Stream("connection_rejected", key=("orig_h", "resp_p"))
    count = SumStat(hops=0, epoch="1m", total=Sum(refusals))

    @count.crosses(total=1)
    def one(self, key, seen):
        raise ValueError("on purpose")
"""


def test_a_detection_that_keeps_raising_is_switched_off_with_an_alert_wherever_it_raises(tmp_path):
    plugin = tmp_path / "raising.py"
    plugin.write_text(RAISING)
    ran = run(PCAPS / "port-scan-syn.pcap", 1, str(plugin), size=1)
    alerts, counts = ran.alerts, ran.counts
    off = {(each.detection, *each.workers) for each in alerts if each.kind == "switched_off"}
    assert off == {("on_manager", "manager"), ("on_worker", "worker-1")}
    assert len(alerts) == 3
    assert [each.kind for each in alerts if each.detection == "port_scan"] == ["syn"]
    assert counts.faults == {"on_worker": 10, "on_manager": 10}
