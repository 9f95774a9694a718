"""Ways to break the protocol on purpose, which the simulation must find: each a known fault of such protocols."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from sensor.cluster import ledger, manager
from sensor.sumstats import collector
from tools.simulation.manager import ManagerProcess


def skip_sequence_check() -> None:
    """Numbered messages are applied whenever they come: twice, or in any order."""

    def receive(self: Any, member: Any, message: Any, now: float) -> None:
        if message.incarnation == member.incarnation:
            self._to_acknowledge.add(member.name)
            self._apply(message)
            self._settle(now)

    _put(manager.Manager, "_receive_numbered", receive)


def acknowledge_before_log() -> None:
    """What follows from messages is sent before it is durable."""
    durable = ManagerProcess._make_durable

    def make_durable(self: Any) -> bool:
        self._send(self._pending.messages)
        self._pending.messages = []
        return durable(self)

    _put(ManagerProcess, "_make_durable", make_durable)


def count_replies() -> None:
    """An epoch is over when as many answers have come as there are members, whosever they are."""
    replies: Counter[tuple[int, str, int]] = Counter()
    applied = ledger.Ledger._apply_response

    def apply(self: Any, member: Any, message: Any) -> None:
        applied(self, member, message)
        replies[id(self), message.sumstat, message.epoch] += 1

    def due(self: Any, frontier: Any, now: float) -> list[Any]:
        ready: dict[int, list[Any]] = {}
        for name, stat in self.stats.items():
            for epoch, (_, end, _) in stat.collector.delivered.items():
                if replies[id(self), name, epoch] >= len(self.membership.members):
                    ready.setdefault(end, []).append((name, epoch, []))
        return ready[min(ready)] if ready else []

    _put(ledger.Ledger, "_apply_response", apply)
    _put(ledger.Ledger, "due", due)


def judge_last_group() -> None:
    """Only the keys of the last group are judged when an epoch is over."""
    worth = collector.Collector._worth_judging

    def last(self: Any, index: int) -> Any:
        return worth(self, index)[-1:]

    _put(collector.Collector, "_worth_judging", last)


def drop_epoch_from_crossings() -> None:
    """What crosses early is of whichever epoch is open on the manager."""
    look, due = collector.Collector.look, ledger.Ledger.past

    def anywhere(self: Any, epoch: int, views: Any) -> Any:
        is_open = sorted(self.delivered)
        return look(self, is_open[0] if is_open else epoch, views)

    _put(collector.Collector, "look", anywhere)
    _put(ledger.Ledger, "past", lambda self, now: max(due(self, now), 1 << 61))


BREAKS: dict[str, Callable[[], None]] = {
    "skip-sequence-check": skip_sequence_check,
    "acknowledge-before-log": acknowledge_before_log,
    "count-replies": count_replies,
    "judge-last-group": judge_last_group,
    "drop-epoch-from-crossings": drop_epoch_from_crossings,
}


def _put(owner: Any, name: str, replacement: Any) -> None:
    setattr(owner, name, replacement)
