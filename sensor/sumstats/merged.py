"""What comes of merging what members know: crossings, the results of epochs, and answers to queries."""

from dataclasses import dataclass

import numpy as np

from sensor.sumstats.partial import Partial


@dataclass(frozen=True, slots=True)
class Merged:
    """Levels that keys reached by the merged value of all members."""

    sumstat: str
    epoch: int
    level: np.ndarray
    """Which level (int64, (m,))."""
    value: np.ndarray
    """By which value (float64)."""
    partial: Partial
    """The key's merged window, for each level."""
    members: tuple[str, ...]
    """Whose values are in it."""
    missing: tuple[str, ...] = ()
    """Whose values should be, where it was found only when the epoch was over."""
    end: int = 0
    """When that was (ns)."""
    late: bool = False
    """Some of it came only after that."""


@dataclass(frozen=True, slots=True)
class EpochResult:
    """An epoch is over, after all its crossings: Zeek's `epoch_result` of each key, then `epoch_finished` once."""

    sumstat: str
    epoch: int
    start: int
    """Where its window begins (ns)."""
    end: int
    partial: Partial
    """Every key of the window; none where nobody wants results."""
    members: tuple[str, ...]
    """Who has delivered."""
    missing: tuple[str, ...]
    """Who has not."""
    lost: int
    """Observations that members had no room for."""
    idle: int = 0
    """How many epochs went by right before it of which nobody had anything to deliver."""

    @property
    def complete(self) -> bool:
        """True if it holds all that there was to know."""
        return not self.missing and not self.lost


Told = Merged | EpochResult


@dataclass(frozen=True, slots=True)
class Present:
    """What is known of some keys in an epoch that is not over."""

    keys: int
    """How many keys were selected."""
    partial: Partial
    """Those of them that have the most, the greatest first."""
    members: tuple[str, ...]
    """Whose values are in it."""
    missing: tuple[str, ...]
    """Who had not delivered an earlier pane of its window when that was closed."""
