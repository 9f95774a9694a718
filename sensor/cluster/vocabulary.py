"""The cluster's vocabulary: the messages that each role may send, and in whose name. All others are refused."""

from sensor.bus.message import Message, Ping, Refused
from sensor.bus.vocabulary import Vocabulary
from sensor.cluster.messages import (
    Ack,
    CertificateIssued,
    CertificateRequest,
    ClusterKeyIntermediateResponse,
    ClusterKeyRequest,
    ClusterKeyResponse,
    ClusterShare,
    ClusterSsRequest,
    ClusterSsResponse,
    ClusterSsSeries,
    ClusterThresholdCrossed,
    Delivered,
    DetectionSwitchedOff,
    Heartbeat,
    Hello,
    KeyResult,
    RemoveWorker,
    RequestKey,
    Status,
    StatusRequest,
    ThresholdsReset,
    Welcome,
    WorkerRemoved,
)
from sensor.pki.credentials import Role

_MAY_SEND: dict[Role | None, frozenset[type[Message]]] = {
    None: frozenset({Hello}),
    "worker": frozenset(
        {
            ClusterSsResponse,
            ClusterSsSeries,
            ClusterKeyIntermediateResponse,
            ClusterKeyResponse,
            DetectionSwitchedOff,
            Heartbeat,
            Delivered,
            CertificateRequest,
            Ping,
        }
    ),
    "manager": frozenset(
        {
            Welcome,
            Refused,
            Ack,
            ClusterSsRequest,
            ClusterKeyRequest,
            ClusterShare,
            ClusterThresholdCrossed,
            ThresholdsReset,
            CertificateIssued,
            Ping,
            Status,
            WorkerRemoved,
            KeyResult,
        }
    ),
    "observer": frozenset({StatusRequest, RemoveWorker, RequestKey, Ping}),
}
"""Allowed messages by role; None: a peer that has not sent its hello. A second hello is refused."""

_SPEAKER: dict[type[Message], str] = {
    Hello: "name",
    ClusterSsResponse: "worker",
    ClusterSsSeries: "worker",
    ClusterKeyIntermediateResponse: "worker",
    ClusterKeyResponse: "worker",
    DetectionSwitchedOff: "worker",
    Heartbeat: "worker",
    Delivered: "worker",
}
"""The field that names the sender of a message: it must be the peer's own name."""


VOCABULARY = Vocabulary(
    hello=Hello,
    welcome=Welcome,
    may_send=_MAY_SEND,
    admitted=frozenset({"worker", "observer"}),
    speaker=_SPEAKER,
    newest=Ack,
    telemetry=(Status,),
    for_people=frozenset({"reason", "damage", "hints"}),
)
