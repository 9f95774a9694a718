"""`sensor run` goes on when its interface does not, says what it lost, and ends in order when it is told to."""

import contextlib
import signal
import subprocess
import sys

import pytest

from tests.lab.laboratory import need
from tests.lab.sensing import PATIENCE_S, sensing
from tests.lab.test_run import frames_of
from tests.lab.wire import Sender, balanced, udp, wait_for, wire
from tests.replaying import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
assert wire  # a fixture

LIMIT_S = 5.0
RUN = ("run", "-i", "near", "--json")
SLOW = '''
"""Slow: is never done with an epoch. Misses everything."""

import sys
import time

from sensor.detection import Detection, Stream, Sum, SumStat


class Slow(Detection):
    refusals = Stream("connection_rejected", key="orig_h")
    count = SumStat(epoch="1m", total=Sum(refusals))

    @count.epoch_finished
    def over(self, epoch):
        print("the epoch is over", file=sys.stderr, flush=True)
        time.sleep(600)
'''


def scan(wire):
    """Probes of many ports of a host that refuses them."""
    wire.send([frame for _, frame in frames_of("port-scan-syn")])


def promiscuity(wire):
    with wire.route() as route:
        return route.get_links(route.link_lookup(ifname="near")[0])[0].get("promiscuity")


def wait_for_link(wire):
    """Return once frames pass: the far end hears only a moment later that the near one is up."""
    before = wire.received()
    wait_for(lambda: wire.send([udp(0)]) or wire.received() > before)


@contextlib.contextmanager
def load(wire):
    """Frames as fast as they can be sent."""
    sender = Sender(wire.sender())
    sender.start()
    try:
        wait_for(lambda: sender.sent > 1000)
        yield sender
    finally:
        sender.finish()


def test_down_and_up_is_a_gap_and_a_scan_after_it_is_told(wire):
    with sensing(wire.host, *RUN) as sensor:
        wire.set("near", "down")
        wire.set("near", "up")
        wait_for_link(wire)
        scan(wire)
        sensor.wait_for_alert("port_scan")
        sensor.end()
    counters = sensor.summary["counters"]
    assert (counters["gaps"], counters["reopened"]) == (1, 0) and balanced(counters)
    [said] = [line for line in sensor.said if "near saw nothing for" in line]
    assert said.endswith(": down")


def test_deleted_and_made_again_is_read_again_and_a_scan_after_it_is_told(wire):
    with sensing(wire.host, *RUN) as sensor:
        wire.send([udp(1)])
        wire.delete()
        wire.make()
        wait_for(lambda: promiscuity(wire))
        wait_for_link(wire)
        scan(wire)
        sensor.wait_for_alert("port_scan")
        sensor.end()
    counters = sensor.summary["counters"]
    assert (counters["gaps"], counters["reopened"]) == (1, 1) and balanced(counters)
    assert counters["gap_ns"] > 0 and counters["kernel_packets"] == 1 + wire.received()
    assert any("near saw nothing for" in line for line in sensor.said)


@pytest.mark.parametrize("state", ["down", "deleted"])
def test_it_ends_in_order_though_there_is_no_interface_to_read(wire, state):
    with contextlib.ExitStack() as stack:
        sensor = stack.enter_context(sensing(wire.host, *RUN))
        if state == "down":
            stack.callback(wire.set, "near", "up")
            wire.set("near", "down")
        else:
            stack.callback(wire.make)
            wire.delete()
        assert sensor.end(signal.SIGTERM) < LIMIT_S
    assert sensor.process.returncode == 0 and balanced(sensor.summary["counters"])


def test_what_a_ring_has_no_room_for_is_counted_and_said(wire):
    burst = [udp(number) for number in range(20_000)]
    with sensing(wire.host, *RUN, "--ring", 1) as sensor:
        sensor.process.send_signal(signal.SIGSTOP)
        wire.send(burst)
        sensor.process.send_signal(signal.SIGCONT)
        sensor.end()
    counters = sensor.summary["counters"]
    assert counters["kernel_packets"] == len(burst) and balanced(counters)
    assert sensor.summary["packets_read"] == counters["packets_delivered"] > 1000
    lost = f"sensor: {counters['ring_drops']:,} packets were lost, as the ring was full: give --ring more MB"
    assert counters["ring_drops"] > 1000 and lost in sensor.said


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_lets_it_finish_the_last_epoch_and_sum_up(wire, sign):
    """Probes that nothing has answered yet are failures when the input ends: the alert is the last epoch's."""
    with sensing(wire.host, *RUN) as sensor:
        wire.send([frame for _, frame in frames_of("port-scan-filtered")][:100])
        with load(wire):
            assert not sensor.told
            assert sensor.end(sign) < LIMIT_S
    assert sensor.process.returncode == 0
    assert [each.record["detection"] for each in sensor.alerts] == ["port_scan"]
    counters = sensor.summary["counters"]
    assert balanced(counters) and counters["kernel_packets"] > 1000


def test_a_second_int_ends_at_once_what_a_first_one_does_not(wire, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    with sensing(wire.host, *RUN, "--detection", "slow", "--plugin", tmp_path / "slow.py") as sensor:
        scan(wire)
        sensor.process.send_signal(signal.SIGINT)
        sensor.wait_for(lambda: "the epoch is over" in sensor.said)
        assert sensor.process.poll() is None
        assert sensor.end(signal.SIGINT) < 1.0
    assert sensor.process.returncode not in (0, -signal.SIGKILL)


def test_root_without_the_capability_to_capture_is_told_which(wire):
    need("setpriv")
    command = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", sys.executable, "-m", "sensor", *RUN]
    with wire.host.inside():
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (ran.returncode, ran.stdout) == (77, "")
    [said] = ran.stderr.splitlines()
    assert said.startswith("sensor: near: ") and "CAP_NET_RAW" in said
