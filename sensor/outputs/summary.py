"""The summary: what became of every packet of a run, with every counter under its name."""

import msgspec


class Summary(msgspec.Struct, frozen=True, kw_only=True, tag_field="event_type", tag="summary"):
    """The closing record of a run; times are RFC 3339 in UTC, null where no packet was read."""

    packets_read: int
    packets_decoded: int
    refused: dict[str, int]
    weirds: dict[str, int]
    flows: int
    observations: int
    alerts: int
    """That went out."""
    alerts_withdrawn: int = 0
    """Those of them that were withdrawn when their epochs were over."""
    alerts_suppressed: int
    bytes: int
    first_ts: str | None
    last_ts: str | None
    seconds: float
    packets_per_second: float
    damage: list[str]
    detections: list[str]
    detection_faults: dict[str, int]
    workers: list[str]
    compiled: bool
    capture_loss: float | None = None
    """An estimate of the share (0 to 1) of TCP data that the capture lost, by acknowledgements of what never passed by;
    null where there was none to judge by."""
    counters: dict[str, int]
    """Every other counter: of the capture, the clock, fragments, flows and SumStats."""
    interrupted: bool = False
    """Whether a signal ended it before all of its input was read."""
    hints: list[str] = []
    """What looked wrong about the capture at one time or another, for people."""
