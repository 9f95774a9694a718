"""Settings: what the command line asks for, checked before anything runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from sensor.detection import Detection
from sensor.detection.load import choose, instantiate, load_file, load_installed, parse_settings
from sensor.detection.option import Value


@dataclass(frozen=True)
class Detections:
    """The detections that are to run, and their settings."""

    classes: tuple[type[Detection], ...]
    settings: dict[str, dict[str, Value]]

    def make(self) -> list[Detection]:
        """A set of instances for one node."""
        return instantiate(self.classes, self.settings)


def configure(names: Sequence[str] = (), plugins: Sequence[str] = (), assignments: Sequence[str] = ()) -> Detections:
    """Load what is installed and the given plugin files, choose, and set options; DetectionError is one line."""
    available = load_installed()
    for path in plugins:
        available += load_file(path)
    chosen = choose(available, names)
    detections = Detections(tuple(chosen), parse_settings(assignments, chosen))
    for each in detections.make():
        each.define()
    return detections
