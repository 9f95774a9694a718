"""The clock: whether something keeps it right, as packets are stamped and hosts compared by it."""

import ctypes
import os
from dataclasses import dataclass

from sensor.node.doctor.check import Check, Mend, State

NAME = "clock"
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised


class _Timex(ctypes.Structure):
    """The head of struct timex (<sys/timex.h>); times are in microseconds."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("rest", ctypes.c_char * 256),
    ]


@dataclass(frozen=True)
class Clock:
    """The state of the kernel's clock."""

    is_synchronised: bool
    error_ms: float = 0.0
    """It is wrong by this at most, as far as the kernel knows."""
    failure: str = ""
    """Why the kernel does not say."""

    @classmethod
    def find(cls) -> "Clock":
        """Ask it, changing nothing: that needs no privilege, and whatever disciplines the clock says so there."""
        about = _Timex()
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(about))
        if state < 0:
            return cls(False, failure=os.strerror(ctypes.get_errno()))
        return cls(state != _TIME_ERROR, about.maxerror / 1000)


def judge(found: Clock) -> Check:
    """The check."""
    if found.failure:
        return Check(NAME, State.SKIPPED, f"the kernel does not say how its clock is: {found.failure}")
    if found.is_synchronised:
        return Check(NAME, State.OK, f"synchronised, to within {found.error_ms:,.0f} ms")
    reason = "nothing synchronises it, so times may be wrong (that of a container is its host's: see to it there)"
    return Check(NAME, State.WARNING, reason, Mend(("timedatectl", "set-ntp", "true")))
