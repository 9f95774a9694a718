"""The status of a node as the manager sees it."""

from typing import Literal

from sensor.cluster.membership import NOWHERE, Member
from sensor.cluster.messages import NodeStatus
from sensor.cluster.pace import Pace, loss


def node_status(member: Member, pace: Pace | None, now: float, furthest: int, deadline_s: float) -> NodeStatus:
    """Return the status of a member at time `now` (s); `furthest` (ns) is the packet clock of the furthest member."""
    state: Literal["expected", "up", "late", "down", "done", "left"]
    state = "up" if member.is_up else "down" if member.incarnation >= 0 else "expected"
    if member.has_left or member.is_done:
        state = "left" if member.has_left else "done"
    elif state == "down" and now - member.heard < deadline_s:
        state = "late"
    is_placed = member.position != NOWHERE
    watermark = member.position[1] if is_placed else None
    lag = (furthest - member.position[1]) / 1e9 if is_placed and not member.is_done else None
    counts = member.before + member.counts
    lost = counts.counters.get("sumstats_observations_evicted", 0) + sum(counts.refused.values())
    pace = pace if state == "up" else None
    return NodeStatus(
        name=member.name,
        state=state,
        version=member.version,
        incarnation=member.incarnation,
        watermark=watermark,
        lag_s=lag,
        packets=counts.packets_read,
        lost=lost,
        packets_per_second=round(pace.packets_per_second, 1) if pace else None,
        loss=loss(counts.counters),
        loss_now=pace.loss if pace else None,
        late=member.late.epochs,
    )
