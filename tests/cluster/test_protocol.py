"""The protocol between workers and the manager, message by message: what the original's faults were, and more.

S1 to S18 and M1 to M32 are the faults listed in the table of sensor/cluster/README.md; tests name those they show gone.
"""

import msgspec
import numpy as np
import pytest

from sensor import __version__
from sensor.alerts import AlertRecord, AlertUpdate
from sensor.bus.message import Refused
from sensor.cluster.columns import Packing, pack
from sensor.cluster.manager import EVERYBODY, Manager
from sensor.cluster.messages import (
    Ack,
    ClusterKeyIntermediateResponse,
    ClusterKeyRequest,
    ClusterKeyResponse,
    ClusterShare,
    ClusterSsRequest,
    ClusterSsResponse,
    ClusterThresholdCrossed,
    Counts,
    Heartbeat,
    ThresholdsReset,
    Welcome,
)
from sensor.cluster.reporter import Reporter
from sensor.cluster.settings import ClusterSettings
from sensor.detection import Alert, Detection, Stream, Sum, SumStat, Unique
from sensor.sumstats import EpochEnd, Store, SumStats, following

SECOND = 1_000_000_000
SECRET = np.array([3, 4], np.uint64)


class Totals(Detection):
    """Says how much was seen of a key: nothing is missed."""

    seen = Stream("connection_attempt", key="resp_p", value="orig_p")
    sums = SumStat(hops=0, epoch="10s", total=Sum(seen, of="orig_bytes"))
    results: list

    def __init__(self):
        super().__init__()
        self.results = []

    @sums.crosses(total=10)
    def much(self, key, seen):
        return Alert(f"{key.resp_p} came to {seen.total.sum:.0f}", same_as=key)

    @sums.epoch_result
    def result(self, key, seen, epoch):
        self.results.append((epoch.index, key.resp_p, seen.total.sum, epoch.complete, epoch.missing))

    @sums.epoch_finished
    def finished(self, epoch):
        self.results.append((epoch.index, "finished", epoch.complete, epoch.missing))


class ByHand(Detection):
    """Says what was seen up to when it is asked. Misses nothing."""

    seen = Stream("connection_attempt", key="resp_p", value="orig_p")
    sums = SumStat(epoch="0s", ports=Unique(seen))
    results: list

    def __init__(self):
        super().__init__()
        self.results, self.missing = [], []

    @sums.epoch_result
    def result(self, key, seen, epoch):
        self.results.append((epoch.index, key.resp_p, seen.ports.count))

    @sums.epoch_finished
    def finished(self, epoch):
        self.missing.append(epoch.missing)


class Net:
    """A manager and reporters whose messages the test carries itself."""

    def __init__(self, *names, make=Totals, early=False, settings=None, fixed=True, in_step=False):
        self.detection = make()
        self.settings = settings or ClusterSettings()
        self.manager = Manager([self.detection], names if fixed else (), early=early, settings=self.settings)
        self.definitions = list(make().define().values())
        self.in_step, self.early, self.members = in_step, early, max(len(names), 2)
        self.reporters, self.engines = {}, {}
        self.told = []
        for name in names:
            self.join(name)
        if early:  # they have all come to where the first epoch begins
            for reporter in self.reporters.values():
                reporter.heartbeat(0, 0, Counts())
            self.carry()

    def join(self, name, incarnation=0, *, replays=False, start=0, started=None):
        engine = SumStats(
            self.definitions, in_step=self.in_step, members=self.members if self.early else 0, secret=SECRET
        )
        reporter = Reporter(
            name,
            incarnation,
            engine,
            self.definitions,
            settings=self.settings,
            members=self.members,
            replays=replays,
            started=started,
        )
        engine.start(start)
        self.reporters[name], self.engines[name] = reporter, engine
        return self.connect(name)

    def connect(self, name, now=0.0):
        answer = self.manager.hello(self.reporters[name].hello(__version__, self.manager.digest), now)
        if isinstance(answer, Welcome):
            self.reporters[name].receive(answer, now)
        return answer

    def observe(self, name, at, key, value=1, element=0):
        engine, reporter, now = self.engines[name], self.reporters[name], int(at * SECOND)
        for end in engine.advance(now):
            reporter.ended(end)
        for definition in self.definitions:
            values = {
                each.name: np.array([[element]], np.uint64) if each.element_words else np.array([float(value)])
                for each in definition.reducers
            }
            for each in engine.observe(definition.name, np.array([[key]], np.uint64), np.array([now]), values):
                if isinstance(each, EpochEnd):
                    reporter.ended(each)
                else:
                    reporter.crossed(each, each.at)

    def pass_time(self, name, at):
        """The packet clock of a worker comes to a time (s)."""
        engine, reporter = self.engines[name], self.reporters[name]
        for end in engine.advance(int(at * SECOND)):
            reporter.ended(end)
        reporter.review(int(at * SECOND))
        reporter.heartbeat(0, int(at * SECOND), Counts())

    def finish(self, name, at):
        engine, reporter = self.engines[name], self.reporters[name]
        for end in engine.finish(int(at * SECOND)):
            reporter.ended(end)
        reporter.heartbeat(0, int(at * SECOND), Counts(), done=True)

    def carry(self, *names, now=0.0):
        """Carry messages, of these workers or of all, until there are no more."""
        is_busy = True
        while is_busy:
            is_busy = False
            for name in names or tuple(self.reporters):
                for message in self.reporters[name].drain(now):
                    self.manager.receive(name, message, now)
                    is_busy = True
            is_busy |= bool(self.deliver(now, names))

    def deliver(self, now=0.0, names=()):
        """Carry what the manager has to say; give it."""
        output = self.manager.drain()
        self.told += output.alerts
        for to, message in output.messages:
            for name, reporter in self.reporters.items():
                if to in (EVERYBODY, name) and (not names or name in names):
                    for end in reporter.receive(message, now):
                        reporter.ended(end)
        return output.messages

    @property
    def alerts(self):
        return [(each.message, each.epoch, each.complete) for each in self.told if isinstance(each, AlertRecord)]


def test_every_key_of_every_group_is_judged_when_an_epoch_is_over():
    """S1: the original judged those of the last group of the last worker. S9, S10, M1, M32: groups, not keys."""
    net = Net("a", "b", settings=ClusterSettings(cluster_send_in_groups_of=7))
    for key in range(100):
        net.observe("a", 1, key, 6)
        net.observe("b", 1, key, 6 if key % 2 else 1)
    net.pass_time("a", 11)
    net.pass_time("b", 11)
    messages = net.reporters["b"].drain(0.0)
    groups = [each for each in messages if isinstance(each, ClusterSsResponse)]
    assert [len(each.columns.keys) // 8 for each in groups] == [7] * 14 + [2]
    assert [each.done for each in groups] == [False] * 14 + [True]
    for message in messages:
        net.manager.receive("b", message, 0.0)
    net.carry()
    assert sorted(each[0] for each in net.alerts) == sorted(f"{key} came to 12" for key in range(1, 100, 2))


def test_an_epoch_waits_for_members_by_name_not_for_so_many_answers():
    """S3, M2: a count that is never reached, or reached too soon."""
    net = Net("a", "b", "c")
    for name in "abc":
        net.observe(name, 1, 5, 2)
    for _ in range(3):
        net.pass_time("a", 11)
        net.carry("a")
    net.pass_time("b", 11)
    net.carry("b")
    assert net.detection.results == []
    net.pass_time("c", 11)
    net.carry("c")
    assert net.detection.results == [(0, 5, 6.0, True, ()), (0, "finished", True, ())]


def test_an_epoch_of_a_member_that_is_gone_ends_at_the_deadline_and_names_it():
    """S3, S4, M2, M3, M13: an epoch that is never told of, or told of as if it were whole."""
    net = Net("a", "b", settings=ClusterSettings(deadline_s=30.0))
    net.observe("a", 1, 5, 12)
    net.observe("b", 1, 5, 1)
    net.pass_time("a", 11)
    net.carry("a")
    net.manager.lost("b", 100.0)
    net.manager.tick(129.9)
    net.carry("a", now=129.9)
    assert net.detection.results == []
    net.manager.tick(130.0)
    net.carry("a", now=130.0)
    assert net.detection.results == [(0, 5, 12.0, False, ("b",)), (0, "finished", False, ("b",))]
    assert net.alerts == [("5 came to 12", 0, False)]
    net.connect("b", 131.0)
    net.pass_time("b", 11)
    net.carry("b", now=131.0)
    assert net.detection.results[2:] == []
    assert net.manager.counters["manager_epochs_late"] == 1


def test_a_member_that_was_late_is_waited_for_again_once_it_is_back():
    net = Net("a", "b", settings=ClusterSettings(deadline_s=30.0))
    net.manager.lost("b", 0.0)
    net.manager.tick(50.0)
    net.connect("b", 51.0)
    net.observe("a", 12, 5, 3)
    net.pass_time("a", 21)
    net.carry("a", now=200.0)
    assert net.detection.results == []
    net.observe("b", 12, 5, 3)
    net.pass_time("b", 21)
    net.carry(now=200.0)
    assert net.detection.results == [(0, "finished", True, ()), (1, 5, 6.0, True, ()), (1, "finished", True, ())]


def test_several_epochs_are_in_flight():
    """M12: an epoch's end that takes longer than an epoch."""
    net = Net("a", "b")
    for epoch in range(5):
        net.observe("a", epoch * 10 + 1, 5, epoch + 1)
        net.observe("b", epoch * 10 + 1, 5, 1)
    net.pass_time("a", 51)
    net.carry("a")
    assert net.detection.results == []
    net.pass_time("b", 51)
    net.carry("b")
    assert [each[:3] for each in net.detection.results if each[1] == 5] == [(n, 5, n + 2.0) for n in range(5)]


def test_messages_applied_twice_or_out_of_order_change_nothing():
    net = Net("a")
    net.observe("a", 1, 5, 4)
    net.observe("a", 11, 5, 5)
    net.pass_time("a", 21)
    messages = net.reporters["a"].drain(0.0)
    assert [each.sequence for each in messages] == [1, 2, 3]
    for message in (messages[1], messages[0], messages[0], messages[2], messages[1], messages[0], messages[2]):
        net.manager.receive("a", message, 0.0)
    assert [each[:3] for each in net.detection.results if each[1] == 5] == [(0, 5, 4.0), (1, 5, 5.0)]
    [ack] = [message for _, message in net.manager.drain().messages if isinstance(message, Ack)]
    assert ack.sequence == 3
    assert (net.manager.counters["messages_early"], net.manager.counters["messages_repeated"]) == (2, 2)


def test_what_is_not_acknowledged_is_sent_again_and_what_is_is_not_held():
    net = Net("a", settings=ClusterSettings(retry_s=2.0))
    reporter = net.reporters["a"]
    net.observe("a", 1, 5, 4)
    net.pass_time("a", 11)
    first = reporter.drain(0.0)
    assert [each.sequence for each in first] == [1, 2]
    assert reporter.drain(1.9) == []
    assert reporter.drain(2.0) == first
    reporter.receive(Ack(0, 1), 2.5)
    assert reporter.unacknowledged == 1
    assert reporter.drain(4.4) == []
    assert reporter.drain(4.5) == first[1:]
    reporter.receive(Ack(0, 2), 5.0)
    assert reporter.unacknowledged == 0
    assert reporter.drain(99.0) == []


def test_after_a_reconnect_a_worker_goes_on_where_the_manager_is():
    net = Net("a")
    reporter = net.reporters["a"]
    net.observe("a", 1, 5, 4)
    net.pass_time("a", 11)
    messages = reporter.drain(0.0)
    net.manager.receive("a", messages[0], 0.0)  # applied, but its acknowledgement is lost with the connection
    net.manager.drain()
    net.manager.lost("a", 0.0)
    assert reporter.hello(__version__, "").sequence == 1
    assert reporter.drain(0.0) == []  # not before it is welcome
    assert net.connect("a", 1.0) == Welcome(1, ["a"], False)
    assert reporter.drain(1.0) == messages[1:]


def test_an_acknowledgement_of_what_was_never_sent_is_not_believed():
    net = Net("a")
    net.observe("a", 1, 5, 4)
    net.pass_time("a", 11)
    net.reporters["a"].receive(Ack(0, 99), 0.0)
    assert [each.sequence for each in net.reporters["a"].drain(0.0)] == [1, 2]


def test_a_later_process_fences_off_the_earlier_one_of_its_name():
    """S8: state that a restart leaves behind."""
    net = Net("a", "b")
    net.observe("a", 1, 5, 4)
    net.pass_time("a", 11)
    old = net.reporters["a"]
    stale = old.drain(0.0)
    assert isinstance(net.join("a", 1), Welcome)
    for message in stale:
        net.manager.receive("a", message, 0.0)
    assert net.manager.counters["messages_stale"] == len(stale)
    answer = net.manager.hello(old.hello(__version__, net.manager.digest), 0.0)
    assert isinstance(answer, Refused)
    assert answer.fatal


def test_a_restarted_worker_that_reads_its_input_again_loses_nothing():
    net = Net("a", "b", settings=ClusterSettings(cluster_send_in_groups_of=1))
    for key in (5, 6):
        net.observe("a", 1, key, 4)
        net.observe("b", 1, key, 7)
    net.pass_time("a", 11)
    net.manager.receive("a", net.reporters["a"].drain(0.0)[0], 0.0)  # one group of two, then it dies
    net.join("a", 1, replays=True)
    for key in (5, 6):
        net.observe("a", 1, key, 4)
    for name in "ab":
        net.pass_time(name, 11)
    net.carry()
    assert net.detection.results == [(0, 5, 11.0, True, ()), (0, 6, 11.0, True, ()), (0, "finished", True, ())]


def test_a_restarted_worker_whose_input_is_gone_is_named_by_the_epochs_that_it_saw_in_part():
    net = Net("a", "b")
    net.observe("a", 1, 5, 4)
    net.observe("a", 11, 5, 4)
    net.pass_time("a", 12)
    net.pass_time("b", 12)
    net.carry()
    net.join("a", 1, start=31 * SECOND)
    net.observe("a", 31, 5, 1)
    net.observe("b", 21, 5, 2)
    for name in "ab":
        net.pass_time(name, 55)
    net.carry()
    missing = {each[0]: each[-1] for each in net.detection.results if each[1] == "finished"}
    assert missing == {0: (), 1: ("a",), 2: ("a",), 3: ("a",)}
    assert [each for each in net.detection.results if each[:2] == (3, 5)] == [(3, 5, 1.0, False, ("a",))]


def test_a_restarted_worker_is_not_named_by_epochs_after_the_one_in_which_it_says_that_it_has_begun():
    """Found by the simulation (seed 2872): one in which it saw nothing, and that was over before it was first heard."""
    net = Net("a", "b")
    net.observe("a", 1, 5)
    net.pass_time("a", 12)
    net.carry()
    net.join("a", 1, start=31 * SECOND, started=31 * SECOND)
    for at in (1, 11, 21, 31, 41, 51):
        net.observe("b", at, 5)
    for name in "ab":
        net.pass_time(name, 65)
    net.carry()
    missing = {each[0]: each[-1] for each in net.detection.results if each[1] == "finished"}
    assert missing == {0: (), 1: ("a",), 2: ("a",), 3: ("a",), 4: (), 5: ()}


@pytest.mark.parametrize(("begins", "missing"), [(12, ()), (13, ("a",))])
def test_a_process_that_goes_on_where_the_last_one_of_its_name_had_told_all_has_lost_nothing(begins, missing):
    net = Net("a", "b")
    net.observe("a", 11, 5, 4)
    net.observe("b", 11, 5, 2)
    net.finish("a", 12)
    net.carry()
    net.join("a", 1, start=begins * SECOND, started=begins * SECOND)
    for name in "ab":
        net.finish(name, 13)
    net.carry()
    assert net.detection.results[-2:] == [(1, 5, 6.0, not missing, missing), (1, "finished", not missing, missing)]


def test_a_member_that_comes_late_is_named_by_the_epochs_that_it_should_have_seen():
    net = Net("a")
    net.manager = Manager([net.detection], ["a", "b"])
    net.connect("a")
    net.observe("a", 1, 5, 3)
    net.pass_time("a", 11)
    net.carry()
    net.join("b", start=15 * SECOND)
    net.observe("b", 15, 5, 1)
    net.observe("a", 16, 5, 1)
    for name in "ab":
        net.pass_time(name, 35)
    net.carry()
    missing = {each[0]: each[-1] for each in net.detection.results if each[1] == "finished"}
    assert missing == {0: ("b",), 1: ("b",)}
    for name in "ab":
        net.observe(name, 36, 5, 1)
        net.pass_time(name, 45)
    net.carry()
    assert net.detection.results[-2] == (3, 5, 2.0, True, ())


def test_a_manager_with_other_settings_refuses_with_a_reason():
    """S18: no schema, no versions."""
    net = Net("a")
    answer = net.manager.hello(net.reporters["a"].hello("9.9", "another digest"), 0.0)
    assert isinstance(answer, Refused)
    assert answer.fatal
    assert "--set" in answer.reason


def test_a_worker_that_joins_in_mid_epoch_is_waited_for_from_then_on():
    """S3: an epoch that waits for an answer that was never asked for."""
    net = Net("a", fixed=False)
    net.observe("a", 1, 5, 4)
    net.pass_time("a", 11)
    net.carry()
    assert net.detection.results[0] == (0, 5, 4.0, True, ())
    net.observe("a", 12, 5, 4)
    net.join("b", start=15 * SECOND)
    net.observe("b", 15, 5, 3)
    net.pass_time("a", 21)
    net.carry("a")
    assert len(net.detection.results) == 2
    net.pass_time("b", 21)
    net.carry("b")
    assert net.detection.results[2] == (1, 5, 7.0, True, ())


def test_a_worker_that_leaves_delivers_and_is_not_waited_for():
    net = Net("a", "b")
    net.observe("b", 1, 5, 3)
    net.observe("a", 1, 5, 3)
    net.finish("b", 4)
    net.carry("b")
    net.pass_time("a", 31)
    net.carry("a")
    assert net.detection.results[0] == (0, 5, 6.0, True, ())


def test_a_worker_that_is_given_up_is_missing():
    net = Net("a", "b")
    net.observe("a", 1, 5, 3)
    net.pass_time("a", 11)
    net.carry("a")
    net.manager.leave("b", 0.0)
    net.carry("a")
    assert net.detection.results[0] == (0, 5, 3.0, False, ("b",))
    assert net.manager.workers == ["a"]


def test_the_last_epoch_is_told_when_input_ends():
    """S16, M13: no final epoch."""
    net = Net("a", "b")
    net.observe("a", 1, 5, 3)
    net.finish("a", 3)
    net.finish("b", 3)
    net.carry()
    assert net.detection.results == [(0, 5, 3.0, True, ()), (0, "finished", True, ())]
    assert net.manager.is_done


def test_an_epoch_that_ends_by_hand_ends_on_all_workers():
    net = Net("a", "b", make=ByHand)
    for element in range(3):
        net.observe("a", 1, 5, element=element)
        net.observe("b", 1, 5, element=element + 2)
    net.manager.next_epoch("by_hand.sums", 0)
    assert [message for _, message in net.deliver()] == [ClusterSsRequest("by_hand.sums", 0)]
    net.reporters["b"].receive(ClusterSsRequest("by_hand.sums", 0), 0.0)  # once more: it is over already
    for name in "ab":
        net.pass_time(name, 2)
    net.carry()
    assert net.detection.results == [(0, 5, 5)]
    net.observe("b", 3, 5)
    for name in "ab":
        net.finish(name, 4)
    net.carry()
    assert net.detection.results == [(0, 5, 5), (1, 5, 1)]


def test_an_epoch_that_one_worker_ends_by_hand_ends_on_the_others_too():
    net = Net("a", "b", make=ByHand)
    net.observe("a", 1, 5, element=1)
    net.observe("b", 1, 5, element=2)
    for end in net.engines["a"].next_epoch("by_hand.sums", 2 * SECOND):
        net.reporters["a"].ended(end)
    for name in "ab":
        net.pass_time(name, 3)
    net.carry()
    assert net.detection.results == [(0, 5, 2)]


def end_by_hand(net, name, at):
    for end in net.engines[name].next_epoch("by_hand.sums", at * SECOND):
        net.reporters[name].ended(end)


def test_epochs_that_end_by_hand_are_over_in_turn_though_one_worker_is_ahead():
    """Found by the simulation (seed 39): the later one was over by the clock before the one before it."""
    net = Net("a", "b", make=ByHand)
    for name in "ab":
        net.observe(name, 1, 5, element=1)
    end_by_hand(net, "a", 90)  # its clock is ahead
    end_by_hand(net, "b", 2)
    for name in "ab":
        net.observe(name, 91, 5, element=2)
        end_by_hand(net, name, 3)
        net.pass_time(name, 4)
    net.carry()
    for name in "ab":
        net.finish(name, 92)
    net.carry()
    assert net.detection.results == [(0, 5, 1), (1, 5, 1)]


def test_a_request_to_end_an_epoch_that_was_lost_with_a_connection_is_made_again():
    """Found by the simulation, with epochs that end by hand."""
    net = Net("a", "b", make=ByHand)
    for name in "ab":
        net.observe(name, 1, 5, element=1)
    end_by_hand(net, "a", 2)
    net.carry("a")  # what the manager says to b meanwhile is lost
    for name in "ab":
        net.pass_time(name, 3)
    net.carry()
    assert net.detection.results == []
    net.manager.tick(1.0)
    net.carry(now=1.0)
    assert net.detection.results == [(0, 5, 1)]


@pytest.mark.parametrize("replays", [False, True])
def test_a_process_that_begins_after_epochs_were_ended_by_hand_is_in_the_one_that_is_open(replays):
    """Found by the simulation (seeds 265 and 176): it delivered as the first what it saw while the third was open.

    One that reads its input again cannot tell what it has told of it; what it adds is left out, and missing.
    """
    net = Net("a", "b", make=ByHand)
    for at in (1, 2):
        for name in "ab":
            net.observe(name, at, 5, element=at)
        end_by_hand(net, "a", at)
        net.carry()
        for name in "ab":
            net.pass_time(name, at)
        net.carry()
    net.join("b", 1, start=3 * SECOND, replays=replays)
    for name in "ab":
        net.observe(name, 4, 5, element=ord(name))
        net.finish(name, 5)
    net.carry()
    assert net.detection.results == [(0, 5, 1), (1, 5, 1), (2, 5, 1 if replays else 2)]
    assert net.detection.missing == [(), (), ("b",)]


def test_what_is_read_again_is_not_counted_in_two_epochs_that_end_by_hand():
    """Found by the simulation (seed 176)."""
    net = Net("a", "b", "c", make=ByHand)
    for name in "abc":
        net.observe(name, 1, 5, element=1)
    for name in "ab":
        end_by_hand(net, name, 1)
    net.carry("a", "b")
    net.join("b", 1, replays=True)
    end_by_hand(net, "b", 1)
    net.observe("b", 1, 5, element=1)
    end_by_hand(net, "c", 1)
    for name in "abc":
        net.observe(name, 2, 5, element=2)
        net.finish(name, 3)
    net.carry()
    assert net.detection.results == [(0, 5, 1), (1, 5, 1)]
    assert net.detection.missing == [(), ("b",)]


def test_what_a_dead_process_saw_since_it_last_ended_an_epoch_by_hand_is_missing_though_its_clock_was_past_it():
    """Found by the simulation (seed 178): its clock had come to the end, and what it held had not been delivered."""
    net = Net("a", "b", make=ByHand)
    for name in "ab":
        net.observe(name, 1, 5, element=1)
    end_by_hand(net, "a", 2)
    net.observe("a", 3, 5, element=2)
    net.pass_time("a", 9)
    net.carry("a")
    net.join("a", 1, start=9 * SECOND, started=9 * SECOND)
    end_by_hand(net, "a", 9)  # the first, which is not over yet, once more
    end_by_hand(net, "b", 2)
    for name in "ab":
        net.observe("b", 3, 5, element=3)
        net.finish(name, 9)
    net.carry()
    assert net.detection.results == [(0, 5, 1), (1, 5, 1)]
    assert net.detection.missing[1] == ("a",)


# Early views


def test_an_early_alert_of_which_all_is_lost_since_says_at_its_epochs_end_that_it_is_not_whole():
    """Found by the simulation (seed 2588): its last figures were said to be complete."""
    net = Net("a", "b", early=True)
    for name in "ab":
        hot(net, name, 5, 6)
        net.carry()
    assert [each.value for each in net.told] == [pytest.approx(10, abs=2)]
    for name in "ab":  # both die before they have delivered any of it
        net.join(name, 1, start=5 * SECOND, started=5 * SECOND)
        net.pass_time(name, 11)
    net.carry()
    last = net.told[-1]
    assert (type(last), last.id, last.complete, last.missing) == (AlertUpdate, net.told[0].id, False, ["a", "b"])


def hot(net, worker, key, times, start=0.0):
    for n in range(times):
        net.observe(worker, start + n * 0.01, key)
    net.reporters[worker].review(int((start + times * 0.01) * SECOND))


def test_a_key_that_grows_jointly_is_found_before_any_worker_comes_near_the_level():
    """M6: with enough balanced workers the original asked only when the sum was far beyond the level, or never."""
    net = Net(*"abcde", early=True)
    for round_ in range(2):
        for name in "abcde":
            hot(net, name, 5, 1, round_)
            net.carry()
    assert net.alerts == [("5 came to 10", 0, True)]


def test_a_level_that_is_not_reached_is_not_told_early():
    net = Net(*"abcde", early=True)
    for round_ in range(2):
        for name in "abcde" if round_ == 0 else "abcd":
            hot(net, name, 5, 1, round_)
            net.carry()
    assert net.alerts == []


def test_an_early_alert_is_updated_with_the_final_figures():
    net = Net("a", "b", early=True)
    hot(net, "a", 5, 6)
    hot(net, "b", 5, 4)
    net.carry()
    hot(net, "b", 5, 9, 1.0)
    for name in "ab":
        net.pass_time(name, 11)
    net.carry()
    record, update = net.told
    assert (record.message, record.value) == ("5 came to 10", 10)
    assert isinstance(update, AlertUpdate)
    assert (update.id, update.value, update.folded_into) == (record.id, 19, None)


def test_a_crossing_of_one_epoch_does_not_mute_the_next():
    """S7, M10, M11: marks without an epoch wipe, or poison, those of the next."""
    net = Net("a", "b", early=True)
    net.detection.results.clear()
    for epoch in range(3):
        for name in "ab":
            hot(net, name, 5, 6, epoch * 10.0 + 1)
            net.carry()
        for name in "ab":
            net.pass_time(name, epoch * 10.0 + 11)
        net.carry()
    told = [each for each in net.told if isinstance(each, AlertUpdate)]
    assert [each.folded_into is None for each in told][:1] == [True]
    assert [each[0] for each in net.detection.results if each[1] == 5] == [0, 1, 2]
    assert net.manager.suppressed >= 1  # the second within the hour


def test_views_beyond_those_outstanding_wait_their_turn_the_most_urgent_first():
    """S5, S6, M8, M9: views that are dropped, and leaks that end them for good."""
    settings = ClusterSettings(max_outstanding_global_views=2, retry_s=1.0)
    net = Net("a", "b", early=True, settings=settings)
    asked = []
    for key in range(5):
        hot(net, "a", key, 5 + key % 3)
        for message in net.reporters["a"].drain(0.0):
            net.manager.receive("a", message, 0.0)
        asked += [
            each for to, each in net.manager.drain().messages if isinstance(each, ClusterKeyRequest) and to == "a"
        ]
    assert len(asked) == 2  # no answers yet
    for _ in range(30):
        net.manager.tick(0.0)
    assert not [each for _, each in net.manager.drain().messages if isinstance(each, ClusterKeyRequest)]
    net.manager.tick(1.0)  # they took too long: asked again, with all that waited, in one request
    again = [each for to, each in net.manager.drain().messages if isinstance(each, ClusterKeyRequest) and to == "a"]
    keys = [int(key) for each in again for key in np.frombuffer(each.keys, np.uint64)]
    assert sorted(keys) == [0, 1, 2, 3, 4]
    assert keys[0] == 2  # 7 of 10
    assert net.manager.counters["manager_views_timed_out"] == 2


def test_a_view_goes_on_without_a_member_that_is_gone():
    net = Net("a", "b", early=True)
    hot(net, "a", 5, 12)
    net.carry("a")
    assert net.alerts == []
    net.manager.lost("b", 0.0)
    net.carry("a")
    assert net.alerts == [("5 came to 12", 0, True)]


def test_an_answer_that_comes_twice_or_unasked_changes_nothing():
    net = Net("a", "b", early=True)
    hot(net, "a", 5, 9)
    for message in net.reporters["a"].drain(0.0):
        net.manager.receive("a", message, 0.0)
    [(_, request), _] = [each for each in net.manager.drain().messages if isinstance(each[1], ClusterKeyRequest)]
    net.reporters["a"].receive(request, 0.0)
    [answer] = [each for each in net.reporters["a"].drain(0.0) if isinstance(each, ClusterKeyResponse)]
    net.manager.receive("a", answer, 0.0)
    net.manager.receive("a", answer, 0.0)
    net.manager.receive("b", msgspec.structs.replace(answer, request=77, worker="b"), 0.0)
    assert net.manager.drain().alerts == []
    net.manager.receive("b", msgspec.structs.replace(answer, worker="b"), 0.0)
    assert [each.value for each in net.manager.drain().alerts] == [18]


def test_members_in_different_epochs_are_not_added_up():
    net = Net("a", "b", early=True)
    hot(net, "a", 5, 9)
    hot(net, "b", 5, 9, 11.0)
    net.carry()
    assert net.alerts == []
    assert net.manager.counters["manager_views_skewed"] > 0
    net.manager.tick(1.0)
    assert not key_requests(net)  # to ask before all have come to where the later one is would be in vain


def key_requests(net):
    return [message for _, message in net.manager.drain().messages if isinstance(message, ClusterKeyRequest)]


def test_keys_that_members_were_asked_about_in_different_epochs_are_asked_about_again_once_all_have_come_there():
    net = Net("a", "b", early=True)

    def say(name):
        for message in net.reporters[name].drain(0.0):
            net.manager.receive(name, message, 0.0)

    hot(net, "a", 5, 5)
    say("a")
    request = key_requests(net)[0]
    net.reporters["a"].receive(request, 0.0)
    say("a")
    for name in "ab":
        net.pass_time(name, 11)
        say(name)
    net.reporters["b"].receive(request, 0.0)
    say("b")
    assert net.manager.counters["manager_views_skewed"] == 1
    net.manager.drain()
    net.manager.tick(1.0)
    assert key_requests(net)


def test_a_view_of_what_comes_after_the_clock_has_begun_anew_waits_until_all_before_is_over():
    """Found by the simulation (seed 396): its times are earlier, and its alert took the place of one from before."""
    net = Net("a", "b", early=True, in_step=True)
    for name in "ab":
        for end in net.engines[name].start(-3600 * SECOND):
            net.reporters[name].ended(end)
        net.reporters[name].run = 1
        hot(net, name, 5, 6, start=-3600)
        net.reporters[name].review(-3599 * SECOND)
    net.carry()
    assert net.alerts == []
    for name in "ab":
        net.reporters[name].heartbeat(1, -3599 * SECOND, Counts())
    net.carry()
    hot(net, "a", 5, 6, start=-3599)
    net.carry()
    assert len(net.alerts) == 1


def test_what_may_grow_unreported_is_shared_out_anew_with_each_view():
    net = Net("a", "b", early=True)
    hot(net, "a", 5, 6)
    for message in net.reporters["a"].drain(0.0):
        net.manager.receive("a", message, 0.0)
    for _ in range(3):
        messages = net.deliver()
        shares = [each for _, each in messages if isinstance(each, ClusterShare)]
        for name in "ab":
            for message in net.reporters[name].drain(0.0):
                net.manager.receive(name, message, 0.0)
        if shares:
            break
    assert np.frombuffer(shares[0].share).tolist() == [2.0]  # 4 are left, between two


def test_thresholds_are_reset_by_epoch():
    net = Net("a", "b", early=True)
    net.observe("a", 1, 5)
    for name in "ab":
        net.pass_time(name, 11)
    for name in "ab":
        for message in net.reporters[name].drain(0.0):
            net.manager.receive(name, message, 0.0)
    for name in "ab":
        for message in net.reporters[name].drain(0.0):
            net.manager.receive(name, message, 0.0)
    assert ThresholdsReset("totals.sums", 0) in [message for _, message in net.manager.drain().messages]


# What peers send is checked


def response(net, **changes):
    net.observe("a", 1, 5, 3)
    net.pass_time("a", 11)
    [message] = [each for each in net.reporters["a"].drain(0.0) if isinstance(each, ClusterSsResponse)]
    return msgspec.structs.replace(message, **changes)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("a key that is cut short", {"keys": b"\0" * 7}),
        ("a header that is cut short", {"headers": {"0": b"\0"}}),
        ("no states", {"states": {}}),
        ("states of another number of keys", {"keys": b"\0" * 16}),
    ],
)
def test_a_malformed_result_changes_nothing(what, change):
    net = Net("a", "b")
    message = response(net)
    broken = msgspec.structs.replace(message, columns=msgspec.structs.replace(message.columns, **change))
    with pytest.raises(ValueError, match=r"."):
        net.manager.receive("a", broken, 0.0)
    net.pass_time("b", 11)
    net.carry(now=9.0)  # and is sent again, whole
    assert net.detection.results[0] == (0, 5, 3.0, True, ())


def test_a_result_of_another_definition_is_refused():
    net = Net("a")
    message = response(net)
    for change in ({"definition": "another"}, {"sumstat": "another"}):
        with pytest.raises(ValueError, match="no SumStat"):
            net.manager.receive("a", msgspec.structs.replace(message, **change), 0.0)


def test_a_key_that_is_sent_twice_in_a_group_is_refused():
    definition = next(iter(Totals().define().values()))
    store = Store(definition, SECRET)
    store.observe(np.array([[1]], np.uint64), np.array([0]), {"total": None})
    once = store.partial()
    packing = Packing(definition)
    packing.check(once)
    twice = packing.unpack(pack(type(once).join([once, once])))
    for _ in range(2):  # what was refused is not held against what comes next
        with pytest.raises(ValueError, match="twice"):
            packing.check(twice)
        packing.check(once)


def test_a_worker_whose_results_find_no_room_says_how_much_is_lost():
    class Full:
        def __init__(self):
            self.held = []

        def append(self, message):
            if isinstance(message, ClusterSsResponse) and len(message.columns.keys) > 8:
                return False
            self.held.append(message)
            return True

        def after(self, sequence):
            return (each for each in self.held if each.sequence > sequence)

        def release(self, sequence):
            self.held = [each for each in self.held if each.sequence > sequence]

    net = Net("a")
    reporter = net.reporters["a"]
    reporter._held = Full()
    for key in (1, 2, 3):
        net.observe("a", 1, key)
    net.pass_time("a", 11)
    net.carry()
    assert net.detection.results == [(0, "finished", False, ("a",))]
    assert reporter.counters["epochs_unsent"] == 1


def test_what_was_lost_is_said_before_any_heartbeat_and_as_soon_as_there_is_room():
    class Shut:
        """Has no room at first."""

        def __init__(self):
            self.held, self.is_open = [], False

        def append(self, message):
            if self.is_open:
                self.held.append(message)
            return self.is_open

        def after(self, sequence):
            return (each for each in self.held if each.sequence > sequence)

        def release(self, sequence):
            self.held = [each for each in self.held if each.sequence > sequence]

    net = Net("a")
    reporter = net.reporters["a"]
    reporter._held = Shut()
    net.observe("a", 1, 5)
    net.finish("a", 11)
    net.carry()
    assert (net.detection.results, reporter.unacknowledged) == ([], 3)
    reporter._held.is_open = True
    net.carry()
    assert net.detection.results == [(0, "finished", False, ("a",)), (1, "finished", True, ())]  # nothing in that
    assert reporter.unacknowledged == 0
    assert net.manager.is_done


def test_a_few_large_keys_among_many_small_ones_go_in_groups_that_a_frame_holds():
    net = Net("a", make=ByHand, settings=ClusterSettings(group_bytes=2000))
    for key in range(200):
        net.observe("a", 1, key)
    for element in range(400):
        for key in (7, 8, 9):
            net.observe("a", 1, key, element=element)
    for end in net.engines["a"].next_epoch("by_hand.sums", 2 * SECOND):
        net.reporters["a"].ended(end)
    groups = [each for each in net.reporters["a"].drain(0.0) if isinstance(each, ClusterSsResponse)]
    sizes = [len(msgspec.msgpack.encode(each)) for each in groups]
    assert max(sizes) <= 4 * 2000 + 500
    assert sum(len(each.columns.keys) // 8 for each in groups) == 200
    for name in ("a",):
        net.pass_time(name, 3)
    net.carry(now=9.0)
    assert len(net.detection.results) == 200


# A crash of the manager


def test_a_manager_that_reads_its_journal_goes_on_and_repeats_no_alert():
    """S8, M29: all state was lost on a restart."""
    net = Net("a", "b", settings=ClusterSettings(cluster_send_in_groups_of=1))
    records, before = [], []

    def drain(net):
        output = net.manager.drain()
        records.extend(output.records)
        return [each.id for each in output.alerts if isinstance(each, AlertRecord)]

    for name in "ab":
        for at, value in ((1, 6), (11, 7)):
            for key in (1, 2):
                net.observe(name, at, key, value)
        net.pass_time(name, 21)
    messages = [(name, each) for name in "ab" for each in net.reporters[name].drain(0.0)]
    half = len(messages) - 3
    for name, message in messages[:half]:
        net.manager.receive(name, message, 0.0)
    before = drain(net)
    for snapshot in (False, True):
        again = Net("a", "b", settings=net.settings)
        again.manager = Manager([again.detection], ["a", "b"], settings=net.settings)
        if snapshot:
            whole = Manager([Totals()], ["a", "b"], settings=net.settings)
            whole.restore(None, records, 0.0)
            told = again.manager.restore(whole.snapshot(), [], 0.0)
            assert told == []
        else:
            told = again.manager.restore(None, records, 0.0)
            assert [each.id for each in told] == before
        for name in "ab":
            hello = net.reporters[name].hello(__version__, again.manager.digest)
            assert isinstance(again.manager.hello(hello, 1.0), Welcome)
        for name, message in messages:
            again.manager.receive(name, message, 1.0)
        for name in "ab":
            beat = Heartbeat(name, 0, 99, 0, 21 * SECOND, Counts())
            applied = again.manager._ledger.membership[name].applied
            again.manager.receive(name, msgspec.structs.replace(beat, sequence=applied + 1), 1.0)
        found = [each for each in again.detection.results if each[0] == 1]
        assert found == [(1, 1, 14.0, True, ()), (1, 2, 14.0, True, ()), (1, "finished", True, ())]
        ids = before + [each.id for each in again.manager.drain().alerts if isinstance(each, AlertRecord)]
        assert len(ids) == len(set(ids)) == 2


def test_only_what_needs_no_counting_is_silenced(monkeypatch):
    """M25: the original went on counting what was suppressed. A key is counted on where there is room to follow it."""
    monkeypatch.setattr(following, "MOST_FOLLOWED", 0)

    class Often(Detection):
        """Misses nothing."""

        seen = Stream("connection_attempt", key="resp_p")
        sums = SumStat(hops=0, epoch="10s", total=Sum(seen))

        @sums.crosses(total=3)
        def often(self, key, seen):
            return Alert("often", same_as=key)

    net = Net("a", "b", make=Often)
    for name in "ab":
        for n in range(4):
            net.observe(name, 1 + n * 0.1, 5)
        net.pass_time(name, 11)
    for _ in range(2):
        for name in "ab":
            for message in net.reporters[name].drain(0.0):
                net.manager.receive(name, message, 0.0)
    silences = [each for _, each in net.deliver() if isinstance(each, ClusterThresholdCrossed)]
    assert [(each.sumstat, each.epoch, each.until) for each in silences] == [("often.sums", 0, 3610 * SECOND)]
    for name in "ab":
        net.observe(name, 25, 5)
        net.observe(name, 26, 5)
    assert net.engines["a"].counters["often.sums"]["passed_over"] == 2


def test_what_is_silenced_before_the_clock_begins_anew_counts_after_that():
    net = Net("a", make=Totals)
    key = np.array([[5]], np.uint64).tobytes()
    net.reporters["a"].run = 1
    for run, passed in ((0, 0), (1, 1)):
        net.reporters["a"].receive(ClusterThresholdCrossed("totals.sums", 0, key, 3610 * SECOND, run), 0.0)
        net.observe("a", 20 + run * 20, 5)
        assert net.engines["a"].counters["totals.sums"]["passed_over"] == passed


def test_an_early_report_is_no_message_that_must_arrive():
    net = Net("a", "b", early=True)
    hot(net, "a", 5, 8)
    early = [each for each in net.reporters["a"].drain(0.0) if isinstance(each, ClusterKeyIntermediateResponse)]
    assert early  # and is lost
    hot(net, "b", 5, 8)
    net.reporters["b"].drain(0.0)
    for name in "ab":
        net.pass_time(name, 11)
    net.carry()
    assert net.alerts == [("5 came to 16", 0, True)]
