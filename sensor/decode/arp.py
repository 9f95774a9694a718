"""ARP (RFC 826) for IPv4 over addresses of six bytes."""

import numpy as np

from sensor._jit import njit
from sensor.address import V4_LO
from sensor.decode.layers import DONE, STOP, enter, flag, readable, u16, u32, u64
from sensor.packet import Kind
from sensor.weird import Weird

_V4_LO = np.uint64(V4_LO)
_MAC = np.uint64(0xFFFF_FFFF_FFFF)


@njit
def arp(frame, row, at, end, tunnel):
    """Decode a message into `row` (PACKET); sender and target are its source and destination. frame: uint8."""
    have = readable(frame, end)
    if at + 8 > have:
        return STOP + Weird.TRUNCATED_ARP, at, end
    if u32(frame, at + 2) != 0x0800_0604:  # IPv4 over addresses of six bytes
        return STOP + Weird.CORRUPT_ARP_HEADER, at, end
    if at + 28 > have:
        return STOP + Weird.TRUNCATED_ARP, at, end
    enter(row, 0, tunnel, 0, 0)
    row["kind"] = Kind.ARP
    row["payload"] = 0
    row["payload_len"] = 0
    operation = u16(frame, at + 6)
    row["arp_op"] = min(operation, 255)
    if operation != 1 and operation != 2:
        flag(row, Weird.UNKNOWN_ARP_OPCODE)
    row["sha"] = u64(frame, at + 6) & _MAC
    row["src_hi"] = 0
    row["src_lo"] = _V4_LO | np.uint64(u32(frame, at + 14))
    row["tha"] = u64(frame, at + 16) & _MAC
    row["dst_hi"] = 0
    row["dst_lo"] = _V4_LO | np.uint64(u32(frame, at + 24))
    return DONE, at + 28, end
