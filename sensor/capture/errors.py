"""What can be wrong with a capture: an error for what was asked, a `Damage` for what a file holds."""

from dataclasses import dataclass


def shown(path: str) -> str:
    """A path as it can be printed anywhere: bytes that are not UTF-8, and what would drive a terminal, as escapes."""
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class CaptureError(Exception):
    """An input cannot be used at all. The text is one line: which one, what is wrong, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Where and why reading of a file ended before its end; all that precedes was delivered."""

    path: str
    offset: int
    """Byte at which the first record that could not be read begins, in the uncompressed data."""
    message: str

    def __str__(self) -> str:
        return f"{shown(self.path)}: at byte {self.offset}: {self.message}"


class Broken(Exception):
    """Raised inside this package only, by a reader that cannot go on; becomes a `Damage` or a `CaptureError`."""

    def __init__(self, offset: int, message: str, *, foreign: bool = False, refused: bool = False) -> None:
        super().__init__(message)
        self.offset = offset
        self.foreign = foreign  # not a capture file at all, so it may be skipped in a directory
        self.refused = foreign or refused  # nothing is wrong with it, but it is of a kind that is not read
