"""The network and the time of a simulation: what happens when, and what becomes of messages on their way."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from tools.simulation.faults import Plan

Action = Callable[..., None]


class Timeline:
    """Virtual time: actions happen in order of their times, and in the order given where these are equal."""

    def __init__(self) -> None:
        self.now = 0.0
        self._digest = hashlib.blake2b(digest_size=16)
        self._actions: list[tuple[float, int, Action, tuple[Any, ...]]] = []
        self._number = 0

    @property
    def digest(self) -> str:
        """Of all that has happened and was noted: equal for equal runs."""
        return self._digest.hexdigest()

    def note(self, what: str, data: bytes = b"") -> None:
        """Something has happened."""
        self._digest.update(f"{self.now!r} {what} {len(data)} ".encode())
        self._digest.update(data)

    def at(self, time: float, action: Action, *about: Any) -> None:
        """Let something happen at a time (s), or now, if that is past."""
        self._number += 1
        heapq.heappush(self._actions, (max(time, self.now), self._number, action, about))

    def after(self, delay: float, action: Action, *about: Any) -> None:
        """Let something happen after so many seconds."""
        self.at(self.now + delay, action, *about)

    def step(self, until: float) -> bool:
        """Let the next thing happen; False if there is none before `until`."""
        if not self._actions or self._actions[0][0] > until:
            return False
        self.now, _, action, about = heapq.heappop(self._actions)
        action(*about)
        return True


class Network:
    """Carries messages between each worker and the manager, as badly as is planned."""

    def __init__(self, timeline: Timeline, random: Random, plan: Plan) -> None:
        self._timeline, self._random, self._plan = timeline, random, plan
        self.counts: Counter[str] = Counter()

    def carry(self, worker: str, *, up: bool, arrive: Action, data: bytes) -> None:
        """Carry a message, which may get lost, arrive twice, or be overtaken."""
        if self._is_cut(worker, up=up) or self._happens(self._plan.drop):
            self.counts["dropped"] += 1
            return
        self._timeline.after(self._delay(), self._arrive, worker, arrive, data)
        if self._happens(self._plan.duplicate):
            self.counts["duplicated"] += 1
            self._timeline.after(self._delay() * 3, self._arrive, worker, arrive, data)

    def signal(self, worker: str, *, up: bool, arrive: Action) -> None:
        """Carry what the system sends by itself, such as the end of a connection: at most once."""
        if not self._is_cut(worker, up=up):
            self._timeline.after(self._plan.delay_s, arrive)

    def _arrive(self, worker: str, arrive: Action, data: bytes) -> None:
        self._timeline.note(worker, data)
        arrive(data)

    def _delay(self) -> float:
        delay = self._plan.delay_s  # the same for all: what is not delayed further arrives in order
        if self._happens(self._plan.delay_more):
            self.counts["reordered"] += 1
            delay += self._random.expovariate(1.0)
        return delay

    def _happens(self, probability: float) -> bool:
        return bool(probability) and self._timeline.now < self._plan.end and self._random.random() < probability

    def _is_cut(self, worker: str, *, up: bool) -> bool:
        now = self._timeline.now
        return any(
            cut.worker == worker and cut.start <= now < cut.end and (cut.up if up else cut.down)
            for cut in self._plan.cuts
        )
