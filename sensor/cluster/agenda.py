"""The agenda: which epochs are to be ended, and when their time is over, the earliest first.

To look what is due next costs no more the more epochs are open: a worker that reads a quiet week at once delivers
thousands before it says how far it has come.
"""

import heapq

Epoch = tuple[str, int]
"""A SumStat's name, and the number of an epoch (where windows hop, of a pane)."""


class Agenda:
    """The epochs that some have delivered and that are not over, by the time (ns) at which they will be."""

    def __init__(self) -> None:
        self._until: dict[Epoch, int] = {}
        self._at: dict[int, dict[Epoch, None]] = {}
        self._times: list[int] = []

    def __len__(self) -> int:
        return len(self._until)

    def note(self, epoch: Epoch, until: int) -> None:
        """An epoch will be over then, whatever was said of it before."""
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
        """An epoch is over, if it was not."""
        until = self._until.pop(epoch, None)
        if until is not None:
            del self._at[until][epoch]

    def clear(self) -> None:
        """No epoch is open."""
        self._until.clear()
        self._at.clear()
        self._times.clear()

    def first(self) -> tuple[int, list[Epoch]] | None:
        """The earliest time at which epochs will be over, and these; None: no epoch is open."""
        while self._times:
            until = self._times[0]
            if self._at[until]:
                return until, list(self._at[until])
            del self._at[heapq.heappop(self._times)]
        return None
