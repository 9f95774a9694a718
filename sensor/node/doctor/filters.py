"""Filters: that libpcap can compile them, and that the kernel has room for a long one."""

import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sensor.capture.bpf.libpcap import compile_filter
from sensor.capture.bpf.program import INSTRUCTION, LD, LENGTH_MAX, RET, attach
from sensor.capture.errors import CaptureError
from sensor.node.doctor.check import Check, Mend, State

LIBPCAP, MEMORY = "libpcap", "filter memory"
ENOUGH = 512
"""Instructions; a filter that names a hundred hosts has 361 (tcpdump -d)."""
_OPTMEM_MAX = Path("/proc/sys/net/core/optmem_max")
_ROOMY = "net.core.optmem_max=131072"  # bytes: what Linux has by default since 6.8, before that 20,480
_PACKAGES = {"apt": "libpcap0.8", "dnf": "libpcap", "zypper": "libpcap1", "pacman": "libpcap"}


@dataclass(frozen=True)
class Libpcap:
    """The outcome of compiling a filter."""

    error: str = ""
    installer: str = "apt"
    """The command that installs packages here."""

    @classmethod
    def find(cls) -> "Libpcap":
        """Compile one."""
        try:
            compile_filter("tcp", 1)
        except CaptureError as error:
            return cls(str(error), next(filter(shutil.which, _PACKAGES), "apt"))
        return cls()


def judge_libpcap(found: Libpcap) -> Check:
    """The check: only who gives a filter needs libpcap."""
    if not found.error:
        return Check(LIBPCAP, State.OK, "filters (-f) can be compiled")
    install = ("-S",) if found.installer == "pacman" else ("install",)
    mend = Mend((found.installer, *install, _PACKAGES[found.installer]))
    return Check(LIBPCAP, State.WARNING, "not installed: capture works, but filters (-f) cannot be compiled", mend)


@dataclass(frozen=True)
class FilterMemory:
    """The longest filter that the kernel takes."""

    longest: int
    """Instructions of the longest of some programs that the kernel took; 0: it took none."""
    optmem_max: int | None = None
    """Bytes, where it can be read."""

    @classmethod
    def find(cls) -> "FilterMemory":
        """Attach programs to a socket that nobody sends to, the longest that there may be first."""
        lengths = (LENGTH_MAX, ENOUGH * 4, ENOUGH, ENOUGH // 4)
        try:
            limit = int(_OPTMEM_MAX.read_text())
        except OSError:  # older kernels hide it in network namespaces
            limit = None
        return cls(next(filter(_is_taken, lengths), 0), limit)


def judge_memory(found: FilterMemory) -> Check:
    """The check."""
    of = "" if found.optmem_max is None else f" (net.core.optmem_max is {found.optmem_max:,})"
    if found.longest >= ENOUGH:
        return Check(MEMORY, State.OK, f"filters of up to {found.longest:,} instructions fit{of}")
    reason = f"filters of {ENOUGH} instructions do not fit{of}"
    return Check(MEMORY, State.WARNING, reason, Mend(("sysctl", "-w", _ROOMY)))


def _is_taken(length: int) -> bool:
    code = np.zeros(length, INSTRUCTION)
    code["code"] = LD
    code["code"][-1] = RET
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as trial:
        try:
            attach(trial, code)
        except OSError:
            return False
    return True
