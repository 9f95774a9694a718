"""What a network card and its driver received, and what they dropped before any socket could see it."""

import os
from typing import NamedTuple

_PACKETS, _DROPS = 1, 3  # after the name: bytes, packets, errors, drops


class NicCounts(NamedTuple):
    """Packets that arrived and were handed on, and packets that were dropped."""

    packets: int
    drops: int


class NicCounters:
    """The counts of one interface from now on, in the network namespace of the thread that makes this.

    /proc/net/dev has what /sys/class/net/*/statistics has as rx_packets, and as rx_dropped and rx_missed_errors in one
    sum, and unlike /sys it is always that of the namespace. Some drivers bring it up to date every few seconds only.
    """

    def __init__(self, interface: str) -> None:
        self._interface = interface
        file = os.open("/proc/thread-self/net/dev", os.O_RDONLY | os.O_CLOEXEC)
        self._file: int | None = file
        self._last, self._total = _counts(file, interface) or NicCounts(0, 0), NicCounts(0, 0)

    def total(self) -> NicCounts:
        """Counts so far; those of an interface that was deleted and made again are added."""
        now = None if self._file is None else _counts(self._file, self._interface)
        if now is not None:
            since = [new - old if new >= old else new for new, old in zip(now, self._last, strict=True)]
            self._total = NicCounts(self._total.packets + since[0], self._total.drops + since[1])
            self._last = now
        return self._total

    def close(self) -> None:
        """Let go of the file; the total stays."""
        self.total()
        if self._file is not None:
            os.close(self._file)
        self._file = None


def _counts(file: int, interface: str) -> NicCounts | None:
    text, offset = b"", 0
    while piece := os.pread(file, 1 << 16, offset):
        text, offset = text + piece, offset + len(piece)
    for line in text.decode(errors="replace").splitlines():
        name, _, numbers = line.rpartition(":")
        if name.strip() == interface:
            received = numbers.split()
            return NicCounts(int(received[_PACKETS]), int(received[_DROPS]))
    return None
