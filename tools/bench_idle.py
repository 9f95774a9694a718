"""Measure what a sensor takes that has nothing to do: the CPU of an idle `run`, `manager` and `worker`.

    tools/bench idle [--seconds 30] [--settle 5] [--json]

Needs root: each listens on one end of a veth pair in a network namespace (tools/lab.py) on which nobody says anything;
the worker and the manager have each other, by TCP. User and system time of each process and
of all that it has started, from the scheduler's own account (/proc/PID/schedstat), after some seconds of settling. All
three are measured at once: they hardly meet.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench_live import wire
from contenders import processes, ran_ns
from lab import Host

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 120.0


@contextlib.contextmanager
def node(host: Host, said: Path, *arguments: str) -> Iterator[int]:
    """A sensor in the namespace, from when it listens; it must not end by itself. Gives its process."""
    with host.inside(), said.open("wb") as log:
        command = [sys.executable, "-m", "sensor", *arguments]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not re.search("listening on|listens at", said.read_text()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{arguments} does not listen: {said.read_text()}")
            time.sleep(0.05)
        yield process.pid
        if process.poll() is not None:
            raise RuntimeError(f"{arguments} has ended: {said.read_text()}")
    finally:
        process.terminate()
        process.wait()


def ran_s(pid: int) -> float:
    """How long a process and its descendants have run."""
    return sum(map(ran_ns, processes(pid))) / 1e9


def measure(seconds: float, settle: float) -> dict[str, float]:
    """The share of a core that each takes."""
    with tempfile.TemporaryDirectory() as folder, wire() as host, contextlib.ExitStack() as stack:
        host.run(["ip", "link", "set", "lo", "up"])
        bus, state = "127.0.0.1:47700", f"{folder}/state"
        given = {
            "run": ("run", "-i", "near"),
            "manager": ("manager", "--listen", bus, "--state", state, "--workers", "idle"),
            "worker": ("worker", "-i", "near", "--manager", bus, "--name", "idle"),
        }
        pids = {
            name: stack.enter_context(node(host, Path(folder) / f"{name}.log", *arguments))
            for name, arguments in given.items()
        }
        time.sleep(settle)
        before, began = {name: ran_s(pid) for name, pid in pids.items()}, time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        return {name: (ran_s(pid) - before[name]) / took for name, pid in pids.items()}


def main(given: list[str]) -> None:
    """Read the arguments, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--settle", type=float, default=5.0)
    parser.add_argument("--json", action="store_true", help="a JSON line instead of a table")
    arguments = parser.parse_args(given)
    if os.geteuid() != 0:
        parser.error("network namespaces need root")
    shares = measure(arguments.seconds, arguments.settle)
    if arguments.json:
        print(json.dumps({"section": "idle", "seconds": arguments.seconds} | shares))
        return
    for name, share in shares.items():
        print(f"{name:<10}{100 * share:>6.2f} % of a core, idle for {arguments.seconds:.0f} s")
