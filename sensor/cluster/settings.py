"""The settings of a cluster, under the names of the original's where it had them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClusterSettings:
    """How workers and the manager go about it; ValueError names what is out of range."""

    cluster_send_in_groups_of: int = 5000
    """Keys of an epoch in one message, at most; fewer where they are large."""
    group_bytes: int = 1 << 20
    """Bytes of columns in one message: about so many at most."""
    cluster_request_global_view_percent: float = 0.2
    """Of a value that may fall as well: which part of its level a worker's own must reach to be worth asking all."""
    max_outstanding_global_views: int = 10
    """Requests of a SumStat that wait for answers at once; what is wanted beyond them waits its turn."""
    enable_intermediate_updates: bool = True
    """Whether keys are looked at before their epoch is over."""
    most_wanted: int = 100_000
    """Keys that wait to be looked at; beyond them, the least urgent is given up until it is reported again."""
    most_watched: int = 100_000
    """Keys whose growth a worker watches closely; beyond them, the one watched longest is let go."""
    window_messages: int = 64
    """Numbered messages that a worker has on their way at once."""
    retry_s: float = 2.0
    """After how long without an acknowledgement a worker sends again, and the manager asks again."""
    deadline_s: float = 30.0
    """How long an epoch waits for a member that is not heard of; it then ends without it, and says so."""

    query_s: float = 3.0
    """How long what an observer asks waits for workers' answers."""
    query_bytes: int = 4 << 20
    """Bytes of columns in a worker's answer to that: about so many at most."""
    answer_bytes: int = 1 << 20
    """Bytes of keys in the answer to the observer, at most."""
    most_queries: int = 16
    """Questions of observers that wait for answers at once."""
    most_queries_of_observer: int = 4
    """Those of one observer."""

    def __post_init__(self) -> None:
        for name in ("cluster_send_in_groups_of", "group_bytes", "max_outstanding_global_views", "most_wanted"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("query_bytes", "answer_bytes", "most_queries", "most_queries_of_observer"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("most_watched", "window_messages", "retry_s", "deadline_s", "query_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if not 0 < self.cluster_request_global_view_percent <= 1:
            raise ValueError(
                f"cluster_request_global_view_percent must be above 0 and at most 1, "
                f"not {self.cluster_request_global_view_percent}"
            )
