"""The stats: what came, what became of it and what was lost in the last second, each kind of loss by its own name."""

import msgspec


class Tally(msgspec.Struct, frozen=True):
    """A count, in total and in this second."""

    total: int
    """Since the start."""
    rate: float
    """A second, over the time that the record is about."""


class Stats(msgspec.Struct, frozen=True, kw_only=True, tag_field="event_type", tag="stats"):
    """The record of a second, or of more where nothing could be done meanwhile; of less where a run ends."""

    time: str
    """Its end by the system's clock, RFC 3339 in UTC."""
    seconds: float
    """Seconds that the record covers."""
    kernel_packets: Tally
    """Let through by the kernel's filter, lost ones included: packets_delivered + ring_drops, when all was read."""
    packets_delivered: Tally
    """Found in the ring."""
    ring_drops: Tally
    """Lost because the ring was full."""
    nic_drops: Tally
    """Lost by the card or its driver."""
    refused: dict[str, Tally]
    """Packets that could not be decoded, by reason."""
    queue_drops: dict[str, Tally]
    """Losses behind the decoder, by the name of the counter."""
    bytes: Tally
    """Bytes of the packets on the wire."""
    flows: Tally
    """Flows that began."""
    observations: Tally
    """Observations that detections made of events."""
    alerts: Tally
    """Alerts that went out."""
    hints: list[str]
    """What looks wrong with the capture now, for people."""
