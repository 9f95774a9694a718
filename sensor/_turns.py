"""Turns: when several processes need the same kernels, one compiles each kernel and the others wait for it.

A warning is logged once compiling has taken a second. A lock file in the cache folder marks whose turn it is; the
lock of a process that died is free. A process that has waited `WAIT_S` in total compiles by itself.
"""

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

WAIT_S = 180.0
_SAID_AFTER_S = 1.0
_PAUSE_S = 0.02


class Turns:
    """The turns of this process. `folder` returns the cache folder; "": no cache, and every process compiles."""

    def __init__(self, folder: Callable[[], str]) -> None:
        self._folder = folder
        self._depth, self._lock = 0, -1
        self._spent_s = self._waited_s = 0.0
        self._said: set[str] = set()
        self.is_silent = False
        """True if another process already announced the compilation."""

    def load(self, load: Callable[..., Any], signature: Any, target: Any) -> Any:
        """Return a kernel from the cache; None: it is missing, and this process is to compile it."""
        found = load(signature, target)
        if found is not None or self._lock >= 0:
            return found
        if self._spent_s > _SAID_AFTER_S:
            kept = "the next run finds them" if self._folder() else "and there is nowhere to keep them for the next run"
            self._warn(f"kernels are being compiled, which takes about half a minute; {kept}")
        return load(signature, target) if self._take() else None

    def compile(self, compile: Callable[[Any], Any], signature: Any) -> Any:
        """Compile a kernel, or load it; the kernels that it calls pass through here too."""
        self._depth += 1
        begun = time.monotonic()
        try:
            return compile(signature)
        finally:
            self._depth -= 1
            if self._depth == 0 and self._lock >= 0:
                os.close(self._lock)
                self._lock = -1
            if self._depth == 0:
                self._spent_s += time.monotonic() - begun

    def _take(self) -> bool:
        """Wait for the lock; return True if another process held it meanwhile."""
        try:
            folder = Path(self._folder() or os.devnull)
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:  # no cache folder, or this user may not write there
            return False
        waited = 0.0
        while not self._is_free() and self._waited_s < WAIT_S:
            time.sleep(_PAUSE_S)
            waited, self._waited_s = waited + _PAUSE_S, self._waited_s + _PAUSE_S
            if self._waited_s > _SAID_AFTER_S:
                self._warn("another process compiles kernels; waiting for it, for three minutes at most")
        return waited > 0

    def _is_free(self) -> bool:
        with contextlib.suppress(OSError):
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def _warn(self, what: str) -> None:
        if not self.is_silent and what not in self._said:
            log.warning("%s", what)
        self._said.add(what)
