"""Captures whose times are not simply in order: pauses of hours, no times at all, and clocks that differ."""

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Raw

from sensor.clock import SECOND
from sensor.detection import Detection, on
from tests.cluster.clusters import Cluster, run
from tests.replaying import ETHER, replay, sensor, write

HOUR = 3600
START = 1_700_000_000


def syn(port, src="10.0.0.66", dst="10.0.0.2"):
    return ETHER / IP(src=src, dst=dst) / TCP(sport=40000 + port, dport=port, flags="S", seq=7)


def refusal(port, src="10.0.0.66", dst="10.0.0.2"):
    return ETHER / IP(src=dst, dst=src) / TCP(sport=port, dport=40000 + port, flags="RA", ack=8)


class Attempts(Detection):
    """Notes when attempts are told. Misses nothing."""

    def __init__(self):
        super().__init__()
        self.at = []

    @on("connection_attempt")
    def note(self, batch):
        self.at += zip(batch.resp_p.tolist(), batch.ts.tolist(), strict=True)


def attempts(path, size=10**9):
    """The port and time (s, of the capture) of each attempt."""
    made = []
    cluster = Cluster(lambda: [made.append(Attempts()) or made[-1]])
    cluster.run(path, size)
    return [(port, ts / SECOND - START) for each in made for port, ts in each.at]


@pytest.mark.parametrize("size", [1, 3, 10**9])
def test_probes_hours_apart_are_told_each_at_its_own_time(tmp_path, size):
    path = write(tmp_path / "slow.pcap", [(2 * HOUR * n, syn(n + 1)) for n in range(30)])
    waited = attempts(path, size)
    assert [port for port, _ in waited] == list(range(1, 31))
    wait = waited[0][1]
    assert 0 < wait < 600
    assert [at for _, at in waited[:-1]] == [2 * HOUR * n + wait for n in range(29)]
    assert waited[-1][1] == 2 * HOUR * 29  # input ends before its wait is over
    ran = run(path, size=size)
    assert ran.alerts == []
    assert ran.counts.last_ts - ran.counts.first_ts == 2 * HOUR * 29 * SECOND


def test_an_unanswered_probe_before_a_pause_is_told_when_its_wait_was_over(tmp_path):
    path = write(tmp_path / "pause.pcap", [(0, syn(1)), (2 * HOUR, syn(2)), (2 * HOUR + 1, syn(3))])
    [(port, at), *_] = attempts(path)
    assert (port, at) == (1, attempts(write(tmp_path / "short.pcap", [(0, syn(1)), (500, syn(2))]))[0][1])


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_a_flow_that_was_idle_for_hours_is_over_when_the_next_packet_comes(tmp_path, protocol):
    layer = UDP(sport=5000, dport=53) if protocol == "udp" else TCP(sport=5000, dport=80, flags="A")
    sent = ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / layer / Raw(b"x")
    at = (0, 1, 2 * HOUR, 4 * HOUR, 4 * HOUR + 1)
    assert replay(write(tmp_path / "idle.pcap", [(each, sent.copy()) for each in at])).summary["flows"] == 3


def conversation():
    """One connection, as ten packets a second apart."""
    client, server = IP(src="10.0.0.1", dst="10.0.0.2"), IP(src="10.0.0.2", dst="10.0.0.1")
    there, back = {"sport": 5000, "dport": 80}, {"sport": 80, "dport": 5000}
    return [
        ETHER / client / TCP(**there, flags="S", seq=100),
        ETHER / server / TCP(**back, flags="SA", seq=500, ack=101),
        ETHER / client / TCP(**there, flags="A", seq=101, ack=501),
        ETHER / client / TCP(**there, flags="PA", seq=101, ack=501) / Raw(b"hello"),
        ETHER / server / TCP(**back, flags="PA", seq=501, ack=106) / Raw(b"world"),
        ETHER / client / TCP(**there, flags="FA", seq=106, ack=506),
        ETHER / server / TCP(**back, flags="FA", seq=506, ack=107),
        ETHER / client / TCP(**there, flags="A", seq=107, ack=507),
    ]


class States(Detection):
    """Notes how connections ended. Misses nothing."""

    def __init__(self):
        super().__init__()
        self.found = []

    @on("connection_state_remove")
    def note(self, batch):
        self.found += batch.history.tolist()


@pytest.mark.parametrize("zeros", [(0,), (0, 1, 2), (3, 4), (7,), range(1, 8), range(8)])
@pytest.mark.parametrize("size", [1, 10**9])
def test_packets_without_a_time_are_of_the_connection_they_come_in(tmp_path, zeros, size):
    path = write(
        tmp_path / "zeros.pcap", [(n if n not in zeros else -START, each) for n, each in enumerate(conversation())]
    )
    made = []
    ran = Cluster(lambda: [made.append(States()) or made[-1]]).run(path, size)
    assert [each for detection in made for each in detection.found] == [b"ShADdFf"]
    assert ran.counts.flows == 1
    timed = [n for n in range(8) if n not in zeros]
    assert ran.counts.first_ts == ((START + timed[0]) * SECOND if timed else None)


@pytest.mark.parametrize("away", [9000 * HOUR, -9000 * HOUR])
def test_one_packet_with_a_wrong_time_ends_nothing(tmp_path, away):
    path = write(tmp_path / "wrong.pcap", [(n + away * (n == 3), each) for n, each in enumerate(conversation())])
    assert replay(path).summary["flows"] == 1


def scan(ahead, ports=60):
    """A scan of ports in 20 seconds, in bursts, between another interface's packets whose clock is ahead."""
    packets = []
    for turn in range(ports // 3):
        for port in range(3 * turn + 1, 3 * turn + 4):
            at = turn + port % 3 / 1000
            packets += [(at, syn(port)), (at + 0.0003, refusal(port))]
        there = IP(src="10.0.0.7", dst="10.0.0.9") / UDP(sport=6000 + turn, dport=53) / Raw(b"?")
        back = IP(src="10.0.0.9", dst="10.0.0.7") / UDP(sport=53, dport=6000 + turn) / Raw(b"!")
        packets += [(turn + 0.5 + ahead, ETHER / there), (turn + 0.501 + ahead, ETHER / back)]
    return packets


def told(alerts):
    return [(each["message"], each["value"], each["src"], each["dst"]) for each in alerts]


@pytest.mark.parametrize("ahead", [2 * HOUR, -2 * HOUR, 24 * HOUR, -HOUR - 60, -600])
def test_a_scan_between_packets_of_another_clock_is_one_scan(tmp_path, ahead):
    right = replay(write(tmp_path / "right.pcap", scan(0)))
    ran = replay(write(tmp_path / "clocks.pcap", scan(ahead)))
    assert told(ran.alerts) == told(right.alerts)
    assert [each["value"] for each in ran.alerts] == [60]
    assert ran.summary["flows"] == right.summary["flows"] == 80


@pytest.mark.parametrize(("ahead", "said"), [(2 * HOUR, "2h later"), (-2 * HOUR, "2h earlier"), (600, None)])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_hint_says_by_how_much_clocks_differ(tmp_path, ahead, said, workers):
    path = write(tmp_path / "clocks.pcap", scan(ahead))
    ran = sensor("replay", path, "--workers", workers)
    as_json = sensor("replay", "--json", path, "--workers", workers).stdout
    assert ("clocks differ" in as_json) == ("clocks differ" in ran.stderr) == bool(said)
    if said:
        assert said in ran.stderr
        assert ran.stderr.count("clocks differ") == 1


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("size", [1, 7, 10**9])
def test_neither_blocks_nor_workers_matter_whatever_the_times(tmp_path, workers, size):
    sent = [
        *scan(2 * HOUR),
        *[(9 * HOUR + at, packet) for at, packet in scan(-3 * HOUR)],
        (-START, syn(900)),
        *[(30 * HOUR + 2 * HOUR * n, syn(1000 + n)) for n in range(5)],
        *[(HOUR + at, packet) for at, packet in scan(0)],
        (99999 * HOUR, syn(901)),
    ]
    path = write(tmp_path / "all.pcap", sent)
    whole = run(path)
    assert len(whole.alerts) >= 2
    ran = run(path, workers, size=size)
    assert ran.standing == whole.standing
    assert [each.id for each in ran.alerts] == [each.id for each in whole.alerts]
    assert ran.counts.counters["clock_jumps"] == whole.counts.counters["clock_jumps"]
