"""Errors of captures: exceptions for a bad request, a `Damage` for a damaged file."""

from dataclasses import dataclass


def shown(path: str) -> str:
    """Return a path fit to print anywhere: non-UTF-8 bytes and terminal control characters are escaped."""
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class CaptureError(Exception):
    """An input cannot be used at all. The text is one line: the input, the problem, and the remedy."""


@dataclass(frozen=True, slots=True)
class Damage:
    """The place and reason that ended reading of a file early; all packets before it were delivered."""

    path: str
    offset: int
    """The start of the first record that could not be read, in bytes of the uncompressed data."""
    message: str

    def __str__(self) -> str:
        return f"{shown(self.path)}: at byte {self.offset}: {self.message}"


class Broken(Exception):
    """Raised inside this package only, by a reader that cannot continue; becomes a `Damage` or a `CaptureError`."""

    def __init__(self, offset: int, message: str, *, foreign: bool = False, refused: bool = False) -> None:
        super().__init__(message)
        self.offset = offset
        self.foreign = foreign  # not a capture file, so a directory may contain it
        self.refused = foreign or refused  # intact, but of an unsupported kind
