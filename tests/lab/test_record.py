"""Real scans, made now in a lab, raise what they should: what is checked in has not just been fitted to."""

import json
import subprocess
import sys

import pytest

from tests.lab.laboratory import need, why_no_lab
from tests.replaying import ROOT, replay

SCENARIOS = ["port-scan-syn", "port-scan-connect", "port-scan-xmas", "address-scan-connect", "port-scan-under-the-line"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A folder with the scenarios recorded anew."""
    if reason := why_no_lab():
        pytest.skip(reason)
    need("nmap", "tcpdump", "nginx")
    folder = tmp_path_factory.mktemp("recorded")
    command = [sys.executable, ROOT / "tools" / "record", *SCENARIOS, "--out", folder]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scan_made_now_raises_what_it_should(recorded, name):
    alerts = replay(recorded / f"{name}.pcap").alerts
    expected = json.loads((recorded / f"{name}.alerts.json").read_text())
    assert [{part: alert[part] for part in ("detection", "kind", "src", "dst", "port")} for alert in alerts] == expected
