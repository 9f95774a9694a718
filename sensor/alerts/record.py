"""The records of alerts: what goes out when one is raised, and of what became of it, with the line and id of each."""

import hashlib
from typing import Literal

import msgspec

from sensor.alerts.alert import Severity

State = Literal["open", "withdrawn", "ended"]
"""Whether an alert stands, is outweighed by what its epoch came to, or stood and nothing more came of it."""


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


def alert_id(detection: str, sumstat: str, key: bytes, epoch: int, level: int) -> str:
    """The id of the alert for one crossing: a hash of what it is about, so that no crash or replay gives it another."""
    digest = hashlib.blake2b(digest_size=10)
    for part in (detection.encode(), sumstat.encode(), key, str(epoch).encode(), str(level).encode()):
        digest.update(len(part).to_bytes(4, "big"))
        digest.update(part)
    return digest.hexdigest()


class _Line(msgspec.Struct):
    event_type: str
    id: str
    ts: str = ""
    state: str = ""


_decoder = msgspec.json.Decoder(_Line)


def line_id(told: AlertRecord | AlertUpdate) -> str:
    """The id of a record's line: an alert's own; an update's also says when, and what became of the alert."""
    return told.id if isinstance(told, AlertRecord) else f"{told.id} update {told.ts} {told.state}"


def identify(line: bytes) -> str | None:
    """The id of a JSON line; None: it is no record of an alert."""
    try:
        read = _decoder.decode(line)
    except msgspec.MsgspecError:
        return None
    return read.id if read.event_type == "alert" else f"{read.id} update {read.ts} {read.state}"
