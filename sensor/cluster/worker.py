"""The worker: takes blocks of frames and emits messages about its observations. It uses no socket and no file."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from sensor.bus.message import Message
from sensor.clock import SECOND, PacketClock, format_duration
from sensor.cluster.held_messages import Held
from sensor.cluster.messages import Counts, Hello
from sensor.cluster.reporter import Reporter
from sensor.cluster.settings import ClusterSettings
from sensor.decode import NO_PAYLOADS, OTHER_LINKTYPES, DecodeOptions, Decoder, Payloads
from sensor.detection import Detection
from sensor.detection.feed import EpochEnded, Faults, Feed
from sensor.event_type import NO_TEXT, EventRows
from sensor.flows import Event, FlowOptions, FlowTable
from sensor.flows.event_types import FLOW_EVENTS
from sensor.flows.sharding import keep_share
from sensor.packet import FULL_BLOCK, Block, tally
from sensor.protocols import Analysis, Analyzer
from sensor.sumstats import EpochEnd, EpochEnds, SumStats

_PATIENCE = 65536
"""Most packets to collect before the detections are given their events: a dozen NumPy calls per stream cost as much for
a thousand events as for one (measured: a fifth less CPU time for the whole replay)."""

UNKNOWN_LINKTYPE = "packets_unknown_linktype"
"""Prefix of the counters of packets with a link type without a decoder; the type's number follows, or "other"."""

_TIME_STEP = SECOND // 10  # smallest step of the packet clock while no packets come


class Worker:
    """Decodes, tracks flows, runs the detections' streams and reduces their observations, for one share of traffic.

    `share` is (index from 0, number of shares): the part of the given packets that it tracks. `in_step`: all workers
    are given the same packets, so their clocks restart together. `members` is the number of workers that observe; 0: no
    keys are reported before their epoch is over. `replays`: its input can be read again. For the rest, see `Reporter`.
    """

    def __init__(
        self,
        name: str,
        detections: Sequence[Detection],
        flow_options: FlowOptions | None = None,
        decode_options: DecodeOptions | None = None,
        *,
        in_step: bool = False,
        incarnation: int = 0,
        share: tuple[int, int] = (0, 1),
        members: int = 0,
        replays: bool = False,
        settings: ClusterSettings | None = None,
        held: Held | None = None,
        continues: bool = False,
        is_local: bool = False,
    ) -> None:
        settings = settings or ClusterSettings()
        self.name, self._share, self._in_step = name, share, in_step
        self._faults = Faults()
        self._feed = Feed(detections, self._faults)
        definitions = [definition for each in detections for definition in each.define().values()]
        percent = settings.cluster_request_global_view_percent
        self._sumstats = SumStats(definitions, in_step=in_step, members=members, percent=percent)
        self._reporter = Reporter(
            name,
            incarnation,
            self._sumstats,
            definitions,
            settings=settings,
            held=held,
            members=members,
            replays=replays,
            continues=continues,
            is_local=is_local,
        )
        self._decoder, self._clock = Decoder(decode_options), PacketClock(is_live=not replays)
        self._flows, self._analysis = FlowTable(flow_options), Analysis()
        self._held: tuple[np.ndarray, Payloads] | None = None
        self._want(self._feed.wanted)
        self._counts = Counts()
        self.captured: dict[str, int] = {}
        """Counters of its capture source; sent with the counts of the first share."""
        self.carried: dict[str, int] = {}
        """Counters of its node on the way to the manager."""
        self.read = 0
        """Bytes that its capture source has read."""
        self.damage: list[str] = []
        """Parts of the input that its capture source could not read, for people."""
        self.hints: list[str] = []
        """Current problems of its capture, for people."""
        self._run, self._started, self._waiting = 0, False, 0
        self._earlier, self._earlier_faults = Counter[str](), Counter[str]()

    @property
    def unacknowledged(self) -> int:
        """The number of messages that the manager has not acknowledged yet."""
        return self._reporter.unacknowledged

    def hello(self, version: str, digest: str) -> Hello:
        """Return the first message for every connection."""
        return self._reporter.hello(version, digest)

    def process(self, block: Block, *, may_wait: bool = False) -> None:
        """Take the next block. `may_wait`: a block or `pass_time` follows soon, and events may be kept until then."""
        packets = self._decoder.decode(block)
        payloads = self._decoder.payloads
        is_all = self._share[1] == 1
        self._count(packets if is_all else packets[keep_share(packets, *self._share)])
        if self._held is not None:
            held, self._held = self._held, None
            packets, payloads = np.concatenate([held[0], packets]), held[1].joined(payloads)
        if not len(packets) and not may_wait:
            self._flush_events()
        self._waiting += len(packets)
        more = (may_wait or len(block.frames) >= FULL_BLOCK) and self._waiting < _PATIENCE
        if not more:
            self._waiting = 0
        self._advance(packets, payloads, more=more)
        if self._clock.now is not None and not more:
            self._reporter.review(self._clock.now)
            self._heartbeat()

    def pass_time(self, ts: int) -> None:
        """Advance to a packet time (ns) before which no packet will come: end all waits that are over by then."""
        if self._clock.now is not None and ts < self._clock.now + _TIME_STEP:
            self._flush_events()
            return
        self._flush_held()
        now = self._clock.pass_time(ts)
        if not self._started:
            self._end(self._sumstats.start(now))
            self._started = True
        self._observe_all(self._flows.pass_time(now))
        self._end(self._sumstats.advance(now))
        self._reporter.review(now)
        self._heartbeat()

    def receive(self, messages: Iterable[Message], now: float) -> None:
        """Take messages of the manager at a time (s, of any clock)."""
        for message in messages:
            self._end(self._reporter.receive(message, now))

    def drain(self, now: float) -> list[Message]:
        """Return the messages to send to the manager at a time (s)."""
        return self._reporter.drain(now)

    def finish(self) -> None:
        """End the input: process what was held, remove every flow, and close the last epoch."""
        self._flush_held()
        self._end_flows()
        if self._clock.now is not None:
            self._end(self._sumstats.finish(self._clock.now))
        self._heartbeat(done=True)

    def adopt(self, detections: Sequence[Detection]) -> None:
        """Switch to the streams of other detections that define the same SumStats."""
        self._flush_events()
        observed, self._feed = self._feed.observations, Feed(detections, self._faults)
        self._feed.observations = observed
        self._want(self._feed.wanted)

    def conclude(self) -> None:
        """Close the last epoch but keep connections open, as a worker with other detections takes over (`follow`)."""
        self._flush_events()
        self._flush_held()
        if self._clock.now is not None:
            self._end(self._sumstats.finish(self._clock.now))
        self._heartbeat(done=True)

    def follow(self, other: "Worker") -> None:
        """Take over from a concluded worker, with its connections, its time and its counts."""
        self._decoder, self._clock, self._flows = other._decoder, other._clock, other._flows
        self._analysis, self._counts = other._analysis, other._counts
        self._want(self._feed.wanted)
        self._feed.observations = other._feed.observations
        self._earlier = other._earlier + Counter(other._refused() | other._reporter.counters)
        self._earlier_faults = other._earlier_faults + Counter(other._faults.counts)
        self.read, self.captured = other.read, other.captured

    def counts(self) -> Counts:
        """Return the counts of its share's packets so far; the first share includes the refused packets of all."""
        counted, flows = self._counts, dict(self._flows.counters)
        weirds = Counter(self._flows.weirds)
        own: Counter[str] = Counter(self._earlier)
        own.update(self._refused() | self._reporter.counters)
        counted.counters = flows | self._analysis.counters | dict(own) | self.carried
        if self._share[0] == 0:
            counted.refused = self._decoder.refused
            weirds.update(self._decoder.weirds)
            captured = dict(self.captured)
            counted.captured = captured.pop("packets_read", 0)
            captured |= self._decoder.fragment_counters | self._unknown_linktypes
            counted.counters = captured | self._clock.counters | counted.counters
        counted.weirds = dict(weirds)
        counted.flows, counted.observations = counted.counters.pop("flows"), self._feed.observations
        del counted.counters["probes"]  # of the hash table: the only counter that depends on the secret
        counted.faults = dict(self._earlier_faults + Counter(self._faults.counts))
        return counted

    @property
    def clock_hints(self) -> list[str]:
        """Messages about how far the clocks that stamped the packets differ, for people."""
        return [
            f"clocks differ: some packets are stamped {format_duration(round(abs(ahead), -10))} "
            f"{'later' if ahead > 0 else 'earlier'} than those between which they came, as where interfaces' clocks "
            "are not set alike: each is taken at the time of the packet before it"
            for ahead in self._clock.ahead
        ]

    @property
    def _unknown_linktypes(self) -> dict[str, int]:
        found = self._decoder.unknown_linktypes.items()
        return {f"{UNKNOWN_LINKTYPE}_{'other' if kind == OTHER_LINKTYPES else kind}": count for kind, count in found}

    def _refused(self) -> dict[str, int]:
        """Return the summed counters of what SumStats dropped or counted late."""
        counts: Counter[str] = Counter()
        for each in self._sumstats.counters.values():
            counts.update({f"sumstats_{name}": count for name, count in each.items() if name != "observations"})
        return dict(counts)

    def _count(self, own: np.ndarray) -> None:
        if not len(own):
            return
        counted = self._counts
        decoded, size, first, last = map(int, tally(own))
        counted.packets_read += len(own)
        counted.packets_decoded += decoded
        counted.bytes += size
        if not first:  # no packet has a time
            return
        counted.first_ts = first if counted.first_ts is None else min(first, counted.first_ts)
        counted.last_ts = last if counted.last_ts is None else max(last, counted.last_ts)

    def _advance(self, packets: np.ndarray, payloads: Payloads, *, more: bool, final: bool = False) -> None:
        before = self._clock.now or 0
        now, restarts = self._clock.advance(packets["ts"], final=final)
        if len(now) < len(packets):
            self._held = packets[len(now) :].copy(), payloads.part(len(now)).kept()
        starts = [0, *np.flatnonzero(restarts).tolist(), len(now)]
        for start, stop in pairwise(starts):
            if start < len(now) and restarts[start]:
                self._end_flows()
                self._end(self._sumstats.advance(int(now[start - 1]) if start else before))
            if start == stop:
                continue
            if not self._started or restarts[start]:
                self._end(self._sumstats.start(int(now[start])))
                self._run += self._in_step and self._started
                self._reporter.run = self._run
                self._started = True
            handed_out = self._flows.process(packets[start:stop], now[start:stop], more=more)
            self._observe_all(handed_out, payloads.part(start, stop), more=more)
            if not more:
                self._end(self._sumstats.advance(int(now[stop - 1])))

    def _flush_events(self) -> None:
        """Give the detections the events kept for them, as nothing more comes just now."""
        if not self._waiting or self._clock.now is None:
            return
        self._waiting = 0
        self._observe_all(self._flows.pass_time(self._clock.now))
        self._end(self._sumstats.advance(self._clock.now))
        self._reporter.review(self._clock.now)
        self._heartbeat()

    def _flush_held(self) -> None:
        """Process the last packet, if held, without waiting for the next one to confirm its time."""
        if self._held is not None:
            (packets, payloads), self._held = self._held, None
            self._advance(packets, payloads, more=False, final=True)

    def _end_flows(self) -> None:
        self._observe_all(self._flows.finish())

    def _want(self, events: set[str]) -> None:
        """Raise these events from now on, in the flow table and the protocol analyzers."""
        self._analysis.want(events)
        own = [Event[each.name.upper()] for each in FLOW_EVENTS if each.name in events]
        if (locates := bool(self._analysis.transports)) != self._decoder.locates:
            self._flush_held()  # its payload is located or not, by the old setting only
        self._decoder.locates = locates
        self._flows.want(own, segments=self._analysis.transports)

    def _observe_all(
        self, handed_out: Iterator[np.ndarray], payloads: Payloads = NO_PAYLOADS, *, more: bool = False
    ) -> None:
        """Observe the events that the flow table yields, with those from the segments seen meanwhile.

        With `more`, events from segments after the last yield are kept until the next one.
        """
        for events in handed_out:
            self._analysis.process(self._flows.take_segments(), payloads, self._analyse)
            self._observe([EventRows(FLOW_EVENTS, events, NO_TEXT), *self._analysis.drain()])
        self._analysis.process(self._flows.take_segments(), payloads, self._analyse)
        if not more and (messages := self._analysis.drain()):
            self._observe(messages)

    def _analyse(self, analyzer: Analyzer, what: str, function: Any, *args: Any) -> None:
        if self._faults.allows(analyzer):
            self._faults.call(analyzer, what, function, *args)

    def _observe(self, events: list[EventRows]) -> None:
        for given in self._feed.observe(events):
            if isinstance(given, EpochEnded):
                self._end(self._sumstats.next_epoch(given.name, given.ts))
                continue
            for each in self._sumstats.observe(
                given.name, given.keys, given.ts, given.values, given.applies, seen=given.seen
            ):
                if isinstance(each, EpochEnd):
                    self._end([each])
                elif isinstance(each, EpochEnds):
                    self._reporter.ended_in_series(each, self._run)
                else:
                    self._reporter.crossed(each, given.order[each.at])
        for name in self._faults.take_unreported():
            last = [int(each.rows["ts"][-1]) for each in events if len(each.rows)]
            for detection in self._feed.blinded_by(name):
                self._reporter.switched_off(detection, max(last, default=self._clock.now or 0))

    def _end(self, ends: Iterable[EpochEnd]) -> None:
        for each in ends:
            self._reporter.ended(each, self._run)

    def _heartbeat(self, *, done: bool = False) -> None:
        told = self._run, self._clock.now, self.counts()
        hints = [*self.hints, *(self.clock_hints if self._share[0] == 0 else ())]
        self._reporter.heartbeat(*told, done=done, read=self.read, damage=self.damage, hints=hints)
