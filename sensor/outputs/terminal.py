"""The terminal: a table of alerts that grows as they happen, then a summary for people.

What became of an alert that went out is a row of its own where that is news: it was withdrawn, has another severity,
says something else when its epoch is over, or has grown tenfold since it was last told. What was told of as many alerts
as may be open is remembered, oldest out first: of one beyond them, whatever became of it is written.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.text import Text

from sensor.alerts import AlertRecord, AlertUpdate
from sensor.outputs.grid import fold, room
from sensor.outputs.rows import NAMES, AlertRows
from sensor.outputs.stats import Stats
from sensor.outputs.summary import Summary
from sensor.words import amount, printable

_STYLES = {"low": "cyan", "medium": "yellow", "high": "bold red"}
_SHORTFALLS = {
    "sumstats_keys_evicted": ("key", "SumStats had no room for {}: the lightest were given up, heavy ones were kept"),
    "sumstats_elements_refused": (
        "element",
        "SumStats had no room for {}: results that lack some are flagged saturated",
    ),
    "sumstats_threshold_faults": ("time", "threshold functions raised {}: such keys did not cross"),
}
"""Counters that say that a result may be less than the truth, of what, and how to say it."""

_REMEMBERED = 1 << 16  # alerts
_GROWN = 10.0  # times what was told: that is news


@dataclass
class _Known:
    """The last state of an alert that was printed."""

    severity: str
    message: str
    value: float | None
    is_updated: bool = False
    """True once an update has come; the first comes when its epoch is over."""

    def is_news(self, record: AlertUpdate) -> bool:
        """Return whether a person wants to read the update."""
        if record.severity != self.severity:
            return True
        if record.message == self.message:
            return False
        return not self.is_updated or (record.value or 0.0) >= _GROWN * (self.value or 0.0) > 0


class Terminal:
    """Writes alerts as rows and the summary as sentences: a line an alert, and plain text, where it is no terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.console = Console(file=stream, highlight=False, soft_wrap=True)
        self._rows = AlertRows()
        self._has_rows = False
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def alert(self, record: AlertRecord) -> None:
        """Write a row: severity, source, sentence, first seen, ATT&CK technique."""
        self._known[record.id] = _Known(record.severity, record.message, record.value)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        self._row(record.severity.upper(), _STYLES[record.severity], record, record.message, record.attack)
        if not record.complete:
            self._sentence(f"         incomplete: nothing from {printable(', '.join(record.missing))}")

    def update(self, record: AlertUpdate) -> None:
        """Write what became of an alert, if that is news; all else of it is for machines."""
        known = self._known.get(record.id)
        if record.state == "withdrawn":
            self._known.pop(record.id, None)
            self._row("-", "dim", record, record.message)
        elif record.folded_into is not None:
            self._known.pop(record.id, None)
        elif record.state == "ended":
            self._known.pop(record.id, None)
            if known is None or record.message != known.message:
                self._row(record.severity.upper(), _STYLES[record.severity], record, f"ended: {record.message}")
        elif known is None or known.is_news(record):
            told = _Known(record.severity, record.message, record.value, is_updated=True)
            if known is not None:
                self._known[record.id] = told
            self._row(record.severity.upper(), _STYLES[record.severity], record, f"update: {record.message}")
        else:
            known.is_updated = True

    def _row(
        self, severity: str, style: str, record: AlertRecord | AlertUpdate, message: str, attack: str | None = None
    ) -> None:
        first_seen = record.first_seen[:19].replace("T", " ")
        row = severity, printable(record.src or "-"), printable(message), first_seen, printable(attack or "-")
        cells = room(self._stream)
        header, lines = self._rows.whole(*row) if cells is None else self._rows.fitting(cells, *row)
        self._has_rows = True
        for line in header:
            self.console.print(Text(line, style="bold"))
        for at, line in enumerate(lines):
            text = Text(line)
            text.stylize(style if at == 0 else "", 0, len(NAMES[0]))
            self.console.print(text)

    def _sentence(self, text: str) -> None:
        cells = room(self._stream)
        for line in [text] if cells is None else fold(text, cells):
            self.console.print(Text(line))

    def stats(self, record: Stats) -> None:
        """Write nothing: a table is of alerts."""

    def summary(self, record: Summary) -> None:
        """Write what became of every packet, and what found nothing."""
        for line in [*([] if self._has_rows else ["No alerts."]), "", *_sentences(record)]:
            self._sentence(line)


def _sentences(record: Summary) -> list[str]:
    refused = sum(record.refused.values())
    passed = record.counters.get("sumstats_passed_over", 0)
    lines = [
        f"{amount(record.packets_read, 'packet')} read ({_bytes(record.bytes)}): "
        f"{record.packets_decoded:,} decoded, {refused:,} refused{_reasons(record.refused)}",
        f"{amount(record.flows, 'flow')}, {amount(record.observations, 'observation')}"
        + (f" ({passed:,} of what an alert stands for)" if passed else "")
        + f", {amount(record.alerts, 'alert')}"
        + _became(record)
        + f" from {amount(len(record.detections), 'detection')}",
        f"{record.seconds:.2f} seconds, {amount(round(record.packets_per_second), 'packet')}/s",
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
        f"detection {name} raised {amount(count, 'time')}: its result is not to be relied on"
        for name, count in record.detection_faults.items()
    ]
    return lines + [
        text.format(amount(record.counters[name], noun))
        for name, (noun, text) in _SHORTFALLS.items()
        if record.counters.get(name)
    ]


def _left_out(filtered: int, inapplicable: int) -> str:
    of_them = f", {inapplicable:,} of a link type that it has no meaning for" if inapplicable else ""
    return f"{amount(filtered, 'packet')} left out by the filter{of_them}"


def _became(record: Summary) -> str:
    """Return the lines on updates of alerts, if there were any."""
    said = [f"{record.alerts_withdrawn:,} of them withdrawn"] * bool(record.alerts_withdrawn)
    return f" ({', '.join([*said, *_folded(record)])})" if said or record.alerts_suppressed else ""


def _folded(record: Summary) -> list[str]:
    """Return the lines on repeats folded into alerts, if there were any."""
    repeats, parts = record.alerts_repeated, record.alerts_suppressed - record.alerts_repeated
    said = [amount(repeats, "repeat")] * bool(repeats) + [amount(parts, "part")] * bool(parts)
    return [f"{' and '.join(said)} folded in{_reasons(record.folded_in)}"] if said else []


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
