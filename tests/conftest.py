"""Kernels are compiled before the first test, where they are not kept from an earlier run: else commands say so."""

import subprocess
import sys

from sensor._jit import is_cold
from tests.replaying import PCAPS, ROOT


def pytest_sessionstart(session):
    if is_cold():
        replay = [sys.executable, "-m", "sensor", "replay", "--workers", "2", PCAPS / "port-scan-syn.pcap"]
        subprocess.run(replay, capture_output=True, timeout=600, cwd=ROOT)
