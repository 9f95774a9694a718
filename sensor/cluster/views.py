"""Global views: all members' results for the keys that a member reported, requested before their epoch is over.

A limited number of requests per SumStat wait for answers at once. Further keys are queued, nearest to their level
first; one reported again while queued keeps its place. If the queue is full, the least urgent key is dropped and
counted: the epoch's end still finds it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from sensor.cluster.columns import Packing
from sensor.cluster.membership import Position
from sensor.cluster.messages import ClusterKeyRequest, ClusterKeyResponse
from sensor.cluster.settings import ClusterSettings
from sensor.sumstats import Collector, Definition, Merged, Partial
from sensor.sumstats.asked import growth

_KEYS = 1000  # at most in one request


@dataclass(slots=True)
class _View:
    keys: list[bytes]
    waiting: set[str]
    asked: float
    partials: dict[str, Partial] = field(default_factory=dict)
    epochs: set[tuple[int, Position]] = field(default_factory=set)
    """Epoch and its start in each answer."""


@dataclass(frozen=True)
class KeyView:
    """All members' merged views of some keys: the crossings, and how much each key may grow unreported."""

    epoch: int
    merged: list[Merged]
    keys: np.ndarray
    shares: np.ndarray


class Views:
    """The views of one SumStat. Requests are numbered from the iterator `numbers`, which several may share."""

    def __init__(self, definition: Definition, settings: ClusterSettings, numbers: Iterator[int]) -> None:
        self._definition, self._settings, self._numbers = definition, settings, numbers
        self._packing = Packing(definition)
        self._wanted: dict[bytes, float] = {}
        self._not_now: dict[bytes, Position] = {}
        self._outstanding: dict[int, _View] = {}
        self.given_up, self.timed_out, self.skewed = 0, 0, 0

    @property
    def counters(self) -> dict[str, int]:
        """Counts of `views_given_up` (queue full), `views_timed_out`, and `views_skewed` (members' epochs differed)."""
        return {
            "views_given_up": self.given_up,
            "views_timed_out": self.timed_out,
            "views_skewed": self.skewed,
        }

    def report(self, keys: np.ndarray, values: np.ndarray) -> None:
        """Queue keys (uint64, (m, words)) that a member reported; values (float64) are those on this member alone."""
        nearness = np.nan_to_num(values / self._first_levels(keys))  # NaN counts as far
        for key, near in zip((each.tobytes() for each in keys), nearness.tolist(), strict=True):
            self._want(key, near)

    def _want(self, key: bytes, near: float) -> None:
        self._wanted[key] = max(near, self._wanted.get(key, near))
        if len(self._wanted) > self._settings.most_wanted:
            del self._wanted[min(self._wanted, key=self._wanted.__getitem__)]
            self.given_up += 1

    def _first_levels(self, keys: np.ndarray) -> np.ndarray:
        threshold = self._definition.threshold
        assert threshold is not None
        levels: np.ndarray = threshold.table[threshold.rule_of(keys), 0, 0]
        return levels

    def ask(self, members: Iterable[str], now: float) -> list[ClusterKeyRequest]:
        """Return the requests to send to all members at a time (s)."""
        waiting, asked = set(members), []
        while waiting and self._wanted and len(self._outstanding) < self._settings.max_outstanding_global_views:
            chosen = sorted(self._wanted, key=lambda key: (-self._wanted[key], key))[:_KEYS]
            for key in chosen:
                del self._wanted[key]
            number = next(self._numbers)
            self._outstanding[number] = _View(chosen, set(waiting), now)
            asked.append(ClusterKeyRequest(number, self._definition.name, -1, b"".join(chosen)))
        return asked

    def answer(self, message: ClusterKeyResponse, collector: Collector, past: Position) -> KeyView | None:
        """Take an answer; once all have answered, return the merged view. ValueError if the answer is malformed.

        past: the position that all members have passed. An epoch that begins later cannot be judged yet, as earlier
        results may still matter.
        """
        view = self._outstanding.get(message.request)
        if view is None or message.worker not in view.waiting:
            return None
        partial = self._packing.unpack(message.columns)
        self._packing.check(partial)
        view.waiting.discard(message.worker)
        view.partials[message.worker] = partial
        view.epochs.add((message.epoch, (message.run, message.start)))
        return self._complete(message.request, collector, past)

    def lost(self, member: str, collector: Collector, past: Position) -> list[KeyView]:
        """Continue without a member whose connection is lost; return the views that this completes."""
        seen = []
        for number, view in list(self._outstanding.items()):
            view.waiting.discard(member)
            seen.append(self._complete(number, collector, past))
        return [each for each in seen if each]

    def expire(self, now: float, past: Position) -> None:
        """Queue keys again: of requests that timed out, and of epochs whose start all members have passed by now."""
        for key in [key for key, start in self._not_now.items() if start <= past]:
            del self._not_now[key]
            self._want(key, 0.0)
        for number, view in list(self._outstanding.items()):
            if now - view.asked >= self._settings.retry_s:
                del self._outstanding[number]
                self.timed_out += 1
                for key in view.keys:
                    self._want(key, 0.0)

    def clear(self) -> None:
        """Drop the queued keys: their epoch is over, and its results are known."""
        self._wanted.clear()
        self._not_now.clear()

    def _complete(self, number: int, collector: Collector, past: Position) -> KeyView | None:
        view = self._outstanding[number]
        if view.waiting:
            return None
        del self._outstanding[number]
        latest = max((start for _, start in view.epochs), default=past)
        if len(view.epochs) != 1 or latest > past:
            self.skewed += 1
            self._not_now.update(dict.fromkeys(view.keys, latest))
            return None
        epoch, _ = view.epochs.pop()
        merged, keys, values = collector.peek_jointly(epoch, view.partials)
        return KeyView(epoch, merged, keys, self._shares(keys, values, max(len(view.partials), 1)))

    def _shares(self, keys: np.ndarray, values: np.ndarray, members: int) -> np.ndarray:
        """Return each key's share (float64): the distance to the next level divided by the number of members.

        The share has a lower bound if values may fall. For a key that has reached a level, it is at most the growth
        after which the key is checked again.
        """
        threshold = self._definition.threshold
        assert threshold is not None
        levels = threshold.table[threshold.rule_of(keys), :, 0]
        next_level = np.where(levels > values[:, np.newaxis], levels, np.inf).min(axis=1)
        shares: np.ndarray = (next_level - values) / members
        if not set(threshold.names) <= self._definition.growing:
            least = self._settings.cluster_request_global_view_percent * np.abs(next_level)
            shares = np.maximum(shares, np.where(np.isfinite(least), least, np.inf))
        again = np.where(values >= levels[:, 0], growth(values) / members, np.inf)
        least_of: np.ndarray = np.minimum(shares, again)
        return least_of
