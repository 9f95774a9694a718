"""Privileges: drop this process's special rights for good (capabilities(7), credentials(7), prctl(2)).

Drops the user, the capabilities, and with NoNewPrivileges the ways to gain more. Capabilities belong to threads, and
only the calling thread's are dropped: call it before other threads start. It checks that no thread has any left.
"""

import contextlib
import ctypes
import os
import pwd
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

CAP_CHOWN, CAP_SETGID, CAP_SETUID, CAP_SETPCAP, CAP_NET_RAW = 0, 6, 7, 8, 13
_PR_SET_KEEPCAPS, _PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 8, 23, 24, 38, 47
_AMBIENT_CLEAR_ALL = 4
_VERSION_3 = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_SETS = ("CapInh", "CapPrm", "CapEff", "CapAmb")
_USUAL = ("sensor", "nobody")

_libc = ctypes.CDLL(None, use_errno=True)
_IS_LINUX = sys.platform == "linux"
if _IS_LINUX:
    _libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


class PrivilegeError(Exception):
    """A privilege could not be dropped. The text is one line: what, why, and what to do about it."""


@dataclass(frozen=True, slots=True)
class User:
    """The user and group that a process runs as."""

    name: str
    uid: int
    gid: int

    @contextlib.contextmanager
    def acting(self) -> Iterator[None]:
        """Within the context, let root open files only as this user could."""
        groups = os.getgroups()
        os.setgroups([])
        os.setegid(self.gid)
        os.seteuid(self.uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)

    def own(self, path: Path) -> None:
        """Give a file, or a folder and its contents, to this user, as systemd does a StateDirectory; links excepted."""
        for folder, names, files in os.walk(path):
            for name in (".", *names, *files):
                os.chown(Path(folder) / name, self.uid, self.gid, follow_symlinks=False)
        if not path.is_dir():
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def successor(name: str | None) -> User | None:
    """Return the user to become once root is no longer needed: `name`, else "sensor" if it exists, else "nobody".

    None: this process is not root's, or is to stay root's. PrivilegeError if there is no such user.
    """
    if os.geteuid() != 0:
        if name and pwd.getpwuid(os.geteuid()).pw_name != name:
            raise PrivilegeError(f"only root can become {name}: leave out --user, or run as root")
        return None
    for each in (name,) if name else _USUAL:
        try:
            entry = pwd.getpwnam(each)
        except KeyError:
            continue
        return User(each, entry.pw_uid, entry.pw_gid) if entry.pw_uid else None
    raise PrivilegeError(f"there is no user {name or ' or '.join(_USUAL)}: make one, or name another with --user")


def has(capability: int) -> bool:
    """True if the calling thread may use a capability now."""
    return bool(_held("thread-self", "CapEff") >> capability & 1)


def give_up(user: User | None, keep: Collection[int] = ()) -> None:
    """Become `user` (None: no change), drop all capabilities except `keep`, and prevent gaining any.

    PrivilegeError if one could not be dropped, or another thread still has it. On systems other than Linux only the
    user changes.
    """
    if not _IS_LINUX:
        if user is not None:
            _become(user)
        return
    if has(CAP_SETPCAP):
        _empty_the_bounding_set()
    _call("prctl", _PR_SET_KEEPCAPS, int(bool(keep)), 0, 0, 0)
    if user is not None:
        _become(user)
    _call("prctl", _PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0)
    kept = sum(1 << each for each in keep)
    _set(kept)
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for task in os.listdir("/proc/self/task"):
        if any(_held(f"self/task/{task}", name) & ~kept for name in _SETS):
            raise PrivilegeError(
                "capabilities could not be given up: another thread has them still; please report this"
            )


def describe() -> str:
    """Describe the user of this process, and that it has no privileges, for people."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = str(os.geteuid())
    return f"as {name}, without any capability" if _IS_LINUX else f"as {name}"


def _become(user: User) -> None:
    try:
        os.setgroups([])
        os.setgid(user.gid)
        os.setuid(user.uid)  # for root: the real, effective and saved one
    except PermissionError:
        reason = "root without CAP_SETUID and CAP_SETGID cannot"
        raise PrivilegeError(f"become {user.name}: {reason}; allow these, or give --user root") from None


def _empty_the_bounding_set() -> None:
    capability = 0
    while _libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0) >= 0:
        _call("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)
        capability += 1


def _set(capabilities: int) -> None:
    """Make these the calling thread's permitted and effective capabilities, and none inheritable."""
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    low, high = capabilities & 0xFFFFFFFF, capabilities >> 32
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    _call("capset", ctypes.byref(header), ctypes.byref(data))


def _held(task: str, name: str) -> int:
    for line in Path(f"/proc/{task}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.partition(":")[2], 16)
    return 0


def _call(function: str, *arguments: object) -> None:
    if getattr(_libc, function)(*arguments) != 0:
        error = os.strerror(ctypes.get_errno())
        raise PrivilegeError(f"capabilities could not be given up: {function}: {error}; please report this")
