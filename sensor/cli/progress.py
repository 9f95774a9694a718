"""The progress bar: for a run that takes more than a second on a terminal."""

import threading
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from sensor.words import amount

APPEARS_AFTER_S = 1.0


class ProgressBar:
    """Shows bytes read of `total` (None: not known) and packets; says so while kernels are compiled at first use."""

    def __init__(self, console: Console, total: int | None) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("compiling kernels (first run only)", total=total)
        self._timer = threading.Timer(APPEARS_AFTER_S, self._progress.start)
        self._timer.daemon = True

    def update(self, done: int, packets: int) -> None:
        """Tell how far the run has come."""
        self._progress.update(self._task, completed=done, description=amount(packets, "packet"))

    def __enter__(self) -> "ProgressBar":
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()
        self._progress.stop()
