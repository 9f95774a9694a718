"""What every capture source looks like to whoever takes packets from it."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from sensor.capture.errors import Damage
from sensor.packet import Block


class Capture(Protocol):
    """Files (`Savefiles`), interfaces (`Live`), or either through a filter (`Filtered`)."""

    @property
    def damage(self) -> Sequence[Damage]:
        """What could not be read."""

    @property
    def seen_until(self) -> int:
        """ns since the epoch: no frame from before will come any more. 0: nothing is known but by frames."""

    @property
    def counters(self) -> dict[str, int]:
        """What came so far, and what was lost or odd about it, by name."""

    @property
    def progress(self) -> tuple[int, int | None]:
        """Bytes done, and bytes in all where that is known."""

    def blocks(self) -> Iterator[Block]:
        """Frames in order; a block is valid until the next one is asked for. An empty one: nothing has come."""

    def stop(self) -> None:
        """Take nothing new: `blocks` ends when what is there already has been given."""
