"""Alerts: what a detection says of a crossing, the record that goes out, and which repeats are folded into it."""

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from sensor.clock import SECOND

Severity = Literal["low", "medium", "high"]
State = Literal["open", "withdrawn", "ended"]
"""Whether an alert stands, is outweighed by what its epoch came to, or stood and nothing more came of it."""


@dataclass(frozen=True)
class Alert:
    """What a detection returns: a sentence, and whatever the key and the result do not already say."""

    message: str
    """A sentence for people: who did what to whom, and how much of it."""
    src: Any = None
    """Whose doing it is; else the key's `orig_h`."""
    dst: Any = None
    """To whom; else the key's `resp_h`."""
    port: int | None = None
    """Else the key's `resp_p`."""
    proto: str | None = None
    """The protocol's name, such as tcp."""
    kind: str | None = None
    """What kind of the thing that the detection finds it is, such as syn of a port scan."""
    severity: Severity | None = None
    """low, medium or high; else the detection's."""
    sample: tuple[Any, ...] | list[Any] = ()
    """Some of what was counted."""
    same_as: Hashable = None
    """Alerts of one detection with an equal value (that is written alike, too) are one incident, repeated at most once
    in an hour; None: each stands for itself."""
    covers: tuple[str, ...] = ()
    """Names of detections whose alerts about the same src are folded into this one as long as it goes on, and for an
    hour at most."""


class AlertRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="event_type", tag="alert"):
    """An alert as outputs carry it; times are RFC 3339 in UTC, addresses plain text."""

    id: str
    """The same for the same finding in every run."""
    ts: str
    """When the threshold was reached; where that is not known, when the key was last observed."""
    first_seen: str
    """When the key was first observed in this epoch."""
    last_seen: str
    """When it last was."""
    detection: str
    """The detection's name."""
    kind: str | None
    """What kind of the thing that the detection finds it is."""
    severity: Severity
    """low, medium or high."""
    message: str
    """A sentence for people."""
    src: str | None = None
    """Whose doing it is: an address, mostly."""
    dst: str | None = None
    """To whom."""
    port: int | None = None
    """Of what was tried there, where it is one."""
    proto: str | None = None
    """The protocol's name, where its detection gives one."""
    value: float | None = None
    """What the key has come to."""
    threshold: float | None = None
    """The level that it reached."""
    level: int | None = None
    """Of a series of thresholds, which was reached, from 0."""
    sample: list[str | int | float] = []
    """Some of what was counted."""
    epoch: int | None = None
    """The number of the epoch, from 1970 on."""
    complete: bool = True
    """Whether nobody's results are missing."""
    missing: list[str] = []
    """The members whose results the alert had to be judged without."""
    late: bool = False
    """Some of the results came only after their epoch was over."""
    workers: list[str]
    """The members whose results it was judged by."""
    attack: str | None = None
    """ATT&CK technique."""
    version: str
    """The detection's."""


def alert_id(detection: str, sumstat: str, key: bytes, epoch: int, level: int) -> str:
    """The id of the alert for one crossing: a hash of what it is about, so that no crash or replay gives it another."""
    digest = hashlib.blake2b(digest_size=10)
    for part in (detection.encode(), sumstat.encode(), key, str(epoch).encode(), str(level).encode()):
        digest.update(len(part).to_bytes(4, "big"))
        digest.update(part)
    return digest.hexdigest()


class AlertUpdate(msgspec.Struct, frozen=True, kw_only=True, tag_field="event_type", tag="alert_update"):
    """What became of an alert: the verdict, where it went out before its epoch was over; how it grew, and ended."""

    id: str
    """The alert's."""
    ts: str
    """When the epoch was over."""
    state: State
    """open: it stands; withdrawn: what came later outweighs it."""
    severity: Severity
    """This and what follows as it stands now; of one that is withdrawn, as it was told."""
    kind: str | None
    """What kind of the thing that the detection finds it is."""
    message: str
    """Of one that is withdrawn, why, and what it had said."""
    src: str | None = None
    """Whose doing it is."""
    dst: str | None = None
    """To whom."""
    port: int | None = None
    """Of what was tried there, where it is one."""
    first_seen: str
    """When the key was first observed in this epoch."""
    last_seen: str
    """When it last was."""
    value: float | None
    """What the key has come to."""
    complete: bool
    """Whether nobody's results are missing."""
    missing: list[str]
    """The members whose results it had to be judged without."""
    workers: list[str]
    """The members whose results it was judged by."""
    folded_into: str | None = None
    """The id of the alert that this one turned out to be part of."""


@dataclass
class Suppressor:
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
    incidents: OrderedDict[str, tuple[int, str, int, int]] = field(default_factory=OrderedDict)
    """Until when (ns) each is folded, into which alert, by its id, how many new targets were told of since, and when
    the last of it came (ns)."""

    @property
    def suppressed(self) -> int:
        """How many were folded."""
        return self.repeats.total() + self.parts.total()

    def admits(
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
        """Whether an alert at packet time `now` is to go out; if so, remember it and all that it covers.

        Each level of a series is told once. `began`: when what it tells of was first observed.
        """
        same = None if alert.same_as is None else _same(detection, alert, level)
        covered = _covered(detection, src)
        if same and self._into(same, now) is not None:
            self.repeats[detection] += 1
            self._goes_on(now, covered, *(_covered(name, src) for name in alert.covers))
            return False
        if (into := self._covers(covered, now, began)) is not None:
            self.parts[detection] += 1
            self._goes_on(now, covered)
            if same:
                self._remember(same, now, into)
            return False
        if covered in self.incidents:
            until, into, targets, last = self.incidents[covered]
            self.incidents[covered] = until, into, targets + 1, last
        if same:
            self._remember(same, now, id)
        for name in alert.covers:
            self._remember(_covered(name, src), now, id)
        return True

    def folded_into(
        self, detection: str, alert: Alert, src: str | None, now: int, level: int = 0, *, began: int | None = None
    ) -> str | None:
        """The id of the alert that this one is a repeat or a part of; None: it stands for itself."""
        into = None if alert.same_as is None else self._into(_same(detection, alert, level), now)
        return self._covers(_covered(detection, src), now, began) if into is None else into

    def _into(self, incident: str, now: int) -> str | None:
        if (known := self.incidents.get(incident)) is None:
            return None
        until, id, *_ = known
        return id if now <= until else None  # an epoch that ends then has observations of before alone

    def _goes_on(self, now: int, *incidents: str) -> None:
        for each in incidents:
            if each in self.incidents:
                until, id, targets, last = self.incidents[each]
                self.incidents[each] = until, id, targets, max(last, now)

    def _covers(self, incident: str, now: int, began: int | None) -> str | None:
        """The id of the alert that covers what `began` (ns) then, and is no new target or one too many."""
        if (known := self.incidents.get(incident)) is None:
            return None
        until, id, targets, last = known
        is_new = began is not None and began > last + self.rest and targets < self.most_targets
        return None if is_new or now > until else id

    def until(self, detection: str, alert: Alert, level: int = 0) -> int | None:
        """Until when (ns) repeats of an alert are folded into one that went out; None: they are not."""
        until, *_ = self.incidents.get(_same(detection, alert, level), (None,))
        return until

    def _remember(self, incident: str, now: int, id: str) -> None:
        self.incidents[incident] = now + self.suppress_for, id, 0, now
        self.incidents.move_to_end(incident)
        if len(self.incidents) > self.capacity:
            self.incidents.popitem(last=False)
            self.forgotten += 1


def _same(detection: str, alert: Alert, level: int) -> str:
    """An incident by what is told again, as a digest that is the same in every process."""
    return _digest(("same", detection, alert.same_as, level))


def _covered(detection: str, src: str | None) -> str:
    """An incident by what is part of it."""
    return _digest(("covered", detection, src))


def _digest(incident: tuple[Hashable, ...]) -> str:
    return hashlib.blake2b(repr(incident).encode(), digest_size=10).hexdigest()
