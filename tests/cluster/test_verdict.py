"""Verdicts: what stands when all is over is what stands from a file, whatever went out early and whoever began anew."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor import __version__
from sensor.alerts import AlertRecord, AlertUpdate
from sensor.clock import SECOND
from sensor.cluster.manager import EVERYBODY, Manager
from sensor.cluster.messages import ClusterThresholdCrossed, Counts
from sensor.cluster.reporter import Reporter
from sensor.detection import Alert, Average, Detection, Stream, Sum, SumStat, Unique
from sensor.sumstats import EpochEnd, SumStats
from tests.cluster.clusters import Ran

laws = settings(max_examples=80, deadline=None, derandomize=True)


class Weighed(Detection):
    """Levels that mean something, or less, or nothing, as more comes; by the figures alone. Misses nothing."""

    seen = Stream("connection_attempt", key="resp_p", value="orig_p")
    windows = SumStat(epoch="12s", hops=3, hosts=Unique(seen), total=Sum(seen, of="orig_bytes"))
    series = SumStat(hops=0, epoch="10s", total=Sum(seen, of="orig_bytes"))
    means = SumStat(hops=0, epoch="10s", mean=Average(seen, of="orig_bytes"))
    shares = SumStat(epoch="12s", hops=2, total=Sum(seen, of="orig_bytes"), hosts=Unique(seen))

    @windows.crosses(hosts=3)
    def many(self, key, seen):
        mood = int(seen.total.sum) % 5
        if mood < 2:
            return None
        severity = "low" if mood == 2 else "high"
        return Alert(f"{seen.total.sum}", src=key.resp_p, kind=f"{mood}", severity=severity, same_as=(key, mood))

    @series.crosses(total=(6, 12, 18))
    def much(self, key, seen):
        if int(seen.total.sum) % 3 == 0:
            return None
        return Alert(f"{seen.level}", src=key.resp_p, dst=int(seen.total.sum) % 7, same_as=key)

    @means.crosses(mean=5)
    def high(self, key, seen):
        return Alert("high", src=key.resp_p)

    @shares.crosses(lambda seen: seen.total / seen.hosts, at=4)
    def dense(self, key, seen):
        return Alert("dense", src=key.resp_p, same_as=key) if seen.hosts.count < 4 else None


class Cover(Weighed):
    """One SumStat covers what another says, where it says anything. Misses nothing."""

    name = "cover"
    sums = SumStat(hops=0, epoch="10s", total=Sum(Weighed.seen, of="orig_bytes"))

    @sums.crosses(total=8)
    def crossed(self, key, seen):
        covers = ("weighed", "cover") if int(seen.total.sum) % 2 else ()
        return Alert("cover", src=key.resp_p, covers=covers) if int(seen.total.sum) % 7 else None


class Play:
    """Workers and their manager, whose messages arrive at once; the manager may begin anew at any time."""

    def __init__(self, members, *, early, make=lambda: [Weighed(), Cover()]):
        self.make, self.early, self.members = make, early, members
        self.names = [f"w{i}" for i in range(members)]
        self.manager, self.told, self.sent = self.new_manager(), [], []
        self.snapshot, self.records = None, []
        self.definitions = [each for detection in make() for each in detection.define().values()]
        self.engines = [SumStats(self.definitions, members=members if early else 0) for _ in self.names]
        self.reporters = [
            Reporter(name, 0, engine, self.definitions, members=members)
            for name, engine in zip(self.names, self.engines, strict=True)
        ]
        for engine in self.engines:
            engine.start(0)
        self.connect()
        self.beat(0)

    def new_manager(self):
        return Manager(self.make(), self.names, early=self.early, is_local=self.members == 1)

    def connect(self):
        for each in self.reporters:
            each.receive(self.manager.hello(each.hello(__version__, self.manager.digest), 0.0), 0.0)

    def begin_anew(self):
        """The manager dies, and goes on from its journal: all that it tells again is what it had told."""
        self.manager = self.new_manager()
        again = self.manager.restore(self.snapshot, self.records, 0.0)
        assert again == self.told[len(self.told) - len(again) :]
        self.connect()
        self.carry()

    def compact(self):
        self.snapshot, self.records = self.manager.snapshot(), []

    def carry(self):
        is_busy = True
        while is_busy:
            is_busy = False
            for reporter in self.reporters:
                for message in reporter.drain(0.0):
                    self.manager.receive(reporter.name, message, 0.0)
                    is_busy = True
            output = self.manager.drain()
            self.told += output.alerts
            self.records += output.records
            self.sent += [message for _, message in output.messages]
            for to, message in output.messages:
                is_busy = True
                for reporter in self.reporters:
                    if to in (EVERYBODY, reporter.name):
                        reporter.receive(message, 0.0)

    def beat(self, now, *, done=False):
        for reporter in self.reporters:
            reporter.review(now)
            reporter.heartbeat(0, now, Counts(), done=done)
        self.carry()

    def observe(self, at, key, value, element, member=0):
        now = int(at * SECOND)
        for reporter, engine in zip(self.reporters, self.engines, strict=True):
            for end in engine.advance(now):
                reporter.ended(end)
        engine, reporter = self.engines[member % self.members], self.reporters[member % self.members]
        for definition in self.definitions:
            values = {
                each.name: np.array([[element]], np.uint64) if each.element_words else np.array([float(value)])
                for each in definition.reducers
            }
            for each in engine.observe(definition.name, np.array([[key]], np.uint64), np.array([now]), values):
                assert not isinstance(each, EpochEnd)
                reporter.crossed(each, each.at)
        self.beat(now)

    def finish(self, at):
        for reporter, engine in zip(self.reporters, self.engines, strict=True):
            for end in engine.finish(int(at * SECOND)):
                reporter.ended(end)
        self.beat(int(at * SECOND), done=True)
        return Ran(self.told, self.manager.counts(), self.manager)


def play(observations, members, *, early, compacts=(), dies=(), **options):
    cluster = Play(members, early=early, **options)
    for n, each in enumerate(observations):
        cluster.observe(*each)
        if n in compacts:
            cluster.compact()
        if n in dies:
            cluster.begin_anew()
    return cluster.finish(observations[-1][0] if observations else 0)


def standing(ran):
    """What stands, and what is said of it."""
    ids = [each.id for each in ran.alerts]
    assert len(ids) == len(set(ids))
    out, gone = ran.manager.alerts, [each for each in ran.told if getattr(each, "state", "") == "withdrawn"]
    assert (out, ran.manager.withdrawn) == (len(ran.alerts), len(gone))
    assert {each.id for each in ran.told} == {each.id for each in ran.alerts}
    return ran.standing


times = st.lists(st.sampled_from([0, 0.1, 0.5, 1, 2, 4, 7]), max_size=50)


@st.composite
def observations(draw):
    """(seconds, key, value, element, worker), in order of time."""
    at = np.cumsum(draw(times)).tolist()
    rest = st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(0, 7), st.integers(0, 15))
    return [(each, *draw(rest)) for each in at]


@laws
@given(observations(), st.sampled_from([1, 2, 4]))
def test_what_stands_after_alerts_went_out_early_is_what_stands_from_a_file(given_, members):
    assert standing(play(given_, members, early=True)) == standing(play(given_, 1, early=False))


@laws
@given(observations(), st.sampled_from([1, 2, 4]), st.sets(st.integers(0, 49), max_size=4), st.data())
def test_so_it_is_where_the_manager_begins_anew_in_between(given_, members, dies, data):
    compacts = data.draw(st.sets(st.integers(0, 49), max_size=3))
    ran = play(given_, members, early=True, dies=dies, compacts=compacts)
    assert standing(ran) == standing(play(given_, 1, early=False))


def test_the_laws_above_are_about_alerts_that_are_withdrawn_folded_changed_and_repeated():
    rng, states = np.random.default_rng(3), {"withdrawn": 0, "folded": 0, "changed": 0, "late": 0}
    for _ in range(12):
        at = np.cumsum(rng.choice([0, 0.1, 0.5, 1, 2, 4], 50)).tolist()
        given_ = [(each, *(int(rng.integers(1, most)) for most in (3, 10, 8, 16))) for each in at]
        ran = play(given_, 1, early=True)
        first = {each.id: each for each in ran.alerts}
        updates = {each.id: each for each in ran.told if isinstance(each, AlertUpdate)}
        states["withdrawn"] += sum(each.state == "withdrawn" for each in updates.values())
        states["folded"] += sum(each.folded_into is not None for each in updates.values())
        states["changed"] += sum(each.severity != first[id].severity for id, each in updates.items())
        states["late"] += len(first.keys() - updates.keys())
    assert min(states.values()) > 3, states


class Sweep(Detection):
    """Hosts that fail, weighed against those that answer. Misses nothing."""

    seen = Stream("connection_attempt", key="resp_p", value="orig_p")
    scan = SumStat(
        epoch="40s",
        hops=4,
        dead=Unique(seen, where=lambda batch: batch.orig_p < 1000),
        alive=Unique(seen, where=lambda batch: batch.orig_p >= 1000),
    )

    @scan.crosses(dead=5)
    def swept(self, key, seen):
        if seen.alive.count >= seen.dead.count:
            return None
        severity = "high" if seen.dead.count > 2 * seen.alive.count else "low"
        return Alert(f"{seen.dead.count} of {seen.threshold:g}", src=key.resp_p, severity=severity, same_as=key)


class Sweeping(Play):
    """Observations of hosts by number: 1000 and more answer."""

    def __init__(self, members=1, *, early=True):
        super().__init__(members, early=early, make=lambda: [Sweep()])

    def sees(self, at, *hosts):
        for n, host in enumerate(hosts):
            self.tries(at + n * 0.01, host, n)

    def tries(self, at, host, member):
        now = int(at * SECOND)
        for reporter, engine in zip(self.reporters, self.engines, strict=True):
            for end in engine.advance(now):
                reporter.ended(end)
        [definition] = self.definitions
        engine, reporter = self.engines[member % self.members], self.reporters[member % self.members]
        streams = {each.name: each.stream for each in definition.reducers}
        applies = {streams["dead"]: np.array([host < 1000]), streams["alive"]: np.array([host >= 1000])}
        values = {name: np.array([[host]], np.uint64) for name in streams}
        keys, ts = np.array([[7]], np.uint64), np.array([now])
        for each in engine.observe(definition.name, keys, ts, values, applies):
            reporter.crossed(each, each.at)
        self.beat(now)

    @property
    def updates(self):
        return [each for each in self.told if isinstance(each, AlertUpdate)]

    @property
    def alerts(self):
        return [each for each in self.told if isinstance(each, AlertRecord)]


DEAD, ALIVE = range(500), range(1000, 1500)
each_size = pytest.mark.parametrize("members", [1, 2, 4])


@each_size
@pytest.mark.parametrize(("dead", "found"), [(6, False), (7, True), (100, True)])
def test_a_crossing_that_meant_nothing_is_asked_about_again(members, dead, found):
    """Six hosts answer first. At the crossing, at five, they outweigh what failed; it is told once they do not."""
    live, file = Sweeping(members), Sweeping(members, early=False)
    for each in (live, file):
        each.sees(1, *ALIVE[:6], *DEAD[:dead])
        early = [alert.value for alert in each.alerts]
        assert bool(early) is (each.early and dead == 100)
        assert max(early, default=0) < 20  # while it grew
        each.finish(9)
        assert bool(each.alerts) is found
    assert Ran(live.told, None, None).standing == Ran(file.told, None, None).standing


@each_size
def test_an_early_alert_that_is_outweighed_when_its_epoch_is_over_is_withdrawn_in_words(members):
    net = Sweeping(members)
    net.sees(1, *DEAD[:5])
    [alert] = net.alerts
    net.sees(2, *ALIVE[:5])
    assert net.updates == []
    net.finish(9)
    [update] = net.updates
    assert (update.id, update.state, update.folded_into) == (alert.id, "withdrawn", None)
    assert update.message == "withdrawn: outweighed by what came of contacts begun before (5 of 5)"
    assert (update.severity, update.src, update.kind, update.value) == ("high", "7", None, 5)
    assert (net.manager.alerts, net.manager.withdrawn, net.manager.suppressed) == (1, 1, 0)
    assert net.manager.status(0.0).withdrawn == 1


@each_size
def test_an_early_alert_is_confirmed_with_what_its_detection_says_of_the_final_figures(members):
    net = Sweeping(members)
    net.sees(1, *DEAD[:5])
    net.sees(2, *ALIVE[:4])
    net.finish(9)
    [alert], [update] = net.alerts, net.updates
    assert (alert.severity, alert.message) == ("high", "5 of 5")
    assert (update.state, update.severity, update.message, update.src) == ("open", "low", "5 of 5", "7")


@each_size
def test_a_withdrawn_alert_suppresses_nothing_and_its_key_is_counted_and_judged_in_each_epoch(members):
    """The pane after it has the failures that turn the scale: that is a new alert, with all of the window in it."""
    net = Sweeping(members)
    net.sees(1, *DEAD[:5])
    net.sees(2, *ALIVE[:5])
    net.sees(11, *DEAD[5:8])
    net.finish(19)
    first, second = net.alerts
    assert [each.state for each in net.updates][:1] == ["withdrawn"]
    assert (first.epoch, second.epoch, net.manager.withdrawn) == (0, 1, 1)
    assert list(Ran(net.told, None, None).standing) == [second.id]
    assert Ran(net.told, None, None).standing[second.id][-1] == 8
    assert net.manager.suppressed == 0


@each_size
def test_a_key_goes_on_being_counted_also_while_its_alert_stands(members):
    net = Sweeping(members)
    net.sees(1, *DEAD[:5])
    net.sees(2, *ALIVE[:5])
    net.sees(11, 9000)
    assert not [each for each in net.sent if isinstance(each, ClusterThresholdCrossed)]
    net.sees(12, *DEAD[:9])
    net.sees(21, 9000)
    assert not [each for each in net.sent if isinstance(each, ClusterThresholdCrossed)]


class Often(Detection):
    """Each alert stands for itself. Misses nothing."""

    seen = Stream("connection_attempt", key="resp_p", value="orig_p")
    sums = SumStat(epoch="30s", hops=2, total=Sum(seen, of="orig_bytes"))

    @sums.crosses(total=4)
    def often(self, key, seen):
        return Alert("often", src=key.resp_p)


@pytest.mark.parametrize("early", [True, False])
@each_size
def test_a_level_whose_alert_stands_is_not_told_again_by_what_is_in_its_window(members, early):
    """Windows are three panes of 15 s. What came in the two after the alert counts for nothing, early or late."""
    given_ = [(1, 1, 4, 0), (16, 1, 3, 0), (31, 1, 3, 0), (46, 1, 1, 0), (47, 1, 2, 0), (61, 1, 1, 0), (62, 1, 1, 0)]
    ran = play(given_, members, early=early, make=lambda: [Often()])
    assert [about[1:2] + about[-1:] for about in standing(ran).values()] == [(0, 4), (4, 5)]
    assert ran.manager.withdrawn == 0


class Falling(Detection):
    """The mean of what came. Misses nothing."""

    seen = Stream("connection_attempt", key="resp_p", value="orig_p")
    means = SumStat(hops=0, epoch="10s", mean=Average(seen, of="orig_bytes"))

    @means.crosses(mean=5)
    def high(self, key, seen):
        return Alert("high", src=key.resp_p)


def test_an_early_alert_whose_value_falls_below_the_level_again_is_withdrawn():
    ran = play([(1, 1, 9, 0), (2, 1, 1, 0), (3, 1, 1, 0)], 1, early=True, make=lambda: [Falling()])
    [update] = [each for each in ran.told if isinstance(each, AlertUpdate)]
    assert update.state == "withdrawn"
    assert update.message == "withdrawn: below its threshold when its epoch was over (high)"
    assert ran.standing == {}


class Raising(Detection):
    """It raises on figures above seven. Misses those."""

    seen = Stream("connection_attempt", key="resp_p", value="orig_p")
    sums = SumStat(hops=0, epoch="10s", total=Sum(seen, of="orig_bytes"))

    @sums.crosses(total=5)
    def high(self, key, seen):
        if seen.total.sum > 7:
            raise ValueError("on purpose")
        return Alert("high", src=key.resp_p)


def test_an_early_alert_whose_detection_raises_on_the_final_figures_stands_as_it_was_told():
    ran = play([(1, 1, 6, 0), (2, 1, 9, 0)], 1, early=True, make=lambda: [Raising()])
    [update] = [each for each in ran.told if isinstance(each, AlertUpdate)]
    assert (update.state, update.message, update.value) == ("open", "high", 15)
    assert ran.manager.counts().faults == {"raising": 1}


class Wide(Detection):
    """It covers `narrow`, unless it comes to nothing. Misses nothing."""

    seen = Stream("connection_attempt", key="resp_p", value="orig_p")
    sums = SumStat(hops=0, epoch="10s", total=Sum(seen, of="orig_bytes"))

    @sums.crosses(total=5)
    def wide(self, key, seen):
        return Alert("wide", src=key.resp_p, covers=("narrow",)) if seen.total.sum < 20 else None


class Narrow(Detection):
    """What `wide` covers. Misses nothing."""

    seen = Stream("connection_attempt", key="resp_p", value="orig_p")
    sums = SumStat(hops=0, epoch="10s", total=Sum(seen, of="orig_bytes"))

    @sums.crosses(total=8)
    def narrow(self, key, seen):
        return Alert("narrow", src=key.resp_p)


@each_size
@pytest.mark.parametrize(("last", "stands"), [(1, ["wide"]), (50, ["narrow"])])
@pytest.mark.parametrize("dies", [(), (2,)])
def test_what_was_folded_into_an_alert_that_is_withdrawn_is_told_by_itself(members, last, stands, dies):
    given_ = [(1, 1, 6, 0), (2, 1, 3, 0), (3, 1, 0, 0), (4, 1, last, 0)]
    ran = play(given_, members, early=True, make=lambda: [Wide(), Narrow()], dies=dies, compacts=dies)
    assert [about[0] for about in standing(ran).values()] == stands
    assert ran.manager.withdrawn == (stands == ["narrow"])
    assert [each.message for each in ran.alerts] == ["wide", *(["narrow"] if last == 50 else [])]
