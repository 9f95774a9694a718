"""The reporter: a worker's end of the protocol. What its SumStats come to goes in; messages go out, and come back.

It is a state machine that touches no socket. Results are numbered, and held until the manager has acknowledged them:
after a reconnect, or where an acknowledgement fails to come, they are sent again from the first that is not
acknowledged. What is told of keys in open windows is neither numbered nor held.
"""

import itertools
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import msgspec
import numpy as np

from sensor.bus.message import Message
from sensor.cluster.columns import as_it_is, fit, nbytes, pack, unpack_keys, unpack_numbers
from sensor.cluster.messages import (
    Ack,
    ClusterKeyIntermediateResponse,
    ClusterKeyRequest,
    ClusterKeyResponse,
    ClusterShare,
    ClusterSsRequest,
    ClusterSsResponse,
    ClusterSsSeries,
    ClusterThresholdCrossed,
    Counts,
    DetectionSwitchedOff,
    Heartbeat,
    Hello,
    Numbered,
    PackedPartial,
    ThresholdsReset,
    Welcome,
)
from sensor.cluster.settings import ClusterSettings
from sensor.cluster.watch import Watch
from sensor.sumstats import Crossings, Definition, EpochEnd, EpochEnds, Partial, Selection, SumStats
from sensor.sumstats.asked import growth

_LONGEST, _MOST_DAMAGE = 1000, 1000  # letters of a line on what could not be read, and lines
_MOST_HINTS = 64  # lines on what looks wrong
_LARGEST = 4  # times `group_bytes`: what a group of unlike keys may come to


class Held(Protocol):
    """Where numbered messages are held until they are acknowledged."""

    def append(self, message: Numbered) -> bool:
        """Hold a message; False: there is no room."""

    def after(self, sequence: int) -> Iterator[Numbered]:
        """Those with greater numbers, in order."""

    def release(self, sequence: int) -> None:
        """All up to this one are acknowledged."""


class InMemory:
    """Holds as many as there are: for a manager in the same process, which acknowledges at once."""

    def __init__(self) -> None:
        self._messages: deque[Numbered] = deque()

    def append(self, message: Numbered) -> bool:
        """Hold a message."""
        self._messages.append(message)
        return True

    def after(self, sequence: int) -> Iterator[Numbered]:
        """Those with greater numbers, in order."""
        return (each for each in self._messages if each.sequence > sequence)

    def release(self, sequence: int) -> None:
        """All up to this one are acknowledged."""
        while self._messages and self._messages[0].sequence <= sequence:
            self._messages.popleft()


class Reporter:
    """Tells the manager what the SumStats of one worker come to. `members` is how many observe.

    `started` is the packet time (ns) at which it begins, where what was before cannot be read. `goes_on`: its counts go
    on from those of the incarnation before. `is_local`: the manager is in the same process.
    """

    def __init__(
        self,
        name: str,
        incarnation: int,
        sumstats: SumStats,
        definitions: Iterable[Definition],
        *,
        settings: ClusterSettings | None = None,
        held: Held | None = None,
        members: int = 1,
        replays: bool = False,
        started: int | None = None,
        goes_on: bool = False,
        is_local: bool = False,
    ) -> None:
        self._started, self._goes_on, self._is_local = started, goes_on, is_local
        self.run = 0
        """How often the clock had begun anew before what is open."""
        self.name, self.incarnation, self._replays = name, incarnation, replays
        self._settings = settings or ClusterSettings()
        self._sumstats = sumstats
        self._definitions = {each.name: each for each in definitions}
        self._held: Held = held or InMemory()
        self._members = members
        self._watches = {
            each.name: Watch(each.key_words, self._settings.most_watched) for each in self._definitions.values()
        }
        self._sequence, self._sent, self._acknowledged = 0, 0, 0
        self._progress, self._is_welcome = 0.0, False
        self._beat: Heartbeat | None = None
        self._owed: deque[ClusterSsResponse] = deque()
        self._volatile: list[Message] = []
        self._counts: Counter[str] = Counter()
        self._after = 0  # the events that made keys cross

    @property
    def counters(self) -> dict[str, int]:
        """`epochs_unsent`: results of so many found no room to be held and are lost, which the manager is told."""
        return {**self._counts, "watches_let_go": sum(watch.let_go for watch in self._watches.values())}

    @property
    def unacknowledged(self) -> int:
        """How many numbered messages the manager has not acknowledged."""
        return self._sequence - self._acknowledged + len(self._owed) + (self._beat is not None)

    def hello(self, version: str, digest: str) -> Hello:
        """What to say first on every connection."""
        self._is_welcome = False
        first = self._acknowledged + 1
        about = self.incarnation, first, self._replays, self._started, self._goes_on
        return Hello(self.name, "worker", version, digest, *about)

    def ended(self, end: EpochEnd, run: int = 0) -> None:
        """An epoch is over: hold its results, group by group. `run`: how often the clock had begun anew."""
        definition = self._definitions[end.sumstat]
        if end.restarts:
            self._watches[end.sumstat].clear()
        groups = [as_it_is(end.partial)] if self._is_local else self._packed(definition, end.partial)
        for number, columns in enumerate(groups):
            done = number == len(groups) - 1
            ident = (definition.digest, end.sumstat, end.epoch, self.name, self.incarnation, self._sequence + 1, number)
            rest = (end.following, end.start, end.end, end.lost, False, run) if done else ()
            if self._owed or not self._hold(ClusterSsResponse(*ident, columns, done, *rest)):
                self._give_up(definition, end, run, number)
                return

    def ended_in_series(self, ends: EpochEnds, run: int = 0) -> None:
        """Epochs are over: hold their results in as few messages as they fit into."""
        whole, settings = ends.series.whole, self._settings
        fits = len(whole) <= settings.cluster_send_in_groups_of and nbytes(whole) <= settings.group_bytes
        fits |= self._is_local
        if len(ends.series) > 1 and not fits:
            for each in ends.halves():
                self.ended_in_series(each, run)
            return
        definition = self._definitions[ends.sumstat]
        columns = as_it_is(whole) if self._is_local else pack(whole)
        ident = (definition.digest, ends.sumstat, self.name, self.incarnation, self._sequence + 1)
        about = ends.series.epochs.tobytes(), columns, ends.following, ends.start, run
        if not fits or self._owed or not self._hold(ClusterSsSeries(*ident, *about)):
            for end in ends.singly():
                self.ended(end, run)

    def _packed(self, definition: Definition, partial: Partial) -> list[PackedPartial]:
        return [pack(part) for part in self._groups(definition, partial)]

    def _give_up(self, definition: Definition, end: EpochEnd, run: int, number: int) -> None:
        """Say, instead of what found no room, how much that was."""
        self._counts["epochs_unsent"] += 1
        lost = end.lost + int(sum(int(header["num"].sum()) for header in end.partial.headers.values()))
        if not definition.keeps_history:  # which is in the headers
            lost += sum(map(len, end.partial.support))
        nothing = pack(end.partial.take(definition, np.empty(0, np.int64)))
        ident = (definition.digest, end.sumstat, end.epoch, self.name, self.incarnation, 0, number)
        rest = (end.following, end.start, end.end, lost, lost > 0, run)
        self._owed.append(ClusterSsResponse(*ident, nothing, True, *rest))
        self._say_what_is_owed()

    def _say_what_is_owed(self) -> None:
        """Say what was lost for want of room, as soon as there is room for so little; no heartbeat goes before it."""
        while self._owed:
            if not self._hold(msgspec.structs.replace(self._owed[0], sequence=self._sequence + 1)):
                return
            self._owed.popleft()

    def _groups(self, definition: Definition, partial: Partial) -> Iterator[Partial]:
        """The keys, and then their support, in groups of so many and of so many bytes: one at least, maybe empty."""
        most, support, partial = self._settings.group_bytes, partial.support, partial.bare
        by_bytes = max(1, len(partial) * most // max(nbytes(partial), 1))
        for part in partial.parts(definition, min(self._settings.cluster_send_in_groups_of, by_bytes)):
            yield from self._halves(definition, part)
        nothing = partial.take(definition, np.empty(0, np.int64))
        for rows in support:
            by_bytes = max(1, len(rows) * most // max(rows.nbytes, 1))
            size = min(self._settings.cluster_send_in_groups_of, by_bytes)
            for start in range(0, len(rows), size):
                yield replace(nothing, support=(rows[start : start + size],))
        if not len(partial) and not support:
            yield partial

    def _halves(self, definition: Definition, partial: Partial) -> Iterator[Partial]:
        """Keys that are large beside the others are cut further, down to one."""
        if len(partial) == 1 or nbytes(partial) <= _LARGEST * self._settings.group_bytes:
            yield partial
            return
        for part in partial.parts(definition, (len(partial) + 1) // 2):
            yield from self._halves(definition, part)

    def crossed(self, crossing: Crossings, order: np.ndarray) -> None:
        """Keys have crossed, or grown enough to be looked at; `order` (int64): which of the worker's events it was."""
        self._tell(crossing.sumstat, crossing.epoch, crossing.partial, crossing.ts, order)
        self._after = max(self._after, int(order.max()) + 1)
        definition = self._definitions[crossing.sumstat]
        if self._members > 1 and definition.threshold:
            share = definition.threshold.share(definition.growing, self._members, self._percent)
            shares = share.table[share.rule_of(crossing.partial.keys), 0, 0]
            self._watches[crossing.sumstat].report(crossing.partial.keys, crossing.value, shares)
        elif definition.threshold:
            shares = growth(crossing.value)
            self._watches[crossing.sumstat].report(crossing.partial.keys, crossing.value, shares)
            self._watches[crossing.sumstat].share(crossing.partial.keys, shares)

    @property
    def _percent(self) -> float:
        return self._settings.cluster_request_global_view_percent

    def review(self, now: int) -> None:
        """Report the watched keys that have grown by their share; `now` is the packet clock (ns)."""
        for name, watch in self._watches.items():
            if not len(watch):
                continue
            keys = watch.keys
            known, values = self._sumstats.measure(name, keys)
            watch.forget(keys[~known])
            keys = keys[known]
            keys = keys[watch.grown(keys, values)]
            if len(keys):
                _, values, told = self._sumstats.view(name, keys)
                watch.report(keys, values)
                if self._members == 1:
                    watch.share(keys, growth(values))
                about = np.full(len(keys), now), np.full(len(keys), self._after)
                self._tell(name, self._sumstats.epoch(name), told, *about)

    def _tell(self, sumstat: str, epoch: int, partial: Partial, ts: np.ndarray, order: np.ndarray) -> None:
        if self._settings.enable_intermediate_updates:
            times = ts.astype(np.int64).tobytes(), order.astype(np.int64).tobytes()
            ident = (self._definitions[sumstat].digest, sumstat, epoch, self.name, self.incarnation)
            start = self._sumstats.start_of(sumstat, epoch)
            self._volatile.append(ClusterKeyIntermediateResponse(*ident, start, *times, pack(partial), self.run))

    def switched_off(self, detection: str, ts: int) -> None:
        """A detection no longer runs here."""
        self._hold(DetectionSwitchedOff(self.name, self.incarnation, self._sequence + 1, detection, ts))

    def heartbeat(
        self,
        run: int,
        watermark: int | None,
        counts: Counts,
        *,
        done: bool = False,
        read: int = 0,
        damage: Sequence[str] = (),
        hints: Sequence[str] = (),
    ) -> None:
        """All that was observed up to the packet clock `watermark` has been told; only the latest is ever held."""
        about = run, watermark, counts
        told = [each[:_LONGEST] for each in damage[:_MOST_DAMAGE]]
        wrong = [each[:_LONGEST] for each in hints[:_MOST_HINTS]]
        ident = self.name, self.incarnation, 0
        self._beat = Heartbeat(*ident, *about, done=done, read=read, damage=told, hints=wrong)

    def _hold(self, message: Numbered) -> bool:
        if not self._held.append(message):
            self._counts["messages_refused"] += 1
            return False
        self._sequence += 1
        return True

    def receive(self, message: Message, now: float) -> list[EpochEnd]:
        """Take a message of the manager at a time (s, of any clock); the epochs that it ends."""
        match message:
            case Welcome():
                self._is_welcome = True
                self._acknowledge(message.sequence, now)
                self._sent = message.sequence
                self._enter(message.by_hand)
                for watch in self._watches.values():
                    watch.tell_again()
            case Ack() if message.incarnation == self.incarnation:
                self._acknowledge(message.sequence, now)
            case ClusterKeyRequest() if message.sumstat in self._definitions:
                self._answer(message)
            case ClusterShare() if message.sumstat in self._definitions:
                keys = unpack_keys(message.keys, self._definitions[message.sumstat].key_words)
                self._watches[message.sumstat].share(keys, unpack_numbers(message.share, np.float64, len(keys)))
            case ClusterThresholdCrossed() if message.sumstat in self._definitions and message.run == self.run:
                keys = unpack_keys(message.keys, self._definitions[message.sumstat].key_words)
                self._sumstats.silence(message.sumstat, keys, message.until)
                self._watches[message.sumstat].forget(keys)
            case ThresholdsReset() if message.sumstat in self._definitions:
                if message.epoch >= self._sumstats.epoch(message.sumstat):
                    self._watches[message.sumstat].clear()
            case ClusterSsRequest() if message.sumstat in self._definitions:
                return self._end_by_hand(message)
        return []

    def _acknowledge(self, sequence: int, now: float) -> None:
        if self._acknowledged < sequence <= self._sequence:
            self._acknowledged, self._progress = sequence, now
            self._sent = max(self._sent, sequence)
            self._held.release(sequence)

    def _answer(self, request: ClusterKeyRequest) -> None:
        definition = self._definitions[request.sumstat]
        epoch, left, below = self._sumstats.epoch(request.sumstat), 0, 0.0
        if request.keys:
            keys = unpack_keys(request.keys, definition.key_words)
            _, values, partial = self._sumstats.view(request.sumstat, keys)
            self._watches[request.sumstat].report(partial.keys, values, np.full(len(values), np.inf))
        else:
            epoch = self._sumstats.entered(request.sumstat)
            selection = Selection(tuple(request.mask), tuple(request.value), top=request.top, by=request.by)
            found = self._sumstats.answer(request.sumstat, selection)
            partial, left, below = fit(definition, found, request.by, self._settings.query_bytes)
        ident = (definition.digest, request.sumstat, epoch, self.name, self.incarnation)
        start = self._sumstats.start_of(request.sumstat, epoch)
        self._volatile.append(ClusterKeyResponse(request.request, *ident, start, pack(partial), self.run, left, below))

    def _enter(self, by_hand: dict[str, int]) -> None:
        """What is observed now is of the epochs that all others are in, whichever ended by hand before this began.

        What is read again is not, as some of it was told in those.
        """
        for name, epoch in by_hand.items():
            if name in self._definitions and not self._replays:
                self._sumstats.enter(name, epoch)

    def _end_by_hand(self, request: ClusterSsRequest) -> list[EpochEnd]:
        """End the epoch that is meant, and no later one: the request may come twice."""
        is_open = self._sumstats.epoch(request.sumstat) == request.epoch
        if not is_open or self._definitions[request.sumstat].epoch_ns:
            return []
        return self._sumstats.next_epoch(request.sumstat, self._sumstats.now(request.sumstat))

    def take(self, now: float) -> list[Message]:
        """What is to be sent at a time (s): nothing numbered before the manager has said what it has."""
        volatile, self._volatile = self._volatile, []
        if not self._is_welcome:
            return []
        if self._sent > self._acknowledged and now - self._progress >= self._settings.retry_s:
            self._sent, self._progress = self._acknowledged, now
        room = self._settings.window_messages - (self._sent - self._acknowledged)
        self._say_what_is_owed()
        if self._beat and not self._owed and self._sequence - self._sent < room:
            beat = msgspec.structs.replace(self._beat, sequence=self._sequence + 1)
            self._beat = None if self._hold(beat) else self._beat
        numbered: list[Message] = list(itertools.islice(self._held.after(self._sent), max(room, 0)))
        if numbered and self._sent == self._acknowledged:
            self._progress = now
        self._sent += len(numbered)
        return [*numbered, *volatile]
