"""Batching: blocks of a live capture wait for more, as few packets cost the detections about as much as many do."""

from sensor.clock import elapsed_s

LOT_S = 0.05
"""How long packets may wait for others while these come: half of what an early alert may take. Where none came for so
long, the first ones do not wait."""


class Batching:
    """Says which blocks may wait. `is_live`: some may; `is_there`: all may, as what follows is read already, or the end
    is; else, as of a pipe, none."""

    def __init__(self, *, is_live: bool, is_there: bool = False) -> None:
        self._is_live, self._is_there, self._since = is_live, is_there, 0.0

    def may_wait(self) -> bool:
        """Whether the next block may."""
        if self._is_there:
            return True
        now = elapsed_s()
        if self._is_live and now - self._since < LOT_S:
            return True
        self._since = now
        return False
