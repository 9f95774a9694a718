"""The room of a definition, which all its stores share: how much there is, and how the record of a key looks."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sensor.sumstats.calculation import HEADER, Reducer, Setting
from sensor.sumstats.table import Field, Layout

_EARLIEST, _LATEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
_NO_HEADER = np.array((0, _LATEST, _EARLIEST), HEADER)
_ANY_SECRET = np.zeros(2, np.uint64)  # of columns that are only looked at

_ROWS_SHARE = 4
"""Of the memory, one part in so many is for rows at most, where some column holds more beside them."""


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """What a store may hold."""

    layout: Layout
    rows: int
    """Keys at once."""
    column_bytes: int
    """What each column may hold beside the fields of the rows, where it holds anything."""
    sketch_key: np.ndarray
    """See `Setting`."""

    @classmethod
    def of(
        cls,
        key_words: int,
        streams: Iterable[str],
        reducers: Iterable[Reducer],
        max_keys: int,
        max_bytes: int,
        sketch_key: tuple[int, int],
    ) -> "Room":
        """The room of stores with such keys, streams and reducers, and with so many keys and bytes at most."""
        setting = Setting(_ANY_SECRET, np.array(sketch_key, np.uint64), max_bytes)
        columns = {each.name: each.column(setting) for each in reducers}
        headers: list[Field] = [(f"stream {name}", HEADER, _NO_HEADER) for name in streams]
        states: list[Field] = [(name, each.empty.dtype, each.empty) for name, each in columns.items()]
        layout = Layout.of(key_words, headers + states)
        growing = sum(each.holds_more for each in columns.values())
        for_rows = max_bytes // (_ROWS_SHARE if growing else 1)
        rows = max(1, min(max_keys, for_rows // layout.row_bytes))
        rest = (max_bytes - rows * layout.row_bytes) // max(growing, 1)
        return cls(layout, rows, max(rest, 1), setting.sketch_key)
