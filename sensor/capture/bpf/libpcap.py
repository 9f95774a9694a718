"""Filters in tcpdump's language (pcap-filter(7)), compiled by the libpcap of the system."""

import ctypes
import functools
import struct
import sys
from typing import Any

import numpy as np

from sensor.capture.bpf.program import INSTRUCTION, Program, check
from sensor.capture.errors import CaptureError
from sensor.packet import CAPLEN_MAX

_NAMES = ("libpcap.so.1", "libpcap.so.0.8", "libpcap.so")
_ABSENT = "filters are compiled by libpcap, which is not installed: apt install libpcap0.8 (or dnf install libpcap)"
_DLTS = {100: 11, 101: 12, 102: 15, 103: 16, 106: 19}
"""Linux's DLT_ of a LINKTYPE_, where the two differ: RFC 1483, raw IP, BSD/OS's SLIP and PPP, IP over ATM."""
HOST_ORDER = (0, 109)
"""LINKTYPE_ of frames that begin with an address family in the byte order of the capturing host: BSD's loopback and its
encapsulated IP (DLT_NULL, DLT_ENC)."""
_FAMILIES = (*HOST_ORDER, 108)
"""LINKTYPE_ of frames that begin with an address family. IPv6's differs by system: for a file, libpcap tests for all
known ones; otherwise only for its own system's."""
_FALLBACK = {
    10: "FDDI",
    105: "IEEE802_11",
    107: "FRELAY",
    117: "PFLOG",
    127: "IEEE802_11_RADIO",
    189: "USB_LINUX",
    192: "PPI",
    195: "IEEE802_15_4_WITHFCS",
    197: "ERF",
    201: "BLUETOOTH_HCI_H4_WITH_PHDR",
    220: "USB_LINUX_MMAPPED",
    227: "CAN_SOCKETCAN",
    239: "NFLOG",
    249: "USBPCAP",
    253: "NETLINK",
}
"""libpcap's names of some link types, for systems without libpcap."""
_NETMASK_UNKNOWN = 0xFFFF_FFFF


class _Compiled(ctypes.Structure):
    """Mirrors struct bpf_program."""

    _fields_ = [("length", ctypes.c_uint), ("code", ctypes.c_void_p)]


def compile_filter(text: str, linktype: int, snaplen: int = CAPLEN_MAX, *, is_swapped: bool = False) -> Program:
    """Compile a filter for frames of one link type (LINKTYPE_); the CaptureError says what is wrong with it.

    The meaning is that of `tcpdump -r`: VLAN tags are part of the frame, and there is no inbound and outbound.
    is_swapped: for frames of HOST_ORDER captured by a host of the other byte order.
    """
    library = _library()
    if "\0" in text:
        raise CaptureError("filter: it holds a NUL character; leave that out")
    header = ctypes.create_string_buffer(_header(linktype, snaplen, is_swapped))  # libpcap reads it until close
    if linktype in _FAMILIES:
        handle = _open_offline(library, header)
    else:
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


def describe(linktype: int) -> str:
    """Describe a link type (LINKTYPE_) for people: its number, and its name if known."""
    try:
        found = _library().pcap_datalink_val_to_name(_DLTS.get(linktype, linktype))
        name = found.decode() if found else ""
    except CaptureError:
        name = _FALLBACK.get(linktype, "")
    return f"link type {linktype} ({name})" if name else f"link type {linktype}"


def _header(linktype: int, snaplen: int, is_swapped: bool) -> bytes:
    """Return a pcap file's header in this machine's byte order, or in the other one if `is_swapped`."""
    order = "<" if (sys.byteorder == "big") == is_swapped else ">"
    return struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snaplen, linktype)


def _open_offline(library: Any, header: Any) -> Any:
    """Return a handle that compiles for the file with this header; only a file tells libpcap the byte order."""
    libc = ctypes.CDLL(None)
    libc.fmemopen.restype = ctypes.c_void_p
    libc.fmemopen.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
    file = libc.fmemopen(header, len(header) - 1, b"rb")
    return library.pcap_fopen_offline(file, ctypes.create_string_buffer(256)) if file else None


def _compile(library: Any, handle: int, text: str) -> np.ndarray:
    compiled = _Compiled()
    if library.pcap_compile(
        handle, ctypes.byref(compiled), text.encode("utf-8", "surrogateescape"), 1, _NETMASK_UNKNOWN
    ):
        reason = library.pcap_geterr(handle).decode(errors="replace")
        raise CaptureError(f"filter {text!r}: {reason}; see man pcap-filter")
    try:
        return np.frombuffer(ctypes.string_at(compiled.code, compiled.length * INSTRUCTION.itemsize), INSTRUCTION)
    finally:
        library.pcap_freecode(ctypes.byref(compiled))


def is_there() -> bool:
    """True if libpcap is installed, so that filters can be compiled."""
    try:
        _library()
    except CaptureError:
        return False
    return True


@functools.cache
def _library() -> Any:
    """Load libpcap and declare its functions as <pcap/pcap.h> does."""
    for name in _NAMES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.pcap_open_dead.restype = ctypes.c_void_p
        library.pcap_open_dead.argtypes = (ctypes.c_int, ctypes.c_int)
        library.pcap_fopen_offline.restype = ctypes.c_void_p
        library.pcap_fopen_offline.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
        library.pcap_datalink_val_to_name.restype = ctypes.c_char_p
        library.pcap_datalink_val_to_name.argtypes = (ctypes.c_int,)
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
