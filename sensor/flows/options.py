"""FlowOptions: the timeouts of flows, and the most flows held."""

from dataclasses import dataclass, fields

from sensor.clock import SECOND

KEYS = ("five_tuple", "network")


@dataclass(frozen=True)
class FlowOptions:
    """Timeouts in nanoseconds of packet time (the defaults are Zeek's) and the cap; ValueError for an invalid value."""

    capacity: int = 1 << 20
    """Flows held at once; memory is committed as they come."""
    contacts: int = 1 << 18
    """Contacts (originators and the services they tried) remembered for a day; memory is committed as they come."""
    tcp_attempt: int = 5 * SECOND
    """From a first SYN until it counts as unanswered, however often it is repeated (Zeek: tcp_attempt_delay).

    A lone packet that is no SYN waits as long, so that an unanswered NULL or ACK probe is recognized as soon."""
    tcp_half_open: int = 60 * SECOND
    """From the last packet of a connection that was answered and left without data: a client that checks returns
    meanwhile."""
    tcp_inactivity: int = 300 * SECOND
    """From the last packet of an open TCP connection."""
    udp_inactivity: int = 60 * SECOND
    """From the last packet of a UDP or SCTP flow."""
    icmp_inactivity: int = 60 * SECOND
    """From the last packet of an ICMP flow."""
    tcp_close: int = 5 * SECOND
    """From the closing FIN; later packets belong to another flow (Zeek: tcp_close_delay)."""
    tcp_reset: int = 5 * SECOND
    """From a RST (Zeek: tcp_reset_delay)."""
    key: str = KEYS[0]
    """The key of a flow: the five-tuple, or that and the network (`sensor.flows.network`)."""

    def __post_init__(self) -> None:
        if self.key not in KEYS:
            raise ValueError(f"key is {self.key!r}; it must be {' or '.join(KEYS)}")
        for field in fields(self):
            if field.name == "key":
                continue
            value = getattr(self, field.name)
            most = 1 << (30 if field.name in ("capacity", "contacts") else 62)
            if not 1 <= value <= most:
                raise ValueError(f"{field.name} is {value}; it must be from 1 to {most}")
