"""A socket's ring in memory, as an array that may outlive it.

`mmap.mmap` is not used: it keeps a descriptor of its own, and a mapping keeps the socket alive too, for as long as a
view exists. Such a socket would go on taking its share of a fanout group's frames, which nobody reads.
"""

import ctypes
import mmap
import os
import socket
import weakref

import numpy as np

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)

_MAP_FIXED = 0x10
_FAILED = ctypes.c_void_p(-1).value


class Mapping:
    """The memory that a socket shares with the kernel."""

    def __init__(self, of: socket.socket, size: int) -> None:
        """Map `size` bytes; OSError if the socket has no ring of that size."""
        self._size = size
        self._address = _map(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, of.fileno())
        owner = (ctypes.c_uint8 * size).from_address(self._address)
        weakref.finalize(owner, _libc.munmap, self._address, size).atexit = False  # views may live until the exit
        self.data = np.ctypeslib.as_array(owner)
        """uint8, writable; the ring's protocol says which parts the kernel owns."""

    def close(self) -> None:
        """Release the socket's memory: views that a caller still holds show zeros from now on."""
        anonymous = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        _map(self._address, self._size, mmap.PROT_READ, anonymous | _MAP_FIXED, -1)


def _map(address: int | None, size: int, protection: int, flags: int, descriptor: int) -> int:
    mapped = _libc.mmap(address, size, protection, flags, descriptor, 0)
    if mapped == _FAILED:
        raise OSError(ctypes.get_errno(), f"cannot map {size} bytes: {os.strerror(ctypes.get_errno())}")
    return int(mapped)
