"""Hints: what looks wrong about a capture and what it may come of, said when it begins and when it is over.

Each is judged on two counts of the same things, an earlier one and the present one. Times are seconds of a clock that
never goes back.
"""

from typing import NamedTuple

from sensor.node.sight import Sight

PATIENCE_S = 10.0
"""How long nothing may come, or losses may have stopped, before that is said."""
CONNECTIONS = 50
"""That carried data, of which it can be told whether both directions are seen: fewer may all be odd."""
ONE_WAY = 0.9
"""Their share of which one direction was seen, at which the other is missing: a few always miss it at a start."""


class Hint(NamedTuple):
    """Something that looks wrong."""

    name: str
    """The same as long as it is the same thing."""
    text: str


def why_silent(since: Sight, now: Sight, filter_text: str = "") -> tuple[str, str]:
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


class Silence:
    """No packets for so long, and why: the interface is away, it is quiet, or the sensor is deaf."""

    def __init__(self, now: float, patience_s: float = PATIENCE_S, filter_text: str = "") -> None:
        self.hint: Hint | None = None
        """What is wrong now."""
        self._patience_s, self._filter = patience_s, filter_text
        self._last: Sight | None = None
        self._heard = self._half_way = now
        self._since: Sight | None = None
        """What is judged is what came from here on: half-way, as the interface's own counts may be seconds late."""

    def look(self, sight: Sight, now: float) -> str:
        """What is to be said of an interface as it is now; nothing, mostly."""
        if self._last is None or sight.read > self._last.read:
            return self._hear(sight, now)
        half = self._patience_s / 2
        if self._since is None and now - self._heard >= half:
            self._since, self._half_way = sight, now
        if self._since is None or now - self._half_way < half:
            return ""
        kind, why = why_silent(self._since, sight, self._filter)
        name = f"{sight.interface} {kind}"
        if self.hint and self.hint.name == name:
            return ""
        self.hint = Hint(name, f"{sight.interface}: no packets for {now - self._heard:.0f} s: {why}")
        return self.hint.text

    def _hear(self, sight: Sight, now: float) -> str:
        was, self.hint, self._since = self.hint, None, None
        self._heard = now if self._last else self._heard
        self._last = sight
        return f"{sight.interface}: packets come again" if was else ""


class Losses:
    """Packets are being lost, in the ring (`ring_drops`) or before it (`nic_drops`)."""

    def __init__(self, counter: str, calm_s: float = PATIENCE_S) -> None:
        self.hint: Hint | None = None
        """What is wrong now."""
        self._counter, self._calm_s = counter, calm_s
        self._last: Sight | None = None
        self._lost_at, self._before = 0.0, 0

    def look(self, sight: Sight, now: float) -> str:
        """What is to be said of an interface as it is now: when losses begin, and when there were none for a while."""
        last, self._last = self._last or Sight(sight.interface), sight
        lost = getattr(sight, self._counter) - getattr(last, self._counter)
        if lost > 0:
            self._lost_at = now
            return "" if self.hint else self._begin(sight, last, lost)
        if self.hint and now - self._lost_at >= self._calm_s:
            self.hint = None
            total = getattr(sight, self._counter) - self._before
            return f"{sight.interface}: no more packets are lost there; {total:,} were"
        return ""

    def _begin(self, sight: Sight, last: Sight, lost: int) -> str:
        self._before = getattr(last, self._counter)
        came = sight.kernel - last.kernel + (lost if self._counter == "nic_drops" else 0)
        of = f"{lost:,} of {came:,} packets are lost" if came >= lost else f"{lost:,} packets are lost"
        text = f"{sight.interface}: {of}: {_ADVICE[self._counter].format(interface=sight.interface)}"
        self.hint = Hint(f"{sight.interface} {self._counter}", text)
        return text


_ADVICE = {
    "ring_drops": "the ring is full: give --ring more MB, or share the work out: more --capture-workers",
    "nic_drops": "the card or its driver has no room: `ethtool -g {interface}` shows its own rings, -G sets them",
}


class Ways(NamedTuple):
    """TCP connections so far."""

    data: int
    """That carried data."""
    both: int
    """Of those, that were heard in both directions."""


def is_one_way(since: Ways, now: Ways) -> bool | None:
    """Whether one direction is missing, by the connections since then; None: there are too few to tell."""
    data, both = now.data - since.data, now.both - since.both
    if data < CONNECTIONS:
        return None
    return data - both >= ONE_WAY * data


class OneWay:
    """Of nearly all TCP connections only one direction is seen."""

    def __init__(self, now: float, least_s: float = PATIENCE_S) -> None:
        self.hint: Hint | None = None
        """What is wrong now."""
        self._least_s, self._since, self._then = least_s, Ways(0, 0), now

    def look(self, ways: Ways, now: float) -> str:
        """What is to be said of the connections so far: when a direction is missing, and when both are there again."""
        if ways.data < self._since.data:
            self._since = Ways(0, 0)
        found = is_one_way(self._since, ways) if now - self._then >= self._least_s else None
        if found is None:
            return ""
        since, was = self._since, self.hint
        self._since, self._then = ways, now
        if not found:
            self.hint = None
            return "both directions of connections are seen again" if was else ""
        if was is None:
            self.hint = Hint("one way", _one_way(since, ways))
            return self.hint.text
        return ""


def _one_way(since: Ways, now: Ways) -> str:
    data, both = now.data - since.data, now.both - since.both
    return (
        f"one direction only: of {data:,} connections with data {data - both:,} were heard from one end: the mirror "
        "port copies what is sent or what is received, not both, or the ways there and back differ"
    )
