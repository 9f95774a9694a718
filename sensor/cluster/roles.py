"""Roles: who may send what, and in whose name. What is not in the table is refused."""

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
    Message,
    Ping,
    Refused,
    RemoveWorker,
    RequestKey,
    Role,
    Status,
    StatusRequest,
    ThresholdsReset,
    Welcome,
    WorkerRemoved,
)

MAY_SEND: dict[Role | None, frozenset[type]] = {
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
"""By role; None: a peer that has not said hello. After it, nobody says it again."""

ADMITTED: frozenset[Role] = frozenset({"worker", "observer"})
"""Those that may say hello to a manager."""

_SPEAKER: dict[type, str] = {
    Hello: "name",
    ClusterSsResponse: "worker",
    ClusterSsSeries: "worker",
    ClusterKeyIntermediateResponse: "worker",
    ClusterKeyResponse: "worker",
    DetectionSwitchedOff: "worker",
    Heartbeat: "worker",
    Delivered: "worker",
}
"""The field that says whom a message is from: it must be the peer's own name."""


def may_send(role: Role | None, message: Message) -> bool:
    """Whether a peer in that role may send such a message; None: before its hello."""
    return type(message) in MAY_SEND[role]


def speaks_for(name: str, message: Message) -> bool:
    """Whether a message is in the name of that peer, or in nobody's."""
    field = _SPEAKER.get(type(message))
    return field is None or getattr(message, field) == name
