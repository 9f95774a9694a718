"""The alert: what a detection says of a crossing."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["low", "medium", "high"]


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
