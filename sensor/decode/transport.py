"""Transport layers: TCP (RFC 9293), UDP (RFC 768), ICMP (RFC 792), ICMPv6 (RFC 4443), SCTP (RFC 9260).

`payload_len` is the length by the headers, captured or not. A first fragment that holds the whole header is described
like any other packet, with its part of the payload; one that does not stays a fragment. An unfragmented packet whose
header the snap length cut behind the ports is described with its ports.
"""

import numpy as np

from sensor._jit import njit
from sensor.address import V4_LO
from sensor.decode.layers import DONE, STOP, TCP, UDP, flag, readable, u16, u32, u64
from sensor.decode.layers import ICMP as ICMP_LAYER
from sensor.decode.network import is_extension
from sensor.decode.ports import by_ports
from sensor.packet import Kind
from sensor.weird import Weird

_V4_LO = np.uint64(V4_LO)
_MAX_QUOTED_EXTENSIONS = 8


@njit
def transport(frame, row, layer, at, end, ports):
    """Strip the transport's header; the next layer is DONE, or a tunnel over UDP.

    frame: uint8; row: a PACKET row; ports: uint8, the table of tunnels by UDP port.
    """
    if layer == TCP:
        return _tcp(frame, row, at, end), at, end
    if layer == UDP:
        return _udp(frame, row, at, end, ports)
    if layer == ICMP_LAYER:
        return _icmp(frame, row, at, end), at, end
    return _sctp(frame, row, at, end), at, end


@njit
def _describe(frame, row, kind, at, header, end):
    row["kind"] = kind
    row["payload"] = at + header
    row["payload_len"] = end - at - header
    if kind != Kind.ICMP:
        row["src_port"] = u16(frame, at)
        row["dst_port"] = u16(frame, at + 2)


@njit
def _cut(frame, row, kind, at, header, end, weird):
    """Handle an incomplete header: keep the ports if they are there and the snap length cut off the rest."""
    is_by_snaplen = end - at >= header and at + 4 <= frame.shape[0]
    if not is_by_snaplen or row["kind"] == Kind.FRAGMENT:
        return STOP + weird
    flag(row, weird)
    _describe(frame, row, kind, at, header, end)
    return DONE


@njit
def _tcp(frame, row, at, end):
    if at + 20 > readable(frame, end):
        layer = _cut(frame, row, Kind.TCP_CUT, at, 20, end, Weird.TRUNCATED_TCP)
        if layer == DONE:
            row["payload_len"] = 0  # the rest may be options only
        return layer
    header = np.int64(frame[at + 12] >> 4) * 4
    if header < 20 or header > end - at:
        return STOP + Weird.BAD_TCP_HEADER_LENGTH
    _describe(frame, row, Kind.TCP, at, header, end)
    row["seq"] = u32(frame, at + 4)
    row["ack"] = u32(frame, at + 8)
    row["tcp_flags"] = frame[at + 13]
    row["window"] = u16(frame, at + 14)
    row["tcp_options"] = header - 20
    return DONE


@njit
def _udp(frame, row, at, end, ports):
    if at + 8 > readable(frame, end):
        return _cut(frame, row, Kind.UDP, at, 8, end, Weird.TRUNCATED_UDP), at, end
    length = u16(frame, at + 4)
    if 0 < length < 8:
        return STOP + Weird.BAD_UDP_LENGTH, at, end
    if length:  # 0 in a jumbogram (RFC 2675)
        if length != end - at and row["kind"] != Kind.FRAGMENT:
            flag(row, Weird.UDP_DATAGRAM_LENGTH_MISMATCH)
        end = min(end, at + length)
    _describe(frame, row, Kind.UDP, at, 8, end)
    return by_ports(ports, row["src_port"], row["dst_port"]), at + 8, end


@njit
def _sctp(frame, row, at, end):
    if at + 12 > readable(frame, end):
        return _cut(frame, row, Kind.SCTP, at, 12, end, Weird.TRUNCATED_SCTP)
    _describe(frame, row, Kind.SCTP, at, 12, end)
    if at + 12 < readable(frame, end):
        row["sctp_chunk"] = frame[at + 12]
    return DONE


@njit
def _icmp(frame, row, at, end):
    have = readable(frame, end)
    if at + 8 > have:
        return STOP + Weird.TRUNCATED_ICMP
    _describe(frame, row, Kind.ICMP, at, 8, end)
    kind = frame[at]
    row["icmp_type"] = kind
    row["icmp_code"] = frame[at + 1]
    if row["ip_version"] == 4:
        is_error = kind == 3 or kind == 4 or kind == 5 or kind == 11 or kind == 12
    else:
        is_error = 1 <= kind <= 4
    if is_error:
        _quoted(frame, row, at + 8, have)
    return DONE


@njit
def _quoted(frame, row, at, have):
    """Fill the columns of the packet that an ICMP error quotes, as far as quoted; a short quote is not odd."""
    if row["ip_version"] == 4 and at + 20 <= have and frame[at] >> 4 == 4:
        row["quoted_src_lo"] = _V4_LO | np.uint64(u32(frame, at + 12))
        row["quoted_dst_lo"] = _V4_LO | np.uint64(u32(frame, at + 16))
        is_first = u16(frame, at + 6) & 0x1FFF == 0
        _quoted_ports(frame, row, frame[at + 9], at + np.int64(frame[at] & 15) * 4, have if is_first else 0)
    elif row["ip_version"] == 6 and at + 40 <= have and frame[at] >> 4 == 6:
        row["quoted_src_hi"] = u64(frame, at + 8)
        row["quoted_src_lo"] = u64(frame, at + 16)
        row["quoted_dst_hi"] = u64(frame, at + 24)
        row["quoted_dst_lo"] = u64(frame, at + 32)
        _quoted_extensions(frame, row, frame[at + 6], at + 40, have)


@njit
def _quoted_extensions(frame, row, proto, at, have):
    for _ in range(_MAX_QUOTED_EXTENSIONS):
        if not is_extension(proto) or at + 8 > have:
            break
        if proto == 44 and u16(frame, at + 2) & 0xFFF8:
            have = 0
        length = np.int64(frame[at + 1])
        length = 8 if proto == 44 else (length + 2) * 4 if proto == 51 else (length + 1) * 8
        proto, at = frame[at], at + length
    _quoted_ports(frame, row, proto, at, have)


@njit
def _quoted_ports(frame, row, proto, at, have):
    row["quoted_proto"] = proto
    has_ports = proto == 6 or proto == 17 or proto == 132
    if has_ports and at + 4 <= have:
        row["quoted_src_port"] = u16(frame, at)
        row["quoted_dst_port"] = u16(frame, at + 2)
    elif (proto == 1 or proto == 58) and at + 2 <= have:
        row["quoted_src_port"] = frame[at]
        row["quoted_dst_port"] = frame[at + 1]
