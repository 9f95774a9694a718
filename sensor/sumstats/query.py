"""Queries: one key, the keys of a prefix, the top of them, or all; and a request that waits for several nodes' answers.

Zeek's `request_key`, and what users asked for beyond it. A request is a state machine: it says whom to ask, is told
what they answer, and is over when all have, or when whoever keeps the time says so.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from sensor.sumstats.partial import Partial


@dataclass(frozen=True, slots=True)
class Selection:
    """The keys whose words, masked, are `value`; with `top`, so many of them that have the most of reducer `by`."""

    mask: tuple[int, ...] = ()
    value: tuple[int, ...] = ()
    is_key: bool = False
    """The value is a whole key."""
    top: int = 0
    by: str = ""

    @classmethod
    def key(cls, words: Iterable[int]) -> "Selection":
        """One key, by its words."""
        return cls(value=tuple(words), is_key=True)

    @property
    def all(self) -> "Selection":
        """The same keys, however great their values: what must be asked for where values are still to be merged."""
        return replace(self, top=0, by="")

    def matches(self, keys: np.ndarray) -> np.ndarray:
        """Which keys (uint64, (m, words)) it is about, whatever their values (bool)."""
        if self.is_key:
            return np.asarray((keys == np.array(self.value, np.uint64)).all(axis=1))
        if not self.mask:
            return np.ones(len(keys), np.bool_)
        matching: np.ndarray = (keys & np.array(self.mask, np.uint64) == np.array(self.value, np.uint64)).all(axis=1)
        return matching

    def first(self, values: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """Index of the `top` greatest values, greatest first; equal ones by key, NaN last."""
        order: np.ndarray = np.lexsort((*keys.T[::-1], -values))
        return order[: self.top]


class Request:
    """What several nodes are asked at once; `partials` holds the answers so far, by node."""

    def __init__(self, selection: Selection, members: Iterable[str]) -> None:
        self.selection = selection
        self.members = tuple(sorted(members))
        self.partials: dict[str, Partial] = {}

    @property
    def question(self) -> Selection:
        """What each is to be asked: of several nodes the top cannot be had before their answers are merged."""
        return self.selection if len(self.members) == 1 else self.selection.all

    @property
    def missing(self) -> tuple[str, ...]:
        """Who has not answered yet."""
        return tuple(member for member in self.members if member not in self.partials)

    def answer(self, member: str, partial: Partial) -> bool:
        """Take an answer; whether it was awaited: one that comes twice, or from somebody else, changes nothing."""
        if member not in self.missing:
            return False
        self.partials[member] = partial
        return True
