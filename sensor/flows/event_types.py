"""The event types of the flow table: the meaning and the columns of each event."""

from sensor.event_type import CONNECTION, ENDS, TIMES, Column, EventType
from sensor.flows.event import EVENT, Event

_FIRST_TRY = "when this originator first tried this service"
_FLOW = CONNECTION | {
    "conn_state": Column("state", "how far the connection came; compare with ConnState.S0 and so on"),
    "history": Column("bytes", 'letters of what was seen, such as b"ShADadFf", upper case for the originator'),
    "duration": Column("duration", "from the first packet to the last before the close"),
    "orig_pkts": Column("integer", "packets from the originator"),
    "resp_pkts": Column("integer", "packets from the responder"),
    "orig_bytes": Column("integer", "payload from the originator, each byte once: without retransmissions and gaps"),
    "resp_bytes": Column("integer", "payload from the responder"),
    "orig_flags": Column("integer", "TCP flags of the originator's first packet, 0 where it sent none"),
    "orig_options": Column("integer", "bytes of TCP options in it"),
    "orig_ttl": Column("integer", "smallest TTL or hop limit from the originator, 255 where it sent nothing"),
    "unreachable": Column("integer", "1 where ICMP said that the responder is unreachable"),
    "time_exceeded": Column("integer", "1 where ICMP said that a packet's time was exceeded on the way"),
    "orig_known": Column("integer", "1 where it is known who began; 0 where only the ports tell"),
    "may_be_reply": Column("integer", "1 where that is not known, and the ports are those of a server's to a client"),
    "unproven": Column("integer", "1 where headers were cut, or it came by a tunnel that answers do not take"),
}
_END = _FLOW | {
    "tries": Column("integer", "how often this originator tried this service within a day: once is 1, retries apart"),
    "first_try": Column("time", _FIRST_TRY),
    "steady": Column("integer", "1 where four tries or more came at even intervals"),
    "reached": Column("integer", "1 where it has reached this port within a day, by TCP or UDP"),
    "controls": Column("integer", "1 where it has, or had two minutes ago, a control connection of FTP to it"),
    "is_controlled": Column("integer", "1 where the responder has, or had, one to it"),
}
_USE = _FLOW | {
    "first_try": Column("time", _FIRST_TRY),
    "connections": Column("integer", "flows that it has begun to it within a day"),
    "failed_before": Column("integer", "1 where one of those was over without data both ways"),
}
_ICMP_ERROR = CONNECTION | {
    "reporter": Column("address", "who sent the ICMP message; the other addresses and ports are the quoted packet's"),
    "icmp_type": Column("integer", "type of the ICMP message"),
    "icmp_code": Column("integer", "code of the ICMP message"),
}
_ARP = (
    TIMES
    | ENDS
    | {
        "orig_mac": Column("mac", "the sender's hardware address"),
        "resp_mac": Column("mac", "the target's hardware address"),
    }
)

_DOCS = {
    Event.CONNECTION_ATTEMPT: ("a SYN that nothing answered until the wait for it was over", _END),
    Event.CONNECTION_REJECTED: ("a SYN that was answered with a RST", _END),
    Event.CONNECTION_ESTABLISHED: ("a SYN that was answered with a SYN-ACK, seen on the SYN-ACK", _FLOW),
    Event.CONNECTION_FINISHED: ("both ends have sent a FIN", _END),
    Event.CONNECTION_RESET: ("a RST after the connection was answered", _END),
    Event.CONNECTION_STATE_REMOVE: ("a flow of any protocol is over and forgotten; its last event", _END),
    Event.UDP_REQUEST: ("a UDP packet from the originator", _FLOW),
    Event.UDP_REPLY: ("a UDP packet from the responder", _FLOW),
    Event.ICMP_ECHO_REQUEST: ("an ICMP or ICMPv6 echo request", _FLOW),
    Event.ICMP_ECHO_REPLY: ("an ICMP or ICMPv6 echo reply; the originator is who asked", _FLOW),
    Event.ICMP_UNREACHABLE: (
        "an ICMP destination unreachable, other than fragmentation needed, about what its receiver has sent lately",
        _ICMP_ERROR,
    ),
    Event.ICMP_TIME_EXCEEDED: ("an ICMP time exceeded about what its receiver has sent lately", _ICMP_ERROR),
    Event.ARP_REQUEST: ("an ARP request", _ARP),
    Event.ARP_REPLY: ("an ARP reply", _ARP),
    Event.SERVICE_USED: (
        "a service is used: data both ways, data after an answer that only its acknowledgement shows, or a one-way "
        "stream of UDP; told once in ten seconds",
        _USE,
    ),
}

FLOW_EVENTS = tuple(EventType(event.name.lower(), *_DOCS[event], EVENT) for event in Event)
"""The event types, by the number of the event."""
