"""The detections of a simulation: one for each way in which epochs, windows, levels and results go together.

They note what they are told. Beside each total, another sum tells how many observations of which worker are in it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from sensor.alerts import Severity
from sensor.cluster.ledger import digest_of
from sensor.detection import Alert, Detection, Stream, Sum, SumStat, Unique
from sensor.sumstats import Definition

BY_HAND = "by_hand.sums"


@dataclass(frozen=True)
class Told:
    """An epoch as a detection was told of it."""

    sumstat: str
    epoch: int
    start: int
    end: int
    complete: bool
    missing: tuple[str, ...]
    keys: dict[int, tuple[float, int]]
    """By key the total, and how many observations of which worker, in powers of `WORKERS_BASE`."""


class Simulated(Detection):
    """What the detections of a simulation share: they note the results that they are told. Misses nothing."""

    seen = Stream("connection_attempt", key="resp_p", value="orig_p")
    told: list[Told]

    def __init__(self) -> None:
        super().__init__()
        self.told = []
        self._keys: dict[int, tuple[float, int]] = {}

    def note(self, key: Any, seen: Any) -> None:
        """The result of a key."""
        self._keys[key.resp_p] = (seen.total.sum, int(seen.by.sum))

    def finish(self, epoch: Any) -> None:
        """The epoch is over."""
        about = epoch.index, epoch.start, epoch.end, epoch.complete, epoch.missing
        self.told.append(Told(self.name, *about, self._keys))
        self._keys = {}


class Broad(Simulated):
    """Many elements in an epoch, which covers what `Spread` says of the same source. Misses nothing."""

    sums = SumStat(hops=0, epoch="30m", hosts=Unique(Simulated.seen))

    @sums.crosses(hosts=9)
    def crossed(self, key: Any, seen: Any) -> Alert:
        """One alert a key."""
        return Alert(f"{key.resp_p} broad", src=f"host-{key.resp_p}", same_as=key.resp_p, covers=("spread",))

    @sums.epoch_finished
    def finished(self, epoch: Any) -> None:
        """No results are wanted, only whether it is complete."""
        self.finish(epoch)


class Volume(Simulated):
    """A series of levels, each told in every epoch, and all results. Misses nothing."""

    sums = SumStat(
        hops=0, epoch="30m", total=Sum(Simulated.seen, of="orig_bytes"), by=Sum(Simulated.seen, of="resp_bytes")
    )

    @sums.crosses(total=(12, 30, 31, 60))
    def crossed(self, key: Any, seen: Any) -> Alert:
        """Each stands for itself."""
        return Alert(f"{key.resp_p} came to {seen.total.sum}", src=f"host-{key.resp_p}")

    @sums.epoch_result
    def result(self, key: Any, seen: Any, epoch: Any) -> None:
        """What came together."""
        self.note(key, seen)

    @sums.epoch_finished
    def finished(self, epoch: Any) -> None:
        """All came together."""
        self.finish(epoch)


class Spread(Simulated):
    """Elements in windows that hop; a key whose alert stands is silenced on all workers. Misses nothing."""

    sums = SumStat(epoch="30m", hops=2, hosts=Unique(Simulated.seen))

    @sums.crosses(hosts=6)
    def crossed(self, key: Any, seen: Any) -> Alert:
        """One alert a key."""
        return Alert(f"{key.resp_p} spread", src=f"host-{key.resp_p}", same_as=key)

    @sums.epoch_finished
    def finished(self, epoch: Any) -> None:
        """No results are wanted, only whether it is complete."""
        self.finish(epoch)


class Windows(Simulated):
    """Sums of windows that hop, with all results; repeats are folded. Misses nothing."""

    sums = SumStat(
        epoch="30m", hops=2, total=Sum(Simulated.seen, of="orig_bytes"), by=Sum(Simulated.seen, of="resp_bytes")
    )

    @sums.crosses(total=40)
    def crossed(self, key: Any, seen: Any) -> Alert:
        """One alert a key, for an hour."""
        return Alert(f"{key.resp_p} came to {seen.total.sum}", src=f"host-{key.resp_p}", same_as=key)

    @sums.epoch_result
    def result(self, key: Any, seen: Any, epoch: Any) -> None:
        """What came together."""
        self.note(key, seen)

    @sums.epoch_finished
    def finished(self, epoch: Any) -> None:
        """All came together."""
        self.finish(epoch)


class Weighed(Simulated):
    """Elements in windows that hop, of which a level may mean nothing, or less, as more comes. Misses nothing."""

    sums = SumStat(epoch="30m", hops=2, hosts=Unique(Simulated.seen), total=Sum(Simulated.seen, of="orig_bytes"))

    @sums.crosses(hosts=(4, 7))
    def crossed(self, key: Any, seen: Any) -> Alert | None:
        """What it says goes by the figures alone, and changes with nearly each of them."""
        mood = int(seen.total.sum) % 5
        if mood < 2:
            return None
        severity: Severity = "low" if mood == 2 else "high"
        return Alert(
            f"{key.resp_p} weighs {seen.total.sum} over {seen.threshold}",
            src=f"host-{key.resp_p}",
            dst=f"host-{mood}",
            kind=f"kind-{mood}",
            severity=severity,
            same_as=key if mood == 3 else None,
            covers=("spread",) if mood == 4 else (),
        )

    @sums.epoch_finished
    def finished(self, epoch: Any) -> None:
        """No results are wanted, only whether it is complete."""
        self.finish(epoch)


class ByHand(Simulated):
    """Sums of epochs that end when somebody says so. Misses nothing."""

    sums = SumStat(epoch="0s", total=Sum(Simulated.seen, of="orig_bytes"), by=Sum(Simulated.seen, of="resp_bytes"))

    @sums.epoch_result
    def result(self, key: Any, seen: Any, epoch: Any) -> None:
        """What came together."""
        self.note(key, seen)

    @sums.epoch_finished
    def finished(self, epoch: Any) -> None:
        """All came together."""
        self.finish(epoch)


_BY_TIME: tuple[type[Simulated], ...] = (Broad, Weighed, Volume, Spread, Windows)
"""Those whose epochs end with time, in the order in which their alerts go."""


def choose(random: Random, *, by_hand: bool) -> tuple[str, ...]:
    """Two of them, so that each meets each other one in some runs; and, or not, the one whose epochs end by hand."""
    chosen = random.sample([each.name for each in _BY_TIME], 2)
    return tuple([each.name for each in _BY_TIME if each.name in chosen] + [ByHand.name] * by_hand)


def make(names: Iterable[str]) -> list[Simulated]:
    """The detections of those names."""
    return [each() for each in (*_BY_TIME, ByHand) if each.name in names]


@cache
def definitions(names: tuple[str, ...]) -> dict[str, Definition]:
    """Their SumStats, by the name of the detection: each has one."""
    return {each.name: definition for each in make(names) for definition in each.define().values()}


@cache
def digest(names: tuple[str, ...]) -> str:
    """Of all of them."""
    return digest_of(definitions(names).values())
