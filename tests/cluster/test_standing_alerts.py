"""Figures are true to the end: an alert is told again as it grows, and when nothing more comes of it."""

import pytest
from scapy.layers.inet import IP, TCP

from sensor.alerts import AlertRecord, AlertUpdate
from sensor.cluster.manager import Manager
from sensor.cluster.messages import ClusterThresholdCrossed
from sensor.detection import Alert, Detection, Stream, SumStat, Unique
from tests.cluster.test_protocol import Net
from tests.replaying import ETHER, replay, write


class Scans(Detection):
    """Elements of a key, in windows of four panes. Misses nothing."""

    seen = Stream("connection_attempt", key="resp_p", value="orig_p")
    sums = SumStat(epoch="30s", hops=3, ports=Unique(seen))

    @sums.crosses(ports=3)
    def many(self, key, seen):
        return Alert(f"{key.resp_p}: {seen.ports.count} in {seen.span}", same_as=key)


def scan(net, name, pane, *elements):
    for element in elements:
        net.observe(name, 10 * pane + 1, 5, element=element)


def pass_time(net, at, *names):
    for name in names or "ab":
        net.pass_time(name, at)
    net.carry(*names)


def told(net):
    return [(getattr(each, "state", "alert"), each.message, each.value) for each in net.told]


def test_an_alert_is_told_again_when_it_has_doubled_and_when_its_key_rests():
    net = Net("a", "b", make=Scans)
    scan(net, "a", 0, 1, 2)
    scan(net, "b", 0, 3)
    pass_time(net, 11)
    assert told(net) == [("alert", "5: 3 in 0.0s", 3)]
    scan(net, "a", 1, 4, 5)
    pass_time(net, 21)
    assert len(net.told) == 1  # five of six
    scan(net, "b", 2, 6)
    pass_time(net, 31)
    assert told(net)[1:] == [("open", "5: 6 in 20s", 6)]
    scan(net, "a", 3, 7, 1)
    for at in (41, 51, 61, 71):
        pass_time(net, at)
    assert len(net.told) == 2
    pass_time(net, 81)
    assert told(net)[2:] == [("ended", "5: 7 in 30s", 7)]
    for at in (91, 101):
        pass_time(net, at)
    assert len(net.told) == 3


def test_of_what_has_not_grown_nothing_more_is_told():
    net = Net("a", "b", make=Scans)
    scan(net, "a", 0, 1, 2, 3)
    for at in range(11, 80, 10):
        pass_time(net, at)
    assert told(net) == [("alert", "5: 3 in 0.0s", 3)]


def test_an_alert_that_grows_while_a_worker_is_missing_says_so():
    net = Net("a", "b", make=Scans)
    scan(net, "a", 0, 1, 2, 3)
    pass_time(net, 11)
    net.manager.lost("b", 0.0)
    scan(net, "a", 1, 4, 5, 6)
    net.pass_time("a", 21)
    net.manager.tick(31.0)
    net.carry("a", now=31.0)
    update = net.told[-1]
    assert (update.value, update.complete, update.missing) == (6, False, ["b"])


def test_workers_count_on_what_an_alert_stands_of():
    net = Net("a", "b", make=Scans)
    scan(net, "a", 0, 1, 2, 3)
    net.pass_time("a", 11)
    net.pass_time("b", 11)
    for name in "ab":
        for message in net.reporters[name].drain(0.0):
            net.manager.receive(name, message, 0.0)
    assert not [each for each in net.deliver() if isinstance(each[1], ClusterThresholdCrossed)]


@pytest.mark.parametrize("from_snapshot", [False, True])
def test_a_manager_that_goes_on_counts_on_and_input_that_ends_ends_all(from_snapshot):
    net = Net("a", "b", make=Scans)
    records = []
    drain = net.manager.drain
    net.manager.drain = lambda: (output := drain(), records.extend(output.records))[0]
    scan(net, "a", 0, 1, 2, 3)
    pass_time(net, 11)
    scan(net, "b", 1, 4)
    pass_time(net, 21)
    manager = Manager([net.detection], "ab", settings=net.settings)
    manager.restore(*((net.manager.snapshot(), []) if from_snapshot else (None, records)), 0.0)
    net.manager, net.told = manager, []
    for name in "ab":
        net.connect(name)
        net.finish(name, 25)
    net.carry()
    assert told(net) == [("ended", "5: 4 in 10s", 4)]
    [update] = [each for each in net.told if isinstance(each, AlertUpdate)]
    assert update.complete
    assert not [each for each in net.told if isinstance(each, AlertRecord)]


def test_a_scan_of_a_quarter_of_an_hour_is_told_to_its_end(tmp_path):
    probes = [
        (at, ETHER / IP(src="198.51.100.9", dst="10.2.0.9") / TCP(sport=40000 + at, dport=1 + at, flags=flags))
        for at in range(900)
        for flags in ("S",)
    ]
    answers = [
        (ts + 0.01, ETHER / IP(src="10.2.0.9", dst="198.51.100.9") / TCP(sport=p.dport, dport=p.sport, flags="RA"))
        for ts, p in probes
    ]
    path = write(tmp_path / "long.pcap", sorted([*probes, *answers], key=lambda each: each[0]))
    ran = replay(path)
    [alert] = ran.alerts
    last = ran.updates[-1]
    assert (last["id"], last["state"], last["value"]) == (alert["id"], "ended", 900)
    assert last["last_seen"] > "2023-11-14T22:28:19"
    assert "900 ports" in last["message"]
