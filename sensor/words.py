"""Words: numbers and texts from outside, as a person reads them."""

import re


def plural(n: int, noun: str) -> str:
    """The noun after a number: `key` after 1, else `keys`."""
    return noun if n == 1 else f"{noun}s"


def amount(n: int, noun: str) -> str:
    """So many of something: `1 key`, `1,200 keys`."""
    return f"{n:,} {plural(n, noun)}"


def counted(n: int, noun: str) -> str:
    """What happened to so many of something, to be gone on with: `1 packet was`, `3 packets were`."""
    return f"{amount(n, noun)} {'was' if n == 1 else 'were'}"


def printable(text: str) -> str:
    """Text with control characters escaped, so that nothing from the wire can drive a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def in_order(name: str) -> list[tuple[int, str]]:
    """What names are sorted by as a person does it: `worker-2` before `worker-10`."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if at % 2 else (0, part) for at, part in enumerate(parts)]
