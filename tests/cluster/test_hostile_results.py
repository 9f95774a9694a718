"""What honest workers get through is the same to the bit, whatever a hostile peer says beside them."""

import asyncio
import contextlib
import threading

import msgspec
import pytest

from sensor import __version__
from sensor.capture import open_savefiles
from sensor.cluster.frame import encode
from sensor.cluster.messages import (
    ClusterSsResponse,
    Columns,
    DetectionSwitchedOff,
    Hello,
    RequestKey,
    StatusRequest,
)
from sensor.config import configure
from sensor.node.contact import Contact
from sensor.node.manager import ManagerNode
from sensor.node.worker import Place, WorkerNode
from tests.cluster.test_bus import beat
from tests.replaying import PCAPS

PATIENCE_S = 60.0
INPUTS = [str(PCAPS / "random-scan.pcap")]
PLUGIN = '''
from sensor.detection import Alert, Detection, Stream, Sum, SumStat, Unique


class Everything(Detection):
    """Tells every result of every epoch. Misses nothing."""

    seen = Stream("connection_attempt", key="resp_h", value="resp_p")
    sums = SumStat(epoch="1s", ports=Unique(seen), count=Sum(seen, of="orig_p"))

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


def told(settings, hostile=None):
    """All that a manager tells of what two workers see, half-way through which somebody hostile does its worst."""
    recorder = Recorder()

    async def run():
        node = ManagerNode(settings, [recorder], members=["a", "b"], early=False, until_done=True)
        ready = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(node.run("127.0.0.1:0", ready=lambda where: ready.set_result(where[0])))
        address = await ready
        with contextlib.ExitStack() as stack:
            sources = [Halfway(stack.enter_context(open_savefiles(INPUTS))) for _ in "ab"]
            places = [Place(name, Contact(address), (at, 2)) for at, name in enumerate("ab")]
            works = [
                asyncio.create_task(asyncio.to_thread(WorkerNode(settings, place).run, source))
                for place, source in zip(places, sources, strict=True)
            ]
            for source in sources:
                assert await asyncio.to_thread(source.is_there.wait, PATIENCE_S)
            if hostile:
                await attack(address, hostile(node.manager.digest))
            for source in sources:
                source.may_go_on.set()
            await asyncio.gather(*works)
        await running

    async def bounded():
        async with asyncio.timeout(PATIENCE_S):
            await run()

    asyncio.run(bounded())
    return recorder.lines


async def attack(address, data):
    """Say it, and wait until the manager has had enough, or will not."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1.0):
            writer.write(data)
            await writer.drain()
            while await reader.read(65536):
                pass
    writer.transport.abort()


def worker(name, digest, incarnation=1):
    return encode(Hello(name, "worker", __version__, digest, incarnation, 1, replays=True))


def observer():
    return encode(Hello("ops", "observer", __version__))


def result(name, incarnation, digest="d" * 64):
    columns = Columns(b"\x01" * 800, {}, {})
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


@pytest.fixture(scope="module")
def expected(settings):
    lines = told(settings)
    assert len(lines) > 15
    assert told(settings) == lines
    return lines


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_told_is_the_same_to_the_bit_whoever_else_speaks(settings, expected, kind):
    assert told(settings, HOSTILE[kind]) == expected
