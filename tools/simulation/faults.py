"""The faults: what goes wrong in a run, and when, all drawn from its seed before it begins."""

from dataclasses import dataclass, field, replace
from random import Random

from sensor.clock import SECOND
from sensor.cluster.settings import ClusterSettings
from tools.simulation.detections import BY_HAND, choose

MANAGER = "manager"
FOR_EVER = 1e6
"""Virtual seconds; longer than any run."""
MOST_SKEW = 3000 * SECOND
"""Nearly two epochs of the packet clock; from an hour on clocks are said to differ."""


@dataclass(frozen=True)
class Cut:
    """For a while nothing passes between a worker and the manager."""

    worker: str
    start: float
    end: float
    up: bool
    """From the worker to the manager."""
    down: bool


@dataclass(frozen=True)
class Stop:
    """A process stands still for a while: what comes for it waits."""

    node: str
    start: float
    end: float


@dataclass(frozen=True)
class Kill:
    """A process dies, and is started again after a while."""

    node: str
    at: float
    down_s: float
    operations: int | None
    """The manager's machine goes down in the middle of the next disk operation but so many; None: the process dies."""


@dataclass(frozen=True)
class Join:
    """A worker that nobody has waited for begins to observe."""

    node: str
    at: float


@dataclass(frozen=True)
class Leave:
    """A worker is taken out: it ends, and is not to be waited for any more."""

    node: str
    at: float
    is_removed: bool = False
    """Nothing is to be missing for it any more."""


@dataclass(frozen=True)
class Plan:
    """All of a run that is decided beforehand."""

    replays: bool
    """Input can be read again: a worker that was killed begins anew. Otherwise what it missed is gone."""
    early: bool
    settings: ClusterSettings
    delay_s: float
    drop: float
    """The probability that a message is lost."""
    duplicate: float
    delay_more: float
    """The probability that one takes much longer, so that others overtake it."""
    commit_s: float
    """For how long the manager gathers messages that share a write."""
    compact_bytes: int
    end: float
    """When all faults cease (virtual s)."""
    cuts: list[Cut] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    disk_errors: list[float] = field(default_factory=list)
    """When the disk fails once (virtual s)."""
    joins: list[Join] = field(default_factory=list)
    leaves: list[Leave] = field(default_factory=list)
    steps_back: bool = False
    """The packet time of the input steps back by hours, once."""
    skews: dict[str, int] = field(default_factory=dict, repr=False)
    """By worker: how far (ns) its packet clock is ahead of that of the others, or behind."""
    detections: tuple[str, ...] = ()
    """Which run."""
    ends_by_hand: list[float] | None = None
    """When somebody ends an epoch by hand (virtual s); None: nothing is counted in such epochs."""
    spool_bytes: int | None = None
    """What a worker has room for of what is not acknowledged; None: for all."""

    @property
    def by_time(self) -> tuple[str, ...]:
        """Those detections whose epochs end with time."""
        return tuple(each for each in self.detections if not BY_HAND.startswith(f"{each}."))

    @property
    def can_be_late(self) -> bool:
        """Whether epochs may end without a worker."""
        return self.settings.deadline_s < FOR_EVER

    @property
    def is_exact(self) -> bool:
        """Whether all must come to what one process comes to."""
        return self.replays and not self.can_be_late and self.spool_bytes is None and not self.leaves


def draw(random: Random, workers: list[str], length_s: float) -> Plan:
    """A plan for a run whose input takes so long (virtual s)."""
    replays = random.random() < 0.6
    is_patient = replays and random.random() < 0.8
    settings = ClusterSettings(
        cluster_send_in_groups_of=random.choice([2, 5, 5000]),
        max_outstanding_global_views=random.choice([1, 2, 10]),
        window_messages=random.choice([1, 3, 64]),
        retry_s=random.choice([1.5, 4.0]),
        deadline_s=FOR_EVER if is_patient else random.uniform(3, 15),
    )
    end = length_s + 5
    cuts = [_cut(random, workers, end) for _ in range(random.choice([0, 1, 3]))]
    is_full = random.random() < 0.1
    if is_full:  # and the manager cannot be reached for long
        start = random.uniform(0, end / 2)
        cuts.append(Cut(random.choice(workers), start, min(end, start + random.uniform(10, 30)), up=True, down=True))
    kills = [_kill(random, workers, end) for _ in range(random.choice([0, 1, 2, 4]))]
    steps_back = replays and random.random() < 0.3
    joins = not replays and random.random() < 0.25
    # What ended where by hand cannot be read again, nor does it go on where the clock begins anew.
    is_read_once = not steps_back and not (replays and any(kill.node != MANAGER for kill in kills))
    by_hand = is_read_once and random.random() < 0.3
    plan = Plan(
        replays=replays,
        early=random.random() < 0.5,
        settings=settings,
        delay_s=random.choice([0.001, 0.02, 0.2]),
        drop=random.choice([0.0, 0.02, 0.15]),
        duplicate=random.choice([0.0, 0.02, 0.15]),
        delay_more=random.choice([0.0, 0.02, 0.15]),
        commit_s=random.choice([0.0, 0.005, 0.2]),
        compact_bytes=random.choice([2_000, 10_000, 1 << 30]),
        end=end,
        cuts=cuts,
        stops=[_stop(random, workers, end) for _ in range(random.choice([0, 0, 1, 2]))],
        kills=kills,
        disk_errors=[random.uniform(0, end) for _ in range(random.choice([0, 0, 2]))],
        joins=[Join(f"worker-{len(workers) + 1}", random.uniform(0, length_s))] if joins else [],
        leaves=[Leave(random.choice(workers), random.uniform(0, end))] if random.random() < 0.07 else [],
        steps_back=steps_back,
        detections=choose(random, by_hand=by_hand),
        ends_by_hand=[random.uniform(0, end) for _ in range(3)] if by_hand else None,
        spool_bytes=random.choice([1500, 4000]) if is_full else None,
    )
    return _and_more(plan, workers, length_s)


def _and_more(plan: Plan, workers: list[str], length_s: float) -> Plan:
    """The same with what came to be drawn later, of a number of its own, so that all that was drawn before stays."""
    random = Random(repr(plan))
    cuts, leaves = plan.cuts, [replace(each, is_removed=random.random() < 0.5) for each in plan.leaves]
    if plan.can_be_late and random.random() < 0.5:
        cuts = [*cuts, _long_cut(random, workers, length_s, plan.settings.deadline_s)]
    if not plan.leaves and random.random() < 0.03:
        leaves = [Leave(random.choice(workers), random.uniform(0, plan.end), is_removed=True)]
    skews: dict[str, int] = {}
    if not (plan.steps_back or plan.joins or plan.ends_by_hand) and random.random() < 0.2:
        skews = {name: random.randint(-MOST_SKEW, MOST_SKEW) for name in random.sample(workers, len(workers) // 2)}
    return replace(plan, cuts=cuts, leaves=leaves, skews=skews)


def _cut(random: Random, workers: list[str], end: float) -> Cut:
    start = random.uniform(0, end)
    up, down = random.choice([(True, True), (True, False), (False, True)])
    return Cut(random.choice(workers), start, min(end, start + random.uniform(0.5, 20)), up, down)


def _long_cut(random: Random, workers: list[str], length_s: float, deadline_s: float) -> Cut:
    """One that outlasts the deadline, and ends while there is something to see yet, or all is over."""
    start = random.uniform(0, length_s)
    return Cut(random.choice(workers), start, start + deadline_s + random.uniform(3, 15), up=True, down=True)


def _stop(random: Random, workers: list[str], end: float) -> Stop:
    start = random.uniform(0, end)
    return Stop(random.choice([MANAGER, *workers]), start, min(end, start + random.uniform(0.5, 20)))


def _kill(random: Random, workers: list[str], end: float) -> Kill:
    node = MANAGER if random.random() < 0.45 else random.choice(workers)
    operations = random.randint(0, 5) if random.random() < 0.6 else None
    return Kill(node, random.uniform(0, end), random.choice([0.1, 1.0, 5.0, 12.0]), operations)
