"""The permission to capture: CAP_NET_RAW, as an AF_PACKET socket asks for it."""

import errno
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from sensor.node.doctor.check import Check, Mend, State, sensor_command
from sensor.privileges import CAP_SETGID, CAP_SETUID, PrivilegeError, has, successor

NAME = "permission"


@dataclass(frozen=True)
class Permission:
    """The outcome of opening a packet socket, and of root's change of user after that."""

    error: int
    """The errno, 0 where it could be opened."""
    is_root: bool
    heir: str = ""
    """Whom root becomes to decode; empty: nobody is there to become."""
    may_become: bool = True
    """True if root has the capabilities for that."""

    @classmethod
    def find(cls) -> "Permission":
        """Try it: whether root, a capability of the file or an ambient one permits it is for the kernel to say."""
        number = 0
        try:
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0).close()
        except OSError as error:
            number = error.errno or errno.EPERM
        try:
            heir = successor(None)
        except PrivilegeError:
            return cls(number, os.geteuid() == 0)
        return cls(number, os.geteuid() == 0, heir.name if heir else "", has(CAP_SETUID) and has(CAP_SETGID))


def judge(found: Permission, interfaces: Sequence[str]) -> Check:
    """The check; `interfaces` are for the command."""
    if not found.error:
        return _judge_root(found) if found.is_root else Check(NAME, State.OK, "packets may be captured")
    if found.error not in (errno.EPERM, errno.EACCES):
        reason = f"no AF_PACKET socket can be opened: {os.strerror(found.error)}"
        return Check(NAME, State.FAILED, reason, Mend(("modprobe", "af_packet")))
    if found.is_root:
        where = "give it to the container (--cap-add NET_RAW) or to the unit (AmbientCapabilities=CAP_NET_RAW)"
        return Check(NAME, State.FAILED, f"this root lacks CAP_NET_RAW: {where}", is_forbidden=True)
    advice = "in a systemd unit, AmbientCapabilities=CAP_NET_RAW; not setcap on Python, which all its users would share"
    named = [part for name in interfaces or ["auto"] for part in ("-i", name)]
    mend = Mend(sensor_command("run", *named))
    return Check(NAME, State.FAILED, f"capture needs root or CAP_NET_RAW ({advice})", mend, is_forbidden=True)


def _judge_root(found: Permission) -> Check:
    """Root can open what it likes, and must become somebody who cannot."""
    if not found.heir:
        mend = Mend(("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "sensor"))
        return Check(NAME, State.FAILED, "there is no user for root to become before it decodes", mend)
    if not found.may_become:
        reason = f"this root cannot become {found.heir} to decode: it lacks CAP_SETUID and CAP_SETGID"
        return Check(NAME, State.FAILED, f"{reason}; allow these, or give --user root", is_forbidden=True)
    return Check(NAME, State.OK, f"packets may be captured; they are decoded as {found.heir}")
