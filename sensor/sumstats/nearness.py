"""Nearness: which keys may have come to a level at all, by what each member says of them, before anything is merged.

Of a value that only grows, and whose merge is at most the sum of what is merged, some part must be at least the level
divided by the number of parts. So in a flood of keys that do next to nothing hardly any window is put together.
"""

from collections.abc import Iterable

import numpy as np

from sensor.sumstats.definition import Definition
from sensor.sumstats.panes import Pane
from sensor.sumstats.partial import Partial
from sensor.sumstats.series import Piece
from sensor.sumstats.support import keys_among
from sensor.sumstats.table import Keys
from sensor.sumstats.threshold import FUNCTION


class Nearness:
    """How near to the first level of a definition keys can have come."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        name = definition.threshold.names[0] if definition.threshold else FUNCTION
        self._far = 0.0
        """Up to which part of its first level a key that has come to it may seem to have come; 0: to any.

        Sketches are not exact.
        """
        if name in definition.growing:
            self._far = 1.0 if definition.reducer(name).is_exact else 0.5

    def are_all_far(self, window: Iterable[tuple[int, Pane]]) -> bool:
        """Return whether no key of a window can have come to its first level, as nearly always in quiet times."""
        if not self._far:
            return False
        near = 0.0
        for _, pane in window:
            if pane.peak is None:
                pane.peak = sum(map(self._peak, pane.partials.values()))
            near += pane.peak
        return near < self._far

    def worth_judging(self, parts: list[Partial], fresh: list[Partial], secret: np.ndarray) -> np.ndarray:
        """The keys of the `fresh` parts of a window (uint64, (m, words)) that may have come to a level by all parts."""
        threshold = self._definition.threshold
        assert threshold is not None
        if self._far:
            reducer = self._definition.reducer(threshold.names[0])
            found = []
            for partial in parts:
                levels = threshold.table[threshold.rule_of(partial.keys), 0, 0]
                values = reducer.values(partial.headers[reducer.stream]["num"], partial.states[reducer.name])
                found.append(partial.keys[values >= self._far * levels / len(parts) / 1.001])
            near = Keys(np.concatenate(found), secret)
            own = [partial.keys[near.has(partial.keys)] for partial in fresh]
        else:
            near = Keys(np.concatenate([partial.keys for partial in parts]), secret)
            own = [partial.keys for partial in fresh]
        if len(near.words):
            own += [keys for partial in fresh for keys in keys_among(partial.support, near)]
        return np.concatenate(own)

    def _peak(self, partial: Partial) -> float:
        """Return how near to its first level any key can have come by a part: its share of it, or a little more."""
        if isinstance(partial, Piece):
            peaks: list[float] = partial.series.of_each(self._peaks)
            return peaks[partial.at]
        return self._peaks(partial, [0, len(partial)])[0]

    def _peaks(self, partial: Partial, bounds: list[int]) -> list[float]:
        """Return how near to their first level keys can have come: at most, of those from each bound to the next."""
        threshold = self._definition.threshold
        assert threshold is not None
        reducer = self._definition.reducer(threshold.names[0])
        levels = threshold.table[threshold.rule_of(partial.keys[:, : self._definition.key_words]), 0, 0]
        values = reducer.values(partial.headers[reducer.stream]["num"], partial.states[reducer.name])
        if not (levels > 0).all():
            return [np.inf] * (len(bounds) - 1)
        parts = np.append(np.nan_to_num(values / levels, posinf=np.inf), 0.0)
        greatest = np.maximum.reduceat(parts, bounds[:-1])
        peaks: list[float] = (1.001 * np.where(np.diff(bounds) > 0, np.maximum(greatest, 0.0), 0.0)).tolist()
        return peaks
