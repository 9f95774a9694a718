"""The packet clock: it never runs backwards between restarts, and one odd timestamp neither leaps it nor freezes it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor import clock as module
from sensor.clock import JUMP, LOOK, MOST_CLOCKS, SECOND, PacketClock, format_duration, parse_duration, rfc3339

HOUR = 3600 * SECOND
START = 100 * 365 * 24 * HOUR


def run(ts, sizes=(10**9,), **how):
    """The clock at each row, the restarts, and the clock, with `ts` given in batches of those sizes in turn."""
    clock, now, restarts, held, at, turn = PacketClock(**how), [], [], [], 0, 0
    while at < len(ts):
        size = sizes[turn % len(sizes)]
        batch = [*held, *ts[at : at + size]]
        at, turn = at + size, turn + 1
        seen, again = clock.advance(np.array(batch, np.int64), final=at >= len(ts))
        now += seen.tolist()
        restarts += again.tolist()
        held = batch[len(seen) :]
        assert len(held) <= LOOK
    assert not held
    return now, restarts, clock


def clock_of(*ts, **how):
    """The clock at each row; times are given, and told, since `START`."""
    now, restarts, clock = run([START + t for t in ts], **how)
    return [each - START for each in now], [at for at, again in enumerate(restarts) if again], clock.counters


def counted(regressions=0, outliers=0, jumps=0):
    return {"clock_regressions": regressions, "clock_outliers": outliers, "clock_jumps": jumps}


def test_time_in_order_is_the_clock():
    assert clock_of(1, 2, 2, 9) == ([1, 2, 2, 9], [], counted())


def test_an_earlier_timestamp_leaves_the_clock_where_it_is_and_is_counted():
    assert clock_of(10, 20, 15, 21) == ([10, 20, 20, 21], [], counted(regressions=1))


@pytest.mark.parametrize("away", [JUMP + 1, -JUMP - 1, 80 * 365 * 24 * HOUR, -80 * 365 * 24 * HOUR])
def test_one_timestamp_far_away_is_an_outlier(away):
    assert clock_of(0, away, 5) == ([0, 0, 5], [], counted(outliers=1))


def test_a_jump_on_the_line_is_no_outlier():
    assert clock_of(0, JUMP, 1)[0] == [0, JUMP, JUMP]


def test_a_gap_that_the_next_packet_confirms_is_believed_at_once():
    assert clock_of(0, 5 * JUMP, 5 * JUMP + 1) == ([0, 5 * JUMP, 5 * JUMP + 1], [], counted(jumps=1))


def test_packets_each_hours_after_the_one_before_are_believed():
    ts = [2 * HOUR * n for n in range(40)]
    assert clock_of(*ts) == (ts, [], counted(jumps=39))


def test_one_timestamp_in_the_future_among_packets_hours_apart_is_an_outlier():
    ts = [0, 2 * HOUR, 9000 * HOUR, 4 * HOUR, 6 * HOUR]
    assert clock_of(*ts) == ([0, 2 * HOUR, 2 * HOUR, 4 * HOUR, 6 * HOUR], [], counted(outliers=1, jumps=3))


def test_a_step_back_that_packets_hours_apart_go_on_from_is_a_restart():
    ts = [0, HOUR, -90 * HOUR, -88 * HOUR, -86 * HOUR]
    assert clock_of(*ts) == (ts, [2], counted(jumps=3))


def test_a_step_back_that_a_further_one_follows_is_an_outlier():
    assert clock_of(0, -2 * HOUR, -9 * HOUR, -9 * HOUR + 1)[:2] == ([0, 0, -9 * HOUR, -9 * HOUR + 1], [2])


def test_time_passes_without_packets_and_never_backwards():
    clock = PacketClock()
    assert clock.pass_time(100) == 100
    assert clock.pass_time(50) == 100
    now, _ = clock.advance(np.array([70, 130]))
    assert now.tolist() == [100, 130]
    assert clock.counters["clock_regressions"] == 1


def test_a_leap_back_that_the_next_packet_confirms_is_a_restart():
    assert clock_of(5 * JUMP, 7, 8)[:2] == ([5 * JUMP, 7, 8], [1])


def test_a_last_packet_far_ahead_is_believed_at_the_end_of_input_and_one_far_behind_is_not():
    assert clock_of(0, 5 * JUMP) == ([0, 5 * JUMP], [], counted(jumps=1))
    assert clock_of(5 * JUMP, 0) == ([5 * JUMP, 5 * JUMP], [], counted(outliers=1))


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_time_of_zero_is_none_and_the_clock_begins_at_the_first_there_is(size):
    now, restarts, clock = run([0, 0, START, 0, 0, START + 5, 0, START + 9 * HOUR, 0, START + 9 * HOUR, 0], (size,))
    then = START + 9 * HOUR
    assert now == [START] * 5 + [START + 5] * 2 + [then] * 4
    assert not any(restarts)
    assert clock.counters == counted(outliers=7, jumps=1)


@pytest.mark.parametrize("zeros", [1, LOOK - 1, LOOK, 3 * LOOK])
@pytest.mark.parametrize("size", [1, 77, 10**9])
def test_an_input_without_any_time_is_at_zero(zeros, size):
    assert run([0] * zeros, (size,))[0] == [0] * zeros


def bursts(ahead, of=3, turns=20, gap=SECOND):
    """Packets by two clocks in turn, so many each, the second one ahead; and their true times."""
    rows = [(n * gap // of + n // of % 2 * ahead, n * gap // of) for n in range(2 * of * turns)]
    return [START + stamped for stamped, _ in rows], [START + true for _, true in rows]


@pytest.mark.parametrize("ahead", [JUMP + SECOND * 60, -JUMP - SECOND * 60, 9 * HOUR, -9 * HOUR, 10**5 * HOUR])
@pytest.mark.parametrize("of", [2, 3, 10])
def test_two_clocks_in_turn_are_taken_as_one(ahead, of):
    stamped, true = bursts(ahead, of)
    now, restarts, clock = run(stamped)
    assert not any(restarts)
    assert max(abs(a - b) for a, b in zip(now, true, strict=True)) <= SECOND
    [told] = clock.ahead
    assert abs(told - ahead) <= SECOND
    assert clock.counters["clock_jumps"] == 0


@pytest.mark.parametrize("ahead", [JUMP - SECOND * 60, -JUMP + SECOND * 60])
def test_two_clocks_that_differ_by_less_are_one_and_nothing_restarts(ahead):
    now, restarts, clock = run(bursts(ahead)[0])
    assert not any(restarts)
    assert now == sorted(now)
    assert clock.ahead == []


def test_two_clocks_that_go_on_after_a_gap_restart_nothing():
    first, _ = bursts(9 * HOUR)
    now, restarts, _ = run([*first, *(each + 5 * HOUR for each in first)])
    assert not any(restarts)
    assert now == sorted(now)


def test_more_clocks_than_are_told_apart_are_bounded():
    ts = [START + n % 40 * 50 * HOUR + n // 40 * SECOND for n in range(4000)]
    now, _, clock = run(ts)
    assert len(now) == len(ts)
    assert len(clock.ahead) <= MOST_CLOCKS


@pytest.mark.parametrize(("away", "expected"), [(0, True), (JUMP, True), (JUMP + 1, False), (-JUMP - 1, False)])
@pytest.mark.parametrize("step", [9 * HOUR, -9 * HOUR])
def test_live_the_systems_clock_decides_on_a_packet_that_none_follows(monkeypatch, away, expected, step):
    monkeypatch.setattr(module, "now_ns", lambda: START + step + away)
    clock = PacketClock(is_live=True)
    clock.advance(np.array([START]))
    now, restarts = clock.advance(np.array([START + step]))
    assert now.tolist() == [START + step if expected else START]
    assert restarts.tolist() == [expected and step < 0]


def test_live_a_clock_that_was_set_back_is_followed_though_it_had_passed_without_packets(monkeypatch):
    monkeypatch.setattr(module, "now_ns", lambda: START + HOUR // 2)
    clock = PacketClock(is_live=True)
    clock.advance(np.array([START]))
    clock.pass_time(START + 5 * HOUR)
    now, restarts = clock.advance(np.array([START + HOUR // 2]))
    assert (now.tolist(), restarts.tolist()) == ([START + HOUR // 2], [True])


times = st.lists(
    st.one_of(
        st.just(0),
        st.integers(1, 40).map(lambda t: START + t * (JUMP // 3)),
        st.integers(1, 40).map(lambda t: START + 90 * JUMP + t * SECOND),
    ),
    max_size=30,
)


@settings(derandomize=True, max_examples=400, deadline=None)
@given(times, st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_the_clock_does_not_depend_on_the_batches(ts, sizes):
    (now, restarts, clock), (again, others, other) = run(ts, sizes), run(ts)
    assert (now, restarts, clock.counters, clock.ahead) == (again, others, other.counters, other.ahead)


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 90), st.sampled_from([0, -5, 7])), max_size=12), st.integers(1, 200))
def test_nor_where_much_lies_between_times_that_jump(spans, size):
    ts = [START + away * HOUR + n for length, away in spans for n in range(length)]
    (now, restarts, clock), (again, others, other) = run(ts, (size,)), run(ts)
    assert (now, restarts, clock.counters) == (again, others, other.counters)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=30))
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
