"""The snapshot: the manager's whole state, so that its journal can drop the records that led to it."""

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from sensor.alerts import AlertRecord
from sensor.cluster.columns import Packing, pack, unpack_keys, unpack_numbers
from sensor.cluster.crossing import Crossing, Judged
from sensor.cluster.membership import Member
from sensor.cluster.messages import PackedPartial
from sensor.cluster.record import ToldEarly
from sensor.cluster.standing_alerts import StandingAlert
from sensor.sumstats import Collector, EpochEnd, results
from sensor.sumstats.collector import CollectorMemory
from sensor.sumstats.panes import Pane
from sensor.sumstats.suppression import QuietMemory


class HeldPane(msgspec.Struct, frozen=True):
    """The results that members have delivered for an epoch."""

    start: int
    end: int
    partials: dict[str, PackedPartial]
    missing: list[str]
    lost: int
    late: list[str] = []


class Quieted(msgspec.Struct, frozen=True):
    """The suppression state of keys."""

    keys: bytes
    starts: bytes
    ends: bytes
    again: bytes
    fired: dict[int, tuple[bytes, bytes]]


class Collected(msgspec.Struct, frozen=True):
    """The collector state of one SumStat."""

    closed: int
    panes: dict[int, HeldPane]
    quiet: Quieted
    counters: tuple[int, int]
    reopened: list[int] = []
    delivered: dict[str, int] = {}
    continues: bool = False


class Later(msgspec.Struct, frozen=True):
    """An epoch delivered by a worker whose clock has restarted before all others' have."""

    run: int
    member: str
    sumstat: str
    epoch: int
    following: int
    start: int
    end: int
    lost: int
    columns: PackedPartial


class Group(msgspec.Struct, frozen=True):
    """The groups received so far of an epoch that a worker is delivering."""

    member: str
    sumstat: str
    epoch: int
    count: int
    columns: list[PackedPartial]


class Standing(msgspec.Struct, frozen=True):
    """A standing alert whose key is still counted."""

    sumstat: str
    words: bytes
    record: AlertRecord
    epoch: int
    level: int
    ts: int
    end: int
    value: float
    num: int
    members: list[str]
    missing: list[str]
    complete: bool
    late: bool
    last: int
    """The last pane with an observation of the key."""
    columns: PackedPartial


class Snapshot(msgspec.Struct, frozen=True):
    """The whole state of the manager."""

    digest: str
    """Digest of the definitions: a manager with others cannot use the snapshot."""
    run: int
    members: list[Member]
    collected: dict[str, Collected]
    groups: list[Group]
    later: list[Later]
    broken: list[tuple[str, int, str]]
    early: list[tuple[ToldEarly, bool]]
    """Early crossings of open epochs, and whether each was sent as an alert."""
    incidents: list[tuple[str, int, str, int, int]]
    incidents_open: list[Standing]
    alerts: int
    withdrawn: int
    repeats: dict[str, int]
    parts: dict[str, int]
    forgotten: int
    faults: dict[str, int]
    switched_off: list[str]
    counters: dict[str, int]


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Snapshot)


def encode(snapshot: Snapshot) -> bytes:
    """Return a snapshot as bytes."""
    return _encoder.encode(snapshot)


def decode(data: bytes) -> Snapshot:
    """Return a snapshot from bytes; msgspec.ValidationError if they are none."""
    snapshot: Snapshot = _decoder.decode(data)
    return snapshot


def later(run: int, member: str, end: EpochEnd) -> Later:
    """Pack an epoch that was delivered ahead of the other members' clock restarts."""
    return Later(
        run=run,
        member=member,
        sumstat=end.sumstat,
        epoch=end.epoch,
        following=end.following,
        start=end.start,
        end=end.end,
        lost=end.lost,
        columns=pack(end.partial),
    )


def end_of(held: Later, packing: Packing) -> EpochEnd:
    """Unpack an epoch that was delivered ahead of the other members' clock restarts."""
    return EpochEnd(
        sumstat=held.sumstat,
        epoch=held.epoch,
        following=held.following,
        start=held.start,
        end=held.end,
        partial=packing.unpack(held.columns),
        lost=held.lost,
    )


def standing(sumstat: str, alert: StandingAlert, collector: Collector) -> Standing:
    """Pack a standing alert together with the collector's values of its key."""
    told, words = alert.crossing, alert.crossing.words
    return Standing(
        sumstat=sumstat,
        words=words.tobytes(),
        record=alert.record,
        epoch=told.epoch,
        level=told.level,
        ts=told.ts,
        end=told.end,
        value=told.value,
        num=told.result.num,
        members=list(told.members),
        missing=list(told.missing),
        complete=told.complete,
        late=told.late,
        last=collector.following.last[words.tobytes()],
        columns=pack(collector.following.partial(words[np.newaxis])),
    )


def crossing_of(held: Standing, judged: Judged, packing: Packing, collector: Collector) -> Crossing:
    """Restore a standing alert's crossing and the counting of its key; the result keeps the `num` last reported."""
    partial = packing.unpack(held.columns)
    collector.following.begin(partial, held.last)
    result = replace(results(judged.definition, partial)[0], num=held.num)
    return Crossing(
        judged=judged,
        epoch=held.epoch,
        level=held.level,
        ts=held.ts,
        end=held.end,
        words=partial.keys[0].copy(),
        result=result,
        value=held.value,
        members=tuple(held.members),
        missing=tuple(held.missing),
        complete=held.complete,
        late=held.late,
    )


def collected(memory: CollectorMemory) -> Collected:
    """Pack the memory of a collector."""
    panes = {
        index: HeldPane(
            pane.start,
            pane.end,
            {member: pack(partial) for member, partial in pane.partials.items()},
            sorted(pane.missing),
            pane.lost,
            sorted(pane.late),
        )
        for index, pane in memory.panes.items()
    }
    quiet, fired = memory.quiet, {}
    for pane_index, (keys, levels) in quiet.fired.items():
        fired[pane_index] = keys.tobytes(), levels.astype(np.int64).tobytes()
    held = Quieted(quiet.keys.tobytes(), quiet.starts.tobytes(), quiet.ends.tobytes(), quiet.again.tobytes(), fired)
    return Collected(
        closed=memory.closed,
        panes=panes,
        quiet=held,
        counters=memory.counters,
        reopened=sorted(memory.reopened),
        delivered=dict(memory.delivered),
        continues=memory.continues,
    )


def memory_of(held: Collected, packing: Packing, words: int) -> CollectorMemory:
    """Unpack the memory of a collector; `words` is the number of words per key."""
    panes = {
        index: Pane(
            pane.start,
            pane.end,
            {member: packing.unpack(columns) for member, columns in pane.partials.items()},
            set(pane.missing),
            pane.lost,
            late=set(pane.late),
        )
        for index, pane in held.panes.items()
    }
    keys, fired = unpack_keys(held.quiet.keys, words), {}
    for pane_index, (fired_keys, levels) in held.quiet.fired.items():
        own = unpack_keys(fired_keys, words)
        fired[pane_index] = own, unpack_numbers(levels, np.int64, len(own))
    quiet = held.quiet
    starts, ends, again = (
        unpack_numbers(each, np.int64, len(keys)) for each in (quiet.starts, quiet.ends, quiet.again)
    )
    return CollectorMemory(
        closed=held.closed,
        panes=panes,
        reopened=set(held.reopened),
        delivered=held.delivered,
        quiet=QuietMemory(keys, starts, ends, again, fired),
        counters=held.counters,
        continues=held.continues,
    )
