"""A worker and a manager: what they find depends on the packets alone, not on how they were cut into blocks."""

import pytest

from sensor.capture import open_savefiles
from sensor.cluster.manager import Manager
from sensor.cluster.worker import Worker
from sensor.config import configure
from sensor.packet import Block
from tests.replaying import PCAPS

CAPTURES = ["port-scan-connect.pcap", "random-scan.pcap", "address-scan-ipv6.pcap", "port-scan-fragmented.pcap"]


def run(path, size, *plugins):
    """The alerts of a capture, and the worker's counts, with at most `size` frames in a block."""
    detections = configure(plugins=plugins)
    worker, manager = Worker("worker-1", detections.make()), Manager(detections.make())
    alerts = []
    with open_savefiles([str(path)]) as source:
        for block in source.blocks():
            for start in range(0, len(block.frames), size):
                part = Block(block.buffers, block.frames[start : start + size])
                alerts += manager.receive(worker.process(part))
    alerts += manager.receive(worker.finish())
    return alerts, manager.counts()


@pytest.mark.parametrize("name", CAPTURES)
def test_alerts_and_counts_do_not_depend_on_the_size_of_blocks(name):
    whole = run(PCAPS / name, 10**9)
    assert whole[0]
    for size in (1, 7, 100):
        assert run(PCAPS / name, size) == whole


def test_the_hash_secret_changes_nothing():
    runs = [run(PCAPS / "random-scan.pcap", 10**9) for _ in range(3)]
    assert runs[0] == runs[1] == runs[2]


def test_a_worker_without_input_has_nothing_to_say_and_counts_nothing():
    detections = configure()
    worker, manager = Worker("worker-1", detections.make()), Manager(detections.make())
    assert list(manager.receive(worker.finish())) == []
    counts = manager.counts()
    assert (counts.packets_read, counts.flows, counts.observations, counts.first_ts) == (0, 0, 0, None)


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
    assert [(each["first_seen"][:10], each["epoch"]) for each in ran.alerts] == [("2023-11-19", 0)]
    assert ran.summary["counters"]["sumstats_passed_over"] == 25
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
    count = SumStat(epoch="1m", total=Sum(refusals))

    @count.crosses(total=1)
    def one(self, key, seen):
        raise ValueError("on purpose")
"""


def test_a_detection_that_keeps_raising_is_switched_off_with_an_alert_wherever_it_raises(tmp_path):
    plugin = tmp_path / "raising.py"
    plugin.write_text(RAISING)
    alerts, counts = run(PCAPS / "port-scan-syn.pcap", 1, str(plugin))
    off = {(each.detection, *each.workers) for each in alerts if each.kind == "switched_off"}
    assert off == {("on_manager", "manager"), ("on_worker", "worker-1")}
    assert len(alerts) == 3
    assert [each.kind for each in alerts if each.detection == "port_scan"] == ["syn"]
    assert counts.faults == {"on_worker": 10, "on_manager": 10}
