"""The messages between workers, the manager and observers, with the names of Zeek's protocol.

Every message about results gives its definition, SumStat, epoch, worker and incarnation. Messages that must arrive are
numbered per worker and incarnation (`sequence`, from 1), so repeated, late or reordered ones change nothing. Messages
that only make alerts earlier, or save work, are not numbered and may get lost.
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from sensor.bus.message import Message
from sensor.pki.credentials import Role


class Counts(msgspec.Struct):
    """Counts of a worker's packets; those of several workers are summed."""

    captured: int = 0
    """Packets that the capture source reports; counted separately from the other fields."""
    packets_read: int = 0
    packets_decoded: int = 0
    refused: dict[str, int] = {}
    weirds: dict[str, int] = {}
    flows: int = 0
    observations: int = 0
    bytes: int = 0
    first_ts: int | None = None
    last_ts: int | None = None
    faults: dict[str, int] = {}
    counters: dict[str, int] = {}

    def __add__(self, other: "Counts") -> "Counts":
        merged: dict[str, Any] = {}
        for name in self.__struct_fields__:
            merge: Callable[[Any, Any], Any] = _MERGE.get(name, _add)
            merged[name] = merge(getattr(self, name), getattr(other, name))
        return Counts(**merged)


class Observed(msgspec.Struct, frozen=True):
    """Single observations of one stream, unreduced."""

    stream: str
    keys: bytes
    ts: bytes
    values: dict[str, bytes]
    """Values by reducer."""


class PackedPartial(msgspec.Struct, frozen=True):
    """A partial result as it is sent: the raw bytes of its arrays, whose types both ends know from the definition."""

    keys: bytes
    headers: dict[str, bytes]
    """Arrays by stream."""
    states: dict[str, dict[str, bytes]]
    """Arrays by reducer and array name."""
    support: list[Observed] = []


class Hello(Message, frozen=True):
    """The first message of a node: its identity, and where it continues."""

    name: str
    role: Role
    version: str
    """The sensor's version."""
    digest: str = ""
    """Digest of all its definitions: a worker with other settings is refused, with a readable reason."""
    incarnation: int = 0
    """Incarnation of the process: a later one of the same name fences off all earlier ones."""
    sequence: int = 0
    """The first numbered message that the node still holds."""
    replays: bool = False
    """True if its input can be read again from the start, so a crash loses nothing."""
    started: int | None = None
    """The packet time (ns) at which it began to observe input that cannot be read again; None: before all epochs."""
    continues: bool = False
    """True if it continues the counts of its last incarnation, as it only reloaded its settings."""
    parts: dict[str, str] = {}
    """Digests of its SumStats and of its detections' files, by name, so that a difference can be named."""


class Welcome(Message, frozen=True):
    """The manager's answer to a hello, with the point from which the worker continues."""

    sequence: int
    """The last numbered message of this incarnation that is applied and durable; this acknowledges it."""
    members: list[str]
    """The workers whose results an epoch waits for."""
    early: bool = False
    """True if the manager wants reports of keys before their epoch is over."""
    by_hand: dict[str, int] = {}
    """The first open epoch of each SumStat whose epochs end by hand."""

    def without_promise(self, hello: Hello) -> "Welcome":
        """Return the answer to use until the applied messages are durable: it acknowledges nothing new."""
        return msgspec.structs.replace(self, sequence=hello.sequence - 1)


class Ack(Message, frozen=True):
    """The manager has applied all numbered messages up to this one and made them durable."""

    incarnation: int
    sequence: int


class ClusterSsRequest(Message, frozen=True):
    """A request to end an epoch that ends by hand, and to send its results."""

    sumstat: str
    epoch: int


class ClusterSsResponse(Message, frozen=True):
    """A group of keys of a worker's epoch (with hopping windows: pane) that is over; the last group is `done`."""

    definition: str
    sumstat: str
    epoch: int
    worker: str
    incarnation: int
    sequence: int
    group: int
    """The group's number within the epoch, from 0."""
    columns: PackedPartial
    done: bool
    following: int = 0
    """The epoch that the worker has entered; it observed nothing in those between. This field and the following ones
    are set in the last group only."""
    start: int = 0
    end: int = 0
    lost: int = 0
    """Observations left out because there was no room for them."""
    given_up: bool = False
    """True if the worker had no room to hold the results until acknowledged: some or all are missing."""
    run: int = 0
    """Number of times the worker's packet clock had restarted."""


class ClusterSsSeries(Message, frozen=True):
    """Several ended epochs of a worker with few keys each; the number of the epoch is appended to each key."""

    definition: str
    sumstat: str
    worker: str
    incarnation: int
    sequence: int
    epochs: bytes
    """int64, ascending; nothing was observed in the epochs between any two."""
    columns: PackedPartial
    following: int
    """The epoch that the worker has entered after the last of them."""
    start: int
    """Start of the first epoch (ns)."""
    run: int = 0
    """Number of times the worker's packet clock had restarted."""


class ClusterKeyIntermediateResponse(Message, frozen=True):
    """Keys in a worker's open window that grew by their share of the distance to the next level."""

    definition: str
    sumstat: str
    epoch: int
    worker: str
    incarnation: int
    start: int
    """Start of the epoch (ns)."""
    ts: bytes
    """int64 (m,): when each key grew by its share (ns)."""
    order: bytes
    """int64 (m,): number of the worker's event for each key; it orders crossings of several SumStats."""
    keys: bytes
    """uint64 (m, key_words)."""
    value: bytes
    """float64 (m,): the value of each key on this worker alone."""
    run: int = 0
    """Number of times the worker's packet clock had restarted."""
    columns: PackedPartial | None = None
    """The worker's results for the keys, if it is the only one; several workers are asked for them instead."""


class ClusterKeyRequest(Message, frozen=True):
    """A request for the worker's results of some keys in its open window."""

    request: int
    sumstat: str
    epoch: int
    """The epoch asked about; -1: the open one."""
    keys: bytes = b""
    """uint64 (m, key_words); if empty, the keys that match the following fields:"""
    mask: list[int] = []
    value: list[int] = []
    top: int = 0
    by: str = ""


class ClusterKeyResponse(Message, frozen=True):
    """The answer to a `ClusterKeyRequest`; empty if the worker knows none of the keys."""

    request: int
    definition: str
    sumstat: str
    epoch: int
    worker: str
    incarnation: int
    start: int
    """Start of the epoch (ns)."""
    columns: PackedPartial
    run: int = 0
    """Number of times the worker's packet clock had restarted."""
    left: int = 0
    """Number of keys left out because there was no room for them: those with the least values."""
    below: float = 0.0
    """The greatest value among the keys left out."""


class ClusterShare(Message, frozen=True):
    """The growth of each key's value that a worker need not report, computed from all members' merged views."""

    sumstat: str
    epoch: int
    keys: bytes
    share: bytes
    """float64 (m,)."""


class ClusterThresholdCrossed(Message, frozen=True):
    """Keys that reached all their levels in an epoch, and whose alert stands until a time (ns): workers skip them."""

    sumstat: str
    epoch: int
    keys: bytes
    until: int
    run: int = 0
    """Number of times the clocks had restarted."""


class ThresholdsReset(Message, frozen=True):
    """An epoch is over for all members: shares of keys in it, or in earlier epochs, are void."""

    sumstat: str
    epoch: int


class DetectionSwitchedOff(Message, frozen=True):
    """A detection that raised too many exceptions on a worker and is switched off there."""

    worker: str
    incarnation: int
    sequence: int
    detection: str
    ts: int


class Heartbeat(Message, frozen=True):
    """A worker's progress: everything observed up to its watermark was sent before, in numbered messages."""

    worker: str
    incarnation: int
    sequence: int
    run: int
    """Number of times its packet clock had restarted."""
    watermark: int | None
    """The packet clock (ns); None: nothing has been read yet."""
    counts: Counts
    done: bool = False
    """True if its input has ended and all results were sent."""
    read: int = 0
    """Bytes of input read."""
    damage: list[str] = []
    """Parts of the input that could not be read, for people."""
    hints: list[str] = []
    """Current problems of the capture, for people."""


class Delivered(Message, frozen=True):
    """A worker whose input has ended has received the last acknowledgement, and exits."""

    worker: str
    incarnation: int


class CertificateRequest(Message, frozen=True):
    """A worker's request for a new certificate of its key, before the present one expires."""

    request: bytes
    """PKCS #10, DER."""


class CertificateIssued(Message, frozen=True):
    """The certificate (PEM) that the worker requested."""

    certificate: bytes


class StatusRequest(Message, frozen=True):
    """An observer's request for the status of the cluster."""


class NodeStatus(msgspec.Struct, frozen=True):
    """The status of one node as the manager sees it."""

    name: str
    state: Literal["expected", "up", "late", "down", "done", "left"]
    version: str
    incarnation: int
    watermark: int | None
    """Its packet clock (ns)."""
    lag_s: float | None
    """Lag (s) of its packet clock behind the furthest one."""
    packets: int
    lost: int
    """Packets and observations that it counted as lost or refused."""
    packets_per_second: float | None = None
    """Rate over the last seconds; None: too few recent heartbeats."""
    loss: float | None = None
    """Fraction of the packets arriving at its interfaces that the ring or the card lost, 0.0 to 1.0.

    None: it has no ring or card, or no packets arrived."""
    loss_now: float | None = None
    """`loss` over the last seconds."""
    late: int = 0
    """Number of epochs for which it delivered something after they were over."""


class Status(Message, frozen=True):
    """The status of the cluster."""

    version: str
    digest: str
    nodes: list[NodeStatus]
    alerts: int
    epochs_closed: int
    epochs_incomplete: int
    counters: dict[str, int]
    withdrawn: int = 0
    """Alerts that were withdrawn."""
    hints: list[str] = []
    """Current problems, for people."""


class RemoveWorker(Message, frozen=True):
    """An operator on the manager's host reports that a worker is gone for good."""

    name: str


class WorkerRemoved(Message, frozen=True):
    """The answer to `RemoveWorker`: the cluster no longer waits for the worker, unless a reason is given."""

    reason: str = ""
    """The reason why it still waits, for people."""


class RequestKey(Message, frozen=True):
    """An observer's query for the current merged values of a key, or of the top of all matching keys."""

    request: int
    """The observer's own number for this query."""
    sumstat: str
    key: dict[str, str] = {}
    """Required parts of the key, by name; for an address, a network or a host. Other parts may have any value."""
    top: int = 10
    """Most keys in the answer, the greatest first..."""
    by: str = ""
    """...by this reducer's value; default: the threshold's reducer, or else the first that has a value."""


class PresentEpoch(msgspec.Struct, frozen=True):
    """The current results of an epoch that is not over."""

    epoch: int
    start: int
    """Start of its window (ns)."""
    end: int
    """End of its window (ns); 0 if the epoch ends by hand."""
    workers: list[str]
    """The workers whose values are included."""
    missing: list[str]
    """The workers whose values are missing or incomplete."""
    keys: int
    """Number of known keys that match; `rows` has the first of them."""
    left: int
    """Number of further keys that workers had no room to send: their values are not included."""
    within: float | None
    """By how much a value may be too small because of `left`; None: unknown."""
    rows: list[bytes]
    """JSON objects, one per key."""

    @property
    def complete(self) -> bool:
        """True if nothing is missing."""
        return not self.missing and not self.left


class KeyResult(Message, frozen=True):
    """The answer to an observer's query: the epochs that are not over, earliest first."""

    request: int
    sumstat: str
    by: str = ""
    """The reducer that the keys are ordered by."""
    epochs: list[PresentEpoch] = []
    reason: str = ""
    """The reason why there is no result, for people."""
    fatal: bool = False
    """True if repeating the query will not help."""


Numbered = ClusterSsResponse | ClusterSsSeries | DetectionSwitchedOff | Heartbeat
"""Messages of a worker that must arrive."""


def _add(a: Any, b: Any) -> Any:
    if isinstance(a, dict):
        return {name: a.get(name, 0) + b.get(name, 0) for name in a | b}
    return a + b


def _earliest(a: int | None, b: int | None) -> int | None:
    return min((ts for ts in (a, b) if ts is not None), default=None)


def _latest(a: int | None, b: int | None) -> int | None:
    return max((ts for ts in (a, b) if ts is not None), default=None)


_MERGE: dict[str, Callable[[Any, Any], Any]] = {"first_ts": _earliest, "last_ts": _latest}
