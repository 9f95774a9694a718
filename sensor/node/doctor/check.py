"""A check: one thing that live capture needs, how it is, and the command that fixes it."""

import os
import shlex
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class State(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARNING = "warning"
    """Capture works, but sees less than it could, or may mislead."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """It could not be made, or there is nothing to check; the finding says why."""


@dataclass(frozen=True)
class Mend:
    """A command that fixes what a check has found."""

    argv: tuple[str, ...]
    needs_root: bool = True
    is_safe: bool = False
    """True if --fix may run it: a similar command undoes it."""

    def __str__(self) -> str:
        """The command as this user is to type it."""
        return shlex.join(("sudo", *self.argv) if self.needs_root and os.geteuid() else self.argv)


@dataclass(frozen=True)
class Check:
    """One finding in a line, with the command that fixes it where there is one."""

    name: str
    state: State
    finding: str
    mend: Mend | None = None
    interface: str | None = None
    """The interface it is about; None: the machine."""
    is_forbidden: bool = False
    """True if a missing permission is the only obstacle."""


def sensor_command(*arguments: str) -> tuple[str, ...]:
    """A command of this very installation: another user's PATH may lead to none, or to another one."""
    script = Path(sys.executable).with_name("sensor")
    return (str(script), *arguments) if script.exists() else (sys.executable, "-m", "sensor", *arguments)
