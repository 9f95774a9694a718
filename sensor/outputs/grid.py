"""The grid: cells in columns, as wide as there is room for; what does not fit goes on in the next line."""

import itertools
import os
from collections.abc import Sequence
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

_LEAST = 8  # cells of a column that is made narrower
_UNKNOWN = 80  # cells of a terminal that does not say
_folding = Console(width=80, color_system=None)


def room(stream: TextIO) -> int | None:
    """Return the width of the terminal in cells, from COLUMNS if set; None if the stream is no terminal."""
    if not stream.isatty():
        return None
    if (given := os.environ.get("COLUMNS", "")).isdecimal() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(stream.fileno()).columns or _UNKNOWN
    except OSError:
        return _UNKNOWN


def fold(text: str, width: int) -> list[str]:
    """A text in lines of at most so many cells, broken between words where that can be."""
    return [line.plain.rstrip() for line in Text(text).wrap(_folding, width)] or [""]


def lines(cells: Sequence[str], widths: Sequence[int], *, gap: int = 1) -> list[str]:
    """Cells side by side, each folded into its width."""
    folded = [fold(cell, width) for cell, width in zip(cells, widths, strict=True)]
    return [aligned(parts, widths, gap=gap) for parts in itertools.zip_longest(*folded, fillvalue="")]


def aligned(cells: Sequence[str], widths: Sequence[int], *, gap: int = 1) -> str:
    """Cells side by side in one line: what is longer than its width pushes on what follows."""
    padded = [cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)]
    return (" " * gap).join(padded).rstrip()


def widths_of(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the width of each column."""
    return [max(map(cell_len, column)) for column in zip(*rows, strict=True)]


def narrowed(widths: Sequence[int], cells: int, *, gap: int = 1) -> list[int]:
    """Such widths, the widest made narrower until all have room, as far as that goes."""
    found = list(widths)
    while sum(found) + gap * (len(found) - 1) > cells and max(found) > _LEAST:
        found[found.index(max(found))] -= 1
    return found
