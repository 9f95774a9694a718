"""Traffic: whether an interface sees any, and both directions of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sensor.capture.errors import CaptureError
from sensor.capture.live.af_packet import LINKTYPE_ETHERNET, RingSettings, geometry
from sensor.capture.live.interfaces import counters
from sensor.capture.live.live_capture import Live
from sensor.capture.live.ring import walk_blocks
from sensor.clock import elapsed_s
from sensor.decode import Decoder
from sensor.node.doctor.check import Check, State
from sensor.packet import FRAME, Block, Kind
from sensor.words import amount

NAME = "traffic"
PAIRS_MAX = 4096
"""Pairs of ends that are remembered of an interface, the first ones: so many in one direction tell enough."""
_ROWS = 1024  # of a block that are looked at, for the same reason
_WAIT_S = 0.05
_ENDS = (("kind", "src_hi", "src_lo", "src_port"), ("kind", "dst_hi", "dst_lo", "dst_port"))


@dataclass
class Pairs:
    """The pairs of ends that spoke to each other."""

    spoken: set[tuple[object, object]] = field(default_factory=set)
    both: bool = False
    """True if any two ends spoke to each other."""

    def add(self, pairs: Iterable[tuple[object, object]]) -> None:
        """Take down who spoke to whom; one that speaks to itself says nothing."""
        for one, other in pairs:
            if one != other:
                self.both = self.both or (other, one) in self.spoken
                if len(self.spoken) < PAIRS_MAX:
                    self.spoken.add((one, other))


@dataclass
class InterfaceTraffic:
    """The traffic that an interface showed."""

    seconds: float = 0.0
    frames: int = 0
    """Packets from the kernel, lost ones included."""
    received: int = 0
    """Packets that the interface counted in that time."""
    flows: Pairs = field(default_factory=Pairs)
    """Pairs of TCP and UDP, by address and port."""
    stations: Pairs = field(default_factory=Pairs)
    """Pairs of Ethernet addresses, but for group addresses."""


def measure(interfaces: Sequence[str], patience_s: float) -> dict[str, InterfaceTraffic]:
    """Look at interfaces together until all have shown both directions, at most so long.

    CaptureError or OSError where one cannot be opened.
    """
    warm_up()
    decoder = Decoder()
    found = {name: InterfaceTraffic() for name in interfaces}
    with Live([RingSettings(name, geometry(1), retire_ms=10) for name in interfaces], wait_s=_WAIT_S) as live:
        before, start = counters(), elapsed_s()
        for block in live.blocks():
            seconds = elapsed_s() - start
            _take(decoder, block, list(found.values()))
            if all(seen.flows.both for seen in found.values()) or seconds > patience_s:
                break
        after = counters()
        for tap, (name, seen) in zip(live.taps, found.items(), strict=True):
            seen.seconds, seen.frames = seconds, tap.counters["kernel_packets"]
            seen.received = _received(after, name) - _received(before, name)
    return found


def warm_up() -> None:
    """Load the kernels that a look takes, or compile them, before time runs."""
    frames, words = np.zeros(1, FRAME), np.zeros(64, np.uint32)
    data = words.view(np.uint8)
    where = np.zeros(3, np.int64)
    walk_blocks(data, words.view(np.uint16), words, data.size, 0, where, 0, frames, frames, np.zeros(1, np.int64))
    Decoder().decode(Block((data,), frames))


def _received(told: Mapping[str, Mapping[str, int]], name: str) -> int:
    return told[name]["rx_packets"] if name in told else 0


def try_to_look(interfaces: Sequence[str], patience_s: float) -> Mapping[str, InterfaceTraffic | str]:
    """Return what `measure` finds, or for all interfaces the reason why it cannot."""
    try:
        return measure(interfaces, patience_s)
    except (CaptureError, OSError) as error:
        return dict.fromkeys(interfaces, str(error))


def _take(decoder: Decoder, block: Block, seen: Sequence[InterfaceTraffic]) -> None:
    block = Block(block.buffers, block.frames[:_ROWS])
    packets = decoder.decode(block)
    for number, each in enumerate(seen):
        mine = block.frames["interface"] == number
        each.flows.add(_flows(packets[mine]))
        each.stations.add(_stations(block, block.frames[mine]))


def _flows(packets: np.ndarray) -> Iterable[tuple[object, object]]:
    told = packets[(packets["kind"] == Kind.TCP) | (packets["kind"] == Kind.UDP)]
    sources, targets = (zip(*(told[name].tolist() for name in names), strict=True) for names in _ENDS)
    return zip(sources, targets, strict=True)


def _stations(block: Block, frames: np.ndarray) -> Iterable[tuple[object, object]]:
    whole = frames[(frames["linktype"] == LINKTYPE_ETHERNET) & (frames["caplen"] >= 12)]
    for buffer, offset in zip(whole["buffer"].tolist(), whole["offset"].tolist(), strict=True):
        addresses = block.buffers[buffer][offset : offset + 12].tobytes()
        if not addresses[0] & 1:
            yield addresses[6:], addresses[:6]


def judge(name: str, seen: InterfaceTraffic | str) -> Check:
    """The check of an interface, of what it showed or of why nobody could look."""
    if isinstance(seen, str):
        return Check(NAME, State.SKIPPED, f"not looked at: {seen}", interface=name)
    within = f"within {seen.seconds:.1f} s"
    if not seen.frames and seen.received > 0:
        came = f"{amount(seen.received, 'packet')} {within}"
        reason = f"deaf: it received {came}, and none was delivered; is XDP or DPDK on it?"
        return Check(NAME, State.FAILED, reason, interface=name)
    if not seen.frames:
        reason = f"quiet: nothing came {within}, and its counter stands still; does a mirror port or tap send here?"
        return Check(NAME, State.WARNING, reason, interface=name)
    if seen.flows.both or (seen.stations.both and not seen.flows.spoken):
        return Check(NAME, State.OK, "both directions are seen", interface=name)
    return Check(NAME, State.WARNING, f"{_one_way(seen)}, {within}", interface=name)


def _one_way(seen: InterfaceTraffic) -> str:
    if not seen.flows.spoken and not seen.stations.spoken:
        return f"only broadcast and multicast: is the port mirrored? {amount(seen.frames, 'packet')}"
    many, what = (seen.flows, "Flows") if seen.flows.spoken else (seen.stations, "Pairs of stations")
    return f"one direction only: are receive and transmit mirrored? {what} without a reply: {len(many.spoken):,}"
