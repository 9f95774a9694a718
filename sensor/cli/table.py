"""A table on standard output: it fits a terminal, and is whole where there is none."""

import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.text import Text

from sensor.outputs.grid import fold, lines, narrowed, room, widths_of
from sensor.words import printable

_GAP = 2


def write_table(names: Sequence[str], rows: Sequence[Sequence[str]], spare: Sequence[int] = ()) -> None:
    """Write rows below the names of their columns.

    On a terminal the columns numbered in `spare` are left out, in that order, until the rest fits, and named; if it
    never does, cells go on in the next line. Nothing is cut, and where it is no terminal nothing is left out.
    """
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    table = [names, *rows]
    kept, widths = list(range(len(names))), widths_of(table)
    if cells := room(sys.stdout):
        spared = iter(spare)
        while _width(widths, kept) > cells and (column := next(spared, None)) is not None:
            kept.remove(column)
        shown = narrowed([widths[at] for at in kept], cells, gap=_GAP)
    else:
        shown = widths
    for row in table:
        for line in lines([row[at] for at in kept], shown, gap=_GAP):
            console.print(Text(line, style="bold" if row is names else ""))
    if left_out := [name for at, name in enumerate(names) if at not in kept]:
        write_line(f"no room for {', '.join(left_out)}: --json has all")


def write_line(text: str) -> None:
    """Write a line, which on a terminal is broken between words where it is too long."""
    cells = room(sys.stdout)
    for line in [text] if cells is None else fold(text, cells):
        click.echo(printable(line))


def _width(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(widths[at] for at in kept) + _GAP * (len(kept) - 1)
