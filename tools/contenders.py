"""Who takes packets off a wire in `tools/bench live`, each as a process, and what it says of them and costs."""

import contextlib
import json
import operator
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import Host

ROOT = Path(__file__).resolve().parents[1]
BUFFER_MB = 64
LARGE_MB = 512
REST_S, LOOK_S, PATIENCE_S = 0.15, 0.01, 60.0
TICKS = os.sysconf("SC_CLK_TCK")

DPKT = """
import dpkt, socket, struct, sys
taken = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
taken.setsockopt(socket.SOL_SOCKET, 33, int(sys.argv[2]) << 20)  # SO_RCVBUFFORCE
taken.bind((sys.argv[1], 3))
print("listening", file=sys.stderr, flush=True)
try:
    while True:
        ip = dpkt.ethernet.Ethernet(taken.recv(65536)).data
        ip.src, ip.dst, ip.data.sport, ip.data.dport
except KeyboardInterrupt:
    print(*struct.unpack("2I", taken.getsockopt(263, 6, 8)))
"""


@dataclass(frozen=True, slots=True)
class Contender:
    """Who takes packets from the near end."""

    command: Sequence[str]
    count: Callable[[str, str], tuple[int, int]]
    """From what it wrote (stdout, stderr): packets that the kernel had for it, lost ones included, and lost ones."""
    backlog: int = 800_000
    """Packets that a buffer of LARGE_MB holds for certain, at 345 bytes."""


def contenders(buffer_mb: int = BUFFER_MB) -> dict[str, Contender]:
    """All that can be run here, with so large a buffer each."""
    sensor = [sys.executable, "-m", "sensor", "run", "-i", "near", "--json", "--ring", str(buffer_mb)]
    found = {"sensor run": Contender(sensor, _of_sensor)}
    if "--capture-workers" in subprocess.run([*sensor, "--help"], capture_output=True, text=True, check=True).stdout:
        found["sensor run, 2 workers"] = Contender([*sensor, "--capture-workers", "2"], _of_sensor)
    if shutil.which("tcpdump"):
        command = ["tcpdump", "-i", "near", "-B", str(buffer_mb << 10), "-w", "/dev/null"]
        found["tcpdump -w /dev/null"] = Contender(command, _of_tcpdump)
    loop = [sys.executable, "-c", DPKT, "near", str(buffer_mb)]  # each packet takes a buffer of its own in the kernel
    return found | {"dpkt loop": Contender(loop, _of_loop, backlog=100_000)}


def _of_sensor(out: str, said: str) -> tuple[int, int]:
    counters = json.loads(out.splitlines()[-1])["counters"]
    return counters["kernel_packets"], counters["ring_drops"]


def _of_tcpdump(out: str, said: str) -> tuple[int, int]:
    received, dropped = (re.search(rf"(\d+) packets? {what}", said) for what in ("received by filter", "dropped by k"))
    if not received or not dropped:
        raise RuntimeError(f"tcpdump does not say what it got: {said}")
    return int(received[1]), int(dropped[1])


def _of_loop(out: str, said: str) -> tuple[int, int]:
    packets, lost = map(int, out.split())
    return packets, lost


@contextlib.contextmanager
def listening(host: Host, contender: Contender) -> Iterator[subprocess.Popen[str]]:
    """The contender's process, once it listens; ended, whatever happens."""
    pipe = subprocess.PIPE
    with host.inside():
        process = subprocess.Popen(contender.command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
    try:
        assert process.stderr is not None
        said = ""
        while "listening" not in said:
            if not (line := process.stderr.readline()):
                raise RuntimeError(f"{contender.command} does not listen: {said}")
            said += line
        yield process
    finally:
        process.kill()
        process.communicate()


def processes(pid: int) -> dict[int, int]:
    """A process and its descendants: the clock ticks that each has run, with those that it has waited for (proc(5))."""
    rows = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            rows[int(path.parent.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    wanted = {pid}
    while more := {each for each, (parent, _) in rows.items() if parent in wanted} - wanted:
        wanted |= more
    return {each: rows[each][1] for each in wanted if each in rows}


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, of its descendants, and of those that it has waited for."""
    return sum(processes(pid).values()) / TICKS


def busy_seconds() -> float:
    """CPU time that this machine has spent on anything, or that was taken from it (proc(5))."""
    user, nice, system, _, _, *others = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + sum(others)) / TICKS


def ran_ns(pid: int) -> int:
    """How long a process has run, to a tick of the scheduler, which is finer than clock ticks (/proc/PID/schedstat)."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


@contextlib.contextmanager
def held_up(pids: Sequence[int]) -> Iterator[None]:
    """Processes stand still meanwhile."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def busy_for(pids: Sequence[int]) -> float:
    """How many seconds from now any of some processes has a core for most of the time, to 10 ms."""
    started = busy = last = time.monotonic()
    before = [ran_ns(pid) for pid in pids]
    while last - busy < REST_S and last - started < PATIENCE_S:
        time.sleep(LOOK_S)
        now, ran = time.monotonic(), [ran_ns(pid) for pid in pids]
        if max(map(operator.sub, ran, before)) / 1e9 > 0.6 * (now - last):
            busy = now
        before, last = ran, now
    return busy - started


def at_rest(pid: int) -> float:
    """CPU time of a process once it does next to nothing: it has taken what there was."""
    before, deadline = -1.0, time.monotonic() + PATIENCE_S
    while (now := cpu_seconds(pid)) - before > REST_S / 5 and time.monotonic() < deadline:
        before = now
        time.sleep(REST_S)
    return now
