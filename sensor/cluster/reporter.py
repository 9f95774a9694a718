"""The reporter: a worker's end of the protocol. It takes SumStats' results and messages, and emits messages.

It is a state machine without sockets. Results are numbered and held until the manager has acknowledged them: after a
reconnect, or if an acknowledgement fails to come, they are sent again from the first unacknowledged one. Reports of
keys in open windows are neither numbered nor held.
"""

import itertools
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from sensor.bus.message import Message
from sensor.cluster.columns import as_it_is, fit, nbytes, pack, unpack_keys, unpack_numbers
from sensor.cluster.held_messages import Held, InMemory
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

_LONGEST, _MOST_DAMAGE = 1000, 1000  # characters of a line on unreadable input, and number of lines
_MOST_HINTS = 64  # lines on current problems
_LARGEST = 4  # times `group_bytes`: most bytes in a group with unlike keys


class Reporter:
    """Reports the results of one worker's SumStats to the manager. `members` is the number of workers that observe.

    `started` is the packet time (ns) at which it begins, if earlier input cannot be read. `continues`: its counts
    continue those of the last incarnation. `is_local`: the manager is in the same process.
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
        continues: bool = False,
        is_local: bool = False,
    ) -> None:
        self._started, self._continues, self._is_local = started, continues, is_local
        self.run = 0
        """Number of clock restarts before the open epochs."""
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
        self._after = 0  # number after the last event that made keys cross

    @property
    def counters(self) -> dict[str, int]:
        """`epochs_unsent`: epochs whose results found no room to be held and are lost; the manager is informed."""
        return {**self._counts, "watches_let_go": sum(watch.let_go for watch in self._watches.values())}

    @property
    def unacknowledged(self) -> int:
        """The number of numbered messages that the manager has not acknowledged."""
        return self._sequence - self._acknowledged + len(self._owed) + (self._beat is not None)

    def hello(self, version: str, digest: str) -> Hello:
        """Return the first message for every connection."""
        self._is_welcome = False
        return Hello(
            name=self.name,
            role="worker",
            version=version,
            digest=digest,
            incarnation=self.incarnation,
            sequence=self._acknowledged + 1,
            replays=self._replays,
            started=self._started,
            continues=self._continues,
        )

    def ended(self, end: EpochEnd, run: int = 0) -> None:
        """Hold the results of an ended epoch, group by group. `run`: number of clock restarts before it."""
        definition = self._definitions[end.sumstat]
        if end.restarts:
            self._watches[end.sumstat].clear()
        groups = [as_it_is(end.partial)] if self._is_local else self._packed(definition, end.partial)
        for number, columns in enumerate(groups):
            group = self._response(definition, end, self._sequence + 1, number, columns)
            if number == len(groups) - 1:
                group = _last_of(group, end, run, lost=end.lost)
            if self._owed or not self._hold(group):
                self._give_up(definition, end, run, number)
                return

    def ended_in_series(self, ends: EpochEnds, run: int = 0) -> None:
        """Hold the results of several ended epochs in as few messages as they fit into."""
        whole, settings = ends.series.whole, self._settings
        fits = len(whole) <= settings.cluster_send_in_groups_of and nbytes(whole) <= settings.group_bytes
        fits |= self._is_local
        if len(ends.series) > 1 and not fits:
            for each in ends.halves():
                self.ended_in_series(each, run)
            return
        definition = self._definitions[ends.sumstat]
        columns = as_it_is(whole) if self._is_local else pack(whole)
        series = ClusterSsSeries(
            definition=definition.digest,
            sumstat=ends.sumstat,
            worker=self.name,
            incarnation=self.incarnation,
            sequence=self._sequence + 1,
            epochs=ends.series.epochs.tobytes(),
            columns=columns,
            following=ends.following,
            start=ends.start,
            run=run,
        )
        if not fits or self._owed or not self._hold(series):
            for end in ends.singly():
                self.ended(end, run)

    def _packed(self, definition: Definition, partial: Partial) -> list[PackedPartial]:
        return [pack(part) for part in self._groups(definition, partial)]

    def _give_up(self, definition: Definition, end: EpochEnd, run: int, number: int) -> None:
        """Replace the results that found no room by a notice of how many observations were lost."""
        self._counts["epochs_unsent"] += 1
        lost = end.lost + int(sum(int(header["num"].sum()) for header in end.partial.headers.values()))
        if not definition.keeps_history:  # otherwise the headers include these observations
            lost += sum(map(len, end.partial.support))
        nothing = pack(end.partial.take(definition, np.empty(0, np.int64)))
        group = _last_of(self._response(definition, end, 0, number, nothing), end, run, lost=lost, given_up=lost > 0)
        self._owed.append(group)
        self._say_what_is_owed()

    def _response(
        self, definition: Definition, end: EpochEnd, sequence: int, number: int, columns: PackedPartial
    ) -> ClusterSsResponse:
        """Return a group of the keys of an epoch that is over."""
        return ClusterSsResponse(
            definition=definition.digest,
            sumstat=end.sumstat,
            epoch=end.epoch,
            worker=self.name,
            incarnation=self.incarnation,
            sequence=sequence,
            group=number,
            columns=columns,
            done=False,
        )

    def _say_what_is_owed(self) -> None:
        """Hold the pending loss notices once there is room; no heartbeat goes before them."""
        while self._owed:
            if not self._hold(msgspec.structs.replace(self._owed[0], sequence=self._sequence + 1)):
                return
            self._owed.popleft()

    def _groups(self, definition: Definition, partial: Partial) -> Iterator[Partial]:
        """Yield the keys, then their supporting observations, in groups within both limits; at least one group."""
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
        """Split groups with unusually large keys further, down to one key."""
        if len(partial) == 1 or nbytes(partial) <= _LARGEST * self._settings.group_bytes:
            yield partial
            return
        for part in partial.parts(definition, (len(partial) + 1) // 2):
            yield from self._halves(definition, part)

    def crossed(self, crossing: Crossings, order: np.ndarray) -> None:
        """Report keys that crossed or grew enough to check; `order` (int64): number of the worker's event for each."""
        self._report(crossing.sumstat, crossing.epoch, crossing.partial, crossing.value, crossing.ts, order)
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
                _, values, partial = self._sumstats.view(name, keys)
                watch.report(keys, values)
                if self._members == 1:
                    watch.share(keys, growth(values))
                ts, order = np.full(len(keys), now), np.full(len(keys), self._after)
                self._report(name, self._sumstats.epoch(name), partial, values, ts, order)

    def _report(
        self, sumstat: str, epoch: int, partial: Partial, values: np.ndarray, ts: np.ndarray, order: np.ndarray
    ) -> None:
        """Report keys whose values have grown; the manager of several workers then asks all of them for these keys."""
        if self._settings.enable_intermediate_updates:
            told = ClusterKeyIntermediateResponse(
                definition=self._definitions[sumstat].digest,
                sumstat=sumstat,
                epoch=epoch,
                worker=self.name,
                incarnation=self.incarnation,
                start=self._sumstats.start_of(sumstat, epoch),
                ts=ts.astype(np.int64).tobytes(),
                order=order.astype(np.int64).tobytes(),
                keys=partial.keys.tobytes(),
                value=values.astype(np.float64).tobytes(),
                run=self.run,
                columns=(as_it_is if self._is_local else pack)(partial) if self._members == 1 else None,
            )
            self._volatile.append(told)

    def switched_off(self, detection: str, ts: int) -> None:
        """Report that a detection is switched off here."""
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
        """Set the next heartbeat: everything up to the packet clock `watermark` was sent; only the latest is kept."""
        self._beat = Heartbeat(
            worker=self.name,
            incarnation=self.incarnation,
            sequence=0,
            run=run,
            watermark=watermark,
            counts=counts,
            done=done,
            read=read,
            damage=[each[:_LONGEST] for each in damage[:_MOST_DAMAGE]],
            hints=[each[:_LONGEST] for each in hints[:_MOST_HINTS]],
        )

    def _hold(self, message: Numbered) -> bool:
        if not self._held.append(message):
            self._counts["messages_refused"] += 1
            return False
        self._sequence += 1
        return True

    def receive(self, message: Message, now: float) -> list[EpochEnd]:
        """Take a message of the manager at a time (s, of any clock); return the epochs that it ends."""
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
        answer = ClusterKeyResponse(
            request=request.request,
            definition=definition.digest,
            sumstat=request.sumstat,
            epoch=epoch,
            worker=self.name,
            incarnation=self.incarnation,
            start=self._sumstats.start_of(request.sumstat, epoch),
            columns=pack(partial),
            run=self.run,
            left=left,
            below=below,
        )
        self._volatile.append(answer)

    def _enter(self, by_hand: dict[str, int]) -> None:
        """Enter the epochs that all others are in, for SumStats whose epochs end by hand.

        Not when input is replayed, as some of it was delivered in earlier epochs.
        """
        for name, epoch in by_hand.items():
            if name in self._definitions and not self._replays:
                self._sumstats.enter(name, epoch)

    def _end_by_hand(self, request: ClusterSsRequest) -> list[EpochEnd]:
        """End the requested epoch, and no later one, as the request may come twice."""
        is_open = self._sumstats.epoch(request.sumstat) == request.epoch
        if not is_open or self._definitions[request.sumstat].epoch_ns:
            return []
        return self._sumstats.next_epoch(request.sumstat, self._sumstats.now(request.sumstat))

    def drain(self, now: float) -> list[Message]:
        """Return the messages to send at a time (s); numbered ones only after the manager's welcome."""
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


def _last_of(
    group: ClusterSsResponse, end: EpochEnd, run: int, *, lost: int, given_up: bool = False
) -> ClusterSsResponse:
    """Return the group as the last one of its epoch."""
    return msgspec.structs.replace(
        group,
        done=True,
        following=end.following,
        start=end.start,
        end=end.end,
        lost=lost,
        given_up=given_up,
        run=run,
    )
