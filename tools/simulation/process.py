"""A process of a simulated cluster: it lives until it is killed, and may stand still for a while."""

from collections.abc import Callable
from typing import Any

from tools.simulation.network import Timeline


class Process:
    """One life of a node. What is to happen in it waits while it stands still, and does not happen once it is dead."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._resumes = 0.0
        self.is_alive = True

    def stop(self, until: float) -> None:
        """Stand still until a time (virtual s)."""
        self._resumes = max(self._resumes, until)

    def after(self, delay: float, action: Callable[..., object], *about: Any) -> None:
        """Let something happen in this process after so many seconds."""
        self._timeline.after(delay, self.when_it_runs, action, *about)

    def when_it_runs(self, action: Callable[..., object], *about: Any) -> None:
        """Do something now, or as soon as this process goes on."""
        if self._timeline.now < self._resumes:
            self._timeline.at(self._resumes, self.when_it_runs, action, *about)
        elif self.is_alive:
            action(*about)
