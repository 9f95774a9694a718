"""Measure a cluster of real processes: how fast an epoch is collected, and how soon a joint crossing is told.

    tools/bench cluster [--runs 5] [--keys 100000] [--crossings 60] [--json]

One `sensor manager` and four `sensor worker --replay -`, on a Unix socket, fed with packets through pipes by this
process; wall-clock time, so whatever else the machine does counts in.

collection: each worker has seen the same keys (Sum and Unique) within an epoch, and has read all that it was given.
Then each is given one packet of the next epoch. The time is from when the last of these is handed over until the
manager has the epoch's merged results, just before the first is told (`merged`), and until the last has been told to a
handler in Python that does nothing (`told`). Beside it the same four parts are merged and told in this process, by the
same collector and alerter, with no worker, bus or packet: the ratio is what the way there costs. The first run warms
up.

crossing: a key is to reach 40 distinct values; each worker sees ten of them. The time is from when the packet with the
fortieth is handed to its worker, one of the four by lot, until the manager has written the alert, in an epoch that is
not over for hours.
"""

import argparse
import contextlib
import io
import json
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from sensor.cluster.alerter import Alerter
from sensor.cluster.crossing import Judged
from sensor.config import configure
from sensor.node.manager_address import ManagerAddress
from sensor.node.observer import ask_status
from sensor.sumstats import Collector, EpochEnd, EpochResult, Store

WORKERS, PATIENCE_S = 4, 120.0
LEVEL = 40
SECOND, MINUTE, BEGIN = 1_000_000_000, 60, 1_700_000_000 // 3600 * 3600

PLUGIN = f'''
import json, sys, time
from sensor.detection import Alert, Detection, Stream, Sum, SumStat, Unique

class Collected(Detection):
    """Says when an epoch's results are there. Misses all."""
    seen = Stream("udp_request", key="orig_h", value="resp_p")
    sums = SumStat(hops=0, epoch="1m", total=Sum(seen), ports=Unique(seen))

    def __init__(self):
        super().__init__()
        self.merged, self.keys = 0.0, 0

    @sums.epoch_result
    def result(self, key, seen, epoch):
        self.merged = self.merged or time.monotonic()
        self.keys += 1

    @sums.epoch_finished
    def finished(self, epoch):
        line = {{"keys": self.keys, "complete": epoch.complete, "merged": self.merged, "told": time.monotonic()}}
        print(json.dumps(line), file=sys.stderr, flush=True)
        self.merged, self.keys = 0.0, 0

class Joint(Detection):
    """Says that a key was seen with many values. Misses all else."""
    seen = Stream("udp_request", key="orig_h", value="resp_p")
    sums = SumStat(hops=0, epoch="6h", ports=Unique(seen))

    @sums.crosses(ports={LEVEL})
    def many(self, key, seen):
        return Alert("many", same_as=key)
'''

PACKET = np.dtype(
    [
        ("seconds", "<u4"),
        ("nanoseconds", "<u4"),
        ("lengths", "<u4", 2),
        ("ethernet", "u1", 14),
        ("ip", "u1", 12),
        ("src", ">u4"),
        ("dst", ">u4"),
        ("sport", ">u2"),
        ("dport", ">u2"),
        ("udp_length", ">u2"),
        ("udp_checksum", ">u2"),
    ]
)
HEADER = np.array([0xA1B23C4D, 4 << 16 | 2, 0, 0, 65535, 1], "<u4").tobytes()


def datagrams(ts: float, sources: np.ndarray, sport: int, dport: int) -> bytes:
    """Packets of a capture file with nanoseconds: a UDP datagram from each source, all at one time (s)."""
    packets = np.zeros(len(sources), PACKET)
    packets["seconds"], packets["nanoseconds"] = int(ts), int(ts % 1 * SECOND)
    packets["lengths"] = PACKET.itemsize - 16
    packets["ethernet"][:, 12] = 8
    packets["ip"][:, [0, 3, 8, 9]] = 0x45, 28, 64, 17
    packets["src"], packets["dst"] = sources, 0x0A000001
    packets["sport"], packets["dport"], packets["udp_length"] = sport, dport, 8
    return packets.tobytes()


class Cluster:
    """A manager and its workers as processes, of one detection, each worker fed through a pipe."""

    def __init__(self, folder: Path, detection: str) -> None:
        plugin = folder / "measured.py"
        plugin.write_text(PLUGIN)
        self.address, names = f"unix:{folder}/{detection}", [f"worker-{n + 1}" for n in range(WORKERS)]
        chosen = "--plugin", str(plugin), "--detection", detection
        sensor = sys.executable, "-m", "sensor"
        pipe = subprocess.PIPE
        self.manager = subprocess.Popen(
            [*sensor, "manager", "--listen", self.address, "--workers", ",".join(names), "--json", *chosen],
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
        self.lines: queue.Queue[tuple[float, dict[str, Any]]] = queue.Queue()
        for stream in (self.manager.stdout, self.manager.stderr):
            threading.Thread(target=self._read, args=(stream,), daemon=True).start()
        self._wait_for_socket(folder / detection)
        worker = *sensor, "worker", "--manager", self.address, "--replay", "-", *chosen, "--name"
        self.workers = [subprocess.Popen([*worker, name], stdin=pipe, bufsize=0) for name in names]
        self._given = 0
        for at in range(WORKERS):
            self.give(at, HEADER)

    def _wait_for_socket(self, path: Path) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not path.exists():
            if self.manager.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the manager has not come up")
            time.sleep(0.02)

    def _read(self, stream: Any) -> None:
        for line in stream:
            if line.startswith("{"):
                self.lines.put((time.monotonic(), json.loads(line)))

    def give(self, worker: int, data: bytes) -> None:
        """Hand bytes to a worker."""
        pipe = self.workers[worker].stdin
        assert pipe is not None
        view = memoryview(data)
        while view:
            view = view[pipe.write(view) :]
        self._given += len(data) // PACKET.itemsize

    def wait_until_read(self) -> None:
        """Wait until the workers have read all packets that they were given."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if sum(each.packets for each in ask_status(ManagerAddress(self.address)).nodes) == self._given:
                return
            time.sleep(0.02)
        raise RuntimeError(f"the workers have not read the {self._given} packets that they were given")

    def next_line(self) -> tuple[float, dict[str, Any]]:
        """The next line of the manager, and when it came."""
        return self.lines.get(timeout=PATIENCE_S)

    def close(self) -> None:
        """End all processes."""
        for process in [*self.workers, self.manager]:
            process.kill()
            process.wait()


@contextlib.contextmanager
def cluster(detection: str) -> Iterator[Cluster]:
    """A cluster that is ended, whatever happens."""
    with tempfile.TemporaryDirectory() as folder:
        made = Cluster(Path(folder), detection)
        try:
            yield made
        finally:
            made.close()


def collect(keys: int, runs: int) -> dict[str, list[float]]:
    """Seconds of each run until results are merged and until they are told, over the bus and without."""
    times: dict[str, list[float]] = {name: [] for name in ("merged", "told", "merged here", "told here")}
    sources = np.arange(keys) + 0x0B000000
    with cluster("collected") as made:
        for run in range(runs + 1):
            begin = BEGIN + run * MINUTE
            for at in range(WORKERS):
                made.give(at, datagrams(begin + 1, sources, 1000 + run, 80 + at))
            made.wait_until_read()
            packet = datagrams(begin + MINUTE + 0.5, sources[:1], 3000 + run, 80)
            for at in range(WORKERS):
                made.give(at, packet)
            started = time.monotonic()
            _, line = made.next_line()
            here = merge_here(keys)
            if (line["keys"], line["complete"]) != (keys, True):
                raise RuntimeError(f"the epoch has not come whole: {line}")
            if run:
                seconds = line["merged"] - started, line["told"] - started, *here
                for name, each in zip(times, seconds, strict=True):
                    times[name].append(each)
    return times


def merge_here(keys: int) -> tuple[float, float]:
    """Seconds until the same four parts are merged, and told, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        plugin = Path(folder) / "measured.py"
        plugin.write_text(PLUGIN)
        [detection] = configure(["collected"], [str(plugin)]).make()
    [(name, definition)] = detection.define().items()
    ends = []
    words = np.column_stack([np.zeros(keys, np.uint64), np.arange(keys, dtype=np.uint64) + (0xFFFF << 32)])
    for at in range(WORKERS):
        store = Store(definition, np.array([1, 2], np.uint64))
        port = np.full(keys, 80 + at)
        store.observe(words, np.zeros(keys, np.int64), {"total": port * 1.0, "ports": port.astype(np.uint64)[:, None]})
        ends.append(EpochEnd(definition.name, 0, 1, 0, MINUTE * SECOND, store.partial()))
    collector, alerter = Collector(definition, room=WORKERS), Alerter([detection])
    started = time.monotonic()
    for at, end in enumerate(ends):
        collector.apply(f"worker-{at}", end)
    [result] = collector.close_epoch(0)
    assert isinstance(result, EpochResult)
    with contextlib.redirect_stderr(io.StringIO()) as said:
        list(alerter.results(Judged(detection, detection.sumstats[name], definition), result))
    line = json.loads(said.getvalue())
    return line["merged"] - started, line["told"] - started


def cross(crossings: int) -> list[float]:
    """Seconds from the packet that makes each key cross to its alert."""
    random, found = Random(1), []
    with cluster("joint") as made:
        for number in range(-3, crossings):  # the first few warm up
            source = np.array([0x0C000000 + number + 3])
            last = random.randrange(WORKERS)
            ts = BEGIN + (number + 4) * 0.5
            for at in range(WORKERS):
                for port in range(at * LEVEL // WORKERS, (at + 1) * LEVEL // WORKERS - (at == last)):
                    made.give(at, datagrams(ts, source, 5000, 1000 + port))
            made.wait_until_read()
            time.sleep(random.uniform(0.05, 0.15))  # at any time within what the nodes do now and then
            packet = datagrams(ts + 0.1, source, 5000, 1000 + (last + 1) * LEVEL // WORKERS - 1)
            started = time.monotonic()
            made.give(last, packet)
            then, line = made.next_line()
            if line["event_type"] != "alert" or line["value"] != LEVEL:
                raise RuntimeError(f"that is not the alert that was to come: {line}")
            if number >= 0:
                found.append(then - started)
    return found


def main(given: list[str]) -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--crossings", type=int, default=60)
    parser.add_argument("--json", action="store_true", help="JSON lines instead of tables")
    arguments = parser.parse_args(given)
    collected, crossed = collect(arguments.keys, arguments.runs), sorted(cross(arguments.crossings))
    if arguments.json:
        print(json.dumps({"section": "collection", "keys": arguments.keys, "workers": WORKERS, "seconds": collected}))
        print(json.dumps({"section": "crossing", "level": LEVEL, "workers": WORKERS, "seconds": crossed}))
        return
    print(f"an epoch of {arguments.keys:,} keys from each of {WORKERS} workers, {arguments.runs} runs; wall seconds")
    print(f"{'':<14}{'median':>9}{'least':>9}{'most':>9}{'x here':>9}")
    for name, each in collected.items():
        median, base = statistics.median(each), statistics.median(collected[f"{name.removesuffix(' here')} here"])
        print(f"{name:<14}{median:>9.3f}{min(each):>9.3f}{max(each):>9.3f}{median / base:>9.2f}")
    print(f"\n{len(crossed)} joint crossings of {WORKERS} workers, from the last packet to the alert; milliseconds")
    print(f"{'median':>9}{'99 %':>9}{'least':>9}{'most':>9}")
    shown = statistics.median(crossed), float(np.quantile(crossed, 0.99, method="higher")), crossed[0], crossed[-1]
    print("".join(f"{1000 * each:>9.1f}" for each in shown))
