"""Link types: the numbers by which captures name the frames' first layer (LINKTYPE_, at tcpdump.org)."""

import numpy as np

from sensor._jit import njit
from sensor.decode.layers import (
    CISCO_HDLC,
    ENC,
    ERF,
    ETHERNET,
    FDDI,
    FRAME_RELAY,
    IPOIB,
    IPV4,
    IPV6,
    LINUX_SLL,
    LINUX_SLL2,
    NFLOG,
    NULL,
    PFLOG,
    PKTAP,
    PPI,
    PPP,
    PPP_DIRECTED,
    PPPOE,
    PRISM,
    RADIOTAP,
    RAW_IP,
    RFC1483,
    STOP,
    WIFI,
)
from sensor.weird import Refusal

LAYERS = {
    0: NULL,
    1: ETHERNET,
    9: PPP,
    10: FDDI,
    12: RAW_IP,
    14: RAW_IP,
    50: PPP,
    51: PPPOE,
    100: RFC1483,
    101: RAW_IP,
    104: CISCO_HDLC,
    105: WIFI,
    107: FRAME_RELAY,
    108: NULL,
    109: ENC,
    113: LINUX_SLL,
    117: PFLOG,
    119: PRISM,
    127: RADIOTAP,
    163: PRISM,
    192: PPI,
    197: ERF,
    204: PPP_DIRECTED,
    228: IPV4,
    229: IPV6,
    239: NFLOG,
    242: IPOIB,
    258: PKTAP,
    276: LINUX_SLL2,
}
"""The first layer of each link type."""

_UNKNOWN = STOP + int(Refusal.UNKNOWN_LINKTYPE)
_BY_LINKTYPE = np.array([LAYERS.get(each, _UNKNOWN) for each in range(max(LAYERS) + 1)], np.uint8)


@njit
def by_linktype(linktype):
    """Return the first layer of a link type."""
    return np.int64(_BY_LINKTYPE[linktype]) if linktype < _BY_LINKTYPE.shape[0] else _UNKNOWN
