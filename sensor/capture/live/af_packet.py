"""Opens AF_PACKET sockets with a ring: the only part of live capture that needs CAP_NET_RAW.

The sockets are used elsewhere (`Ring`), perhaps in an unprivileged process that received the descriptor over a Unix
socket. Numbers are those of <linux/if_packet.h>, <linux/if_arp.h> and <linux/sockios.h>.
"""

import contextlib
import errno
import os
import socket
import struct
from dataclasses import dataclass

import numpy as np

from sensor.capture.bpf.program import Program, attach, drop_all, take_all
from sensor.capture.errors import CaptureError
from sensor.capture.live.fanout import Fanout, join
from sensor.capture.live.ifreq import hardware, interface_index
from sensor.packet import CAPLEN_MAX

SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP, PACKET_RX_RING, PACKET_STATISTICS = 1, 5, 6
PACKET_VERSION, PACKET_IGNORE_OUTGOING = 10, 23
PACKET_MR_PROMISC = 1
TPACKET_V3 = 2
ETH_P_ALL = 3

LINKTYPE_ETHERNET, LINKTYPE_RAW = 1, 101
ARPHRD_LOOPBACK = 772
LINKTYPES = {1: LINKTYPE_ETHERNET, ARPHRD_LOOPBACK: LINKTYPE_ETHERNET, 519: LINKTYPE_RAW, 65534: LINKTYPE_RAW}
"""The LINKTYPE_ of an interface by its ARPHRD_: Ethernet, loopback (in Ethernet's form), raw IP, none (tun)."""
_REFUSED = {
    32: "InfiniBand",
    280: "CAN",
    512: "PPP",
    768: "an IPv4 tunnel",
    769: "an IPv6 tunnel",
    776: "an IPv6-in-IPv4 tunnel",
    778: "a GRE tunnel",
    801: "IEEE 802.11",
    803: "IEEE 802.11 with radiotap",
    823: "a GRE tunnel over IPv6",
    824: "netlink monitor",
}

BLOCK_BYTES = 1 << 18
"""The default bytes of a block: room for several 64 KiB frames merged by the card."""
_MB = 1 << 20
_BLOCKS_MIN = 2


@dataclass(frozen=True, slots=True)
class Geometry:
    """The division of a ring, needed to map and walk it."""

    block_bytes: int
    """A multiple of the page size; a frame longer than a block is cut."""
    blocks: int

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self.block_bytes * self.blocks


def geometry(megabytes: int, block_bytes: int = BLOCK_BYTES) -> Geometry:
    """Return the geometry of a ring of so many MB (2**20 bytes).

    Blocks are small, because a block that is released by timeout counts as full: even at low rates, a reader that
    stalls for longer than `retire_ms` times the number of blocks loses packets.
    """
    return Geometry(block_bytes, max(_BLOCKS_MIN, megabytes * _MB // block_bytes))


@dataclass(frozen=True, slots=True)
class RingSettings:
    """The capture settings of one interface."""

    interface: str
    ring: Geometry = Geometry(BLOCK_BYTES, 256)
    snaplen: int = CAPLEN_MAX
    """Bytes kept of a frame, at least 1."""
    promiscuous: bool = True
    retire_ms: int = 50
    """Time (ms) after which the kernel releases a block that is not full; it may take twice as long."""
    program: Program | None = None
    """The filter that the kernel runs, as `Program.for_kernel`."""
    fanout: Fanout | None = None
    is_first: bool = True
    """True for the one of the rings sharing an interface that counts the interface's own gaps and drops."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A bound socket with its ring, ready for use in any process."""

    socket: socket.socket
    settings: RingSettings
    linktype: int
    """LINKTYPE_ of its frames."""
    group: int | None = None
    """Its fanout group."""


def linktype_of(interface: str, asking: socket.socket | None = None) -> int:
    """Return the LINKTYPE_ that an interface's filter must be compiled for. Needs no privilege.

    CaptureError if the interface cannot be captured from, OSError ENODEV if it does not exist.
    """
    with contextlib.ExitStack() as stack:
        if asking is None:
            asking = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        number = hardware(asking, interface)
    if number not in LINKTYPES:
        kind = _REFUSED.get(number, "of a kind unknown here")
        raise CaptureError(f"{interface}: its link layer, {kind} (ARPHRD {number}), is not read; name an Ethernet one")
    return LINKTYPES[number]


def open_ring(settings: RingSettings) -> Opened:
    """Open, set up and bind a socket; CaptureError has the reason for a failure, OSError ENODEV: no such interface.

    The socket receives nothing before it is bound, and never anything that its filter rejects.
    """
    name = settings.interface
    try:
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    except PermissionError:
        raise CaptureError(f"{name}: capture needs CAP_NET_RAW; run as root (`sensor doctor` tells more)") from None
    with contextlib.ExitStack() as stack:
        stack.enter_context(opened)
        made = _prepare(opened, settings)
        stack.pop_all()
    return made


def _prepare(opened: socket.socket, settings: RingSettings) -> Opened:
    _ring(opened, settings)
    program = take_all(settings.snaplen) if settings.program is None else settings.program.for_kernel(settings.snaplen)
    _filter(opened, settings, drop_all() if settings.fanout else program)  # until it joins, it gets others' frames
    linktype = _bind(opened, settings)
    if settings.fanout is None:
        return Opened(opened, settings, linktype)
    group = join(opened, settings.fanout, settings.interface)
    _filter(opened, settings, program)
    return Opened(opened, settings, linktype, group)


def _filter(opened: socket.socket, settings: RingSettings, program: np.ndarray) -> None:
    try:
        attach(opened, program)
    except OSError as error:
        advice = "make it shorter, or net.core.optmem_max larger"
        raise CaptureError(f"{settings.interface}: Linux refuses the filter: {error.strerror}; {advice}") from error


def _ring(opened: socket.socket, settings: RingSettings) -> None:
    opened.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
    ring = settings.ring
    if ring.size > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2:  # else Linux kills a process
        raise _too_large(settings)
    request = struct.pack(
        "7I", ring.block_bytes, ring.blocks, ring.block_bytes, ring.blocks, settings.retire_ms, 0, 0
    )  # tpacket_req3; frames of V3 have no size of their own
    try:
        opened.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        raise _too_large(settings) from None


def _too_large(settings: RingSettings) -> CaptureError:
    return CaptureError(f"{settings.interface}: no memory for a ring of {settings.ring.size >> 20} MB; make it smaller")


def _bind(opened: socket.socket, settings: RingSettings) -> int:
    name = settings.interface
    try:
        index, linktype = interface_index(opened, name), linktype_of(name, opened)
        if settings.program is not None and settings.program.linktype != linktype:
            raise CaptureError(f"{name}: of link type {linktype}, its filter is for {settings.program.linktype}")
        if hardware(opened, name) == ARPHRD_LOOPBACK:  # on loopback each packet passes twice, out and in again
            opened.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        if settings.promiscuous:
            opened.setsockopt(
                SOL_PACKET, PACKET_ADD_MEMBERSHIP, struct.pack("iHH8x", index, PACKET_MR_PROMISC, 0)
            )  # packet_mreq
        opened.bind((name, ETH_P_ALL))
        return linktype
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.ENXIO):
            raise OSError(errno.ENODEV, f"{name}: there is no such interface") from None
        raise
