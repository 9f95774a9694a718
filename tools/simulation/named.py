"""The names: whether each worker that an epoch says is missing had a reason to be.

A name in `missing` is accepted where one of these is so, and nowhere else:

- its results found no room in its spool, and were given up: those of that very epoch, or of a pane of its window;
- it cannot read its input again, and died: the window overlaps what it saw from the last moment on at which the manager
  had all that it knew, up to where its next life begins. Of a worker that joins, that is the place where it does; of
  one that has left, there is no end;
- it said hello for the first time only when others had said something, and cannot read its input again. Nobody can know
  then what it has seen before, so all is accepted up to where the manager first had all that it knew;
- where epochs have a deadline: there was a manager that had no connection to it for so long, ending at some moment
  between the earliest at which the epoch could be over and that at which it was told.

That it lacks observations is no reason of its own: they must have been lost in one of these ways.
"""

from collections.abc import Iterator

from tools.simulation import workload
from tools.simulation.run import Outcome
from tools.simulation.workload import PACE, Told

_FASTEST = 3.0
"""How many times faster than live input is read again, at most."""


def unjustified(outcome: Outcome) -> Iterator[str]:
    """What is wrong with the names, for people."""
    for told in outcome.heard.results.values():
        for name in told.missing:
            if not (_gave_up(outcome, told, name) or _lost(outcome, told, name) or _was_late(outcome, told, name)):
                yield f"{told}:\n  {name} is named, and was there"


def _gave_up(outcome: Outcome, told: Told, name: str) -> bool:
    panes = workload.definitions()[told.sumstat].panes
    return any((told.sumstat, told.epoch - at, name) in outcome.history.given_up for at in range(panes))


def _lost(outcome: Outcome, told: Told, name: str) -> bool:
    step = _step(outcome, told)
    return any(told.start + step < until and told.end + step > since for since, until in outcome.history.gaps[name])


def _was_late(outcome: Outcome, told: Told, name: str) -> bool:
    deadline, at = outcome.plan.settings.deadline_s, outcome.history.told[told.sumstat, told.epoch]
    pace = _FASTEST if outcome.plan.replays else 1.0
    earliest = (told.end + _step(outcome, told) - outcome.input.start) / PACE / pace
    # A name in a window that hops may be that of an earlier pane.
    definition = workload.definitions()[told.sumstat]
    earliest -= (definition.panes - 1) * definition.pane_ns / PACE / pace
    away = outcome.history.away[name]
    return any(since + deadline <= at and max(since + deadline, earliest) <= min(until, at) for since, until in away)


def _step(outcome: Outcome, told: Told) -> int:
    """What packet time had stepped back by (ns)."""
    definition = workload.definitions()[told.sumstat]
    origin = outcome.input.start if outcome.plan.replays else 0
    restart = outcome.input.restart
    is_again = restart is not None and told.epoch >= outcome.input.first_again(definition.pane_ns, origin)
    return outcome.input.shift(restart) if is_again and restart is not None else 0
