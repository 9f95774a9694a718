"""Properties of an interface in a socket's network namespace: index, kind of hardware, and state (netdevice(7))."""

import contextlib
import ctypes
import errno
import fcntl
import socket
import struct

_SIOCGIFFLAGS, _SIOCGIFHWADDR, _SIOCGIFINDEX = 0x8913, 0x8927, 0x8933
_SIOCETHTOOL, _GGRO, _GFLAGS, _LRO = 0x8946, 0x2B, 0x25, 1 << 15  # <linux/sockios.h>, <linux/ethtool.h>
_NAME_MAX = 15
_UP, _RUNNING = 0x1, 0x40


def interface_index(of: socket.socket, name: str) -> int:
    """Return the interface's index; OSError ENODEV if there is none of that name."""
    return int(struct.unpack_from("i", _ask(of, _SIOCGIFINDEX, name), 16)[0])


def hardware(of: socket.socket, name: str) -> int:
    """Return the interface's kind, an ARPHRD_ number; OSError ENODEV if there is none of that name."""
    return int(struct.unpack_from("H", _ask(of, _SIOCGIFHWADDR, name), 16)[0])


def is_up(of: socket.socket, name: str) -> bool:
    """True if the interface is up and has a link; OSError ENODEV if there is none of that name."""
    flags: int = struct.unpack_from("H", _ask(of, _SIOCGIFFLAGS, name), 16)[0]
    return flags & (_UP | _RUNNING) == _UP | _RUNNING


def is_merging(of: socket.socket, name: str) -> bool:
    """True if several received packets may arrive as one frame: by GRO or LRO."""
    return _ethtool(of, _GGRO, name) != 0 or _ethtool(of, _GFLAGS, name) & _LRO != 0


def _ethtool(of: socket.socket, command: int, name: str) -> int:
    """Return the driver's answer; 0 if it gives none."""
    value = ctypes.create_string_buffer(struct.pack("2I", command, 0), 8)
    with contextlib.suppress(OSError):
        fcntl.ioctl(of, _SIOCETHTOOL, struct.pack("16sP16x", name.encode(), ctypes.addressof(value)))
        return int(struct.unpack_from("I", value.raw, 4)[0])
    return 0


def _ask(of: socket.socket, request: int, name: str) -> bytes:
    encoded = name.encode()
    if len(encoded) > _NAME_MAX or b"\0" in encoded:
        raise OSError(errno.ENODEV, "no interface has such a name")
    return fcntl.ioctl(of, request, struct.pack("16s24x", encoded))
