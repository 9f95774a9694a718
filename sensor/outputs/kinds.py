"""The kinds of outputs, each by the name under which it is asked for."""

from collections.abc import Callable, Iterable

from sensor.outputs.interface import Output
from sensor.outputs.outlet import Outlet


def open_outputs(kinds: Iterable[str], outlet: Outlet, *, stats: bool = False) -> list[Output]:
    """Open outputs of some kinds on one outlet. `stats`: let them write a record a second, too. KeyError: none such."""
    return [KINDS[kind](outlet, stats) for kind in kinds]


def _json(outlet: Outlet, stats: bool) -> Output:
    from sensor.outputs.json_lines import JsonLines

    return JsonLines(outlet.stream, stats=stats, lost=lambda: outlet.lost)


def _table(outlet: Outlet, stats: bool) -> Output:
    from sensor.outputs.terminal import Terminal

    return Terminal(outlet.stream)


KINDS: dict[str, Callable[[Outlet, bool], Output]] = {"json": _json, "table": _table}
"""The opener of each kind. Kinds are imported when wanted, as the table takes long to load."""
