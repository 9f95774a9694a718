"""Rings: whether there is memory for one of each interface.

Their pages are the kernel's own: neither RLIMIT_MEMLOCK nor a control group's limit is asked, only what is free.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sensor.capture.errors import CaptureError
from sensor.capture.live.af_packet import RingSettings, geometry, open_ring
from sensor.node.doctor.check import Check, Mend, State, sensor_command

NAME = "ring memory"
_MB = 1 << 20


@dataclass(frozen=True)
class Rings:
    """The memory that is asked for, and what came of asking."""

    interfaces: tuple[str, ...]
    megabytes: int
    """MB of each ring."""
    available: int
    """MB that can be had without swapping."""
    is_tried: bool = False
    refusal: str = ""

    @property
    def needed(self) -> int:
        """MB of all."""
        return self.megabytes * len(self.interfaces)

    @classmethod
    def find(cls, interfaces: Sequence[str], megabytes: int, *, may_capture: bool) -> "Rings":
        """Make them all and let go of them, where that is permitted and there is that much: Linux might kill for it."""
        asked = cls(tuple(interfaces), megabytes, _available())
        if not may_capture or asked.needed > asked.available:
            return asked
        with contextlib.ExitStack() as stack:
            try:
                for name in interfaces:
                    opened = open_ring(RingSettings(name, geometry(megabytes), promiscuous=False))
                    stack.enter_context(opened.socket)
            except (CaptureError, OSError) as error:
                return cls(asked.interfaces, megabytes, asked.available, True, str(error))
        return cls(asked.interfaces, megabytes, asked.available, True)


def judge(found: Rings) -> Check:
    """The check."""
    if not found.interfaces:
        return Check(NAME, State.SKIPPED, "no interface to make a ring for")
    rings = "a ring" if len(found.interfaces) == 1 else f"{len(found.interfaces)} rings, each"
    if found.refusal or found.needed > found.available:
        reason = f"{rings} of {found.megabytes:,} MB: only {found.available:,} MB are free"
        return Check(NAME, State.FAILED, found.refusal or reason, _smaller(found))
    how = "could be made" if found.is_tried else "would fit (not tried, for want of permission)"
    return Check(NAME, State.OK, f"{rings} of {found.megabytes:,} MB {how}; {found.available:,} MB are free")


def _smaller(found: Rings) -> Mend | None:
    """Rings of an eighth of what is free: a power of two, and less than was refused."""
    most = min(found.available // 8 // len(found.interfaces), found.megabytes // 2)
    if most < 1:
        return None
    named = [part for name in found.interfaces for part in ("-i", name)]
    return Mend(sensor_command("run", *named, "--ring", str(1 << most.bit_length() - 1)))


def _available() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, size = line.partition(":")
        if name == "MemAvailable":
            return int(size.split()[0]) * 1024 // _MB
    return 0
