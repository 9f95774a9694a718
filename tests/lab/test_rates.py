"""`sensor interfaces` on a wire: what passes now is counted to the frame, beside what has passed so far."""

import json
import os
import subprocess
import sys

import pytest

from sensor.capture.live.rates import measure
from tests.lab.wire import Sender, udp, wire
from tests.replaying import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
assert wire  # a fixture
FRAMES = [udp(number, size=100) for number in range(500)]


def listed(wire, *arguments):
    command = [sys.executable, "-m", "sensor", "interfaces", *arguments]
    with wire.host.inside():
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, env=os.environ)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


def test_frames_sent_meanwhile_are_counted_to_the_frame_and_those_before_are_not(wire):
    wire.send(FRAMES)
    with wire.host.inside():
        found = measure(0.1, lambda seconds: wire.send(FRAMES[:300]))
    near, far = found["near"], found["far"]
    assert near.packets_per_second * near.seconds == pytest.approx(300)
    assert near.bits_per_second * near.seconds == pytest.approx(300 * 100 * 8)
    assert (near.drops_per_second, far.packets_per_second) == (0, 0)


def test_an_interface_whose_counters_begin_anew_meanwhile_has_no_rates(wire):
    def made_anew(seconds):
        wire.delete()
        wire.make()

    wire.send(FRAMES)
    with wire.host.inside():
        assert "near" not in measure(0.1, made_anew)


def test_the_command_waits_for_so_long_and_tells_rates_beside_totals(wire):
    sender = Sender(wire.sender())
    sender.start()
    rows = [json.loads(line) for line in listed(wire, "--json", "--seconds", "0.3").splitlines()]
    sent = sender.finish()
    near = next(row for row in rows if row["name"] == "near")
    rates = near["rates"]
    assert rates["seconds"] >= 0.3
    assert set(rates) == {"seconds", "packets_per_second", "bits_per_second", "drops_per_second"}
    assert 0 < rates["packets_per_second"] * rates["seconds"] <= sent
    assert rates["bits_per_second"] == pytest.approx(rates["packets_per_second"] * 60 * 8)
    assert rates["packets_per_second"] * rates["seconds"] < near["statistics"]["rx_packets"]


def test_without_seconds_there_are_totals_only(wire):
    rows = [json.loads(line) for line in listed(wire, "--json", "--seconds", "0").splitlines()]
    assert all(row["rates"] is None for row in rows)
    assert "packets/s" in listed(wire, "--seconds", "0.1") and "packets/s" not in listed(wire, "--seconds", "0")
