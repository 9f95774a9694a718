"""Captures played over a wire by tcpreplay at their own pace and read live raise the alerts of a replay of the file.

All captures of a set are on the wire at once, and one sensor for each number of capture workers reads them there. In a
set no capture adds to what another one counts, so that the alerts of each are still its own.
"""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.laboratory import need
from tests.lab.sensing import Sensor, final, sensing
from tests.lab.test_run import frames_of
from tests.lab.wire import PCAPS, balanced, wire  # noqa: F401 - a fixture
from tests.replaying import replay

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")

WORKERS = (1, 2, 4)
PANE_S = 60.0
"""Where windows of the scans that ship may end: live at whole minutes, in a file at minutes from its first packet."""
SETS = {
    "port-scan": [
        "port-scan-syn",
        "address-scan-ipv6",
        *("curl-and-dig", "ssh-session", "passive-ftp", "stubborn-client", "resolver"),
    ],
    "udp-scan": ["port-scan-udp", "traceroute"],
    "random-scan": ["random-scan", "port-scan-ipv6", "monitoring-poll", "traceroute"],
}
QUIET = {"curl-and-dig", "ssh-session", "passive-ftp", "stubborn-client", "resolver", "monitoring-poll", "traceroute"}


def play(host, names):
    """Send the captures, all at once and each at its own pace."""
    argvs = [["tcpreplay", "--quiet", "--timer=select", "--intf1=far", str(PCAPS / f"{name}.pcap")] for name in names]
    with ThreadPoolExecutor(len(argvs)) as pool:
        for ran in pool.map(host.run, argvs):
            assert "Failed packets:            0" in ran.stdout, ran.stdout


def wait_clear_of_a_pane(lasts_s):
    """Return when what lasts so long ends before the next pane begins: else windows would be cut as no file's are.

    On a busy machine the captures take twice as long and longer.
    """
    left = PANE_S - time.time() % PANE_S
    if left < 2 * lasts_s + 10:
        time.sleep(left)


@pytest.fixture(scope="module", params=SETS)
def heard(request, wire):  # noqa: F811
    """The captures of a set, and the sensors that heard them, by their number of capture workers."""
    need("tcpreplay")
    names = SETS[request.param]
    with contextlib.ExitStack() as stack:
        sensors = {count: stack.enter_context(listening(wire.host, count)) for count in WORKERS}
        wait_clear_of_a_pane(max(frames_of(name)[-1][0] for name in names))
        play(wire.host, names)
        for sensor in sensors.values():
            sensor.end()
        yield names, sensors


def listening(host, workers) -> contextlib.AbstractContextManager[Sensor]:
    return sensing(host, "run", "-i", "near", "--json", *(["--capture-workers", workers] if workers > 1 else []))


@pytest.mark.parametrize("workers", WORKERS)
def test_live_alerts_are_those_of_the_files(heard, workers):
    names, sensors = heard
    expected = {name: final(replay(PCAPS / f"{name}.pcap").alerts) for name in names}
    assert {name for name in names if not expected[name]} == QUIET & set(names)
    records = [each.record for each in sensors[workers].told]
    assert final(records) == sorted((each for found in expected.values() for each in found), key=str)


@pytest.mark.parametrize("workers", WORKERS)
def test_every_packet_is_read_by_some_worker_and_counted(heard, workers):
    names, sensors = heard
    summary, packets = sensors[workers].summary, sum(len(frames_of(name)) for name in names)
    counters = summary["counters"]
    assert balanced(counters) and len(summary["workers"]) == workers
    assert summary["packets_read"] == counters["packets_delivered"] == counters["kernel_packets"] == packets
    assert (counters["ring_drops"], counters["nic_drops"], counters["gaps"]) == (0, 0, 0)
