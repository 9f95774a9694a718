"""A scan that straddles the boundary of an epoch is found as surely as one that does not, wherever epochs are cut."""

import pytest
from scapy.layers.inet import IP, TCP

from sensor.capture import open_savefiles
from sensor.clock import SECOND
from sensor.config import configure
from sensor.packet import Block
from tests.cluster.clusters import Cluster
from tests.replaying import ETHER, PCAPS, write
from tests.test_pcaps import NAMES, expected, key_facts

EPOCH = 300 * SECOND


def blocks_of(path):
    with open_savefiles([str(path)]) as source:
        return list(source.blocks())


def times(blocks):
    ts = [int(each) for block in blocks for each in block.frames["ts"]]
    return min(ts), max(ts)


def alerts(blocks, origin, detections):
    """What a capture raises that comes later by so much that `origin` lies where an epoch begins."""
    cluster, later = Cluster(detections.make), -origin % EPOCH
    for block in blocks:
        frames = block.frames.copy()
        frames["ts"] += later
        cluster.workers[0].process(Block(block.buffers, frames))
        cluster.exchange()
    return cluster.finish().alerts


def facts(found):
    return sorted(
        (key_facts({name: getattr(each, name) for name in each.__struct_fields__}) for each in found), key=str
    )


def origins(first, last):
    """Through a whole epoch in steps of ten seconds, and so that a boundary falls at each twelfth of the capture."""
    within = [first + (last - first) * part // 12 for part in range(13)]
    return [first - shift * 10 * SECOND for shift in range(30)] + [at - EPOCH for at in within]


@pytest.mark.parametrize("name", NAMES)
def test_a_capture_raises_the_same_alerts_wherever_epochs_are_cut(name):
    detections, blocks = configure(), blocks_of(PCAPS / name)
    for origin in origins(*times(blocks)):
        assert facts(alerts(blocks, origin, detections)) == sorted(expected(name), key=str), origin


def slow_scan(tmp_path, hosts, seconds):
    """A scan of one port, at an even pace."""
    step = seconds / (hosts - 1)
    packets = [
        (n * step, ETHER / IP(src="192.0.2.66", dst=f"198.51.100.{n + 1}") / TCP(dport=445, flags="S"))
        for n in range(hosts)
    ]
    return blocks_of(write(tmp_path / "slow.pcap", packets))


@pytest.mark.parametrize(("seconds", "found"), [(290, True), (299, True), (450, False)])
def test_a_scan_is_found_at_every_shift_if_it_takes_no_longer_than_an_epoch(tmp_path, seconds, found):
    """Attempts are told of when the wait for an answer is over; that shifts them all alike."""
    blocks = slow_scan(tmp_path, 25, seconds)
    first, _ = times(blocks)
    detections = configure(["address_scan"])
    for shift in range(0, 300, 7):
        assert bool(alerts(blocks, first - shift * SECOND, detections)) is found, shift


def test_a_scan_goes_on_for_an_hour_and_is_one_alert(tmp_path):
    blocks = slow_scan(tmp_path, 250, 3000)
    assert len(alerts(blocks, 0, configure(["address_scan"]))) == 1


def test_without_hopping_the_same_shifts_do_miss_a_scan(tmp_path):
    """What this file claims can fail."""
    plugin = tmp_path / "tumbling.py"
    plugin.write_text(
        "from sensor.detection import Alert, Detection, Stream, SumStat, Unique\n"
        "class Tumbling(Detection):\n"
        "    probes = Stream('connection_attempt', key=('orig_h', 'resp_p'), value='resp_h')\n"
        "    scan = SumStat(hops=0, epoch='5m', targets=Unique(probes))\n"
        "    @scan.crosses(targets=25)\n"
        "    def scanned(self, key, seen):\n"
        "        return Alert('scan', same_as=key)\n"
    )
    blocks = slow_scan(tmp_path, 25, 200)
    first, _ = times(blocks)
    detections = configure(["tumbling"], [str(plugin)])
    found = [bool(alerts(blocks, first - shift * SECOND, detections)) for shift in range(0, 300, 10)]
    assert any(found)
    assert not all(found)
