"""The monitor of a run: once a second a record of what came and what was lost, and hints at what looks wrong.

Whoever runs a capture or a manager asks at each wake whether a second is over; nothing here runs by itself.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sensor.clock import elapsed_s, now_ns
from sensor.cluster.messages import Counts
from sensor.node.balance import Balance
from sensor.node.hints import (
    PATIENCE_S,
    Acks,
    Blind,
    DirectionCounts,
    Hint,
    Looks,
    Losses,
    NoPackets,
    OneWay,
    TwoTags,
    Unseen,
    hints_of_replay,
)
from sensor.node.interface_counters import CapturedInterface, InterfaceCounters, sight_of, sights_of
from sensor.node.rates import EVERY_S, Accounts, totals
from sensor.node.unread import hints_of_reading, is_blind
from sensor.outputs.stats import Stats

log = logging.getLogger(__name__)

TWO_TAGS = "flows_under_two_tags"


@dataclass(frozen=True, slots=True)
class View:
    """The counts of a node."""

    counts: Counts
    alerts: int = 0
    more: Mapping[str, int] = field(default_factory=dict)
    """Counters of the node's own."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Packets a second of each worker that captures."""
    hints: Sequence[str] = ()
    """The hints of its workers."""


class _Watched:
    """The judges of one interface."""

    def __init__(self, now: float, patience_s: float, filter_text: str) -> None:
        self.silence = NoPackets(now, patience_s, filter_text)
        self.losses = [Losses(counter, patience_s) for counter in ("ring_drops", "nic_drops")]

    def judge(self, sight: InterfaceCounters, now: float, *, is_share: bool) -> list[str]:
        """Return new hints about the interface. With only a share of the traffic, silence is not an error."""
        said = [each.judge(sight, now) for each in self.losses]
        return said if is_share else [*said, self.silence.judge(sight, now)]

    @property
    def hints(self) -> list[Hint | None]:
        """The current hint of each judge; None where nothing is wrong."""
        return [self.silence.hint, *(each.hint for each in self.losses)]


class RunMonitor:
    """Keeps the accounts of one run, and tells of them.

    `taps` are the interfaces of a capture in this process; `is_share`: other processes take packets from them too.
    `together` is, for people, what several workers take from, of a manager that judges all of their packets as one
    capture. `is_replay`: files are read, which are judged at their end; whoever has the summary says what came of it.
    `tell` is given the records, `say` what begins or ends to look wrong.
    """

    def __init__(
        self,
        taps: Sequence[CapturedInterface] = (),
        *,
        is_share: bool = False,
        together: str = "",
        is_replay: bool = False,
        filter_text: str = "",
        tell: Sequence[Callable[[Stats], None]] = (),
        say: Callable[[str], None] = log.warning,
        patience_s: float = PATIENCE_S,
        every_s: float = EVERY_S,
    ) -> None:
        now = elapsed_s()
        self._taps, self._is_share, self._together, self._tell, self._say = taps, is_share, together, tell, say
        self._accounts = Accounts(now, every_s)
        self._watched = {tap.interface: _Watched(now, patience_s, filter_text) for tap in taps}
        self._patience_s, self._filter_text = patience_s, filter_text
        self._one_way, self._unseen, self._balance = OneWay(now, patience_s), Unseen(now, patience_s), Balance()
        self._two_tags, self._blind = TwoTags(), Blind(now, patience_s)
        self.is_replay = is_replay
        """True if it judges files, whose hints come at the end."""
        self.is_blind = False
        """For files, once they are read: True if packets came and none could be decoded."""
        self._of_replay: list[Hint] = []
        self._said: dict[str, str] = {}
        self._gap_ns = 0

    @property
    def is_together(self) -> bool:
        """True if it judges several workers as one capture, and their parent prints their messages."""
        return bool(self._together)

    @property
    def hints(self) -> list[str]:
        """The current hints."""
        return [each.text for each in self._hints]

    @property
    def said(self) -> list[str]:
        """All hints so far, each once, in its latest words."""
        return list(self._said.values())

    def note(self, hints: Sequence[str]) -> None:
        """Say, each once, what a worker has found wrong itself; of a replay it is said at the end."""
        for text in hints:
            if text not in self._said and not self.is_replay:
                self._say(text)
            self._said[text] = text

    def poll(self, view: Callable[[], View]) -> None:
        """Tell of the second that is over, if one is: `view` is asked only then."""
        now = elapsed_s()
        if self._accounts.is_due(now):
            found = view()
            self._judge(found, now)
            self._close(found, now)

    def finish(self, view: View) -> None:
        """The run has ended: tell of what is left of it."""
        if self.is_replay:
            two_tags = view.counts.counters.get(TWO_TAGS, 0)
            self._of_replay = [
                *hints_of_replay(*_shares(view), two_tags),
                *hints_of_reading(view.counts, self._filter_text),
            ]
            self.is_blind = is_blind(view.counts.captured, view.counts.refused, view.counts.counters)
            self._said |= {each.name: each.text for each in self._of_replay}
        self._close(view, elapsed_s())

    def _close(self, view: View, now: float) -> None:
        found = totals(view.counts, view.alerts, view.more)
        record = self._accounts.close(found, now, now_ns(), [*self.hints, *view.hints])
        for tell in self._tell:
            tell(record)

    def _judge(self, view: View, now: float) -> None:
        said: list[str] = []
        for sight in self._sights(view):
            if sight.interface not in self._watched:  # workers may have taken long to begin
                self._watched[sight.interface] = _Watched(now, self._patience_s, self._filter_text)
            said += self._watched[sight.interface].judge(sight, now, is_share=self._is_share)
        if not self._is_share and self._watched:
            directions, acks = _shares(view)
            said += [self._one_way.judge(directions, now), self._unseen.judge(acks, now)]
            refused = sum(view.counts.refused.values())
            said.append(self._blind.judge(Looks(view.counts.packets_read, refused), now))
            said.append(self._two_tags.judge(view.counts.counters.get(TWO_TAGS, 0)))
        said.append(self._balance.judge(view.rates))
        for text in filter(None, said):
            self._say(text)
        self._said |= {each.name: each.text for each in self._hints}

    def _sights(self, view: View) -> list[InterfaceCounters]:
        """Return the current counters of what is watched; for several workers, once one has named its interfaces."""
        counters = view.counts.counters
        if self._taps or not self._together or "kernel_packets" not in counters:
            return sights_of(self._taps)
        gap_ns, self._gap_ns = counters.get("gap_ns", 0) - self._gap_ns, counters.get("gap_ns", 0)
        gap = "away" if gap_ns > 0 else ""
        return [sight_of(self._together, {"packets_read": view.counts.captured, **counters}, gap=gap)]

    @property
    def _hints(self) -> list[Hint]:
        judged = [hint for each in self._watched.values() for hint in each.hints]
        judged += [self._one_way.hint, self._unseen.hint, self._two_tags.hint, self._blind.hint, self._balance.hint]
        judged += self._of_replay
        return [each for each in judged if each is not None]


def _shares(view: View) -> tuple[DirectionCounts, Acks]:
    names = "data_connections", "data_connections_both_ways", "tcp_acks", "tcp_acks_of_unseen"
    data, both, acks, unseen = (view.counts.counters.get(name, 0) for name in names)
    return DirectionCounts(data, both), Acks(acks, unseen)
