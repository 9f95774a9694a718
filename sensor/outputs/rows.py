"""The rows of alerts: columns that fit the terminal, or that grow with what is in them where there is none.

On a terminal a message goes on below itself. Where it is narrow, the source stands only in the message, the date in a
line of its own when it changes, and the technique not at all. Elsewhere each alert is one line with everything in it.
"""

from collections.abc import Sequence

from rich.cells import cell_len

from sensor.outputs.grid import aligned, lines

Lines = list[str]
NAMES = ("SEVERITY", "SOURCE", "ALERT", "FIRST SEEN", "ATT&CK")

_SEVERITY, _ADDRESS, _TIME, _CLOCK, _TECHNIQUE = 8, 39, 19, 10, 9
_WIDE, _MIDDLE, _NARROW = 150, 100, 80
_LEAST, _MOST = 20, 110  # cells of a message, whatever the terminal
_USUAL = (_SEVERITY, 15, 68, 20, 0)
_GREATEST = (_SEVERITY, _ADDRESS, 130, 20, 0)


class AlertRows:
    """Makes lines of alerts, with the header before the first, and again where a terminal has become another."""

    def __init__(self) -> None:
        self._shown: tuple[str, ...] = ()
        self._grown: Sequence[int] = _USUAL
        self._date = ""

    def whole(self, severity: str, source: str, message: str, seen: str, technique: str) -> tuple[Lines, Lines]:
        """The header, where it is due, and a line with everything in it."""
        cells = severity, source, message, seen, technique
        sizes = [max(width, cell_len(cell)) for width, cell in zip(self._grown, cells, strict=True)]
        self._grown = [min(each) for each in zip(sizes, _GREATEST, strict=True)]
        return self._header(NAMES, self._grown), [aligned(cells, self._grown)]

    def fitting(
        self, room: int, severity: str, source: str, message: str, seen: str, technique: str
    ) -> tuple[Lines, Lines]:
        """The header and the date, where they are due, and the lines of an alert on a terminal of so many cells."""
        columns = _columns(room)
        date, _, clock = seen.partition(" ")
        is_dated = columns["FIRST SEEN"] == _TIME
        if "SOURCE" not in columns and source not in message:
            message = f"{source}: {message}"
        cells = dict(zip(NAMES, (severity, source, message, seen if is_dated else clock, technique), strict=True))
        header = self._header(tuple(columns), list(columns.values()))
        dated = [] if is_dated or date == self._date else [aligned(["", date], [_SEVERITY, 0])]
        self._date = date
        return [*header, *dated], lines([cells[name] for name in columns], list(columns.values()))

    def _header(self, names: tuple[str, ...], widths: Sequence[int]) -> Lines:
        if names == self._shown:
            return []
        self._shown = names
        return [aligned(names, widths)]


def _columns(room: int) -> dict[str, int]:
    """The columns that a terminal has room for, and how wide each is."""
    columns = {"SEVERITY": _SEVERITY, "SOURCE": _ADDRESS, "ALERT": 0, "FIRST SEEN": _TIME, "ATT&CK": _TECHNIQUE}
    if room < _WIDE:
        del columns["SOURCE"]
    if room < _MIDDLE:
        columns["FIRST SEEN"] = _CLOCK
    if room < _NARROW:
        del columns["ATT&CK"]
    taken = sum(columns.values()) + len(columns) - 1
    columns["ALERT"] = min(max(room - taken, _LEAST), _MOST)
    return columns
