"""The watch: keys of a worker that are on their way to a threshold, and by how much each may grow unreported.

When all members' views of a key are merged, what is left to its level is shared out: as long as no member's own value
has grown by its share since, all together have not crossed, if values only grow (distributed countdown: Keralapura,
Cormode and Ramamirtham, 2006). So the messages about a key are few, and no crossing waits for the epoch's end.
"""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np


@dataclass(slots=True)
class _Watched:
    base: float
    """The value when it was last reported, or asked for."""
    share: float
    """By how much it may grow from there."""


class Watch:
    """The watched keys of one SumStat, `most` of them at once: beyond that, the one watched longest is let go."""

    def __init__(self, words: int, most: int) -> None:
        self._words, self._most = words, most
        self._keys: OrderedDict[bytes, _Watched] = OrderedDict()
        self.let_go = 0

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def keys(self) -> np.ndarray:
        """The watched keys (uint64, (m, words))."""
        return np.frombuffer(b"".join(self._keys), np.uint64).reshape(-1, self._words).copy()

    def report(self, keys: np.ndarray, values: np.ndarray, shares: np.ndarray | None = None) -> None:
        """The values of keys were told; with `shares`, those that were not watched are from now on."""
        for i, (key, value) in enumerate(zip(_bytes(keys), values.tolist(), strict=True)):
            if key in self._keys:
                self._keys[key].base = value
            elif shares is not None:
                self._keys[key] = _Watched(value, float(shares[i]))
                if len(self._keys) > self._most:
                    self._keys.popitem(last=False)
                    self.let_go += 1

    def share(self, keys: np.ndarray, shares: np.ndarray) -> None:
        """Keys may grow by so much from what was last told of them."""
        for key, share in zip(_bytes(keys), shares.tolist(), strict=True):
            if key in self._keys:
                self._keys[key].share = share

    def grown(self, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Which of the watched keys have grown by their share (bool); a value that has fallen grows from there."""
        found = np.zeros(len(keys), np.bool_)
        for i, (key, value) in enumerate(zip(_bytes(keys), values.tolist(), strict=True)):
            watched = self._keys[key]
            watched.base = min(watched.base, value)
            found[i] = value >= watched.base + watched.share
        return found

    def forget(self, keys: np.ndarray) -> None:
        """Watch keys no more."""
        for key in _bytes(keys):
            self._keys.pop(key, None)

    def clear(self) -> None:
        """Watch none."""
        self._keys.clear()


def _bytes(keys: np.ndarray) -> list[bytes]:
    return [key.tobytes() for key in keys]
