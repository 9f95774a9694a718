"""The bus over real sockets: messages arrive in order, connections come back, and a bad peer disturbs nobody."""

import asyncio
import contextlib
import os
import socket
import stat
from dataclasses import replace

import pytest

from sensor.bus.client import Client
from sensor.bus.codec import FrameDecoder, encode
from sensor.bus.connection import ServerLimits
from sensor.bus.endpoint import BusError, Endpoint
from sensor.bus.interface import Connected, Disconnected
from sensor.bus.message import Message, Ping, Refused
from sensor.bus.outbox import Outbox, QueueLimits
from sensor.bus.server import Server
from sensor.bus.transport import TRANSPORTS, dial, serve
from sensor.bus.vocabulary import Vocabulary
from sensor.cluster.messages import (
    Ack,
    ClusterThresholdCrossed,
    Counts,
    Heartbeat,
    Hello,
    Status,
    StatusRequest,
    Welcome,
)
from sensor.cluster.vocabulary import VOCABULARY

PATIENCE_S = 10.0
QUICK = ServerLimits(hello_s=0.3, ping_s=0.1, linger_s=0.3)
"""Deadlines that tests need not wait for long."""


class Manager:
    """Takes note of what it is told."""

    def __init__(self):
        self.heard, self.gone, self.hellos = [], [], []
        self.changed = asyncio.Event()
        self.answer = Welcome(0, [])

    def hello(self, peer, hello):
        self.hellos.append(hello)
        return self.answer if hello.role == "worker" else None

    def received(self, peer, message):
        if isinstance(message, Heartbeat) and message.watermark == -13:
            raise ValueError("it cannot be -13")
        self.heard.append((peer.name, message))
        self.changed.set()

    def lost(self, peer):
        self.gone.append(peer.name)
        self.changed.set()

    async def until(self, condition):
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.changed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):  # some conditions are of others
                        await self.changed.wait()


def beat(name, sequence, **changes):
    return Heartbeat(name, 1, sequence, 0, sequence, Counts(), **changes)


def hello(name="a", incarnation=1, role="worker"):
    return Hello(name, role, "0.1.0", "", incarnation, 1)


def serving(test, limits=None, address="127.0.0.1:0"):
    """Run an async test of a server and its manager."""

    async def run():
        manager = Manager()
        server = Server(address, manager, VOCABULARY, limits=limits or ServerLimits(ping_s=0.2, linger_s=0.3))
        await server.start()
        try:
            await test(server, manager)
        finally:
            await server.close()

    asyncio.run(run())


@contextlib.contextmanager
def client(server, name="a", **options):
    made = Client(server.address, lambda: hello(name, **options), VOCABULARY, seed=1)
    made.start()
    try:
        yield made
    finally:
        made.stop()


async def came(made, kind):
    """What has come up to the first of a kind."""
    seen = []
    async with asyncio.timeout(PATIENCE_S):
        while not any(isinstance(each, kind) for each in seen):
            seen += await asyncio.to_thread(made.receive, 0.1)
    return seen


async def raw(server, *frames):
    """A connection that is no client of ours."""
    host, _, port = server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for frame in frames:
        writer.write(frame)
    await writer.drain()
    return reader, writer


async def told(reader):
    """All that a raw connection is sent until it ends."""
    async with asyncio.timeout(PATIENCE_S):
        decoder = FrameDecoder(VOCABULARY, role="manager")
        seen = []
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                seen += decoder.feed(data)
        return [each for each in seen if not isinstance(each, Ping)]


def test_messages_arrive_in_order_both_ways():
    async def test(server, manager):
        with client(server) as made:
            assert (await came(made, Connected))[-1] == Connected(Welcome(0, []))
            sent = [beat("a", n) for n in range(500)]
            assert all(made.send(each) for each in sent)
            await manager.until(lambda: len(manager.heard) == 500)
            assert [message for _, message in manager.heard] == sent
            answers = [ClusterThresholdCrossed("s", n, b"", n) for n in range(500)]
            assert all(server.send("a", each) for each in answers)
            server.broadcast(Welcome(9, []))
            seen = await came(made, Welcome)
            assert [each for each in seen if isinstance(each, ClusterThresholdCrossed)] == answers

    serving(test)


def test_a_unix_socket_is_for_its_owner_alone(tmp_path):
    async def test(server, manager):
        assert stat.S_IMODE(os.stat(tmp_path / "bus").st_mode) == 0o600
        with client(server) as made:
            await came(made, Connected)
            assert made.send(beat("a", 1))
            await manager.until(lambda: manager.heard)

    serving(test, address=f"unix:{tmp_path / 'bus'}")


def test_there_is_no_plain_tcp_off_loopback():
    for address in ("0.0.0.0:0", "192.0.2.1:47700", "sensor.example:47700"):
        with pytest.raises(BusError, match="TLS"):
            Server(address, Manager.__new__(Manager), VOCABULARY)
        with pytest.raises(BusError, match="TLS"):
            Client(address, hello, VOCABULARY)
    with pytest.raises(BusError, match="there is no transport quic://; write tcp://HOST:PORT or unix:///PATH"):
        Endpoint.parse("quic://127.0.0.1:1")
    with pytest.raises(BusError, match="HOST:PORT"):
        Endpoint.parse("nowhere")


def test_a_client_comes_back_when_the_manager_does():
    async def test(server, manager):
        with client(server) as made:
            await came(made, Connected)
            address = server.address
            await server.close()
            await came(made, Disconnected)
            assert not made.send(beat("a", 1))
            assert made.counters["messages_unsent"] == 1
            again = Server(address, manager, VOCABULARY)
            await again.start()
            try:
                await came(made, Connected)
                assert made.send(beat("a", 2))
                await manager.until(lambda: manager.heard)
                assert manager.heard == [("a", beat("a", 2))]
            finally:
                await again.close()

    serving(test)


def test_a_fatal_refusal_ends_it_and_says_why():
    async def test(server, manager):
        manager.answer = Refused("other settings", fatal=True)
        with client(server) as made:
            refused = [each for each in await came(made, Disconnected) if isinstance(each, Refused)]
            assert refused == [Refused("other settings", fatal=True)]
            await asyncio.to_thread(made._thread.join, PATIENCE_S)
            assert not made._thread.is_alive()
        assert len(manager.hellos) == 1

    serving(test)


def test_an_observer_asks_and_is_told():
    async def test(server, manager):
        with client(server, "status", role="observer") as made:
            await came(made, Connected)
            made.send(StatusRequest())
            await manager.until(lambda: manager.heard)
            name, _ = manager.heard[0]
            server.send(name, Status("0.1.0", "", [], 0, 0, 0, {}))
            await came(made, Status)

    serving(test)


def test_acknowledgements_coalesce_and_telemetry_goes_first():
    async def test():
        box = Outbox(QueueLimits(control_messages=2, telemetry_messages=1), VOCABULARY)
        for n in range(3):
            assert box.put(Ack(1, n), encode(Ack(1, n)))
            assert box.put(Ping(), encode(Ping()))
        control = ClusterThresholdCrossed("s", 1, b"", 1)
        assert box.put(control, encode(control))
        assert box.put(control, encode(control))
        assert not box.put(control, encode(control))
        data = await box.drain(1 << 20)
        assert list(FrameDecoder(VOCABULARY, role="manager").feed(data)) == [Ack(1, 2), control, control, Ping()]
        assert (box.acks_coalesced, box.telemetry_dropped) == (2, 2)

    asyncio.run(test())


def test_a_peer_that_does_not_read_is_cut_off_and_others_go_on():
    async def test(server, manager):
        reader, writer = await raw(server, encode(hello("slow")))
        with client(server) as made:
            await came(made, Connected)
            large = ClusterThresholdCrossed("s", 1, bytes(1 << 20), 1)
            await manager.until(lambda: len(server.peers) == 2)
            while server.send("slow", large):
                await asyncio.sleep(0)
            assert server.counters["slow_peers"] == 1
            assert made.send(beat("a", 1))
            await manager.until(lambda: manager.heard == [("a", beat("a", 1))] and manager.gone == ["slow"])
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        reader.feed_eof()

    serving(test)


HOSTILE = {
    "garbage": (b"GET / HTTP/1.1\r\n\r\n", "oversize"),
    "oversize": (b"\x7f\xff\xff\xff", "oversize"),
    "early": (encode(beat("a", 1)), "early"),
    "no message": ((5).to_bytes(4, "big") + b"abcde", "malformed"),
    "nobody joins as a manager": (encode(hello("m", role="manager")), "role"),
    "wrong role": (encode(hello("x")) + encode(Ack(1, 1)), "role"),
    "another's name": (encode(hello("x")) + encode(beat("a", 7)), "other_name"),
    "another's hello": (encode(hello("x")) + encode(hello("x")), "role"),
    "an impossible result": (encode(hello("x")) + encode(Heartbeat("x", 1, 1, 0, -13, Counts())), "impossible"),
    "an observer that delivers": (encode(hello("o", role="observer")) + encode(beat("o", 1)), "role"),
}


@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_a_bad_peer_is_cut_off_and_counted_and_others_do_not_notice(what):
    data, reason = HOSTILE[what]

    async def test(server, manager):
        with client(server) as made:
            await came(made, Connected)
            for n in range(5):
                assert made.send(beat("a", n))
                reader, writer = await raw(server, data)
                answers = await told(reader)
                assert isinstance(answers[-1], Refused)
                assert answers[-1].reason
                writer.close()
            await manager.until(lambda: len(manager.heard) == 5)
        assert manager.heard == [("a", beat("a", n)) for n in range(5)]
        assert server.counters[reason] == 5

    serving(test)


def test_what_takes_too_long_to_say_hello_is_cut_off():
    async def test(server, manager):
        reader, writer = await raw(server, encode(hello("slow"))[:10])
        assert await told(reader) == []
        assert server.counters["slow_hello"] == 1
        writer.close()

    serving(test, QUICK)


def test_idle_connections_of_one_address_are_few_and_keep_nobody_out():
    limits = replace(ServerLimits(), waiting_of_address=4, hello_s=0.5, ping_s=0.2, linger_s=0.2)

    async def test(server, manager):
        host, _, port = server.address.rpartition(":")
        idle = [socket.create_connection((host, int(port))) for _ in range(70)]
        await manager.until(lambda: server.counters["too_many_of_address"] == 66)
        await manager.until(lambda: server.counters["slow_hello"] == 4)
        with client(server) as made:
            await came(made, Connected)
        for each in idle:
            each.close()

    serving(test, limits)


def test_a_peer_that_falls_silent_is_cut_off():
    async def test(server, manager):
        reader, writer = await raw(server, encode(hello("quiet")))
        assert await told(reader) == [Welcome(0, [])]
        assert server.counters["silent_peers"] == 1
        assert manager.gone == ["quiet"]
        writer.close()

    serving(test, QUICK)


def test_a_later_connection_of_a_name_takes_the_place_of_the_earlier_one():
    async def test(server, manager):
        reader, writer = await raw(server, encode(hello("a", 1)))
        await manager.until(lambda: server.peers)
        with client(server, "a", incarnation=2) as made:
            await came(made, Connected)
            answers = await told(reader)
            assert isinstance(answers[-1], Refused)
            assert not answers[-1].fatal
            assert [peer.incarnation for peer in server.peers] == [2]
            assert manager.gone == []
        writer.close()

    serving(test)


def test_a_frame_that_is_cut_short_is_counted():
    async def test(server, manager):
        reader, writer = await raw(server, encode(hello("x")) + encode(beat("x", 1))[:-3])
        writer.write_eof()
        await told(reader)
        await manager.until(lambda: server.counters["truncated"] == 1)
        writer.close()

    serving(test)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("tcp://127.0.0.1:47700", Endpoint("127.0.0.1", 47700)),
        ("127.0.0.1:47700", Endpoint("127.0.0.1", 47700)),
        ("tcp://[::1]:47700", Endpoint("::1", 47700)),
        ("unix:///run/bus", Endpoint(path="/run/bus")),
        ("unix:/run/bus", Endpoint(path="/run/bus")),
    ],
)
def test_an_address_has_a_scheme_or_the_short_form_of_one(text, endpoint):
    assert Endpoint.parse(text) == endpoint
    assert Endpoint.parse(str(endpoint)) == endpoint
    assert endpoint.scheme in TRANSPORTS


class Knock(Message, frozen=True):
    name: str
    role: str
    incarnation: int = 0


class Enter(Message, frozen=True):
    pass


class Said(Message, frozen=True):
    words: str


class Host:
    """Welcomes all, and repeats what they say."""

    def hello(self, peer, hello):
        return Enter()

    def received(self, peer, message):
        self.server.send(peer.name, message)

    def lost(self, peer):
        pass


def test_the_bus_carries_the_messages_of_any_vocabulary(tmp_path):
    own = {None: frozenset({Knock}), "worker": frozenset({Said, Ping}), "manager": frozenset({Enter, Said, Ping})}
    words = Vocabulary(Knock, Enter, own, frozenset({"worker"}), {Knock: "name"}, newest=Enter)

    async def visit():
        host = Host()
        host.server = serve(f"unix:{tmp_path}/bus", host, words)
        await host.server.start()
        guest = dial(host.server.address, lambda: Knock("guest", "worker"), words)
        guest.start()
        try:
            assert await came(guest, Connected) == [Connected(Enter())]
            assert guest.send(Said("good day"))
            assert await came(guest, Said) == [Said("good day")]
        finally:
            await asyncio.to_thread(guest.stop)
            await host.server.close()

    asyncio.run(visit())
