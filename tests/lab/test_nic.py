"""Frames that were delivered are not lost by the card, whatever the host makes of them after."""

import ctypes
import fcntl
import struct

import pytest

from sensor.capture.live.ifreq import is_merging
from sensor.capture.live.nic import NicCounters, _ask
from tests.lab.wire import blocks_of, tagged, take, udp, wait_for, wire

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
assert wire  # a fixture

TRUNK = {
    "QinQ": lambda frame: tagged(tagged(frame, 20), 10, tpid=0x88A8),
    "MPLS in a VLAN": lambda frame: tagged(frame[:12] + b"\x88\x47\x00\x01\x01\x40" + frame[14:], 10),
    "PPPoE in a VLAN": lambda frame: tagged(frame[:12] + b"\x88\x64\x11\x00\x00\x01\x00\x30" + frame[14:], 10),
}


@pytest.mark.parametrize("kind", TRUNK)
def test_what_the_host_has_no_use_for_is_not_lost_by_the_card(wire, kind):
    with wire.live() as live:
        wire.send(TRUNK[kind](udp(number)) for number in range(100))
        live.counters  # noqa: B018  as each block is counted at
        assert len(take(live, 100)) == 100
        wait_for(lambda: live.counters["nic_packets"] >= 100)
    counters = live.counters
    if not counters["nic_rx_dropped"]:
        pytest.skip("this kernel does not count them as dropped")
    assert counters["kernel_packets"] >= 100 and counters["nic_drops"] == 0


def test_what_is_dropped_for_want_of_a_filter_s_match_is_not_lost_either(wire):
    from sensor.capture.bpf.filter import Filter

    with wire.live(program=Filter("udp port 9").program(1)) as live:
        wire.send(TRUNK["QinQ"](udp(number)) for number in range(100))
        wait_for(lambda: live.counters["nic_packets"] >= 100)
        for _ in zip(range(3), blocks_of(live), strict=False):
            pass
        assert live.counters["nic_drops"] == 0


def test_the_kernel_tells_missed_and_dropped_apart(wire):
    with wire.host.inside():
        counters = NicCounters("near")
        before = counters.total()
        wire.send(udp(number) for number in range(10))
        wait_for(lambda: counters.total().packets >= 10)
        with wire.route() as route:
            told = route.get_links(route.link_lookup(ifname="near")[0])[0].get("stats64")
        assert _ask(counters._route, "near") == (told["rx_missed_errors"] + told["rx_fifo_errors"], told["rx_dropped"])
        assert _ask(counters._route, "absent") is None
        counters.close()
    assert before == (0, 0, 0)


def test_an_interface_that_merges_packets_is_known(wire):
    def offload(command, value):
        data = ctypes.create_string_buffer(struct.pack("2I", command, value), 8)
        with wire.sender("near") as asking:
            fcntl.ioctl(asking, 0x8946, struct.pack("16sP16x", b"near", ctypes.addressof(data)))
            return is_merging(asking, "near")

    assert [offload(0x2C, value) for value in (1, 0)] == [True, False]  # ETHTOOL_SGRO
