"""Hints: what looks wrong about a capture and what it may come of, said when it begins and when it is over.

Each is judged on two counts of the same things, an earlier one and the present one. Times are seconds of a clock that
never goes back. Files that are read again are judged once, when all workers are through, by all that they counted: so
it depends on the files only, and not on how fast, in which blocks and by how many workers they are read.
"""

from typing import Generic, NamedTuple, TypeVar

from sensor.node.interface_counters import InterfaceCounters
from sensor.words import amount

PATIENCE_S = 10.0
"""Seconds of silence, or without losses, before a hint."""
MOMENT_S = 2.0
"""Seconds that arrived packets may take to be read: a block of the ring may stay open, and polls are rare."""
CONNECTIONS = 50
"""Least connections with data by which a missing direction is judged: fewer may all be odd."""
ACKS = 100
"""Least acknowledgements by which losses are judged."""
LOSSY = 0.1
"""Their share of bytes that never passed by, at which that is said: Zeek's CaptureLoss::too_much_loss."""
REFUSED = 100
"""Packets of which it can be told whether any can be read."""
ONE_WAY = 0.9
"""Their share of which one direction was seen, at which the other is missing: a few always miss it at a start."""
REPLAYED_CONNECTIONS = 20
"""The same as CONNECTIONS for files: no more of them are to come."""
REPLAYED_ONE_WAY = 0.5
"""The same as ONE_WAY for files, which may have been captured right for a part of the time."""


class Hint(NamedTuple):
    """Something that looks wrong."""

    name: str
    """The same as long as it is the same thing."""
    text: str


def why_silent(since: InterfaceCounters, now: InterfaceCounters, filter_text: str = "") -> tuple[str, str]:
    """The name of the reason for which nothing was read of what came from `since` on, and what to say of it."""
    arrived, tagged = now.nic - since.nic, now.filtered - since.filtered
    if now.gap:
        return "away", _AWAY.get(now.gap, f"it cannot be opened: {now.gap}").format(interface=now.interface)
    if tagged > 0:
        return "deaf", (
            f"{tagged:,} with a VLAN tag arrived, and the filter {filter_text!r} takes none of those: "
            f"write 'vlan and ({filter_text})'"
        )
    if arrived <= 0:
        return "quiet", _QUIET if now.is_promiscuous else _QUIET + _NOT_PROMISCUOUS
    if filter_text:
        return "deaf", f"{arrived:,} arrived, and none of them matches the filter {filter_text!r}"
    return "deaf", f"{arrived:,} arrived, and the kernel gave none of them on: {_TAKEN}"


_AWAY = {
    "down": "it is down: `ip link set {interface} up`",
    "deleted": "there is no such interface any more",
    "away": "it is down, or there is no such interface any more: `sensor interfaces` shows it",
}
_QUIET = "none arrive there: is the cable, the mirror port or the virtual switch right?"
_NOT_PROMISCUOUS = " And without --no-promiscuous, what is addressed to others would be taken too"
_TAKEN = "an XDP program, or a socket of the same fanout group, may take them before"


class NoPackets:
    """No packets for so long, and why: the interface is away, it is quiet, or the sensor is deaf."""

    def __init__(self, now: float, patience_s: float = PATIENCE_S, filter_text: str = "") -> None:
        self.hint: Hint | None = None
        """The current hint."""
        self._patience_s, self._filter = patience_s, filter_text
        self._last: InterfaceCounters | None = None
        self._heard = self._half_way = now
        self._since: InterfaceCounters | None = None
        """Judge from here on: from half-way, as the interface's own counts may be seconds late."""
        self._looks: list[tuple[float, InterfaceCounters]] = []

    def judge(self, sight: InterfaceCounters, now: float) -> str:
        """Return a line on the interface; mostly empty."""
        if self._last is None or sight.read > self._last.read:
            return self._note_packets(sight, now)
        half = self._patience_s / 2
        if self._since is None and now - self._heard >= half:
            self._since, self._half_way = sight, now
        if self._since is None or now - self._half_way < half:
            return ""
        kind, why = why_silent(self._since, sight, self._filter)
        if kind == "deaf" and why_silent(self._since, self._a_moment_ago(sight, now), self._filter)[0] != "deaf":
            return ""
        name = f"{sight.interface} {kind}"
        if self.hint and self.hint.name == name:
            return ""
        self.hint = Hint(name, f"{sight.interface}: no packets for {now - self._heard:.0f} s: {why}")
        return self.hint.text

    def _a_moment_ago(self, sight: InterfaceCounters, now: float) -> InterfaceCounters:
        """The interface as it was then: what has arrived since may be about to be read."""
        self._looks.append((now, sight))
        ago = [at for at, (then, _) in enumerate(self._looks) if now - then >= MOMENT_S]
        self._looks = self._looks[ago[-1] if ago else 0 :]
        return self._looks[0][1] if ago else self._since or sight

    def _note_packets(self, sight: InterfaceCounters, now: float) -> str:
        self._looks.clear()
        was, self.hint, self._since = self.hint, None, None
        self._heard = now if self._last else self._heard
        self._last = sight
        return f"{sight.interface}: packets come again" if was else ""


class Losses:
    """Packets are being lost, in the ring (`ring_drops`) or before it (`nic_drops`)."""

    def __init__(self, counter: str, calm_s: float = PATIENCE_S) -> None:
        self.hint: Hint | None = None
        """The current hint."""
        self._counter, self._calm_s = counter, calm_s
        self._last: InterfaceCounters | None = None
        self._lost_at, self._before = 0.0, 0

    def judge(self, sight: InterfaceCounters, now: float) -> str:
        """Return a line when losses begin, and when there were none for a while."""
        last, self._last = self._last or InterfaceCounters(sight.interface), sight
        lost = getattr(sight, self._counter) - getattr(last, self._counter)
        if lost > 0:
            self._lost_at = now
            return "" if self.hint else self._begin(sight, last, lost)
        if self.hint and now - self._lost_at >= self._calm_s:
            self.hint = None
            total = getattr(sight, self._counter) - self._before
            return f"{sight.interface}: no more packets are lost there; {total:,} {'was' if total == 1 else 'were'}"
        return ""

    def _begin(self, sight: InterfaceCounters, last: InterfaceCounters, lost: int) -> str:
        self._before = getattr(last, self._counter)
        came = sight.kernel - last.kernel + (lost if self._counter == "nic_drops" else 0)
        of = f"{lost:,} of {amount(came, 'packet')}" if came >= lost else amount(lost, "packet")
        advice = _ADVICE[self._counter].format(interface=sight.interface)
        text = f"{sight.interface}: {of} {'is' if lost == 1 else 'are'} lost: {advice}"
        self.hint = Hint(f"{sight.interface} {self._counter}", text)
        return text


_ADVICE = {
    "ring_drops": "the ring is full: give --ring more MB, or share the work out: more --capture-workers",
    "nic_drops": "the card or its driver has no room: `ethtool -g {interface}` shows its own rings, -G sets them",
}


class Acks(NamedTuple):
    """TCP acknowledgements so far."""

    acks: int
    """Acknowledgements that could have shown a loss."""
    unseen: int
    """Those among them of bytes that never passed by (`sensor.flows.capture_loss`)."""


class Looks(NamedTuple):
    """Packets so far."""

    packets: int
    """Packets that were looked at."""
    refused: int
    """Those among them that could not be decoded."""


Counted = TypeVar("Counted", "DirectionCounts", Acks, Looks)


class DirectionCounts(NamedTuple):
    """TCP connections so far."""

    data: int
    """Connections that carried data."""
    both: int
    """Those among them that were seen in both directions."""


def is_one_way(
    since: DirectionCounts, now: DirectionCounts, least: int = CONNECTIONS, share: float = ONE_WAY
) -> bool | None:
    """Return whether one direction is missing, by the connections since `since`; None: there are too few."""
    data, both = now.data - since.data, now.both - since.both
    if data < least:
        return None
    return data - both >= share * data


def is_lossy(since: Acks, now: Acks) -> bool | None:
    """Return whether the capture loses much, by the acknowledgements since `since`; None: there are too few."""
    acks, unseen = now.acks - since.acks, now.unseen - since.unseen
    if acks < ACKS:
        return None
    return unseen >= LOSSY * acks


def reads_nothing(since: Looks, now: Looks) -> bool | None:
    """Return whether nothing can be decoded, by the packets since `since`; None: there are too few."""
    packets, refused = now.packets - since.packets, now.refused - since.refused
    if packets < REFUSED:
        return None
    return refused == packets


def _one_way(since: DirectionCounts, now: DirectionCounts) -> Hint:
    data, both = now.data - since.data, now.both - since.both
    text = (
        f"one direction only: of {data:,} connections with data {data - both:,} were heard from one end: the "
        "mirror port copies what is sent or what is received, not both, or the ways there and back differ"
    )
    return Hint("one way", text)


def _unseen(since: Acks, now: Acks, why: str) -> Hint:
    acks, unseen = now.acks - since.acks, now.unseen - since.unseen
    text = f"capture loss: {unseen:,} of {acks:,} TCP acknowledgements are of bytes that never passed by: {why}"
    return Hint("capture loss", text)


def _two_tags(flows: int) -> Hint:
    return Hint(
        "two tags",
        f"two tags: of {flows:,} {'connection' if flows == 1 else 'connections'} one direction was seen under two VLAN "
        "tags or tunnel ids: two networks may use the same addresses, and count as one connection (--set "
        "flows.key=network tells them apart), or the mirror port copies packets twice",
    )


_LOST_BEFORE = "where no drops are counted here, the mirror port or the switch before it loses them"
_LOST_THEN = "whatever captured the packets, or the mirror port before it, lost some"


def hints_of_replay(directions: DirectionCounts, acks: Acks, two_tags: int = 0) -> list[Hint]:
    """Return the hints on files that were read to their end, by their counters.

    `two_tags`: flows of which one direction came under two tags.
    """
    none, nothing = DirectionCounts(0, 0), Acks(0, 0)
    found = [_one_way(none, directions)] if is_one_way(none, directions, REPLAYED_CONNECTIONS, REPLAYED_ONE_WAY) else []
    found += [_unseen(nothing, acks, _LOST_THEN)] if is_lossy(nothing, acks) else []
    return [*found, *([_two_tags(two_tags)] if two_tags else [])]


class TwoTags:
    """One direction of a connection comes under two tags. That is how the network is: it is said once."""

    def __init__(self) -> None:
        self.hint: Hint | None = None
        """The hint."""

    def judge(self, flows: int) -> str:
        """Return a line on the number of such flows so far; mostly empty."""
        was, self.hint = self.hint, _two_tags(flows) if flows else None
        return self.hint.text if self.hint and not was else ""


class _Share(Generic[Counted]):
    """Judges what was counted from one judgement to the next, once that is enough."""

    def __init__(self, now: float, least_s: float = PATIENCE_S) -> None:
        self.hint: Hint | None = None
        """The current hint."""
        self._least_s, self._then = least_s, now
        self._since: Counted = self._nothing()

    def judge(self, counted: Counted, now: float) -> str:
        """Return a line when the counts begin to look wrong, and when that is over."""
        if counted[0] < self._since[0]:
            self._since = self._nothing()
        found = self._judge(self._since, counted) if now - self._then >= self._least_s else None
        if found is None:
            return ""
        since, was = self._since, self.hint
        self._since, self._then = counted, now
        if not found:
            self.hint = None
            return self._over if was else ""
        if was is None:
            self.hint = self._begin(since, counted)
            return self.hint.text
        return ""

    _over = ""

    def _nothing(self) -> Counted:
        raise NotImplementedError

    def _judge(self, since: Counted, now: Counted) -> bool | None:
        raise NotImplementedError

    def _begin(self, since: Counted, now: Counted) -> Hint:
        raise NotImplementedError


class OneWay(_Share[DirectionCounts]):
    """Only one direction is seen of nearly all TCP connections."""

    _over = "both directions of connections are seen again"

    def _nothing(self) -> DirectionCounts:
        return DirectionCounts(0, 0)

    def _judge(self, since: DirectionCounts, now: DirectionCounts) -> bool | None:
        return is_one_way(since, now)

    def _begin(self, since: DirectionCounts, now: DirectionCounts) -> Hint:
        return _one_way(since, now)


class Unseen(_Share[Acks]):
    """TCP acknowledges bytes that never passed by: they were lost on the way to the sensor, or by it."""

    _over = "what TCP acknowledges passes by again"

    def _nothing(self) -> Acks:
        return Acks(0, 0)

    def _judge(self, since: Acks, now: Acks) -> bool | None:
        return is_lossy(since, now)

    def _begin(self, since: Acks, now: Acks) -> Hint:
        return _unseen(since, now, _LOST_BEFORE)


class Blind(_Share[Looks]):
    """Not one of the packets that come can be decoded."""

    _over = "packets can be read again"

    def _nothing(self) -> Looks:
        return Looks(0, 0)

    def _judge(self, since: Looks, now: Looks) -> bool | None:
        return reads_nothing(since, now)

    def _begin(self, since: Looks, now: Looks) -> Hint:
        text = (
            f"nothing can be read: all {now.packets - since.packets:,} packets were refused: no IP was found behind "
            "their headers (`refused` has the reasons): `tcpdump -e` shows what they carry"
        )
        return Hint("blind", text)
