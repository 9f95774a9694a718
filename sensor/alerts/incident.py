"""Incidents: which repeats and parts of an alert are folded into it."""

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

from sensor.alerts.alert import Alert
from sensor.clock import SECOND


@dataclass(slots=True)
class Incident:
    """An alert that went out, for what is told again of the same, or is part of it."""

    until: int
    """Until when (ns of the packet clock) that is folded into it."""
    id: str
    """The alert's."""
    targets: int
    """New targets that were told of since."""
    last: int
    """When (ns) the last of it came."""


@dataclass
class Incidents:
    """Folds repeats of an alert into the first for `suppress_for`; remembers `capacity` incidents, oldest out first.

    What an alert covers is folded into it as long as it goes on: until nothing of it has come for `rest`. What begins
    then is a new target, and an alert of its own; `most_targets` of them are told at most.
    """

    suppress_for: int = 3600 * SECOND
    capacity: int = 65536
    rest: int = 300 * SECOND
    most_targets: int = 16
    repeats: Counter[str] = field(default_factory=Counter)
    """How many were folded into an alert of the same, by detection."""
    parts: Counter[str] = field(default_factory=Counter)
    """How many were folded into an alert that covers them, by detection."""
    forgotten: int = 0
    known: OrderedDict[str, Incident] = field(default_factory=OrderedDict)
    """By a digest of what each is about."""

    @property
    def suppressed(self) -> int:
        """How many were folded."""
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
        """Open an incident for an alert at packet time `now`, and for all that it covers; False: it is folded into one.

        Each level of a series is told once. `began`: when what it tells of was first observed.
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
        """The id of the alert that this one is a repeat or a part of; None: it stands for itself."""
        into = None if alert.same_as is None else self._into(_same(detection, alert, level), now)
        return self._covers(_covered(detection, src), now, began) if into is None else into

    def _into(self, incident: str, now: int) -> str | None:
        known = self.known.get(incident)
        # An epoch that ends just then has observations of before alone.
        return known.id if known and now <= known.until else None

    def _update(self, now: int, *incidents: str) -> None:
        for each in incidents:
            if each in self.known:
                self.known[each].last = max(self.known[each].last, now)

    def _covers(self, incident: str, now: int, began: int | None) -> str | None:
        """The id of the alert that covers what `began` (ns) then, and is no new target or one too many."""
        if (known := self.known.get(incident)) is None:
            return None
        is_new = began is not None and began > known.last + self.rest and known.targets < self.most_targets
        return None if is_new or now > known.until else known.id

    def until(self, detection: str, alert: Alert, level: int = 0) -> int | None:
        """Until when (ns) repeats of an alert are folded into one that went out; None: they are not."""
        known = self.known.get(_same(detection, alert, level))
        return known.until if known else None

    def _open(self, incident: str, now: int, id: str) -> None:
        self.known[incident] = Incident(now + self.suppress_for, id, 0, now)
        self.known.move_to_end(incident)
        if len(self.known) > self.capacity:
            self.known.popitem(last=False)
            self.forgotten += 1


def _same(detection: str, alert: Alert, level: int) -> str:
    """An incident by what is told again, as a digest that is the same in every process."""
    return _digest(("same", detection, alert.same_as, level))


def _covered(detection: str, src: str | None) -> str:
    """An incident by what is part of it."""
    return _digest(("covered", detection, src))


def _digest(incident: tuple[Hashable, ...]) -> str:
    return hashlib.blake2b(repr(incident).encode(), digest_size=10).hexdigest()
