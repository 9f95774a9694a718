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
    """The alerts expected of the capture: detection, kind, src, dst, port; in a folder, severity."""
    snaplen: int = 128
    folder: str = ""
    """The folder under pcaps/, where it is not pcaps/ itself: such captures are compressed."""
    why: str = ""
    """A sentence on why it is ordinary, or why it is an attack."""

    @property
    def right(self) -> str:
        """What is right of it: no alert, a low one, or the detections that are to fire."""
        return right(self.alerts)

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

    def at(self, host: Host, bpf: str = "", interface: str = "eth0") -> Capture:
        """The capture of what the host sends and receives, on that interface, as far as the filter lets it."""
        return host.capture(self.savefile, self.snaplen, bpf, interface)


def scenario(source: str, *alerts: dict, snaplen: int = 128) -> Callable:
    """Make a function of (lab, recording) the scenario of its name; its docstring is the story."""

    def register(play: Callable) -> Callable:
        name = play.__name__.replace("_", "-")
        SCENARIOS[name] = Scenario(name, source, " ".join(play.__doc__.split()), play, list(alerts), snaplen)
        return play

    return register


def ordinary(source: str, why: str, *alerts: dict, snaplen: int = 96) -> Callable:
    """As `scenario`, for pcaps/ordinary/: nothing that deserves more than a low alert, and why that is so."""
    return _in_folder("ordinary", source, why, alerts, snaplen)


def attack(source: str, why: str, *alerts: dict, snaplen: int = 96) -> Callable:
    """As `scenario`, for pcaps/attacks/: the nearest to what is ordinary that must be told, and why that is so."""
    return _in_folder("attacks", source, why, alerts, snaplen)


def _in_folder(folder: str, source: str, why: str, alerts: tuple[dict, ...], snaplen: int) -> Callable:
    def register(play: Callable) -> Callable:
        name, story = play.__name__.replace("_", "-"), " ".join(play.__doc__.split())
        SCENARIOS[name] = Scenario(name, source, story, play, list(alerts), snaplen, folder, why)
        return play

    return register


def right(alerts: list[dict]) -> str:
    """What alerts come to, in a word or two: none, low, or the detections that fire."""
    if {each.get("severity") for each in alerts} == {"low"}:
        return "low"
    return ", ".join(sorted({each["detection"] for each in alerts})) or "none"


def graded(
    severity: str | None, detection: str, kind: str, src: str, dst: str | None = None, port: int | None = None
) -> dict:
    """An alert as the folders' `*.alerts.json` state it: with its severity, where not any will do."""
    return {**alert(detection, kind, src, dst, port), "severity": severity}


def alert(detection: str, kind: str, src: str, dst: str | None = None, port: int | None = None) -> dict:
    """An alert as `*.alerts.json` states it."""
    return {"detection": detection, "kind": kind, "src": src, "dst": dst, "port": port}
