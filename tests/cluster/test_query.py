"""Queries: what all workers together know now of a key, whoever is late, missing or lying."""

import ipaddress
import json

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.cli.main import group
from sensor.cluster.columns import fit, nbytes
from sensor.cluster.manager import EVERYBODY
from sensor.cluster.messages import ClusterKeyRequest, ClusterKeyResponse, KeyResult, PackedPartial, RequestKey
from sensor.cluster.settings import ClusterSettings
from sensor.detection import (
    Alert,
    Average,
    Detection,
    Key,
    Max,
    Sample,
    StdDev,
    Stream,
    Sum,
    SumStat,
    Unique,
    Variance,
)
from sensor.node import observer
from tests.cluster.test_protocol import SECOND, Net, hot
from tests.sumstats.reference import fed

laws = settings(max_examples=60, deadline=None, derandomize=True)
TOTALS = "totals.sums"


class Mixed(Detection):
    """Says nothing, and keeps something of every kind. Misses all."""

    seen = Stream("connection_attempt", key="resp_p", value="orig_p")
    kept = SumStat(hops=0, epoch="10s", total=Sum(seen, of="orig_bytes"), ports=Unique(seen, keep=3))


class Hopping(Detection):
    """Says when much was seen within a window that hops. Misses what is slow."""

    seen = Stream("connection_attempt", key="resp_p", value="orig_p")
    sums = SumStat(epoch="10s", hops=5, total=Sum(seen, of="orig_bytes"))

    @sums.crosses(total=1000)
    def much(self, key, seen):
        return Alert(f"{key.resp_p}", same_as=key)


class ByHand(Detection):
    """Says what was seen up to when it is asked. Misses nothing."""

    seen = Stream("connection_attempt", key="resp_p", value="orig_p")
    sums = SumStat(epoch="0s", total=Sum(seen, of="orig_bytes"))


class Addresses(Detection):
    """Has keys of an address and a number. Misses all."""

    seen = Stream("connection_attempt", key=("orig_h", "resp_p"), value="orig_p")
    sums = SumStat(hops=0, epoch="10s", most=Max(seen, of="orig_bytes"), mean=Average(seen, of="orig_bytes"))


class Unordered(Detection):
    """Has nothing to order keys by. Misses all."""

    seen = Stream("connection_attempt", key="resp_p", value="orig_p")
    samples = SumStat(hops=0, epoch="10s", some=Sample(seen))


class AsInZeek(Detection):
    """Has keys of an optional host and an optional text. Misses all."""

    seen = Stream(key=Key)
    sums = SumStat(hops=0, epoch="10s", total=Sum(seen))


def begin(net, observer="o 1", now=0.0, **asked):
    """Ask, and give what the manager sends for it, by whom."""
    asked = {"request": 7, "sumstat": next(iter(net.manager.queries._ledger.stats)), **asked}
    net.manager.queries.ask(observer, RequestKey(**asked), now)
    return net.manager.queries.drain()


def answers_of(net, sent):
    """What workers say to requests."""
    for name, message in sent:
        if isinstance(message, ClusterKeyRequest):
            net.reporters[name].receive(message, 0.0)
    found = [(name, each) for name in net.reporters for each in net.reporters[name].drain(0.0)]
    assert all(isinstance(each, ClusterKeyResponse) for _, each in found)
    return found


def result_of(net):
    """The one answer that an observer is sent."""
    [(_, result)] = net.manager.queries.drain()
    assert isinstance(result, KeyResult)
    return result


def ask(net, **asked):
    """Ask, let all workers answer, and give the result."""
    sent = begin(net, **asked)
    if sent and isinstance(sent[0][1], KeyResult):
        return sent[0][1]
    for name, answer in answers_of(net, sent):
        net.manager.receive(name, answer, 0.0)
    return result_of(net)


def rows(result):
    """Of each epoch, the key and the value of each row."""
    decoded = {epoch.epoch: [json.loads(row) for row in epoch.rows] for epoch in result.epochs}
    return {at: [(next(iter(row["key"].values())), row["value"]) for row in each] for at, each in decoded.items()}


def settled(net):
    """Let the packet clocks' news come to the manager."""
    net.carry()
    return net


def two(**options):
    """Two workers that have seen something of keys 5 and 6."""
    net = Net("a", "b", **options)
    net.observe("a", 1, 5, 3)
    net.observe("b", 1, 5, 4)
    net.observe("b", 2, 6, 1)
    return settled(net)


def test_a_key_has_the_merged_value_of_all_workers():
    result = ask(two(), key={"resp_p": "5"})
    assert (result.request, result.sumstat, result.by, result.reason) == (7, TOTALS, "total", "")
    [epoch] = result.epochs
    assert (epoch.epoch, epoch.start, epoch.end) == (0, 0, 10 * SECOND)
    assert (epoch.workers, epoch.missing, epoch.complete, epoch.keys) == (["a", "b"], [], True, 1)
    [row] = map(json.loads, epoch.rows)
    assert row == {
        "event_type": "key",
        "sumstat": TOTALS,
        "epoch": 0,
        "key": {"resp_p": 5},
        "value": 7.0,
        "num": 2,
        "first_seen": "1970-01-01T00:00:01.000000Z",
        "last_seen": "1970-01-01T00:00:01.000000Z",
        "alert": None,
        "figures": {"total": 7.0},
        "values": {"total": {"sum": 7.0}},
    }


def test_a_key_that_nobody_knows_has_no_row():
    [epoch] = ask(two(), key={"resp_p": "9"}).epochs
    assert (epoch.rows, epoch.keys, epoch.complete) == ([], 0, True)


def test_without_a_key_those_with_the_most_come_first():
    net = two()
    assert rows(ask(net)) == {0: [(5, 7.0), (6, 1.0)]}
    result = ask(net, top=1)
    assert rows(result) == {0: [(5, 7.0)]}
    assert result.epochs[0].keys == 2


def test_the_top_is_that_of_the_merged_values():
    """7 has nowhere the most."""
    net = Net("a", "b")
    for name, key, value in [("a", 5, 6), ("b", 6, 6), ("a", 7, 5), ("b", 7, 5)]:
        net.observe(name, 1, key, value)
    assert rows(ask(settled(net), top=1)) == {0: [(7, 10.0)]}


observed = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(1, 9), st.integers(0, 4)), max_size=30)


@laws
@given(observed, st.sampled_from([Mixed, Hopping]), st.booleans(), st.integers(1, 6))
def test_observations_split_anyhow_over_workers_have_the_answer_of_one(given, make, early, top):
    found = []
    for n in (1, 2, 4):
        net = Net(*"abcd"[:n], make=make, early=early)
        for at, (who, key, value, element) in enumerate(given):
            for name in net.engines:  # the clocks go on together, and over several panes
                net.pass_time(name, at * 0.7)
            net.observe("abcd"[who % n], at * 0.7, key, value, element)
        result = ask(settled(net), top=top)
        assert all(epoch.complete for epoch in result.epochs)
        found.append([(epoch.epoch, epoch.start, epoch.end, epoch.keys, epoch.rows) for epoch in result.epochs])
    assert found[0] == found[1] == found[2]


def test_each_epoch_that_is_not_over_is_told_with_what_was_delivered_of_it():
    """One is ahead of the other: of the epoch that it has ended, what it has delivered counts."""
    net = Net("a", "b")
    net.observe("a", 1, 5, 3)
    net.observe("b", 1, 5, 4)
    net.pass_time("a", 11)
    net.observe("a", 12, 5, 2)
    net.carry()
    result = ask(net)
    assert rows(result) == {0: [(5, 7.0)], 1: [(5, 2.0)]}
    assert [(epoch.workers, epoch.missing) for epoch in result.epochs] == [(["a", "b"], []), (["a"], [])]
    net.pass_time("b", 11)
    net.carry()
    assert rows(ask(net)) == {1: [(5, 2.0)]}


def test_what_a_worker_has_ended_but_not_delivered_is_missing():
    net = two()
    net.pass_time("a", 11)
    sent = begin(net)
    for name, request in sent:
        net.reporters[name].receive(request, 0.0)
    for name in "ab":  # its results are held up, its answer is not
        for message in net.reporters[name].drain(0.0):
            if isinstance(message, ClusterKeyResponse):
                net.manager.receive(name, message, 0.0)
    first, second = result_of(net).epochs
    assert (first.epoch, first.workers, first.missing, first.complete) == (0, ["b"], ["a"], False)
    assert (second.epoch, second.missing) == (1, [])


def test_a_window_that_hops_is_whole_with_the_panes_of_whoever_is_ahead():
    net = Net("a", "b", make=Hopping)
    for at in (1, 3, 5):
        net.observe("a", at, 5, 1)
        net.observe("b", at, 5, 10)
    net.pass_time("b", 5)
    net.pass_time("a", 7)
    net.observe("a", 7, 5, 1)
    net.carry()
    first, second = ask(net).epochs
    assert rows(KeyResult(7, "", epochs=[first])) == {2: [(5, 33.0)]}
    assert (first.start, first.end, first.missing) == (4 * SECOND - 10 * SECOND, 6 * SECOND, [])
    assert rows(KeyResult(7, "", epochs=[second])) == {3: [(5, 24.0)]}  # of b, what it has delivered
    assert (second.missing, second.complete) == (["b"], False)  # whose open pane is part of that window


def test_a_worker_whose_input_has_ended_is_not_asked_and_what_it_delivered_counts():
    net = two()
    net.finish("a", 3)
    net.carry()
    sent = begin(net)
    assert [name for name, _ in sent] == ["b"]
    for name, answer in answers_of(net, sent):
        net.manager.receive(name, answer, 0.0)
    [epoch] = result_of(net).epochs
    assert (epoch.workers, epoch.complete) == (["a", "b"], True)
    assert json.loads(epoch.rows[0])["value"] == 7.0


def test_an_answer_that_overtakes_the_end_of_its_workers_input_takes_nothing_away():
    net = two()
    sent = begin(net)
    net.finish("a", 3)
    for name, request in sent:
        net.reporters[name].receive(request, 0.0)
    for name in "ab":
        for message in net.reporters[name].drain(0.0):
            net.manager.receive(name, message, 0.0)
    result = result_of(net)
    assert rows(result)[0] == [(5, 7.0), (6, 1.0)]
    assert result.epochs[0].complete


def test_a_worker_whose_input_has_ended_is_missing_until_it_has_delivered():
    net = two()
    net.finish("a", 3)
    for name, request in begin(net):
        net.reporters[name].receive(request, 0.0)
    for name in "ab":  # its results are held up, its answer is not
        for message in net.reporters[name].drain(0.0):
            if isinstance(message, ClusterKeyResponse):
                net.manager.receive(name, message, 0.0)
    first = result_of(net).epochs[0]
    assert (first.epoch, first.workers, first.missing) == (0, ["b"], ["a"])


def test_what_is_delivered_after_an_answer_stands_in_its_place():
    net = two()
    (_, own), (_, other) = answers_of(net, begin(net))
    net.manager.receive("a", own, 0.0)
    net.observe("a", 3, 5, 2)
    net.pass_time("a", 11)
    net.carry("a")
    net.manager.receive("b", other, 0.0)
    assert rows(result_of(net)) == {0: [(5, 9.0), (6, 1.0)]}


def test_an_epoch_that_ends_by_hand_can_be_asked_about():
    net = Net("a", "b", make=ByHand)
    net.observe("a", 1, 5, 3)
    net.observe("b", 2, 5, 4)
    [epoch] = ask(settled(net)).epochs
    assert (epoch.epoch, epoch.end, epoch.complete) == (0, 0, True)
    assert json.loads(epoch.rows[0])["value"] == 7.0


def test_nothing_runs_when_all_is_over():
    net = two()
    for name in "ab":
        net.finish(name, 3)
    net.carry()
    [(_, result)] = begin(net)
    assert (result.epochs, result.reason) == ([], "")


def test_a_member_that_is_down_is_missing_by_name():
    net = two()
    net.manager.lost("b", 0.0)
    [epoch] = ask(net).epochs
    assert (epoch.workers, epoch.missing, epoch.complete) == (["a"], ["b"], False)


def test_a_member_that_does_not_answer_is_missing_at_the_deadline_and_not_before():
    net = two(settings=ClusterSettings(query_s=3.0))
    (_, answer), late = answers_of(net, begin(net, now=10.0))
    net.manager.receive("a", answer, 10.0)
    net.manager.tick(12.9)
    assert net.manager.queries.drain() == []
    net.manager.tick(13.0)
    [epoch] = result_of(net).epochs
    assert (epoch.workers, epoch.missing, epoch.complete) == (["a"], ["b"], False)
    assert net.manager.counters["queries_timed_out"] == 1
    net.manager.receive(*late, 14.0)
    assert net.manager.counters["answers_ignored"] == 1
    assert net.manager.queries.drain() == []
    assert len(net.manager.queries) == 0


def test_a_member_that_is_lost_meanwhile_is_not_waited_for():
    net = two()
    (_, answer), _ = answers_of(net, begin(net))
    net.manager.receive("a", answer, 0.0)
    net.manager.lost("b", 1.0)
    [epoch] = result_of(net).epochs
    assert (epoch.workers, epoch.missing) == (["a"], ["b"])


def test_an_answer_counts_once_and_from_whom_it_was_asked():
    net = two()
    sent = begin(net)
    net.join("c")
    (_, own), (_, other) = answers_of(net, sent)
    for name, answer in [("a", own), ("a", own), ("c", msgspec.structs.replace(own, worker="c"))]:
        net.manager.receive(name, answer, 0.0)
    assert net.manager.queries.drain() == []
    assert net.manager.counters["answers_ignored"] == 2
    net.manager.receive("b", msgspec.structs.replace(other, incarnation=9), 0.0)
    assert net.manager.queries.drain() == []
    net.manager.receive("b", other, 0.0)
    assert rows(result_of(net)) == {0: [(5, 7.0), (6, 1.0)]}


FORGERIES = {
    "definition": {"definition": "0" * 64},
    "sumstat": {"sumstat": "no.other"},
    "left": {"left": -1},
    "start": {"start": 1 << 62},
    "columns": {"columns": PackedPartial(bytes(8), {}, {})},
}


@pytest.mark.parametrize("change", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_answer_is_refused_and_changes_nothing(change):
    net = two()
    (_, own), (_, other) = answers_of(net, begin(net))
    with pytest.raises(ValueError):
        net.manager.receive("a", msgspec.structs.replace(own, **change), 0.0)
    for name, answer in [("a", own), ("b", other)]:
        net.manager.receive(name, answer, 0.0)
    assert rows(result_of(net)) == {0: [(5, 7.0), (6, 1.0)]}


def test_keys_that_were_not_asked_for_are_not_told():
    net = two()
    sent = begin(net, key={"resp_p": "5"})
    everything = [(name, msgspec.structs.replace(each, mask=[], value=[])) for name, each in sent]
    for name, answer in answers_of(net, everything):
        net.manager.receive(name, answer, 0.0)
    result = result_of(net)
    assert rows(result) == {0: [(5, 7.0)]}
    assert result.epochs[0].keys == 1


def crossing_jointly(asks):
    """What the manager sends and tells while two workers make a key cross, with questions between or without."""
    net = Net("a", "b", early=True)
    sent = []
    for at in range(1, 10):
        net.observe("ab"[at % 2], at, 5, 2)
        net.observe("ab"[at % 2], at, 6, 1)
        for name in "ab":
            net.pass_time(name, at)
        if asks:
            begin(net)  # which nobody hears of
            for name, request in begin(net, key={"resp_p": "5"}):
                net.reporters[name].receive(request, 0.0)
        for _ in range(4):
            for name in "ab":
                for message in net.reporters[name].drain(0.0):
                    net.manager.receive(name, message, 0.0)
            sent += net.deliver()
        if asks:
            assert rows(result_of(net))
            net.manager.queries.forget("o 1")
    return sent, net.alerts


def test_questions_change_nothing_of_what_is_judged_told_and_asked_early():
    sent, alerts = crossing_jointly(asks=False)
    assert alerts == [("5 came to 10", 0, True)]
    assert crossing_jointly(asks=True) == (sent, alerts)
    assert any(to == EVERYBODY for to, _ in sent)


@pytest.mark.parametrize("own", [True, False], ids=["of one observer", "in all"])
def test_so_many_questions_wait_and_no_more(own):
    net = two(settings=ClusterSettings(**{"most_queries_of_observer" if own else "most_queries": 3}))
    for n in range(3):
        assert [type(each) for _, each in begin(net, f"o {n * (not own)}")] == [ClusterKeyRequest] * 2
    [(to, refused)] = begin(net, "o 0", request=8)
    assert (to, refused.request, refused.fatal) == ("o 0", 8, False)
    assert "ask again" in refused.reason
    assert net.manager.counters["queries_refused"] == 1
    assert len(net.manager.queries) == 3
    net.manager.queries.forget("o 0")
    assert [type(each) for _, each in begin(net, "o 0")] == [ClusterKeyRequest] * 2


def test_another_observer_may_ask_while_one_may_not():
    net = two(settings=ClusterSettings(most_queries_of_observer=1))
    begin(net, "o 1")
    assert isinstance(begin(net, "o 1")[0][1], KeyResult)
    assert isinstance(begin(net, "o 2")[0][1], ClusterKeyRequest)


def test_an_observer_that_is_gone_is_told_nothing():
    net = two()
    answers = answers_of(net, begin(net))
    net.manager.queries.forget("o 1")
    for name, answer in answers:
        net.manager.receive(name, answer, 0.0)
    assert net.manager.queries.drain() == []


@pytest.mark.parametrize(("top", "is_asked"), [(0, False), (1, True), (1000, True), (1001, False), (-1, False)])
def test_as_many_keys_can_be_asked_for_as_an_answer_may_have(top, is_asked):
    message = begin(two(), top=top)[0][1]
    assert isinstance(message, ClusterKeyRequest) == is_asked
    assert is_asked or (message.fatal and "from 1 to 1000" in message.reason)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"sumstat": "total.sums"}, "did you mean 'totals.sums'?"),
        ({"key": {"resp_h": "5"}}, "no part 'resp_h'; did you mean 'resp_p'?"),
        ({"key": {"resp_p": "five"}}, "'five' is not a whole number"),
        ({"by": "totl"}, "no reducer 'totl' to order keys by; did you mean 'total'?"),
    ],
)
def test_what_cannot_be_asked_is_answered_with_what_can(asked, told):
    [(_, result)] = begin(two(), **asked)
    assert result.fatal
    assert told in result.reason


def test_without_anything_to_order_keys_by_there_is_no_answer():
    [(_, result)] = begin(Net("a", make=Unordered))
    assert result.fatal
    assert "no reducer whose value" in result.reason


def asked_keys(make, keys, **asked):
    """Which of some keys (uint64 words) one worker tells of, when asked."""
    net = Net("a", make=make)
    definition = net.definitions[0]
    values = {each.name: np.arange(len(keys), 0, -1.0) for each in definition.reducers}
    net.engines["a"].observe(definition.name, keys, np.full(len(keys), SECOND), values)
    net.pass_time("a", 1)
    [epoch] = ask(settled(net), **asked).epochs
    return [json.loads(row)["key"] for row in epoch.rows]


def test_a_network_stands_for_its_addresses():
    places = [("10.0.0.1", 22), ("10.0.0.2", 22), ("10.0.1.1", 22), ("10.0.0.1", 80), ("2001:db8::1", 22)]
    named = [{"orig_h": host, "resp_p": port} for host, port in places]
    keys = np.array(
        [Addresses.sums.match({"orig_h": host, "resp_p": str(port)})[1] for host, port in places], np.uint64
    )
    assert asked_keys(Addresses, keys, key={"orig_h": "10.0.0.0/24", "resp_p": "22"}) == named[:2]
    assert asked_keys(Addresses, keys, key={"orig_h": "2001:db8::/32"}) == named[4:]
    assert asked_keys(Addresses, keys, key={"orig_h": "10.0.0.1"}) == [named[0], named[3]]
    assert asked_keys(Addresses, keys) == named


def test_a_key_as_in_zeek_is_asked_for_by_the_parts_that_it_has():
    host = ipaddress.ip_address("10.0.0.1")
    given = [Key(host=host), Key(str="x"), Key(str="x", host=host), Key()]
    named = [{"host": "10.0.0.1"}, {"str": "x"}, {"host": "10.0.0.1", "str": "x"}, {}]
    keys = np.array([each.words() for each in given])
    assert asked_keys(AsInZeek, keys, key={"host": "10.0.0.1"}) == [named[0], named[2]]
    assert asked_keys(AsInZeek, keys, key={"host": "10.0.0.1", "str": "x"}) == [named[2]]
    assert asked_keys(AsInZeek, keys) == named


def test_other_reducers_can_order_keys():
    net = Net("a", make=Mixed)
    for at, (key, value, element) in enumerate([(5, 9, 1), (6, 1, 1), (6, 1, 2)]):
        net.observe("a", at, key, value, element)
    assert rows(ask(settled(net))) == {0: [(5, 9.0), (6, 2.0)]}
    assert rows(ask(net, by="ports")) == {0: [(6, 2.0), (5, 1.0)]}


@pytest.mark.parametrize(("spare", "left"), [(0, 0), (1, 0), (-1, 1)])
def test_a_worker_tells_of_as_many_keys_as_there_is_room_for_the_greatest_first(spare, left):
    definition = Net("a").definitions[0]
    partial = fed(definition, [(key, 100 - key) for key in range(10)]).partial()
    fitting, missing, below = fit(definition, partial, "total", nbytes(partial) + spare)
    assert missing == left
    assert fitting.keys[:, 0].tolist() == list(range(10 - left))
    assert below == (91.0 if left else 0.0)


def test_one_key_is_told_however_little_room_there_is():
    definition = Net("a").definitions[0]
    fitting, left, below = fit(definition, fed(definition, [(1, 5), (2, 6)]).partial(), "total", 1)
    assert (fitting.keys[:, 0].tolist(), left, below) == ([2], 1, 5.0)


def test_what_workers_had_no_room_for_is_said_and_by_how_much_values_may_be_too_small():
    key_bytes = nbytes(fed(Net("a").definitions[0], [(1, 1)]).partial())
    net = Net("a", "b", settings=ClusterSettings(query_bytes=2 * key_bytes))
    for key, value in [(1, 9), (2, 8), (3, 7), (4, 6)]:
        net.observe("a", 1, key, value)
        net.observe("b", 1, 5 - key, value)
    [epoch] = ask(settled(net)).epochs
    assert (epoch.left, epoch.within, epoch.complete, epoch.missing) == (4, 14.0, False, [])
    assert sorted(json.loads(row)["value"] for row in epoch.rows) == [8.0, 8.0, 9.0, 9.0]


def test_an_answer_has_no_more_rows_than_there_is_room_for():
    net = two()
    row_bytes = [len(row) for row in ask(net).epochs[0].rows]
    for room, n in [(sum(row_bytes), 2), (sum(row_bytes) + 1, 2), (sum(row_bytes) - 1, 1)]:
        [epoch] = ask(two(settings=ClusterSettings(answer_bytes=room))).epochs
        assert (len(epoch.rows), epoch.keys) == (n, 2)


def test_a_worker_that_has_read_nothing_yet_is_not_missing():
    net = Net("a", "b", fixed=False)
    net.observe("a", 35, 5, 3)
    net.carry()
    assert all(epoch.complete for epoch in ask(net).epochs)


def test_a_key_whose_alert_stands_has_its_value_and_the_id_of_that():
    """The original counted such a key no more, and answered with nothing."""
    net = Net("a", "b", make=Hopping)
    net.observe("a", 1, 5, 600)
    net.observe("b", 1, 5, 600)
    for name in "ab":
        net.pass_time(name, 5)
    net.carry()
    [alert] = net.told
    net.observe("a", 6, 5, 30)
    net.observe("b", 6, 6, 1)
    net.carry()
    epoch = ask(net).epochs[-1]
    known = {row["key"]["resp_p"]: (row["value"], row["alert"]) for row in map(json.loads, epoch.rows)}
    assert known == {5: (1230.0, alert.id), 6: (1.0, None)}


def test_a_key_whose_alert_went_out_before_its_epoch_was_over_has_the_id_of_that():
    net = Net("a", "b", early=True)
    hot(net, "a", 5, 6)
    hot(net, "b", 5, 6)
    net.carry()
    [alert] = net.told
    [epoch] = ask(net).epochs
    known = {row["key"]["resp_p"]: (row["value"], row["alert"]) for row in map(json.loads, epoch.rows)}
    assert known == {5: (12.0, alert.id)}


class Spreads(Detection):
    """Has several figures of a key, whose calculations know others too. Misses all."""

    seen = Stream("connection_attempt", key="resp_p", value="orig_p")
    sums = SumStat(
        hops=0,
        epoch="10s",
        mean=Average(seen, of="orig_bytes"),
        sd=StdDev(seen, of="orig_bytes"),
        var=Variance(seen, of="orig_bytes"),
    )


def test_the_table_shows_what_was_asked_for_and_cuts_no_key(monkeypatch):
    net = Net("a", "b", make=Spreads)
    for name, value in (("a", 2), ("a", 4), ("b", 6)):
        net.observe(name, 1, 5, value)
    net.carry()
    result = ask(net)
    monkeypatch.setattr(observer, "ask_keys", lambda manager, request: result)
    shown = CliRunner().invoke(group, ["query", "spreads.sums", "--manager", "127.0.0.1:1"], env={"COLUMNS": "20"})
    header, row = shown.stdout.splitlines()[1:3]
    assert header.split()[:4] == ["resp_p", "mean", "sd", "var"]
    assert row.split()[:4] == ["5", "4", "2", "4"]
