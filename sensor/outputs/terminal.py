"""The terminal: a table of alerts that grows as they happen, then a summary for people.

What became of an alert that went out early is a row of its own where that is news: another severity, or that it was
withdrawn. The severities of as many alerts as may wait for that are remembered, oldest out first: of one beyond them,
whatever became of it is written.
"""

from collections import OrderedDict
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from sensor.alerts import AlertRecord, AlertUpdate
from sensor.outputs.summary import Summary

_STYLES = {"low": "cyan", "medium": "yellow", "high": "bold red"}
_SHORTFALLS = {
    "sumstats_keys_evicted": "SumStats had no room for {:,} keys: the lightest were given up, heavy ones were kept",
    "sumstats_elements_refused": "SumStats had no room for {:,} elements: results that lack some are flagged saturated",
    "sumstats_threshold_faults": "threshold functions raised {:,} times: such keys did not cross",
}
"""Counters that say that a result may be less than the truth, and how to say it."""

_REMEMBERED = 1 << 16  # alerts

_ROW = "{:<8} {:<15} {:<68} {:<20} {}"


class Terminal:
    """Writes alerts as rows and the summary as sentences; plain text where the stream is no terminal."""

    def __init__(self, stream: TextIO) -> None:
        self.console = Console(file=stream, highlight=False, soft_wrap=True)
        self._rows = 0
        self._severities: OrderedDict[str, str] = OrderedDict()

    def alert(self, record: AlertRecord) -> None:
        """Write a row: severity, source, sentence, first seen, ATT&CK technique."""
        if not self._rows:
            self.console.print(Text(_ROW.format("SEVERITY", "SOURCE", "ALERT", "FIRST SEEN", "ATT&CK"), style="bold"))
        self._rows += 1
        self._severities[record.id] = record.severity
        if len(self._severities) > _REMEMBERED:
            self._severities.popitem(last=False)
        self._row(record.severity.upper(), _STYLES[record.severity], record, record.attack)
        if not record.complete:
            self.console.print(f"         incomplete: nothing from {escape(', '.join(record.missing))}")

    def update(self, record: AlertUpdate) -> None:
        """Write that it was withdrawn, or has another severity; its final figures are for machines."""
        told = self._severities.pop(record.id, None)
        if record.state == "withdrawn":
            self._row("-", "dim", record)
        elif told != record.severity and record.folded_into is None:
            self._row(record.severity.upper(), _STYLES[record.severity], record)

    def _row(self, severity: str, style: str, record: AlertRecord | AlertUpdate, attack: str | None = None) -> None:
        first_seen = record.first_seen[:19].replace("T", " ")
        text = Text(
            _ROW.format(severity, record.src or "-", printable(record.message), first_seen, attack or "-"),
        )
        text.stylize(style, 0, 8)
        self.console.print(text)

    def summary(self, record: Summary) -> None:
        """Write what became of every packet, and what found nothing."""
        if self._rows:
            self.console.print()
        else:
            self.console.print("No alerts.\n")
        for line in _sentences(record):
            self.console.print(escape(line))


def printable(text: str) -> str:
    """Text with control characters escaped, so that nothing from the wire can drive a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def amount(n: int, noun: str) -> str:
    """So many of something, in words for people."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _sentences(record: Summary) -> list[str]:
    refused = sum(record.refused.values())
    passed = record.counters.get("sumstats_passed_over", 0)
    lines = [
        f"{record.packets_read:,} packets read ({_bytes(record.bytes)}): "
        f"{record.packets_decoded:,} decoded, {refused:,} refused{_reasons(record.refused)}",
        f"{amount(record.flows, 'flow')}, {amount(record.observations, 'observation')}"
        + (f" ({passed:,} of what an alert stands for)" if passed else "")
        + f", {amount(record.alerts, 'alert')}"
        + _became(record)
        + f" from {amount(len(record.detections), 'detection')}",
        f"{record.seconds:.2f} seconds, {record.packets_per_second:,.0f} packets/s",
    ]
    if record.capture_loss:
        lines.append(f"{record.capture_loss:.2%} of TCP's acknowledgements are of bytes that the capture never saw")
    if filtered := record.counters.get("packets_filtered", 0):
        lines.insert(1, _left_out(filtered, record.counters.get("packets_filter_inapplicable", 0)))
    if record.weirds:
        lines.insert(1, f"odd packets{_reasons(record.weirds)}")
    if record.interrupted:
        lines.insert(0, "interrupted: this is of a part of the input")
    lines += [
        f"detection {name} raised {count} times: its result is not to be relied on"
        for name, count in record.detection_faults.items()
    ]
    return lines + [
        text.format(record.counters[name]) for name, text in _SHORTFALLS.items() if record.counters.get(name)
    ]


def _left_out(filtered: int, inapplicable: int) -> str:
    of_them = f", {inapplicable:,} of a link type that it has no meaning for" if inapplicable else ""
    return f"{amount(filtered, 'packet')} left out by the filter{of_them}"


def _became(record: Summary) -> str:
    """What became of alerts, if anything."""
    said = [f"{record.alerts_withdrawn:,} of them withdrawn"] * bool(record.alerts_withdrawn)
    said += [f"{record.alerts_suppressed:,} repeats folded in"] * bool(record.alerts_suppressed)
    return f" ({', '.join(said)})" if said else ""


def _reasons(counts: dict[str, int]) -> str:
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ": " + ", ".join(f"{name} {count:,}" for name, count in most) if most else ""


def _bytes(n: int) -> str:
    size = float(n)
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
