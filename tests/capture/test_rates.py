"""Rates are the growth of counters in a second, and none where counters began anew."""

import pytest

from sensor.capture.live.rates import Rates, rates

BEFORE = {"rx_packets": 100, "rx_bytes": 5000, "rx_dropped": 3, "rx_missed_errors": 7}


def after(**grown):
    return {name: count + grown.get(name, 0) for name, count in BEFORE.items()}


def test_rates_are_growth_over_time():
    now = after(rx_packets=50, rx_bytes=4000, rx_dropped=1, rx_missed_errors=4)
    assert rates(BEFORE, now, 2.0) == Rates(2.0, 25.0, 16000.0, 2.5)


def test_where_nothing_passes_all_rates_are_0():
    assert rates(BEFORE, after(), 0.5) == Rates(0.5, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("name", BEFORE)
def test_a_counter_that_began_anew_leaves_no_rates(name):
    assert rates(BEFORE, after(**{name: -1}), 1.0) is None
    assert rates(BEFORE, after(**{name: 0}), 1.0) is not None


def test_an_interface_that_was_not_there_before_has_no_rates():
    assert rates({}, BEFORE, 1.0) is None
