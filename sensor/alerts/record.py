"""The records of alerts and of their updates as outputs write them, with the line id of each."""

import hashlib
from typing import Literal

import msgspec

from sensor.alerts.alert import Severity

State = Literal["open", "withdrawn", "ended"]
"""open: the alert stands; withdrawn: the epoch's final result outweighs it; ended: it stood, and nothing more came."""


class AlertRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="event_type", tag="alert"):
    """An alert as outputs write it; times are RFC 3339 in UTC, addresses plain text."""

    id: str
    """Identical for the same finding in every run."""
    ts: str
    """The time the threshold was reached; if unknown, the key's last observation."""
    first_seen: str
    """The key's first observation in this epoch."""
    last_seen: str
    """The key's last observation in this epoch."""
    detection: str
    """The detection's name."""
    kind: str | None
    """The subtype of the finding."""
    severity: Severity
    """low, medium or high."""
    message: str
    """A sentence for people."""
    src: str | None = None
    """The source of the activity, usually an address."""
    dst: str | None = None
    """The target of the activity."""
    port: int | None = None
    """The target port, if there is a single one."""
    proto: str | None = None
    """The protocol's name, if the detection gives one."""
    value: float | None = None
    """The key's value."""
    threshold: float | None = None
    """The threshold level that was reached."""
    level: int | None = None
    """The index of the reached level in a series of thresholds, from 0."""
    sample: list[str | int | float] = []
    """Some of the counted elements."""
    epoch: int | None = None
    """The number of the epoch, counted from 1970."""
    complete: bool = True
    """True if no member's results are missing."""
    missing: list[str] = []
    """The members whose results were missing when the alert was judged."""
    late: bool = False
    """True if some of the results came after the epoch was over."""
    workers: list[str]
    """The members whose results the alert is based on."""
    attack: str | None = None
    """MITRE ATT&CK technique."""
    version: str
    """The detection's version."""


class AlertUpdate(msgspec.Struct, frozen=True, kw_only=True, tag_field="event_type", tag="alert_update"):
    """An update of a sent alert: its verdict if it was sent before its epoch was over, its growth, and its end."""

    id: str
    """The id of the alert."""
    ts: str
    """The time the epoch was over."""
    state: State
    """open: the alert stands; withdrawn: later results outweigh it; ended: it stood, and nothing more came."""
    severity: Severity
    """The current severity. A withdrawn alert keeps the severity, kind, src, dst and port that it was sent with."""
    kind: str | None
    """The subtype of the finding."""
    message: str
    """The current message; of a withdrawn alert, the reason and the original message."""
    src: str | None = None
    """The source of the activity."""
    dst: str | None = None
    """The target of the activity."""
    port: int | None = None
    """The target port, if there is a single one."""
    first_seen: str
    """The key's first observation in this epoch."""
    last_seen: str
    """The key's last observation in this epoch."""
    value: float | None
    """The key's value."""
    complete: bool
    """True if no member's results are missing."""
    missing: list[str]
    """The members whose results were missing when the update was judged."""
    workers: list[str]
    """The members whose results the update is based on."""
    folded_into: str | None = None
    """The id of the alert that this one turned out to be part of."""


def alert_id(detection: str, sumstat: str, key: bytes, epoch: int, level: int) -> str:
    """Return the id of the alert for one crossing: a hash of its subject, so a crash or replay does not change it."""
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
    """Return the id of a record's line: the alert's id; for an update, the id with the update's time and state."""
    return told.id if isinstance(told, AlertRecord) else f"{told.id} update {told.ts} {told.state}"


def identify(line: bytes) -> str | None:
    """Return the id of a JSON line; None if the line is no alert record."""
    try:
        read = _decoder.decode(line)
    except msgspec.MsgspecError:
        return None
    return read.id if read.event_type == "alert" else f"{read.id} update {read.ts} {read.state}"
