"""Time: int64 nanoseconds since the epoch, UTC. Only this module asks the operating system for the time.

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
    """Return the seconds of a monotonic clock, for measuring how long a run took."""
    return time.perf_counter()


def now_ns() -> int:
    """Return the system clock's time (ns): used for people, certificates and the stamps of live packets."""
    return time.time_ns()


def incarnation() -> int:
    """Return a number that grows with each later process of a host (ns since the epoch, by the system's clock)."""
    return now_ns()


def parse_duration(text: str) -> int:
    """Return a duration such as "30s", "5m", "1h" in nanoseconds; the ValueError lists the accepted forms."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write a number and ms, s, m, h or d, such as 30s, 5m, 1h")
    return round(float(match[1]) * _UNITS[match[2]])


def format_duration(ns: int) -> str:
    """Format a duration for people with two units at most, such as `1m 12s` or `0.4s`."""
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
    """Format a time as RFC 3339 text in UTC with microseconds; clamp years to 1-9999."""
    seconds, rest = divmod(int(ns), SECOND)
    seconds = min(max(seconds, -62135596800), 253402300799)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


JUMP = 3600 * SECOND
"""The distance (ns) from the packet clock, either way, beyond which a time needs other packets to confirm it."""
LOOK = 128
"""The number of following packets examined, at most, to judge a time."""
MOST_CLOCKS = 16
"""The number of clocks distinguished in one input, at most."""

_LATEST = 2**62 - 1  # the year 2116; differences of two times fit into 64 bits
_CLOCK = np.dtype([("is_known", "?"), ("last", "i8"), ("ahead", "i8"), ("was_ahead", "i8")], align=True)
"""A clock that stamped packets: last time, lead over the packet clock, and its last lead of more than `JUMP`."""

_REGRESSION, _OUTLIER, _JUMP, _DIFFERS, _UNKNOWN = range(5)
_HOLDS, _BELIEVES, _ASKS = range(3)
"""Ways to judge a time that jumps while no packet follows: wait, believe it, or ask the system's clock."""


@njit
def _is_far(a, b):
    return abs(a - b) > JUMP


@njit
def _within(t):
    return min(max(t, 0), _LATEST)


@njit
def _nearest(clocks, t):
    """Return the clock (`_CLOCK` rows) whose last time is nearest to `t`, within `JUMP`; -1: none."""
    best, away = -1, JUMP + 1
    for i in range(clocks.shape[0]):
        if clocks[i]["is_known"] and abs(t - clocks[i]["last"]) < away:
            best, away = i, abs(t - clocks[i]["last"])
    return best


@njit
def _likeliest(clocks, t, now, which):
    """Return the clock under which `t`, near no clock's last time, leads least; `which` if no clock qualifies.

    clocks: `_CLOCK` rows.
    """
    best, least = which, _LATEST
    for i in range(clocks.shape[0]):
        ahead = t - clocks[i]["ahead"] - now
        if clocks[i]["is_known"] and -JUMP <= ahead < least:
            best, least = i, ahead
    return best


@njit
def _is_another(ts, row, clocks):
    """True if a time that jumps belongs to another clock: in the next `LOOK` rows both known clocks and it go on.

    ts: int64, ns; clocks: `_CLOCK` rows.
    """
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
    """True if the clock is to follow a time that jumps: the next packet continues from it, and not from the clock.

    ts: int64, ns; ahead, now, wall: ns.
    """
    then = _within(_within(ts[row]) - ahead)
    for i in range(row + 1, min(ts.shape[0], row + 1 + LOOK)):
        if ts[i] != 0:
            after = _within(_within(ts[i]) - ahead)
            return after >= then - JUMP and (after > now + JUMP if then > now else after < now - JUMP)
    return not _is_far(then, wall) if lone == _ASKS else then > now


@njit
def _judge(ts, row, clocks, ahead, now, lone, wall):
    """Classify a time that is far from the packet clock and near no clock. ts: int64, ns; clocks: `_CLOCK` rows."""
    if lone != _ASKS:
        if _is_another(ts, row, clocks):
            return _DIFFERS
        if lone == _HOLDS and row + LOOK >= ts.shape[0]:
            return _UNKNOWN
    return _JUMP if _is_right(ts, row, ahead, now, lone, wall) else _OUTLIER


@njit
def _is_alone(clocks, which):
    """True if no clock but `which` is known. clocks: `_CLOCK` rows."""
    others = 0
    for i in range(clocks.shape[0]):
        others += clocks[i]["is_known"] and i != which
    return others == 0


@njit
def _free(clocks):
    """Return the first unused clock, else the last one. clocks: `_CLOCK` rows."""
    for i in range(clocks.shape[0]):
        if not clocks[i]["is_known"]:
            return i
    return clocks.shape[0] - 1


@njit
def _set_ahead(clock, t, now):
    """Align a clock (a `_CLOCK` row): its time `t` is the packet clock's `now` from here on."""
    clock["ahead"] = t - now
    if _is_far(t, now):
        clock["was_ahead"] = t - now


@njit
def _forget(clocks):
    for i in range(clocks.shape[0]):
        clocks[i]["is_known"], clocks[i]["ahead"] = False, 0


@njit
def _advance(ts, now, which, clocks, lone, wall, out, restarts, counts):
    """Fill `out` with the packet clock at each row; return the rows settled, the packet clock, and its clock.

    ts, out: int64, ns; clocks: `_CLOCK` rows; restarts: bool; counts: int64, shape (3,).
    """
    is_alone = _is_alone(clocks, which)
    for i in range(ts.shape[0]):
        if is_alone and 0 < ts[i] <= _LATEST and not _is_far(ts[i] - clocks[which]["ahead"], now):  # the usual case
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
    """Network time from packet timestamps; it never runs backwards between two restarts.

    An earlier timestamp leaves the clock unchanged (`clock_regressions`). One more than `JUMP` away is ignored
    (`clock_outliers`) unless the next packet continues from it: then there is a gap, or two captures were joined
    (`clock_jumps`). If the jump leads backwards, `advance` marks the row as a restart: earlier state is over. A last
    packet that jumps forward is believed, one that jumps backward is not. A time of exactly 0 means none and is
    ignored.

    Where packets alternate between two times, several clocks stamped them, such as those of several interfaces
    (`ahead`): a packet stamped by another clock gets the time of the packets before it.

    is_live: the system has one clock for all; a jump that no packet follows yet is compared with it.
    """

    def __init__(self, *, is_live: bool = False) -> None:
        self.now: int | None = None
        self._is_live = is_live
        self._counts = np.zeros(3, np.int64)
        self._clocks, self._which = np.zeros(MOST_CLOCKS, _CLOCK), 0

    @property
    def counters(self) -> dict[str, int]:
        """Counts of timestamps that were out of order, by name."""
        return dict(zip(("clock_regressions", "clock_outliers", "clock_jumps"), self._counts.tolist(), strict=True))

    @property
    def ahead(self) -> list[int]:
        """The leads (ns) over the first clock of the other clocks that stamped packets, past and present."""
        found: list[int] = self._clocks["was_ahead"][self._clocks["was_ahead"] != 0].tolist()
        return found

    def pass_time(self, ts: int) -> int:
        """Move the clock on to `ts`, as no earlier packet will come; return the clock, which may already be later."""
        self.now = ts if self.now is None else max(self.now, ts)
        return self.now

    def advance(self, ts: np.ndarray, *, final: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return the clock at each row of `ts` (int64), and a mask of the rows that are restarts (bool).

        Both may be shorter than `ts`, by `LOOK` rows at most: a row that jumps is judged by the rows after it. Pass the
        missing rows again, first, with the next ones. `final`: no more rows will come.
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
        """Start at the first nonzero time; start at 0 if many packets have none; wait if a time may still come."""
        timed = np.flatnonzero(ts[:LOOK])
        if len(timed):
            self.now = int(_within(ts[timed[0]]))
        elif len(ts) >= LOOK or (len(ts) and (final or self._is_live)):
            self.now = 0
