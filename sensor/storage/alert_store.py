"""The alert store: where a manager keeps alerts durably, each exactly once, whatever it is."""

from typing import Protocol


class AlertStore(Protocol):
    """Takes lines under ids. What the disk refuses waits in memory, and is tried again with the next call."""

    lost: int
    """Lines that were refused for want of room to wait."""
    failures: int
    """How often the disk failed to take lines."""
    error: str
    """What it said; empty if it took all the last time."""

    @property
    def waiting(self) -> int:
        """Lines that wait; what they came of must be kept elsewhere."""

    @property
    def waiting_bytes(self) -> int:
        """Their bytes."""

    def open(self) -> list[str]:
        """Find what is there, before all else; say what was not as it should be.

        OSError or ValueError: it cannot be used.
        """

    def write(self, records: list[tuple[str, bytes]]) -> int:
        """Add those lines whose id is not there yet, durably; how many were new, and not lost."""
