"""FlowTable: turns packets into events."""

from collections.abc import Iterable, Iterator

import numpy as np

from sensor.flows.contacts import new_contacts
from sensor.flows.event import EVENT, EVENT_IN_KERNELS, Event
from sensor.flows.flow import FLOW
from sensor.flows.index import copy
from sensor.flows.network import NETWORKS
from sensor.flows.options import FlowOptions
from sensor.flows.removal import DONE, INDEX_FULL, ROOM, expire
from sensor.flows.segment import SEGMENT, followed
from sensor.flows.sequence_gaps import new_holes
from sensor.flows.table_state import COUNTERS, STATE, WEIRDS, Arrays
from sensor.flows.timers import NEVER, new_lists
from sensor.flows.track import track
from sensor.hash import new_key
from sensor.packet import PACKET, Kind

_EARLIEST = np.iinfo(np.int64).min
_FIRST_INDEX = 1 << 12
_BLOCK = 64  # packets prefetched together


class FlowTable:
    """Tracks the flows of packets and raises their events.

    options: timeouts and the cap. wanted: the events to write, all by default; the flows do not depend on it. key: the
    secret of the hash, random by default; no result depends on it. event_rows: the most events handed out at once; the
    results do not depend on it either.

    When the cap is reached, a new flow replaces the oldest half-open one (a SYN without an answer, a SYN-ACK that the
    originator did not continue, or a datagram that ICMP refused), else the longest idle of those with one packet, else
    the longest idle, and an established connection last. An evicted flow raises connection_state_remove, and a SYN
    without an answer connection_attempt too: as far as the table can know, nothing will answer it, and a flood must not
    hide a scan.
    """

    def __init__(
        self,
        options: FlowOptions | None = None,
        *,
        wanted: Iterable[Event] | None = None,
        key: np.ndarray | None = None,
        event_rows: int = 1 << 15,
    ) -> None:
        if event_rows < ROOM:
            raise ValueError(f"event_rows is {event_rows}; it must be at least {ROOM}")
        self.options = options = options or FlowOptions()
        self._events = np.zeros(event_rows, EVENT)
        self._state = np.zeros(1, STATE)[0]
        self._arrays = Arrays(
            flows=np.zeros(options.capacity, FLOW),  # the system commits memory as rows are touched
            networks=np.zeros(options.capacity, NETWORKS),
            contacts=new_contacts(options.contacts),
            holes=new_holes(options.capacity),
            entries=np.zeros(_FIRST_INDEX, np.int64),
            lists=new_lists(options),
            out=self._events.view(EVENT_IN_KERNELS),
            segments=np.zeros(event_rows, SEGMENT),
            state=self._state,
        )
        self._state["secret"] = new_key() if key is None else key
        self._state["by_network"] = self._state["networks_seen"] = options.key == "network"
        self.want(Event if wanted is None else wanted)
        self._tags = np.zeros(_BLOCK, np.int64)
        self._forget()

    @property
    def counters(self) -> dict[str, int]:
        """Counts, by name."""
        return {name: int(self._state[name]) for name in (*COUNTERS, "flows_open")}

    @property
    def weirds(self) -> dict[str, int]:
        """Counts of oddities, by Zeek's name; those that did not occur are left out."""
        return {name: int(self._state[name]) for name in WEIRDS if self._state[name]}

    def want(self, events: Iterable[Event], *, segments: Iterable[Kind] = ()) -> None:
        """Write these events from now on, and the segments of these kinds of packets (TCP, UDP)."""
        self._state["wanted"] = sum(1 << event for event in set(events))
        self._state["followed"] = followed(segments)

    def take_segments(self) -> np.ndarray:
        """Return the SEGMENT rows since the last call; valid until more packets are processed.

        Call it after `process` and whenever `process` yields events: `row` refers to the packets given to it.
        """
        taken = self._arrays.segments[: self._state["segments"]]
        self._state["segments"] = 0
        return taken

    def process(self, packets: np.ndarray, now: np.ndarray, *, more: bool = False) -> Iterator[np.ndarray]:
        """Process PACKET rows with the packet clock at each (int64 ns); yield EVENT arrays, in order.

        With `more`, as more packets will follow, events are kept until there are enough of them.

        An array is valid until the next one is requested, and the packets are done only after the last one. Refused
        packets are skipped. An event's `ts` is the clock at its packet, or the time at which a wait ended, however much
        later the packet that shows it.
        """
        if packets.dtype != PACKET or now.dtype != np.int64 or packets.shape != now.shape:
            raise ValueError(f"{packets.dtype} {packets.shape} and {now.dtype} {now.shape}; give PACKET rows and int64")
        packets, now = np.ascontiguousarray(packets), np.ascontiguousarray(now)
        row = 0
        while row < len(packets):
            why, row = track(
                self._arrays,
                self._tags,
                packets,
                now,
                row,
            )
            if why == INDEX_FULL:
                self._grow()
            elif why != DONE:
                yield from self._hand_out()
        if not more:
            yield from self._hand_out()

    def pass_time(self, now: int) -> Iterator[np.ndarray]:
        """Advance the packet clock (ns) without packets; yield the events of waits that end by then."""
        self._state["clock"] = max(int(self._state["clock"]), now)
        why = -1
        while why != DONE:
            why = expire(
                self._arrays,
                now,
                now,
            )
            yield from self._hand_out()

    def finish(self) -> Iterator[np.ndarray]:
        """End the input: every wait ends and every flow is removed, in the order of their due times.

        Their events have the last clock value. The table can be used again, starting at any time.
        """
        why, latest = -1, int(self._state["clock"])
        while why != DONE:
            why = expire(
                self._arrays,
                NEVER,
                latest,
            )
            yield from self._hand_out()
        self._forget()

    def _hand_out(self) -> Iterator[np.ndarray]:
        events = self._events[: self._state["written"]]
        if len(events) or self._state["segments"]:
            yield events
            events.view(np.uint8).fill(0)  # as bytes: four times as fast as row by row
            self._state["written"] = self._state["segments"] = 0

    def _grow(self) -> None:
        larger = np.zeros(2 * len(self._arrays.entries), np.int64)
        copy(self._arrays.entries, larger)
        self._arrays = self._arrays._replace(entries=larger)

    def _forget(self) -> None:
        """Start over, with no flow and no contact."""
        self._arrays = self._arrays._replace(contacts=new_contacts(self.options.contacts))
        self._state["clock"], self._state["next_due"] = _EARLIEST, NEVER
        self._state["touched"], self._state["free"] = 0, -1
