"""A capture source of which only the packets that a filter matches are seen."""

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
        """The frames that match; a block of which none do is empty, so that time passes."""
        return map(self._filter.select, self._source.blocks())

    def stop(self) -> None:
        """Take nothing new."""
        self._source.stop()

    @property
    def damage(self) -> Sequence[Damage]:
        """What could not be read."""
        return self._source.damage

    @property
    def seen_until(self) -> int:
        """As of the source."""
        return self._source.seen_until

    @property
    def counters(self) -> dict[str, int]:
        """Those of the source, and `packets_filtered`, which are not among `packets_read` then."""
        counters = self._source.counters | self._filter.counters
        counters["packets_read"] -= self._filter.rejected
        return counters

    @property
    def progress(self) -> tuple[int, int | None]:
        """As of the source."""
        return self._source.progress
