"""The summary: what became of every packet of a run, with every counter under its name."""

import msgspec


class Summary(msgspec.Struct, frozen=True, kw_only=True, tag_field="event_type", tag="summary"):
    """The closing record of a run; times are RFC 3339 in UTC, null where no packet was read."""

    packets_read: int
    """That came from files and interfaces: packets_decoded and all that were refused."""
    packets_decoded: int
    """That have a network layer, at least."""
    refused: dict[str, int]
    """Those that could not be decoded, by reason."""
    weirds: dict[str, int]
    """What was odd about packets that could be decoded, by name."""
    flows: int
    """That began."""
    observations: int
    """That detections made of events."""
    alerts: int
    """That went out."""
    alerts_withdrawn: int = 0
    """Those of them that were withdrawn when their epochs were over."""
    alerts_suppressed: int
    """Repeats and parts of others, which were folded into those."""
    alerts_repeated: int = 0
    """Those of them that were repeats."""
    folded_in: dict[str, int] = {}
    """How many were folded in, by the detection whose they would have been."""
    bytes: int
    """Of the packets, on the wire."""
    first_ts: str | None
    """The time of the first packet."""
    last_ts: str | None
    """The time of the last."""
    seconds: float
    """How long the run took."""
    packets_per_second: float
    """packets_read in a second of that."""
    damage: list[str]
    """What could not be read of inputs, and where."""
    detections: list[str]
    """What ran, by name."""
    detection_faults: dict[str, int]
    """How often detections raised, by name."""
    workers: list[str]
    """Whose packets these are."""
    compiled: bool
    """Whether kernels were compiled; else all was right, but slow."""
    capture_loss: float | None = None
    """An estimate of the share (0 to 1) of TCP data that the capture lost, by acknowledgements of what never passed by;
    null where there was none to judge by."""
    counters: dict[str, int]
    """Every other counter: of the capture, the clock, fragments, flows and SumStats."""
    interrupted: bool = False
    """Whether a signal ended it before all of its input was read."""
    hints: list[str] = []
    """What looked wrong about the capture at one time or another, for people."""
