"""Batching: a live block waits for more packets, as a small batch costs detections about as much as a large one."""

from sensor.clock import elapsed_s

LOT_S = 0.05
"""Seconds that a block may wait while packets keep coming: half of what an early alert may take. After a pause of that
length the first block does not wait."""


class Batching:
    """Decides whether to hold a block for a larger batch.

    is_live: some blocks may wait. is_there: all may, as the whole input can be read. Neither, as for a pipe: none may.
    """

    def __init__(self, *, is_live: bool, is_there: bool = False) -> None:
        self._is_live, self._is_there, self._since = is_live, is_there, 0.0

    def may_wait(self) -> bool:
        """Return whether the next block may wait."""
        if self._is_there:
            return True
        now = elapsed_s()
        if self._is_live and now - self._since < LOT_S:
            return True
        self._since = now
        return False
