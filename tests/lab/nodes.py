"""What tests of real clusters share: nodes as processes of their own, fed block by block with a capture.

A worker reads the capture from a pipe, and the test says how far. So what befalls a node falls where the test wants it,
however fast the machine is: as soon as a worker has taken a block and is about to work on it.
"""

import contextlib
import fcntl
import importlib.util
import json
import os
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from importlib.machinery import SourceFileLoader
from pathlib import Path

import numpy as np

from sensor.bus.endpoint import Endpoint
from sensor.clock import now_ns
from sensor.pki.authority import create
from tests.cluster.certificates import make_node
from tests.replaying import ROOT, replay

PATIENCE_S = 60.0
BLOCKS = 120
SENSOR = ("-m", "sensor")
FORGETFUL = (
    "-c",
    "import sensor.node.worker_node as node; node.MEMORY_BYTES = 4096; from sensor.cli.main import main; main()",
)
"""A worker that holds next to nothing in memory, so that a small capture comes to its spool."""
_POLL_S = 0.002


def until(condition, what, patience_s=PATIENCE_S):
    """Wait for what other processes do; gives what was waited for."""
    deadline = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what() if callable(what) else what}"
        time.sleep(_POLL_S)
    return found


class Capture:
    """A capture with scans in it, the alerts that `sensor replay` finds there, and how far workers may read.

    Eight minutes of everyday conversations; every 12 seconds somebody new scans a host's ports, or a network for a
    port, in one go or so slowly that it takes several panes.
    """

    def __init__(self, path, *, packets=6000, scans=40, seed=1):
        traffic = _traffic()
        columns = traffic.packets(packets, seed)
        columns["payload"] //= 20
        columns["ts"] *= 480_000_000_000 // int(columns["ts"].max())
        path.write_bytes(traffic.encode(_joined(columns, _scans(scans, seed))).tobytes())
        self.path = path
        data = path.read_bytes()
        size = -(-len(data) // BLOCKS)
        self.blocks = [data[start : start + size] for start in range(0, len(data), size)]
        ran = replay(path)
        self.alerts = standing(ran.alerts + ran.updates)


def _traffic():
    loader = SourceFileLoader("traffic", str(ROOT / "tools" / "traffic"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("traffic", loader))
    loader.exec_module(module)
    return module


def _scans(scans, seed):
    """Probes that are never answered, in the columns of tools/traffic."""
    rng = np.random.default_rng(seed)
    ts, src, dst, port = [], [], [], []
    for n in range(scans):
        count = int(rng.integers(12, 60))
        spread = int(rng.choice([1_000, 200_000])) * 1_000_000  # ms in all: at once, or over several panes
        ts.append(n * 12_000_000_000 + np.sort(rng.integers(0, spread, count)))
        src.append(np.full(count, (200 << 16) + n))
        host = (201 << 16) + 256 * n
        dst.append(np.full(count, host) if n % 2 else host + np.arange(count))
        port.append(1000 + np.arange(count) if n % 2 else np.full(count, 22))
    columns = {"ts": ts, "src": src, "dst": dst, "dport": port}
    made = {name: np.concatenate(parts) for name, parts in columns.items()}
    same = {"flags": 2, "payload": 0, "ack": 0, "sport": 40_000, "seq": 7}
    return made | {name: np.full(len(made["ts"]), value) for name, value in same.items()}


def _joined(one, other):
    joined = {name: np.concatenate([one[name], other[name]]) for name in one}
    order = np.argsort(joined["ts"], kind="stable")
    return {name: column[order] for name, column in joined.items()}


_FINAL = ("value", "first_seen", "last_seen", "complete", "missing")
_ABOUT = ("detection", "kind", "src", "dst", "port", "epoch", "threshold")


def standing(records):
    """The alerts that stand after all updates, by id: what each is about, and its final figures."""
    found = {}
    for each in records:
        if each["event_type"] == "alert":
            found[each["id"]] = {name: each[name] for name in _ABOUT + _FINAL}
        elif each["folded_into"] is None and each["state"] in ("open", "ended"):
            found[each["id"]] |= {name: each[name] for name in _FINAL}
        else:
            del found[each["id"]]
    return found


def told(path):
    """The records of an alert file, each of which must be there once."""
    records = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    names = [(each["event_type"], each["id"], each["ts"], each.get("state")) for each in records]
    assert len(names) == len(set(names)), "an alert is there twice"
    return records


class Node:
    """A process. What it says on standard error is in `log`."""

    def __init__(self, arguments, log, *, program=SENSOR, inside=contextlib.nullcontext, stdin=subprocess.DEVNULL):
        command = [sys.executable, *map(str, (*program, *arguments))]
        self.log, self.output = log, log.with_suffix(".out")
        with inside(), log.open("ab") as errors, self.output.open("wb") as output:
            self._process = subprocess.Popen(command, cwd=ROOT, stdin=stdin, stdout=output, stderr=errors, bufsize=0)
        self.pid, self.stdin = self._process.pid, self._process.stdin

    @property
    def is_over(self):
        return self._process.poll() is not None

    @property
    def said(self):
        return self.log.read_text()

    @property
    def memory(self):
        """Bytes that it holds (VmRSS)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) << 10

    def sockets(self):
        """Its open sockets, by their inodes."""
        return {each for each in self._files() if each.startswith("socket:")}

    def spool_files(self, folder):
        """The files without a name that it has in a folder."""
        return [each for each in self._files() if each.startswith(f"{folder}/")]

    def _files(self):
        found = []
        for each in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(os.readlink(each))
        return found

    def signal(self, number):
        self._process.send_signal(number)

    def wait(self):
        """Its exit code."""
        until(lambda: self.is_over, lambda: f"the end of {self._process.args}; it said: {self.said}")
        return self._process.returncode

    def end(self):
        """End it, in whatever state it is."""
        if not self.is_over:
            self._process.kill()
        self._process.wait()


class Feed(threading.Thread):
    """Gives a worker the blocks of a capture, as far as it is `allowed`; `taken` is how many it has read."""

    def __init__(self, blocks, node):
        super().__init__(daemon=True)
        self._blocks, self._node = blocks, node
        self.allowed = self.taken = 0
        self.start()

    def run(self):
        """Until the worker has ended, or has all."""
        with contextlib.suppress(OSError), self._node.stdin as pipe:
            for block in self._blocks:
                while self.allowed <= self.taken and not self._node.is_over:
                    time.sleep(_POLL_S)
                pipe.write(block)
                while not self._node.is_over and _left(pipe):
                    time.sleep(_POLL_S)
                if self._node.is_over:
                    return
                self.taken += 1


def _left(pipe):
    """Bytes in a pipe that nobody has read."""
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]


class Cluster:
    """A manager, and workers that share a capture. A context manager: on leaving it, all processes end.

    `options` are more of the manager's. Of nodes by name: `hosts` is where they are, `programs` what they run, where it
    is not as usual. With an `address`, the manager listens there beside its Unix socket, and workers with a host of
    their own reach it by certificate.
    """

    def __init__(self, folder, capture, names, *, hosts=None, programs=None, address=None, options=()):
        self._options = options
        self.folder, self.capture, self.names = folder, capture, names
        self.state, self.bus = folder / "state", f"unix:{folder}/state/bus"
        self._hosts, self._programs = hosts or {}, programs or {}
        self._far = {name: folder / f"node-{name}" for name in names if address and name in self._hosts}
        if address:
            host, enrolment = Endpoint.parse(address).host, "127.0.0.1:47701"
            create(self.state / "cluster", host, bus=address, enrolment=enrolment, now=now_ns())
            for name, own in self._far.items():
                make_node(own / "cluster", self.state / "cluster", name)
        self._listen = () if address else ("--listen", self.bus)
        self.nodes, self.feeds = {}, {}
        self._all = []
        self._allowed = 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for each in self._all:
            each.end()
        for each in self.feeds.values():
            each.join()

    def start(self, *names):
        """Start nodes, or start them anew: a worker then reads from the start."""
        for name in names:
            if name == "manager":
                own = ("manager", *self._listen, "--state", self.state, "--until-done", "--json", *self._options)
                self._start(name, (*own, "--workers", ",".join(self.names)), subprocess.DEVNULL)
            else:
                share = f"{self.names.index(name) + 1}/{len(self.names)}"
                near = ("--manager", self.bus, "--state", self.state, "--name", name)
                own = ("--state", self._far[name]) if name in self._far else near
                own = ("worker", *own, "--replay", "-", "--share", share, "--spool", self.spool(name))
                self._start(name, own, subprocess.PIPE)
                self.feeds[name] = Feed(self.capture.blocks, self.nodes[name])
                self.feeds[name].allowed = self._allowed

    def _start(self, name, arguments, stdin):
        inside = self._hosts[name].inside if name in self._hosts else contextlib.nullcontext
        program, log = self._programs.get(name, SENSOR), self.folder / f"{name}.log"
        node = Node(arguments, log, program=program, inside=inside, stdin=stdin)
        self.nodes[name] = node
        self._all.append(node)

    def spool(self, name):
        """The folder of a worker's spool."""
        return self.folder / f"spool-{name}"

    def read(self, blocks, *names):
        """Let workers read so far, a block after the other, each when those named have read the one before."""
        while self._allowed < blocks:
            self._allowed += 1
            for each in self.feeds.values():
                each.allowed = self._allowed
            self.wait_for(self._allowed, *names)
        self.wait_for(blocks, *names)

    def wait_for(self, blocks, *names):
        """Wait until the workers named have read so far."""
        for name in names:
            feed, what = self.feeds[name], f"{name} to read block {blocks}"
            until(lambda feed=feed: feed.taken >= blocks, lambda what=what: f"{what}; they said: {self._said()}")

    def under_way(self):
        """The workers that have been let in, and read on: one that has not is of no use while there is no manager.

        What the first block is of, a worker looks at before it dials.
        """
        return {name for name, feed in self.feeds.items() if feed.taken > 1}

    def kill(self, name):
        """End a node with SIGKILL."""
        self.nodes[name].signal(signal.SIGKILL)
        self.nodes[name].wait()

    def halt(self, name):
        """Make a node stand still."""
        self.nodes[name].signal(signal.SIGSTOP)

    def go_on(self, name):
        """Let it go on."""
        self.nodes[name].signal(signal.SIGCONT)

    def finish(self):
        """Let all be read, and wait for all nodes to end in order."""
        self.read(len(self.capture.blocks), *self.names)
        for name in (*self.names, "manager"):
            assert self.nodes[name].wait() == 0, self._said()

    def told(self):
        """The alerts that stand in the manager's file."""
        return standing(told(self.state / "alerts.jsonl"))

    def status(self):
        """What `sensor status` says; nothing while there is no manager."""
        command = [sys.executable, *SENSOR, "status", "--manager", self.bus, "--json"]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
        return {"nodes": [], "epochs_incomplete": 0} if ran.returncode else json.loads(ran.stdout)

    def states(self):
        """How the workers are, by name."""
        return {each["name"]: each["state"] for each in self.status()["nodes"]}

    def summary(self):
        """What the manager closed with."""
        return json.loads(self.nodes["manager"].output.read_text().splitlines()[-1])

    def _said(self):
        return {name: node.said for name, node in self.nodes.items()}
