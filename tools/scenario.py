"""A scenario: a story of traffic that is recorded in the lab, and the alerts that it should raise."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lab import Capture, Host, Lab

SCENARIOS: dict[str, "Scenario"] = {}
"""All scenarios by name, in the order in which they are defined."""


@dataclass(frozen=True)
class Scenario:
    """What is recorded under a name."""

    name: str
    source: str
    """The commands that make the traffic, as a person would type them."""
    story: str
    play: Callable[[Lab, "Recording"], None]
    alerts: list[dict] = field(default_factory=list)
    """The alerts expected of the capture: detection, kind, src, dst, port."""
    snaplen: int = 128

    def record(self, savefile: Path) -> None:
        """Play the scenario in a lab of its own and leave what passed in the savefile."""
        with Lab() as lab:
            self.play(lab, Recording(savefile, self.source.split(), self.snaplen))


@dataclass(frozen=True)
class Recording:
    """What a scenario needs to know of how it is recorded."""

    savefile: Path
    argv: list[str]
    snaplen: int

    def at(self, host: Host) -> Capture:
        """The capture of what the host sends and receives."""
        return host.capture(self.savefile, snaplen=self.snaplen)


def scenario(source: str, *alerts: dict, snaplen: int = 128) -> Callable:
    """Make a function of (lab, recording) the scenario of its name; its docstring is the story."""

    def register(play: Callable) -> Callable:
        name = play.__name__.replace("_", "-")
        SCENARIOS[name] = Scenario(name, source, " ".join(play.__doc__.split()), play, list(alerts), snaplen)
        return play

    return register


def alert(detection: str, kind: str, src: str, dst: str | None = None, port: int | None = None) -> dict:
    """An alert as `*.alerts.json` states it."""
    return {"detection": detection, "kind": kind, "src": src, "dst": dst, "port": port}
