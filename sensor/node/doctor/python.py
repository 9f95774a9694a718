"""Python: whether the user that root becomes to decode can read it, as some modules are imported late."""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sensor.node.doctor.check import Check, State
from sensor.privileges import CAP_SETGID, CAP_SETUID, PrivilegeError, User, has, successor

NAME = "python"


@dataclass(frozen=True)
class Python:
    """The user that must read Python's files, and what keeps it from that."""

    heir: str = ""
    """Whom root becomes; empty: this process stays who it is, or cannot become anybody."""
    closed: str = ""
    """The first file or folder that the heir cannot read or pass through; empty: there is none."""

    @classmethod
    def find(cls) -> "Python":
        """Look at what this Python imports from, with the eyes of the heir."""
        try:
            heir = successor(None)
        except PrivilegeError:
            heir = None
        if heir is None or not (has(CAP_SETUID) and has(CAP_SETGID)):
            return cls()
        return cls(heir.name, closed_to(heir, places()))


def places() -> list[Path]:
    """This package, all else from which modules are imported, and the interpreter."""
    named = [Path(__file__).parents[2], *map(Path, filter(None, sys.path)), Path(sys.executable)]
    return [each.resolve() for each in named if each.exists()]


def closed_to(user: User, wanted: Iterable[Path]) -> str:
    """The first of some files and folders, or of those they lie in, that a user may not read or pass; empty: none."""
    with user.acting():
        for place in wanted:
            for each in [*reversed(place.parents), place]:
                if not os.access(each, os.X_OK if each != place else os.R_OK, effective_ids=True):
                    return str(each)
            if place.is_dir() and not os.access(place, os.X_OK, effective_ids=True):
                return str(place)
    return ""


def judge(found: Python) -> Check:
    """The check."""
    if not found.heir:
        return Check(NAME, State.SKIPPED, "Python is read by this user, and by no other")
    if found.closed:
        advice = "install the sensor where all may read, such as below /opt, or name a user who can with --user"
        reason = f"{found.heir}, who decodes, cannot read {found.closed}, from where Python imports"
        return Check(NAME, State.WARNING, f"{reason}: what is imported late is not found; {advice}")
    return Check(NAME, State.OK, f"Python and the sensor can be read by {found.heir}, who decodes")
