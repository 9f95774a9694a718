"""The alert that a detection returns for a crossing."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["low", "medium", "high"]


@dataclass(frozen=True)
class Alert:
    """An alert as a detection returns it: a sentence, and fields that the key and the result do not give."""

    message: str
    """A sentence for people: who did what to whom, and how much of it."""
    src: Any = None
    """The source of the activity; default: the key's `orig_h`."""
    dst: Any = None
    """The target of the activity; default: the key's `resp_h`."""
    port: int | None = None
    """The target port; default: the key's `resp_p`."""
    proto: str | None = None
    """The protocol's name, such as tcp."""
    kind: str | None = None
    """The subtype of the finding, such as syn for a port scan."""
    severity: Severity | None = None
    """low, medium or high; default: the detection's severity."""
    sample: tuple[Any, ...] | list[Any] = ()
    """Some of the counted elements."""
    same_as: Hashable = None
    """Alerts of one detection with an equal value (and equal `repr`) are one incident, sent at most once per hour.

    None: the alert is never folded as a repeat."""
    covers: tuple[str, ...] = ()
    """Names of detections whose alerts about the same `src` are folded into this one while it continues, for at most
    an hour."""
