"""Loading: detections from the entry-point group `sensor.plugins` and from files; choosing them and setting options."""

import functools
import hashlib
import importlib.metadata
import importlib.util
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sensor.detection.detection import Detection
from sensor.detection.option import Option, Value
from sensor.detection.stream import DetectionError
from sensor.words import hint

GROUP = "sensor.plugins"


@functools.cache
def load_installed() -> tuple[type[Detection], ...]:
    """Return the detections of every installed package, in order of name; found once, at the first call."""
    found = []
    entries = {(each.name, each.value): each for each in importlib.metadata.entry_points(group=GROUP)}
    for _, entry in sorted(entries.items()):  # each once: an older installation may be present under another name
        try:
            detection = entry.load()
        except (Exception, SystemExit) as error:
            raise DetectionError(f"the plugin {entry.name!r} ({entry.value}) does not load: {_where(error)}") from error
        if not (isinstance(detection, type) and issubclass(detection, Detection)):
            raise DetectionError(f"the plugin {entry.name!r} ({entry.value}) is not a Detection")
        found.append(detection)
    return tuple(found)


@dataclass(frozen=True)
class Plugins:
    """The detections found in a file or folder."""

    detections: list[type[Detection]]
    notice: str = ""
    """For a folder: the detections found in each of its files."""


def load_plugins(path: str) -> Plugins:
    """Return the detections of a Python file, or of all Python files directly in a folder, in order of name.

    Files without a detection count as helper modules; DetectionError if no file has one.
    """
    if not Path(path).is_dir():
        return Plugins(load_file(path))
    files = sorted(each for each in Path(path).glob("*.py") if each.is_file())
    if not files:
        raise DetectionError(f"{path}: there is no Python file in this folder")
    found = {each.name: _defined(str(each)) for each in files}
    detections = [detection for each in found.values() for detection in each]
    if not detections:
        raise DetectionError(f"{path}: no detection is defined in {', '.join(found)}")
    said = [f"{', '.join(one.name for one in each) or 'nothing'} from {name}" for name, each in found.items()]
    return Plugins(detections, f"{path}: {'; '.join(said)}")


def load_file(path: str) -> list[type[Detection]]:
    """Return the detections that a Python file defines; DetectionError is one line with file, line and fix."""
    if not (found := _defined(path)):
        raise DetectionError(f"{path}: defines no detection; derive a class from sensor.detection.Detection")
    return found


def _defined(path: str) -> list[type[Detection]]:
    if not Path(path).is_file():
        raise DetectionError(f"{path}: there is no such file")
    name = f"sensor_plugin_file_{Path(path).stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise DetectionError(f"{path}: not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise DetectionError(_where(error, path)) from error
    return [
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Detection) and each.__module__ == name
    ]


def source_digest(detection: type[Detection]) -> str:
    """Return eight hexadecimal digits of the hash of a detection's source file; "" if it cannot be read."""
    file = getattr(sys.modules.get(detection.__module__), "__file__", None)
    try:
        return hashlib.sha256(Path(file or "").read_bytes()).hexdigest()[:8]
    except OSError:
        return ""


def choose(available: Iterable[type[Detection]], names: Sequence[str] | None) -> list[type[Detection]]:
    """Return the named detections, or all of them (None), in order of name."""
    by_name: dict[str, type[Detection]] = {}
    for each in available:
        if each.name in by_name:
            raise DetectionError(f"two detections are called {each.name!r}: give one another `name`")
        by_name[each.name] = each
    for name in names or ():
        if name not in by_name:
            raise DetectionError(f"there is no detection {name!r}{hint(name, by_name)}")
    return [by_name[name] for name in sorted(by_name if names is None else set(names))]


def parse_settings(
    assignments: Iterable[str], options: Mapping[str, Mapping[str, Option]]
) -> dict[str, dict[str, Value]]:
    """Parse `name.option=value` texts into values by name; DetectionError suggests the nearest name for a misspelt one.

    `name.option@part:value=value` sets it only for some keys.
    """
    settings: dict[str, dict[str, Value]] = {name: {} for name in options}
    for text in assignments:
        target, equals, value = text.partition("=")
        name, dot, option = target.strip().partition(".")
        if not (equals and dot):
            raise DetectionError(f"{text!r}: write NAME.OPTION=VALUE, such as port_scan.ports=20")
        if name not in options:
            raise DetectionError(f"{text}: nothing called {name!r} runs{hint(name, options)}")
        whole, (option, _, _) = option, option.partition("@")
        if option not in options[name]:
            near = hint(option, options[name], prefix=f"{name}.")
            raise DetectionError(f"{text}: {name} has no option {option!r}{near}")
        try:
            settings[name][whole] = options[name][option].parse(value.strip())
        except ValueError as error:
            raise DetectionError(f"{text}: {error}") from None
    return settings


def instantiate(chosen: Iterable[type[Detection]], settings: Mapping[str, Mapping[str, Value]]) -> list[Detection]:
    """Return one instance of each under its settings: each node makes its own, so no state is shared by accident."""
    return [each(**settings.get(each.name, {})) for each in chosen]


def _where(error: BaseException, path: str | None = None) -> str:
    text = str(error) if isinstance(error, DetectionError) else f"{type(error).__name__}: {error}"
    if path is None:
        return text
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    return f"{path}:{line}: {text}" if line else f"{path}: {text}"
