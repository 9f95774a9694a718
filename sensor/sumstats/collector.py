"""The collector: what all workers know of one SumStat, merged, judged and told, on the manager.

It is a state machine: workers' answers and the ends of their epochs go in; crossings, and the results of each epoch
once every member has delivered, come out. A crossing comes as soon as views of a key from all members are at hand
(`look`), and again as its value grows; when the epoch is over, every key of every member is judged, whatever was found
before, so that what is told then is the same however many members there are and whether any of it came early.

Whoever ends epochs by `close_epoch` says which of those crossings stand (`fire`): they alone are not told again in any
window that still has the epoch in it.

Who calls `close_epoch` says whose results are `missing`, and the epoch's result names them. Where windows hop, what
members deliver are panes, each merged once, and an epoch's results are those of the window that ends with its pane.

What a member delivers when its epoch is over (`take_late`) is in every window that is open then. The windows that are
over are judged anew (`settle_late`), after those that were open, for levels that did not stand before; their results
are not told again.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace

import numpy as np

from sensor.hash import new_key
from sensor.sumstats.asked import Asked
from sensor.sumstats.definition import Definition
from sensor.sumstats.engine import EpochEnd
from sensor.sumstats.following import Following
from sensor.sumstats.merged import EpochResult, Merged, Present, Told
from sensor.sumstats.nearness import Nearness
from sensor.sumstats.observation_batch import Given
from sensor.sumstats.panes import Pane, Panes
from sensor.sumstats.partial import Partial
from sensor.sumstats.query import Selection
from sensor.sumstats.store import Crossed, Store
from sensor.sumstats.support import Support, among, in_order
from sensor.sumstats.suppression import Quiet, QuietMemory
from sensor.sumstats.table import Keys


@dataclass(frozen=True, slots=True)
class CollectorMemory:
    """All that a collector knows."""

    closed: int
    panes: Mapping[int, Pane]
    reopened: Set[int]
    """The panes that end windows which are to be judged anew."""
    delivered: Mapping[str, int]
    """The last pane of each member."""
    quiet: QuietMemory
    counters: tuple[int, int]
    continues: bool = False
    """Whether the epoch that is over last was one of this clock."""


@dataclass(frozen=True, slots=True)
class _Memory:
    """What is known of keys in the window that ends with a pane."""

    quiet: Quiet
    pane: int
    asked: Asked | None = None
    """What was asked counts as fired."""

    def recall(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which levels keys have fired, and whether they count."""
        fired = self.quiet.fired(keys, self.pane)
        if self.asked:
            fired |= self.asked.of(keys, self.pane)
        return fired, self.quiet.counts(keys, self.pane)

    def note(self, keys: np.ndarray, levels: np.ndarray) -> None:
        """Nothing: that a level was reached does not tell whether it stands."""


class Collector:
    """Merges what members know of one SumStat.

    Whoever knows what to wait for lets it `apply` what members deliver, ends each epoch by `close_epoch`, and lets the
    crossings that stand `fire`. There is room for as much as `room` members can hold.
    """

    def __init__(
        self,
        definition: Definition,
        secret: np.ndarray | None = None,
        *,
        room: int = 1,
    ) -> None:
        self.definition = definition
        self._secret = new_key() if secret is None else secret
        self._quiet = Quiet(definition, self._secret)
        self._asked = Asked(definition, self._secret)
        self._panes = Panes(definition.panes)
        self._delivered: dict[str, int] = {}
        parts = room * definition.panes
        self._merging = replace(  # so that merging need not give up what members had room for
            definition, max_keys=min(definition.max_keys * parts, 1 << 30), max_bytes=definition.max_bytes * parts
        )
        self.following = Following(self._merging, self._secret)
        """Keys that are counted on, by whoever ends epochs."""
        self._nothing = Store(definition, self._secret, judges=False).partial()
        self._closed, self._continues = -1, False
        self._late, self._repeated = 0, 0
        self._nearness = Nearness(definition)

    @property
    def counters(self) -> dict[str, int]:
        """`epochs_late` came after they had been closed, `epochs_repeated` twice; `quiet_refused`: see `Window`."""
        return {
            "epochs_late": self._late,
            "epochs_repeated": self._repeated,
            "quiet_refused": self._quiet.refused,
        }

    @property
    def closed(self) -> int:
        """The last epoch that is over; -1: none is."""
        return self._closed

    @property
    def delivered(self) -> dict[int, tuple[int, int, Set[str]]]:
        """The epochs that are not over: where each begins and ends (ns), and who has delivered it so far."""
        return {at: self.pane(at) for at in self._panes if at > self._closed}

    def pane(self, epoch: int) -> tuple[int, int, Set[str]]:
        """The same for one of them."""
        pane = self._panes[epoch]
        return pane.start, pane.end, pane.partials.keys()

    @property
    def memory(self) -> CollectorMemory:
        """All that it knows, to go on from in another process."""
        panes, reopened = self._panes.memory
        return CollectorMemory(
            closed=self._closed,
            panes=panes,
            reopened=reopened,
            delivered=dict(self._delivered),
            quiet=self._quiet.memory,
            counters=(self._late, self._repeated),
            continues=self._continues,
        )

    def restore(self, memory: CollectorMemory) -> None:
        """Go on from there."""
        self._closed, self._delivered, self._continues = memory.closed, dict(memory.delivered), memory.continues
        self._panes.restore(memory.panes, memory.reopened, memory.closed)
        self._late, self._repeated = memory.counters
        self._quiet.restore(memory.quiet)

    def peek(self, epoch: int, views: Mapping[str, Partial]) -> list[Merged]:
        """Judge some keys by what each member knows of them in its open window: each key once in a view at most.

        Members may not know yet what does not count: such keys are left to the epoch's end.
        """
        found, _ = self._peek(epoch, views)
        return found

    def peek_jointly(self, epoch: int, views: Mapping[str, Partial]) -> tuple[list[Merged], np.ndarray, np.ndarray]:
        """The same, and what is `known` of all of them."""
        found, window = self._peek(epoch, views)
        if any(self._quiet.was_quiet(view.keys, epoch).any() for view in views.values()):
            return found, *self.known(views)
        return found, window.keys, window.compared(np.arange(len(window)))

    def _peek(self, epoch: int, views: Mapping[str, Partial]) -> tuple[list[Merged], Store]:
        """Return what is to be asked of a window that is not over, and the window."""
        threshold = self.definition.threshold
        is_fired = threshold is not None and threshold.one_a_check
        memory = _Memory(self._quiet, epoch, self._asked if is_fired else None)
        window = Store(self._merging, self._secret, memory=memory)
        for view in views.values():
            window.merge(view, ~self._quiet.was_quiet(view.keys, epoch))
        for view in views.values():
            window.absorb(view.support)
        if epoch <= self._closed or not len(window):
            return [], window
        crossed = window.judge()
        if self.definition.keeps_history:  # a level an observation, at most
            nums = window.nums(window.lookup(crossed.partial.keys))
            crossed = crossed.take(self.definition, np.flatnonzero(crossed.level < nums))
        asked = self._asked.ask(crossed.partial.keys, crossed.level, crossed.value, epoch)
        crossed = crossed.take(self.definition, np.flatnonzero(asked))
        return self._merged(crossed, epoch, tuple(sorted(views))), window

    def known(self, views: Mapping[str, Partial]) -> tuple[np.ndarray, np.ndarray]:
        """The keys of some views, each once (uint64, (m, words)), and the merged value of each (float64)."""
        window = Store(self._merging, self._secret)
        for view in views.values():
            window.merge(view)
        return window.keys, window.compared(np.arange(len(window)))

    def apply(self, member: str, end: EpochEnd) -> bool:
        """Keep what a member delivers until its epoch is settled; False: that is so already, or it came before."""
        if end.epoch <= self._closed:
            self._late += 1
            return False
        if end.epoch in self._panes and member in self._panes[end.epoch].partials:
            self._repeated += 1
            return False
        self._panes.open(end.epoch, end.start, end.end).add(member, end.partial, end.lost)
        self._delivered[member] = end.epoch
        return True

    def take_late(self, member: str, end: EpochEnd, *, is_whole: bool) -> list[int] | None:
        """Keep what a member delivers of an epoch that is over; the epochs whose windows are to be judged anew for it.

        None: it was delivered before. `is_whole`: it is all that the member saw in that epoch.
        """
        if end.epoch <= self._delivered.get(member, -1):
            self._repeated += 1
            return None
        self._late += 1
        self._delivered[member] = end.epoch
        self._panes.mend(member, end.epoch + (not is_whole), end.following)
        if not len(end.partial) and not end.partial.support:
            return []
        self._panes.open(end.epoch, end.start, end.end).add(member, end.partial, end.lost)
        return self._panes.reopen(end.epoch, member)

    def restart(self, following: int) -> None:
        """Restart with the clock: nothing before it matters any more, and its first epoch is `following`."""
        self._quiet.clear()
        self._asked.clear()
        self._panes.clear()
        self.following.clear()
        self._delivered.clear()
        self._closed, self._continues = following - 1, False

    def close_epoch(self, index: int, missing: Iterable[str] = ()) -> list[Told]:
        """End an epoch that was delivered, after those before it; `missing` should have delivered it too.

        First come the results of windows that end with panes nobody delivered, as far as they may hold one that was.
        """
        pane = self._panes[index]
        pane.missing = set(missing)
        idle = index - self._closed - 1 if self._continues else 0
        ebbing = self._ebbing(index, min(idle, self.definition.panes - 1))
        self._closed, self._continues = index, True
        rested = self.following.resting(index - 1)  # panes without observations are not settled
        self._quiet.resume(rested, index)
        first = self._panes.first
        self._quiet.expire(index if first is None or first > index - self.definition.panes else first)
        window = self._panes.of(index)
        whole = self._compose(index) if self.definition.wants_results else None
        told: list[Told] = list(ebbing)
        if self.definition.threshold and not self._nearness.are_all_far(window):
            told += self._judge(index, pane, whole)
        self._asked.expire(index)
        told.append(replace(self._result(index, window, whole), idle=idle - len(ebbing)))
        self.following.add_pane(index, [partial for _, partial in sorted(pane.partials.items())], rested)
        self._panes.end(index)
        return told

    def settle_late(self, index: int) -> list[Merged]:
        """Judge anew the window that ended with an epoch, for what came of it since; in order of the epochs."""
        window, told = self._panes.of(index), list[Merged]()
        if self.definition.threshold and not self._nearness.are_all_far(window):
            keys = self._worth_judging(index, only_late=True)
            if len(keys):
                about = (index, *_who(window), self._panes[index].end)
                whole, crossed = self._compose(index, Keys(keys, self._secret)), list[Crossed]()
                if self.definition.keeps_history:
                    keys, crossed = self._in_order(index, whole, keys)
                for of in [*crossed, _judged(whole, keys)]:
                    told += self._merged(of, *about, late=True)
        self._panes.reclose(index, self._closed)
        return told

    def fire(self, index: int, keys: np.ndarray, levels: np.ndarray) -> None:
        """Levels (int64) that keys (uint64, (m, words)) had reached when an epoch was over stand."""
        self._quiet.fire(keys, levels, index)

    def recall(self, epoch: int, keys: np.ndarray, levels: np.ndarray, values: np.ndarray) -> None:
        """Levels of keys were asked about, in an epoch that is not over, at these values (float64; `ANSWERED`)."""
        self._asked.note(keys, levels, values, epoch)

    def silence(self, keys: np.ndarray, index: int, since: int) -> None:
        """Do not count what is observed of keys (uint64, (m, words)) after an epoch, up to the epoch `since`."""
        self._quiet.silence(keys, index, since)

    def resume(self, keys: np.ndarray, index: int) -> None:
        """Count what is observed of keys (uint64, (m, words)) again from an epoch on."""
        self._quiet.resume(keys, index)

    def present(self, epoch: int, views: Mapping[str, Partial], selection: Selection) -> Present:
        """Return what is known of some keys in an epoch that is not over.

        Of each member there is what it delivered, if it has ended the epoch, or else its view of its open window.
        """
        ended = self._panes[epoch].partials if epoch in self._panes else {}
        open_windows = {member: view for member, view in views.items() if member not in ended}
        window = Store(self._merging, self._secret, judges=False)
        for view in open_windows.values():
            window.merge(view)
        supports = []
        panes = dict(self._panes.of(epoch))
        for at, pane in panes.items():
            for partial in (own for member, own in sorted(pane.partials.items()) if member not in open_windows):
                counts = self._quiet.counts(partial.keys, at, at_start=at == epoch)
                window.merge(partial, counts & selection.matches(partial.keys))
                supports.append((at, partial.support))
        for at, support in supports:
            self._absorb(window, support, at, at_start=at == epoch)
        for view in open_windows.values():
            window.absorb(view.support)
        members = {*open_windows, *(member for pane in panes.values() for member in pane.partials)}
        missing = {member for pane in panes.values() for member in pane.missing} - set(open_windows)
        rows = window.select(selection)
        found = len(window.select(selection.all))
        return Present(found, window.partial(rows), tuple(sorted(members)), tuple(sorted(missing)))

    def _judge(self, index: int, pane: Pane, whole: Store | None) -> list[Merged]:
        """Judge every key of the pane by its window."""
        keys = self._unfired(index, self._worth_judging(index))
        if not len(keys):
            return []
        who = (*_who(self._panes.of(index)), pane.end)
        window = whole if whole is not None else self._compose(index, Keys(keys, self._secret))
        told: list[Merged] = []
        if self.definition.keeps_history:
            keys, crossed = self._in_order(index, window, keys)
            told += [each for of in crossed for each in self._merged(of, index, *who)]
        if self.definition.threshold and self.definition.threshold.one_a_check:
            asked = self._asked.of(keys, index)
            told += self._merged(self._reached(window, keys, asked), index, *who)
            # Others had the one look that Zeek gives a key.
            keys = keys[~(self._quiet.fired(keys, index) | asked).any(axis=1)]
        return told + self._merged(_judged(window, keys), index, *who)

    def _in_order(self, index: int, window: Store, keys: np.ndarray) -> tuple[np.ndarray, list[Crossed]]:
        """Judge keys observation by observation; those of which some were not kept, and what the others crossed.

        First the levels that the value is still at or over, by what it came to; then others, by what it was then.
        """
        history = self._history(index, Keys(keys, self._secret))
        store = Store(replace(self._merging, wants_results=True), self._secret)
        found = store.observe(history.keys, history.ts, history.values, history.applies)
        rows = window.lookup(keys)
        keys = np.unique(keys[rows >= 0], axis=0)
        is_whole = window.nums(window.lookup(keys)) == store.nums(store.lookup(keys))
        whole, left = keys[is_whole], keys[~is_whole]
        at = Keys(whole, self._secret).lookup(found.partial.keys)
        stands = np.zeros((len(whole), self.definition.levels), np.bool_)
        stands[at[at >= 0], found.level[at >= 0]] = True
        stands &= ~self._quiet.fired(whole, index)
        reached = self._reached(window, whole, stands)
        stands &= np.arange(self.definition.levels) >= window.reached(window.lookup(whole))[:, np.newaxis]
        fell = np.flatnonzero((at >= 0) & stands[at, found.level])
        return left, [reached, found.take(self.definition, fell)]

    def _history(self, index: int, keys: Keys) -> Given:
        """The observations of some keys in a pane, whoever made them: in order of time, and then of what was observed.

        So no other order that members have can make a difference.
        """
        found = []
        for at, partial in self._held(index):
            for rows in among(partial.support, keys.has):
                found.append(rows[self._quiet.counts(rows.keys, at, at_start=True)])
        return in_order(self.definition, found)

    def _reached(self, window: Store, keys: np.ndarray, levels: np.ndarray) -> Crossed:
        """Those of some levels of keys (bool, (m, levels)) that these are still at or over."""
        rows = window.lookup(keys)
        rows, levels = rows[rows >= 0], levels[rows >= 0]
        rows, first = np.unique(rows, return_index=True)
        at, level = np.nonzero(levels[first] & (np.arange(levels.shape[1]) < window.reached(rows)[:, np.newaxis]))
        return Crossed(at, level, window.compared(rows[at]), window.partial(rows[at]))

    def _worth_judging(self, index: int, *, only_late: bool = False) -> np.ndarray:
        """The keys of a pane and of what came late of its window (uint64, (m, words)) that may have come to a level."""
        held = self._held(index)
        fresh = self._late_in(index)
        if not only_late:
            fresh += [partial for at, partial in held if at == index]
        return self._nearness.worth_judging([partial for _, partial in held], fresh, self._secret)

    def _unfired(self, index: int, keys: np.ndarray) -> np.ndarray:
        """Those of some keys that have a level left which they have not fired in the window that ends with a pane."""
        threshold = self.definition.threshold
        assert threshold is not None
        levels = threshold.counts[threshold.rule_of(keys)]
        unfired: np.ndarray = keys[self._quiet.fired(keys, index).sum(axis=1) < levels]
        return unfired

    def _late_in(self, index: int) -> list[Partial]:
        """Return what was delivered late of the window that ends with a pane."""
        return [pane.partials[member] for _, pane in self._panes.of(index) for member in sorted(pane.late)]

    def _held(self, index: int) -> list[tuple[int, Partial]]:
        """What was delivered of the window that ends with a pane: each with its pane, those of one member by name."""
        return [(at, partial) for at, pane in self._panes.of(index) for _, partial in sorted(pane.partials.items())]

    def _ebbing(self, index: int, count: int) -> list[EpochResult]:
        """The results of so many windows after the last that is over, as nobody delivered a pane before `index`."""
        start, found = self._panes[index].start, list[EpochResult]()
        for at in range(self._closed + 1, self._closed + 1 + count):
            end = start - (index - 1 - at) * self.definition.pane_ns
            whole = self._compose(at) if self.definition.wants_results else None
            found.append(self._result(at, self._panes.of(at), whole, end))
        return found

    def _result(
        self, index: int, window: list[tuple[int, Pane]], whole: Store | None, end: int | None = None
    ) -> EpochResult:
        """Return what comes of a window; `end`: when (ns) the pane that ends it does, if nobody delivered that."""
        if end is None:
            start, end = window[-1][1].start - (self.definition.panes - 1) * self.definition.hop_ns, window[-1][1].end
        else:
            start = end - self.definition.epoch_ns
        partial = self._nothing if whole is None else whole.partial()
        lost = sum([each.lost for _, each in window]) + (0 if whole is None else whole.lost)
        members, missing = _who(window)
        return EpochResult(self.definition.name, index, start, end, partial, members, missing, lost)

    def _compose(self, index: int, only: Keys | None = None) -> Store:
        """The window that ends with a pane, put together from what members delivered: of all keys or of some."""
        window = self._window(index)
        for at, partial in self._held(index):
            counts = self._quiet.counts(partial.keys, at, at_start=at == index)
            if only:
                counts &= only.has(partial.keys)
            window.merge(partial, counts)
        for at, partial in self._held(index):
            self._absorb(window, partial.support, at, at_start=at == index)
        return window

    def _absorb(self, window: Store, support: Support, at: int, *, at_start: bool) -> None:
        """Let a window absorb what supports its keys in one pane, as far as those count there."""
        window.absorb(support, lambda rows: self._quiet.counts(rows.keys, at, at_start=at_start))

    def _window(self, index: int) -> Store:
        """An empty store for the window that ends with a pane, which knows what has fired in it."""
        return Store(self._merging, self._secret, memory=_Memory(self._quiet, index))

    def _merged(
        self,
        crossed: Crossed,
        epoch: int,
        members: tuple[str, ...],
        missing: tuple[str, ...] = (),
        end: int = 0,
        *,
        late: bool = False,
    ) -> list[Merged]:
        if not len(crossed.at):
            return []
        merged = Merged(
            sumstat=self.definition.name,
            epoch=epoch,
            level=crossed.level,
            value=crossed.value,
            partial=crossed.partial,
            members=members,
            missing=missing,
            end=end,
            late=late,
        )
        return [merged]


def _judged(window: Store, keys: np.ndarray) -> Crossed:
    """The levels that keys (uint64, (m, words)) have reached in a window and not fired yet."""
    rows = window.lookup(keys)
    return window.judge(np.unique(rows[rows >= 0]))


def _who(window: Iterable[tuple[int, Pane]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return whose values are in a window, and whose should be."""
    members: set[str] = set()
    missing: set[str] = set()
    for _, pane in window:
        members.update(pane.partials)
        missing.update(pane.missing)
    return tuple(sorted(members)), tuple(sorted(missing))
