"""The membership: the workers by name, the progress of each, and the members whose results an epoch waits for.

A worker is identified by its name and the incarnation of its process: messages of earlier incarnations are ignored. An
epoch waits for every member that has not left, unless it has been silent for the deadline; then the epoch lists it as
missing. A member whose input cannot be read again leaves a gap between the last results of one incarnation and the
start of the next.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sensor.cluster.messages import Counts

Position = tuple[int, int]
"""(run, clock): number of times the packet clock had restarted, and the packet clock (ns)."""

NOWHERE: Position = (-1, 0)
THE_END: Position = (1 << 62, 0)
_MOST_GAPS = 64
MOST_MEMBERS = 1024
"""Members that have left count, too: an epoch that is still to be judged may name them."""


@dataclass(frozen=True, slots=True)
class Late:
    """Numbers of epochs for which something was delivered after they were over."""

    after_joining: int = 0
    """Epochs that the others had passed when the member joined."""
    after_silence: int = 0
    """Epochs that waited for the member up to the deadline."""
    left_out: int = 0
    """Epochs that cannot be judged again: the clock had restarted, or they end by hand."""

    def __add__(self, other: "Late") -> "Late":
        return Late(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    def __sub__(self, other: "Late") -> "Late":
        return Late(*(getattr(self, name) - getattr(other, name) for name in self.__slots__))

    @property
    def epochs(self) -> int:
        """The sum of all three."""
        return self.after_joining + self.after_silence + self.left_out


@dataclass(slots=True)
class Member:
    """One worker."""

    name: str
    incarnation: int = -1
    version: str = ""
    applied: int = 0
    """The last numbered message of its incarnation that was applied."""
    position: Position = NOWHERE
    """Its progress: all results up to here are known."""
    since: Position | None = None
    """The position at which it joined; None: it was a member from the start."""
    replays: bool = False
    rejoined: bool = False
    """True if it reads again what an earlier process of its name has read and may have delivered."""
    is_done: bool = False
    has_left: bool = False
    is_up: bool = False
    heard: float = 0.0
    """The time (s) of its last message, or when waiting for it began."""
    counts: Counts = field(default_factory=Counts)
    before: Counts = field(default_factory=Counts)
    """Counts of earlier incarnations whose input was not read again."""
    gaps: list[tuple[Position, Position]] = field(default_factory=list)
    """Intervals lost with earlier incarnations."""
    gap: Position | None = None
    """Start of a gap that has not ended yet."""
    to_begin: list[str] = field(default_factory=list)
    """SumStats without results from its incarnation so far; it may have begun within their epoch."""
    started: int | None = None
    """The packet time (ns) at which it began to observe; None: unknown."""
    late: "Late" = field(default_factory=lambda: Late())
    """Counts of what it delivered after epochs were over."""

    @property
    def is_removed(self) -> bool:
        """True if it has left, and nothing counts as missing because of that any more."""
        return self.has_left and self.gap is None

    @property
    def reached(self) -> Position:
        """The position up to which its results need not be awaited."""
        return THE_END if self.is_done or self.has_left else self.position

    def begin(
        self,
        incarnation: int,
        sequence: int,
        sumstats: Iterable[str],
        *,
        replays: bool,
        is_late: bool = False,
        started: int | None = None,
        continues: bool = False,
    ) -> None:
        """Start a new incarnation whose first numbered message is `sequence`; `continues`: its counts go on.

        What the member saw earlier counts as lost if it was a member from the start and `is_late`, or if it `started`
        (ns) after traffic that it cannot read.
        """
        is_late = self.since is None and (is_late or started is not None)
        # No gap if an earlier process delivered all that it saw, up to where this one begins.
        follows = self.is_done and self.gap is None and started is not None and started <= self.position[1]
        if not replays and not follows:
            if self.incarnation >= 0 or is_late:
                self.gap = self.position if self.gap is None else self.gap
                self.to_begin = list(sumstats)
            if started is not None:
                self.to_begin = list(sumstats)
        if not (replays or continues):
            self.before = self.before + self.counts
        self.rejoined = replays and (self.rejoined or self.incarnation >= 0)
        self.started = started
        self.counts = self.counts if continues else Counts()
        if replays:
            self.position = NOWHERE
        self.incarnation, self.replays, self.applied = incarnation, replays, sequence - 1
        self.is_done = self.has_left = False

    def advance(self, position: Position, counts: Counts, *, is_done: bool) -> None:
        """Set its progress and counts, and close an open gap."""
        if self.gap is not None:
            until = position if self.started is None else min(position, (position[0], self.started))
            self.gaps = [*self.gaps, (self.gap, until)][-_MOST_GAPS:]
            self.gap = None
        self.position = max(self.position, position)
        self.counts, self.is_done = counts, is_done

    def leave(self, until: Position | None) -> None:
        """Mark it as having left; undelivered results are missing up to `until`, or for good (None)."""
        if not self.is_done:
            gap = self.position if self.gap is None else self.gap
            self.gaps = [*self.gaps, (gap, THE_END if until is None else max(gap, until))][-_MOST_GAPS:]
            self.gap = gap if until is None else None
        self.has_left, self.is_up = True, False

    def lacks(self, start: Position, end: Position) -> bool:
        """Return whether some of what it saw from `start` up to `end` was lost."""
        gaps = [*self.gaps, (self.gap, self.position)] if self.gap is not None else self.gaps
        return any(start < until and end > since for since, until in gaps)


class Membership:
    """The members by name. Those in `names` are awaited from the start; others join with their hello."""

    def __init__(self, names: Iterable[str], deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self.members = {name: Member(name) for name in sorted(names)}

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    def __contains__(self, name: str) -> bool:
        return name in self.members

    @property
    def names(self) -> list[str]:
        """The names of the members that have not left, sorted."""
        return sorted(name for name, member in self.members.items() if not member.has_left)

    def follow(self, other: "Membership") -> None:
        """Continue the counts of another membership; a member that reconnects replaces them with its own."""
        for name in self.members.keys() & other.members.keys():
            self.members[name].before, self.members[name].counts = (
                other.members[name].before,
                other.members[name].counts,
            )

    def admit(self, name: str, now: float, started: int | None = None) -> Member:
        """Return the member of that name, added if new; it observes from `started` (ns) on, if that is known."""
        if name not in self.members:
            run, clock = self.frontier(now)
            since = run, clock if started is None else max(clock, started)
            self.members[name] = Member(name, since=since, heard=now)
        return self.members[name]

    def start(self, now: float) -> None:
        """Start the deadline of all members at `now` (s)."""
        for member in self.members.values():
            member.heard = now

    def frontier(self, now: float) -> Position:
        """Return the position that all awaited members have reached."""
        present: list[Member] = []
        late: list[Member] = []
        for member in self.members.values():
            is_late = not member.is_up and now - member.heard >= self._deadline_s and member.reached != THE_END
            (late if is_late else present).append(member)
        if not present:
            return max((each.position for each in late), default=NOWHERE)
        return min(each.reached for each in present)

    @property
    def furthest(self) -> Position:
        """The position of the member that is furthest."""
        return max((each.position for each in self.members.values()), default=NOWHERE)

    def expected(self, start: Position, end: Position) -> list[str]:
        """Return the members whose results the epoch from `start` to `end` should have."""
        return [name for name, each in self.members.items() if each.since is None or each.since < end]

    def reached(self, names: Iterable[str]) -> dict[str, Position]:
        """Return the position up to which each of the named members need not be awaited."""
        return {name: self.members[name].reached for name in names}

    def lacking(
        self, names: Iterable[str], reached: Mapping[str, Position], start: Position, end: Position
    ) -> list[str]:
        """Return those of `names` that may have seen something from `start` to `end`, when no member delivered any."""
        members = [self.members[name] for name in self.expected(start, end) if name in names]
        return [each.name for each in members if reached.get(each.name, NOWHERE) < end or each.lacks(start, end)]
