"""The judge: which levels of the threshold each row of a store has fired, and which rows have nothing more to say."""

import logging
from collections.abc import Callable
from typing import Protocol

import numpy as np

from sensor._jit import njit
from sensor.sumstats.calculation import extended
from sensor.sumstats.definition import Definition
from sensor.sumstats.threshold import JudgedValues, Threshold

log = logging.getLogger(__name__)


class Memory(Protocol):
    """What is known of keys from before and beyond the store: it may forget them, or be one of several."""

    def recall(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which levels each key has fired already (bool, (m, levels)), and whether it counts (bool, (m,))."""

    def note(self, keys: np.ndarray, levels: np.ndarray) -> None:
        """Each key has fired a level."""


Values = Callable[[str], np.ndarray]
"""The value of a reducer for each of the rows that are judged (float64)."""


@njit
def _pass_over(rows, is_done):
    """Take the observations of keys that are done out of `rows`; return how many."""
    passed = 0
    for i in range(rows.shape[0]):
        if rows[i] >= 0 and is_done[rows[i]]:
            rows[i] = -1
            passed += 1
    return passed


@njit
def _fire(rows, reached, levels, one_a_check, stays, fired, is_done, out_at, out_level):
    """Fire, in order, the levels that each observation has reached and that its row has not fired.

    A row whose `levels` are all fired is done, unless it `stays`: its later observations are taken out of `rows`.
    Return how many levels fired and how many observations were taken out.
    """
    n, passed = 0, 0
    for i in range(rows.shape[0]):
        row = rows[i]
        if row < 0:
            continue
        if is_done[row]:
            rows[i] = -1
            passed += 1
            continue
        for level in range(reached[i]):
            if fired[row, level]:
                continue
            fired[row, level] = True
            out_at[n] = i
            out_level[n] = level
            n += 1
            if one_a_check:
                break
        if reached[i] == levels[i] and not stays:
            is_done[row] = fired[row, : levels[i]].all()
    return n, passed


class Judge:
    """Judges the rows of one store; without a threshold, nothing ever fires, but keys may still be silenced.

    `memory` tells what is known of new keys from before.
    """

    def __init__(self, definition: Definition, threshold: Threshold | None, memory: Memory | None) -> None:
        self._definition, self.threshold, self._memory = definition, threshold, memory
        self._fired = np.empty((0, definition.levels if threshold else 0), np.bool_)
        self._rules = np.empty(0, np.int16)
        self._is_done = np.empty(0, np.bool_)
        self._tells = threshold is not None or memory is not None
        self._any_done = False
        self.passed_over, self.faults = 0, 0

    @property
    def row_bytes(self) -> int:
        """Memory a row."""
        return self._tells + (self._fired.shape[1] + self._rules.itemsize if self.threshold else 0)

    def done(self, n: int) -> np.ndarray:
        """Return which of the first `n` rows have nothing more to say (bool)."""
        return self._is_done[:n] if self._tells else np.zeros(n, np.bool_)

    def may_fire(self, rows: np.ndarray, name: str, most: np.ndarray) -> np.ndarray:
        """Return whether each row may yet fire a level, if the value of a reducer comes to `most` at most (bool)."""
        threshold = self.threshold
        if threshold is None or threshold.function is not None:
            return np.ones(len(rows), np.bool_)
        levels = threshold.table[self._rules[rows], :, threshold.names.index(name)]
        least = np.where(self._fired[rows], np.inf, levels).min(axis=1)
        may: np.ndarray = ~(most < least)
        return may

    def add(self, keys: np.ndarray, before: int, capacity: int) -> None:
        """Make room for `capacity` rows, and begin those of new keys, which are numbered from `before` on."""
        if not self._tells:
            return
        if len(self._is_done) != capacity:
            self._is_done = extended(self._is_done[:before], capacity, False)
            if self.threshold:
                self._fired = extended(self._fired[:before], capacity, False)
                self._rules = extended(self._rules[:before], capacity, 0)
        if not len(keys):
            return
        new = slice(before, before + len(keys))
        self._is_done[new] = False
        if self.threshold:
            self._fired[new] = False
            if self.threshold.overrides:
                self._rules[new] = self.threshold.rule_of(keys)
        if self._memory:
            self.refresh(np.arange(new.start, new.stop), keys)

    def refresh(self, rows: np.ndarray, keys: np.ndarray) -> None:
        """Ask again what is known of the keys of some rows."""
        assert self._memory is not None
        fired, counts = self._memory.recall(keys)
        self._is_done[rows] = ~counts
        self._any_done |= not counts.all()
        if self.threshold:
            self._fired[rows] = fired

    def keep(self, stays: np.ndarray) -> None:
        """Forget the other rows; those that stay (bool) move up."""
        kept = int(stays.sum())
        for own in (self._is_done,) * self._tells + (self._fired, self._rules) * bool(self.threshold):
            own[:kept] = own[: len(stays)][stays]

    def clear(self) -> None:
        """Forget all rows."""
        self._any_done = False

    def pass_over(self, rows: np.ndarray) -> None:
        """Put -1 in place of rows that have nothing more to say, and count them."""
        if self._any_done:
            self.passed_over += _pass_over(rows, self._is_done)

    def fire(self, rows: np.ndarray, num: np.ndarray, values: Values) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fire what was reached, observation by observation: which (int64, ascending), which level, and the value.

        Of several reducers, the value is the first one's. `rows` becomes -1 where a row was done by then.
        """
        threshold = self.threshold
        assert threshold is not None
        rules = self._rules[rows]
        with np.errstate(all="ignore"):  # what comes of no observations, and of infinite ones
            compared = self.compared(num, values)
            reached = threshold.reached(compared, rules)
        most = int(reached.sum())
        at, level = np.empty(most, np.int64), np.empty(most, np.int64)
        stays, levels = self._definition.wants_results, threshold.counts[rules]
        n, passed = _fire(rows, reached, levels, threshold.one_a_check, stays, self._fired, self._is_done, at, level)
        self.passed_over += passed
        self._any_done |= n > 0
        return at[:n], level[:n], compared[0][at[:n]]

    def reached(self, rows: np.ndarray, num: np.ndarray, values: Values) -> np.ndarray:
        """Return how many levels each row has reached (int64), whatever it has fired."""
        threshold = self.threshold
        assert threshold is not None
        with np.errstate(all="ignore"):
            return threshold.reached(self.compared(num, values), self._rules[rows])

    def nearness(self, rows: np.ndarray, values: Values) -> np.ndarray:
        """How near each row is to its first level: 1 on it, infinite if it is done, 0 where that cannot be said."""
        near = np.zeros(len(rows))
        threshold = self.threshold
        if threshold and not threshold.function:
            first = threshold.table[self._rules[rows], 0]
            with np.errstate(all="ignore"):
                shares = [np.nan_to_num(values(name)) / first[:, at] for at, name in enumerate(threshold.names)]
            near = np.where((first > 0).all(axis=1), np.nan_to_num(np.min(shares, axis=0)), 0.0)
        near[self.done(len(rows))] = np.inf
        return near

    def compared(self, num: np.ndarray, values: Values) -> list[np.ndarray]:
        """Return what is compared with the levels, by their names."""
        threshold = self.threshold
        assert threshold is not None
        if threshold.function is None:
            return [values(name) for name in threshold.names]
        names = [each.name for each in self._definition.reducers if each.is_judged]
        return [self._call(threshold, JudgedValues(num, names, values))]

    def _call(self, threshold: Threshold, judged: JudgedValues) -> np.ndarray:
        values, faults = threshold.call(judged)
        if faults and not self.faults:
            text = "the threshold function of %s raised; such keys do not cross"
            log.error(text, self._definition.name, exc_info=faults[0])
        self.faults += len(faults)
        return values
