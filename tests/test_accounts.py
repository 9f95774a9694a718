"""The accounts: a record for each second that is over, with totals, and rates over the time that really passed."""

import msgspec
import pytest

from sensor.cluster.messages import Counts
from sensor.node.rates import Accounts, Totals, totals
from sensor.outputs.stats import Tally

NAMES = "kernel_packets", "packets_delivered", "ring_drops", "nic_drops", "bytes", "flows", "observations", "alerts"
TIME_NS = 1_700_000_000_000_000_000


def counted(packets, **more):
    return Totals(dict.fromkeys(NAMES, 0) | {"kernel_packets": packets} | more)


@pytest.mark.parametrize(("now", "due"), [(100.999, False), (101.0, True), (101.001, True)])
def test_a_record_is_due_when_a_second_is_over(now, due):
    assert Accounts(100.0).is_due(now) is due


def test_a_rate_is_of_the_time_that_passed_and_a_total_of_all():
    accounts = Accounts(100.0)
    first = accounts.close(counted(100), 101.0, TIME_NS)
    second = accounts.close(counted(350, ring_drops=50), 101.5, TIME_NS)
    assert (first.kernel_packets, first.seconds, first.time) == (Tally(100, 100.0), 1.0, "2023-11-14T22:13:20.000000Z")
    assert (second.kernel_packets, second.ring_drops, second.seconds) == (Tally(350, 500.0), Tally(50, 100.0), 0.5)


def test_a_pause_of_several_seconds_makes_one_record():
    accounts, records = Accounts(0.0), []
    for now, packets in [(0.5, 5), (1.0, 10), (1.5, 15), (6.0, 60), (6.5, 65), (7.0, 70)]:
        if accounts.is_due(now):
            records.append(accounts.close(counted(packets), now, TIME_NS))
    assert [(each.seconds, each.kernel_packets) for each in records] == [
        (1.0, Tally(10, 10.0)),
        (5.0, Tally(60, 10.0)),
        (1.0, Tally(70, 10.0)),
    ]


def test_no_time_at_all_and_a_total_that_fell_have_no_rate():
    accounts = Accounts(5.0)
    assert accounts.close(counted(7), 5.0, TIME_NS).kernel_packets == Tally(7, 0.0)
    assert accounts.close(counted(3), 6.0, TIME_NS).kernel_packets == Tally(3, 0.0)


def test_each_kind_of_loss_is_under_its_own_name():
    counters = {"kernel_packets": 100, "packets_delivered": 90, "ring_drops": 10, "nic_drops": 3, "epochs_unsent": 1}
    counters |= {"sumstats_observations_evicted": 4, "sumstats_keys_evicted": 2, "other": 7}
    counts = Counts(refused={"not_ip": 5}, flows=6, observations=8, bytes=9000, counters=counters)
    record = Accounts(0.0).close(totals(counts, 2, {"alerts_lost": 11}), 2.0, TIME_NS, ["odd"])
    found = {name: getattr(record, name).total for name in NAMES}
    assert found == dict(zip(NAMES, (100, 90, 10, 3, 9000, 6, 8, 2), strict=True))
    assert record.refused == {"not_ip": Tally(5, 2.5)}
    assert {name: each.total for name, each in record.queue_drops.items()} == {
        "epochs_unsent": 1,
        "sumstats_observations_evicted": 4,
        "sumstats_keys_evicted": 2,
        "alerts_lost": 11,
    }
    assert record.hints == ["odd"]
    assert msgspec.json.decode(msgspec.json.encode(record))["event_type"] == "stats"


def test_a_reason_that_is_new_has_a_rate_from_the_start():
    accounts = Accounts(0.0)
    accounts.close(Totals(counted(1).single), 1.0, TIME_NS)
    record = accounts.close(Totals(counted(1).single, {"truncated_ip": 6}), 3.0, TIME_NS)
    assert record.refused == {"truncated_ip": Tally(6, 3.0)}
