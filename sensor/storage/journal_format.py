"""The format of a journal's file: a header, then frames, each with a checksum that no stale or moved bytes pass.

    header   "SJNL", version u16, whether a snapshot is the first frame u16, generation u64, CRC-32 of these u32
    frame    mark f5 "REC", length u32, CRC-32 u32, payload

All numbers are little-endian. A frame's CRC-32 covers generation u64, position in the file u64, length u64 and payload.
It protects against accidents only, as no other user may write to the file: it detects every error burst of up to 32
bits, and all but one in four billion of other errors. The header keeps this layout in all later versions, so that they
can be recognized.
"""

import struct
import zlib
from dataclasses import dataclass

VERSION = 1

_HEADER = struct.Struct("<4sHHQ")
_CHECK = struct.Struct("<I")
_MAGIC = b"SJNL"
_FRAME = struct.Struct("<4sII")
_MARK = b"\xf5REC"
_ABOUT = struct.Struct("<QQQ")


class LaterVersion(ValueError):
    """The file was written by a later version of the sensor."""


@dataclass(frozen=True)
class Contents:
    """The contents of one file."""

    snapshot: bytes | None
    records: list[bytes]
    first: int
    """Start of the records (bytes)."""
    end: int
    """End of the whole records (bytes)."""
    followed: bool
    """True if whole frames follow `end`: a crash cannot cause that, so the part between is damaged."""


def header(generation: int, has_snapshot: bool) -> bytes:
    """Return the header of a file."""
    head = _HEADER.pack(_MAGIC, VERSION, has_snapshot, generation)
    return head + _CHECK.pack(zlib.crc32(head))


def frame_head(generation: int, position: int, payload: bytes) -> bytes:
    """Return the frame header for a payload at a position of the file (bytes)."""
    return _FRAME.pack(_MARK, len(payload), _checksum(generation, position, payload))


def parse(data: bytes, generation: int) -> Contents:
    """Parse a file up to the first incomplete or damaged record.

    ValueError with the reason if the header or the snapshot is damaged; `LaterVersion` for a file of a later version.
    """
    first, has_snapshot = _parse_header(data, generation)
    snapshot = None
    if has_snapshot:
        snapshot = _payload(data, first, generation)
        if snapshot is None:
            raise ValueError("its snapshot is damaged")
        first += _FRAME.size + len(snapshot)
    records, end = [], first
    while (record := _payload(data, end, generation)) is not None:
        records.append(record)
        end += _FRAME.size + len(record)
    return Contents(snapshot, records, first, end, _is_followed(data, end, generation))


def _parse_header(data: bytes, generation: int) -> tuple[int, bool]:
    size = _HEADER.size + _CHECK.size
    if len(data) < size or zlib.crc32(data[: _HEADER.size]) != _CHECK.unpack_from(data, _HEADER.size)[0]:
        raise ValueError("its header is damaged")
    magic, version, has_snapshot, written = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise ValueError("it is no journal")
    if version > VERSION:
        raise LaterVersion(f"it is of version {version}, and this sensor reads up to version {VERSION}")
    if written != generation:
        raise ValueError(f"it is of generation {written}, and was given another name")
    return size, bool(has_snapshot)


def _payload(data: bytes, position: int, generation: int) -> bytes | None:
    """Return the payload of the frame at a position (bytes); None if no whole frame is there."""
    start = position + _FRAME.size
    if start > len(data):
        return None
    mark, length, checksum = _FRAME.unpack_from(data, position)
    if mark != _MARK or start + length > len(data):
        return None
    payload = data[start : start + length]
    return payload if _checksum(generation, position, payload) == checksum else None


def _is_followed(data: bytes, end: int, generation: int) -> bool:
    position = data.find(_MARK, end + 1)
    while position >= 0:
        if _payload(data, position, generation) is not None:
            return True
        position = data.find(_MARK, position + 1)
    return False


def _checksum(generation: int, position: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_ABOUT.pack(generation, position, len(payload))))
