"""The panes: what members have delivered of each, and for how long that is kept.

Those that are over stay as long as a window that is open holds them. Where a member's results are missing they stay
longer, so that what it delivers late is judged by what all have seen: `MOST_PANES` of them, with `MOST_KEYS` keys and
rows of support altogether; beyond that, the oldest goes first, and what comes late of it is judged by itself.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field

from sensor.sumstats.partial import Partial

MOST_PANES, MOST_KEYS = 64, 100_000


@dataclass(slots=True)
class Pane:
    """What members have delivered of one pane."""

    start: int
    end: int
    partials: dict[str, Partial] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    lost: int = 0
    peak: float | None = None
    """How near to its first level any key can have come by it: its part of it, or a little more; None: not known."""
    late: set[str] = field(default_factory=set)
    """Whose results came when it was over."""

    def add(self, member: str, partial: Partial, lost: int) -> None:
        """A member delivers."""
        self.partials[member] = partial
        self.lost += lost
        self.peak = None

    @property
    def size(self) -> int:
        """Keys and rows of support."""
        return sum(len(partial) + sum(map(len, partial.support)) for partial in self.partials.values())


class Panes:
    """The panes of one SumStat by number, of which a window holds `span`."""

    def __init__(self, span: int) -> None:
        self.span = span
        self._all: dict[int, Pane] = {}
        self._over: list[int] = []  # in order
        self._reopened: set[int] = set()

    def __getitem__(self, index: int) -> Pane:
        return self._all[index]

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, index: int) -> bool:
        return index in self._all

    def __iter__(self) -> Iterator[int]:
        return iter(self._all)

    @property
    def memory(self) -> tuple[Mapping[int, Pane], Set[int]]:
        """All of them, and those that end windows that are to be judged anew."""
        return dict(self._all), set(self._reopened)

    def restore(self, panes: Mapping[int, Pane], reopened: Iterable[int], closed: int) -> None:
        """Go on from there."""
        self._all, self._reopened = dict(panes), set(reopened)
        self._over = sorted(at for at in panes if at <= closed)

    def clear(self) -> None:
        """Forget all."""
        self._all.clear()
        self._over.clear()
        self._reopened.clear()

    def open(self, index: int, start: int, end: int) -> Pane:
        """The pane of that number, which a member says begins and ends then (ns)."""
        pane = self._all.setdefault(index, Pane(start, end))
        pane.start, pane.end = min(pane.start, start), max(pane.end, end)
        return pane

    def of(self, index: int) -> list[tuple[int, Pane]]:
        """The panes of the window that ends with one."""
        panes = self._all
        return [(at, panes[at]) for at in range(index - self.span + 1, index + 1) if at in panes]

    def end(self, index: int) -> None:
        """A pane is over, after all before it."""
        self._over.append(index)
        self._let_go(index)

    def mend(self, member: str, first: int, following: int) -> None:
        """A member is not missing in the panes from `first` up to `following`: it has told all that it saw in them."""
        for at in self._over:
            if first <= at < following:
                self._all[at].missing.discard(member)

    def reopen(self, index: int, member: str) -> list[int]:
        """A member has delivered a pane that is over; the panes that end the windows which had it, and are over too."""
        if index not in self._over:
            self._over.insert(bisect_left(self._over, index), index)
        self._all[index].late.add(member)
        found = [at for at in self._over if index <= at < index + self.span]
        self._reopened.update(found)
        return found

    def reclose(self, index: int, closed: int) -> None:
        """The window that ends with a pane was judged anew; `closed` is the last one that is over."""
        self._reopened.discard(index)
        self._let_go(closed)

    @property
    def first(self) -> int | None:
        """The oldest pane that is over and was kept."""
        return self._over[0] if self._over else None

    def _let_go(self, closed: int) -> None:
        """Let go of what neither an open window holds, nor one that is to be judged anew, nor one that may be."""
        needed = min(closed + 1, *self._reopened) if self._reopened else closed + 1
        needed += 1 - self.span
        awaited = next((at for at in self._over if self._all[at].missing), closed + 1) + 1 - self.span
        while self._over and self._over[0] < needed and (self._over[0] < awaited or self._are_too_many):
            del self._all[self._over.pop(0)]

    @property
    def _are_too_many(self) -> bool:
        if len(self._over) > MOST_PANES + self.span:
            return True
        return sum(self._all[at].size for at in self._over[: -self.span]) > MOST_KEYS
