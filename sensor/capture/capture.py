"""The interface of every capture source."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from sensor.capture.errors import Damage
from sensor.packet import Block


class Capture(Protocol):
    """Files (`Savefiles`), interfaces (`Live`), or either through a filter (`Filtered`)."""

    @property
    def damage(self) -> Sequence[Damage]:
        """The parts of the input that could not be read."""

    @property
    def seen_until(self) -> int:
        """Time in ns since the epoch before which no further frame will come. 0: unknown; only frames tell the time."""

    @property
    def counters(self) -> dict[str, int]:
        """Counts of what came so far, and of losses and oddities, by name."""

    @property
    def progress(self) -> tuple[int, int | None]:
        """Bytes done, and bytes in all if known."""

    def blocks(self) -> Iterator[Block]:
        """Yield frames in order; a block is valid until the next is requested. An empty block: no frames have come."""

    def stop(self) -> None:
        """Take no new packets: `blocks` ends after the frames already received."""
