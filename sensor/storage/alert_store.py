"""The alert store: the interface through which a manager stores alerts durably, each exactly once."""

from typing import Protocol


class AlertStore(Protocol):
    """Takes lines with ids. Lines that the disk refuses wait in memory and are retried with the next call."""

    lost: int
    """Lines refused because the waiting room was full."""
    failures: int
    """Failed attempts to write lines to disk."""
    error: str
    """The last disk error; empty if the last write succeeded."""

    @property
    def waiting(self) -> int:
        """The number of waiting lines; while there are any, the caller must keep their source elsewhere."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the waiting lines."""

    def open(self) -> list[str]:
        """Read the existing store, before all else; return messages about anything irregular.

        OSError or ValueError if it cannot be used.
        """

    def write(self, records: list[tuple[str, bytes]]) -> int:
        """Add the lines whose id is not stored yet, durably; return how many were new and not lost."""
