"""The packet clock: it never runs backwards between restarts, and one odd timestamp neither leaps it nor freezes it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.clock import JUMP, SECOND, PacketClock, format_duration, parse_duration, rfc3339


def run(ts, sizes=(10**9,)):
    """The clock at each row, the restarts, and the counters, with `ts` given in batches of those sizes in turn."""
    clock, now, restarts, held, at, turn = PacketClock(), [], [], [], 0, 0
    while at < len(ts):
        size = sizes[turn % len(sizes)]
        batch = [*held, *ts[at : at + size]]
        at, turn = at + size, turn + 1
        seen, again = clock.advance(np.array(batch, np.int64), final=at >= len(ts))
        now += seen.tolist()
        restarts += again.tolist()
        held = batch[len(seen) :]
    assert not held
    return now, restarts, clock.counters


def test_time_in_order_is_the_clock():
    assert run([1, 2, 2, 9]) == (
        [1, 2, 2, 9],
        [False] * 4,
        {"clock_regressions": 0, "clock_outliers": 0, "clock_jumps": 0},
    )


def test_an_earlier_timestamp_leaves_the_clock_where_it_is_and_is_counted():
    now, _, counters = run([10, 20, 15, 21])
    assert now == [10, 20, 20, 21]
    assert counters["clock_regressions"] == 1


@pytest.mark.parametrize("away", [JUMP + 1, -JUMP - 1, 80 * 365 * 86400 * SECOND])
def test_one_timestamp_far_away_is_an_outlier(away):
    start = 100 * 365 * 86400 * SECOND
    now, restarts, counters = run([start, start + away, start + 5])
    assert now == [start, start, start + 5]
    assert not any(restarts)
    assert counters["clock_outliers"] == 1


def test_a_jump_on_the_line_is_no_outlier():
    assert run([0, JUMP, 1])[0] == [0, JUMP, JUMP]


def test_a_gap_that_the_next_packet_confirms_is_believed_at_once():
    now, restarts, counters = run([0, 5 * JUMP, 5 * JUMP + 1])
    assert now == [0, 5 * JUMP, 5 * JUMP + 1]
    assert not any(restarts)
    assert counters["clock_jumps"] == 1


def test_time_passes_without_packets_and_never_backwards():
    clock = PacketClock()
    assert clock.pass_time(100) == 100
    assert clock.pass_time(50) == 100
    now, _ = clock.advance(np.array([70, 130]))
    assert now.tolist() == [100, 130]
    assert clock.counters["clock_regressions"] == 1


def test_a_leap_back_that_the_next_packet_confirms_is_a_restart():
    now, restarts, _ = run([5 * JUMP, 7, 8])
    assert now == [5 * JUMP, 7, 8]
    assert restarts == [False, True, False]


def test_a_last_packet_far_away_is_believed_at_the_end_of_input():
    assert run([0, 5 * JUMP])[0] == [0, 5 * JUMP]
    assert run([5 * JUMP, 0])[1] == [False, True]


@settings(derandomize=True, max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 4 * JUMP).map(lambda t: t // (JUMP // 3) * (JUMP // 3)), max_size=30),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
)
def test_the_clock_does_not_depend_on_the_batches(ts, sizes):
    assert run(ts, sizes) == run(ts)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2**62), max_size=30))
def test_the_clock_never_runs_backwards_between_restarts(ts):
    now, restarts, _ = run(ts)
    assert len(now) == len(ts)
    assert all(later >= earlier or again for earlier, later, again in zip(now, now[1:], restarts[1:], strict=False))


def test_durations_are_read_and_written():
    assert [parse_duration(text) for text in ("30s", "5m", "1h", "250ms", "1.5s")] == [
        30 * SECOND,
        300 * SECOND,
        3600 * SECOND,
        SECOND // 4,
        3 * SECOND // 2,
    ]
    for text in ("", "5", "m", "-5m", "5 m", "1h30m"):
        with pytest.raises(ValueError, match="not a duration"):
            parse_duration(text)
    assert [format_duration(ns) for ns in (0, 400_000_000, 12 * SECOND, 72 * SECOND, 3660 * SECOND)] == [
        "0.0s",
        "0.4s",
        "12s",
        "1m 12s",
        "1h 1m",
    ]


def test_times_are_rfc_3339_in_utc():
    assert rfc3339(0) == "1970-01-01T00:00:00.000000Z"
    assert rfc3339(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456Z"
    assert rfc3339(-1) == "1969-12-31T23:59:59.999999Z"
