"""Options: what whoever runs a detection may set, declared with its default, its range and its meaning."""

from dataclasses import dataclass
from typing import Any

from sensor.clock import parse_duration

Value = int | float | str | bool


class Option:
    """One setting of a detection: `hosts = Option(25, min=2, help="distinct hosts that make a scan")`.

    The default gives the type: int, float, bool, text, or a duration where the text is one ("5m"). On the class the
    name stands for the option itself, so that a SumStat can refer to it; on an instance it is the value.
    """

    def __init__(self, default: Value, *, min: float | None = None, max: float | None = None, help: str = "") -> None:
        self.default, self.min, self.max, self.help = default, min, max, help
        self.name = ""
        self.is_duration = isinstance(default, str) and _is_duration(default)
        self.check(default)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else instance.settings[self.name]

    def parse(self, text: str) -> Value:
        """The value that text stands for; ValueError says what is wanted."""
        value: Value = text
        if isinstance(self.default, bool):
            if text.lower() not in ("true", "false"):
                raise ValueError(f"{text!r} is neither true nor false")
            value = text.lower() == "true"
        elif isinstance(self.default, int | float):
            try:
                value = type(self.default)(text)
            except ValueError:
                kind = "whole number" if isinstance(self.default, int) else "number"
                raise ValueError(f"{text!r} is not a {kind}") from None
        self.check(value)
        return value

    def check(self, value: Value) -> None:
        """Raise ValueError where a value is out of range."""
        number = parse_duration(str(value)) if self.is_duration else value
        if self.is_duration and number == 0:
            raise ValueError("a duration must be longer than 0s")
        if isinstance(number, str):
            return
        if not self.is_duration and number != number:
            raise ValueError("not a number")
        if self.min is not None and number < self.min:
            raise ValueError(f"{value} is too small: must be at least {self.min}")
        if self.max is not None and number > self.max:
            raise ValueError(f"{value} is too large: must be at most {self.max}")


@dataclass(frozen=True)
class OptionOverride:
    """Another value of an option for some keys: `ports@orig_h:10.0.0.0/8,probe:1`."""

    option: Option
    parts: dict[str, str]
    """What the key's parts must be, by name: for an address, a network or a host."""
    value: Value

    def __str__(self) -> str:
        return f"{self.option.name}@" + ",".join(f"{name}:{text}" for name, text in self.parts.items())


def parse_parts(text: str) -> dict[str, str]:
    """What follows the @ of an override; ValueError says how it is written."""
    pairs = [each.partition(":") for each in text.split(",")]
    if not all(name and colon and value for name, colon, value in pairs):
        raise ValueError("after @ write PART:VALUE, such as orig_h:10.0.0.0/8")
    parts = {name.strip(): value.strip() for name, _, value in pairs}
    if len(parts) < len(pairs):
        raise ValueError("after @ write each part once")
    return parts


def _is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except ValueError:
        return False
    return True
