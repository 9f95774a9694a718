"""Use: flows that show that a service is used; they are reported once in each slot of time and contact."""

import numpy as np

from sensor._jit import njit
from sensor.clock import SECOND
from sensor.flows.contacts import SLOT as TIME_SLOT
from sensor.flows.contacts import note_open, note_used
from sensor.flows.event_writer import write_used
from sensor.flows.flow import (
    CONFIRMED,
    COUNTED,
    ORIG_KNOWN,
    USED,
    has_mark,
    set_mark,
    went_both_ways,
)
from sensor.packet import (
    PROTO_TCP,
    PROTO_UDP,
)

_CONTROL = (21, 990)
_STREAM_PACKETS, _STREAM_TIME = 10, 5 * SECOND


@njit
def _is_control(flow):
    """True if this may be a control connection of FTP, which announces others (RFC 959, RFC 4217)."""
    return np.int64(flow["proto"]) == PROTO_TCP and np.int64(flow["resp_p"]) in _CONTROL


@njit
def _is_stream(flow):
    """True if many datagrams have gone one way for some time: a probe is repeated a few times at most."""
    is_long = flow["pkts"][0] > _STREAM_PACKETS and flow["last"] - flow["first"] >= _STREAM_TIME
    return is_long and np.int64(flow["proto"]) == PROTO_UDP and has_mark(flow, ORIG_KNOWN)


@njit
def follow_use(table, flow, before, now):
    """Report the use of a service: when data has first gone both ways, and in each time slot in which it continues.

    If an answer is not seen but acknowledged, the originator's data alone shows it. A stream of datagrams (RTP, syslog,
    NetFlow) uses the service too, though it needs no answer. flow: a FLOW row; before, now: ns.
    """
    if not has_mark(flow, COUNTED) and _is_control(flow) and went_both_ways(flow):
        set_mark(flow, COUNTED)
        note_open(table.contacts, table.state, flow, 1, now)
    if has_mark(flow, USED):
        if now // TIME_SLOT == before // TIME_SLOT:
            return
    elif went_both_ways(flow) or (has_mark(flow, CONFIRMED) and flow["bytes"][0] > 0) or _is_stream(flow):
        set_mark(flow, USED)
    else:
        return
    contact = note_used(table.contacts, table.state, flow, went_both_ways(flow), now)
    if contact >= 0:
        write_used(table.out, table.state, table.contacts.rows[contact], flow, now)
