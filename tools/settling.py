"""Settling: a collector whose epochs end when all members have come past them, as those of the manager do.

For tests and tools that judge epochs without a cluster; it calls what the manager's ledger calls.
"""

from collections.abc import Iterable

import numpy as np

from sensor.sumstats import Collector, Definition, EpochEnd, EpochResult, Merged

Told = EpochResult | Merged


class Settling(Collector):
    """A collector that knows how far each member has come."""

    def __init__(self, definition: Definition, members: Iterable[str], secret: np.ndarray | None = None) -> None:
        self._entered = dict.fromkeys(sorted(members), -1)
        super().__init__(definition, secret, room=len(self._entered))

    def deliver(self, member: str, end: EpochEnd) -> list[Told]:
        """Take the end of a member's epoch, and settle what all have come past."""
        self.apply(member, end)
        self._entered[member] = end.following
        told = self.close(min(self._entered.values()) - 1)
        if end.restarts:
            told += self.close(max(self.delivered, default=-1))
            self.restart(end.following)
        return told

    def close(self, last: int) -> list[Told]:
        """Settle an epoch, and those before it, though some members may not have delivered."""
        told: list[Told] = []
        for epoch in sorted(each for each in self.delivered if each <= last):
            settled = self.close_epoch(epoch, [name for name, entered in self._entered.items() if entered <= epoch])
            for each in settled:
                if isinstance(each, Merged):  # all that is told here stands
                    self.fire(epoch, each.partial.keys, each.level)
            told += settled
        return told
