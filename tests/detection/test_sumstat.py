"""What a detection can say with SumStats: calculations, levels, overrides, keys, epochs, and what is contained."""

import copy
import inspect
import math
import statistics
import sys
import textwrap
from collections import Counter
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, ClassVar

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from sensor.clock import SECOND
from sensor.config import configure
from sensor.detection import (
    Alert,
    Average,
    Detection,
    DetectionError,
    First,
    HllUnique,
    Key,
    Last,
    Max,
    Observation,
    Option,
    Quantile,
    Sample,
    Stream,
    Sum,
    SumStat,
    TopK,
    Unique,
    on,
    reduction,
    text,
)
from sensor.events import Batch
from sensor.sumstats import CALCULATIONS, calculation, following
from sensor.sumstats.calculations.sum import Sum as SumReducer
from tests.cluster.clusters import Cluster
from tests.replaying import ETHER, PCAPS, replay, sensor, write

START = 1_700_000_000 * SECOND


def epoch_at(seconds, length, start=START // SECOND):
    """Which epoch of that length (s) it is so many seconds into a capture: they are cut from 1970 on."""
    return int((start + seconds) // length)


A, B = ip_address("192.0.2.1"), ip_address("192.0.2.2")
SERVER = ip_address("198.51.100.7")
SCAN = PCAPS / "port-scan-syn.pcap"
WHOLE = 10**9


@dataclass(frozen=True)
class Sent:
    """One datagram of a scripted capture, of a flow of its own: one `udp_request`."""

    at: float
    src: Any = A
    dst: Any = SERVER
    port: int = 9
    size: int = 1


@dataclass
class Ran:
    alerts: list
    counts: Any

    @property
    def counters(self):
        return self.counts.counters


def capture(tmp_path, sent, name="scripted.pcap"):
    packets = []
    for n, each in enumerate(sent):
        layer = IP if each.src.version == 4 else IPv6
        network = layer(src=str(each.src), dst=str(each.dst))
        packets.append((each.at, ETHER / network / UDP(sport=10000 + n, dport=each.port) / (b"x" * each.size)))
    return write(tmp_path / name, packets)


def run(make, path, size=WHOLE):
    """Run what `make()` gives on a worker and a manager, `size` frames in a block at most; alerts go out at once."""
    ran = Cluster(make, early=True).run(path, size)
    return Ran(ran.alerts, ran.counts)


def detect(detection, path, size=WHOLE, **settings):
    return run(lambda: [detection(**settings)], path, size)


def plugin(tmp_path, source, name="plugin.py"):
    path = tmp_path / name
    path.write_text(textwrap.dedent(source))
    return path


def load(path):
    """The one detection of a plugin file."""
    settings = configure(plugins=[str(path)])
    [detection] = [each for each in settings.detections if each.__module__ == f"sensor_plugin_file_{path.stem}"]
    return detection


def signed_port(batch):
    """A part of a key that a function computes: negative for high ports."""
    return np.where(batch.resp_p > 1000, -1, 1) * batch.resp_p


# 1. Calculations

EVERY = """
from sensor.detection import Detection, Stream, SumStat
from sensor.detection import (
    Sum, Average, Min, Max, Variance, StdDev, Unique, HllUnique, TopK, Sample, Last, First, Quantile, Entropy
)

class Every(Detection):
    told = {}
    requests = Stream("udp_request", key="orig_h", value="orig_bytes")
    s = SumStat(
        epoch="1h",
        total=Sum(requests),
        mean=Average(requests),
        low=Min(requests),
        high=Max(requests),
        variance=Variance(requests),
        deviation=StdDev(requests),
        ports=Unique(requests, of="resp_p", keep=2, max=4),
        estimate=HllUnique(requests, of="resp_p", error_margin=0.02),
        talked_to=TopK(requests, of="resp_h", size=2, weight="orig_bytes"),
        often=TopK(requests, of=("resp_h", "resp_p"), size=20),
        some=Sample(requests, of="resp_p", size=3),
        last=Last(requests, of="resp_h", size=2),
        first=First(requests, of=("resp_h", "resp_p"), size=2),
        history=Last(requests, of="history"),
        ninth=Quantile(requests, q=0.9, error=0.001),
        spread=Entropy(requests, of="resp_p"),
    )

    @s.epoch_result
    def result(self, key, seen, epoch):
        self.told[key.orig_h] = seen
"""


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    """What each calculation says of A, and what was sent."""
    tmp_path = tmp_path_factory.mktemp("every")
    servers = [ip_address(f"198.51.100.{n}") for n in (7, 8, 9)]
    sent = [Sent(n, A, servers[n * n % 3], 20 + n % 6, 1 + n * 7 % 40) for n in range(40)]
    sent += [Sent(40 + n, B, servers[0], 53, 5) for n in range(3)]
    detection = load(plugin(tmp_path, EVERY))
    detect(detection, capture(tmp_path, sent))
    return detection.told[A], [each for each in sent if each.src == A]


def test_every_calculation_can_be_imported_by_its_name(every):
    declared = sys.modules["sensor_plugin_file_plugin"].Every.s.reducers.values()
    assert {type(each).__name__ for each in declared} == {each.__name__ for each in CALCULATIONS}
    with pytest.raises(ImportError, match="Uniqe"):
        exec("from sensor.detection import Uniqe")


def test_calculations_of_numbers_say_what_the_statistics_module_says(every):
    seen, sent = every
    sizes = [each.size for each in sent]
    assert seen.total.sum == sum(sizes)
    assert math.isclose(seen.mean.average, statistics.mean(sizes))
    assert (seen.low.min, seen.high.max) == (min(sizes), max(sizes))
    assert math.isclose(seen.variance.variance, statistics.variance(sizes))
    assert math.isclose(seen.deviation.std_dev, statistics.stdev(sizes))
    assert math.isclose(seen.ninth.quantile, sorted(sizes)[int(0.9 * 39)], rel_tol=0.001)


def test_calculations_of_elements_say_what_counting_says(every):
    seen, sent = every
    ports = Counter(each.port for each in sent)
    assert seen.estimate.hll_unique == len(ports)
    shares = [count / len(sent) for count in ports.values()]
    assert math.isclose(seen.spread.entropy, -sum(share * math.log2(share) for share in shares))
    assert (seen.begin, seen.end) == (START, START + 39 * SECOND)
    assert seen.span == "39s"


def test_options_are_those_that_were_given(every):
    seen, _ = every
    assert (seen.ports.count, seen.ports.saturated, len(seen.ports.sample)) == (4, True, 2)
    assert len(seen.talked_to.topk) == 2
    assert len(seen.some.samples) == 3


def test_elements_come_back_as_addresses_numbers_and_texts(every):
    seen, sent = every
    assert seen.last.last_elements == [each.dst for each in sent[-2:]]
    assert all(type(each) is IPv4Address for each in seen.last.last_elements)
    assert set(seen.ports.sample) < {each.port for each in sent}
    assert all(type(each) is int for each in (*seen.ports.sample, *seen.some.samples))
    assert set(seen.some.samples) <= {each.port for each in sent}
    assert seen.history.last_elements == ["D"]


def test_several_columns_come_back_as_named_tuples(every):
    seen, sent = every
    assert seen.first.first_elements == [(each.dst, each.port) for each in sent[:2]]
    assert [each.resp_p for each in seen.first.first_elements] == [20, 21]
    counted = Counter((each.dst, each.port) for each in sent)
    assert {element: count for element, count, _ in seen.often.topk} == counted
    assert seen.often.topk[0][0].resp_h in {each.dst for each in sent}


def test_topk_weighs_by_the_column_of_its_weight(every):
    seen, sent = every
    weights = Counter()
    for each in sent:
        weights[each.dst] += each.size
    [(heaviest, _)] = weights.most_common(1)
    element, count, epsilon = seen.talked_to.topk[0]
    assert element == heaviest
    assert count - epsilon <= weights[heaviest] <= count


def before(batch):
    """Two seconds before it happened, at the odd ports."""
    return batch.ts - 2 * SECOND * (batch.resp_p % 2).astype(np.int64)


class Dated(Detection):
    told: ClassVar[list] = []
    requests = Stream("udp_request", key="orig_h", value="resp_p")
    s = SumStat(
        hops=0, epoch="1h", ports=Unique(requests, when="ts"), old=Unique(requests, when=before), total=Sum(requests)
    )

    @s.crosses(ports=3)
    def crossed(self, key, seen):
        own = [seen.ports.reached(seen.threshold), seen.ports.reached(4), seen.old.reached(1), seen.old.until(seen.end)]
        self.told.append([seen.threshold, *own])
        return Alert("dated", same_as=key)

    @s.epoch_result
    def result(self, key, seen, epoch):
        assert math.isnan(seen.threshold)
        self.told.append(
            [seen.ports.reached(1), seen.ports.reached(4), seen.old.reached(1), seen.ports.until(epoch.end)]
        )


def test_elements_may_be_dated_by_a_column_or_a_function_of_the_batch(tmp_path, monkeypatch):
    """The file begins at `WHEN`: at 0, 1, 2 and 5 seconds come the ports 8, 9, 10 and 11, the first twice."""
    monkeypatch.setattr(Dated, "told", [])
    sent = [Sent(0, port=8), Sent(1, port=9), Sent(2, port=10), Sent(3, port=8), Sent(5, port=11)]
    ran = detect(Dated, capture(tmp_path, sent))
    first = min(each[0] for each in Dated.told if len(each) == 4)
    seconds = [
        [each if each is None or each < 10**6 else (each - first) / SECOND for each in own] for own in Dated.told
    ]
    assert ran.counts.faults == {}
    assert seconds[0] == [3.0, 2, None, -1, 3]
    assert seconds[-1] == [0, 5, -1, 4]


def test_what_was_seen_can_be_copied(every):
    seen, _ = every
    assert copy.deepcopy(seen).ports.sample == seen.ports.sample
    with pytest.raises(AttributeError, match="did you mean 'ports'"):
        _ = seen.port


REQUESTS = Stream("udp_request", key="orig_h", value="orig_bytes")


@pytest.mark.parametrize(
    ("declare", "complaint"),
    [
        (lambda: Unique(REQUESTS, kep=3), "Unique has no option 'kep'; did you mean 'keep'"),
        (lambda: TopK(REQUESTS, sise=3), "TopK has no option 'sise'; did you mean 'size'"),
        (lambda: Quantile(REQUESTS, p=0.5), "Quantile has no option 'p'"),
        (lambda: Sum(REQUESTS, size=3), "Sum has no option 'size'"),
        (lambda: Unique(REQUESTS, words=3), "no option 'words'"),
        (lambda: Sum(REQUESTS, weight="orig_bytes"), "Sum takes no weight"),
        (lambda: Sum(REQUESTS, of="orig_byts"), "no column 'orig_byts' for a value; did you mean 'orig_bytes'"),
        (lambda: Unique(REQUESTS, of="resp_hh"), "no column 'resp_hh' for a value; did you mean 'resp_h'"),
        (lambda: TopK(REQUESTS, weight="orig_byte"), "no column 'orig_byte' for a weight; did you mean 'orig_bytes'"),
        (lambda: TopK(REQUESTS, weight="resp_h"), "takes numbers, and resp_h is of kind address"),
        (lambda: HllUnique(REQUESTS, when="ts"), "HllUnique takes no times"),
        (lambda: Unique(REQUESTS, when="tz"), "no column 'tz' for a when; did you mean 'ts'"),
        (lambda: Unique(REQUESTS, when="resp_h"), "takes numbers, and resp_h is of kind address"),
        (lambda: Unique(REQUESTS, is_dated=True), "no option 'is_dated'"),
        (lambda: Max(REQUESTS, of="history"), "takes numbers, and history is of kind text"),
        (lambda: Unique(Stream("udp_request", key="orig_h")), "needs a value to look at"),
        (lambda: SumStat(hops=0, epoch="1m", level=Sum(REQUESTS)), "cannot be called 'level'"),
        (lambda: SumStat(hops=0, epoch="1m", total=REQUESTS), "is not a reducer"),
        (
            lambda: SumStat(hops=0, epoch="1m", a=Sum(REQUESTS), b=Sum(Stream("arp_reply", key="orig_mac"))),
            "the same key",
        ),
    ],
)
def test_a_reducer_that_cannot_be_is_refused_where_it_is_written(declare, complaint):
    with pytest.raises(DetectionError, match=complaint):
        declare()


@pytest.mark.parametrize("mark", ["crosses", "epoch_result", "epoch_finished"])
def test_a_sumstat_has_one_method_of_each_kind_and_a_second_is_refused(mark):
    s = SumStat(hops=0, epoch="1m", total=Sum(REQUESTS))
    marker = s.crosses(total=1) if mark == "crosses" else getattr(s, mark)
    marker(lambda *given: None)
    with pytest.raises(DetectionError, match=f"{mark} marks <lambda> already"):
        (s.crosses(total=2) if mark == "crosses" else getattr(s, mark))(lambda *given: None)


@pytest.mark.parametrize("levels", [(6, 3), (3, 3), (), (3, math.nan)])
def test_levels_that_do_not_ascend_are_one_line(tmp_path, levels):
    class Wrong(Detection):
        s = SumStat(hops=0, epoch="1m", total=Sum(REQUESTS))

        @s.crosses(total=levels)
        def reached(self, key, seen):
            return None

    with pytest.raises(DetectionError, match="ascending levels"):
        Wrong().define()


@pytest.mark.parametrize("level", ["800", None, (Option(3), "6"), ("3", "6")])
def test_a_level_that_is_no_number_is_refused_where_it_is_written(level):
    with pytest.raises(DetectionError, match="a level is a number, an Option, or a series of numbers"):
        SumStat(hops=0, epoch="1m", total=Sum(REQUESTS)).crosses(total=level)


# 2. A calculation of one's own

OWN = """
import numpy as np
from dataclasses import dataclass
from sensor._jit import njit
from sensor.detection import Alert, Detection, Stream, SumStat, reduction
from sensor.sumstats.calculation import Scalar, Value, rows_of

{example}

class Own(Detection):
    requests = Stream("udp_request", key="orig_h", value="resp_bytes")
    s = SumStat(
        hops=0, epoch="1h", sizes=reduction(Nonzero)(requests, of="orig_bytes"), none=reduction(Nonzero)(requests)
    )

    @s.crosses(sizes=3)
    def reached(self, key, seen):
        return Alert(f"{{seen.sizes.nonzero}} and {{seen.none.nonzero}}", same_as=key)
"""


def documented_example():
    """The calculation in the docstring of the contract, as it stands there."""
    lines = inspect.getdoc(calculation).splitlines()
    start = next(i for i, line in enumerate(lines) if "This is a whole one" in line) + 1
    end = next(i for i in range(start, len(lines)) if lines[i] and not lines[i].startswith(" "))
    return textwrap.dedent("\n".join(lines[start:end])).strip()


def test_the_calculation_in_the_docstring_works_as_it_stands_there_in_a_plugin(tmp_path):
    path = plugin(tmp_path, OWN.format(example=documented_example()), "own.py")
    sent = [Sent(n, size=size) for n, size in enumerate([5, 0, 7, 0, 1, 9])]
    ran = replay("--plugin", path, "--detection", "own", capture(tmp_path, sent))
    assert [(each["message"], each["value"], each["threshold"]) for each in ran.alerts] == [("4 and 0", 4, 3)]
    assert ran.summary["detection_faults"] == {}


def test_a_reducer_class_becomes_a_reduction_of_its_name():
    own = reduction(SumReducer)
    assert (own.__name__, own.engine) == ("Sum", SumReducer)


# 3. Series of levels and threshold functions


class Series(Detection):
    low = Option(3, help="no threshold")
    s = SumStat(hops=0, epoch="1m", total=Sum(REQUESTS))

    @s.crosses(total=(3, 6, 800))
    def reached(self, key, seen):
        return Alert(f"level {seen.level} at {seen.value:.0f} of {seen.total.sum:.0f}", same_as=key)


def told(alerts):
    return [(each.message, each.value, each.threshold) for each in alerts]


@pytest.mark.parametrize("size", [WHOLE, 1, 3])
def test_each_level_of_a_series_is_an_alert_of_its_own_in_order(tmp_path, size):
    sizes = [1, 1, 2, 1, 1, 1, 2, 900, 5]
    ran = detect(Series, capture(tmp_path, [Sent(n, size=size) for n, size in enumerate(sizes)]), size)
    assert told(ran.alerts) == [
        ("level 0 at 4 of 4", 4, 3),
        ("level 1 at 6 of 6", 6, 6),
        ("level 2 at 909 of 909", 909, 800),
    ]
    assert [each.ts[17:19] for each in ran.alerts] == ["22", "24", "27"]
    assert len({each.id for each in ran.alerts}) == 3


@pytest.mark.parametrize(("compat", "levels"), [(None, [0, 1, 2]), ("zeek", [0, 1])])
def test_as_in_zeek_a_leap_tells_one_level_an_observation_where_that_is_asked_for(tmp_path, compat, levels):
    told = []

    class Leap(Detection):
        requests = Stream("udp_request", key="orig_h")
        s = SumStat(hops=0, epoch="1m", compat=compat, total=Sum(requests, of="orig_bytes"))

        @s.crosses(total=(3, 6, 800))
        def crossed(self, key, seen):
            told.append(seen.level)

    detect(Leap, capture(tmp_path, [Sent(0, size=1001), Sent(1, size=1)]))
    assert told == 2 * levels  # as they cross, and when the epoch is over


@pytest.mark.parametrize("size", [WHOLE, 1])
def test_a_leap_past_several_levels_tells_each_of_them(tmp_path, size):
    ran = detect(Series, capture(tmp_path, [Sent(0, B), Sent(1, size=900), Sent(2, B, size=5)]), size)
    assert [(each.src, each.value, each.threshold) for each in ran.alerts] == [
        (str(A), 900, 3),
        (str(A), 900, 6),
        (str(A), 900, 800),
        (str(B), 6, 3),
        (str(B), 6, 6),
    ]


def test_a_level_that_was_told_within_the_hour_is_not_told_again_but_a_higher_one_is(tmp_path):
    sent = [Sent(0, size=4), Sent(120, size=7), Sent(240, size=900), Sent(3599, size=4), Sent(3800, size=4)]
    ran = detect(Series, capture(tmp_path, sent), 1)
    assert [(each.ts[14:16], each.threshold) for each in ran.alerts] == [
        ("13", 3),
        ("15", 6),
        ("17", 800),
        ("16", 3),
    ]


def test_two_series_of_one_length_are_levels_that_both_must_reach(tmp_path):
    class Both(Detection):
        requests = Stream("udp_request", key="orig_h")
        s = SumStat(hops=0, epoch="1m", total=Sum(requests), ports=Unique(requests, of="resp_p"), most=Sum(requests))

        @s.crosses(total=(2, 4, 8), ports=(1, 3, 4), most=2)
        def reached(self, key, seen):
            return Alert(f"{seen.level}: {seen.total.sum:.0f} {seen.ports.count}")

    sent = [Sent(n, port=port) for n, port in enumerate([1, 1, 1, 1, 2, 3, 3, 3, 4])]
    ran = detect(Both, capture(tmp_path, sent))
    assert told(ran.alerts) == [("0: 2 1", 2, 2), ("1: 6 3", 6, 4), ("2: 9 4", 9, 8)]


def test_series_of_different_lengths_are_refused():
    class Uneven(Detection):
        s = SumStat(hops=0, epoch="1m", a=Sum(REQUESTS), b=Max(REQUESTS))

        @s.crosses(a=(1, 2), b=(1, 2, 3))
        def reached(self, key, seen):
            return None

    with pytest.raises(DetectionError, match="different lengths"):
        Uneven().define()


def is_large(batch):
    return batch.orig_bytes >= 10


class Share(Detection):
    share = Option(0.5, min=0.0, max=1.0, help="which part of the datagrams may be large")
    s = SumStat(hops=0, epoch="1m", bad=Sum(REQUESTS, where=is_large), all=Sum(REQUESTS))

    @s.crosses(lambda seen: seen.bad / seen.all, at=share)
    def reached(self, key, seen):
        return Alert(f"{seen.bad.sum:.0f} of {seen.all.sum:.0f}", same_as=key)


def test_a_function_of_several_reducers_is_compared_with_its_level(tmp_path):
    sent = [Sent(0, size=8), Sent(1, size=8), Sent(2, size=10), Sent(3, size=11), Sent(4, size=90)]
    path = capture(tmp_path, sent)
    [alert] = detect(Share, path).alerts
    assert (alert.message, alert.value, alert.threshold) == ("21 of 37", 21 / 37, 0.5)
    [alert] = detect(Share, path, share=0.8).alerts
    assert alert.message == "111 of 127"
    assert detect(Share, path, share=0.9).alerts == []


def test_a_function_may_have_a_series_of_levels(tmp_path):
    class Ratios(Detection):
        s = SumStat(hops=0, epoch="1m", bad=Sum(REQUESTS, where=is_large), all=Sum(REQUESTS))

        @s.crosses(lambda seen: seen.bad / seen.all, at=(0.25, 0.5))
        def reached(self, key, seen):
            return Alert(f"{seen.level}")

    sent = [Sent(0, size=9), Sent(1, size=9), Sent(2, size=9), Sent(3, size=10), Sent(4, size=20)]
    assert [(each.message, each.threshold) for each in detect(Ratios, capture(tmp_path, sent)).alerts] == [
        ("0", 0.25),
        ("1", 0.5),
    ]


def superstitious(seen):
    if (seen.total == 13).any():
        raise ValueError("on purpose")
    return seen.total


@pytest.mark.parametrize("size", [WHOLE, 1])
def test_a_threshold_function_that_raises_is_counted_and_the_rest_go_on(tmp_path, size):
    class Raising(Detection):
        s = SumStat(hops=0, epoch="1m", total=Sum(REQUESTS))

        @s.crosses(superstitious, at=10)
        def reached(self, key, seen):
            return Alert("reached")

    sent = [Sent(0, A, size=13), Sent(1, B, size=12), Sent(2, A, size=1)]
    ran = detect(Raising, capture(tmp_path, sent), size)
    assert [(each.src, each.value) for each in ran.alerts] == [(str(B), 12), (str(A), 14)]
    assert ran.counters["sumstats_threshold_faults"] == 1
    assert ran.counts.faults == {}


# 4. Overrides


def line_of(tmp_path, sent, *assignments):
    """The thresholds that a replay's alerts were told by, with the source of each."""
    options = [option for each in assignments for option in ("--set", each)]
    ran = replay("--plugin", plugin(tmp_path, MANY), "--detection", "many", *options, capture(tmp_path, sent))
    assert ran.exit_code == 0, ran.stderr
    return {(each["src"], each["dst"]): each["threshold"] for each in ran.alerts}


MANY = """
from sensor.detection import Alert, Detection, Option, Stream, Sum, SumStat

class Many(Detection):
    most = Option(4, min=1, help="datagrams that are too many")
    label = Option("none", help="no threshold")
    requests = Stream("udp_request", key=("orig_h", "resp_h", "resp_p", "history"))
    s = SumStat(hops=0, epoch="1h", total=Sum(requests), again=Sum(requests))

    @s.crosses(total=most, again=1)
    def reached(self, key, seen):
        return Alert("many", same_as=key)
"""


def several(src, dst="198.51.100.7", port=9, times=10):
    return [Sent(n / 100, ip_address(src), ip_address(dst), port) for n in range(times)]


def test_an_override_changes_the_level_of_its_network_alone(tmp_path):
    sent = several("192.0.2.1") + several("192.0.3.1")
    assert line_of(tmp_path, sent, "many.most@orig_h:192.0.2.0/24=7") == {
        ("192.0.2.1", "198.51.100.7"): 7,
        ("192.0.3.1", "198.51.100.7"): 4,
    }
    assert line_of(tmp_path, sent, "many.most@orig_h:192.0.2.0/24=20") == {("192.0.3.1", "198.51.100.7"): 4}
    assert line_of(tmp_path, sent, "many.most=6", "many.most@orig_h:192.0.2.0/24=2") == {
        ("192.0.2.1", "198.51.100.7"): 2,
        ("192.0.3.1", "198.51.100.7"): 6,
    }


@pytest.mark.parametrize("order", [1, -1])
def test_the_longest_prefix_wins_in_whatever_order_they_are_given(tmp_path, order):
    sent = several("192.0.2.1") + several("192.0.2.2") + several("192.0.3.1") + several("203.0.113.1")
    given = ["many.most@orig_h:192.0.2.1=2", "many.most@orig_h:192.0.2.0/24=3", "many.most@orig_h:192.0.0.0/16=5"]
    lines = line_of(tmp_path, sent, *given[::order])
    assert [lines[src, "198.51.100.7"] for src in ("192.0.2.1", "192.0.2.2", "192.0.3.1", "203.0.113.1")] == [
        2,
        3,
        5,
        4,
    ]


def test_a_handler_is_given_the_level_that_holds_for_its_key(tmp_path):
    """Of a series the one that was reached, of a key with an override its own."""
    path = capture(tmp_path, several("192.0.2.1") + several("192.0.3.1"))

    class Given(Detection):
        told: ClassVar[list] = []
        most = Option(4, min=1, help="no threshold")
        s = SumStat(hops=0, epoch="1h", total=Sum(REQUESTS))
        series = SumStat(hops=0, epoch="1h", total=Sum(REQUESTS))

        @s.crosses(total=most)
        def reached(self, key, seen):
            self.told.append((str(key.orig_h), seen.threshold))

        @series.crosses(total=(3, 8))
        def passed(self, key, seen):
            self.told.append((str(key.orig_h), seen.level, seen.threshold))

    detect(Given, path, **{"most@orig_h:192.0.2.0/24": 7})
    assert set(Given.told) == {
        ("192.0.2.1", 7.0),
        ("192.0.3.1", 4.0),
        *((src, level, least) for src in ("192.0.2.1", "192.0.3.1") for level, least in ((0, 3.0), (1, 8.0))),
    }


def test_several_parts_must_all_match(tmp_path):
    sent = several("192.0.2.1") + several("192.0.2.1", "203.0.113.7") + several("192.0.3.1")
    assert line_of(tmp_path, sent, "many.most@orig_h:192.0.2.0/24,resp_h:198.51.100.0/24=7") == {
        ("192.0.2.1", "198.51.100.7"): 7,
        ("192.0.2.1", "203.0.113.7"): 4,
        ("192.0.3.1", "198.51.100.7"): 4,
    }


def test_an_override_may_name_ipv6_and_everything_of_one_family(tmp_path):
    sent = several("2001:db8:1::1", "2001:db8::9") + several("2001:db8:2::1", "2001:db8::9") + several("192.0.2.1")
    assert line_of(tmp_path, sent, "many.most@orig_h:2001:db8:1::/48=7", "many.most@orig_h:0.0.0.0/0=2") == {
        ("2001:db8:1::1", "2001:db8::9"): 7,
        ("2001:db8:2::1", "2001:db8::9"): 4,
        ("192.0.2.1", "198.51.100.7"): 2,
    }


def test_an_override_may_name_numbers_and_texts(tmp_path):
    sent = several("192.0.2.1", port=53) + several("192.0.2.2", port=54)
    assert line_of(tmp_path, sent, "many.most@resp_p:53=7", "many.most@resp_p:54,history:d=2") == {
        ("192.0.2.1", "198.51.100.7"): 7,
        ("192.0.2.2", "198.51.100.7"): 4,
    }
    assert set(line_of(tmp_path, sent, "many.most@history:D=8").values()) == {8}


def test_an_override_of_a_shipped_detection_reaches_its_scan():
    assert [each["threshold"] for each in replay(SCAN).alerts] == [15]
    assert [each["threshold"] for each in replay("--set", "port_scan.ports@orig_h:192.0.2.0/24=20", SCAN).alerts] == [
        20
    ]
    assert replay("--set", "port_scan.ports@orig_h:192.0.2.0/24,resp_h:198.51.100.20=200", SCAN).alerts == []
    assert len(replay("--set", "port_scan.ports@orig_h:192.0.2.0/24,resp_h:198.51.100.21=200", SCAN).alerts) == 1


@pytest.mark.parametrize(
    ("assignment", "complaint"),
    [
        ("port_scan.ports@orig_host:192.0.2.0/24=20", "no part 'orig_host'; did you mean 'orig_h'"),
        ("port_scan.ports@orig_h:192.0.2.0/33=20", "192.0.2.0/33"),
        ("port_scan.ports@orig_h:192.0.2.1/24=20", "host bits"),
        ("address_scan.hosts@resp_p:ssh=20", "'ssh' is not a whole number"),
        ("address_scan.hosts@resp_p:99999999999999999999=20", "not a whole number of 64 bits"),
        ("port_scan.epoch@orig_h:192.0.2.0/24=2m", "only thresholds can differ by key; epoch is none"),
        ("port_scan.port@orig_h:192.0.2.0/24=20", "did you mean 'port_scan.ports'"),
        ("port_scan.ports@orig_h:192.0.2.0/24=1", "at least 2"),
        ("port_scan.ports@orig_h=20", "after @ write PART:VALUE"),
        ("port_scan.ports@=20", "after @ write PART:VALUE"),
        ("port_scan.ports@orig_h:192.0.2.0/24,orig_h:10.0.0.0/8=20", "each part once"),
    ],
)
def test_an_override_that_cannot_be_is_a_usage_error_of_one_line(assignment, complaint):
    ran = replay("--set", assignment, SCAN)
    assert (ran.exit_code, ran.alerts, ran.summary) == (2, [], {})
    assert complaint in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_a_misuse_of_the_command_itself_ends_so_too():
    ran = sensor("replay", "--set", "port_scan.ports@orig_x:192.0.2.0/24=20", SCAN)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)


def test_an_option_that_a_derived_detection_declares_anew_can_be_overridden_there(tmp_path):
    class Stricter(Series):
        low = Option(2, help="another default")

    class Base(Detection):
        most = Option(9, help="")
        s = SumStat(hops=0, epoch="1m", total=Sum(REQUESTS))

        @s.crosses(total=most)
        def reached(self, key, seen):
            return Alert("x")

    class Derived(Base):
        most = Option(5, help="another default")

    path = capture(tmp_path, [Sent(n, src) for n in range(9) for src in (A, B)])
    ran = detect(Derived, path, **{"most@orig_h:192.0.2.1": 2})
    assert {each.src: each.threshold for each in ran.alerts} == {str(A): 2, str(B): 5}
    with pytest.raises(DetectionError, match="only thresholds can differ by key"):
        Stricter(**{"low@orig_h:192.0.2.1": 2})


def test_a_scalar_key_has_no_parts_to_override_by():
    class Global(Detection):
        most = Option(9, help="")
        each = Stream(key=Key)
        s = SumStat(hops=0, epoch="1m", total=Sum(each))

        @s.crosses(total=most)
        def reached(self, key, seen):
            return None

    with pytest.raises(DetectionError, match="no named parts"):
        Global(**{"most@host:192.0.2.1": 2}).define()


# 5. Keys made of keys


def by_network(key):
    return key._replace(orig_h=key.orig_h.network(24, 64))


def test_a_normalised_reducer_and_one_that_is_not_count_under_their_own_keys(tmp_path):
    told = {}

    class Networks(Detection):
        requests = Stream("udp_request", key=("orig_h", "resp_p"))
        s = SumStat(
            hops=0, epoch="1h", hosts=Sum(requests), nets=Sum(requests, normalize_key=by_network), ports=Max(requests)
        )

        @s.epoch_result
        def result(self, key, seen, epoch):
            told[key] = seen.hosts.sum, seen.nets.sum, seen.ports.num

    sent = [Sent(n, ip_address(f"192.0.2.{1 + n % 3}"), port=53) for n in range(9)]
    sent += [Sent(9, ip_address("192.0.3.1"), port=53), Sent(10, ip_address("192.0.2.1"), port=54)]
    sent += [Sent(11 + n, ip_address(f"2001:db8::{1 + n}"), ip_address("2001:db8:9::9"), 53) for n in range(2)]
    detect(Networks, capture(tmp_path, sent))
    hosts = Counter((each.src, each.port) for each in sent)
    nets = Counter({("192.0.2.0", 53): 9, ("192.0.3.0", 53): 1, ("192.0.2.0", 54): 1, ("2001:db8::", 53): 2})
    expected = {key: (count, 0, count) for key, count in hosts.items()}
    expected |= {(ip_address(net), port): (0, count, 0) for (net, port), count in nets.items()}
    assert told == expected


def test_a_normalised_reducer_crosses_for_the_network(tmp_path):
    class Network(Detection):
        requests = Stream("udp_request", key="orig_h", value="orig_h")
        s = SumStat(hops=0, epoch="1h", hosts=Unique(requests, normalize_key=by_network), own=Unique(requests))

        @s.crosses(hosts=3)
        def reached(self, key, seen):
            return Alert(f"{seen.hosts.count} of {key.orig_h}, {seen.own.count}", same_as=key)

    sent = [Sent(n, ip_address(f"192.0.2.{1 + n % 5}")) for n in range(12)]
    assert [each.message for each in detect(Network, capture(tmp_path, sent)).alerts] == ["3 of 192.0.2.0, 0"]


def halved(key):
    return key._replace(signed_port=key.signed_port // 2)


def test_numbers_of_a_key_are_normalised_as_signed_numbers(tmp_path):
    told = []

    class Halves(Detection):
        requests = Stream("udp_request", key=signed_port)
        s = SumStat(hops=0, epoch="1h", total=Sum(requests, normalize_key=halved))

        @s.epoch_result
        def result(self, key, seen, epoch):
            told.append((key.signed_port, seen.total.sum))

    detect(Halves, capture(tmp_path, [Sent(0, port=2001), Sent(1, port=2002), Sent(2, port=7)]))
    assert sorted(told) == [(-1001, 2.0), (3, 1.0)]


LONG = "a" * 70


@text
def label(batch):
    return [LONG + str(port % 2) for port in batch.resp_p.tolist()]


def test_a_long_text_that_normalising_leaves_alone_stays_the_same_key(tmp_path):
    told = []

    class Labels(Detection):
        requests = Stream("udp_request", key=("orig_h", label))
        s = SumStat(
            epoch="1h",
            hosts=Sum(requests),
            same=Sum(requests, normalize_key=lambda key: key._replace(orig_h=key.orig_h)),
        )

        @s.epoch_result
        def result(self, key, seen, epoch):
            told.append((seen.hosts.sum, seen.same.sum))

    detect(Labels, capture(tmp_path, [Sent(n, port=n) for n in range(4)]))
    assert told == [(2, 2), (2, 2)]


@pytest.mark.parametrize(
    "change",
    [
        lambda key: (key.orig_h[:1], key.resp_p),
        lambda key: (key.orig_h, key.resp_p[:1]),
        lambda key: (key.orig_h,),
        lambda key: (key.resp_p, key.orig_h),
        lambda key: None,
    ],
)
def test_a_normalisation_that_gives_no_key_is_contained(tmp_path, change):
    class Wrong(Detection):
        requests = Stream("udp_request", key=("orig_h", "resp_p"))
        s = SumStat(hops=0, epoch="1h", total=Sum(requests, normalize_key=change))

        @s.crosses(total=1)
        def reached(self, key, seen):
            return Alert("x")

    ran = detect(Wrong, capture(tmp_path, [Sent(0), Sent(1), Sent(2)]))
    assert (ran.alerts, ran.counts.faults) == ([], {"wrong": 1})


# 6. Epochs


def epochs_of(sent, seconds):
    """What a minute's, or another epoch's, datagrams are by source: (index, source, count) in order."""
    counted = Counter((epoch_at(each.at, seconds) if seconds != WHOLE else 0, each.src) for each in sent)
    return sorted((index, str(src), count) for (index, src), count in counted.items())


@pytest.mark.parametrize("size", [WHOLE, 1, 7])
def test_epochs_of_several_lengths_over_one_stream_each_get_every_key_once(tmp_path, size):
    told, finished = {}, []

    class Lengths(Detection):
        requests = Stream("udp_request", key="orig_h")
        minute = SumStat(hops=0, epoch="1m", total=Sum(requests))
        five = SumStat(hops=0, epoch="5m", total=Sum(requests))
        hour = SumStat(hops=0, epoch="1h", total=Sum(requests))
        whole = SumStat(epoch="0s", total=Sum(requests))

        @minute.epoch_result
        def of_minute(self, key, seen, epoch):
            told.setdefault(60, []).append((epoch.index, str(key.orig_h), seen.total.sum))
            assert (epoch.start, epoch.complete, epoch.missing) == (epoch.index * 60 * SECOND, True, ())
            assert epoch.end == min(epoch.start + 60 * SECOND, START + int(sent[-1].at) * SECOND)

        @five.epoch_result
        def of_five(self, key, seen, epoch):
            told.setdefault(300, []).append((epoch.index, str(key.orig_h), seen.total.sum))

        @hour.epoch_result
        def of_hour(self, key, seen, epoch):
            told.setdefault(3600, []).append((epoch.index, str(key.orig_h), seen.total.sum))

        @whole.epoch_result
        def of_whole(self, key, seen, epoch):
            told.setdefault(WHOLE, []).append((epoch.index, str(key.orig_h), seen.total.sum))

        @minute.epoch_finished
        def minute_over(self, epoch):
            finished.append(epoch.index)

    sent = [Sent(n * 13, (A, B, SERVER)[n % 3]) for n in range(60)] + [Sent(4000, A), Sent(4003, B)]
    ran = detect(Lengths, capture(tmp_path, sent), size)
    assert {seconds: sorted(each) for seconds, each in told.items()} == {
        seconds: epochs_of(sent, seconds) for seconds in (60, 300, 3600, WHOLE)
    }
    assert finished == list(range(epoch_at(sent[0].at, 60), epoch_at(sent[-1].at, 60) + 1))
    assert ran.counts.faults == {}


@pytest.mark.parametrize(("size", "early"), [(1, True), (1, False), (WHOLE, False)])
def test_an_epoch_is_told_by_its_crossings_then_its_results_then_that_it_is_finished(tmp_path, size, early):
    log = []

    class Order(Detection):
        requests = Stream("udp_request", key="orig_h")
        s = SumStat(hops=0, epoch="1m", total=Sum(requests))

        @s.crosses(total=2)
        def reached(self, key, seen):
            log.append(("crossed", str(key.orig_h)))

        @s.epoch_finished
        def finished(self, epoch):
            log.append(("finished", epoch.index))

        @s.epoch_result
        def result(self, key, seen, epoch):
            log.append(("result", str(key.orig_h)))

    sent = [Sent(0, A), Sent(1, B), Sent(2, A), Sent(60, B), Sent(61, B)]
    Cluster(lambda: [Order()], early=early).run(capture(tmp_path, sent), size)
    assert log == [
        *[("crossed", str(A))] * early,
        ("crossed", str(A)),
        ("result", str(A)),
        ("result", str(B)),
        ("finished", epoch_at(0, 60)),
        *[("crossed", str(B))] * early,
        ("crossed", str(B)),
        ("result", str(B)),
        ("finished", epoch_at(60, 60)),
    ]


def test_a_crossing_at_the_very_end_of_input_stands_before_the_results_of_its_epoch(tmp_path):
    log = []

    class Attempts(Detection):
        attempts = Stream("connection_attempt", key="resp_p")
        s = SumStat(hops=0, epoch="1m", total=Sum(attempts))

        @s.crosses(total=1)
        def reached(self, key, seen):
            log.append(("crossed", key.resp_p))

        @s.epoch_result
        def result(self, key, seen, epoch):
            log.append(("result", key.resp_p))

    packets = [(n, ETHER / IP(src=str(A), dst=str(B)) / TCP(sport=1000 + n, dport=n + 1, flags="S")) for n in range(2)]
    detect(Attempts, write(tmp_path / "attempts.pcap", packets))
    assert sorted(log[:2]) == [("crossed", 1), ("crossed", 2)]
    assert sorted(log[2:]) == [("result", 1), ("result", 2)]


def test_a_result_may_be_an_alert_that_says_no_threshold(tmp_path):
    class Totals(Detection):
        requests = Stream("udp_request", key=("orig_h", "resp_h"))
        s = SumStat(hops=0, epoch="1m", total=Sum(requests))

        @s.epoch_result
        def result(self, key, seen, epoch):
            return Alert(f"{seen.total.sum:.0f} in {epoch.index}") if seen.total.sum > 1 else None

    first, second = epoch_at(0, 60), epoch_at(130, 60)
    alerts = detect(Totals, capture(tmp_path, [Sent(0), Sent(1), Sent(70), Sent(130), Sent(131), Sent(132)])).alerts
    assert [(each.message, each.epoch, each.value, each.threshold) for each in alerts] == [
        (f"2 in {first}", first, None, None),
        (f"3 in {second}", second, None, None),
    ]
    assert {(each.src, each.dst, each.complete) for each in alerts} == {(str(A), str(SERVER), True)}
    assert [each.ts[14:19] for each in alerts] == ["14:00", "15:32"]
    assert len({each.id for each in alerts}) == 2


@pytest.mark.parametrize("size", [WHOLE, 1, 5])
def test_windows_that_hop_give_the_results_of_each_window(tmp_path, size):
    told = {}

    class Windows(Detection):
        requests = Stream("udp_request", key="orig_h", value="resp_p")
        s = SumStat(epoch="40s", hops=4, total=Sum(requests, of="orig_bytes"), ports=Unique(requests))

        @s.epoch_result
        def result(self, key, seen, epoch):
            assert (epoch.index, key) not in told
            told[epoch.index, key] = seen.total.sum, seen.ports.count
            assert epoch.end == min((epoch.index + 1) * 10 * SECOND, START + 147 * SECOND)
            assert epoch.start == (epoch.index - 4) * 10 * SECOND

    sent = [Sent(n * 3, (A, B)[n % 5 == 0], port=n % 11, size=1 + n % 4) for n in range(50)]
    ran = detect(Windows, capture(tmp_path, sent), size)
    expected = {}
    for pane in range(15):
        within = [each for each in sent if pane - 4 <= epoch_at(each.at, 10) - epoch_at(0, 10) <= pane]
        for src in {each.src for each in within}:
            own = [each for each in within if each.src == src]
            expected[epoch_at(0, 10) + pane, (src,)] = sum(each.size for each in own), len({each.port for each in own})
    assert told == expected
    assert ran.counts.faults == {}


@pytest.mark.parametrize("size", [1, 3, WHOLE])
def test_an_epoch_that_ends_by_hand_ends_where_the_detection_says(tmp_path, size):
    """Zeek's manual epochs: after the very event, in whatever blocks it comes; and one with nothing in it, too."""
    told = []

    class ByHand(Detection):
        requests = Stream("udp_request", key="orig_h", value="resp_p")
        s = SumStat(epoch="0s", total=Sum(requests, of="orig_bytes"))

        @on("udp_request")
        def end(self, batch):
            for row in np.flatnonzero(batch.resp_p == 7):
                self.next_epoch(self.s, rows=batch[row : row + 1])

        @s.epoch_result
        def result(self, key, seen, epoch):
            told.append((epoch.index, str(key.orig_h), seen.total.sum))

        @s.epoch_finished
        def finished(self, epoch):
            told.append((epoch.index, (epoch.start - START) // SECOND, (epoch.end - START) // SECOND))

    ports = [9, 9, 7, 7, 9, 9]
    sent = [Sent(n, (A, B)[n % 2], port=port, size=2**n) for n, port in enumerate(ports)]
    ran = detect(ByHand, capture(tmp_path, sent), size)
    assert ran.counts.faults == {}
    assert told == [
        (0, str(A), 5.0),
        (0, str(B), 2.0),
        (0, 0, 2),
        (1, str(B), 8.0),
        (1, 2, 3),
        (2, str(A), 16.0),
        (2, str(B), 32.0),
        (2, 3, 5),
    ]


def test_an_epoch_that_ends_by_the_clock_cannot_be_ended_by_hand(tmp_path):
    class Confused(Detection):
        requests = Stream("udp_request", key="orig_h")
        s = SumStat(hops=0, epoch="1m", total=Sum(requests))

        @on("udp_request")
        def end(self, batch):
            self.next_epoch(self.s)

    assert detect(Confused, capture(tmp_path, [Sent(0)])).counts.faults == {"confused": 1}


def test_a_misspelt_reducer_in_a_threshold_function_is_refused_at_load(tmp_path):
    source = """
        from sensor.detection import Detection, Stream, Sum, SumStat
        class Misspelt(Detection):
            requests = Stream("udp_request", key="orig_h")
            s = SumStat(hops=0, epoch="1m", total=Sum(requests))
            @s.crosses(lambda seen: seen.totl, at=1)
            def crossed(self, key, seen):
                return None
    """
    ran = sensor("replay", "--plugin", plugin(tmp_path, source), SCAN)
    assert ran.returncode == 2
    assert "there is no reducer 'totl'; there are ['total']" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize("kind", ["Last", "First", "Sample"])
@pytest.mark.parametrize(("asked", "is_refused"), [("0 * seen.one", True), ("seen.total", False), ("seen.num", False)])
def test_a_reducer_that_gives_no_number_in_a_threshold_function_is_refused_at_load(tmp_path, kind, asked, is_refused):
    source = f"""
        from sensor.detection import Detection, {kind}, Stream, Sum, SumStat
        class Numberless(Detection):
            requests = Stream("udp_request", key="orig_h", value="resp_p")
            s = SumStat(epoch="1m", total=Sum(requests), one={kind}(requests))
            @s.crosses(lambda seen: 2.0 + {asked}, at=1)
            def crossed(self, key, seen):
                return None
    """
    ran = sensor("replay", "--plugin", plugin(tmp_path, source), SCAN)
    assert ran.returncode == (2 if is_refused else 0)
    said = f"s: in the function of crosses(): 'one' is of {kind}, which gives no number to compare; there are ['total']"
    assert (said in ran.stderr) == is_refused
    assert len(ran.stderr.splitlines()) == is_refused


def test_a_detection_that_raises_at_every_result_is_switched_off_after_ten_and_says_so_once(tmp_path):
    calls = []

    class Results(Detection):
        requests = Stream("udp_request", key="resp_p")
        s = SumStat(hops=0, epoch="1m", total=Sum(requests))

        @s.epoch_result
        def result(self, key, seen, epoch):
            calls.append(key)
            raise ValueError("on purpose")

    class Finished(Detection):
        requests = Stream("udp_request", key="resp_p")
        s = SumStat(hops=0, epoch="1s", total=Sum(requests))

        @s.epoch_finished
        def finished(self, epoch):
            raise ValueError("on purpose")

    path = capture(tmp_path, [Sent(n, port=n + 1) for n in range(30)])
    for detection in (Results, Finished):
        ran = detect(detection, path)
        assert [(each.detection, each.kind) for each in ran.alerts] == [(detection.name, "switched_off")]
        assert ran.counts.faults == {detection.name: 10}
    assert len(calls) == 10


# 7. Zeek's scalar form


@text
def port_text(batch):
    return np.where(batch.resp_p % 2 == 0, "even", "odd")


class Columnar(Detection):
    told: ClassVar[dict] = {}
    requests = Stream("udp_request", key=("orig_h", port_text), value="orig_bytes")
    s = SumStat(
        epoch="10s",
        total=Sum(requests),
        mean=Average(requests),
        sizes=Unique(requests, keep=100),
        often=TopK(requests, size=50),
        last=Last(requests, size=4),
        first=First(requests, size=4),
        large=Sum(requests, where=is_large),
    )

    @s.epoch_result
    def result(self, key, seen, epoch):
        self.told[(epoch.index, key.orig_h, key.port_text)] = facts(seen)

    @s.crosses(total=40)
    def reached(self, key, seen):
        return Alert(f"{key.orig_h} {key.port_text} {seen.total.sum}")


class Scalars(Detection):
    told: ClassVar[dict] = {}
    each = Stream(key=Key)
    s = SumStat(
        epoch="10s",
        total=Sum(each),
        mean=Average(each),
        sizes=Unique(each, keep=100),
        often=TopK(each, size=50),
        last=Last(each, size=4),
        first=First(each, size=4),
        large=Sum(each, where=is_large),
    )

    @on("udp_request")
    def look(self, batch: Batch):
        for i in reversed(range(len(batch))):
            row = batch[i : i + 1]
            host = IPv4Address(int(row.orig_h.lo[0]) & 0xFFFFFFFF)
            key = Key(host=host, str=str(port_text(row)[0]))
            self.observe(self.each, key, Observation(num=int(row.orig_bytes[0])), rows=row)

    @s.epoch_result
    def result(self, key, seen, epoch):
        self.told[(epoch.index, key.host, key.str)] = facts(seen)

    @s.crosses(total=40)
    def reached(self, key, seen):
        return Alert(f"{key.host} {key.str} {seen.total.sum}")


def facts(seen):
    elements = sorted(seen.sizes.sample), sorted(seen.often.topk), seen.last.last_elements, seen.first.first_elements
    return seen.begin, seen.end, seen.total.sum, seen.mean.average, seen.large.sum, seen.large.num, *elements


@pytest.mark.parametrize("size", [WHOLE, 1, 6])
def test_observations_one_by_one_give_exactly_what_columns_give(tmp_path, size):
    sent = [Sent(n * 0.7, (A, B)[n % 3 == 0], port=n % 7, size=1 + n * 5 % 23) for n in range(60)]
    path = capture(tmp_path, sent)
    Columnar.told.clear()
    Scalars.told.clear()
    columns, scalars = detect(Columnar, path, size), detect(Scalars, path, size)
    assert Scalars.told == Columnar.told
    assert len(Columnar.told) > 10
    assert [(each.message, each.ts, each.value) for each in scalars.alerts] == [
        (each.message, each.ts, each.value) for each in columns.alerts
    ]
    assert (scalars.alerts != [], scalars.counts.faults) == (True, {})


def observed(tmp_path, *pairs, **reducers):
    """The results by key of what one handler observes: (Key, Observation) pairs, at the first packet."""
    told = {}
    each = Stream(key=Key)

    class ByHand(Detection):
        stream = each
        s = SumStat(hops=0, epoch="1m", **{name: make(each) for name, make in reducers.items()})

        @on("udp_request")
        def look(self, batch):
            for key, *observation in pairs:
                self.observe(self.stream, key, *observation)

        @s.epoch_result
        def result(self, key, seen, epoch):
            told[key] = seen

    ran = detect(ByHand, capture(tmp_path, [Sent(0)]))
    return told, ran


def test_an_empty_key_is_one_for_everything(tmp_path):
    told, ran = observed(tmp_path, (Key(),), (Key(), Observation(num=5)), (Key(), Observation(dbl=0.5)), total=Sum)
    assert {key: seen.total.sum for key, seen in told.items()} == {Key(): 6.5}
    assert ran.counts.faults == {}


def test_what_is_absent_is_not_what_is_empty(tmp_path):
    zero = IPv6Address("::")
    keys = [Key(), Key(str=""), Key(host=zero), Key(str="", host=zero), Key(host=A), Key(str="a", host=A)]
    told, _ = observed(tmp_path, *((key,) for key in keys), (Key(str=""),), total=Sum)
    assert {key: seen.total.sum for key, seen in told.items()} == dict.fromkeys(keys, 1) | {Key(str=""): 2}


def test_a_number_a_fraction_and_a_text_of_one_are_three_elements(tmp_path):
    ones = [Observation(num=1), Observation(dbl=1.0), Observation(str="1"), Observation(num=1)]
    told, _ = observed(
        tmp_path,
        *((Key(), each) for each in ones),
        unique=lambda each: Unique(each, keep=9),
        total=Sum,
        last=lambda each: Last(each, size=9),
    )
    seen = told[Key()]
    assert (seen.unique.count, seen.total.sum) == (3, 4)
    assert [(type(each), each) for each in seen.last.last_elements] == [(int, 1), (float, 1.0), (str, "1"), (int, 1)]


def test_a_reducer_of_a_scalar_stream_may_look_at_columns_and_weigh_by_one(tmp_path):
    told, ran = observed(
        tmp_path,
        (Key(), Observation(str="a")),
        (Key(), Observation(str="b")),
        hosts=lambda each: Unique(each, of="orig_h", keep=2),
        heavy=lambda each: TopK(each, weight="resp_p"),
    )
    assert ran.counts.faults == {}
    assert told[Key()].hosts.sample == [A]
    assert told[Key()].heavy.topk == [("a", 9, 0), ("b", 9, 0)]


class Misused(Detection):
    scalar = Stream(key=Key)
    columns = Stream(key=("orig_h",), value="resp_p")
    s = SumStat(hops=0, epoch="1m", total=Sum(scalar))
    t = SumStat(hops=0, epoch="1m", ports=Unique(columns))


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (lambda self, batch: (self.scalar, (batch.orig_h,)), "takes a Key"),
        (lambda self, batch: (self.columns, Key()), "takes columns"),
        (lambda self, batch: (self.scalar, Key(), 5), "takes an Observation, not 5"),
        (lambda self, batch: (self.scalar, Key(), Observation(), batch[:0]), "needs rows to take its time from"),
        (lambda self, batch: (self.columns, (batch.orig_h, batch.resp_h)), "2 columns given where it takes"),
        (lambda self, batch: (self.columns, (batch.orig_h,), None, batch[:1]), "2 addresses for 1 rows"),
        (lambda self, batch: (self.columns, (batch.resp_p,)), "it is of kind address; what was given is not"),
    ],
)
def test_what_cannot_be_observed_is_refused_in_the_handler(tmp_path, caplog, given, complaint):
    class Wrong(Misused):
        @on("udp_request")
        def look(self, batch):
            stream, keys, *rest = given(self, batch)
            self.observe(stream, keys, *rest[:1], rows=rest[1] if rest[1:] else None)

    ran = detect(Wrong, capture(tmp_path, [Sent(0), Sent(1)]))
    assert ran.counts.faults == {"wrong": 1}
    assert complaint in caplog.text


# 8. Text as keys and elements


def results_of(detection_key, path, **reducers):
    """Results by key of one stream of datagrams."""
    told = {}
    stream = Stream("udp_request", key=detection_key)

    class Texts(Detection):
        requests = stream
        s = SumStat(hops=0, epoch="1h", **{name: make(stream) for name, make in reducers.items()})

        @s.epoch_result
        def result(self, key, seen, epoch):
            told[key] = seen

    ran = detect(Texts, path)
    assert ran.counts.faults == {}
    return told


def test_a_column_of_text_is_a_part_of_a_key_and_an_element(tmp_path):
    told = {}

    class Histories(Detection):
        ended = Stream("connection_state_remove", key=("orig_h", "history"))
        s = SumStat(hops=0, epoch="1h", total=Sum(ended), histories=Unique(ended, of="history", keep=3))

        @s.epoch_result
        def result(self, key, seen, epoch):
            told[str(key.orig_h), key.history] = seen.total.sum, seen.histories.sample

    ran = detect(Histories, SCAN)
    assert ran.counts.faults == {}
    assert told == {
        ("192.0.2.10", "Sr"): (117, ["Sr"]),
        ("192.0.2.10", "ShR"): (3, ["ShR"]),
    }


def test_long_texts_that_begin_alike_are_different_keys_and_elements(tmp_path):
    path = capture(tmp_path, [Sent(n, port=n) for n in range(5)])
    told = results_of(label, path, total=Sum, labels=lambda each: Unique(each, of=label, keep=2))
    assert sorted(seen.total.sum for seen in told.values()) == [2, 3]
    assert all(key.label.startswith("a" * 47 + "…") for key in told)
    assert [seen.labels.sample for seen in told.values()] == [[key.label] for key in told]


@text
def odd_bytes(batch):
    return np.array([(b"\xff\xfe", b"ok", b"", b"a\0b")[port % 4] for port in batch.resp_p.tolist()])


def test_bytes_that_are_no_utf8_are_keys_like_any_other(tmp_path):
    path = capture(tmp_path, [Sent(n, port=n) for n in range(8)])
    told = results_of(odd_bytes, path, total=Sum)
    assert {key.odd_bytes: seen.total.sum for key, seen in told.items()} == {"\\xff\\xfe": 2, "ok": 2, "": 2, "a\0b": 2}


@pytest.mark.parametrize("given", [[1, 2**70], [None, "a"], [1, 2], [A, B]])
def test_a_text_column_of_what_is_no_text_is_contained(tmp_path, given):
    @text
    def wrong(batch):
        return np.array(given, object)

    class NoText(Detection):
        requests = Stream("udp_request", key=wrong)
        s = SumStat(hops=0, epoch="1h", total=Sum(requests))

    ran = detect(NoText, capture(tmp_path, [Sent(0), Sent(1)]))
    assert ran.counts.faults == {"no_text": 1}


# 9. Keys that are passed over


class Often(Detection):
    requests = Stream("udp_request", key="orig_h")
    s = SumStat(hops=0, epoch="1m", total=Sum(requests))

    @s.crosses(total=3)
    def reached(self, key, seen):
        return Alert("often", same_as=key)


def hours(*starts):
    return [Sent(start + n, src) for start in starts for n in range(5) for src in (A, B) if src == A or start == 0]


def test_a_key_that_is_not_followed_is_passed_over_for_an_hour_and_no_longer(tmp_path, monkeypatch):
    monkeypatch.setattr(following, "MOST_FOLLOWED", 0)
    ran = detect(Often, capture(tmp_path, hours(0, 120, 1800, 3480)), 1)
    assert [each.src for each in ran.alerts] == [str(A), str(B)]
    assert ran.counters["sumstats_passed_over"] == 10  # told when the next epoch has begun, of those after it
    ran = detect(Often, capture(tmp_path, hours(0, 120, 3700)), 1)
    assert [(each.src, each.ts[11:13]) for each in ran.alerts] == [(str(A), "22"), (str(B), "22"), (str(A), "23")]
    assert ran.counters["sumstats_passed_over"] == 0


def test_a_detection_that_wants_results_counts_on_while_its_alert_stands(tmp_path):
    told = []

    class Counting(Often):
        requests = Stream("udp_request", key="orig_h")
        s = SumStat(hops=0, epoch="1m", total=Sum(requests))

        @s.crosses(total=3)
        def reached(self, key, seen):
            return Alert("often", same_as=key)

        @s.epoch_result
        def result(self, key, seen, epoch):
            told.append((epoch.index, str(key.orig_h), seen.total.sum))

    ran = detect(Counting, capture(tmp_path, hours(0, 120, 1800)), 1)
    assert len(ran.alerts) == 2
    assert ran.counters["sumstats_passed_over"] == 0
    assert sorted(told) == [(epoch_at(at, 60), str(who), 5) for at, who in ((0, A), (0, B), (120, A), (1800, A))]


@pytest.mark.parametrize("same_as", [None, "something else"])
def test_an_alert_that_is_not_about_its_key_does_not_silence_it(tmp_path, same_as):
    class Other(Detection):
        requests = Stream("udp_request", key="orig_h")
        s = SumStat(hops=0, epoch="1m", total=Sum(requests))

        @s.crosses(total=3)
        def reached(self, key, seen):
            return Alert("often", same_as=same_as)

    ran = detect(Other, capture(tmp_path, hours(0, 120)), 1)
    assert len(ran.alerts) == (3 if same_as is None else 1)
    assert ran.counters["sumstats_passed_over"] == 0


def test_a_key_whose_alert_stands_is_counted_on(tmp_path):
    """What is observed of it later is no part of it, and folded into it all the same."""
    ran = detect(Often, capture(tmp_path, hours(0, 120, 1800, 3480)), 1)
    assert [each.src for each in ran.alerts] == [str(A), str(B)]
    assert ran.counters["sumstats_passed_over"] == 0


def test_a_series_is_passed_over_until_its_first_level_may_be_told_again(tmp_path, monkeypatch):
    monkeypatch.setattr(following, "MOST_FOLLOWED", 0)

    class Rising(Detection):
        requests = Stream("udp_request", key="orig_h")
        s = SumStat(hops=0, epoch="1m", total=Sum(requests))

        @s.crosses(total=(3, 6))
        def reached(self, key, seen):
            return Alert(f"{seen.level}", same_as=key)

    def burst(start, times):
        return [Sent(start + n, A) for n in range(times)]

    sent = burst(0, 3) + burst(3000, 6) + burst(3060, 1) + burst(3300, 3) + burst(3900, 3)
    ran = detect(Rising, capture(tmp_path, sent), 1)
    assert [(each.message, each.ts[11:16]) for each in ran.alerts] == [("0", "22:13"), ("1", "23:03"), ("0", "23:18")]
    assert ran.counters["sumstats_passed_over"] == 3


# 10. Several reducers of one stream


def test_reducers_of_one_stream_with_different_conditions_count_their_own_rows(tmp_path):
    told = {}

    class Conditions(Detection):
        requests = Stream("udp_request", key="orig_h", value="orig_bytes")
        s = SumStat(
            epoch="1h",
            large=Sum(requests, where=is_large),
            low=Max(requests, of="resp_p", where=lambda batch: batch.resp_p < 100),
            all=Sum(requests),
        )

        @s.epoch_result
        def result(self, key, seen, epoch):
            told[key.orig_h] = [(each.num, each.begin, each.end) for each in (seen.large, seen.low, seen.all)]
            told[key.orig_h] += [seen.large.sum, seen.low.max, seen.all.sum]

    sent = [Sent(0, size=5), Sent(1, size=10, port=200), Sent(2, size=20, port=30), Sent(3, size=1, port=400)]
    detect(Conditions, capture(tmp_path, [*sent, Sent(4, B, port=500)]))
    at = [START + n * SECOND for n in range(5)]
    assert told[A] == [(2, at[1], at[2]), (2, at[0], at[2]), (4, at[0], at[3]), 30, 30, 36]
    assert told[B] == [(0, at[4], at[4]), (0, at[4], at[4]), (1, at[4], at[4]), 0, None, 1]


@pytest.mark.parametrize(
    "where",
    [
        lambda batch: 1 / 0,
        lambda batch: batch.orig_bytes,
        lambda batch: True,
        lambda batch: (batch.orig_bytes > 0)[:1],
    ],
)
def test_a_condition_that_raises_or_is_none_is_contained(tmp_path, where):
    class Wrong(Detection):
        s = SumStat(hops=0, epoch="1m", total=Sum(REQUESTS, where=where))

        @s.crosses(total=1)
        def reached(self, key, seen):
            return Alert("x")

    ran = run(lambda: [Wrong(), Often()], capture(tmp_path, [replace(Sent(0), at=n) for n in range(3)]))
    assert [each.detection for each in ran.alerts] == ["often"]
    assert ran.counts.faults == {"wrong": 1}


def misspelt(batch):
    return batch.orig_byts > 0


@pytest.mark.parametrize(
    "stream",
    [
        lambda: (Stream("udp_request", key="orig_h", where=misspelt), {}),
        lambda: (Stream("udp_request", key=("orig_h", misspelt)), {}),
        lambda: (Stream("udp_request", key="orig_h", value=misspelt), {}),
        lambda: (Stream("udp_request", key="orig_h"), {"where": misspelt}),
        lambda: (Stream("udp_request", key="orig_h"), {"of": misspelt}),
    ],
    ids=["where of a stream", "key", "value", "where of a reducer", "of"],
)
def test_a_column_that_a_function_misspells_is_found_before_any_packet(stream):
    requests, options = stream()

    class Wrong(Detection):
        s = SumStat(epoch="1m", total=Sum(requests, **options))

    with pytest.raises(DetectionError, match=r"wrong\.s: misspelt .* no column 'orig_byts'; did you mean 'orig_bytes'"):
        Wrong().define()


def test_what_a_function_raises_on_no_rows_alone_is_no_mistake():
    class Fine(Detection):
        requests = Stream("udp_request", key="orig_h", where=lambda batch: batch.orig_bytes == batch.orig_bytes.max())
        s = SumStat(epoch="1m", total=Sum(requests))

    Fine().define()


def test_sys_exit_in_a_handler_ends_nothing_but_the_detection(tmp_path):
    class Quits(Detection):
        s = SumStat(epoch="1m", total=Sum(REQUESTS))

        @s.crosses(total=1)
        def reached(self, key, seen):
            sys.exit(3)

    ran = run(lambda: [Quits(), Often()], capture(tmp_path, [replace(Sent(0), at=n) for n in range(3)]))
    assert [each.detection for each in ran.alerts] == ["often"]
    assert ran.counts.faults["quits"] >= 1


class Ladder(Detection):
    few = Option(3, help="some")
    many = Option(6, help="many")
    s = SumStat(epoch="1m", total=Sum(REQUESTS))

    @s.crosses(total=(few, many, 800))
    def reached(self, key, seen):
        return Alert(f"level {seen.level}", same_as=(key, seen.level))


def test_the_levels_of_a_series_may_be_options_and_each_alert_says_its_own(tmp_path):
    path = capture(tmp_path, [Sent(n, size=1) for n in range(7)])
    assert [(each.level, each.threshold) for each in run(lambda: [Ladder()], path).alerts] == [(0, 3), (1, 6)]
    changed = run(lambda: [Ladder(many=7)], path).alerts
    assert [(each.level, each.threshold) for each in changed] == [(0, 3), (1, 7)]
    for_some = run(lambda: [Ladder(**{f"many@orig_h:{A}": 8})], path).alerts
    assert [(each.level, each.threshold) for each in for_some] == [(0, 3)]


@pytest.mark.parametrize(("hops", "found"), [({}, True), ({"hops": 0}, False)])
def test_windows_hop_unless_they_are_told_not_to(tmp_path, hops, found):
    class Straddling(Detection):
        s = SumStat(epoch="1m", total=Sum(REQUESTS), **hops)

        @s.crosses(total=4)
        def reached(self, key, seen):
            return Alert("burst", same_as=key)

    line = 60 - START // SECOND % 60  # where one minute ends
    burst = capture(tmp_path, [Sent(line + at) for at in (-2, -1, 1, 2)])
    assert bool(run(lambda: [Straddling()], burst).alerts) == found


def test_a_sample_is_of_the_size_that_was_asked_for_and_the_same_in_every_run(tmp_path):
    path = capture(tmp_path, [Sent(n, port=n) for n in range(50)])
    [first, second] = [results_of("orig_h", path, some=lambda each: Sample(each, of="resp_p", size=7)) for _ in "ab"]
    assert first[(A,)].some.samples == second[(A,)].some.samples
    assert len(set(first[(A,)].some.samples)) == 7


def test_windows_do_not_hop_as_in_zeek():
    requests = Stream("udp_request", key="orig_h")
    with pytest.raises(DetectionError, match='hops=2 with compat="zeek": windows do not hop in Zeek; leave it out'):
        SumStat(epoch="1m", hops=2, compat="zeek", total=Sum(requests))
