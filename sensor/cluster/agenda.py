"""The agenda: the open epochs and the times at which they will be over, earliest first.

Finding the next one costs the same however many epochs are open: a worker that replays a quiet week delivers thousands
before it reports its progress.
"""

import heapq

Epoch = tuple[str, int]
"""A SumStat's name, and the number of an epoch (where windows hop, of a pane)."""


class Agenda:
    """Delivered epochs that are not over, by the time (ns) at which they will be."""

    def __init__(self) -> None:
        self._until: dict[Epoch, int] = {}
        self._at: dict[int, dict[Epoch, None]] = {}
        self._times: list[int] = []

    def __len__(self) -> int:
        return len(self._until)

    def note(self, epoch: Epoch, until: int) -> None:
        """Set the time (ns) at which an epoch will be over, replacing an earlier entry."""
        if epoch in self._until:
            if self._until[epoch] == until:
                return
            self.strike(epoch)
        self._until[epoch] = until
        if until not in self._at:
            self._at[until] = {}
            heapq.heappush(self._times, until)
        self._at[until][epoch] = None

    def strike(self, epoch: Epoch) -> None:
        """Remove an epoch, if it is there."""
        until = self._until.pop(epoch, None)
        if until is not None:
            del self._at[until][epoch]

    def clear(self) -> None:
        """Remove all epochs."""
        self._until.clear()
        self._at.clear()
        self._times.clear()

    def first(self) -> tuple[int, list[Epoch]] | None:
        """Return the earliest time (ns) at which epochs will be over, and those epochs; None if no epoch is open."""
        while self._times:
            until = self._times[0]
            if self._at[until]:
                return until, list(self._at[until])
            del self._at[heapq.heappop(self._times)]
        return None
