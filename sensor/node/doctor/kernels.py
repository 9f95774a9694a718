"""Kernels: whether they are compiled, and whether what was compiled is kept for the next start."""

import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensor._jit import COMPILED, compiled_now
from sensor.capture.live import ring
from sensor.node.doctor.check import Check, Mend, State
from sensor.node.doctor.traffic import warm_up

NAME = "kernels"
_DISABLE = "NUMBA_DISABLE_JIT"


@dataclass(frozen=True)
class Kernels:
    """The state of the kernels that take packets in."""

    is_compiled: bool
    folder: str | None = None
    """Folder of the compiled kernels; None: there is none."""
    compiled: int = 0
    """Number of kernels compiled just now."""
    has_numba: bool = True
    is_disabled: bool = False
    """True if the environment forbids compiling."""

    @classmethod
    def find(cls) -> "Kernels":
        """Run them."""
        if COMPILED:
            warm_up()
            kernel: Any = ring.walk_blocks
            return cls(True, kernel.stats.cache_path, compiled_now())
        is_disabled = os.environ.get(_DISABLE, "0") not in ("", "0")
        has_numba = importlib.util.find_spec("numba") is not None
        return cls(False, has_numba=has_numba, is_disabled=is_disabled)


def judge(found: Kernels) -> Check:
    """The check: without compiled kernels all is right, but too slow for most links."""
    if not found.is_compiled:
        reason, mend = _why_not(found)
        return Check(NAME, State.FAILED, reason, mend)
    if found.folder is None:
        reason = "compiled, but there is nowhere to keep them: each start takes half a minute"
        return Check(NAME, State.WARNING, reason, Mend(("install", "-d", *_owner(), str(_cache()))))
    now = f" ({found.compiled} of them were compiled just now)" if found.compiled else ""
    return Check(NAME, State.OK, f"compiled, and kept in {found.folder}{now}")


def _why_not(found: Kernels) -> tuple[str, Mend | None]:
    slow = "kernels run as plain Python, hundreds of times slower:"
    if found.is_disabled:
        return f"{slow} {_DISABLE} is set", Mend(("unset", _DISABLE), needs_root=False)
    if not found.has_numba:
        return f"{slow} Numba is missing", Mend((sys.executable, "-m", "pip", "install", "numba"), needs_root=False)
    return f"{slow} no memory may be made executable; leave MemoryDenyWriteExecute out of the unit", None


def _owner() -> tuple[str, ...]:
    return ("-o", str(os.geteuid())) if os.geteuid() else ()


def _cache() -> Path:
    if os.geteuid() == 0:
        return Path("/var/cache/sensor")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sensor"
