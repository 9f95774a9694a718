"""The pcap file format (draft-ietf-opsawg-pcap), either byte order, microseconds or nanoseconds."""

import numpy as np

from sensor._jit import njit
from sensor.capture.errors import Broken
from sensor.capture.files.byte_order import u32
from sensor.capture.files.reader import (
    BAD_SUBSECOND,
    BYTES,
    FULL,
    LONG_CAPLEN,
    MORE,
    PACKETS,
    check_end,
    cut_short,
)
from sensor.capture.files.stream import ByteStream
from sensor.capture.prefetch import fetch
from sensor.clock import SECOND
from sensor.packet import CAPLEN_MAX

FILE_HEADER, RECORD_HEADER, KUZNETZOV_HEADER = 24, 16, 24

MICRO, NANO = 0xA1B2C3D4, 0xA1B23C4D
KUZNETZOV = 0xA1B2CD34
"""Microseconds, and longer record headers, as written by the libpcap of Red Hat 6 and AVM's routers: eight more bytes
for interface, protocol and direction, which are skipped."""
MAGICS = (MICRO, NANO, KUZNETZOV)

MODIFIED = {
    0xA1B234CD: "pcap with Mesquita's modified record headers",
    0xA12B3C4D: "pcap as modified by Navtel",
    0x1C0001AC: "pcap as modified by IXIA (hardware)",
    0x1C0001AB: "pcap as modified by IXIA (software)",
    0xA1B2C3CB: "a file of BPF programs",
}
"""Formats with a magic number like pcap's whose records differ (libpcap, sf-pcap.c; Wireshark, wiretap/libpcap.h)."""

_TOO_LONG = 2
_AHEAD = 2048  # bytes fetched ahead of the walk; 1024 to 8192 measure alike

LAYOUT = np.dtype(
    [
        ("big", "?"),
        ("caplen_at", "i8"),  # offset in a record header; old versions swapped the two lengths
        ("wirelen_at", "i8"),
        ("header", "i8"),  # bytes of a record header
        ("unit", "i8"),  # ns in one unit of the fraction
        ("linktype", "u2"),
    ],
    align=True,
)
"""The layout of one file."""


@njit
def index_records(data, at, end, layout, frames, counts):
    """Fill FRAME rows from the records in data[at:end]; return (rows, start of the next record, reason to stop).

    data: uint8; layout: one LAYOUT row; counts: int64, by the positions in `reader.py`.
    """
    big, unit, linktype = layout[0]["big"], layout[0]["unit"], layout[0]["linktype"]
    caplen_at, wirelen_at, header = layout[0]["caplen_at"], layout[0]["wirelen_at"], layout[0]["header"]
    captured, bad_subsecond, long_caplen = 0, 0, 0
    n, why = 0, FULL
    fetched = at
    while n < frames.shape[0]:
        fetched = fetch(data, fetched, min(at + _AHEAD, end))
        if end - at < header:
            why = MORE
            break
        caplen = u32(data, at + caplen_at, big)
        if caplen > CAPLEN_MAX:
            why = _TOO_LONG
            break
        if end - at - header < caplen:
            why = MORE
            break
        wirelen = u32(data, at + wirelen_at, big)
        fraction = u32(data, at + 4, big) * unit
        bad_subsecond += fraction >= SECOND
        long_caplen += caplen > wirelen
        frames["ts"][n] = u32(data, at, big) * SECOND + fraction
        frames["offset"][n] = at + header
        frames["caplen"][n] = caplen
        frames["wirelen"][n] = wirelen
        frames["buffer"][n] = 0
        frames["linktype"][n] = linktype
        frames["interface"][n] = 0
        captured += caplen
        at += header + caplen
        n += 1
    counts[PACKETS] += n
    counts[BYTES] += captured
    counts[BAD_SUBSECOND] += bad_subsecond
    counts[LONG_CAPLEN] += long_caplen
    return n, at, why


class Pcap:
    """Reads a pcap file; raises Broken if its header is cut short or its version has no known layout."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        if not stream.need(FILE_HEADER):
            raise cut_short(stream, "its file header")
        header = stream.data[stream.at : stream.at + FILE_HEADER].tobytes()
        order = "big" if int.from_bytes(header[:4], "big") in MAGICS else "little"
        fields = np.frombuffer(header, ">u4" if order == "big" else "<u4")
        major, minor = np.frombuffer(header[4:8], ">u2" if order == "big" else "<u2").tolist()
        if major < 2:
            raise Broken(
                0, f"pcap of version {major}.{minor}, which is not read: convert it with an old tcpdump", refused=True
            )
        swapped = minor < 3 or major == 543  # as in libpcap: 2.0 to 2.2, and DG/UX's 543.0
        self._layout = np.zeros(1, LAYOUT)
        self._layout[0] = (
            order == "big",
            12 if swapped else 8,
            8 if swapped else 12,
            KUZNETZOV_HEADER if fields[0] == KUZNETZOV else RECORD_HEADER,
            1 if fields[0] == NANO else 1000,
            int(fields[5]) & 0xFFFF,  # the high bits hold the length of the frame check sequence
        )
        stream.skip(FILE_HEADER)

    def read(self, frames: np.ndarray, counts: np.ndarray) -> int:
        """Fill rows of `frames` with the next packets; see Reader."""
        stream = self.stream
        while True:
            n, stream.at, why = index_records(stream.data, stream.at, stream.filled, self._layout, frames, counts)
            if n:
                return int(n)
            if why == _TOO_LONG:
                raise Broken(stream.offset, f"a packet claims {self._caplen()} captured bytes, above {CAPLEN_MAX}")
            if not stream.need(stream.left + 1):
                self._finish()
                return 0

    def _finish(self) -> None:
        header = int(self._layout[0]["header"])
        if not self.stream.left:
            check_end(self.stream)
        elif self.stream.left < header:
            raise cut_short(self.stream, f"a record header, after {self.stream.left} of {header} bytes")
        else:
            there = self.stream.left - header
            raise cut_short(self.stream, f"a packet, after {there} of {self._caplen()} bytes")

    def _caplen(self) -> int:
        layout = self._layout[0]
        return int(u32(self.stream.data, self.stream.at + int(layout["caplen_at"]), bool(layout["big"])))
