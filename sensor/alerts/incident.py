"""Incidents: fold repeats and parts of an alert into the alert that was already sent."""

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

from sensor.alerts.alert import Alert
from sensor.clock import SECOND


@dataclass(slots=True)
class Incident:
    """A sent alert into which later repeats and parts are folded."""

    until: int
    """Repeats and parts are folded up to this time (ns of the packet clock)."""
    id: str
    """The id of the alert."""
    targets: int
    """New targets alerted on since."""
    last: int
    """Time (ns) of the latest repeat or part."""


@dataclass
class Incidents:
    """Folds repeats of an alert into the first for `suppress_for` ns; keeps `capacity` incidents, evicts the oldest.

    Alerts that another alert covers are folded into it while it continues: until none of them has come for `rest` ns.
    An alert that begins after that counts as a new target and is sent; at most `most_targets` of them are.
    """

    suppress_for: int = 3600 * SECOND
    capacity: int = 65536
    rest: int = 300 * SECOND
    most_targets: int = 16
    repeats: Counter[str] = field(default_factory=Counter)
    """Number of repeats folded, by detection."""
    parts: Counter[str] = field(default_factory=Counter)
    """Number of alerts folded into an alert that covers them, by detection."""
    forgotten: int = 0
    known: OrderedDict[str, Incident] = field(default_factory=OrderedDict)
    """Incidents by the digest of their subject."""

    @property
    def suppressed(self) -> int:
        """The number of folded alerts."""
        return self.repeats.total() + self.parts.total()

    def open(
        self,
        detection: str,
        alert: Alert,
        src: str | None,
        now: int,
        level: int = 0,
        *,
        began: int | None = None,
        id: str = "",
    ) -> bool:
        """Open incidents for an alert at packet time `now` and for all it covers; return False if it was folded.

        Each level of a threshold series is sent once. began: when the activity was first observed (ns).
        """
        same = None if alert.same_as is None else _same(detection, alert, level)
        covered = _covered(detection, src)
        if same and self._into(same, now) is not None:
            self.repeats[detection] += 1
            self._update(now, covered, *(_covered(name, src) for name in alert.covers))
            return False
        if (into := self._covers(covered, now, began)) is not None:
            self.parts[detection] += 1
            self._update(now, covered)
            if same:
                self._open(same, now, into)
            return False
        if covered in self.known:
            self.known[covered].targets += 1
        if same:
            self._open(same, now, id)
        for name in alert.covers:
            self._open(_covered(name, src), now, id)
        return True

    def folded_into(
        self, detection: str, alert: Alert, src: str | None, now: int, level: int = 0, *, began: int | None = None
    ) -> str | None:
        """Return the id of the alert that this one repeats or is part of; None if it stands alone."""
        into = None if alert.same_as is None else self._into(_same(detection, alert, level), now)
        return self._covers(_covered(detection, src), now, began) if into is None else into

    def _into(self, incident: str, now: int) -> str | None:
        known = self.known.get(incident)
        # <=: an epoch that ends exactly at `until` holds only earlier observations.
        return known.id if known and now <= known.until else None

    def _update(self, now: int, *incidents: str) -> None:
        for each in incidents:
            if each in self.known:
                self.known[each].last = max(self.known[each].last, now)

    def _covers(self, incident: str, now: int, began: int | None) -> str | None:
        """Return the id of the covering alert, or None: not covered, or a new target within `most_targets`."""
        if (known := self.known.get(incident)) is None:
            return None
        is_new = began is not None and began > known.last + self.rest and known.targets < self.most_targets
        return None if is_new or now > known.until else known.id

    def until(self, detection: str, alert: Alert, level: int = 0) -> int | None:
        """Return the time (ns) up to which repeats are folded into a sent alert; None if they are not."""
        known = self.known.get(_same(detection, alert, level))
        return known.until if known else None

    def _open(self, incident: str, now: int, id: str) -> None:
        self.known[incident] = Incident(now + self.suppress_for, id, 0, now)
        self.known.move_to_end(incident)
        if len(self.known) > self.capacity:
            self.known.popitem(last=False)
            self.forgotten += 1


def _same(detection: str, alert: Alert, level: int) -> str:
    """Return the incident key for repeats, a digest that is the same in every process."""
    return _digest(("same", detection, alert.same_as, level))


def _covered(detection: str, src: str | None) -> str:
    """Return the incident key for alerts that another alert covers."""
    return _digest(("covered", detection, src))


def _digest(incident: tuple[Hashable, ...]) -> str:
    return hashlib.blake2b(repr(incident).encode(), digest_size=10).hexdigest()
