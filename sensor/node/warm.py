"""Warming up: kernels are loaded, or compiled at first use, before packets come that will not wait for that.

It is also the last time that they can be saved: what decodes is then another user, who may not write to the cache.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from sensor.capture.bpf.program import CELLS, drop_all
from sensor.capture.bpf.run import judge
from sensor.clock import SECOND, now_ns
from sensor.cluster.worker import Worker
from sensor.config import Settings, configure
from sensor.hash import new_key
from sensor.node.doctor.traffic import warm_up as warm_up_capture
from sensor.node.standalone import Standalone
from sensor.packet import FRAME, Block
from sensor.sumstats import Definition, Reducer, SumStats
from sensor.sumstats.table import Keys

SHIPPED = "sensor_plugins"
"""The package of the detections that ship."""
_ETHERNET = bytes.fromhex("0200000000020200000000010800")
_CLIENT, _SERVER = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
_ICMP, _TCP, _UDP = 1, 6, 17
_SYN, _ACK, _RST_ACK, _SYN_ACK, _PSH_ACK = 0x02, 0x10, 0x14, 0x12, 0x18
_MORE = 0x2000  # fragments
_MANY = 80  # more than make a scan, and than are looked up by the kernel for a few


def warm_up(settings: Settings) -> None:
    """Take made-up packets the whole way, in nodes that nobody hears of.

    Only detections that ship observe them. Of others what they define is fed, but no code of theirs is called: it may
    do anything with connections that nobody made.
    """
    warm_up_capture()
    _judge()
    _look_up()
    start = now_ns()
    made = settings.make()
    own = [each for each in made if type(each).__module__.partition(".")[0] != SHIPPED]
    _reduce([definition for each in own for definition in each.define().values()], start)
    worker = Worker("warm-up", [each for each in made if each not in own], settings.flows, settings.decode)
    for block in _blocks(start):
        worker.process(block)
    worker.pass_time(start + 600 * SECOND)
    worker.finish()
    Standalone(configure((), (), ()), [], early=True, live=True).run(_MadeUp(start), lambda done, packets: None)


def _reduce(definitions: Iterable[Definition], start: int) -> None:
    """Give made-up observations to SumStats, but for calculations and threshold functions that are not the sensor's."""
    for definition in definitions:
        if any(
            type(each).__module__.partition(".")[0] != __package__.partition(".")[0] for each in definition.reducers
        ):
            continue
        judged = definition.threshold if definition.threshold and not definition.threshold.function else None
        engine = SumStats([replace(definition, threshold=judged)])
        engine.start(start)
        keys, ts = np.ones((_MANY, definition.key_words), np.uint64), np.full(_MANY, start)
        values = {each.name: _values(each) for each in definition.reducers}
        engine.observe(definition.name, keys, ts, values)
        engine.advance(start + 3 * max(definition.epoch_ns, SECOND))


def _values(reducer: Reducer) -> np.ndarray:
    if not reducer.element_words:
        return np.ones(_MANY)
    return np.repeat(np.arange(_MANY).astype(np.uint64)[:, np.newaxis], reducer.element_words, axis=1)


class _MadeUp:
    """A source of the packets below. `Savefiles` shows the same face."""

    damage = ()
    progress = (0, None)

    def __init__(self, start: int) -> None:
        self.seen_until, self._start = 0, start
        self.counters: dict[str, int] = {}

    def blocks(self) -> Iterator[Block]:
        """All packets, and an empty block some epochs later."""
        yield from _blocks(self._start)
        self.seen_until = self._start + 600 * SECOND
        yield Block((np.zeros(1, np.uint8),), np.zeros(0, FRAME))

    def stop(self) -> None:
        """There is nothing to stop."""


def _judge() -> None:
    """Run the kernel that filters frames whose VLAN tag the kernel had removed, on no frames."""
    code = drop_all()
    code.flags.writeable = False  # as of a filter that libpcap has made
    data, frames, none = np.zeros(1, np.uint8), np.zeros(1, FRAME), np.empty(0, np.int64)
    judge(code, data, frames, none, np.zeros(CELLS, np.int64), np.ones(1, np.bool_))


def _look_up() -> None:
    """A key among few that are known, as one that has crossed and goes on being counted."""
    key = np.zeros((1, 1), np.uint64)
    Keys(key, new_key()).has(key)


def _blocks(start: int) -> Iterator[Block]:
    one, many = _refusals([_CLIENT]), _refusals([bytes([10, 0, 1, number]) for number in range(_MANY)])
    for number, packets in enumerate((one, many, _session(), _fragments())):
        data = b"".join(packets)
        frames = np.zeros(len(packets), FRAME)
        frames["ts"], frames["linktype"] = start + number * SECOND, 1
        frames["caplen"] = frames["wirelen"] = [len(packet) for packet in packets]
        frames["offset"][1:] = np.cumsum(frames["caplen"])[:-1]
        yield Block((np.frombuffer(data, np.uint8),), frames)
    frames["ts"] += SECOND
    frames["buffer"][1:] = 1  # as of two interfaces
    yield Block((np.frombuffer(data, np.uint8),) * 2, frames)


def _refusals(clients: Sequence[bytes]) -> list[bytes]:
    """Ports asked for in turn: each is refused, by TCP's or by ICMP's means, and one is not answered."""
    found = []
    for number in range(_MANY):
        client, port = clients[number % len(clients)], 1 + number
        found += [_tcp(client, _SERVER, 40000, port, _SYN), _tcp(_SERVER, client, port, 40000, _RST_ACK)]
        asked = _ip(client, _SERVER, _UDP, struct.pack("!HHHH", 40000, port, 8, 0))
        refused = struct.pack("!BBHI", 3, 3, 0, 0) + asked[len(_ETHERNET) :]
        found += [asked, _ip(_SERVER, client, _ICMP, refused)]
    return [*found, _tcp(clients[0], _SERVER, 40000, 4444, _SYN)]


def _session() -> list[bytes]:
    """A connection with data both ways, that a RST ends."""
    return [
        _tcp(_CLIENT, _SERVER, 40001, 80, _SYN),
        _tcp(_SERVER, _CLIENT, 80, 40001, _SYN_ACK),
        _tcp(_CLIENT, _SERVER, 40001, 80, _PSH_ACK, b"data"),
        _tcp(_SERVER, _CLIENT, 80, 40001, _PSH_ACK, b"data"),
        _tcp(_CLIENT, _SERVER, 40001, 80, _RST_ACK),
    ]


def _fragments() -> list[bytes]:
    """A segment in two parts of which the first does not hold its header, and one part that has no other."""
    segment = _segment(40002, 80, _SYN)
    return [
        _ip(_CLIENT, _SERVER, _TCP, segment[:8], 1, _MORE),
        _ip(_CLIENT, _SERVER, _TCP, segment[8:], 1, 1),
        _ip(_CLIENT, _SERVER, _TCP, segment[:8], 2, _MORE),
    ]


def _tcp(src: bytes, dst: bytes, sport: int, dport: int, flags: int, payload: bytes = b"") -> bytes:
    return _ip(src, dst, _TCP, _segment(sport, dport, flags) + payload)


def _segment(sport: int, dport: int, flags: int) -> bytes:
    sequence, acknowledged = (1, 0) if flags == _SYN else (2, 2)
    return struct.pack("!HHIIBBHHH", sport, dport, sequence, acknowledged, 5 << 4, flags, 8192, 0, 0)


def _ip(src: bytes, dst: bytes, protocol: int, payload: bytes, number: int = 0, fragment: int = 0) -> bytes:
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), number, fragment, 64, protocol, 0, src, dst)
    return _ETHERNET + header + payload
