"""The same alerts and the same results of epochs for any number of workers, however the traffic is split over them."""

import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP

from sensor import __version__
from sensor.alerts import AlertRecord
from sensor.cluster.manager import EVERYBODY, Manager
from sensor.cluster.messages import Counts
from sensor.cluster.reporter import Reporter
from sensor.detection import Alert, Detection, Max, Stream, Sum, SumStat, Unique
from sensor.sumstats import EpochEnd, SumStats
from tests.cluster.clusters import Ran, run
from tests.replaying import ETHER, PCAPS, write

NAMES = sorted(path.name for path in PCAPS.glob("*.pcap"))
LESS_WORKERS = {"workers"}


def told(ran):
    """All that alerts say but who contributed."""
    return [
        tuple(getattr(each, name) for name in each.__struct_fields__ if name not in LESS_WORKERS) for each in ran.alerts
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_capture_gives_the_same_alerts_with_1_2_4_and_16_workers(name):
    alone = run(PCAPS / name)
    assert bool(alone.alerts) == ("scan" in name and "under" not in name)
    for workers in (2, 4, 16):
        together = run(PCAPS / name, workers)
        assert told(together) == told(alone)
        assert (together.counts.packets_read, together.counts.observations) == (
            alone.counts.packets_read,
            alone.counts.observations,
        )


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_alerts_that_went_out_at_once_come_to_stand_as_those_told_at_the_end(workers):
    for name in ("random-scan.pcap", "port-scan-syn.pcap", "address-scan-connect.pcap"):
        ran = run(PCAPS / name, workers, early=True, size=20)
        assert ran.standing == run(PCAPS / name).standing
        assert ran.standing


EVERY_RESULT = """
from sensor.detection import Alert, Average, Detection, HllUnique, Quantile, Sample, Stream, Sum, SumStat, TopK, Unique

class EveryResult(Detection):
    "Tells every result. Misses nothing."
    requests = Stream("udp_request", "connection_attempt", key="orig_h", value="resp_p")
    tumbling = SumStat(
        hops=0,
        epoch="30s",
        total=Sum(requests, of="orig_bytes"),
        ports=Unique(requests, keep=5),
        about=HllUnique(requests),
        most=TopK(requests, size=50),  # as many as there are: beyond that, a bound is kept, not the very counts
        sample=Sample(requests, size=4),
        middle=Quantile(requests, of="resp_p"),
        mean=Average(requests, of="resp_p"),
    )
    hopping = SumStat(epoch="40s", hops=4, ports=Unique(requests))

    @tumbling.epoch_result
    def result(self, key, seen, epoch):
        sets = seen.ports.sample, seen.about.hll_unique, seen.most.topk, seen.sample.samples
        return Alert(f"{epoch} {seen.total} {seen.ports.count} {sets} {seen.middle} {seen.mean.average}")

    @hopping.epoch_result
    def window(self, key, seen, epoch):
        return Alert(f"{epoch.index} {epoch.start} {epoch.end} {seen.ports.count}")
"""


def traffic(tmp_path):
    """Two minutes of hosts that talk to each other, some much more than others."""
    rng = np.random.default_rng(7)
    packets = []
    for n in range(600):
        src, dst = (int(min(each, 12)) for each in rng.geometric(0.2, 2))
        layers = IP(src=f"192.0.2.{src}", dst=f"198.51.100.{dst}")
        port = int(rng.integers(1, 40))
        if n % 3:
            layers /= UDP(sport=1024 + n, dport=port) / (b"x" * int(rng.integers(0, 30)))
        else:
            layers /= TCP(sport=1024 + n, dport=port, flags="S")
        packets.append((n * 0.2, ETHER / layers))
    return write(tmp_path / "traffic.pcap", packets)


def test_the_results_of_every_epoch_are_the_same_with_1_2_4_and_16_workers(tmp_path):
    plugin, path = tmp_path / "every_result.py", traffic(tmp_path)
    plugin.write_text(textwrap.dedent(EVERY_RESULT))
    alone = run(path, 1, str(plugin))
    assert len(alone.alerts) > 100
    for workers in (2, 4, 16):
        together = run(path, workers, str(plugin))
        assert sorted(told(together)) == sorted(told(alone))


class Counted(Detection):
    """What observations are counted by in `observe`; no packet is involved."""

    probes = Stream("connection_attempt", key="resp_p", value="orig_p")
    sums = SumStat(hops=0, epoch="10s", total=Sum(probes, of="orig_bytes"))
    series = SumStat(hops=0, epoch="10s", most=Max(probes, of="orig_bytes"))
    unique = SumStat(epoch="10s", hops=4, seen=Unique(probes))
    results: list

    def __init__(self):
        super().__init__()
        self.results = []

    @sums.crosses(total=20)
    def much(self, key, seen):
        return Alert(f"much {key.resp_p}", same_as=key)

    @sums.epoch_result
    def result(self, key, seen, epoch):
        self.results.append((epoch.index, key.resp_p, seen.total.num, seen.total.sum, epoch.complete))

    @series.crosses(most=(3, 5, 8))
    def high(self, key, seen):
        return Alert(f"high {key.resp_p} {seen.level}", same_as=key)

    @unique.crosses(seen=4)
    def many(self, key, seen):
        return Alert(f"many {key.resp_p}", same_as=key)


def observe_split(observations, members, *, early):
    """What comes of observations (seconds, key, value, element, worker) that are split over some workers."""
    detection = Counted()
    names = [f"w{i}" for i in range(members)]
    manager = Manager([detection], names, early=early, is_local=False)
    definitions = list(Counted().define().values())
    engines, reporters = [], []
    for name in names:
        engines.append(SumStats(definitions, members=max(members, 2) if early else 0))
        reporters.append(Reporter(name, 0, engines[-1], definitions, members=max(members, 2)))
        reporters[-1].receive(manager.hello(reporters[-1].hello(__version__, manager.digest), 0.0), 0.0)
    out = []

    def exchange():
        is_busy = True
        while is_busy:
            is_busy = False
            for reporter in reporters:
                for message in reporter.drain(0.0):
                    manager.receive(reporter.name, message, 0.0)
                    is_busy = True
            output = manager.drain()
            out.extend(output.alerts)
            for to, message in output.messages:
                for reporter in reporters:
                    if to in (EVERYBODY, reporter.name):
                        reporter.receive(message, 0.0)
                is_busy = True

    for engine in engines:
        engine.start(0)
    for at, key, value, element, member in observations:
        now = int(at * 1e9)
        for reporter, engine in zip(reporters, engines, strict=True):
            for end in engine.advance(now):
                reporter.ended(end)
        engine, reporter = engines[member % members], reporters[member % members]
        keys, ts = np.array([[key]], np.uint64), np.array([now])
        for definition in definitions:
            values = {
                each.name: np.array([[element]], np.uint64) if each.element_words else np.array([float(value)])
                for each in definition.reducers
            }
            for happened in engine.observe(definition.name, keys, ts, values):
                assert not isinstance(happened, EpochEnd)
                reporter.crossed(happened, happened.at)
        for reporter in reporters:
            reporter.review(now)
            reporter.heartbeat(0, now, Counts())
        exchange()
    for reporter, engine in zip(reporters, engines, strict=True):
        for end in engine.finish(int(observations[-1][0] * 1e9) if observations else 0):
            reporter.ended(end)
        reporter.heartbeat(0, 0, Counts(), done=True)
    exchange()
    ran = Ran(out, manager.counts(), manager)
    return ran.standing, sorted(detection.results), ran


OBSERVATIONS = st.lists(
    st.tuples(st.integers(0, 80), st.integers(1, 3), st.integers(1, 9), st.integers(0, 9), st.integers(0, 15)),
    max_size=60,
).map(lambda each: sorted(each, key=lambda one: one[0]))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(OBSERVATIONS, st.sampled_from([2, 3, 4, 16]), st.booleans())
def test_observations_split_anyhow_over_workers_come_to_the_same(observations, members, early):
    """By flow, by packet and by direction are cases of anyhow."""
    alone = observe_split(observations, 1, early=False)
    assert observe_split(observations, members, early=early)[:2] == alone[:2]


def test_a_joint_crossing_is_told_long_before_the_epoch_is_over():
    """Four workers, none of which comes near the level of 20 by itself; the epoch lasts 10 s."""
    observations = [(n * 0.1, 1, 1, 0, n) for n in range(20)]
    _, _, ran = observe_split([*observations, (9.0, 2, 1, 0, 0)], 4, early=True)
    [alert] = [each for each in ran.told if isinstance(each, AlertRecord) and each.message.startswith("much")]
    assert alert.value == 20
    assert alert.ts < "1970-01-01T00:00:02"


def test_under_the_level_nothing_is_told_early_or_late():
    observations = [(n * 0.1, 1, 1, 0, n) for n in range(19)]
    standing, _, _ = observe_split(observations, 4, early=True)
    assert not any(about[0] == "counted" and about[-1] >= 20 for about in standing.values())
    assert not [each for each in standing.values() if each[-1] == 19]
