"""Time: int64 nanoseconds since the epoch, UTC. The one module that asks the operating system for it.

Everything else runs on packet time, through `PacketClock`, so that a replay gives the same result every time.
"""

import re
import time
from datetime import UTC, datetime

import numpy as np

from sensor._jit import njit

SECOND = 1_000_000_000

_UNITS = {"ms": SECOND // 1000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": 86400 * SECOND}


def elapsed_s() -> float:
    """A clock that only goes forward, for telling how long a run took."""
    return time.perf_counter()


def now_ns() -> int:
    """The time by the system's clock: what people and certificates go by, and what stamps live packets."""
    return time.time_ns()


def incarnation() -> int:
    """A number that is larger for each later process of a host (ns since the epoch, by the system's clock)."""
    return now_ns()


def parse_duration(text: str) -> int:
    """A duration such as "30s", "5m", "1h" in nanoseconds; ValueError says what is accepted."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write a number and ms, s, m, h or d, such as 30s, 5m, 1h")
    return round(float(match[1]) * _UNITS[match[2]])


def format_duration(ns: int) -> str:
    """A duration for people: two units at most, such as `1m 12s` or `0.4s`."""
    if ns < 10 * SECOND:
        return f"{ns / SECOND:.1f}s"
    minutes, seconds = divmod(round(ns / SECOND), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes}m" if minutes else f"{hours}h"
    if minutes:
        return f"{minutes}m {seconds}s" if seconds else f"{minutes}m"
    return f"{seconds}s"


def rfc3339(ns: int) -> str:
    """A time as RFC 3339 text in UTC with microseconds; years outside 1-9999 are clamped to those."""
    seconds, rest = divmod(int(ns), SECOND)
    seconds = min(max(seconds, -62135596800), 253402300799)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


JUMP = 3600 * SECOND
"""A time further than this from the packet clock, either way, is not believed for itself: others must agree."""
LOOK = 128
"""Packets that are looked ahead at, at most, for those that say whether a time is right."""
MOST_CLOCKS = 16
"""That are told apart in one input."""

_LATEST = 2**62 - 1  # the year 2116; differences of two times fit into 64 bits
_CLOCK = np.dtype([("is_known", "?"), ("last", "i8"), ("ahead", "i8"), ("was_ahead", "i8")], align=True)
"""A clock that packets were stamped by: its last time, by how much it is ahead of the packet clock, and ever was."""

_REGRESSION, _OUTLIER, _JUMP, _DIFFERS, _UNKNOWN = range(5)
_HOLDS, _BELIEVES, _ASKS = range(3)
"""What is done about a time that jumps where no packet follows: wait, believe it, or ask the system's clock."""


@njit
def _is_far(a, b):
    return abs(a - b) > JUMP


@njit
def _within(t):
    return min(max(t, 0), _LATEST)


@njit
def _nearest(clocks, t):
    """The clock that goes on with this time; -1: none does."""
    best, away = -1, JUMP + 1
    for i in range(clocks.shape[0]):
        if clocks[i]["is_known"] and abs(t - clocks[i]["last"]) < away:
            best, away = i, abs(t - clocks[i]["last"])
    return best


@njit
def _likeliest(clocks, t, now, which):
    """The clock by which this time, with which none goes on, is the least ahead; the one given, if it is by none."""
    best, least = which, _LATEST
    for i in range(clocks.shape[0]):
        ahead = t - clocks[i]["ahead"] - now
        if clocks[i]["is_known"] and -JUMP <= ahead < least:
            best, least = i, ahead
    return best


@njit
def _is_another(ts, row, clocks):
    """Whether a time that jumps is of another clock: within sight, known ones go on, and so does this one."""
    t = before = _within(ts[row])
    known, own = 0, 0
    for i in range(row + 1, min(ts.shape[0], row + 1 + LOOK)):
        then = _within(ts[i])
        if ts[i] == 0:
            continue
        own += not _is_far(then, t)
        if (known > 0 or _is_far(then, before)) and _nearest(clocks, then) >= 0:
            known += 1
        if known >= 2 and own >= 1:
            return True
        before = then
    return False


@njit
def _is_right(ts, row, ahead, now, lone, wall):
    """Whether the clock is to follow a time that jumps: the next packet goes on from it, and not from the clock."""
    then = _within(_within(ts[row]) - ahead)
    for i in range(row + 1, min(ts.shape[0], row + 1 + LOOK)):
        if ts[i] != 0:
            after = _within(_within(ts[i]) - ahead)
            return after >= then - JUMP and (after > now + JUMP if then > now else after < now - JUMP)
    return not _is_far(then, wall) if lone == _ASKS else then > now


@njit
def _judge(ts, row, clocks, ahead, now, lone, wall):
    """What a time is that is far from the packet clock, and with which no clock goes on."""
    if lone != _ASKS:
        if _is_another(ts, row, clocks):
            return _DIFFERS
        if lone == _HOLDS and row + LOOK >= ts.shape[0]:
            return _UNKNOWN
    return _JUMP if _is_right(ts, row, ahead, now, lone, wall) else _OUTLIER


@njit
def _is_alone(clocks, which):
    """Whether there is no other clock."""
    others = 0
    for i in range(clocks.shape[0]):
        others += clocks[i]["is_known"] and i != which
    return others == 0


@njit
def _free(clocks):
    """The first clock that is not known, or the last of all."""
    for i in range(clocks.shape[0]):
        if not clocks[i]["is_known"]:
            return i
    return clocks.shape[0] - 1


@njit
def _set_ahead(clock, t, now):
    """Let a clock's time be the packet clock's from here on."""
    clock["ahead"] = t - now
    if _is_far(t, now):
        clock["was_ahead"] = t - now


@njit
def _forget(clocks):
    for i in range(clocks.shape[0]):
        clocks[i]["is_known"], clocks[i]["ahead"] = False, 0


@njit
def _advance(ts, now, which, clocks, lone, wall, out, restarts, counts):
    """Fill `out` with the packet clock at each row; return how many are settled, the packet clock, and whose it is."""
    is_alone = _is_alone(clocks, which)
    for i in range(ts.shape[0]):
        if is_alone and 0 < ts[i] <= _LATEST and not _is_far(ts[i] - clocks[which]["ahead"], now):  # as nearly always
            clocks[which]["is_known"], clocks[which]["last"] = True, ts[i]
            if ts[i] - clocks[which]["ahead"] < now:
                counts[_REGRESSION] += 1
            else:
                now = ts[i] - clocks[which]["ahead"]
            out[i] = now
            continue
        out[i] = now
        if ts[i] == 0:
            counts[_OUTLIER] += 1
            continue
        t = _within(ts[i])
        of = which
        if not is_alone or (lone != _ASKS and _is_far(t, clocks[which]["last"])):
            of = _nearest(clocks, t)
        if of >= 0 and _is_far(t - clocks[of]["ahead"], now) and lone != _ASKS:
            _set_ahead(clocks[of], t, now)
        elif of < 0 or _is_far(t - clocks[of]["ahead"], now):
            of = _likeliest(clocks, t, now, which)
            ahead = clocks[of]["ahead"]
            if _is_far(t - ahead, now):
                verdict = _judge(ts, i, clocks, ahead, now, lone, wall)
                if verdict == _UNKNOWN:
                    return i, now, which
                if verdict == _OUTLIER:
                    counts[_OUTLIER] += 1
                    continue
                if verdict == _DIFFERS:
                    of, is_alone = _free(clocks), False
                    _set_ahead(clocks[of], t, now)
                else:
                    counts[_JUMP] += 1
                    restarts[i] = t - ahead < now
                    if restarts[i]:
                        _forget(clocks)
                        is_alone = True
                    now = _within(t - clocks[of]["ahead"])
        which = of
        clocks[of]["is_known"], clocks[of]["last"] = True, t
        then = _within(t - clocks[of]["ahead"])
        counts[_REGRESSION] += then < now
        now = max(now, then)
        out[i] = now
    return ts.shape[0], now, which


class PacketClock:
    """Network time from packet timestamps: it never runs backwards between two restarts.

    An earlier timestamp leaves the clock where it is (`clock_regressions`). One more than `JUMP` away is ignored
    (`clock_outliers`) unless the next packet goes on from it: then it is a gap, or two captures put together
    (`clock_jumps`). If that leads backwards, `advance` marks the row as a restart: what was open before is over. A last
    packet that jumps forward is believed, one that jumps backward is not. A time of exactly 0 is none, and ignored.

    Where packets go on from both times, in turn, they were stamped by several clocks, as interfaces may have (`ahead`):
    what comes from another is taken at the time of those before it.

    `is_live`: the system has one clock for all, and is asked about a packet that jumps and that none follows yet.
    """

    def __init__(self, *, is_live: bool = False) -> None:
        self.now: int | None = None
        self._is_live = is_live
        self._counts = np.zeros(3, np.int64)
        self._clocks, self._which = np.zeros(MOST_CLOCKS, _CLOCK), 0

    @property
    def counters(self) -> dict[str, int]:
        """How often the timestamps were not simply in order, by name."""
        return dict(zip(("clock_regressions", "clock_outliers", "clock_jumps"), self._counts.tolist(), strict=True))

    @property
    def ahead(self) -> list[int]:
        """By how much (ns) other clocks that packets were stamped by are, or were, ahead of the first."""
        found: list[int] = self._clocks["was_ahead"][self._clocks["was_ahead"] != 0].tolist()
        return found

    def pass_time(self, ts: int) -> int:
        """No packet from before `ts` will come: the clock is there, if it was not yet beyond. Returns where it is."""
        self.now = ts if self.now is None else max(self.now, ts)
        return self.now

    def advance(self, ts: np.ndarray, *, final: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The clock at each row of `ts` (int64), and which rows are restarts (bool).

        Both may be shorter than `ts`, by `LOOK` rows at most: whether a row that jumps is to be believed depends on
        those after it, so it must be given again, first, with the next ones. `final` says that there are none.
        """
        now, restarts = np.empty(len(ts), np.int64), np.zeros(len(ts), np.bool_)
        if self.now is None:
            self._begin(ts, final=final)
        if self.now is None:
            return now[:0], restarts[:0]
        lone, wall = (_ASKS, now_ns()) if self._is_live else (_BELIEVES if final else _HOLDS, 0)
        about = self._which, self._clocks, lone, wall
        settled, last, which = _advance(ts, self.now, *about, now, restarts, self._counts)
        self.now, self._which = int(last), int(which)
        return now[:settled], restarts[:settled]

    def _begin(self, ts: np.ndarray, *, final: bool) -> None:
        """Begin at the first time there is; of many packets without any, at 0; and wait, if it may be yet to come."""
        timed = np.flatnonzero(ts[:LOOK])
        if len(timed):
            self.now = int(_within(ts[timed[0]]))
        elif len(ts) >= LOOK or (len(ts) and (final or self._is_live)):
            self.now = 0
