"""The summary that a node closes with, made of what its manager counted."""

from collections.abc import Iterable

from sensor import _jit
from sensor.clock import rfc3339
from sensor.cluster.manager import Manager
from sensor.config import Settings
from sensor.flows.capture_loss import capture_loss
from sensor.outputs.summary import Summary


def summarise(
    manager: Manager, settings: Settings, seconds: float, damage: Iterable[str], hints: Iterable[str] = ()
) -> Summary:
    """Return the summary of a run: the fate of every packet."""
    counts = manager.counts()
    return Summary(
        packets_read=counts.captured,
        packets_decoded=counts.packets_decoded,
        refused=counts.refused,
        weirds=counts.weirds,
        flows=counts.flows,
        observations=counts.observations,
        alerts=manager.alerts,
        alerts_withdrawn=manager.withdrawn,
        alerts_suppressed=manager.suppressed,
        alerts_repeated=manager.repeated,
        folded_in=manager.folded_in,
        bytes=counts.bytes,
        first_ts=None if counts.first_ts is None else rfc3339(counts.first_ts),
        last_ts=None if counts.last_ts is None else rfc3339(counts.last_ts),
        seconds=round(seconds, 6),
        packets_per_second=round(counts.packets_read / seconds, 1) if seconds else 0.0,
        damage=list(damage),
        detections=[each.name for each in settings.detections],
        detection_faults=counts.faults,
        workers=manager.workers,
        compiled=_jit.COMPILED,
        counters=counts.counters | manager.counters,
        capture_loss=capture_loss(counts.counters) if "tcp_acks" in counts.counters else None,
        hints=list(hints),
    )


def unaccounted(summary: Summary) -> int:
    """Return the packets that were read and neither decoded nor refused: anything but 0 is a defect of ours."""
    return summary.packets_read - summary.packets_decoded - sum(summary.refused.values())
