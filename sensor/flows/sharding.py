"""Shares: assign each packet to a worker, where several read the same traffic, as the parts of one capture file.

The pair of hosts decides, in either direction: all packets of a flow, and its fragments without ports, go to one
worker, and so does an ICMP error about a packet of the flow. The other workers see that time passes, and that a socket
has asked a multicast or broadcast address, as answers may come from hosts of their share.
"""

import numpy as np

from sensor._jit import njit
from sensor.flows.key import is_to_many
from sensor.hash import hash_five
from sensor.packet import Kind

_KEY = np.array([0x73656E736F72, 0x7368617265], np.uint64)  # the same on all workers
_NONE = np.uint64(0)
_UDP, _WITNESS = int(Kind.UDP), int(Kind.WITNESS)


@njit
def _worker_of(key, packet, of):
    src_hi, src_lo, dst_hi, dst_lo = packet["src_hi"], packet["src_lo"], packet["dst_hi"], packet["dst_lo"]
    if packet["quoted_proto"] != 0:
        src_hi, src_lo = packet["quoted_src_hi"], packet["quoted_src_lo"]
        dst_hi, dst_lo = packet["quoted_dst_hi"], packet["quoted_dst_lo"]
    if src_hi > dst_hi or (src_hi == dst_hi and src_lo > dst_lo):
        src_hi, src_lo, dst_hi, dst_lo = dst_hi, dst_lo, src_hi, src_lo
    return np.int64(hash_five(key, src_hi, src_lo, dst_hi, dst_lo, _NONE) % np.uint64(of))


@njit
def _keep(key, packets, own, of, mine):
    for i in range(packets.shape[0]):
        packet = packets[i]
        mine[i] = (0 if packet["refused"] != 0 else _worker_of(key, packet, of)) == own
        if not mine[i]:
            packet["kind"] = _WITNESS if packet["kind"] == _UDP and is_to_many(packet) else 0


def keep_share(packets: np.ndarray, own: int, of: int) -> np.ndarray:
    """Blank the PACKET rows that are not in share `own` (from 0) of `of` shares, so that they are ignored.

    Return a mask (bool) of the rows in the share; refused packets are in share 0.
    """
    mine = np.empty(len(packets), np.bool_)
    _keep(_KEY, packets, own, of, mine)
    return mine
