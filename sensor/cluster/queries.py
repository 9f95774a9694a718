"""Queries: all workers' current merged values of a key, or of the top of many keys; Zeek's `request_key`.

Every up member is asked at once, and its answer about its open window is merged with the delivered results of epochs
that are not over. A query holds the names that have yet to answer: when there are none, or the time is up, the observer
receives the answer with the names of missing members. Queries change nothing that is judged, alerted or asked early.

Requests are numbered downwards from -1, so that a late answer is never taken for one to an early view.
"""

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import msgspec
import numpy as np

from sensor.bus.message import Message
from sensor.clock import rfc3339
from sensor.cluster.columns import values_of
from sensor.cluster.ledger import Ledger, Stat
from sensor.cluster.membership import THE_END
from sensor.cluster.messages import ClusterKeyRequest, ClusterKeyResponse, KeyResult, PresentEpoch, RequestKey
from sensor.cluster.settings import ClusterSettings
from sensor.detection import DetectionError, SumStat
from sensor.sumstats import Definition, Partial, Present, Selection, results
from sensor.sumstats.calculation import Value
from sensor.words import amount, hint

MOST_KEYS = 1000
"""Most keys in one query."""
_MOST_EPOCHS = 8
"""Most epochs in an answer: the latest open ones, if some workers are far behind others."""
_LONGEST = 1000  # characters of a reason
_EARLIEST, _LATEST = -(1 << 62), 1 << 62  # ns; an epoch's length can be added without overflow

_SHARED = {each.name for each in fields(Value)}

_encoder = msgspec.json.Encoder(enc_hook=str)


@dataclass(slots=True)
class _View:
    """A member's answer about its open window."""

    epoch: int
    start: int
    partial: Partial
    left: int
    below: float


@dataclass(slots=True)
class _Query:
    observer: str
    asked: RequestKey
    stat: Stat
    selection: Selection
    waiting: set[str]
    began: float
    views: dict[str, _View] = field(default_factory=dict)


class Queries:
    """The observers' queries that wait for answers, and the messages to send for them."""

    def __init__(self, ledger: Ledger, settings: ClusterSettings) -> None:
        self._ledger, self._settings = ledger, settings
        self._numbers = itertools.count(-1, -1)
        self._open: dict[int, _Query] = {}
        self._outgoing: list[tuple[str, Message]] = []
        self._counts: Counter[str] = Counter()

    @property
    def counters(self) -> dict[str, int]:
        """Counts of `queries_refused` (no room), `queries_timed_out`, and `answers_ignored` (late or repeated)."""
        return dict(self._counts)

    def __len__(self) -> int:
        """Return the number of queries that wait for answers."""
        return len(self._open)

    def drain(self) -> list[tuple[str, Message]]:
        """Return receivers and messages since the last call."""
        taken, self._outgoing = self._outgoing, []
        return taken

    def ask(self, observer: str, asked: RequestKey, now: float) -> None:
        """Ask all connected members at a time (s), or send the reason for a refusal."""
        own = sum(query.observer == observer for query in self._open.values())
        if len(self._open) >= self._settings.most_queries or own >= self._settings.most_queries_of_observer:
            self._counts["queries_refused"] += 1
            self._refuse(observer, asked, "too many questions wait for answers: ask again in some seconds")
            return
        try:
            stat = self._find(asked.sumstat)
            selection = _selection(stat.judged.sumstat, stat.definition, asked)
        except DetectionError as error:
            self._refuse(observer, asked, str(error), fatal=True)
            return
        number = next(self._numbers)
        members = self._ledger.membership.members.values()
        waiting = {each.name for each in members if each.is_up and each.reached != THE_END}
        self._open[number] = _Query(observer, asked, stat, selection, waiting, now)
        every = selection.all  # only the merge of all answers gives the top
        request = ClusterKeyRequest(
            request=number,
            sumstat=stat.definition.name,
            epoch=-1,
            mask=list(every.mask),
            value=list(every.value),
            top=every.top,
            by=selection.by,
        )
        self._outgoing += [(name, request) for name in sorted(waiting)]
        self._complete(number)

    def is_of(self, answer: ClusterKeyResponse) -> bool:
        """Return whether an answer belongs to an observer's query and not to an early view."""
        return answer.request < 0

    def answer(self, member: str, answer: ClusterKeyResponse) -> None:
        """Take a member's answer, once. ValueError says what is invalid."""
        query = self._open.get(answer.request)
        if query is None or member not in query.waiting:
            self._counts["answers_ignored"] += 1
            return
        if self._ledger.stat(answer.sumstat, answer.definition) is not query.stat:
            raise ValueError(f"that is no answer to what was asked about {query.stat.definition.name}")
        if answer.left < 0 or not _EARLIEST < answer.start < _LATEST:
            raise ValueError(f"{amount(answer.left, 'key')} left out, from {answer.start} on: that cannot be")
        partial = query.stat.packing.unpack(answer.columns)
        query.stat.packing.check(partial)
        query.waiting.discard(member)
        query.views[member] = _View(answer.epoch, answer.start, partial, answer.left, answer.below)
        self._complete(answer.request)

    def lost(self, member: str) -> None:
        """Continue without a member whose connection is lost."""
        for number, query in list(self._open.items()):
            query.waiting.discard(member)
            self._complete(number)

    def forget(self, observer: str) -> None:
        """Drop the queries of an observer that has disconnected."""
        self._open = {number: query for number, query in self._open.items() if query.observer != observer}

    def expire(self, now: float) -> None:
        """Answer queries that have waited too long without the members still missing."""
        for number, query in list(self._open.items()):
            if now - query.began >= self._settings.query_s:
                self._counts["queries_timed_out"] += 1
                query.waiting.clear()
                self._complete(number)

    def _find(self, name: str) -> Stat:
        if name not in self._ledger.stats:
            raise DetectionError(f"there is no SumStat {name!r}{hint(name, self._ledger.stats)}")
        return self._ledger.stats[name]

    def _refuse(self, observer: str, asked: RequestKey, reason: str, *, fatal: bool = False) -> None:
        refusal = KeyResult(asked.request, asked.sumstat, reason=reason[:_LONGEST], fatal=fatal)
        self._outgoing.append((observer, refusal))

    def _complete(self, number: int) -> None:
        if self._open[number].waiting:
            return
        query = self._open.pop(number)
        running = self._running(query)
        room = self._settings.answer_bytes // max(len(running), 1)
        epochs = [self._epoch(query, epoch, room) for epoch in running]
        name, by = query.stat.definition.name, query.selection.by
        result = KeyResult(request=query.asked.request, sumstat=name, by=by, epochs=epochs)
        self._outgoing.append((query.observer, result))

    def _running(self, query: _Query) -> list[int]:
        """Return the open epochs that members have entered or delivered, at most the latest `_MOST_EPOCHS`."""
        collector = query.stat.collector
        entered = {view.epoch for view in query.views.values() if view.epoch > collector.closed}
        return sorted(entered | set(collector.delivered))[-_MOST_EPOCHS:]

    def _epoch(self, query: _Query, epoch: int, room: int) -> PresentEpoch:
        stat, definition = query.stat, query.stat.definition
        views = {member: view for member, view in query.views.items() if view.epoch == epoch}
        found = stat.collector.present(epoch, {name: view.partial for name, view in views.items()}, query.selection)
        delivered = stat.collector.delivered.get(epoch)
        start = min([view.start for view in views.values()] + ([delivered[0]] if delivered else []))
        end = start + definition.pane_ns if definition.pane_ns else 0
        who = frozenset(views) | (delivered[2] if delivered else frozenset())
        missing = {*found.missing, *self._missing(query, epoch, (start, end), who)}
        views = {member: view for member, view in views.items() if not (delivered and member in delivered[2])}
        left = sum(view.left for view in views.values())
        told = self._ledger.alert_about
        return PresentEpoch(
            epoch=epoch,
            start=start - (definition.panes - 1) * definition.hop_ns,
            end=end,
            workers=list(found.members),
            missing=sorted(missing),
            keys=found.keys,
            left=left,
            within=_within(definition, query.selection.by, [view.below for view in views.values()], left),
            rows=_rows(stat.judged.sumstat, definition, epoch, query.selection.by, found, room, told),
        )

    def _missing(self, query: _Query, epoch: int, span: tuple[int, int], who: frozenset[str]) -> set[str]:
        """Return the members whose values should be in an epoch, except those that have not reached it yet."""
        definition = query.stat.definition
        missing = set(self._ledger.missing(definition.name, epoch, *span, who))
        if not definition.pane_ns:  # these do not wait for members whose input has ended
            missing -= {name for name in missing if self._ledger.membership[name].reached == THE_END}
        return missing - {member for member, view in query.views.items() if view.epoch <= epoch - definition.panes}


def _selection(sumstat: SumStat, definition: Definition, asked: RequestKey) -> Selection:
    """Return the query as masks on the words of keys; DetectionError if it is invalid."""
    if not 1 <= asked.top <= MOST_KEYS:
        raise DetectionError(f"the top {asked.top} cannot be asked for: it may be from 1 to {MOST_KEYS}")
    names = [reducer.name for reducer in definition.reducers if reducer.is_judged]
    if asked.by and asked.by not in names:
        near = hint(asked.by, names)
        raise DetectionError(f"{definition.name} has no reducer {asked.by!r} to order keys by{near}")
    if not names:
        raise DetectionError(f"{definition.name} has no reducer whose value keys could be ordered by")
    own = [name for name in definition.threshold.names if name in names] if definition.threshold else []
    mask, value = sumstat.match(asked.key)
    return Selection(mask, value, top=asked.top, by=asked.by or (own or names)[0])


def _within(definition: Definition, by: str, below: list[float], left: int) -> float | None:
    """Return by how much a value may be too small because of keys left out; None if unknown."""
    if not left:
        return 0.0
    return float(sum(max(each, 0.0) for each in below)) if by in definition.growing else None


def _rows(
    sumstat: SumStat,
    definition: Definition,
    epoch: int,
    by: str,
    found: Present,
    room: int,
    alert_about: Callable[[str, np.ndarray], str | None],
) -> list[bytes]:
    """Return the keys as JSON objects, as many as fit into `room` bytes."""
    rows: list[bytes] = []
    judged = [reducer.name for reducer in definition.reducers if reducer.is_judged]
    columns = {name: values_of(definition, found.partial, name).tolist() for name in judged}
    for at, result in enumerate(results(definition, found.partial)):
        seen = sumstat.seen(result)
        row = {
            "event_type": "key",
            "sumstat": definition.name,
            "epoch": epoch,
            "key": sumstat.key.named(result.key),
            "value": columns[by][at],
            "figures": {name: column[at] for name, column in columns.items()},
            "num": result.num,
            "first_seen": rfc3339(result.begin),
            "last_seen": rfc3339(result.end),
            "alert": alert_about(definition.name, found.partial.keys[at]),
            "values": {name: _fields(each, result.values[name]) for name, each in seen.reducers.items()},
        }
        rows.append(_encoder.encode(row))
        room -= len(rows[-1])
        if room < 0:
            return rows[:-1]
    return rows


def _fields(shown: Any, value: Value) -> dict[str, Any]:
    """Return the fields of a reducer's value that it does not share with the others."""
    assert is_dataclass(value)
    return {each.name: getattr(shown, each.name) for each in fields(value) if each.name not in _SHARED}
