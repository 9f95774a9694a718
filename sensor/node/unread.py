"""What is said of files of which nothing could be read, or of which a filter took nothing: why, and what to do.

By the counters of a whole run, so that it is the same for any number of workers.
"""

from collections.abc import Mapping

from sensor.capture.bpf.filter import INAPPLICABLE
from sensor.capture.bpf.libpcap import describe
from sensor.capture.bpf.missed import BEHIND, TAGGED, counter
from sensor.cluster.messages import Counts
from sensor.cluster.worker import UNKNOWN_LINKTYPE
from sensor.node.hints import Hint
from sensor.words import amount, counted

_ADVICE = {
    "unknown_linktype": "record it on an interface of Ethernet or IP, or with `tcpdump -i any`",
    "not_ip": "no IP and no ARP was found behind their headers: `tcpdump -e -r FILE` shows what they carry",
}
_BROKEN = "they are cut, or of another link type than the file says: `tcpdump -e -r FILE` shows them"


def is_blind(read: int, refused: Mapping[str, int], counters: Mapping[str, int]) -> bool:
    """Return whether packets came and none could be read: refused, or of link types the filter cannot judge."""
    if read:
        return sum(refused.values()) == read
    filtered = counters.get("packets_filtered", 0)
    return 0 < filtered == counters.get(INAPPLICABLE, 0)


def hints_of_reading(counts: Counts, filter_text: str = "") -> list[Hint]:
    """Return the lines on packets that could not be read, or were filtered out."""
    found = [*_refused(counts), *(_filtered(counts, filter_text) if filter_text else ())]
    return [Hint(f"unread {number}", text) for number, text in enumerate(found)]


def _refused(counts: Counts) -> list[str]:
    read, refused = counts.captured, counts.refused
    kinds = _linktypes(counts.counters, UNKNOWN_LINKTYPE)
    if not read or sum(refused.values()) < read:
        return [f"{_of(count, read)} of {kind}, which is not read" for kind, count in kinds.items()]
    most = max(refused, key=lambda reason: (refused[reason], reason))
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(refused.items()))
    named = f" ({', '.join(kinds)})" if kinds else ""
    return [f"nothing could be read: {_all(read)} refused: {reasons}{named}: {_ADVICE.get(most, _BROKEN)}"]


def _filtered(counts: Counts, text: str) -> list[str]:
    counters, read = counts.counters, counts.captured
    filtered, unfit = (counters.get(name, 0) for name in ("packets_filtered", INAPPLICABLE))
    kinds = ", ".join(_linktypes(counters, INAPPLICABLE))
    if not filtered:
        return []
    if unfit == filtered and not read:
        return [
            f"nothing could be read: the filter {text!r} has no meaning for {kinds}, of which {_all(filtered)}: "
            "write one that has, or leave it out"
        ]
    said = [f"the filter {text!r} has no meaning for {kinds}: {counted(unfit, 'packet')} left out"] if unfit else []
    none = f"none of {amount(filtered, 'packet')}"
    return said if read else [*said, f"the filter {text!r} took {none}{_missed(counters, text)}"]


def _missed(counters: Mapping[str, int], text: str) -> str:
    """Return the count of packets behind the commonest tags or labels, and the filter that looks behind them."""
    behind = {prefix: counters.get(counter(prefix), 0) for prefix in BEHIND}
    prefix = max(behind, key=lambda each: behind[each])
    count = behind[prefix]
    if not count:
        prefix, count = "vlan", counters.get(TAGGED, 0)
    if not count:
        return ""
    have = f"{count:,} {'has' if count == 1 else 'have'} {BEHIND[prefix]}"
    own = f"({text})" if " " in text else text
    return f"; {have}, behind which it does not look: write '{text} or ({prefix} and {own})'"


def _linktypes(counters: Mapping[str, int], name: str) -> dict[str, int]:
    """The link types of counters of this name, for people, and their packets: the most first."""
    found = {each[len(name) + 1 :]: count for each, count in counters.items() if each.startswith(f"{name}_")}
    most = sorted(found, key=lambda number: (-found[number], number))
    return {describe(int(number)) if number.isdecimal() else "other link types": found[number] for number in most}


def _of(count: int, read: int) -> str:
    return f"{count:,} of {amount(read, 'packet')} {'is' if count == 1 else 'are'}"


def _all(count: int) -> str:
    return "the only packet was" if count == 1 else f"all {count:,} packets were"
