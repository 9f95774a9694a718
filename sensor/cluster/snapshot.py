"""The snapshot: all that a manager knows, so that its journal need not hold what led there."""

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
    """What members have delivered of an epoch."""

    start: int
    end: int
    partials: dict[str, PackedPartial]
    missing: list[str]
    lost: int
    late: list[str] = []


class Quieted(msgspec.Struct, frozen=True):
    """What is remembered of keys."""

    keys: bytes
    starts: bytes
    ends: bytes
    again: bytes
    fired: dict[int, tuple[bytes, bytes]]


class Collected(msgspec.Struct, frozen=True):
    """What is known of one SumStat."""

    closed: int
    panes: dict[int, HeldPane]
    quiet: Quieted
    counters: tuple[int, int]
    reopened: list[int] = []
    delivered: dict[str, int] = {}
    continues: bool = False


class Later(msgspec.Struct, frozen=True):
    """An epoch that was delivered by a worker whose clock has begun anew, before all others' have."""

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
    """The groups that came so far of an epoch that a worker is delivering."""

    member: str
    sumstat: str
    epoch: int
    count: int
    columns: list[PackedPartial]


class Standing(msgspec.Struct, frozen=True):
    """An alert whose key is counted on."""

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
    """The last pane in which something was observed of the key."""
    columns: PackedPartial


class Snapshot(msgspec.Struct, frozen=True):
    """All of it."""

    digest: str
    """Of the definitions: it is of no use to a manager with others."""
    run: int
    members: list[Member]
    collected: dict[str, Collected]
    groups: list[Group]
    later: list[Later]
    broken: list[tuple[str, int, str]]
    early: list[tuple[ToldEarly, bool]]
    """What was asked of epochs that are open, and whether it went out as an alert."""
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
    """A snapshot as bytes."""
    return _encoder.encode(snapshot)


def decode(data: bytes) -> Snapshot:
    """A snapshot from bytes; msgspec.ValidationError if it is none."""
    snapshot: Snapshot = _decoder.decode(data)
    return snapshot


def later(run: int, member: str, end: EpochEnd) -> Later:
    """What came before its time, as it is kept."""
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
    """What came before its time."""
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
    """An alert whose key is counted on, as it is kept."""
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
    """The crossing of an alert whose key is counted on from here; of its result, it is known how much was told."""
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
    """What a collector knows, as it is kept."""
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
    """What a collector knew."""
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
