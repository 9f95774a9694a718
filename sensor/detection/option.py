"""Options: the settings of a detection, declared with default, range and meaning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sensor.clock import SECOND, parse_duration

Value = int | float | str | bool | tuple[Any, ...]

_SHOWN_MAX = 40
_LARGEST = 1 << 63  # TOML's range of integers


class Option:
    """One setting of a detection: `hosts = Option(25, min=2, help="distinct hosts that make a scan")`.

    The default gives the type: int, float, bool, text, or a duration if the text is one ("5m"). On the class the name
    is the option itself, so that a SumStat can refer to it; on an instance it is the value.
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
        """Parse a value from text; ValueError gives the accepted form."""
        value: Value = text
        if isinstance(self.default, bool):
            if text.lower() not in ("true", "false"):
                raise ValueError(f"{text!r} is neither true nor false")
            value = text.lower() == "true"
        elif isinstance(self.default, int | float):
            try:
                value = int(text) if isinstance(self.default, int) else float(text)
            except ValueError:
                kind = "whole number" if isinstance(self.default, int) else "number"
                raise ValueError(f"{text!r} is not a {kind}") from None
        self.check(value)
        return value

    @property
    def wanted(self) -> str:
        """The type of its values, for people."""
        if isinstance(self.default, bool):
            return "true or false"
        if self.is_duration:
            return 'a duration in quotes, such as "30s"'
        return {int: "a whole number", float: "a number"}.get(type(self.default), "a text")

    def accept(self, value: Any) -> Value:
        """Convert a TOML or JSON value to the option's value; ValueError gives the accepted form.

        Types are not converted, except whole numbers where any number is accepted.
        """
        if not _is_of(value, type(self.default)):
            raise ValueError(f"must be {self.wanted}, not {shown(value)}")
        if type(value) is int and not -_LARGEST <= value < _LARGEST:
            raise ValueError("is too large a number")
        accepted: Value = float(value) if isinstance(self.default, float) else value
        self.check(accepted)
        return accepted

    def check(self, value: Value) -> None:
        """Raise ValueError if a value is out of range."""
        number = parse_duration(str(value)) if self.is_duration else value
        if self.is_duration and number == 0:
            raise ValueError("a duration must be longer than 0s")
        if isinstance(number, str | tuple):
            return
        if not self.is_duration and number != number:
            raise ValueError("not a number")
        if self.min is not None and number < self.min:
            raise ValueError(f"{value} is too small: must be at least {self._bound(self.min)}")
        if self.max is not None and number > self.max:
            raise ValueError(f"{value} is too large: must be at most {self._bound(self.max)}")

    def _bound(self, limit: float) -> str:
        return f"{limit / SECOND:g}s" if self.is_duration else str(limit)

    @property
    def range(self) -> str:
        """The range of its values, for people; empty if the type says it all."""
        least, most = (None if each is None else self._bound(each) for each in (self.min, self.max))
        if least and most:
            return f"{least} to {most}"
        return f"at least {least}" if least else f"at most {most}" if most else ""


class ChoiceOption(Option):
    """An option with a few texts to choose from."""

    def __init__(self, choices: Sequence[str], *, help: str = "") -> None:
        self.choices = tuple(choices)
        super().__init__(self.choices[0], help=help)

    @property
    def range(self) -> str:
        """The accepted texts."""
        return " or ".join(self.choices)

    def check(self, value: Value) -> None:
        """Raise ValueError if it is none of them."""
        if value not in self.choices:
            raise ValueError(f"{value!r} is not {self.range}")


def shown(value: Any) -> str:
    """Return a TOML value as written there, or its kind if it is long."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "the text " + (f'"{value}"' if len(value) <= _SHOWN_MAX else f'"{value[:_SHOWN_MAX]}..."')
    if isinstance(value, int | float):
        return str(value) if abs(value) < _LARGEST else "so large a number"
    return "a list" if isinstance(value, list) else "a table" if isinstance(value, dict) else "a time"


@dataclass(frozen=True)
class OptionOverride:
    """Another value of an option for some keys: `ports@orig_h:10.0.0.0/8,probe:1`."""

    option: Option
    parts: dict[str, str]
    """The required values of the key's parts, by name: for an address, a network or a host."""
    value: Value

    @property
    def number(self) -> float:
        """The value of an option that is a threshold."""
        if isinstance(self.value, tuple):
            raise ValueError(f"{self}: a list is no threshold")
        return float(self.value)

    def __str__(self) -> str:
        return f"{self.option.name}@" + ",".join(f"{name}:{text}" for name, text in self.parts.items())


def parse_parts(text: str) -> dict[str, str]:
    """Parse the part of an override after the @; ValueError gives the accepted form."""
    pairs = [each.partition(":") for each in text.split(",")]
    if not all(name and colon and value for name, colon, value in pairs):
        raise ValueError("after @ write PART:VALUE, such as orig_h:10.0.0.0/8")
    parts = {name.strip(): value.strip() for name, _, value in pairs}
    if len(parts) < len(pairs):
        raise ValueError("after @ write each part once")
    return parts


def _is_of(value: Any, kind: type) -> bool:
    return type(value) is kind or (kind is float and type(value) is int)


def _is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except ValueError:
        return False
    return True
