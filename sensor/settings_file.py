"""A settings file: TOML with tables of options, each of the type that its option has.

[detections]
run = ["port_scan"]               # these only, [] none; without, all
plugins = ["refused_often.py"]    # from the file's own folder on

[detections.port_scan]
ports = 20

[[detections.port_scan.overrides]]
for = { orig_h = "10.0.0.0/8" }
ports = 40

[flows]
tcp_attempt = "10s"

[decode]
vxlan_ports = [4789, 8472]
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sensor.detection import DetectionError, Option
from sensor.detection.option import Value, parse_parts, shown
from sensor.option_tables import RESERVED, TABLES, Ports, TextsOption, written
from sensor.words import hint, nearest

_LISTS = {"run": TextsOption((), example="port_scan"), "plugins": TextsOption((), example="refused_often.py")}
_MOVED = {"detections": "detections.run", "plugins": "detections.plugins"}
_OVERRIDES = "overrides"


@dataclass(frozen=True)
class SettingsFile:
    """The contents of a settings file; methods raise DetectionError, one line that names the file and the key."""

    path: str = ""
    names: tuple[str, ...] | None = None
    """The detections to run; None: all."""
    plugins: tuple[str, ...] = ()
    _detections: Mapping[str, Any] = field(default_factory=dict)
    _tables: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str) -> "SettingsFile":
        """Read the file, and check the parts that need no knowledge of detections."""
        content = _toml(path)
        for name in content:
            _refuse_old(path, name, content[name])
            if name in RESERVED:
                raise DetectionError(f"{path}: [{name}] is reserved: nothing uses it yet")
        detections = _table(path, "detections", content.pop("detections", {}))
        lists = {name: detections.pop(name) for name in _LISTS if name in detections}
        given = {name: _accept(path, f"detections.{name}", _LISTS[name], value) for name, value in lists.items()}
        plugins = tuple(str(Path(path).parent / str(each)) for each in _texts(given.get("plugins", ())))
        names = _texts(given["run"]) if "run" in given else None
        return cls(path, names, plugins, detections, content)

    def values(self, name: str) -> dict[str, Value]:
        """Return the values that the table `name`, such as flows, sets."""
        return self._options(name, self._tables.get(name, {}), TABLES[name])

    def check_names(self, detections: Iterable[str]) -> None:
        """Refuse tables that belong to no detection and no known table."""
        known = set(detections)
        for name, value in self._tables.items():
            if name not in TABLES:
                raise DetectionError(f"{self.path}: {_unknown(name, value, known)}")
        for name in self._detections:
            if name not in known:
                raise DetectionError(f"{self.path}: [detections.{name}]: there is no such detection{hint(name, known)}")

    def detection_values(self, name: str, options: Mapping[str, Option]) -> dict[str, Value]:
        """Return the values of a detection's table; overrides by key are named such as `ports@orig_h:10.0.0.0/8`."""
        where = f"detections.{name}"
        table = dict(_table(self.path, where, self._detections.get(name, {})))
        overrides = table.pop(_OVERRIDES, [])
        values = self._options(where, table, options)
        if not isinstance(overrides, list):
            raise DetectionError(f"{self.path}: {where}.{_OVERRIDES}: write [[{where}.{_OVERRIDES}]], in two brackets")
        for each in overrides:
            values |= self._override(f"{where}.{_OVERRIDES}", each, options)
        return values

    def _options(self, where: str, table: Any, options: Mapping[str, Option]) -> dict[str, Value]:
        values = {}
        for name, value in _table(self.path, where, table).items():
            if name not in options:
                raise DetectionError(f"{self.path}: {where}.{name}: {_unknown_key(name, value, options)}")
            values[name] = _accept(self.path, f"{where}.{name}", options[name], value)
        return values

    def _override(self, where: str, table: Any, options: Mapping[str, Option]) -> dict[str, Value]:
        table = dict(_table(self.path, where, table))
        parts = table.pop("for", None)
        if not isinstance(parts, dict) or not parts or not all(_is_part(each) for each in parts.values()):
            example = 'for = { orig_h = "10.0.0.0/8" }'
            raise DetectionError(f"{self.path}: {where}: say which keys it is for, such as {example}")
        suffix = ",".join(f"{part}:{value}" for part, value in parts.items())
        return {f"{name}@{suffix}": value for name, value in self._options(where, table, options).items()}


def _is_part(value: Any) -> bool:
    return type(value) is int or (isinstance(value, str) and value != "" and "," not in value)


def _toml(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise DetectionError(f"{path}: the settings cannot be read: {reason}") from error
    except (ValueError, RecursionError) as error:
        raise DetectionError(f"{path}: not TOML: {error}") from error


def _texts(value: Value) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()


def _table(path: str, name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DetectionError(f"{path}: {name}: must be a table, [{name}], not {shown(value)}")
    return value


def _accept(path: str, key: str, option: Option, value: Any) -> Value:
    try:
        return option.accept(value)
    except ValueError as error:
        raise DetectionError(f"{path}: {key}: {error}{''.join(_rewritten(key, option, value))}") from None


def _rewritten(key: str, option: Option, value: Any) -> Iterator[str]:
    """Yield the line that replaces a value written as text, a form that older versions accepted."""
    if not isinstance(value, str) or isinstance(option.default, str):
        return
    try:
        meant = option.parse(value)
    except ValueError:
        return
    if isinstance(option, Ports) or not isinstance(meant, tuple):
        yield f": write {key.rpartition('.')[2]} = {written(meant)}"


def _refuse_old(path: str, name: str, value: Any) -> None:
    """Refuse the lists that older versions accepted above all tables."""
    if name in _MOVED and not isinstance(value, dict):
        is_list = isinstance(value, list) and all(isinstance(each, str) for each in value)
        example = written(value) if is_list else f'["{name[:-1]}"]'
        raise DetectionError(f"{path}: {name}: write {_MOVED[name]} = {example}, or the same below [detections]")


def _unknown(name: str, value: Any, detections: set[str]) -> str:
    if name in detections:
        return f"[{name}]: write [detections.{name}]"
    if not isinstance(value, dict):
        return f"{name}: there is no such key: options stand in tables, such as [flows]"
    near = nearest(name, [*TABLES, *detections])
    if near is None:
        return f"[{name}]: there is no such table; there are {', '.join(TABLES)}, detections"
    return f"[{name}]: there is no such table; did you mean [{near if near in TABLES else f'detections.{near}'}]?"


def _unknown_key(name: str, value: Any, options: Mapping[str, Option]) -> str:
    option, at, parts = name.partition("@")
    if at and option in options:
        try:
            keys = ", ".join(f"{part} = {written(text)}" for part, text in parse_parts(parts).items())
        except ValueError:
            keys = 'orig_h = "10.0.0.0/8"'
        return f"write {_OVERRIDES} = [{{ for = {{ {keys} }}, {option} = {written(value)} }}]"
    return f"there is no such key{hint(name, options)}"
