"""Counters of an interface, or of a whole node, by which hints are judged."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol


class CapturedInterface(Protocol):
    """One interface of a live capture (`sensor.capture.live.interface_capture.CapturedInterface`)."""

    @property
    def interface(self) -> str:
        """Its name."""

    @property
    def is_promiscuous(self) -> bool:
        """True in promiscuous mode: it takes frames addressed to others."""

    @property
    def gap(self) -> str:
        """Why nothing can come just now; "": it can."""

    @property
    def counters(self) -> dict[str, int]:
        """Return its counters by name: what came and what was lost."""


@dataclass(frozen=True, slots=True)
class InterfaceCounters:
    """Packets since the start, where they were last counted."""

    interface: str
    """For people; of several together, "capture"."""
    read: int = 0
    """Given to the decoder."""
    kernel: int = 0
    """Let through by the kernel's filter, lost ones included."""
    filtered: int = 0
    """Rejected by the filter once their VLAN tag was back."""
    nic: int = 0
    """Packets that arrived, for whatever address."""
    ring_drops: int = 0
    nic_drops: int = 0
    gap: str = ""
    """Why nothing can come just now."""
    is_promiscuous: bool = True


def sight_of(interface: str, counters: Mapping[str, int], **more: object) -> InterfaceCounters:
    """A sight from counters by name, as a capture source and its manager have them."""
    names = ("packets_read", "kernel_packets", "packets_filtered", "nic_packets", "ring_drops", "nic_drops")
    return InterfaceCounters(interface, *(counters.get(name, 0) for name in names), **more)  # type: ignore[arg-type]


def sights_of(taps: Iterable[CapturedInterface]) -> list[InterfaceCounters]:
    """A sight of each interface."""
    return [sight_of(tap.interface, tap.counters, gap=tap.gap, is_promiscuous=tap.is_promiscuous) for tap in taps]
