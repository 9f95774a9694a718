"""The summary: what became of every packet of a run, with every counter under its name."""

import msgspec


class Summary(msgspec.Struct, frozen=True, kw_only=True, tag_field="event_type", tag="summary"):
    """The closing record of a run; times are RFC 3339 in UTC, null where no packet was read."""

    packets_read: int
    """Packets from files and interfaces: packets_decoded and all refused ones."""
    packets_decoded: int
    """Packets of which at least a network layer was understood."""
    refused: dict[str, int]
    """Those that could not be decoded, by reason."""
    weirds: dict[str, int]
    """Oddities of decoded packets, by name."""
    flows: int
    """Flows that began."""
    observations: int
    """Observations that detections made of events."""
    alerts: int
    """Alerts that went out."""
    alerts_withdrawn: int = 0
    """Those of them that were withdrawn when their epochs were over."""
    alerts_suppressed: int
    """Repeats and parts of others, which were folded into those."""
    alerts_repeated: int = 0
    """Those of them that were repeats."""
    folded_in: dict[str, int] = {}
    """Repeats folded into alerts, by detection."""
    bytes: int
    """Bytes of the packets on the wire."""
    first_ts: str | None
    """The time of the first packet."""
    last_ts: str | None
    """The time of the last."""
    seconds: float
    """Duration of the run in seconds."""
    packets_per_second: float
    """packets_read in a second of that."""
    damage: list[str]
    """Inputs that could not be read to their end, and where they broke."""
    detections: list[str]
    """Detections that ran, by name."""
    detection_faults: dict[str, int]
    """Exceptions of detections, by name."""
    workers: list[str]
    """Members whose packets these are."""
    compiled: bool
    """True if kernels were compiled; otherwise results are right, but the run was slow."""
    capture_loss: float | None = None
    """An estimate of the share (0 to 1) of TCP data that the capture lost, by acknowledgements of what never passed by;
    null where there was none to judge by."""
    counters: dict[str, int]
    """Every other counter: of the capture, the clock, fragments, flows and SumStats."""
    interrupted: bool = False
    """True if a signal ended the run before all input was read."""
    hints: list[str] = []
    """What looked wrong with the capture during the run, for people."""
