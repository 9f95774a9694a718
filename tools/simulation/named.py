"""The names: whether each worker that an epoch says is missing had a reason to be.

A name in `missing` is accepted where one of these is so, and nowhere else:

- its results found no room in its spool, and were given up: those of that very epoch, or of a pane of its window;
- it cannot read its input again, and died: the window overlaps what it saw from the last moment on at which the manager
  had all that it knew, up to where its next life begins. Of a worker that joins, that is the place where it does; of
  one that has left, there is no end. It may be named in what others saw before its packet clock began, too: only
  what was lost might have told;
- it said hello for the first time only when others had said something, and cannot read its input again. Nobody can know
  then what it has seen before, so all is accepted up to where the manager first had all that it knew;
- its epochs end by hand, and one of these befell it at any time, or it reads again what it had told before it died:
  where such an epoch lies among what it reads anew, nobody can know;
- where epochs have a deadline: there was a manager that had no connection to it for so long, ending at some moment
  between the earliest at which the epoch could be over and that at which it was told.

That it lacks observations is no reason of its own: they must have been lost in one of these ways.
"""

from collections.abc import Iterator
from itertools import pairwise

from tools.simulation import detections, workload
from tools.simulation.detections import Told
from tools.simulation.run import Outcome
from tools.simulation.workload import PACE

_FASTEST = 3.0
"""How many times faster than live input is read again, at most."""


def unjustified(outcome: Outcome) -> Iterator[str]:
    """What is wrong with the names, for people."""
    for told in outcome.heard.results.values():
        by_hand = told.sumstat == "by_hand"
        for name in told.missing:
            if by_hand and _befell(outcome, name):
                continue
            if by_hand or not (
                _gave_up(outcome, told, name) or _lost(outcome, told, name) or _was_late(outcome, told, name)
            ):
                yield f"{told}:\n  {name} is named, and was there"


def _befell(outcome: Outcome, name: str) -> bool:
    """Whether anything at all befell a worker: where an epoch ends by hand, its place in time is not known."""
    history, deadline = outcome.history, outcome.plan.settings.deadline_s
    was_late = any(until - since >= deadline for since, until in history.away[name])
    gave_up = any(each[0] == "by_hand" and each[2] == name for each in history.given_up)
    return was_late or gave_up or name in history.died or bool(history.gaps[name])


def _gave_up(outcome: Outcome, told: Told, name: str) -> bool:
    panes = detections.definitions(outcome.plan.detections)[told.sumstat].panes
    return any((told.sumstat, told.epoch - at, name) in outcome.history.given_up for at in range(panes))


def _lost(outcome: Outcome, told: Told, name: str) -> bool:
    step = _step(outcome, told)
    # The last epoch before packet time steps back is cut short, but what is known of it goes by its full length.
    definition = detections.definitions(outcome.plan.detections)[told.sumstat]
    end = max(told.end, told.start + definition.epoch_ns)
    gaps, first = outcome.history.gaps[name], outcome.input.edges_of(workload.number(name))[0]
    had_not_begun = min(told.end, told.start + definition.pane_ns) + step <= first
    return any(had_not_begun or (told.start + step < until and end + step > since) for since, until in gaps)


def _was_late(outcome: Outcome, told: Told, name: str) -> bool:
    deadline, at = outcome.plan.settings.deadline_s, outcome.history.told[told.sumstat, told.epoch]
    pace = _FASTEST if outcome.plan.replays else 1.0
    earliest = (told.end + _step(outcome, told) - outcome.input.start) / PACE / pace
    # A worker that begins anew within a block is at once where that ends.
    earliest -= max(end - start for start, end in pairwise(outcome.input.edges)) / PACE / pace
    earliest -= max(0, *outcome.plan.skews.values(), 0) / PACE / pace
    # A name in a window that hops may be that of an earlier pane.
    definition = detections.definitions(outcome.plan.detections)[told.sumstat]
    earliest -= (definition.panes - 1) * definition.pane_ns / PACE / pace
    away = outcome.history.away[name]
    return any(since + deadline <= at and max(since + deadline, earliest) <= min(until, at) for since, until in away)


def _step(outcome: Outcome, told: Told) -> int:
    """What packet time had stepped back by (ns)."""
    definition = detections.definitions(outcome.plan.detections)[told.sumstat]
    restart = outcome.input.restart
    is_again = restart is not None and told.epoch >= outcome.input.first_again(definition.pane_ns)
    return outcome.input.shift(restart) if is_again and restart is not None else 0
