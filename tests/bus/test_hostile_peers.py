"""Peers that mean harm, or merely fail: what they may take of the bus stays bounded, and their end of it is told."""

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections import Counter

import pytest

from sensor.bus.client import Client, ClientLimits
from sensor.bus.codec import FrameDecoder, encode
from sensor.bus.connection import ServerLimits
from sensor.bus.interface import Connected, Disconnected, Failed
from sensor.bus.message import Refused
from sensor.cluster.messages import ClusterSsResponse, Hello, PackedPartial, StatusRequest, Welcome
from sensor.cluster.vocabulary import VOCABULARY
from tests.bus.test_bus import PATIENCE_S, beat, came, client, hello, raw, serving, told

GARBAGE = b"\x00\x00\x00\x05hello"


@contextlib.asynccontextmanager
async def connection(server, *frames):
    """A connection that is no client of ours, which ends with the block."""
    reader, writer = await raw(server, *frames)
    try:
        yield reader
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def test_a_client_whose_connections_held_does_not_wait_longer_each_time():
    limits = ClientLimits(least_pause_s=0.01, most_pause_s=60.0)

    async def test(server, manager):
        made = Client(server.address, hello, VOCABULARY, limits=limits, seed=1)
        made.start()
        try:
            async with asyncio.timeout(PATIENCE_S):
                for _ in range(14):  # pauses that double would come to 80 s
                    await came(made, Connected)
                    server.send("a", Refused("come back"))
                    await came(made, Disconnected)
        finally:
            await asyncio.to_thread(made.stop)

    serving(test)


def test_what_waits_is_delivered_before_a_client_stops(tmp_path):
    """The manager reads nothing until the system holds no more, and some waits in the client, and then slowly."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(tmp_path / "bus"))
        listener.listen()
        most = _sent_before_it_waits(listener, f"unix:{tmp_path}/bus", 10**6)[0]
        n, made, accepted = _sent_before_it_waits(listener, f"unix:{tmp_path}/bus", most - 30)
        stopping = threading.Thread(target=made.stop, args=(PATIENCE_S,))
        stopping.start()
        stopping.join(0.3)
        with accepted:
            assert [each.group for each in _all_of(accepted)] == list(range(n))
        stopping.join()


def _sent_before_it_waits(listener, address, most):
    """Send results of 1000 bytes, as many as a client can get rid of while nobody reads, and `most` at most."""
    made = Client(address, hello, VOCABULARY, seed=1)
    made.start()
    accepted = listener.accept()[0]
    accepted.settimeout(PATIENCE_S)
    accepted.sendall(encode(Welcome(0, [])))
    while not any(isinstance(each, Connected) for each in made.receive(0.1)):
        pass
    n, room = 0, made.room()
    while n < most and _until(lambda: made.room() == room):
        made.send(_result(n, 1000))
        n += 1
    _until(lambda: made.room() == room)
    if most == 10**6:
        made.stop()
        accepted.close()
    return n, made, accepted


def _until(condition):
    """Whether it comes true before long."""
    deadline = time.monotonic() + 0.3
    while not condition() and time.monotonic() < deadline:
        time.sleep(0)
    return condition()


def _result(i, size):
    columns = PackedPartial(bytes([i]) * size, {}, {})
    return ClusterSsResponse("d", "s", 0, "a", 1, i + 1, i, columns, done=True)


def _all_of(connection):
    """What a client sends after its hello, until the stream ends; read in small pieces."""
    decoder = FrameDecoder(VOCABULARY, role="worker")
    seen = []
    while data := connection.recv(5000):
        seen += decoder.feed(data)
    decoder.end()
    return [each for each in seen if isinstance(each, ClusterSsResponse)]


def test_a_client_that_fails_says_so():
    def fail():
        raise ZeroDivisionError("no hello today")

    async def test(server, manager):
        made = Client(server.address, fail, VOCABULARY, seed=1)
        made.start()
        [gone] = [each for each in await came(made, Failed) if isinstance(each, Failed)]
        assert "no hello today" in gone.reason
        made.stop()

    serving(test)


def test_a_manager_that_raises_on_a_message_loses_that_peer_only(caplog):
    async def test(server, manager):
        kept = manager.received

        def received(peer, message):
            if peer.name == "bad":
                raise KeyError("what it was sent")
            kept(peer, message)

        manager.received = received
        with client(server) as good:
            await came(good, Connected)
            async with connection(server, encode(hello("bad")), encode(beat("bad", 1))) as reader:
                assert isinstance((await told(reader))[-1], Refused)
            assert server.counters["handler_failed"] == 1
            good.send(beat("a", 1))
            await manager.until(lambda: manager.heard)
        assert manager.heard == [("a", beat("a", 1))]
        assert manager.gone[0] == "bad"

    with caplog.at_level(logging.CRITICAL, "asyncio"):
        serving(test)


@pytest.mark.parametrize("name", ["", "a\nb", "a b", "\x1b[31m", "ä", "a/b"])
def test_a_name_that_cannot_stand_in_a_log_is_refused(name):
    async def test(server, manager):
        async with connection(server, encode(Hello(name, "worker", "0.1.0"))) as reader:
            (refused,) = await told(reader)
        assert isinstance(refused, Refused) and refused.fatal
        assert server.counters["bad_name"] == 1
        assert not manager.hellos

    serving(test)


def test_connections_that_are_being_refused_count_as_waiting():
    limits = ServerLimits(linger_s=PATIENCE_S, waiting_of_address=4)

    async def test(server, manager):
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(4):
                reader = await stack.enter_async_context(connection(server, GARBAGE))
                await reader.readexactly(4)
            async with connection(server) as reader:
                assert await reader.read() == b""
        assert server.counters["too_many_of_address"] == 1

    serving(test, limits)


def test_addresses_of_nobody_are_forgotten():
    async def test(server, manager):
        port = int(server.address.rpartition(":")[2])
        for i in range(2, 12):
            _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.0.{i}", 0))
            writer.close()
        await manager.until(lambda: server.counters["broken_connections"] == 10)
        await manager.until(lambda: not server._waiting)

    serving(test)


def test_peers_that_come_anew_with_bad_frames_do_not_fill_the_counters():
    async def test(server, manager):
        for i in range(20):
            for who in (hello("ops", role="observer"), hello(f"w{i}")):
                async with connection(server, encode(who), GARBAGE) as reader:
                    assert isinstance((await told(reader))[-1], Refused)
        kinds = Counter(name.split()[0] for name in server.counters)
        assert server.counters["bad_frames ops"] == 20
        assert kinds["bad_frames"] == 8
        assert server.counters["bad_frames others"] == 14

    serving(test, ServerLimits(linger_s=0.3, peers=7))


def test_what_one_peer_sends_at_once_is_handed_on_in_turns():
    async def test(server, manager):
        loop, in_turn, most = asyncio.get_running_loop(), 0, 0
        kept = manager.received

        def turn():
            nonlocal in_turn
            in_turn = 0
            loop.call_soon(turn)

        def received(peer, message):
            nonlocal in_turn, most
            in_turn += 1
            most = max(most, in_turn)
            kept(peer, message)

        manager.received = received
        turn()
        async with connection(server, encode(hello("ops", role="observer")), encode(StatusRequest()) * 2000):
            await manager.until(lambda: len(manager.heard) == 2000)
        assert most == 64

    serving(test)
