"""Merges several files into one series of packets in order of time.

The next packet is always the earliest of the files' next packets; a tie goes to the file named first, and the order
within a file is kept even if its times run backwards. A file is opened when its first packet is due and closed at its
end, so the number of consecutive captures is unlimited.
"""

from collections.abc import Iterator

import numpy as np

from sensor._jit import njit
from sensor.capture.errors import CaptureError, Damage, shown
from sensor.capture.files.source import Source
from sensor.packet import FRAME, NO_BYTES, Block

OPEN_MAX = 256
"""The most files that may overlap in time. Each holds a window and a descriptor; the usual limit is 1024."""
FEW = 8
"""The most inputs that each get a full block of rows and a full window; more inputs share about the same memory."""
_ROWS_OF_MANY = 2048

_NEVER = np.iinfo(np.int64).max


@njit
def merge_frames(rows, start, stop, order, due_ts, due_order, out):
    """Fill `out` from rows[s, start[s]:stop[s]] of every nonempty slot s, earliest first; return the number of rows.

    Stops early when a slot runs dry, or when the next packet does not precede (due_ts, due_order). rows: FRAME, shape
    (slots, size); start, stop, order: int64, shape (slots,); out: FRAME rows.
    """
    n = 0
    while n < out.shape[0]:
        best, best_ts, best_order = -1, due_ts, due_order
        rival_ts, rival_order = due_ts, due_order
        for s in range(start.shape[0]):
            if start[s] == stop[s]:
                continue
            ts = rows["ts"][s, start[s]]
            if ts < best_ts or (ts == best_ts and order[s] < best_order):
                rival_ts, rival_order = best_ts, best_order
                best, best_ts, best_order = s, ts, order[s]
            elif ts < rival_ts or (ts == rival_ts and order[s] < rival_order):
                rival_ts, rival_order = ts, order[s]
        if best < 0:
            return n
        while n < out.shape[0]:
            out[n] = rows[best, start[best]]
            out["buffer"][n] = best
            n += 1
            start[best] += 1
            if start[best] == stop[best]:
                return n
            ts = rows["ts"][best, start[best]]
            if ts > rival_ts or (ts == rival_ts and best_order > rival_order):
                break
    return n


class Merge:
    """Yields the blocks of several sources, in order of time."""

    def __init__(self, sources: list[Source], counts: np.ndarray, damage: list[Damage], size: int) -> None:
        """`sources` is one, or several that have looked ahead; `counts` and `damage` collect counts and errors."""
        self._counts = counts
        self._damage = damage
        begun = [(source.first_ts or 0, source.order, source) for source in sources]
        self._pending = sorted(begun, key=lambda entry: entry[:2], reverse=True)
        slots = min(len(sources), OPEN_MAX)
        self._slots: list[Source | None] = [None] * slots
        self._rows = np.zeros((slots, size if len(sources) <= FEW else min(size, _ROWS_OF_MANY)), FRAME)
        self._start, self._stop, self._order = np.zeros((3, slots), np.int64)
        self._out = np.zeros(size, FRAME)

    def blocks(self) -> Iterator[Block]:
        """Yield all packets; a block's arrays are overwritten when the next one is requested."""
        while True:
            for slot, source in enumerate(self._slots):
                if source is not None and self._start[slot] == self._stop[slot]:
                    self._refill(slot, source)
            self._admit()
            live = self._live()
            if not live:
                return
            used = self._slots[: live[-1] + 1]
            yield Block(tuple(NO_BYTES if source is None else source.data for source in used), self._next())

    def _live(self) -> list[int]:
        return [slot for slot, source in enumerate(self._slots) if source is not None]

    def _admit(self) -> None:
        """Open the pending sources whose first packet is due, and the earliest if none is open."""
        while self._pending:
            heads = [(int(self._rows["ts"][slot, self._start[slot]]), int(self._order[slot])) for slot in self._live()]
            if heads and min(heads) < self._pending[-1][:2]:
                return
            if len(heads) == len(self._slots):
                path = shown(self._pending[-1][2].path)
                raise CaptureError(f"{path}: more than {OPEN_MAX} files overlap in time here; join some with mergecap")
            slot, source = self._slots.index(None), self._pending.pop()[2]
            self._slots[slot], self._order[slot] = source, source.order
            self._refill(slot, source)

    def _refill(self, slot: int, source: Source) -> None:
        self._start[slot], self._stop[slot] = 0, source.fill(self._rows[slot], self._counts)
        if self._stop[slot] == 0:
            self._slots[slot] = None
            if source.damage:
                self._damage.append(source.damage)

    def _next(self) -> np.ndarray:
        live = self._live()
        if len(live) == 1 and live[0] == 0 and not self._pending:  # a single source: its rows need no merge
            frames = self._rows[0, self._start[0] : self._stop[0]]
            self._start[0] = self._stop[0]
            return frames
        due_ts, due_order = self._pending[-1][:2] if self._pending else (_NEVER, _NEVER)
        n = merge_frames(self._rows, self._start, self._stop, self._order, due_ts, due_order, self._out)
        return self._out[:n]
