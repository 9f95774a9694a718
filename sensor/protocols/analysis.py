"""Analysis: runs the analyzers whose events a worker's detections use, and contains their exceptions."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from sensor.decode.payload import Payloads
from sensor.event_type import EventRows
from sensor.packet import Kind
from sensor.protocols.analyzer import Analyzer, analyzers_of
from sensor.protocols.segments import locate


class Analysis:
    """The analyzers of one worker."""

    def __init__(self) -> None:
        self._analyzers: list[Analyzer] = []

    def want(self, events: Iterable[str]) -> None:
        """Raise these events from now on; an analyzer that is still wanted keeps its streams."""
        running = {type(each): each for each in self._analyzers}
        self._analyzers = [running.get(each) or each() for each in analyzers_of(events)]

    @property
    def transports(self) -> set[Kind]:
        """The kinds of packets whose segments are wanted."""
        return {kind for each in self._analyzers for kind in each.transport}

    @property
    def counters(self) -> dict[str, int]:
        """The summed counters of all analyzers."""
        counts: Counter[str] = Counter()
        for each in self._analyzers:
            counts.update(each.counters)
        return dict(counts)

    def process(self, segments: np.ndarray, payloads: Payloads, call: Callable[..., Any]) -> None:
        """Pass SEGMENT rows, and the payloads of their packets, to every analyzer.

        call: calls an analyzer's function, and contains its exceptions.
        """
        if not self._analyzers or not len(segments):
            return
        located = locate(segments, payloads)
        for each in self._analyzers:
            call(each, "its analysis of segments", each.process, located)

    def drain(self) -> list[EventRows]:
        """Return the events since the last call, for each analyzer that raised any."""
        return [rows for each in self._analyzers if len((rows := each.drain()).rows)]
