"""Packets that an unsuccessful filter misses: those behind tags and labels that it does not ask for.

A filter of pcap-filter(7) looks directly behind the Ethernet header. On a trunk or a provider's line there is a tag, a
label or a session: `host 192.0.2.1` then matches nothing, just as if that host were silent.
"""

import numpy as np

from sensor.capture.bpf.libpcap import compile_filter
from sensor.capture.bpf.program import CELLS, Program
from sensor.capture.bpf.run import judge
from sensor.capture.errors import CaptureError

BEHIND = {
    "vlan": "a VLAN tag",
    "vlan and vlan": "two VLAN tags",
    "mpls": "an MPLS label",
    "pppoes": "a PPPoE session's header",
    "vlan and pppoes": "a VLAN tag and a PPPoE session's header",
}
"""The prefixes that a filter needs to look behind a header, each with the header's name for people."""
TAGGED = "packets_filtered_tagged"
"""The counter of packets with a VLAN tag, where the filter names none."""


def counter(prefix: str) -> str:
    """Return the name of the counter of packets that the filter would match if this prefix came first."""
    return f"packets_filtered_behind_{prefix.replace(' and ', '_')}"


class Missed:
    """Counts the missed packets among those inspected, by name of the counter."""

    def __init__(self, text: str) -> None:
        self._texts = {counter(prefix): f"{prefix} and ({text})" for prefix in BEHIND}
        if "vlan" not in text:
            self._texts[TAGGED] = "vlan"
        self._programs: dict[tuple[str, int], Program | None] = {}
        self._memory = np.zeros(CELLS, np.int64)
        self.counters: dict[str, int] = {}

    def inspect(self, data: np.ndarray, linktype: int, frames: np.ndarray, rows: np.ndarray) -> None:
        """Count missed packets among `rows` (indices) of `frames` (FRAME) that the filter has not matched."""
        keep = np.zeros(len(frames), np.bool_)
        for name in self._texts:
            program = self._of(name, linktype)
            if program is None:
                continue
            taken = len(rows) - judge(program.code, data, frames, rows, self._memory, keep)
            if taken:
                self.counters[name] = self.counters.get(name, 0) + taken

    def _of(self, name: str, linktype: int) -> Program | None:
        if (name, linktype) not in self._programs:
            try:
                self._programs[name, linktype] = compile_filter(self._texts[name], linktype)
            except CaptureError:
                self._programs[name, linktype] = None
        return self._programs[name, linktype]
