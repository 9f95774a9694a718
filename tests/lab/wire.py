"""A wire of two ends in a network namespace of its own, what is sent on it, and what a live source takes from it."""

import contextlib
import socket
import struct
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sensor.capture.live.af_packet import Geometry, RingSettings, open_ring
from sensor.capture.live.live_capture import Live
from tests.lab.laboratory import lab, pyroute2, why_no_lab

PCAPS = Path(__file__).parents[2] / "pcaps"
ROOMY = Geometry(1 << 16, 256)
"""No frame is lost in it while the reader is held up for less than 256 blocks, of 5 ms each."""
LIMIT_S = 30
BROADCAST, SENDER = b"\xff" * 6, bytes.fromhex("020000000001")


class Wire:
    """What is sent on "far" arrives at "near"; no one else is there, and neither end says anything unasked."""

    def __init__(self, net):
        self.host = lab.Host(net, "wire")
        net.on_exit(self.host.remove)
        self.host.configure({"ipv6/conf/default/disable_ipv6": "1", "ipv6/conf/lo/disable_ipv6": "1"})
        self.make()

    def make(self, near="near", far="far"):
        with self.route() as route:
            route.link("add", ifname=near, kind="veth", peer={"ifname": far})
        self.set(far, "up")
        self.set(near, "up")

    def delete(self, near="near"):
        with self.route() as route:
            route.link("del", index=route.link_lookup(ifname=near)[0])

    def set(self, name, state):
        with self.route() as route:
            route.link("set", index=route.link_lookup(ifname=name)[0], state=state)

    @contextlib.contextmanager
    def route(self):
        with self.host.inside(), pyroute2.IPRoute() as route:
            yield route

    def received(self):
        """How many frames the near end has got from the wire."""
        with self.route() as route:
            return route.get_links(route.link_lookup(ifname="near")[0])[0].get("stats64")["rx_packets"]

    def sender(self, name="far"):
        with self.host.inside():
            sending = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            sending.bind((name, 0))
        return sending

    def send(self, frames, name="far"):
        with self.sender(name) as sending:
            for frame in frames:
                sending.send(frame)

    def live(self, *interfaces, **options):
        """A source on the near end or on those interfaces, roomy and quick unless told otherwise."""
        settings = {key: options.pop(key) for key in list(options) if key in RingSettings.__slots__}
        settings = RingSettings(**({"interface": "near", "ring": ROOMY, "retire_ms": 5} | settings))
        with self.host.inside():
            each = [replace(settings, interface=name) for name in interfaces]
            return Live(each or [settings], **({"opener": self.opener, "wait_s": 0.05} | options))

    def opener(self, settings):
        with self.host.inside():
            return open_ring(settings)


@pytest.fixture(scope="module")
def wire():
    if reason := why_no_lab():
        pytest.skip(reason)
    with lab.Lab() as net:
        yield Wire(net)


def copied(block):
    """The frames of a block as (bytes, wirelen, ts, linktype, interface)."""
    found = []
    for row in block.frames:
        data = block.buffers[row["buffer"]][row["offset"] : row["offset"] + row["caplen"]].tobytes()
        found.append((data, int(row["wirelen"]), int(row["ts"]), int(row["linktype"]), int(row["interface"])))
    return found


def blocks_of(live, size=16384):
    """The blocks of a source; fails rather than wait for ever."""
    deadline = time.monotonic() + LIMIT_S
    for block in live.blocks(size):
        assert time.monotonic() < deadline, live.counters
        yield block


def wait_for(condition):
    """Return once it holds; fails rather than wait for ever."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline


def of_blocks(blocks):
    return [frame for block in blocks for frame in copied(block)]


def take(live, count, *, size=16384):
    """Frames until there are `count`, and then what is left when the source has stopped."""
    found, quiet = [], 0
    for block in blocks_of(live, size):
        found += copied(block)
        quiet = 0 if len(block.frames) else quiet + 1
        if len(found) >= count or quiet > 100:
            live.stop()
    return found


def fanout_of(live):
    """What another one has to say to join its group."""
    return live.taps[0].settings.fanout


def balanced(counters):
    return counters["kernel_packets"] == counters["packets_delivered"] + counters["ring_drops"]


def udp(number, *, source=0, size=60, swap=False, host=1):
    """A UDP frame with a number in its payload; `host` and `source` choose the flow, `swap` its direction."""
    ends = [(b"\xc0\x00\x02" + bytes([host]), 1024 + source), (b"\xc6\x33\x64\x01", 53)]
    (a, sport), (b, dport) = reversed(ends) if swap else ends
    payload = struct.pack("!Q", number).ljust(max(8, size - 42), b"\0")
    datagram = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0, a, b)
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + header[12:]
    return BROADCAST + SENDER + b"\x08\x00" + header + datagram


def number(frame):
    """The number in a frame made by `udp`."""
    return struct.unpack_from("!Q", frame, 42)[0]


def tagged(frame, vlan, *, tpid=0x8100, priority=0):
    return frame[:12] + struct.pack("!HH", tpid, priority << 13 | vlan) + frame[12:]


class Sender(threading.Thread):
    """Sends numbered frames until told to stop, and counts what it sent."""

    def __init__(self, sending, make=udp):
        super().__init__(daemon=True)
        self._sending, self._make, self._end = sending, make, threading.Event()
        self.sent = 0

    def run(self):
        while not self._end.is_set():
            try:
                self._sending.send(self._make(self.sent))
            except OSError:
                continue
            self.sent += 1

    def finish(self):
        self._end.set()
        self.join(30)
        self._sending.close()
        return self.sent


def is_sorted(times):
    return bool(np.all(np.diff(np.array(times)) >= 0))
