"""The feed: turns batches of events into observations for the detections' SumStats, and contains exceptions."""

import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from sensor.detection.detection import Detection, EndedByHand, Observed
from sensor.detection.reduction import Reduction, ScalarElements
from sensor.detection.stream import Columns, DetectionError, Stream
from sensor.detection.sumstat import SumStat
from sensor.event_type import EventRows
from sensor.events import Batch, split
from sensor.protocols import ANALYZERS, Analyzer
from sensor.sumstats.zeek_types import Observation

log = logging.getLogger(__name__)


class Named(Protocol):
    """A detection or an analyzer: it has code of its own, and a name for reports."""

    @property
    def name(self) -> str:  # noqa: D102
        ...


@dataclass
class Faults:
    """Contains the exceptions of a detection, or of a protocol's analyzer.

    They are counted and logged by name, and an author that has raised too often is switched off.
    """

    limit: int = 10
    counts: dict[str, int] = field(default_factory=dict)
    switched_off: list[str] = field(default_factory=list)
    unreported: list[str] = field(default_factory=list)

    def allows(self, author: Named) -> bool:
        """True if the author is not switched off."""
        return author.name not in self.switched_off

    def call(self, author: Named, what: str, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function of an author; return None if it raised."""
        try:
            return function(*args)
        except KeyboardInterrupt:
            raise
        except BaseException:  # sys.exit() too: it must end nothing but this call
            self._count(author, what)
            return None

    def take_unreported(self) -> list[str]:
        """Return the detections that were switched off since the last call."""
        taken, self.unreported = self.unreported, []
        return taken

    def _count(self, author: Named, what: str) -> None:
        name, kind = author.name, "analyzer" if isinstance(author, Analyzer) else "detection"
        count = self.counts[name] = self.counts.get(name, 0) + 1
        if count == 1:
            log.exception("%s %s raised in %s; the others go on", kind, name, what)
        else:
            log.error("%s %s raised again in %s (%d times)", kind, name, what, count)
        if count >= self.limit and name not in self.switched_off:
            log.error("%s %s is switched off: it raised %d times", kind, name, count)
            self.switched_off.append(name)
            self.unreported.append(name)


@dataclass(frozen=True)
class Observations:
    """The observations for one SumStat from some events, in their order."""

    name: str
    order: np.ndarray
    """int64: the order of each event, ascending."""
    ts: np.ndarray
    """int64 (ns): the time of the event, which decides the epoch."""
    seen: np.ndarray
    """int64 (ns): the time at which its packets were seen, which alerts report."""
    keys: np.ndarray
    """(n, words) uint64."""
    values: dict[str, np.ndarray]
    """By reducer, for those that take values: float64 (n,), or uint64 (n, words) for a set's."""
    applies: dict[str, np.ndarray]
    """By the engine's name of a selection of reducers: bool (n,), the rows that they take."""

    def __getitem__(self, part: slice) -> "Observations":
        """Return consecutive observations."""
        values = {name: array[part] for name, array in self.values.items()}
        applies = {name: mask[part] for name, mask in self.applies.items()}
        return Observations(
            self.name, self.order[part], self.ts[part], self.seen[part], self.keys[part], values, applies
        )


@dataclass(frozen=True)
class EpochEnded:
    """A detection ends the epoch of one of its SumStats by hand, after all earlier observations."""

    name: str
    ts: int


@dataclass(frozen=True)
class _Piece:
    stream: Stream
    batch: Batch
    keys: np.ndarray
    values: Any = None
    normalize_key: Callable[[Any], Any] | None = None


class Feed:
    """Runs the streams and handlers of some detections over events."""

    def __init__(self, detections: Sequence[Detection], faults: Faults) -> None:
        self.detections, self.faults = detections, faults
        self.observations = 0
        self._sumstats = [(each, sumstat) for each in detections for sumstat in each.sumstats.values()]
        self._names = {
            id(sumstat): f"{each.name}.{name}" for each in detections for name, sumstat in each.sumstats.items()
        }

    def blinded_by(self, name: str) -> list[str]:
        """Return the detections that lose all or some events when this detection, or a protocol's analyzer, is off."""
        events = {event for event, each in ANALYZERS.items() if each.__name__ == name}
        return [each.name for each in self.detections if each.name == name or events & self._looks_at(each)]

    @property
    def wanted(self) -> set[str]:
        """The events that some detection uses."""
        return {event for each in self.detections for event in self._looks_at(each)}

    @staticmethod
    def _looks_at(detection: Detection) -> set[str]:
        streams = [stream for sumstat in detection.sumstats.values() for stream in sumstat.streams]
        return {event for stream in streams for event in stream.events} | set(detection.handlers)

    def observe(self, events: Iterable[EventRows]) -> Iterator[Observations | EpochEnded]:
        """Yield each SumStat's observations from some events, and the ends of its epochs by hand."""
        batches = dict(split(events))
        by_hand = {id(each): self._run_handlers(each, batches) for each in self.detections}
        for detection, sumstat in self._sumstats:
            if not self.faults.allows(detection):
                continue
            mine, ended = by_hand[id(detection)]
            found = self.faults.call(detection, f"the streams of {sumstat.name}", self._gather, sumstat, batches, mine)
            if found is not None:
                self.observations += len(found.ts)
            ends = sorted(each[1:] for each in ended if each.sumstat is sumstat)
            yield from _cut(self._names[id(sumstat)], found, ends)

    def _run_handlers(
        self, detection: Detection, batches: dict[str, Batch]
    ) -> tuple[list[Observed], list[EndedByHand]]:
        """Return the observations of a detection's handlers, and the epochs that they end."""
        observed: list[Observed] = []
        ended: list[EndedByHand] = []
        for event in detection.handlers:
            if event in batches and self.faults.allows(detection):
                what = f"its handler of {event}"
                observed += self.faults.call(detection, what, detection.run_handlers, batches[event]) or []
                ended += detection.ended
        return observed, ended

    def _gather(self, sumstat: SumStat, batches: dict[str, Batch], by_hand: list[Observed]) -> Observations | None:
        pieces = [piece for stream in sumstat.streams for piece in _pieces(stream, batches)]
        pieces += [_Piece(*each) for each in by_hand if each[0] in sumstat.streams]
        pieces = [of for piece in pieces if len(piece.batch) for of in _normalized(piece, sumstat)]
        if not pieces:
            return None
        orders = np.concatenate([piece.batch.order for piece in pieces])
        order = np.argsort(orders, kind="stable")
        taken = {sumstat.takes[name]: reducer for name, reducer in sumstat.reducers.items()}
        masks = {takes: [_taken(reducer, piece) for piece in pieces] for takes, reducer in taken.items()}
        masks = {takes: own for takes, own in masks.items() if any(mask.any() for mask in own)}
        if not masks:
            return None
        applies = {takes: np.concatenate(own)[order] for takes, own in masks.items()}
        reducers = {name: each for name, each in sumstat.reducers.items() if sumstat.takes[name] in masks}
        looked_at: dict[Any, list[str]] = {}
        for name, reducer in reducers.items():
            looked_at.setdefault(reducer.looks_at, []).append(name)
        values: dict[str, np.ndarray] = {}
        for names in looked_at.values():
            of_pieces = zip(*(masks[sumstat.takes[name]] for name in names), strict=True)
            wanted = [functools.reduce(np.logical_or, own) for own in of_pieces]
            read = [_values_of(reducers[names[0]], *each) for each in zip(pieces, wanted, strict=True)]
            values |= dict.fromkeys(names, np.ascontiguousarray(np.concatenate(read)[order]))
        ts, seen = (np.concatenate([getattr(piece.batch, name) for piece in pieces])[order] for name in ("ts", "seen"))
        keys = np.ascontiguousarray(np.concatenate([piece.keys for piece in pieces])[order])
        return Observations(self._names[id(sumstat)], orders[order], ts, seen, keys, values, applies)


def _cut(name: str, found: Observations | None, ends: list[tuple[int, int]]) -> Iterator[Observations | EpochEnded]:
    """Yield the observations up to each (order, time) that ends an epoch, and its end; then the rest."""
    start = 0
    for order, ts in ends:
        stop = start if found is None else int(np.searchsorted(found.order, order, side="right"))
        if found is not None and stop > start:
            yield found[start:stop]
        yield EpochEnded(name, ts)
        start = stop
    if found is not None and start < len(found.ts):
        yield found[start:] if start else found


def _pieces(stream: Stream, batches: dict[str, Batch]) -> Iterator[_Piece]:
    for event in stream.events:
        if event in batches:
            batch = batches[event]
            if stream.where is not None:
                mask = _mask(stream.where, batch)
                batch = batch if mask.all() else batch[mask]
            if len(batch):
                yield _Piece(stream, batch, _columns(stream).read(batch))


def _columns(stream: Stream) -> Columns:
    """Return the key of a stream whose observations are columns."""
    assert isinstance(stream.key, Columns)
    return stream.key


def _mask(where: Callable[[Batch], np.ndarray], batch: Batch) -> np.ndarray:
    """Return a function's mask for a batch; it is called once, as several streams and reducers may share it."""
    mask = np.asarray(batch.once(where))
    if mask.shape != (len(batch),) or mask.dtype != np.bool_:
        raise DetectionError(f"{where.__name__} gave {mask.dtype} {mask.shape}; it must give one bool for each row")
    return mask


def _normalized(piece: _Piece, sumstat: SumStat) -> Iterator[_Piece]:
    """Yield the piece once for each way in which reducers of its stream change its keys."""
    for stream, normalize in sumstat.sources:
        if stream is piece.stream:
            keys = piece.keys if normalize is None else stream.key.change(piece.keys, normalize)
            yield replace(piece, keys=keys, normalize_key=normalize)


def _is_of(reducer: Reduction, piece: _Piece) -> bool:
    return reducer.source == (piece.stream, piece.normalize_key)


def _taken(reducer: Reduction, piece: _Piece) -> np.ndarray:
    """Return a mask of the rows of a piece that a reducer takes."""
    n = len(piece.batch)
    if not _is_of(reducer, piece):
        return np.zeros(n, np.bool_)
    return np.ones(n, np.bool_) if reducer.where is None else _mask(reducer.where, piece.batch)


def _values_of(reducer: Reduction, piece: _Piece, wanted: np.ndarray) -> np.ndarray:
    """Return the values of the wanted rows (bool) of a piece, and 0 for others."""
    if piece.values is not None or wanted.all():
        return _values(reducer, piece)
    values = np.zeros((len(wanted), reducer.words), np.uint64) if reducer.words else np.zeros(len(wanted))
    rows = np.flatnonzero(wanted)
    if len(rows):
        values[rows] = _values(reducer, replace(piece, batch=piece.batch[rows], keys=piece.keys[rows]))
    return values


def _values(reducer: Reduction, piece: _Piece) -> np.ndarray:
    """Return a reducer's values for a piece: uint64 (n, words) for a set, float64 (n,) otherwise."""
    n, words = len(piece.batch), reducer.words
    if not _is_of(reducer, piece):
        return np.zeros((n, words), np.uint64) if words else np.zeros(n)
    given = piece.values if reducer.of is None else None
    if words:
        return _elements(reducer, piece, given)
    if given is None:
        part = reducer.parts[0] if reducer.parts else np.ones(n)
        given = getattr(piece.batch, part) if isinstance(part, str) else part(piece.batch) if callable(part) else part
    if isinstance(given, list) and given and isinstance(given[0], Observation):
        given = [each.value for each in given]
    numbers = np.ascontiguousarray(given, dtype=np.float64)
    if numbers.shape != (n,):
        raise DetectionError(f"{numbers.shape} values for {n} rows; give one for each row")
    return numbers


def _elements(reducer: Reduction, piece: _Piece, given: Any) -> np.ndarray:
    """Return the words of a piece's elements, with their weights or times if the reducer takes those."""
    columns, words = reducer.elements, np.empty((len(piece.batch), reducer.words), np.uint64)
    own = words[:, : columns.words]
    if isinstance(columns, ScalarElements):
        own[:] = np.array([each.words() for each in given], np.uint64).reshape(-1, columns.words)
    elif given is None:
        columns.read_into(own, piece.batch)
    else:
        own[:] = columns.gather(given if isinstance(given, tuple | list) else (given,), len(piece.batch))
    if reducer.beside is not None:
        reducer.beside.read_into(words[:, columns.words :], piece.batch)
    return words
