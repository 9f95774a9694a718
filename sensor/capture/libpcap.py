"""Filters in tcpdump's language (pcap-filter(7)), compiled by the libpcap of the system."""

import ctypes
import functools
from typing import Any

import numpy as np

from sensor.capture.bpf import INSTRUCTION, Program, check
from sensor.capture.fault import CaptureError
from sensor.capture.reader import CAPLEN_MAX

_NAMES = ("libpcap.so.1", "libpcap.so.0.8", "libpcap.so")
_ABSENT = "filters are compiled by libpcap, which is not installed: apt install libpcap0.8 (or dnf install libpcap)"
_DLTS = {101: 12}
"""Linux's DLT_ of a LINKTYPE_, where the two differ: raw IP."""
_NETMASK_UNKNOWN = 0xFFFF_FFFF


class _Compiled(ctypes.Structure):
    """struct bpf_program."""

    _fields_ = [("length", ctypes.c_uint), ("code", ctypes.c_void_p)]


def compile_filter(text: str, linktype: int, snaplen: int = CAPLEN_MAX) -> Program:
    """The program of a filter for frames of one link type (LINKTYPE_); CaptureError says what is wrong with it.

    It means what it means to `tcpdump -r`: VLAN tags are part of the frame, and there is no inbound and outbound.
    """
    library = _library()
    if "\0" in text:
        raise CaptureError("filter: it holds a NUL character; leave that out")
    handle = library.pcap_open_dead(_DLTS.get(linktype, linktype), snaplen)
    if not handle:
        raise MemoryError("libpcap had no memory for a handle")
    try:
        code = _compile(library, handle, text)
    finally:
        library.pcap_close(handle)
    try:
        check(code)
    except ValueError as error:
        raise CaptureError(f"filter {text!r}: {error}; write it without") from error
    return Program(text, linktype, code)


def _compile(library: Any, handle: int, text: str) -> np.ndarray:
    compiled = _Compiled()
    if library.pcap_compile(handle, ctypes.byref(compiled), text.encode(), 1, _NETMASK_UNKNOWN):
        reason = library.pcap_geterr(handle).decode(errors="replace")
        raise CaptureError(f"filter {text!r}: {reason}; see man pcap-filter")
    try:
        return np.frombuffer(ctypes.string_at(compiled.code, compiled.length * INSTRUCTION.itemsize), INSTRUCTION)
    finally:
        library.pcap_freecode(ctypes.byref(compiled))


def is_there() -> bool:
    """Whether filters can be compiled at all."""
    try:
        _library()
    except CaptureError:
        return False
    return True


@functools.cache
def _library() -> Any:
    """The library, declared as <pcap/pcap.h> does."""
    for name in _NAMES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.pcap_open_dead.restype = ctypes.c_void_p
        library.pcap_open_dead.argtypes = (ctypes.c_int, ctypes.c_int)
        library.pcap_compile.argtypes = (
            ctypes.c_void_p,
            ctypes.POINTER(_Compiled),
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_uint32,
        )
        library.pcap_freecode.argtypes = (ctypes.POINTER(_Compiled),)
        library.pcap_geterr.restype = ctypes.c_char_p
        library.pcap_geterr.argtypes = library.pcap_close.argtypes = (ctypes.c_void_p,)
        return library
    raise CaptureError(_ABSENT)
