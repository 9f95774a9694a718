"""A protocol in a few lines: the first line that each end of a TCP connection sends; and a detection of them."""

from sensor.detection import Alert, Detection, Stream, Sum, SumStat
from sensor.protocols import CONNECTION, Analyzer, Column, EventType, Prefixes


class FirstLine(Analyzer):
    """Raises `first_line` when the line is whole."""

    events = (
        EventType("first_line", "the first line that one end sends is whole", CONNECTION | {
            "line": Column("text", "without its end"),
            "is_orig": Column("integer", "1 where the originator sent it"),
        }),
    )  # fmt: skip

    def __init__(self):
        super().__init__()
        self._prefixes = Prefixes(depth=256)

    def process(self, segments):
        """Take the next segments."""
        for prefix in self._prefixes.grown(segments):
            line, end, _ = prefix.data.partition(b"\n")
            if end:
                self.emit("first_line", prefix.segment, line=line, is_orig=prefix.segment["side"] == 0)
                prefix.close()

    @property
    def counters(self):
        """Of the prefixes."""
        return self._prefixes.counters


class Lines(Detection):
    """Says each first line. Misses all others."""

    lines = Stream("first_line", key=("line", "is_orig", "resp_h"))
    seen = SumStat(epoch="0s", count=Sum(lines))

    @seen.crosses(count=1)
    def said(self, key, seen):
        """One alert a line."""
        return Alert(f"{key.line} ({key.is_orig}, {seen.count.sum:.0f})", src=key.resp_h, same_as=key)
