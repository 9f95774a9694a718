"""A capture source reduced to the packets that a filter matches."""

from collections.abc import Iterator, Sequence

from sensor.capture.bpf.filter import Filter
from sensor.capture.capture import Capture
from sensor.capture.errors import Damage
from sensor.packet import Block


class Filtered:
    """`source` through a filter in tcpdump's language."""

    def __init__(self, source: Capture, filter: Filter) -> None:
        self._source, self._filter = source, filter

    def blocks(self) -> Iterator[Block]:
        """Yield the matching frames; a block without any is yielded empty, so that time passes."""
        return map(self._filter.select, self._source.blocks())

    def stop(self) -> None:
        """Take no new packets."""
        self._source.stop()

    @property
    def damage(self) -> Sequence[Damage]:
        """The parts of the input that could not be read."""
        return self._source.damage

    @property
    def seen_until(self) -> int:
        """The source's `seen_until`."""
        return self._source.seen_until

    @property
    def counters(self) -> dict[str, int]:
        """The source's counters and `packets_filtered`; `packets_read` excludes the filtered packets."""
        counters = self._source.counters | self._filter.counters
        counters["packets_read"] -= self._filter.rejected
        return counters

    @property
    def progress(self) -> tuple[int, int | None]:
        """The source's progress."""
        return self._source.progress
