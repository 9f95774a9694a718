"""The catalogue of events that detections name, their columns, and batches of them.

Names and meanings are Zeek's. A packet's event has the packet clock's time; that of a wait which is over, the time at
which it was, however much later the packet that showed it.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensor.address import Network, in_network
from sensor.flows import EVENT, ConnState, Event

__all__ = ["EVENTS", "AddressColumn", "Batch", "Column", "ConnState", "EventType", "hint", "split"]


@dataclass(frozen=True, slots=True)
class Column:
    """What one column of an event holds."""

    type: str
    """address, port, integer, duration or time (int64 ns), mac (48 bits as uint64), state (ConnState), or bytes."""
    doc: str


@dataclass(frozen=True, slots=True)
class EventType:
    """One kind of event."""

    name: str
    doc: str
    columns: dict[str, Column]


_ORIG_H = "the originator; in ARP, the sender's protocol address; in what ICMP quotes, the quoted packet's"
_RESP_H = "the responder; in ARP, the target's protocol address; in what ICMP quotes, the quoted packet's"
_FIRST_TRY = "when this originator first tried this service"
_TIMES = {
    "ts": Column("time", "when it happened"),
    "seen": Column("time", "when the last packet that it tells of came: before `ts` where a wait was over"),
}
_TUPLE = _TIMES | {
    "orig_h": Column("address", _ORIG_H),
    "orig_p": Column("port", "its port; of an ICMP flow, the type of its messages"),
    "resp_h": Column("address", _RESP_H),
    "resp_p": Column("port", "its port; of an ICMP flow, the type that answers, or the code where none does"),
    "proto": Column("integer", "IP protocol number"),
}
_FLOW = _TUPLE | {
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
_ICMP_ERROR = _TUPLE | {
    "reporter": Column("address", "who sent the ICMP message; the other addresses and ports are the quoted packet's"),
    "icmp_type": Column("integer", "type of the ICMP message"),
    "icmp_code": Column("integer", "code of the ICMP message"),
}
_ARP = _TIMES | {
    "orig_h": Column("address", _ORIG_H),
    "resp_h": Column("address", _RESP_H),
    "orig_mac": Column("mac", "the sender's hardware address"),
    "resp_mac": Column("mac", "the target's hardware address"),
}

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

EVENTS: dict[str, EventType] = {
    event.name.lower(): EventType(event.name.lower(), doc, columns) for event, (doc, columns) in _DOCS.items()
}
"""Every event, by name."""


def columns() -> dict[tuple[str, ...], dict[str, Column]]:
    """Every column once, by name, below the names of the events that have it."""
    found: dict[str, tuple[Column, list[str]]] = {}
    for event in EVENTS.values():
        for name, column in event.columns.items():
            found.setdefault(name, (column, []))[1].append(event.name)
    grouped: dict[tuple[str, ...], dict[str, Column]] = {}
    for name, (column, events) in found.items():
        grouped.setdefault(tuple(events), {})[name] = column
    return grouped


_NAMES = {int(event): event.name.lower() for event in Event}
_WORDS = {
    "orig_h": ("orig_hi", "orig_lo"),
    "resp_h": ("resp_hi", "resp_lo"),
    "reporter": ("reporter_hi", "reporter_lo"),
}

_V4_TOP, _V4_MULTICAST, _V4_BROADCAST = np.uint64(0xFFFF_E), np.uint64(28), np.uint64(0xFFFF_FFFF_FFFF)
_V6_MULTICAST, _V6_TOP = np.uint64(0xFF), np.uint64(56)


_ALIKE = 0.5  # how like two names are that are one misspelt (difflib's ratio): "dns_query" and "history" come to 0.38
_MOST_NAMES = 12


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """What a misspelt name may have been; None where nothing is like it."""
    return next(iter(difflib.get_close_matches(name, sorted(candidates), n=1, cutoff=_ALIKE)), None)


def hint(name: str, candidates: Iterable[str], *, prefix: str = "") -> str:
    """Suggest what a misspelt name may have been, to follow "there is no such name".

    Names the nearest one with its `prefix`, else all where they are few, else nothing.
    """
    names = sorted(candidates)
    if close := nearest(name, names):
        return f"; did you mean {prefix + close!r}?"
    if len(names) < 2:
        return f"; there is {names[0] if names else 'none'}"
    return f"; there are {', '.join(names)}" if len(names) <= _MOST_NAMES else ""


def _masks(bits: int) -> tuple[np.uint64, np.uint64]:
    mask = ((1 << bits) - 1) << (128 - bits)
    return np.uint64(mask >> 64), np.uint64(mask & (1 << 64) - 1)


class AddressColumn:
    """A column of addresses, as two uint64 columns: `==` and `!=` with an address, a text or a column give a mask."""

    def __init__(self, hi: np.ndarray, lo: np.ndarray) -> None:
        self.hi, self.lo = hi, lo

    def __len__(self) -> int:
        return len(self.hi)

    def __getitem__(self, rows: Any) -> "AddressColumn":
        """Some of the rows: a mask, a slice or row numbers."""
        return AddressColumn(np.atleast_1d(self.hi[rows]), np.atleast_1d(self.lo[rows]))

    def __eq__(self, other: object) -> Any:
        """Which rows hold an address (an object or its text), or the same as another column's: a mask."""
        if isinstance(other, AddressColumn):
            return (self.hi == other.hi) & (self.lo == other.lo)
        return self.in_network(str(other))

    def __ne__(self, other: object) -> Any:
        return ~(self == other)

    __hash__ = None  # type: ignore[assignment]

    def in_network(self, cidr: Network | str) -> np.ndarray:
        """Which rows lie in a network: a mask. ValueError where text is not one."""
        return in_network(self.hi, self.lo, cidr)

    def network(self, v4: int, v6: int) -> "AddressColumn":
        """The first address of the network of so many bits that each lies in: by its kind, `v4` or `v6`."""
        is_v4 = (self.hi == 0) & (self.lo >> np.uint64(32) == 0xFFFF)
        v4_hi, v4_lo = _masks(96 + v4)
        v6_hi, v6_lo = _masks(v6)
        return AddressColumn(self.hi & np.where(is_v4, v4_hi, v6_hi), self.lo & np.where(is_v4, v4_lo, v6_lo))

    @property
    def is_multicast(self) -> np.ndarray:
        """Which rows are no single host's: 224.0.0.0/4, ff00::/8 and 255.255.255.255."""
        in_v4 = (self.hi == 0) & ((self.lo >> _V4_MULTICAST == _V4_TOP) | (self.lo == _V4_BROADCAST))
        mask: np.ndarray = in_v4 | (self.hi >> _V6_TOP == _V6_MULTICAST)
        return mask

    @property
    def words(self) -> np.ndarray:
        """Each address as (hi, lo): uint64 (n, 2)."""
        return np.stack([self.hi, self.lo], axis=1)


class Batch:
    """Rows of one event as columns: `batch.orig_p` is an array, `batch.orig_h` an AddressColumn.

    event: the event's name. index: the row numbers (int64) in `events`, the array of all events, that are its rows;
    they keep the order in which things happened. A column is gathered when it is first asked for, and is a copy: a
    batch is good for as long as that array is, a column for ever.
    """

    def __init__(self, event: str, events: np.ndarray, index: np.ndarray) -> None:
        self.event, self.index = event, index
        self._events = events
        self._gathered: dict[str, Any] = {}
        self._computed: dict[Callable[[Batch], Any], Any] = {}

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: Any) -> "Batch":
        """Some of the rows: a mask, a slice or row numbers."""
        return Batch(self.event, self._events, self.index[rows])

    def once(self, function: Callable[["Batch"], Any]) -> Any:
        """What a function makes of the batch, called the first time only. A column is not to be written to."""
        if function not in self._computed:
            self._computed[function] = function(self)
        return self._computed[function]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what copying looks for
            raise AttributeError(name)
        if name not in self._gathered:
            self._gathered[name] = self._gather(name)
        return self._gathered[name]

    def _gather(self, name: str) -> Any:
        columns = EVENTS[self.event].columns
        if name not in columns:
            raise AttributeError(f"the event {self.event} has no column {name!r}{hint(name, columns)}")
        if name in _WORDS:
            hi, lo = _WORDS[name]
            return AddressColumn(self._events[hi][self.index], self._events[lo][self.index])
        return self._events[name][self.index]


def empty(event: str) -> Batch:
    """A batch of an event without rows, to try a function of batches on."""
    return Batch(event, np.empty(0, EVENT), np.empty(0, np.int64))


def split(events: np.ndarray) -> Iterator[tuple[str, Batch]]:
    """An EVENT array as one batch for each kind of event in it, in the order of the kinds."""
    kinds = np.ascontiguousarray(events["event"])
    for kind in np.flatnonzero(np.bincount(kinds)).tolist():
        yield _NAMES[kind], Batch(_NAMES[kind], events, np.flatnonzero(kinds == kind))
