"""A settings file: what the command line can say of detections, kept in TOML.

detections = ["port_scan"]        # these only, [] none; without, all
plugins = ["refused_often.py"]    # from the file's own folder on

[port_scan]
ports = 20
"ports@orig_h:10.0.0.0/8" = 40

[flows]
tcp_attempt = "10s"

[decode]
vxlan_ports = "4789,8472"
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensor.detection import DetectionError

_LISTS = ("detections", "plugins")


@dataclass(frozen=True)
class SettingsFile:
    """What one says, in the form of the command line's options."""

    names: tuple[str, ...] | None = None
    """The detections that are to run; None: all."""
    plugins: tuple[str, ...] = ()
    assignments: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: str) -> "SettingsFile":
        """DetectionError, of one line, says what in the file cannot be."""
        try:
            content = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise DetectionError(f"{path}: the settings cannot be read: {reason}") from error
        except tomllib.TOMLDecodeError as error:
            raise DetectionError(f"{path}: not TOML: {error}") from error
        lists = {name: _texts(path, name, content.pop(name)) for name in _LISTS if name in content}
        plugins = tuple(str(Path(path).parent / each) for each in lists.get("plugins", ()))
        tables = [
            _assignment(path, name, key, value)
            for name, table in content.items()
            for key, value in _table(path, name, table)
        ]
        return cls(lists.get("detections"), plugins, tuple(tables))


def _texts(path: str, name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise DetectionError(f'{path}: {name} is to be a list of texts, such as ["{name[:-1]}"]')
    return tuple(value)


def _table(path: str, name: str, value: Any) -> Any:
    if not isinstance(value, dict):
        raise DetectionError(
            f"{path}: what is {name!r}? Options are set below the name of their detection: [port_scan]"
        )
    return value.items()


def _assignment(path: str, name: str, option: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"{name}.{option}={str(value).lower()}"
    if isinstance(value, int | float | str):
        return f"{name}.{option}={value}"
    raise DetectionError(f"{path}: {name}.{option} is to be a number, a text, true or false")
