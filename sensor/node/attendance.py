"""Attendance: which workers go, come back, or are refused, as their manager says it: not more than can be read."""

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from sensor.bus.outbox import Rate
from sensor.clock import elapsed_s
from sensor.words import printable

T = TypeVar("T")

_REMEMBERED = 1024  # names and texts, the oldest out first
_PER_SECOND, _BURST = 0.1, 10.0
"""Lines about one worker: one that flaps does not fill the log."""
_AGAIN_S = 60.0  # before the same is said again of whoever is refused


class Attendance:
    """Says what is new of each worker; `deadline_s` is how long epochs wait for one that is gone."""

    def __init__(self, deadline_s: float, clock: Callable[[], float] = elapsed_s) -> None:
        self._deadline_s, self._clock = deadline_s, clock
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._rates: OrderedDict[str, Rate] = OrderedDict()
        self._told: OrderedDict[str, float] = OrderedDict()
        self.unsaid = 0
        """Lines that were not said, as there were too many of one worker."""

    def gone(self, name: str) -> list[str]:
        """The connection of a worker is gone, and not all that it has is here."""
        _put(self._gone, name, None)
        then = f"after {self._deadline_s:.0f} s epochs go on without it"
        return self._limited(name, f"{name} has closed its connection, or was cut off: {then}")

    def came(self, name: str) -> list[str]:
        """A worker has connected."""
        if name not in self._gone:
            return []
        del self._gone[name]
        return self._limited(name, f"{name} is back")

    def refused(self, name: str, whence: str, reason: str) -> list[str]:
        """A worker was let in no further, for a reason."""
        where = "of this host" if whence == "unix" else f"from {whence}"
        return self.once(name, f"the worker {name}, {where}, is refused: {printable(reason)}")

    def once(self, name: str, line: str) -> list[str]:
        """The same of a worker again only after a while."""
        now = self._clock()
        if now - self._told.get(line, -_AGAIN_S) < _AGAIN_S:
            return []
        _put(self._told, line, now)
        return self._limited(name, line)

    def _limited(self, name: str, line: str) -> list[str]:
        rate = self._rates.get(name) or Rate(_PER_SECOND, _BURST, self._clock)
        _put(self._rates, name, rate)
        if rate.spend(0.0):
            self.unsaid += 1
            return []
        rate.spend(1.0)
        return [line]


def _put(known: OrderedDict[str, T], name: str, value: T) -> None:
    known[name] = value
    known.move_to_end(name)
    if len(known) > _REMEMBERED:
        known.popitem(last=False)
