"""PACKET_FANOUT: several rings on one interface, each frame in just one of them (packet(7), <linux/if_packet.h>)."""

import errno
import socket
import struct
from dataclasses import dataclass
from typing import Literal

from sensor.capture.fault import CaptureError

_SOL_PACKET, _PACKET_FANOUT = 263, 18
_HASH, _CPU = 0, 2
_ROLLOVER, _UNIQUE_ID, _DEFRAG = 0x1000, 0x2000, 0x8000

MEMBERS_MAX = 256
"""Sockets of a group: PACKET_FANOUT_MAX of kernels before 5.12, and still what is allowed unless asked otherwise."""


@dataclass(frozen=True, slots=True)
class Fanout:
    """How the rings of an interface share its frames; all members of a group must say the same."""

    by: Literal["hash", "cpu"] = "hash"
    """"hash": by addresses and ports, the same for both directions. "cpu": by the CPU that took the frame in, which
    keeps a flow together only if the card's receive-side scaling does so for both directions."""
    group: int | None = None
    """The group to join, of this network namespace; None to make one, with a number that no other has."""
    rollover: bool = True
    """By hash: what has no room in its ring goes to another one that has, rather than being lost. Only then is a flow
    in two rings, and only long ones are moved while there is some room left."""
    defragment: bool = True
    """By hash: IPv4 fragments are put together before they are shared, as only the first of them has ports. The ring
    then holds whole datagrams; fragments that never become one are not seen, nor counted."""

    @property
    def _mode(self) -> int:
        if self.by == "cpu":
            return _CPU
        return _HASH | self.rollover * _ROLLOVER | self.defragment * _DEFRAG


def join(bound: socket.socket, fanout: Fanout, interface: str) -> int:
    """Put a bound socket into its group, and return the group's number. CaptureError where the kernel refuses."""
    mode = fanout._mode if fanout.group is not None else fanout._mode | _UNIQUE_ID
    try:
        bound.setsockopt(_SOL_PACKET, _PACKET_FANOUT, struct.pack("=I", (fanout.group or 0) | mode << 16))
    except OSError as error:
        raise CaptureError(f"{interface}: cannot join a fanout group: {_reason(error)}") from error
    return bound.getsockopt(_SOL_PACKET, _PACKET_FANOUT) & 0xFFFF


def _reason(error: OSError) -> str:
    if error.errno == errno.EINVAL:
        return "the interface is down, or the group is of another interface or mode"
    if error.errno == errno.ENOSPC:
        return f"the group has {MEMBERS_MAX} members; make another one"
    return error.strerror or str(error)
