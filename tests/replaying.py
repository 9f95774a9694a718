"""What tests of whole runs share: running the command, and writing small captures of scripted packets."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import wrpcap

from sensor.cli.main import group

ROOT = Path(__file__).parent.parent
PCAPS = ROOT / "pcaps"

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
"""With both addresses given: Scapy asks the network for one that is missing."""


@dataclass(frozen=True)
class Replayed:
    """One run of `sensor replay --json`."""

    exit_code: int
    alerts: list[dict[str, Any]]
    summary: dict[str, Any]
    stderr: str
    updates: list[dict[str, Any]]


def replay(*arguments: Any) -> Replayed:
    """Run `sensor replay --json` in this process."""
    ran = CliRunner().invoke(group, ["replay", "--json", *map(str, arguments)], catch_exceptions=False)
    records = [json.loads(line) for line in ran.stdout.splitlines()]
    alerts = [each for each in records if each["event_type"] == "alert"]
    summaries = [each for each in records if each["event_type"] == "summary"]
    updates = [each for each in records if each["event_type"] == "alert_update"]
    assert len(records) == len(alerts) + len(updates) + len(summaries)
    assert records[-1:] == summaries
    return Replayed(ran.exit_code, alerts, summaries[0] if summaries else {}, ran.stderr, updates)


def sensor(*arguments: Any, stdin: Any = None) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own."""
    command = [sys.executable, "-m", "sensor", *map(str, arguments)]
    return subprocess.run(command, stdin=stdin, capture_output=True, text=True, timeout=120, cwd=ROOT)


def write(path: Path, packets: list[tuple[float, Packet]]) -> Path:
    """Write packets at the given seconds to a pcap file."""
    for seconds, packet in packets:
        packet.time = 1_700_000_000 + seconds
    wrpcap(str(path), [packet for _, packet in packets])
    return path


def on_terminal(width: int, *arguments: Any, stdin: Any = subprocess.DEVNULL) -> list[str]:
    """Run the command with its output on a terminal of so many columns; the lines that come, without colours."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "sensor", *map(str, arguments)]
    environment |= {"TERM": "dumb", "NO_COLOR": "1"}
    process = subprocess.Popen(command, stdin=stdin, stdout=its, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment)
    os.close(its)
    written = b""
    try:
        while part := os.read(ours, 65536):
            written += part
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(ours)
        process.wait(120)
    return written.decode().replace("\r\n", "\n").splitlines()
