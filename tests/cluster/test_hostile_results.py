"""What honest workers get through is the same to the bit, whatever a hostile peer says beside them."""

import asyncio
import contextlib
import threading

import msgspec
import pytest

from sensor import __version__
from sensor.bus.codec import encode
from sensor.capture import open_savefiles
from sensor.cluster.messages import (
    ClusterSsResponse,
    Counts,
    DetectionSwitchedOff,
    Heartbeat,
    Hello,
    PackedPartial,
    RequestKey,
    StatusRequest,
)
from sensor.config import configure
from sensor.node.manager_address import ManagerAddress
from sensor.node.manager_node import ManagerNode
from sensor.node.worker_node import Place, WorkerNode
from tests.bus.test_bus import beat
from tests.replaying import PCAPS

PATIENCE_S = 60.0
_LATER = 1 << 50  # an incarnation after all that are attacked with
INPUTS = [str(PCAPS / "random-scan.pcap")]
PLUGIN = '''
from sensor.detection import Alert, Detection, Stream, Sum, SumStat, Unique


class Everything(Detection):
    """Tells every result of every epoch. Misses nothing."""

    seen = Stream("connection_attempt", key="resp_h", value="resp_p")
    sums = SumStat(hops=0, epoch="1s", ports=Unique(seen), count=Sum(seen, of="orig_p"))

    @sums.epoch_result
    def told(self, key, seen, epoch):
        """A line for each key, with all that is known of it."""
        return Alert(f"{key} {seen.ports.unique} {seen.ports.num} {seen.count} {epoch}", src=key.resp_h)
'''


class Recorder:
    """Keeps what a manager tells, as it would be written."""

    def __init__(self):
        self.lines = []

    def alert(self, record):
        self.lines.append(msgspec.json.encode(record))

    def update(self, record):
        self.lines.append(msgspec.json.encode(record))

    def summary(self, record):
        pass


class Halfway:
    """A capture that stops between two blocks until it may go on."""

    def __init__(self, source):
        self._source, self.is_there, self.may_go_on = source, threading.Event(), threading.Event()

    def __getattr__(self, name):
        return getattr(self._source, name)

    def blocks(self):
        for at, block in enumerate(self._source.blocks(100)):
            if at == 6:
                self.is_there.set()
                assert self.may_go_on.wait(PATIENCE_S)
            yield block


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    plugin = tmp_path_factory.mktemp("plugin") / "everything.py"
    plugin.write_text(PLUGIN)
    return configure(plugins=[str(plugin)])


def told(settings, hostile=None, *, member=""):
    """All that a manager tells of what two workers see, half-way through which somebody hostile does its worst.

    If that is a `member`, it ends without having observed anything, in a later process of which nothing is wrong.
    """
    recorder = Recorder()

    async def run():
        names = ["a", "b", *([member] if member else [])]
        node = ManagerNode(settings, [recorder], members=names, early=False, until_done=True)
        ready = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(node.run("127.0.0.1:0", ready=lambda where: ready.set_result(where[0])))
        address = await ready
        with contextlib.ExitStack() as stack:
            sources = [Halfway(stack.enter_context(open_savefiles(INPUTS))) for _ in "ab"]
            places = [Place(name, ManagerAddress(address), (at, 2)) for at, name in enumerate("ab")]
            works = [  # which wait for ever for a manager that has failed, and must not keep the tests from ending
                threading.Thread(target=WorkerNode(settings, place).run, args=(source,), daemon=True)
                for place, source in zip(places, sources, strict=True)
            ]
            for each in works:
                each.start()
            for source in sources:
                assert await asyncio.to_thread(source.is_there.wait, PATIENCE_S)
            tries = hostile(node.manager.digest) if hostile else []
            if isinstance(tries, bytes):
                await attack(address, tries)
            else:
                for each in tries:
                    await attack(address, each, lambda: True)  # no longer than until it is answered
            if member:
                data = worker(member, node.manager.digest, _LATER) + over(member, _LATER)
                await attack(address, data, lambda: node.has_delivered(member))
            for source in sources:
                source.may_go_on.set()
            for each in works:
                await asyncio.to_thread(each.join, PATIENCE_S)
                assert not each.is_alive()
        await running

    async def bounded():
        async with asyncio.timeout(PATIENCE_S):
            await run()

    asyncio.run(bounded())
    return recorder.lines


async def attack(address, data, is_enough=lambda: False):
    """Say it, and wait until the manager has had enough, or will not."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1.0):
            writer.write(data)
            await writer.drain()
            while await reader.read(65536) and not is_enough():
                pass
    writer.transport.abort()


def worker(name, digest, incarnation=1):
    return encode(Hello(name, "worker", __version__, digest, incarnation, 1, replays=True))


def over(name, incarnation, **changes):
    return encode(Heartbeat(name, incarnation, 1, 0, None, Counts(), done=True, **changes))


def observer():
    return encode(Hello("ops", "observer", __version__))


def result(name, incarnation, digest="d" * 64):
    columns = PackedPartial(b"\x01" * 800, {}, {})
    return encode(ClusterSsResponse(digest, "port_scan.scan", 0, name, incarnation, 1, 0, columns, done=True))


HOSTILE = {
    "garbage": lambda digest: b"\xff" * 100_000,
    "oversize": lambda digest: (1 << 30).to_bytes(4, "big") + bytes(100_000),
    "silent": lambda digest: b"",
    "cut short": lambda digest: worker("a", digest)[:20],
    "wrong role": lambda digest: observer() + result("a", 1),
    "a manager": lambda digest: encode(Hello("m", "manager", __version__)),
    "other settings": lambda digest: worker("a", "0" * 64, 1 << 62) + result("a", 1 << 62),
    "an earlier process": lambda digest: worker("a", digest, 0) + result("a", 0),
    "another's name": lambda digest: observer() + encode(DetectionSwitchedOff("a", 1, 1, "port_scan", 0)),
    "replayed": lambda digest: observer() + 3 * encode(beat("a", 1)) + 3 * worker("a", digest),
    "a flood of questions": lambda digest: observer() + 5000 * encode(StatusRequest()),
    "a flood of queries": lambda digest: observer() + 500 * encode(RequestKey(1, "port_scan.scan", {}, 10, "")),
    "malformed queries": lambda digest: observer() + encode(RequestKey(-1, "x" * 100, {"y": "\x00"}, -5, "z")),
}


def results(definition, columns):
    about = definition.digest, definition.name, 0, "x", 1, 1, 0
    return encode(ClusterSsResponse(*about, columns, done=True))


def off(worker, incarnation, sequence):
    return encode(DetectionSwitchedOff(worker, incarnation, sequence, "port_scan", 0))


MEMBER = {
    "garbage": lambda scan: b"\xff" * 100_000,
    "another's results": lambda scan: result("a", 1, scan.digest),
    "another's end": lambda scan: over("a", 1),
    "another's detection is off": lambda scan: off("b", 1, 1),
    "keys that are not whole": lambda scan: results(scan, PackedPartial(b"\x01" * 801, {}, {})),
    "keys without values": lambda scan: results(scan, PackedPartial(b"\x01" * 24, {}, {})),
    "a SumStat that is not there": lambda scan: result("x", 1),
    "numbers that skip": lambda scan: b"".join(off("x", 1, n) for n in range(2, 2000)),
    "other processes": lambda scan: b"".join(off("x", n, 1) for n in range(2, 2000)),
    "its own end, many times": lambda scan: over("x", 1) * 5000,
    "the largest count": lambda scan: over("x", 1, read=(1 << 63) - 1),
}
"""What a worker that has been let in may try, given a SumStat that there is."""


@pytest.fixture(scope="module")
def beside_a_member(settings):
    """What is told where x is a member that observes nothing."""
    lines = told(settings, member="x")
    assert len(lines) > 15
    return lines


@pytest.mark.parametrize("kind", MEMBER)
def test_what_is_told_of_others_is_the_same_to_the_bit_whatever_a_member_does(settings, beside_a_member, kind):
    definitions = [each for detection in settings.make() for each in detection.define().values()]
    scan = next(each for each in definitions if each.name.startswith("port_scan"))
    assert told(settings, lambda digest: worker("x", digest) + MEMBER[kind](scan), member="x") == beside_a_member


def test_what_is_told_of_others_is_the_same_to_the_bit_if_a_member_begins_anew_all_the_time(settings, beside_a_member):
    def again(digest):
        return [worker("x", digest, n) for n in range(1, 100)]

    assert told(settings, again, member="x") == beside_a_member


@pytest.fixture(scope="module")
def expected(settings):
    lines = told(settings)
    assert len(lines) > 15
    assert told(settings) == lines
    return lines


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_told_is_the_same_to_the_bit_whoever_else_speaks(settings, expected, kind):
    assert told(settings, HOSTILE[kind]) == expected
