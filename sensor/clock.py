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
"""A timestamp further than this from the packet clock, either way, is believed only if the next packet is not: it must
be this near to that timestamp, and not to the clock."""


@njit
def _advance(ts, now, out, restarts, counts):
    """Fill `out` with the packet clock at each row; return how many rows are settled and the clock after them."""
    last = ts.shape[0] - 1
    for i in range(ts.shape[0]):
        t = ts[i]
        if abs(t - now) <= JUMP:
            if t < now:
                counts[0] += 1
            else:
                now = t
        elif i == last:
            return i, now
        elif abs(ts[i + 1] - t) <= JUMP and abs(ts[i + 1] - now) > JUMP:
            counts[2] += 1
            restarts[i] = t < now
            now = t
        else:
            counts[1] += 1
        out[i] = now
    return ts.shape[0], now


class PacketClock:
    """Network time from packet timestamps: it never runs backwards between two restarts.

    An earlier timestamp leaves the clock where it is (`clock_regressions`). One more than `JUMP` away is ignored
    (`clock_outliers`) unless the next packet agrees with it: then it is a gap, or two captures put together
    (`clock_jumps`). If that leads backwards, `advance` marks the row as a restart: what was open before is over.
    """

    def __init__(self) -> None:
        self.now: int | None = None
        self._counts = np.zeros(3, np.int64)

    @property
    def counters(self) -> dict[str, int]:
        """How often the timestamps were not simply in order, by name."""
        return dict(zip(("clock_regressions", "clock_outliers", "clock_jumps"), self._counts.tolist(), strict=True))

    def pass_time(self, ts: int) -> int:
        """No packet from before `ts` will come: the clock is there, if it was not yet beyond. Returns where it is."""
        self.now = ts if self.now is None else max(self.now, ts)
        return self.now

    def advance(self, ts: np.ndarray, *, final: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The clock at each row of `ts` (int64), and which rows are restarts (bool).

        Both may be one shorter than `ts`: whether a last row that jumps is to be believed depends on the row after
        it, so it must be given again, first, with the next ones. `final` says that there are none, and believes it.
        """
        now, restarts = np.empty(len(ts), np.int64), np.zeros(len(ts), np.bool_)
        if not len(ts):
            return now, restarts
        settled, last = _advance(ts, int(ts[0]) if self.now is None else self.now, now, restarts, self._counts)
        self.now = int(last)
        if final and settled < len(ts):
            self._counts[2] += 1
            now[settled] = ts[settled]
            restarts[settled] = ts[settled] < self.now
            settled, self.now = settled + 1, int(ts[settled])
        return now[:settled], restarts[:settled]
