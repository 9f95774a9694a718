"""The membership: which workers there are, by name, how far each has come, and whose results an epoch waits for.

A worker is known by its name and the incarnation of its process: what an earlier one says is not heard any more. An
epoch waits for every member that has not left, unless it has not been heard of for the deadline; then the epoch names
it as missing. A member whose input cannot be read again leaves a gap between what the manager has of its last
incarnation and where its next one begins.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sensor.cluster.messages import Counts

Position = tuple[int, int]
"""How often the packet clock had begun anew, and the packet clock (ns)."""

NOWHERE: Position = (-1, 0)
THE_END: Position = (1 << 62, 0)
_MOST_GAPS = 64
MOST_MEMBERS = 1024
"""Those that have left are among them: an epoch that is to be judged yet may name them."""


@dataclass(frozen=True, slots=True)
class Late:
    """Of how many epochs something was delivered when they were over."""

    after_joining: int = 0
    """Others had come past them when it joined."""
    after_silence: int = 0
    """They had waited for it up to the deadline."""
    left_out: int = 0
    """Nothing more could come of them: their clock had begun anew, or they end by hand."""

    def __add__(self, other: "Late") -> "Late":
        return Late(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    def __sub__(self, other: "Late") -> "Late":
        return Late(*(getattr(self, name) - getattr(other, name) for name in self.__slots__))

    @property
    def epochs(self) -> int:
        """All of them."""
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
    """How far it has come: all up to here is known."""
    since: Position | None = None
    """Where it joined; None: it was there from the start."""
    replays: bool = False
    rejoined: bool = False
    """It reads again what an earlier process of its name has read, and may have told."""
    is_done: bool = False
    has_left: bool = False
    is_up: bool = False
    heard: float = 0.0
    """When (s) it was last heard of, or began to be waited for."""
    counts: Counts = field(default_factory=Counts)
    before: Counts = field(default_factory=Counts)
    """Those of earlier incarnations whose input was not read again."""
    gaps: list[tuple[Position, Position]] = field(default_factory=list)
    """What was lost with earlier incarnations."""
    gap: Position | None = None
    """Where one began that has not ended yet."""
    to_begin: list[str] = field(default_factory=list)
    """The SumStats of which nothing came yet from its incarnation, which may have begun within an epoch."""
    started: int | None = None
    """When (ns) that was; None: it is not known."""
    late: "Late" = field(default_factory=lambda: Late())
    """What it delivered of epochs that were over."""

    @property
    def is_removed(self) -> bool:
        """Whether it has left, and nothing is missing for that any more."""
        return self.has_left and self.gap is None

    @property
    def reached(self) -> Position:
        """How far its results need not be waited for."""
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
        """Go on with a later incarnation, whose first numbered message is `sequence`; `continues`: it counts on.

        Of one that was awaited from the start and `is_late`, or says that it `started` (ns) with something before it,
        all that it might have seen before is lost.
        """
        is_late = self.since is None and (is_late or started is not None)
        # An earlier process that had told all it saw, up to where this one begins, has left nothing out.
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
        """It has come so far."""
        if self.gap is not None:
            until = position if self.started is None else min(position, (position[0], self.started))
            self.gaps = [*self.gaps, (self.gap, until)][-_MOST_GAPS:]
            self.gap = None
        self.position = max(self.position, position)
        self.counts, self.is_done = counts, is_done

    def leave(self, until: Position | None) -> None:
        """It is not waited for any more; what it has not told is missing up to there, or for good."""
        if not self.is_done:
            gap = self.position if self.gap is None else self.gap
            self.gaps = [*self.gaps, (gap, THE_END if until is None else max(gap, until))][-_MOST_GAPS:]
            self.gap = gap if until is None else None
        self.has_left, self.is_up = True, False

    def lacks(self, start: Position, end: Position) -> bool:
        """Whether some of what it saw from `start` up to `end` was lost."""
        gaps = [*self.gaps, (self.gap, self.position)] if self.gap is not None else self.gaps
        return any(start < until and end > since for since, until in gaps)


class Membership:
    """The members by name. Those given are waited for from the start; others join when they say hello."""

    def __init__(self, names: Iterable[str], deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self.members = {name: Member(name) for name in sorted(names)}

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    def __contains__(self, name: str) -> bool:
        return name in self.members

    @property
    def names(self) -> list[str]:
        """Those that have not left, in order."""
        return sorted(name for name, member in self.members.items() if not member.has_left)

    def follow(self, other: "Membership") -> None:
        """Count on from what the members saw; one that goes on counts for itself as soon as it is heard."""
        for name in self.members.keys() & other.members.keys():
            self.members[name].before, self.members[name].counts = (
                other.members[name].before,
                other.members[name].counts,
            )

    def admit(self, name: str, now: float, started: int | None = None) -> Member:
        """The member of that name, which joins if it was none; it observes from `started` (ns) on, if that is known."""
        if name not in self.members:
            run, clock = self.frontier(now)
            since = run, clock if started is None else max(clock, started)
            self.members[name] = Member(name, since=since, heard=now)
        return self.members[name]

    def start(self, now: float) -> None:
        """Begin to wait for those that have not been heard of."""
        for member in self.members.values():
            member.heard = now

    def frontier(self, now: float) -> Position:
        """How far all that are waited for have come."""
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
        """How far the one has come that has come furthest."""
        return max((each.position for each in self.members.values()), default=NOWHERE)

    def expected(self, start: Position, end: Position) -> list[str]:
        """Whose results the epoch from `start` to `end` should have."""
        return [name for name, each in self.members.items() if each.since is None or each.since < end]

    def reached(self, names: Iterable[str]) -> dict[str, Position]:
        """How far some of them have come."""
        return {name: self.members[name].reached for name in names}

    def lacking(
        self, names: Iterable[str], reached: Mapping[str, Position], start: Position, end: Position
    ) -> list[str]:
        """Of whom it is not known that they saw nothing from `start` to `end`, as none told anything of that time."""
        members = [self.members[name] for name in self.expected(start, end) if name in names]
        return [each.name for each in members if reached.get(each.name, NOWHERE) < end or each.lacks(start, end)]
