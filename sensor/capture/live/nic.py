"""Counts of packets that a network card and its driver received, and lost before any socket could see them."""

import os
import socket
import struct
from typing import NamedTuple

from sensor.clock import elapsed_s

_PACKETS, _DROPS, _FIFO = 1, 3, 4  # after the name: bytes, packets, errors, drops, fifo
_RX_DROPPED, _RX_FIFO, _RX_MISSED, _STATISTICS = 6, 14, 15, 16  # positions in rtnl_link_stats64, and its word count

_GETLINK, _NEWLINK, _REQUEST = 18, 16, 1  # <linux/rtnetlink.h>, <linux/netlink.h>
_MESSAGE, _LINK, _ATTRIBUTE = 16, 16, 4  # bytes of nlmsghdr, ifinfomsg and rtattr
_IFNAME, _STATS64 = 3, 23  # <linux/if_link.h>
_ANSWER = 1 << 16

EVERY_S = 0.2
"""The least interval (s) between queries of the kinds of drops: they take a kernel lock that others wait for."""


class NicCounts(NamedTuple):
    """Counts of arrived packets."""

    packets: int
    """Packets passed on to the system."""
    missed: int
    """Packets lost because the card or its queue had no room: rx_missed_errors and rx_fifo_errors."""
    dropped: int
    """rx_dropped: packets that some drivers lost, and packets that the host did not want after their capture."""


class NicCounters:
    """The counts of one interface from now on, in the network namespace of the thread that makes this.

    /proc/net/dev has rx_packets, and rx_dropped and rx_missed_errors in one sum; unlike /sys it is always the
    namespace's. When the sum has grown, netlink gives its parts. Some drivers update their counts every few seconds
    only.
    """

    def __init__(self, interface: str) -> None:
        self._interface = interface
        file = os.open("/proc/thread-self/net/dev", os.O_RDONLY | os.O_CLOEXEC)
        self._file: int | None = file
        self._route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._sums, self._asked, self._lost = (-1, -1), -EVERY_S, (0, 0)
        self._last, self._total = self._read(is_last=True) or NicCounts(0, 0, 0), NicCounts(0, 0, 0)

    def total(self, *, is_last: bool = False) -> NicCounts:
        """Return the counts so far; those of an interface that was deleted and made again are added."""
        now = self._read(is_last=is_last)
        if now is not None:
            since = (new - old if new >= old else new for new, old in zip(now, self._last, strict=True))
            self._total = NicCounts(*(each + more for each, more in zip(self._total, since, strict=True)))
            self._last = now
        return self._total

    def close(self) -> None:
        """Close the file; the total stays."""
        self.total(is_last=True)
        if self._file is not None:
            os.close(self._file)
            self._route.close()
        self._file = None

    def _read(self, *, is_last: bool) -> NicCounts | None:
        found = None if self._file is None else _counts(self._file, self._interface)
        if found is None:
            return None
        packets, sums = found[0], found[1:]
        if sums != self._sums and (is_last or elapsed_s() - self._asked >= EVERY_S):
            self._asked, self._sums = elapsed_s(), sums
            self._lost = _ask(self._route, self._interface) or (sums[1], sums[0])
        return NicCounts(packets, *self._lost)


class Shortfall:
    """The part of an interface's drop count that was lost, for drivers without a count of losses.

    A ring that got as many frames as the driver passed on has lost none: the host dropped frames later, as it does with
    unwanted frames of a trunk. So frames count as lost as far as they are missing in the ring. For drivers that count
    losses as dropped, but not as received, this comparison shows nothing, and only TCP's acknowledgements reveal a
    loss. The received count is compared with the ring's count of a moment later, so that frames on the way do not
    count.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._arrived, self._compared = 0, -EVERY_S

    def compare(self, nic: NicCounts, in_ring: int, now: float) -> None:
        """Compare counts so far at a time `now` (s): the interface's, and frames for the ring, including lost ones."""
        if now - self._compared < EVERY_S:
            return
        if not nic.missed:
            self.lost = max(self.lost, min(nic.dropped, self._arrived - in_ring))
        self._arrived, self._compared = nic.packets, now


def _counts(file: int, interface: str) -> tuple[int, int, int] | None:
    """Return packets, drops and fifo errors from /proc/net/dev."""
    text, offset = b"", 0
    while piece := os.pread(file, 1 << 16, offset):
        text, offset = text + piece, offset + len(piece)
    for line in text.decode(errors="replace").splitlines():
        name, _, numbers = line.rpartition(":")
        if name.strip() == interface:
            received = numbers.split()
            return int(received[_PACKETS]), int(received[_DROPS]), int(received[_FIFO])
    return None


def _ask(route: socket.socket, interface: str) -> tuple[int, int] | None:
    """Return missed and dropped packets, by netlink; None if the interface no longer exists."""
    name = interface.encode() + b"\0"
    attribute = struct.pack("=HH", _ATTRIBUTE + len(name), _IFNAME) + name + bytes(-len(name) % 4)
    body = bytes(_LINK) + attribute
    try:
        route.send(struct.pack("=IHHII", _MESSAGE + len(body), _GETLINK, _REQUEST, 0, 0) + body)
        answer = route.recv(_ANSWER, socket.MSG_DONTWAIT)
    except OSError:
        return None
    length, kind = struct.unpack_from("=IH", answer)
    return _missed_and_dropped(answer[_MESSAGE + _LINK : length]) if kind == _NEWLINK else None


def _missed_and_dropped(attributes: bytes) -> tuple[int, int] | None:
    while len(attributes) >= _ATTRIBUTE:
        size, kind = struct.unpack_from("=HH", attributes)
        if kind == _STATS64:
            words = struct.unpack_from(f"={_STATISTICS}Q", attributes, _ATTRIBUTE)
            return words[_RX_MISSED] + words[_RX_FIFO], words[_RX_DROPPED]
        attributes = attributes[max(size + 3 & ~3, _ATTRIBUTE) :]
    return None
