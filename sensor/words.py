"""Words: numbers and texts from outside, formatted for people."""

import difflib
import re
from collections.abc import Iterable

_ALIKE = 0.5  # least similarity (difflib's ratio) of a misspelt name; "dns_query" and "history" have 0.38
_MOST_NAMES = 12


def plural(n: int, noun: str) -> str:
    """Return the noun for a number: `key` for 1, else `keys`."""
    return noun if n == 1 else f"{noun}s"


def amount(n: int, noun: str) -> str:
    """Return a number with its noun: `1 key`, `1,200 keys`."""
    return f"{n:,} {plural(n, noun)}"


def counted(n: int, noun: str) -> str:
    """Return a number with its noun and verb, for the start of a sentence: `1 packet was`, `3 packets were`."""
    return f"{amount(n, noun)} {'was' if n == 1 else 'were'}"


def printable(text: str) -> str:
    """Escape the text's control characters, so that nothing from the wire can drive a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def in_order(name: str) -> list[tuple[int, str]]:
    """Return a sort key that orders names as people do: `worker-2` before `worker-10`."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if at % 2 else (0, part) for at, part in enumerate(parts)]


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate nearest to a misspelt name; None if nothing resembles it."""
    return next(iter(difflib.get_close_matches(name, sorted(candidates), n=1, cutoff=_ALIKE)), None)


def hint(name: str, candidates: Iterable[str], *, prefix: str = "") -> str:
    """Suggest what a misspelt name may have been, to follow "there is no such name".

    Names the nearest one with its `prefix`, else all where they are few, else nothing.
    """
    names = sorted(candidates)
    if close := nearest(name, names):
        return f"; did you mean {prefix + close!r}?"
    if len(names) < 2:
        return f"; there is {names[0] if names else 'none'}"
    return f"; there are {', '.join(names)}" if len(names) <= _MOST_NAMES else ""
