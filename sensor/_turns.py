"""Turns: of several processes that need the same kernels at once, one compiles each, and the others wait for it.

That kernels are compiled is said once it has taken a second. A lock in the folder of the cache says whose turn it is;
who has died holds none. Whoever has waited for `WAIT_S` in all compiles by itself.
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
    """Those of this process. `folder` says where the cache is; "": there is none, and everybody compiles."""

    def __init__(self, folder: Callable[[], str]) -> None:
        self._folder = folder
        self._depth, self._lock = 0, -1
        self._spent_s = self._waited_s = 0.0
        self._said: set[str] = set()
        self.is_silent = False
        """Whether somebody else says that kernels are compiled."""

    def load(self, load: Callable[..., Any], signature: Any, target: Any) -> Any:
        """A kernel from the cache; None: it is not there, and it is this process's turn to compile it."""
        found = load(signature, target)
        if found is not None or self._lock >= 0:
            return found
        if self._spent_s > _SAID_AFTER_S:
            kept = "the next run finds them" if self._folder() else "and there is nowhere to keep them for the next run"
            self._warn(f"kernels are being compiled, which takes about half a minute; {kept}")
        return load(signature, target) if self._take() else None

    def compile(self, compile: Callable[[Any], Any], signature: Any) -> Any:
        """Compile a kernel, or load it; those that it calls come to this too."""
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
        """Wait for the turn; whether another had it meanwhile."""
        try:
            folder = Path(self._folder() or os.devnull)
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:  # nowhere to keep what is compiled, or not for this user
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
