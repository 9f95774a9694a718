"""Measure what long, quiet captures take: one question of a time server and its answer a minute, for days and weeks.

    tools/bench quiet [--days 1 5 30] [--runs 3]

Each capture is replayed by whole processes, alone and with two workers, and the CPU time of all of them (user + system)
less that of a run over a single packet is printed, as the median of the runs, and by the epoch. Time that grows with
the packets and epochs shows the same by the epoch whatever the days.
"""

import argparse
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

_START = 1_700_000_000
_A_DAY = 1440
_HOST, _SERVER = bytes((10, 0, 0, 5)), bytes((192, 0, 2, 123))


def _frame(src: bytes, dst: bytes, sport: int, dport: int) -> bytes:
    ntp = b"\x23" + bytes(47)
    udp = struct.pack(">HHHH", sport, dport, 8 + len(ntp), 0) + ntp
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, src, dst)
    return bytes.fromhex("0200000000020200000000010800") + ip + udp


def write_quiet(path: Path, minutes: int) -> None:
    """A capture of so many minutes."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for minute in range(minutes):
            port = 20000 + minute % 40000
            for us, packet in ((0, _frame(_HOST, _SERVER, port, 123)), (20000, _frame(_SERVER, _HOST, 123, port))):
                file.write(struct.pack("<IIII", _START + 60 * minute, us, len(packet), len(packet)) + packet)


def cpu_of(command: list[str]) -> float:
    """User and system time (s) of a command and all processes that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(given: list[str]) -> None:
    """Read the arguments, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, nargs="+", default=[1, 5, 30])
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args(given)
    command = [sys.executable, "-m", "sensor", "replay", "--json"]
    print(f"{'':<14}{'days':>6}{'packets':>10}{'start-up s':>12}{'beyond it s':>13}{'us a minute':>13}")
    with tempfile.TemporaryDirectory() as folder:
        path, nothing = Path(folder) / "quiet.pcap", Path(folder) / "nothing.pcap"
        write_quiet(nothing, 1)
        for name, more in (("alone", []), ("--workers 2", ["--workers", "2"])):
            cpu_of([*command, *more, str(nothing)])  # so that kernels are compiled
            for days in arguments.days:
                write_quiet(path, _A_DAY * days)
                started, took = (
                    statistics.median(cpu_of([*command, *more, str(each)]) for _ in range(arguments.runs))
                    for each in (nothing, path)
                )
                minutes, beyond = _A_DAY * days, took - started
                figures = f"{days:>6}{2 * minutes:>10,}{started:>12.2f}{beyond:>13.2f}{1e6 * beyond / minutes:>13.0f}"
                print(f"{name:<14}{figures}")
