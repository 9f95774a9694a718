"""What comes when its epoch is over: it is in the windows that are open, and judged anew for those that are not."""

import numpy as np
import pytest

from sensor.alerts import AlertRecord, AlertUpdate
from sensor.cluster.manager import Manager
from sensor.cluster.membership import Late
from sensor.cluster.settings import ClusterSettings
from sensor.detection import Alert, Detection, Stream, Sum, SumStat, Unique
from tests.cluster.test_protocol import Net

SETTINGS = ClusterSettings(deadline_s=30.0)


class Totals(Detection):
    """Says how much was seen of a key. Misses nothing."""

    seen = Stream("connection_attempt", key="resp_p", value="orig_p")
    sums = SumStat(hops=0, epoch="10s", total=Sum(seen, of="orig_bytes"))

    @sums.crosses(total=10)
    def much(self, key, seen):
        return Alert(f"{key.resp_p} came to {seen.total.sum:.0f}", same_as=key)


class Hopping(Detection):
    """The same in windows of three panes. Misses nothing."""

    seen = Stream("connection_attempt", key="resp_p", value="orig_p")
    sums = SumStat(epoch="30s", hops=3, total=Sum(seen, of="orig_bytes"))
    missing: list

    def __init__(self):
        super().__init__()
        self.missing = []

    @sums.crosses(total=10)
    def much(self, key, seen):
        return Alert(f"{key.resp_p} came to {seen.total.sum:.0f}", same_as=key)

    @sums.epoch_finished
    def finished(self, epoch):
        self.missing.append((epoch.index, epoch.missing))


class Weighed(Detection):
    """Elements, against what supports a key and is kept as it came. Misses nothing."""

    failed = Stream("connection_attempt", key="resp_p", value="orig_p")
    worked = Stream("connection_established", key="resp_p", value="orig_p")
    sums = SumStat(hops=0, epoch="10s", ports=Unique(failed), used=Unique(worked))

    @sums.crosses(ports=2)
    def much(self, key, seen):
        return Alert(f"{key.resp_p}: {seen.ports.count} against {seen.used.count}", same_as=key)


def cut(net, at, until):
    """Worker b is not heard of while a comes from one time (s) to another; both times are those of the manager, too."""
    net.manager.lost("b", at)
    for pane in range(10, until, 10):
        net.pass_time("a", pane)
    net.pass_time("a", until)
    net.manager.tick(at + 30)
    net.carry("a", now=at + 30)


def back(net, at, now):
    net.connect("b", now)
    net.pass_time("a", at)
    net.pass_time("b", at)
    net.carry(now=now)


def late_alerts(net):
    return [(each.message, each.epoch, each.complete, each.late) for each in net.told if isinstance(each, AlertRecord)]


def test_what_comes_late_is_in_every_window_that_is_open_and_nobody_is_missing_there():
    net = Net("a", "b", make=Hopping, settings=SETTINGS)
    net.observe("a", 1, 5, 1)
    net.observe("b", 1, 5, 11)
    cut(net, 0.0, 11)
    assert (net.detection.missing, net.told) == ([(0, ("b",))], [])
    back(net, 21, 40.0)
    assert late_alerts(net) == [("5 came to 12", 1, True, False)]
    assert net.detection.missing == [(0, ("b",)), (1, ())]
    assert net.manager.late == {"b": Late(after_silence=1)}


def test_what_is_too_late_for_any_open_window_is_judged_with_what_all_have_seen_and_says_so():
    net = Net("a", "b", settings=SETTINGS, make=Totals)
    net.observe("a", 1, 5, 6)
    net.observe("b", 1, 5, 6)
    net.observe("b", 1, 6, 4)
    cut(net, 0.0, 11)
    assert net.told == []
    back(net, 12, 40.0)
    assert late_alerts(net) == [("5 came to 12", 0, False, True)]


def test_of_what_came_together_while_nothing_was_heard_all_is_judged_together():
    """Two panes of one window, of which none that is open holds both."""
    net = Net("a", "b", make=Hopping, settings=SETTINGS)
    net.observe("a", 1, 5, 1)
    net.observe("b", 1, 5, 5)
    net.observe("b", 11, 5, 5)
    cut(net, 0.0, 51)
    back(net, 81, 40.0)
    assert late_alerts(net) == [("5 came to 11", 1, False, True)]


def test_a_level_that_stands_is_not_told_again_for_what_comes_late():
    net = Net("a", "b", settings=SETTINGS, make=Totals)
    net.observe("a", 1, 5, 12)
    net.observe("b", 1, 5, 6)
    cut(net, 0.0, 11)
    back(net, 12, 40.0)
    assert late_alerts(net) == [("5 came to 12", 0, False, False)]


def test_what_a_worker_reads_again_is_not_late():
    net = Net("a", "b", settings=SETTINGS, make=Totals)
    net.observe("b", 1, 5, 12)
    net.pass_time("a", 11)
    net.pass_time("b", 11)
    net.carry()
    net.manager.lost("b", 1.0)
    net.join("b", 1, replays=True)
    net.observe("b", 1, 5, 12)
    net.pass_time("b", 11)
    net.carry(now=2.0)
    assert late_alerts(net) == [("5 came to 12", 0, True, False)]
    assert net.manager.late == {}


def test_a_worker_that_joins_when_others_have_come_past_its_time_is_heard_all_the_same():
    net = Net("a", fixed=False, settings=SETTINGS, make=Totals)
    net.observe("a", 1, 5, 6)
    net.finish("a", 11)
    net.carry()
    net.join("b")
    net.observe("b", 1, 6, 12)
    net.finish("b", 11)
    net.carry(now=1.0)
    assert late_alerts(net) == [("6 came to 12", 0, False, True)]
    assert net.manager.late == {"b": Late(after_joining=1)}


def test_support_that_comes_late_counts():
    net = Net("a", "b", settings=SETTINGS, make=Weighed)
    observe_with_support(net, "a", base=10)
    observe_with_support(net, "b")
    cut(net, 0.0, 11)
    back(net, 12, 40.0)
    assert late_alerts(net) == [("5: 2 against 6", 0, False, True)]


def observe_with_support(net, name, base=0):
    """Of key 5: one port failed, and three others worked."""
    [definition] = net.definitions
    ports = np.arange(base, base + 4).astype(np.uint64)[:, np.newaxis]
    failed = np.arange(4) == 0
    [judged, support] = [definition.reducer(each).stream for each in ("ports", "used")]
    given = np.full((4, 1), 5, np.uint64), np.full(4, 10**9), {"ports": ports, "used": ports}
    assert definition.supporting == {support}
    assert net.engines[name].observe(definition.name, *given, {judged: failed, support: ~failed}) == []


def test_a_manager_that_goes_on_judges_anew_what_came_late_before_it_ended():
    net = Net("a", "b", settings=SETTINGS, make=Hopping)
    net.observe("a", 1, 5, 6)
    net.observe("b", 1, 5, 6)
    cut(net, 0.0, 51)
    net.connect("b", 40.0)
    net.pass_time("b", 11)  # and no further: what it may bring yet is waited for
    for message in net.reporters["b"].drain(40.0):
        net.manager.receive("b", message, 40.0)
    net.manager.drain()
    manager = Manager([net.detection], "ab", settings=SETTINGS)
    manager.restore(net.manager.snapshot(), [], 41.0)
    net.manager = manager
    for name in "ab":
        net.connect(name, 41.0)
    back(net, 90, 42.0)
    assert late_alerts(net) == [("5 came to 12", 0, False, True)]


@pytest.mark.parametrize("panes", [64, 65])
def test_so_many_panes_are_kept_for_whoever_is_missing(panes):
    """On the line what all have seen is judged together; one beyond it, what came late is judged by itself."""
    net = Net("a", "b", settings=SETTINGS, make=Totals)
    net.observe("a", 1, 5, 6)
    net.observe("b", 1, 5, 6)
    cut(net, 0.0, 11)
    for pane in range(1, panes + 1):
        net.pass_time("a", 10 * pane + 11)
    net.carry("a", now=31.0)
    back(net, 10 * panes + 12, 40.0)
    assert late_alerts(net) == ([("5 came to 12", 0, False, True)] if panes == 64 else [])


def test_what_a_worker_told_of_open_windows_while_it_was_cut_off_it_tells_again():
    net = Net("a", "b", settings=SETTINGS, make=Hopping, early=True)
    net.observe("b", 1, 5, 12)
    net.reporters["b"].drain(0.0)  # into the void
    cut(net, 0.0, 11)
    net.connect("b", 40.0)
    net.pass_time("b", 12)
    net.carry(now=40.0)
    net.manager.tick(40.1)
    net.carry(now=40.1)
    assert late_alerts(net) == [("5 came to 12", 1, True, False)]
    back(net, 21, 41.0)
    assert [each.state for each in net.told if isinstance(each, AlertUpdate)] == ["open"]
