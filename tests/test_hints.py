"""Hints: what looks wrong about a capture is said when it begins and when it is over, on the line and not under it."""

import pytest

from sensor.node.balance import Balance, busiest
from sensor.node.hints import (
    Acks,
    Blind,
    DirectionCounts,
    Looks,
    Losses,
    NoPackets,
    OneWay,
    Unseen,
    is_lossy,
    is_one_way,
    reads_nothing,
    why_silent,
)
from sensor.node.interface_counters import InterfaceCounters

NEAR = InterfaceCounters("near")


def seen(**counts):
    return InterfaceCounters("near", **counts)


def said(judge, sights, *, start=1):
    """What a judge says of one sight a second, by the second."""
    found = {at: judge.judge(sight, float(at)) for at, sight in enumerate(sights, start)}
    return {at: text for at, text in found.items() if text}


@pytest.mark.parametrize(
    ("now", "filter_text", "kind", "words"),
    [
        (seen(), "", "quiet", "none arrive there"),
        (seen(), "udp port 9", "quiet", "none arrive there"),
        (seen(is_promiscuous=False), "", "quiet", "--no-promiscuous"),
        (seen(nic=1), "udp port 9", "deaf", "1 arrived, and none of them matches the filter 'udp port 9'"),
        (seen(nic=1234), "", "deaf", "1,234 arrived, and the kernel gave none of them on"),
        (seen(nic=9, kernel=9, filtered=9), "udp", "deaf", "write 'vlan and (udp)'"),
        (seen(gap="down"), "", "away", "it is down: `ip link set near up`"),
        (seen(gap="deleted", nic=5), "udp", "away", "there is no such interface"),
        (seen(gap="away"), "", "away", "`sensor interfaces`"),
        (seen(gap="near: odd"), "", "away", "cannot be opened: near: odd"),
    ],
)
def test_quiet_is_told_from_deaf_and_from_away(now, filter_text, kind, words):
    found, text = why_silent(NEAR, now, filter_text)
    assert found == kind
    assert words in text


def test_what_arrived_before_is_no_sign_of_deafness():
    assert why_silent(seen(nic=50), seen(nic=50))[0] == "quiet"
    assert why_silent(seen(nic=50), seen(nic=51))[0] == "deaf"


@pytest.mark.parametrize(("last", "is_said"), [(9.0, False), (10.0, True), (11.0, True)])
def test_silence_is_said_after_ten_seconds(last, is_said):
    judge = NoPackets(0.0)
    for at in (1.0, 4.0, 5.0):
        assert judge.judge(NEAR, at) == ""
    assert bool(judge.judge(NEAR, last)) is is_said
    assert bool(judge.hint) is is_said


def test_silence_is_said_once_and_again_when_its_reason_changes_and_when_it_is_over():
    sights = [NEAR] * 14 + [seen(gap="down")] * 3 + [NEAR] * 2 + [seen(nic=3)] * 3 + [seen(nic=4, read=1)] * 5
    found = said(NoPackets(0.0), sights)
    assert {at: text.partition(": ")[2][:35] for at, text in found.items()} == {
        10: "no packets for 10 s: none arrive th",
        15: "no packets for 15 s: it is down: `i",
        18: "no packets for 18 s: none arrive th",
        22: "no packets for 22 s: 3 arrived, and",
        23: "packets come again",
    }


def test_ten_seconds_begin_anew_with_each_packet():
    sights = [seen(read=at, nic=at) for at in range(1, 10)] + [seen(read=9, nic=9)] * 9
    assert said(NoPackets(0.0), sights) == {}
    assert list(said(NoPackets(0.0), [*sights, seen(read=9, nic=9)])) == [19]


def test_an_interface_that_counts_late_is_not_taken_for_deaf():
    """Some drivers tell seconds later what arrived: what was read can arrive, by their count, after that."""
    sights = [seen(read=100, nic=90)] + [seen(read=100, nic=100)] * 11
    assert [text for text in said(NoPackets(0.0), sights).values() if "arrived" in text] == []


@pytest.mark.parametrize(("looks", "is_said"), [(2, False), (3, True)])
def test_what_arrived_a_moment_ago_is_about_to_be_read(looks, is_said):
    """On the line of two seconds it is deaf, and not before."""
    sights = [NEAR] * 12 + [seen(nic=42)] * looks + [seen(nic=42, read=42)]
    assert bool([text for text in said(NoPackets(0.0), sights).values() if "42 arrived" in text]) is is_said


def test_a_time_in_which_nothing_was_looked_at_is_not_silence():
    judge = NoPackets(0.0)
    assert judge.judge(NEAR, 1.0) == ""
    assert judge.judge(NEAR, 60.0) == ""  # as after a stop: what came meanwhile is only about to be read
    assert judge.judge(seen(read=1), 60.1) == ""
    assert judge.hint is None


@pytest.mark.parametrize("counter", ["ring_drops", "nic_drops"])
def test_losses_are_said_when_they_begin_and_when_there_were_none_for_ten_seconds(counter):
    totals = [0, 10, 30, 30, 31] + [31] * 12
    found = said(Losses(counter), [seen(kernel=100 * at, **{counter: n}) for at, n in enumerate(totals, 1)])
    assert list(found) == [2, 15]
    assert "near: 10 of 1" in found[2]
    assert ("--ring" if counter == "ring_drops" else "ethtool -g near") in found[2]
    assert found[15] == "near: no more packets are lost there; 31 were"


def test_one_lost_packet_is_a_loss_and_none_is_not():
    assert said(Losses("ring_drops"), [seen(kernel=5), seen(kernel=9)]) == {}
    [text] = said(Losses("ring_drops"), [seen(kernel=5), seen(kernel=9, ring_drops=1)]).values()
    assert "1 of 4 packets is lost" in text


def test_losses_that_begin_again_count_from_there():
    sights = [seen(ring_drops=n) for n in [5] * 12 + [12] * 12]
    assert [text for text in said(Losses("ring_drops"), sights).values() if "no more" in text] == [
        "near: no more packets are lost there; 5 were",
        "near: no more packets are lost there; 7 were",
    ]


@pytest.mark.parametrize(
    ("data", "both", "found"),
    [(49, 0, None), (50, 0, True), (51, 0, True), (50, 4, True), (50, 5, True), (50, 6, False), (50, 50, False)],
)
def test_one_direction_is_missing_where_nine_of_ten_connections_lack_it(data, both, found):
    assert is_one_way(DirectionCounts(0, 0), DirectionCounts(data, both)) is found
    assert is_one_way(DirectionCounts(1000, 1000), DirectionCounts(1000 + data, 1000 + both)) is found


def test_a_missing_direction_is_said_once_and_when_it_is_back():
    judge = OneWay(0.0)
    ways = [
        (10, DirectionCounts(100, 0)),
        (20, DirectionCounts(200, 0)),
        (30, DirectionCounts(249, 49)),
        (40, DirectionCounts(250, 50)),
        (50, DirectionCounts(400, 200)),
    ]
    found = {at: judge.judge(each, float(at)) for at, each in ways}
    assert {at for at, text in found.items() if text} == {10, 40}
    assert "of 100 connections with data 100 were heard from one end" in found[10]
    assert found[40] == "both directions of connections are seen again"


@pytest.mark.parametrize(("now", "is_said"), [(9.9, False), (10.0, True)])
def test_a_direction_has_ten_seconds_to_appear(now, is_said):
    assert bool(OneWay(0.0).judge(DirectionCounts(100, 0), now)) is is_said


@pytest.mark.parametrize(
    ("rates", "found"),
    [
        ({}, ""),
        ({"a": 1e6}, ""),
        ({"a": 20_000.0, "b": 10_000.0}, ""),
        ({"a": 20_001.0, "b": 10_000.0}, "a"),
        ({"a": 19_999.0, "b": 10_000.0}, ""),
        ({"a": 9_999.0, "b": 0.0}, ""),
        ({"a": 10_000.0, "b": 0.0}, "a"),
        ({"a": 10_000.0, "b": 10_000.0, "c": 40_000.0}, "c"),
        ({"a": 20_000.0, "b": 20_000.0, "c": 40_000.0}, ""),
    ],
)
def test_a_worker_has_too_much_above_twice_the_mean_of_the_others_at_a_rate_that_matters(rates, found):
    assert busiest(rates) == found


def test_an_uneven_worker_is_said_once_until_another_is_or_all_are_even():
    judge = Balance()
    rates = [(30, 10), (30, 10), (19, 10), (14, 10), (19, 10), (10, 30)]
    found = [judge.judge({"a": a * 1e4, "b": b * 1e4}) for a, b in rates]
    assert [text[:10] for text in found] == ["a gets 75%", "", "", "the worker", "", "b gets 75%"]


@pytest.mark.parametrize(
    ("acks", "unseen", "found"), [(99, 99, None), (100, 10, True), (100, 9, False), (101, 10, False), (1000, 100, True)]
)
def test_a_capture_is_lossy_if_a_tenth_of_enough_acknowledgements_is_of_what_never_passed_by(acks, unseen, found):
    assert is_lossy(Acks(0, 0), Acks(acks, unseen)) is found
    assert is_lossy(Acks(500, 400), Acks(500 + acks, 400 + unseen)) is found


def test_capture_loss_is_said_when_it_begins_and_when_it_is_over():
    judge = Unseen(0.0)
    counts = [(10, Acks(200, 0)), (20, Acks(400, 30)), (30, Acks(600, 60)), (40, Acks(650, 60)), (50, Acks(900, 61))]
    said = {now: judge.judge(acks, now) for now, acks in counts}
    assert [now for now, text in said.items() if text] == [20, 50]
    assert "30 of 200 TCP acknowledgements" in said[20] and judge.hint is None


@pytest.mark.parametrize(
    ("packets", "refused", "found"),
    [(99, 99, None), (100, 100, True), (100, 99, False), (101, 101, True), (100, 0, False)],
)
def test_a_capture_is_blind_if_all_of_enough_packets_are_refused(packets, refused, found):
    assert reads_nothing(Looks(0, 0), Looks(packets, refused)) is found
    assert reads_nothing(Looks(500, 3), Looks(500 + packets, 3 + refused)) is found


def test_blindness_is_said_when_it_begins_and_when_it_is_over():
    judge = Blind(0.0)
    looks = [(10, Looks(200, 0)), (20, Looks(400, 200)), (30, Looks(600, 400)), (40, Looks(650, 450))]
    said = {now: judge.judge(each, now) for now, each in [*looks, (50, Looks(900, 600))]}
    assert [now for now, text in said.items() if text] == [20, 50]
    assert "all 200 packets were refused" in said[20] and judge.hint is None
