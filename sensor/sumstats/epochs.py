"""Epochs: time cut into lengths from 1970 on. Empty ones cost nothing, however many a clock leaps over."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Epochs:
    """Epochs of one length; `first` is the index of the one that begins at time zero."""

    length_ns: int
    first: int = 0

    def index(self, ts: int) -> int:
        """The epoch that a time lies in; a time on the line belongs to the later one."""
        return self.first + ts // self.length_ns

    def indices(self, ts: np.ndarray) -> np.ndarray:
        """The same for many times (int64)."""
        return self.first + ts // self.length_ns

    def start(self, index: int) -> int:
        """When an epoch begins."""
        return (index - self.first) * self.length_ns
