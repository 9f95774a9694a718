"""PACKET_FANOUT: several rings on one interface, each frame in exactly one (packet(7), <linux/if_packet.h>)."""

import errno
import secrets
import socket
import struct
from dataclasses import dataclass
from typing import Literal

from sensor.capture.bpf.program import set_program
from sensor.capture.errors import CaptureError
from sensor.capture.live.host_pair_hash import pair_program

_SOL_PACKET, _PACKET_FANOUT, _PACKET_FANOUT_DATA = 263, 18, 22
_HASH, _CPU, _PROGRAM = 0, 2, 6  # PACKET_FANOUT_HASH, _CPU, _CBPF
_ROLLOVER, _UNIQUE_ID, _DEFRAG = 0x1000, 0x2000, 0x8000

MEMBERS_MAX = 256
"""The most sockets of a group: PACKET_FANOUT_MAX before Linux 5.12, and still the default limit."""


@dataclass(frozen=True, slots=True)
class Fanout:
    """The way in which an interface's rings share its frames; all members of a group must use the same."""

    by: Literal["hosts", "hash", "cpu"] = "hosts"
    """"hosts": by the pair of hosts (`pair_program`), so that one ring has all packets between two hosts and the ICMP
    errors about them; frames that are neither IPv4 nor IPv6, or are cut short, go to the first member. "hash": by
    addresses and ports, the same for both directions, but errors and fragments land in other rings. "cpu": by the CPU
    that received the frame, which keeps a flow together only if the card's receive-side scaling does so for both
    directions."""
    group: int | None = None
    """The number of the group to join, in this network namespace; None: make a group with an unused number."""
    rollover: bool = True
    """By hosts or hash: a frame that its ring has no room for goes to another ring that has, instead of being lost.
    Only then is a flow in two rings, and while some room is left only long flows are moved."""
    defragment: bool = True
    """By hash: IPv4 fragments are reassembled before they are shared, as only the first of them has ports. The ring
    then holds whole datagrams; fragments of incomplete datagrams are neither seen nor counted."""
    key: int | None = None
    """By hosts: the group's secret, an odd number of 32 bits, so that no sender can choose a member. None: drawn here,
    for a new group; to join a group, or make it again, pass its key."""

    def __post_init__(self) -> None:
        if self.by != "hosts":
            return
        if self.key is None:
            if self.group is not None:
                raise ValueError(f"to join fanout group {self.group} by hosts, give the key that its maker has")
            object.__setattr__(self, "key", secrets.randbits(32) | 1)
        elif not (0 < self.key < 1 << 32 and self.key & 1):
            raise ValueError(f"the key {self.key} of a fanout group is not an odd number of 32 bits")

    @property
    def _mode(self) -> int:
        if self.by == "cpu":
            return _CPU
        if self.by == "hosts":
            return _PROGRAM | self.rollover * _ROLLOVER
        return _HASH | self.rollover * _ROLLOVER | self.defragment * _DEFRAG


def join(bound: socket.socket, fanout: Fanout, interface: str) -> int:
    """Put a bound socket into its group, and return the group's number. CaptureError if the kernel refuses.

    Each member that joins a group by hosts sets the group's program: all set the same one, and after a restart any
    member may be the first again. Without a program, the first member receives all frames.
    """
    mode = fanout._mode if fanout.group is not None else fanout._mode | _UNIQUE_ID
    try:
        bound.setsockopt(_SOL_PACKET, _PACKET_FANOUT, struct.pack("=I", (fanout.group or 0) | mode << 16))
        if fanout.key is not None and fanout.by == "hosts":
            set_program(bound, _SOL_PACKET, _PACKET_FANOUT_DATA, pair_program(fanout.key))
    except OSError as error:
        raise CaptureError(f"{interface}: cannot join a fanout group: {_reason(error)}") from error
    return bound.getsockopt(_SOL_PACKET, _PACKET_FANOUT) & 0xFFFF


def _reason(error: OSError) -> str:
    if error.errno == errno.EINVAL:
        return "the interface is down, or the group is of another interface or mode"
    if error.errno == errno.ENOSPC:
        return f"the group has {MEMBERS_MAX} members; make another one"
    return error.strerror or str(error)
