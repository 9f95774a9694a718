"""Measure the bus beside a bare asyncio stream of the same bytes in one run, and print their ratios.

    tools/bench bus [--runs 5]

One client and one server in one process (so both share the interpreter's lock), on loopback, in the clear and over TLS
1.3 if there is `openssl` to make a certificate. Small messages are heartbeats, large ones results with 256 KiB of
columns. The stream is fed by a thread of its own as well: it hands over the same frames, made beforehand, and its other
end counts bytes: it neither encodes, decodes, checks, keeps to bounds nor answers. All cases are run in turn; the
median of the runs is printed with the least and the most. Messages a second are by the clock, from the first that is
sent to the last that has arrived; another process that is busy meanwhile counts in.
"""

import argparse
import asyncio
import ssl
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from sensor.bus.client import Client
from sensor.bus.codec import encode
from sensor.bus.connection import ServerLimits
from sensor.bus.interface import Connected, Peer
from sensor.bus.message import Message, Refused
from sensor.bus.server import Server
from sensor.cluster.messages import ClusterSsResponse, Counts, Heartbeat, Hello, PackedPartial, Welcome
from sensor.cluster.vocabulary import VOCABULARY

HEARTBEAT = Heartbeat("worker-1", 1, 1, 0, 1, Counts(weirds={f"weird_{i}": i for i in range(10)}))
RESULTS = ClusterSsResponse(
    "d" * 64, "scans", 1, "worker-1", 1, 1, 0, PackedPartial(bytes(256 << 10), {}, {}), done=True
)
UNLIMITED = ServerLimits(messages_per_second=1e12, bytes_per_second=1e15)
COUNTS = {"heartbeat": (HEARTBEAT, 20_000), "256 KiB of columns": (RESULTS, 1_000)}

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]
"""The server's, and the client's."""


class Tally:
    """A manager that only counts."""

    def __init__(self, expected: int) -> None:
        self._left = expected
        self.all_are_here = asyncio.Event()

    def hello(self, peer: Peer, hello: Hello) -> Welcome | Refused | None:
        """Let everybody in."""
        return Welcome(0, [])

    def received(self, peer: Peer, message: Message) -> None:
        """Count it."""
        self._left -= 1
        if not self._left:
            self.all_are_here.set()

    def lost(self, peer: Peer) -> None:
        """Say nothing."""


def certificates(folder: Path) -> Contexts | None:
    """A certificate for 127.0.0.1 that both ends trust; None: there is no openssl."""
    key, certificate = folder / "key", folder / "certificate"
    command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -keyout {key}"
    name = f" -out {certificate} -subj /CN=bench -addext subjectAltName=IP:127.0.0.1"
    try:
        subprocess.run((command + name).split(), check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(certificate, key)
    client.load_verify_locations(certificate)
    server.minimum_version = client.minimum_version = ssl.TLSVersion.TLSv1_3
    return server, client


async def through_bus(message: Message, n: int, contexts: Contexts | None) -> float:
    """Seconds for so many messages from a client to the manager."""
    tally = Tally(n)
    server_tls, client_tls = contexts or (None, None)
    server = Server("127.0.0.1:0", tally, VOCABULARY, tls=server_tls, limits=UNLIMITED)
    await server.start()
    client = Client(server.address, lambda: Hello("worker-1", "worker", "bench"), VOCABULARY, tls=client_tls)
    client.start()
    while not any(isinstance(each, Connected) for each in await asyncio.to_thread(client.receive, 1.0)):
        pass
    started = time.perf_counter()
    sending = asyncio.create_task(asyncio.to_thread(send_all, client, message, n))
    await tally.all_are_here.wait()
    seconds = time.perf_counter() - started
    await sending
    await asyncio.to_thread(client.stop)
    await server.close()
    return seconds


def send_all(client: Client, message: Message, n: int) -> None:
    """Send, and wait where there is no room."""
    size = len(encode(message))
    for _ in range(n):
        while client.room() < size:
            time.sleep(0.001)
        if not client.send(message):
            raise RuntimeError("the connection was lost")


async def through_stream(message: Message, n: int, contexts: Contexts | None) -> float:
    """Seconds for the same bytes, frame by frame, through bare asyncio streams, the sender in a thread of its own."""
    frame, all_are_here = encode(message), asyncio.Event()
    server_tls, client_tls = contexts or (None, None)

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = n * len(frame)
        while left and (data := await reader.read(64 << 10)):
            left -= len(data)
        all_are_here.set()
        writer.close()

    async def feed(port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_tls)
        for _ in range(n):
            writer.write(frame)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(count, "127.0.0.1", 0, ssl=server_tls)
    port = server.sockets[0].getsockname()[1]
    started = time.perf_counter()
    thread = threading.Thread(target=lambda: asyncio.run(feed(port)))
    thread.start()
    await all_are_here.wait()
    seconds = time.perf_counter() - started
    await asyncio.to_thread(thread.join)
    server.close()
    await server.wait_closed()
    return seconds


WAYS = {"bus": through_bus, "bare stream": through_stream}


def measure(runs: int, contexts: dict[str, Contexts | None]) -> dict[tuple[str, str, str], list[float]]:
    """Seconds of each case in each run: what is sent, over what, and by which way."""
    cases = [(what, over, way) for what in COUNTS for over in contexts for way in WAYS]
    times: dict[tuple[str, str, str], list[float]] = {case: [] for case in cases}
    for run in range(runs + 1):
        for what, over, way in cases:
            seconds = asyncio.run(WAYS[way](*COUNTS[what], contexts[over]))
            if run:  # the first warms up
                times[what, over, way].append(seconds)
    return times


def report(times: dict[tuple[str, str, str], list[float]]) -> None:
    """Print the table."""
    print(f"{'':<20}{'over':<6}{'way':<13}{'messages/s':>12}{'least':>11}{'most':>11}{'MB/s':>9}{'x stream':>10}")
    for (what, over, way), each in times.items():
        message, n = COUNTS[what]
        rates = [n / seconds for seconds in each]
        median = statistics.median(rates)
        megabytes = median * len(encode(message)) / 1e6
        ratio = statistics.median(each) / statistics.median(times[what, over, "bare stream"])
        numbers = f"{median:>12,.0f}{min(rates):>11,.0f}{max(rates):>11,.0f}{megabytes:>9,.0f}{ratio:>10.2f}"
        print(f"{what:<20}{over:<6}{way:<13}{numbers}")


def main(given: list[str]) -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args(given)
    with tempfile.TemporaryDirectory() as folder:
        contexts: dict[str, Contexts | None] = {"plain": None}
        made = certificates(Path(folder))
        if made:
            contexts["TLS"] = made
        report(measure(arguments.runs, contexts))
