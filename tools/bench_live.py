"""Measure live capture beside others on the same traffic in one run: packets a second without loss, CPU time, latency.

    tools/bench live [--seconds 3] [--steps 5] [--alerts 60] [--json]

Needs root: a veth pair is made in a network namespace (tools/lab.py), mixed traffic (tools/traffic) is sent on one end,
and one contender at a time listens on the other, started anew for each try: `sensor run`, `tcpdump -w /dev/null`, and a
loop in Python that takes addresses and ports out of each frame with dpkt. Each has 64 MB of buffer, which this traffic
fills in a third of a second at half a million packets a second; a try takes `--seconds`, after half a second of a few
packets that make each ready. Nothing is pinned: the scheduler puts the sender and who listens where there is room.

Without loss: three tries are as fast as the sender can, and if one of them loses nothing, the sender's limit is what is
found (">="). Otherwise the interval of rates is halved in so many steps, and the highest without any loss counts. Each
contender tells what it got and what it lost; what it got is to be all that was sent. What the kernel does for who
listens (filter, copy into the ring), it does on the sender's core here, so that the sender is slower with a contender
than without one.

From a full buffer: what a sender on the same cores cannot show. The contender, with 512 MB now, takes 800,000 packets
(the dpkt loop 100,000) as they come, then is stopped (SIGSTOP) while the same come again, and goes on when nobody sends
any more: that many it takes a second until there are none. The median of three tries in which none was lost: of a ring
that is over three quarters full, Linux 6.18 was seen to lose one to four packets in a million though there was room.

CPU: user and system time of the contender's processes, from before the first packet until it has come to rest, over the
packets of the try, at the highest rate and at one that all can take. Packets a CPU second is what a core could take if
nothing but its time counted. Others: how many cores had something else to do during that try, with the kernel's part
and what another virtual machine took; where that is not about 0, a rate is that of a busy machine.

Latency: from handing over the packet that crosses a threshold (a reset that answers the 15th port) until the alert's
line has been read, with nothing else on the wire and amid traffic.
"""

import argparse
import contextlib
import json
import os
import queue
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address
from pathlib import Path

import dpkt
import numpy as np
from contenders import (
    LARGE_MB,
    PATIENCE_S,
    Contender,
    at_rest,
    busy_for,
    busy_seconds,
    contenders,
    held_up,
    listening,
    processes,
)
from lab import Host, Lab
from pyroute2 import IPRoute
from sender import Sent, Traffic

PACKETS = 2_000_000
BEFORE_S, BEFORE = 0.5, 20_000  # what makes each ready: seconds, packets a second
AT_TOP_SPEED = 3  # tries: what else the machine does comes and goes
FILLED_S = 2.0  # how long a backlog is sent
EASY = 50_000  # packets a second that all can take
AMID = 100_000  # packets a second
PORTS = 15  # what makes a port scan
TCPDUMP, LOOP = "tcpdump -w /dev/null", "dpkt loop"


@dataclass(frozen=True, slots=True)
class Try:
    """One run of a contender."""

    sent: Sent
    is_whole: bool
    """Whether it got all that was sent, and lost nothing of it."""
    got: int
    """Packets that it did not lose."""
    cpu_s: float
    others: float | None
    """Cores that had something else to do; None: not measured."""

    @property
    def cpu_per_million(self) -> float:
        """CPU seconds for a million packets."""
        return self.cpu_s / self.sent.packets * 1e6


@dataclass(frozen=True, slots=True)
class Found:
    """What a contender can do."""

    best: Try
    is_limit_of_sender: bool
    easy: Try
    from_full: Try
    """How it takes what has filled its buffer: `sent.seconds` is how long it took to empty it, to 10 ms."""


@contextlib.contextmanager
def wire() -> Iterator[Host]:
    """A namespace with a veth pair, near and far, on which no one says anything unasked."""
    with Lab() as lab:
        host = Host(lab, "wire")
        lab.on_exit(host.remove)
        host.configure({"ipv6/conf/default/disable_ipv6": "1", "ipv6/conf/lo/disable_ipv6": "1"})
        with host.inside(), IPRoute() as route:
            route.link("add", ifname="near", kind="veth", peer={"ifname": "far"})
            for name in ("far", "near"):
                route.link("set", index=route.link_lookup(ifname=name)[0], state="up")
        yield host


@contextlib.contextmanager
def sending(host: Host) -> Iterator[socket.socket]:
    """A socket on the far end."""
    with host.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
        sender.bind(("far", 0))
        yield sender


def attempt(host: Host, contender: Contender, traffic: Traffic, seconds: float, rate: float = float("inf")) -> Try:
    """Let a contender take so much traffic."""
    with listening(host, contender) as process, sending(host) as sender:
        before = traffic.send(sender, BEFORE_S, BEFORE)
        used, own, busy, began = at_rest(process.pid), time.process_time(), busy_seconds(), time.monotonic()
        sent = traffic.send(sender, seconds, rate)
        used = at_rest(process.pid) - used
        others = (busy_seconds() - busy - used - time.process_time() + own) / (time.monotonic() - began)
        process.send_signal(signal.SIGINT)
        got, lost = contender.count(*process.communicate(timeout=PATIENCE_S))
    return Try(sent, got == before.packets + sent.packets and not lost, got - lost - before.packets, used, others)


def search(host: Host, contender: Contender, traffic: Traffic, seconds: float, steps: int) -> tuple[Try, bool]:
    """The try of the highest rate without loss, and whether that rate was the sender's limit."""
    tries = [attempt(host, contender, traffic, seconds) for _ in range(AT_TOP_SPEED)]
    if whole := [each for each in tries if each.is_whole]:
        return max(whole, key=lambda each: each.sent.rate), True
    low, high, found = 0.0, max(each.sent.rate for each in tries), None
    rate = max(each.got / each.sent.seconds for each in tries)
    for _ in range(steps):
        made = attempt(host, contender, traffic, seconds, rate)
        if made.is_whole:
            found, low = made, rate
        else:
            high = rate
        rate = (low + high) / 2 if low else high * 0.7
    if found is None:
        raise RuntimeError(f"{contender.command} lost packets at every rate that was tried, even at {high:,.0f}/s")
    return found, False


def empty(host: Host, contender: Contender, traffic: Traffic) -> Try:
    """Let a contender take what has filled its buffer while it stood still."""
    rate = contender.backlog / FILLED_S
    with listening(host, contender) as process, sending(host) as sender:
        before = traffic.send(sender, FILLED_S, rate)
        used, pids = at_rest(process.pid), list(processes(process.pid))
        with held_up(pids):
            sent = traffic.send(sender, FILLED_S, rate)
        seconds = busy_for(pids)
        used = at_rest(process.pid) - used
        process.send_signal(signal.SIGINT)
        got, lost = contender.count(*process.communicate(timeout=PATIENCE_S))
    is_whole = got == before.packets + sent.packets and not lost and seconds > 0
    return Try(Sent(sent.packets, seconds), is_whole, got - lost - before.packets, used, None)


def from_full(host: Host, contender: Contender, traffic: Traffic) -> Try:
    """The median try of those that lost nothing, by rate."""
    tries: list[Try] = []
    for _ in range(3 * AT_TOP_SPEED):
        made = empty(host, contender, traffic)
        if made.is_whole:
            tries.append(made)
        if len(tries) == AT_TOP_SPEED:
            return sorted(tries, key=lambda each: each.sent.rate)[AT_TOP_SPEED // 2]
    raise RuntimeError(
        f"{contender.command} lost packets in {3 * AT_TOP_SPEED - len(tries)} of {3 * AT_TOP_SPEED} tries"
    )


def probe(source: IPv4Address, port: int) -> tuple[bytes, bytes]:
    """An attempt to connect, and its refusal."""
    ends = source.packed, IPv4Address("192.0.2.1").packed
    frames = []
    for (src, sport), (dst, dport), flags in (
        ((ends[0], 40000), (ends[1], port), dpkt.tcp.TH_SYN),
        ((ends[1], port), (ends[0], 40000), dpkt.tcp.TH_RST | dpkt.tcp.TH_ACK),
    ):
        segment = dpkt.tcp.TCP(sport=sport, dport=dport, flags=flags, seq=1, ack=2)
        packet = dpkt.ip.IP(src=src, dst=dst, p=dpkt.ip.IP_PROTO_TCP, data=segment)
        packet.len = len(packet)
        frames.append(bytes(dpkt.ethernet.Ethernet(dst=b"\xff" * 6, src=b"\2\0\0\0\0\1", data=packet)))
    return frames[0], frames[1]


@contextlib.contextmanager
def amid(host: Host, traffic: Traffic, rate: float) -> Iterator[None]:
    """So many packets a second meanwhile."""
    over = threading.Event()

    def send() -> None:
        with sending(host) as sender:
            while not over.is_set():
                traffic.send(sender, 0.5, rate)

    sends = threading.Thread(target=send)
    if rate:
        sends.start()
    try:
        yield
    finally:
        over.set()
        if rate:
            sends.join()


def latencies(host: Host, contender: Contender, traffic: Traffic, alerts: int, rate: float) -> list[float]:
    """Seconds from the packet that crosses a threshold to its alert's line, amid so many packets a second."""
    chance, found = random.Random(1), []
    with contextlib.ExitStack() as stack:
        process, sender = stack.enter_context(listening(host, contender)), stack.enter_context(sending(host))
        traffic.send(sender, BEFORE_S, BEFORE)
        at_rest(process.pid)
        stack.enter_context(amid(host, traffic, rate))
        lines: queue.Queue[tuple[float, dict[str, str]]] = queue.Queue()

        def read() -> None:
            for line in process.stdout:
                then, record = time.monotonic(), json.loads(line)
                if record["event_type"] == "alert":
                    lines.put((then, record))

        threading.Thread(target=read, daemon=True).start()
        for source in (IPv4Address("198.51.100.1") + number for number in range(alerts + 1)):
            for port in range(1, PORTS):
                for frame in probe(source, port):
                    sender.send(frame)
            syn, refusal = probe(source, PORTS)
            sender.send(syn)
            time.sleep(chance.uniform(0.05, 0.15))  # at any time within what the ring does now and then
            started = time.monotonic()
            sender.send(refusal)
            then, record = lines.get(timeout=PATIENCE_S)
            if record["src"] != str(source):
                raise RuntimeError(f"that is not the alert of {source} that was to come: {record}")
            found.append(then - started)
    return sorted(found[1:])  # the first one makes it ready


def report(found: dict[str, Found], delays: dict[str, list[float]]) -> None:
    """Print the tables."""
    tcpdump, loop = found.get(TCPDUMP), found[LOOP]
    print(f"{'':<22}{'without loss':>24}{'CPU s/million':>30}{'packets a':>13}{'packets a CPU s':>20}{'others:':>9}")
    print(f"{'':<22}{'packets/s':>12}{'x dpkt':>7}{'x tcp.':>7}{'at that':>14}", end="")
    print(f"{f'at {EASY:,}/s':>14}{'CPU s':>13}{'x dpkt':>10}{'x tcpdump':>10}{'cores':>9}")
    for name, each in found.items():
        best, easy = each.best, each.easy
        rate = f"{'>= ' if each.is_limit_of_sender else ''}{best.sent.rate:,.0f}"
        print(f"{name:<22}{rate:>12}", end="")
        for other in (loop, tcpdump):
            print(f"{best.sent.rate / other.best.sent.rate:>7.2f}" if other else f"{'':>7}", end="")
        print(f"{best.cpu_per_million:>14.2f}{easy.cpu_per_million:>14.2f}{1e6 / best.cpu_per_million:>13,.0f}", end="")
        for other in (loop, tcpdump):
            print(f"{other.best.cpu_per_million / best.cpu_per_million:>10.2f}" if other else f"{'':>10}", end="")
        print(f"{best.others:>9.1f}")
    print(f"\n{'from a full buffer':<22}{'packets/s':>12}{'x dpkt':>7}{'x tcp.':>7}{'CPU s/million':>14}")
    for name, each in found.items():
        full = each.from_full
        print(f"{name:<22}{full.sent.rate:>12,.0f}", end="")
        for other in (loop, tcpdump):
            print(f"{full.sent.rate / other.from_full.sent.rate:>7.2f}" if other else f"{'':>7}", end="")
        print(f"{full.cpu_per_million:>14.2f}")
    print("\n>= : no packet was lost at that rate, which is the sender's limit beside this contender")
    print("\nfrom the packet that crosses a threshold to its alert; milliseconds")
    print(f"{'':<24}{'alerts':>8}{'median':>9}{'99 %':>9}{'least':>9}{'most':>9}")
    for name, times in delays.items():
        shown = statistics.median(times), float(np.quantile(times, 0.99, method="higher")), times[0], times[-1]
        print(f"{name:<24}{len(times):>8}" + "".join(f"{1000 * each:>9.1f}" for each in shown))


def measure(seconds: float, steps: int, alerts: int) -> tuple[dict[str, Found], dict[str, list[float]]]:
    """All of it: what each contender can do, and how soon alerts come."""
    with tempfile.TemporaryDirectory() as folder, wire() as host:
        file = str(Path(folder) / "mixed.pcap")
        maker = Path(__file__).with_name("traffic")
        subprocess.run([sys.executable, maker, "--packets", str(PACKETS), file], check=True)
        traffic, all_of_them, found, delays = Traffic(file), contenders(), {}, {}
        sensor = all_of_them["sensor run"]
        attempt(host, sensor, traffic, seconds, AMID)  # kernels are compiled, if they were not yet
        for name, each in all_of_them.items():
            best, is_limit = search(host, each, traffic, seconds, steps)
            easy, with_large = attempt(host, each, traffic, seconds, EASY), contenders(LARGE_MB)[name]
            found[name] = Found(best, is_limit, easy, from_full(host, with_large, traffic))
        for name, rate in (("with nothing else", 0), (f"amid {AMID:,} packets/s", AMID)):
            delays[name] = latencies(host, sensor, traffic, alerts, rate)
    return found, delays


def main(given: list[str]) -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--alerts", type=int, default=60)
    parser.add_argument("--json", action="store_true", help="JSON lines instead of tables")
    arguments = parser.parse_args(given)
    if os.geteuid() != 0:
        parser.error("network namespaces need root")
    found, delays = measure(arguments.seconds, arguments.steps, arguments.alerts)
    if arguments.json:
        for name, each in found.items():
            print(json.dumps({"section": "capture", "contender": name} | asdict(each)))
        for name, times in delays.items():
            print(json.dumps({"section": "latency", "traffic": name, "seconds": times}))
        return
    report(found, delays)
