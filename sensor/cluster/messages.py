"""The messages between workers, the manager and observers, under the names of the original protocol.

Every message about results says which definition, SumStat, epoch, worker and incarnation it is about. Those that must
arrive are numbered by their worker and its incarnation (`sequence`, from 1): to apply one twice, late or out of order
changes nothing. What only makes alerts earlier, or saves work, is not numbered and may get lost.
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from sensor.bus.message import Message
from sensor.pki.credentials import Role


class Counts(msgspec.Struct):
    """What became of a worker's packets; those of several workers are added up."""

    captured: int = 0
    """Packets that the capture source says it gave: by another count than the rest."""
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
    """Observations of one stream as they came."""

    stream: str
    keys: bytes
    ts: bytes
    values: dict[str, bytes]
    """By reducer."""


class PackedPartial(msgspec.Struct, frozen=True):
    """A partial result as it travels: the raw bytes of its arrays, whose types both ends know from the definition."""

    keys: bytes
    headers: dict[str, bytes]
    """By stream."""
    states: dict[str, dict[str, bytes]]
    """By reducer and array."""
    support: list[Observed] = []


class Hello(Message, frozen=True):
    """The first message of a node: who it is, and where it goes on."""

    name: str
    role: Role
    version: str
    """The sensor's."""
    digest: str = ""
    """Of all its definitions: a worker whose settings differ is refused, with a reason that can be read."""
    incarnation: int = 0
    """Of the process: a later one of the same name fences off all before it."""
    sequence: int = 0
    """The first numbered message that it still holds."""
    replays: bool = False
    """Its input can be read again from the start, so nothing is lost with it."""
    started: int | None = None
    """The packet time (ns) at which it began to observe what cannot be read again; None: before all epochs."""
    continues: bool = False
    """It counts on from its last incarnation, as its settings were read again."""
    parts: dict[str, str] = {}
    """Digests of its SumStats, and of the files of its detections, by name: so what differs can be named."""


class Welcome(Message, frozen=True):
    """The manager's answer: what it has already."""

    sequence: int
    """The last numbered message of this incarnation that it has applied, and made durable: this acknowledges it."""
    members: list[str]
    """Those whose results an epoch waits for."""
    early: bool = False
    """Whether it wants to hear of keys before their epoch is over."""
    by_hand: dict[str, int] = {}
    """Of SumStats whose epochs end by hand: the first that is not over."""

    def without_promise(self, hello: Hello) -> "Welcome":
        """The answer as long as what was applied is not durable: it acknowledges no more than the worker knows."""
        return msgspec.structs.replace(self, sequence=hello.sequence - 1)


class Ack(Message, frozen=True):
    """The manager has applied, and made durable, all numbered messages up to this one."""

    incarnation: int
    sequence: int


class ClusterSsRequest(Message, frozen=True):
    """End an epoch that ends by hand, and send its results."""

    sumstat: str
    epoch: int


class ClusterSsResponse(Message, frozen=True):
    """A group of the keys of a worker's epoch (a pane, where windows hop) that is over; the last one is `done`."""

    definition: str
    sumstat: str
    epoch: int
    worker: str
    incarnation: int
    sequence: int
    group: int
    """Its number among those of the epoch, from 0."""
    columns: PackedPartial
    done: bool
    following: int = 0
    """The epoch that the worker has entered: it observed nothing in those between. This and what follows is of the
    last group."""
    start: int = 0
    end: int = 0
    lost: int = 0
    """Observations that are not in it for want of room."""
    given_up: bool = False
    """The worker had no room to hold its results until they are acknowledged: they are not in it, or not all."""
    run: int = 0
    """How often the worker's clock had begun anew."""


class ClusterSsSeries(Message, frozen=True):
    """Epochs of a worker with few keys each, that are over: each key is followed by the number of its epoch."""

    definition: str
    sumstat: str
    worker: str
    incarnation: int
    sequence: int
    epochs: bytes
    """int64, ascending: nothing was observed between any two."""
    columns: PackedPartial
    following: int
    """The epoch that the worker has entered after the last of them."""
    start: int
    """Where the first of them begins (ns)."""
    run: int = 0
    """How often the worker's clock had begun anew."""


class ClusterKeyIntermediateResponse(Message, frozen=True):
    """What a worker knows of some keys in its open window, because they grew by their share of what is left."""

    definition: str
    sumstat: str
    epoch: int
    worker: str
    incarnation: int
    start: int
    """Where the epoch begins (ns)."""
    ts: bytes
    """When each grew so (int64 ns)."""
    order: bytes
    """Which of the worker's events it was (int64): what tells the order of crossings of several SumStats."""
    keys: bytes
    """uint64 (m, key_words)."""
    value: bytes
    """float64 (m,): what each has come to on the worker alone."""
    run: int = 0
    """How often the worker's clock had begun anew."""
    columns: PackedPartial | None = None
    """What is known of them, from the only worker; of several, all are asked for it."""


class ClusterKeyRequest(Message, frozen=True):
    """What does the worker know of some keys in its open window?"""

    request: int
    sumstat: str
    epoch: int
    """The window that is asked about; -1: whichever is open."""
    keys: bytes = b""
    """uint64 (m, key_words); or else those that match:"""
    mask: list[int] = []
    value: list[int] = []
    top: int = 0
    by: str = ""


class ClusterKeyResponse(Message, frozen=True):
    """The answer; empty where nothing is known."""

    request: int
    definition: str
    sumstat: str
    epoch: int
    worker: str
    incarnation: int
    start: int
    """Where the epoch begins (ns)."""
    columns: PackedPartial
    run: int = 0
    """How often the worker's clock had begun anew."""
    left: int = 0
    """Keys that are not in it for want of room: those of the least values."""
    below: float = 0.0
    """The greatest value among them."""


class ClusterShare(Message, frozen=True):
    """All members' views of some keys are merged: by how much the value of each may grow before that must be told."""

    sumstat: str
    epoch: int
    keys: bytes
    share: bytes
    """float64 (m,)."""


class ClusterThresholdCrossed(Message, frozen=True):
    """Keys that fired all their levels in an epoch, and whose alert stands until a time (ns): they need no counting."""

    sumstat: str
    epoch: int
    keys: bytes
    until: int
    run: int = 0
    """How often clocks had begun anew."""


class ThresholdsReset(Message, frozen=True):
    """An epoch is over for all: nothing that was said of keys in it, or before, holds any longer."""

    sumstat: str
    epoch: int


class DetectionSwitchedOff(Message, frozen=True):
    """A detection raised so often on a worker that it no longer runs there."""

    worker: str
    incarnation: int
    sequence: int
    detection: str
    ts: int


class Heartbeat(Message, frozen=True):
    """How far a worker has come: all that it observed up to its watermark was sent before, in numbered messages."""

    worker: str
    incarnation: int
    sequence: int
    run: int
    """How often its packet clock had begun anew."""
    watermark: int | None
    """The packet clock (ns); None: nothing was read yet."""
    counts: Counts
    done: bool = False
    """Its input has ended, and all results were sent."""
    read: int = 0
    """Bytes of its input that it has read."""
    damage: list[str] = []
    """What of its input could not be read, for people."""
    hints: list[str] = []
    """What looks wrong about its capture now, for people."""


class Delivered(Message, frozen=True):
    """A worker whose input has ended has heard that all is acknowledged, and ends."""

    worker: str
    incarnation: int


class CertificateRequest(Message, frozen=True):
    """A worker asks for another certificate of its key, before the one it has is too old."""

    request: bytes
    """PKCS #10, DER."""


class CertificateIssued(Message, frozen=True):
    """The certificate (PEM) that was asked for."""

    certificate: bytes


class StatusRequest(Message, frozen=True):
    """An observer asks how the cluster is."""


class NodeStatus(msgspec.Struct, frozen=True):
    """One node, as the manager sees it."""

    name: str
    state: Literal["expected", "up", "late", "down", "done", "left"]
    version: str
    incarnation: int
    watermark: int | None
    """Its packet clock (ns)."""
    lag_s: float | None
    """By how much its packet clock is behind the furthest."""
    packets: int
    lost: int
    """Packets and observations that it counted as lost or refused."""
    packets_per_second: float | None = None
    """Over the last seconds; None: not enough was heard of it lately."""
    loss: float | None = None
    """Packets that its ring or its card lost, of those that came to its interfaces: 0.0 to 1.0; None: it has none, or
    none came."""
    loss_now: float | None = None
    """The same over the last seconds."""
    late: int = 0
    """Epochs of which it told something when they were over."""


class Status(Message, frozen=True):
    """How the cluster is."""

    version: str
    digest: str
    nodes: list[NodeStatus]
    alerts: int
    epochs_closed: int
    epochs_incomplete: int
    counters: dict[str, int]
    withdrawn: int = 0
    """Alerts that do not stand any more."""
    hints: list[str] = []
    """What looks wrong, for people."""


class RemoveWorker(Message, frozen=True):
    """Somebody at the manager's host says that a worker is gone for good."""

    name: str


class WorkerRemoved(Message, frozen=True):
    """It is not waited for any more."""

    reason: str = ""
    """Why it still is, for people."""


class RequestKey(Message, frozen=True):
    """An observer asks what all workers together know now of a key, or of those of many that have the most."""

    request: int
    """The observer's own number for it."""
    sumstat: str
    key: dict[str, str] = {}
    """What parts of the key must be, by name: for an address, a network or a host. Others may be anything."""
    top: int = 10
    """So many keys at most, the greatest first..."""
    by: str = ""
    """...by the value of this reducer; else by that which the threshold is of, or the first that has one."""


class PresentEpoch(msgspec.Struct, frozen=True):
    """What is known of an epoch that is not over."""

    epoch: int
    start: int
    """Where its window begins (ns)."""
    end: int
    """Where it will end (ns); of one that ends by hand, 0."""
    workers: list[str]
    """Whose values are in it."""
    missing: list[str]
    """Whose values should be, or are not wholly."""
    keys: int
    """How many keys were asked for, by what is known; `rows` has the first of them."""
    left: int
    """How many more workers know, but had no room to tell of: what they know of those is not in any value."""
    within: float | None
    """By how much a value may be too small for that; None: nobody knows."""
    rows: list[bytes]
    """A key each, as JSON objects."""

    @property
    def complete(self) -> bool:
        """Whether it is all that there was to know."""
        return not self.missing and not self.left


class KeyResult(Message, frozen=True):
    """The answer to an observer: the epochs that are not over, the earliest first."""

    request: int
    sumstat: str
    by: str = ""
    """What the keys are ordered by."""
    epochs: list[PresentEpoch] = []
    reason: str = ""
    """Why there is none, for people."""
    fatal: bool = False
    """To ask the same again will not help."""


Numbered = ClusterSsResponse | ClusterSsSeries | DetectionSwitchedOff | Heartbeat
"""From a worker; must arrive."""


def _add(a: Any, b: Any) -> Any:
    if isinstance(a, dict):
        return {name: a.get(name, 0) + b.get(name, 0) for name in a | b}
    return a + b


def _earliest(a: int | None, b: int | None) -> int | None:
    return min((ts for ts in (a, b) if ts is not None), default=None)


def _latest(a: int | None, b: int | None) -> int | None:
    return max((ts for ts in (a, b) if ts is not None), default=None)


_MERGE: dict[str, Callable[[Any, Any], Any]] = {"first_ts": _earliest, "last_ts": _latest}
