"""What a network card and its driver dropped before any socket could see it."""

import os

_RECEIVED_DROPS = 3  # after the name: bytes, packets, errors, drops


class NicDrops:
    """The drops of one interface from now on, in the network namespace of the thread that makes this.

    /proc/net/dev has what /sys/class/net/*/statistics has as rx_dropped and rx_missed_errors, as one sum, and unlike
    /sys it is always that of the namespace.
    """

    def __init__(self, interface: str) -> None:
        self._interface = interface
        file = os.open("/proc/thread-self/net/dev", os.O_RDONLY | os.O_CLOEXEC)
        self._file: int | None = file
        self._last, self._total = _drops(file, interface) or 0, 0

    def total(self) -> int:
        """Drops so far; those of an interface that was deleted and made again are added."""
        now = None if self._file is None else _drops(self._file, self._interface)
        if now is not None:
            self._total += now - self._last if now >= self._last else now
            self._last = now
        return self._total

    def close(self) -> None:
        """Let go of the file; the total stays."""
        self.total()
        if self._file is not None:
            os.close(self._file)
        self._file = None


def _drops(file: int, interface: str) -> int | None:
    text, offset = b"", 0
    while piece := os.pread(file, 1 << 16, offset):
        text, offset = text + piece, offset + len(piece)
    for line in text.decode(errors="replace").splitlines():
        name, _, numbers = line.rpartition(":")
        if name.strip() == interface:
            return int(numbers.split()[_RECEIVED_DROPS])
    return None
