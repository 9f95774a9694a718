"""Repeats are folded into the first alert for an hour; other keys, later times and other detections are not."""

import pytest

from sensor.alerts import Alert, Incidents, alert_id
from sensor.clock import SECOND

HOUR = 3600 * SECOND


def test_an_alert_of_before_1970_is_no_repeat_of_none():
    incidents = Incidents()
    assert incidents.open("address_scan", Alert("scan", same_as=("10.0.0.1", 22)), "10.0.0.1", -HOUR)


def test_a_repeat_is_folded_until_the_hour_is_over():
    incidents = Incidents()
    alert = Alert("scan", same_as=("10.0.0.1", 22))
    assert incidents.open("address_scan", alert, "10.0.0.1", 0)
    assert not incidents.open("address_scan", alert, "10.0.0.1", HOUR)  # an epoch's end: all in it was before
    assert incidents.open("address_scan", alert, "10.0.0.1", HOUR + 1)
    assert incidents.suppressed == 1


def test_another_key_or_another_detection_is_not_a_repeat():
    incidents = Incidents()
    assert incidents.open("address_scan", Alert("scan", same_as=22), "10.0.0.1", 0)
    assert incidents.open("address_scan", Alert("scan", same_as=23), "10.0.0.1", 0)
    assert incidents.open("port_scan", Alert("scan", same_as=22), "10.0.0.1", 0)


def test_an_alert_that_names_no_incident_is_never_a_repeat():
    incidents = Incidents()
    assert incidents.open("own", Alert("again"), None, 0)
    assert incidents.open("own", Alert("again"), None, 0)


def test_what_an_alert_covers_is_folded_for_its_source_only():
    incidents = Incidents()
    assert incidents.open("random_scan", Alert("scan", same_as=1, covers=("port_scan",)), "10.0.0.1", 0)
    assert not incidents.open("port_scan", Alert("scan", same_as=2), "10.0.0.1", 1)
    assert incidents.open("port_scan", Alert("scan", same_as=3), "10.0.0.2", 1)
    assert incidents.open("address_scan", Alert("scan", same_as=4), "10.0.0.1", 1)


def folds(incidents, same_as, *, began, now=200):
    return not incidents.open("port_scan", Alert("scan", same_as=same_as), "10.0.0.1", now, began=began)


def test_what_begins_while_an_alert_goes_on_is_a_part_and_what_begins_when_it_rests_is_a_new_target():
    incidents = Incidents(rest=10)
    assert incidents.open("random_scan", Alert("scan", same_as=1, covers=("port_scan",)), "10.0.0.1", 100, began=0)
    assert folds(incidents, 2, began=110, now=150)
    assert folds(incidents, 2, began=161, now=150)  # of what it was a part then it is no new target
    assert folds(incidents, 3, began=160, now=150)  # as the scan went on until 150
    assert not folds(incidents, 4, began=161)
    assert folds(incidents, 4, began=170)
    assert (incidents.parts, incidents.repeats) == ({"port_scan": 2}, {"port_scan": 2})


def test_new_targets_are_told_up_to_a_limit():
    incidents = Incidents(most_targets=2, rest=0)
    assert incidents.open("random_scan", Alert("scan", same_as=1, covers=("port_scan",)), "10.0.0.1", 100, began=0)
    assert [folds(incidents, target, began=101) for target in range(4)] == [False, False, True, True]
    assert incidents.parts == {"port_scan": 2}


def test_the_oldest_incident_is_forgotten_first_and_counted():
    incidents = Incidents(capacity=2)
    for same_as in (1, 2, 3):
        assert incidents.open("d", Alert("scan", same_as=same_as), None, 0)
    assert incidents.forgotten == 1
    assert not incidents.open("d", Alert("scan", same_as=3), None, 1)
    assert incidents.open("d", Alert("scan", same_as=1), None, 1)


@pytest.mark.parametrize(
    "other", [("x", "s", b"k", 0, 0), ("d", "x", b"k", 0, 0), ("d", "s", b"x", 0, 0), ("d", "s", b"k", 1, 0)]
)
def test_an_id_is_the_same_for_the_same_crossing_and_no_other(other):
    assert alert_id("d", "s", b"k", 0, 0) == alert_id("d", "s", b"k", 0, 0)
    assert alert_id(*other) != alert_id("d", "s", b"k", 0, 0)


def test_parts_of_an_id_do_not_run_into_each_other():
    assert alert_id("ab", "c", b"", 0, 0) != alert_id("a", "bc", b"", 0, 0)
