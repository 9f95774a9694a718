"""The pace of workers: what their heartbeats count, as packets a second and a loss over the last ten."""

import msgspec
import pytest

from sensor.bus.codec import FrameDecoder, FrameError, encode
from sensor.cluster.messages import Counts, Heartbeat, NodeStatus, Status
from sensor.cluster.pace import Pace, Paces, loss
from sensor.cluster.reporter import Reporter
from sensor.cluster.vocabulary import VOCABULARY


def noted(samples, incarnation=1):
    paces = Paces()
    for at, kernel, ring, nic in samples:
        counters = {"kernel_packets": kernel, "ring_drops": ring, "nic_drops": nic}
        paces.note("a", incarnation, kernel - ring, counters, at)
    return paces


def test_the_rate_is_of_the_last_ten_seconds_and_counts_what_was_lost():
    paces = noted([(float(at), 100 * at if at <= 20 else 2000 + 300 * (at - 20), 0, 0) for at in range(31)])
    assert paces.of("a", 30.0) == Pace(300.0, 0.0, is_capture=True)


def test_loss_is_what_the_ring_and_the_card_lost_of_what_came():
    paces = noted([(0.0, 1000, 500, 0), (1.0, 1900, 600, 100)])
    assert paces.of("a", 1.0).loss == pytest.approx(200 / 1000)
    assert loss({"kernel_packets": 1900, "ring_drops": 600, "nic_drops": 100}) == pytest.approx(700 / 2000)
    assert loss({"nic_drops": 5}) == 1.0
    assert loss({}) is None


@pytest.mark.parametrize(("now", "known"), [(5.9, True), (6.0, False), (6.1, False)])
def test_a_pace_is_known_until_five_seconds_after_the_last_word(now, known):
    assert (noted([(0.0, 0, 0, 0), (1.0, 10, 0, 0)]).of("a", now) is not None) is known


@pytest.mark.parametrize(("at", "known"), [(0.99, False), (1.0, True)])
def test_one_count_alone_tells_nothing_nor_do_two_of_one_second(at, known):
    assert (noted([(0.0, 0, 0, 0), (at, 10, 0, 0)]).of("a", 1.0) is not None) is known
    assert Paces().of("a", 0.0) is None


def test_a_worker_that_begins_anew_begins_at_zero():
    paces = noted([(0.0, 0, 0, 0), (1.0, 5000, 0, 0)])
    paces.note("a", 2, 10, {"kernel_packets": 10}, 2.0)
    assert paces.of("a", 2.0) is None
    paces.note("a", 2, 30, {"kernel_packets": 30}, 3.0)
    assert paces.of("a", 3.0).packets_per_second == 20.0


def test_after_a_pause_the_rate_is_of_all_of_it():
    assert noted([(0.0, 0, 0, 0), (1.0, 10, 0, 0), (31.0, 3010, 0, 0)]).of("a", 31.0).packets_per_second == 100.0


def test_a_worker_that_reads_files_has_a_rate_and_no_loss():
    paces = Paces()
    paces.note("a", 1, 0, {}, 0.0)
    paces.note("a", 1, 50, {}, 1.0)
    assert paces.of("a", 1.0) == Pace(50.0, None, is_capture=False)


def test_what_is_kept_of_a_worker_does_not_grow():
    paces = noted([(at / 10, at, 0, 0) for at in range(5000)])
    assert len(paces._workers["a"].kept) == 11


def test_a_heartbeat_and_a_status_of_a_node_that_does_not_know_these_fields_are_understood():
    beat = msgspec.to_builtins(Heartbeat("a", 1, 2, 0, None, Counts(), hints=["x"]))
    del beat["hints"]
    assert msgspec.convert(beat, Heartbeat).hints == []
    node = msgspec.to_builtins(NodeStatus("a", "up", "1", 1, None, None, 5, 0, 1.5, 0.1, 0.2))
    for name in ("packets_per_second", "loss", "loss_now"):
        del node[name]
    status = {"type": "status", "version": "1", "digest": "", "nodes": [node], "alerts": 0}
    status |= {"epochs_closed": 0, "epochs_incomplete": 0, "counters": {}}
    assert msgspec.convert(status, Status).nodes[0].loss is None


def test_hints_are_capped_where_they_are_told_and_where_they_are_heard():
    reporter = Reporter("a", 1, None, [])
    reporter.heartbeat(0, None, Counts(), hints=["x" * 5000] * 100)
    told = reporter._beat.hints
    assert (len(told), {len(each) for each in told}) == (64, {1000})
    assert list(FrameDecoder(VOCABULARY, role="worker").feed(encode(reporter._beat))) == [reporter._beat]
    long = Heartbeat("a", 1, 1, 0, None, Counts(), hints=["x" * 4097])
    with pytest.raises(FrameError, match="4097 letters"):
        list(FrameDecoder(VOCABULARY, role="worker").feed(encode(long)))
