"""What a run that goes on tells besides its alerts: the option, and where the records of each second go."""

import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sensor.node.interface_counters import CapturedInterface
    from sensor.node.run_monitor import RunMonitor
    from sensor.outputs.stats import Stats

log = logging.getLogger(__name__)

stats_option: Callable[[Any], Any] = click.option(
    "--stats", "stats", is_flag=True, help="Tell every second what came and what was lost: with --json as records."
)


class RunOutputs:
    """Where a run tells what it finds. On a terminal a status line shows what it does, unless `stats` tells more.

    `outputs` are for the node: alerts and the summary on standard output, where `is_silent` does not keep that empty.
    Make it after logging is set up, and before privileges are given up: who it is then may not read what it imports.
    """

    def __init__(self, *, as_json: bool = False, stats: bool = False, is_silent: bool = False) -> None:
        from sensor.cli.status_line import StatusLine, sentence
        from sensor.node.run_monitor import RunMonitor
        from sensor.outputs.kinds import open_outputs
        from sensor.outputs.outlet import Outlet

        self._accounting = RunMonitor
        self._outlet = outlet = Outlet(sys.stdout, _log_trouble)
        kinds = ["json"] if as_json else [] if is_silent else ["table"]
        self.outputs = open_outputs(kinds, outlet, stats=stats)
        self._tell: list[Callable[[Stats], None]] = [each.stats for each in self.outputs]
        if stats and not as_json:
            self._tell = [lambda record: click.echo(f"sensor: {record.time[11:19]} {sentence(record)}", err=True)]
        elif not stats and sys.stderr.isatty():
            line = StatusLine(sys.stderr)
            self.outputs.insert(0, line)
            self._tell.append(line.stats)
        self._tell.append(lambda record: outlet.flush())

    def accounting(self, taps: Sequence["CapturedInterface"] = (), **options: Any) -> "RunMonitor":
        """The accounting of a run that begins now; see there for the options."""
        return self._accounting(taps, tell=self._tell, **options)

    def has_told_all(self) -> bool:
        """Whether all that was written reached whoever was to read it, once nothing more comes; what did not is said.

        That a reader who has gone lacks something is said, and no failure.
        """
        self._outlet.hurry()
        from sensor.words import amount

        if left := self._outlet.lost + self._outlet.waiting:
            log.error("standard output: %s could not be written", amount(left, "line"))
        return not left or self._outlet.is_reader_gone


def _log_trouble(trouble: str) -> None:
    if trouble:
        log.error("standard output: %s; what is told waits until it can be written", trouble)
    else:
        log.warning("standard output can be written again")
