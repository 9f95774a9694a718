"""Real processes: what a worker tells when others have come past it is alerted on, and said, by name."""

import json
import signal

import pytest

from tests.cluster.test_processes import PATIENCE_S, started, until
from tests.replaying import PCAPS

FIRST, SCAN = PCAPS / "address-scan-udp.pcap", PCAPS / "port-scan-syn.pcap"
"""The second is of the minute before the first."""


@pytest.fixture
def bus(tmp_path):
    return f"unix:{tmp_path}/bus"


def replayed(bus, name, path):
    with started("worker", "--manager", bus, "--name", name, "--replay", path) as worker:
        _, errors = worker.communicate(timeout=PATIENCE_S)
    assert (worker.returncode, errors) == (0, "")


def test_a_worker_that_begins_when_others_are_done_is_heard_and_named(bus, tmp_path):
    with started("manager", "--listen", bus, "--json") as manager:
        until((tmp_path / "bus").exists, "the manager")
        replayed(bus, "a", FIRST)
        replayed(bus, "b", SCAN)
        with started("status", "--manager", bus) as status:
            shown, _ = status.communicate(timeout=PATIENCE_S)
        manager.send_signal(signal.SIGINT)
        output, errors = manager.communicate(timeout=PATIENCE_S)
    *alerts, summary = [json.loads(line) for line in output.splitlines()]
    [alert] = [each for each in alerts if each["detection"] == "port_scan" and each["event_type"] == "alert"]
    assert (alert["late"], alert["complete"], alert["workers"]) == (True, False, ["b"])
    said = " of b came after"
    assert said in errors
    assert said in shown
    assert [each for each in summary["hints"] if said in each]
