"""The settings of a cluster, with Zeek's names where Zeek has them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClusterSettings:
    """Settings of workers and the manager; ValueError names the setting that is out of range."""

    cluster_send_in_groups_of: int = 5000
    """Most keys of an epoch in one message; fewer if the keys are large."""
    group_bytes: int = 1 << 20
    """Approximate limit on the bytes of columns in one message."""
    cluster_request_global_view_percent: float = 0.2
    """For values that may also fall: the fraction of its level that a worker's own value must reach to be reported."""
    max_outstanding_global_views: int = 10
    """Requests of a SumStat that wait for answers at once; further ones are queued."""
    enable_intermediate_updates: bool = True
    """True if keys are checked before their epoch is over."""
    most_wanted: int = 100_000
    """Keys queued to be requested; beyond that, the least urgent is dropped until it is reported again."""
    most_watched: int = 100_000
    """Keys whose growth a worker watches; beyond that, the one watched longest is evicted."""
    window_messages: int = 64
    """Numbered messages that a worker may have in flight."""
    retry_s: float = 2.0
    """Time (s) without an acknowledgement or answer after which a worker sends again and the manager asks again."""
    deadline_s: float = 30.0
    """Time (s) an epoch waits for a silent member; it then ends without it and lists it as missing."""

    query_s: float = 3.0
    """Time (s) an observer's query waits for workers' answers."""
    query_bytes: int = 4 << 20
    """Approximate limit on the bytes of columns in a worker's answer to a query."""
    answer_bytes: int = 1 << 20
    """Most bytes of keys in the answer to the observer."""
    most_queries: int = 16
    """Observers' queries that wait for answers at once."""
    most_queries_of_observer: int = 4
    """The same limit for one observer."""

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
