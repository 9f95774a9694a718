"""Ways to break the protocol on purpose, which the simulation must find: each a known fault of such protocols.

They hold for the cluster alone: what it is compared with is run, and judged, as it should be.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch
from weakref import WeakKeyDictionary

import msgspec
import numpy as np

from sensor.cluster.columns import unpack_keys
from sensor.cluster.ledger import Ledger
from sensor.cluster.manager import Manager
from sensor.cluster.membership import THE_END, Late, Membership
from sensor.cluster.messages import Welcome
from sensor.sumstats import Collector
from sensor.sumstats.following import Following
from sensor.sumstats.panes import Panes
from tools.simulation.manager import ManagerProcess

Change = tuple[type, str, Callable[..., Any]]
"""A class, the name of a method of it, and what takes its place."""


def skip_sequence_check() -> Iterable[Change]:
    """Numbered messages are applied whenever they come: twice, or in any order."""

    def receive(self: Any, member: Any, message: Any, now: float) -> None:
        if message.incarnation == member.incarnation:
            self._to_acknowledge.add(member.name)
            self._apply(message)
            self._close_epochs(now)

    return [(Manager, "_receive_numbered", receive)]


def acknowledge_before_log() -> Iterable[Change]:
    """What follows from messages is sent before it is durable."""
    make_durable = ManagerProcess._make_durable

    def send_first(self: Any) -> bool:
        self._send(self._pending.messages)
        self._pending.messages = []
        return make_durable(self)

    return [(ManagerProcess, "_make_durable", send_first)]


def welcome_before_log() -> Iterable[Change]:
    """A worker that comes back is told of what was applied before it is durable."""
    return [(Welcome, "without_promise", lambda self, hello: self)]


def count_replies() -> Iterable[Change]:
    """An epoch is over when as many answers have come as there are members, whosever they are."""
    replies: WeakKeyDictionary[Ledger, Counter[tuple[str, int]]] = WeakKeyDictionary()
    apply_response = Ledger._apply_response

    def count(self: Any, member: Any, message: Any) -> None:
        apply_response(self, member, message)
        replies.setdefault(self, Counter())[message.sumstat, message.epoch] += message.done

    def due(self: Any, frontier: Any, now: float) -> list[Any]:
        ready: dict[int, list[Any]] = {}
        for name, stat in self.stats.items():
            for epoch, (_, end, _) in stat.collector.delivered.items():
                if replies.get(self, Counter())[name, epoch] >= len(self.membership.members):
                    ready.setdefault(end, []).append((name, epoch, []))
        return ready[min(ready)] if ready else []

    return [(Ledger, "_apply_response", count), (Ledger, "due", due)]


def judge_last_group() -> Iterable[Change]:
    """When an epoch is over, only the keys of each member's last group are judged."""
    last: WeakKeyDictionary[Collector, defaultdict[int, set[bytes]]] = WeakKeyDictionary()
    apply_response, worth_judging = Ledger._apply_response, Collector._worth_judging

    def note(self: Any, member: Any, message: Any) -> None:
        apply_response(self, member, message)
        stat = self.stats[message.sumstat]
        keys = unpack_keys(message.columns.keys, stat.definition.key_words)
        if message.done:
            last.setdefault(stat.collector, defaultdict(set))[message.epoch].update(key.tobytes() for key in keys)

    def judged(self: Any, index: int) -> np.ndarray:
        keys: np.ndarray = worth_judging(self, index)
        known = last.get(self, defaultdict(set))[index]
        return keys[np.array([key.tobytes() in known for key in keys], np.bool_)]

    return [(Ledger, "_apply_response", note), (Collector, "_worth_judging", judged)]


def drop_epoch_from_crossings() -> Iterable[Change]:
    """What crosses early is of whichever epoch is open on the manager."""

    def anywhere(peek: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self, epoch, views: peek(self, min(self.delivered, default=epoch), views)

    return [
        (Collector, "peek", anywhere(Collector.peek)),
        (Collector, "peek_jointly", anywhere(Collector.peek_jointly)),
        (Ledger, "past", lambda self, now: THE_END),
    ]


def forget_given_up() -> Iterable[Change]:
    """An epoch whose results a worker had no room for is taken for whole."""
    is_partial = Ledger._is_partial

    def forget(self: Any, member: Any, message: Any, *, by_hand: bool) -> bool:
        return is_partial(self, member, msgspec.structs.replace(message, given_up=False), by_hand=by_hand)

    return [(Ledger, "_is_partial", forget)]


def name_all() -> Iterable[Change]:
    """An epoch that lacks something names everybody."""
    due = Ledger.due

    def named(self: Any, frontier: Any, now: float) -> list[tuple[str, int, list[str]]]:
        found = due(self, frontier, now)
        return [(name, epoch, sorted(self.membership.members) if missing else []) for name, epoch, missing in found]

    return [(Ledger, "due", named)]


def forget_runs() -> Iterable[Change]:
    """What comes after the clock has begun anew is taken for what comes next, whoever is not there yet."""
    take = Ledger._take

    def as_it_comes(self: Any, member: Any, stat: Any, message: Any, partial: Any) -> None:
        take(self, member, stat, msgspec.structs.replace(message, run=0), partial)

    return [(Ledger, "_take", as_it_comes)]


def last_by_hand_first() -> Iterable[Change]:
    """Of epochs that end by hand, the last one that some have ended is over first."""
    due, delivered = Ledger.due, Collector.delivered.fget

    def last(self: Any) -> Any:
        known = delivered(self)
        return known if self.definition.epoch_ns else dict(sorted(known.items())[-1:])

    def last_first(self: Any, frontier: Any, now: float) -> list[Any]:
        with patch.object(Collector, "delivered", property(last)):
            return due(self, frontier, now)

    return [(Ledger, "due", last_first)]


def drop_late() -> Iterable[Change]:
    """What comes of an epoch that is over is left out, though windows that are open hold it."""

    def drop(self: Any, stat: Any, member: Any, end: Any) -> None:
        member.late += Late(left_out=1)

    return [(Ledger, "_collect_late", drop)]


def late_by_itself() -> Iterable[Change]:
    """What comes of an epoch that is over is not judged with what others have seen in it."""
    reopen = Panes.reopen

    def alone(self: Any, index: int, member: str) -> list[int]:
        self[index].partials = {member: self[index].partials[member]}
        return reopen(self, index, member)

    return [(Panes, "reopen", alone)]


def trust_first_clock() -> Iterable[Change]:
    """An epoch is over when the packet clock of one worker has come past it."""
    return [(Membership, "frontier", lambda self, now: self.furthest)]


def freeze_figures() -> Iterable[Change]:
    """What comes of a key once it was told of is counted no more."""
    return [(Following, "add_pane", lambda self, pane, partials, rested: None)]


BREAKS: dict[str, Callable[[], Iterable[Change]]] = {
    "skip-sequence-check": skip_sequence_check,
    "acknowledge-before-log": acknowledge_before_log,
    "welcome-before-log": welcome_before_log,
    "count-replies": count_replies,
    "judge-last-group": judge_last_group,
    "drop-epoch-from-crossings": drop_epoch_from_crossings,
    "forget-given-up": forget_given_up,
    "name-all": name_all,
    "forget-runs": forget_runs,
    "last-by-hand-first": last_by_hand_first,
    "drop-late": drop_late,
    "late-by-itself": late_by_itself,
    "trust-first-clock": trust_first_clock,
    "freeze-figures": freeze_figures,
}


@contextmanager
def broken(name: str | None) -> Iterator[None]:
    """Break the protocol in the way of that name, if any, for a while."""
    with ExitStack() as stack:
        for owner, method, replacement in BREAKS[name]() if name else ():
            stack.enter_context(patch.object(owner, method, replacement))
        yield
