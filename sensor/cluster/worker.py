"""The worker: blocks of frames in, messages about what was observed out. It touches no socket and no file."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from sensor.clock import PacketClock
from sensor.cluster.messages import (
    ClusterKeyIntermediateResponse,
    ClusterSsResponse,
    ClusterThresholdCrossed,
    Counts,
    DetectionSwitchedOff,
    Heartbeat,
    Message,
)
from sensor.decode import Decoder
from sensor.detection import Detection
from sensor.detection.feed import EpochEnded, Faults, Feed
from sensor.flows import Event, FlowOptions, FlowTable
from sensor.packet import FULL_BLOCK, Block
from sensor.sumstats import EpochEnd, SumStats

_PATIENCE = 65536
"""Packets at most that wait for more before the detections are given their events: a dozen NumPy calls for each stream
cost as much for a thousand events as for one (measured: a fifth less CPU time for the whole replay)."""


class Worker:
    """Decodes, tracks flows, runs the detections' streams and reduces their observations, for one share of traffic.

    `origin` (ns) is where epochs are cut from; None: from the first packet.
    """

    def __init__(
        self,
        name: str,
        detections: Sequence[Detection],
        flow_options: FlowOptions | None = None,
        origin: int | None = None,
    ) -> None:
        self.name = name
        self._faults = Faults()
        self._feed = Feed(detections, self._faults)
        definitions = [definition for each in detections for definition in each.define().values()]
        self._sumstats = SumStats(definitions, origin=origin)
        self._decoder, self._clock = Decoder(), PacketClock()
        self._flows = FlowTable(
            flow_options or FlowOptions(), wanted=[Event[name.upper()] for name in self._feed.wanted]
        )
        self._held: np.ndarray | None = None
        self._counts = Counts()
        self._started, self._events, self._waiting = False, 0, 0

    def process(self, block: Block) -> list[Message]:
        """Take the next block; give what the manager is to know."""
        packets = self._decoder.decode(block)
        self._count(packets)
        if self._held is not None:
            packets, self._held = np.concatenate([self._held, packets]), None
        self._waiting += len(packets)
        more = len(block.frames) >= FULL_BLOCK and self._waiting < _PATIENCE
        if not more:
            self._waiting = 0
        return [*self._advance(packets, more=more), self._heartbeat()]

    def receive(self, messages: Iterable[ClusterThresholdCrossed]) -> None:
        """Take what the manager has to say."""
        for message in messages:
            self._sumstats.silence(message.sumstat, message.keys, message.until)

    def finish(self) -> list[Message]:
        """Input has ended: no wait goes on, every flow is removed, and the last epoch closes."""
        messages: list[Message] = []
        if self._held is not None:
            packets, self._held = self._held, None
            messages += self._advance(packets, more=False, final=True)
        return [*messages, *self._close(), self._heartbeat()]

    def counts(self) -> Counts:
        """What has become of the packets so far."""
        counted = self._counts
        counted.packets_decoded = self._decoder.packets_decoded
        counted.refused, counted.weirds = self._decoder.refused, self._decoder.weirds | self._flows.weirds
        flows = dict(self._flows.counters)
        counted.flows, counted.observations = flows.pop("flows"), self._feed.observations
        del flows["probes"]  # of the hash table: it depends on the secret, as nothing else does
        counted.faults = dict(self._faults.counts)
        counted.counters = self._decoder.fragment_counters | self._clock.counters | flows | self._refused()
        return counted

    def _refused(self) -> dict[str, int]:
        """What SumStats had to drop or to count late, all of them together."""
        counts: Counter[str] = Counter()
        for each in self._sumstats.counters.values():
            counts.update({f"sumstats_{name}": count for name, count in each.items() if name != "observations"})
        return dict(counts)

    def _count(self, packets: np.ndarray) -> None:
        counted = self._counts
        counted.packets_read += len(packets)
        counted.bytes += int(packets["wirelen"].sum(dtype=np.int64))
        if len(packets):
            first, last = int(packets["ts"].min()), int(packets["ts"].max())
            counted.first_ts = first if counted.first_ts is None else min(first, counted.first_ts)
            counted.last_ts = last if counted.last_ts is None else max(last, counted.last_ts)

    def _advance(self, packets: np.ndarray, *, more: bool, final: bool = False) -> Iterator[Message]:
        now, restarts = self._clock.advance(packets["ts"], final=final)
        if len(now) < len(packets):
            self._held = packets[len(now) :].copy()
        starts = [0, *np.flatnonzero(restarts).tolist(), len(now)]
        for start, stop in pairwise(starts):
            if start < len(now) and restarts[start]:
                yield from self._end_flows()
            if start == stop:
                continue
            if not self._started or restarts[start]:
                self._started = True
                yield from self._ended(self._sumstats.start(int(now[start])))
            for events in self._flows.process(packets[start:stop], now[start:stop], more=more):
                yield from self._observe(events)
            if not more:
                yield from self._ended(self._sumstats.advance(int(now[stop - 1])))

    def _end_flows(self) -> Iterator[Message]:
        for events in self._flows.finish():
            yield from self._observe(events)

    def _close(self) -> Iterator[Message]:
        yield from self._end_flows()
        if self._clock.now is not None:
            yield from self._ended(self._sumstats.finish(self._clock.now))

    def _observe(self, events: np.ndarray) -> Iterator[Message]:
        for given in self._feed.observe(events):
            if isinstance(given, EpochEnded):
                yield from self._ended(self._sumstats.next_epoch(given.name, given.ts))
                continue
            for each in self._sumstats.observe(
                given.name, given.keys, given.ts, given.values, given.applies, seen=given.seen
            ):
                if isinstance(each, EpochEnd):
                    yield from self._ended([each])
                else:
                    order = self._events + given.index[each.at]
                    yield ClusterKeyIntermediateResponse(
                        self.name, each.sumstat, each.epoch, each.ts, order, each.partial
                    )
        self._events += len(events)
        for name in self._faults.take_unreported():
            yield DetectionSwitchedOff(self.name, name, int(events["ts"][-1]))

    def _ended(self, ends: list[EpochEnd]) -> Iterator[Message]:
        for each in ends:
            yield ClusterSsResponse(self.name, each)

    def _heartbeat(self) -> Heartbeat:
        return Heartbeat(self.name, self._clock.now, self.counts())
