"""The difference between what two nodes run: by digests of their SumStats, and of the files of their detections."""

from collections.abc import Mapping

from sensor.config import Settings

_DIGITS = 8  # of a digest, hexadecimal: enough to name what differs
_BYTES = 2000  # of all of them, so that a hello has room for them


def parts_of(settings: Settings) -> dict[str, str]:
    """Digests of what runs: of SumStats by their names, and of detections' files by the names of these."""
    found = dict(settings.sources)
    for detection in settings.make():
        found |= {definition.name: definition.digest[:_DIGITS] for definition in detection.define().values()}
    parts: dict[str, str] = {}
    size = 0
    for name in sorted(found):
        size += len(name.encode()) + _DIGITS + 4
        if size > _BYTES:
            break
        parts[name] = found[name]
    return parts


def definitions_that_differ(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Return which SumStats differ, in words; empty if that is not known."""
    sumstats = [{name for name in parts if "." in name} for parts in (here, there)]
    other = sorted(name for name in sumstats[0] & sumstats[1] if here[name] != there[name])
    said = [
        ("defined otherwise there", other),
        ("not there", sumstats[0] - sumstats[1]),
        ("not here", sumstats[1] - sumstats[0]),
    ]
    return "; ".join(
        f"{', '.join(sorted(names))} {'is' if len(names) == 1 else 'are'} {what}" for what, names in said if names
    )


def sources_that_differ(here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """Detections of the same definitions whose files are not the same."""
    return sorted(name for name in here.keys() & there.keys() if "." not in name and here[name] != there[name])
