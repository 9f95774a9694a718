"""Which interfaces are taken unasked: such that each frame is seen, and seen once."""

import subprocess
import sys

import pytest

from sensor.capture.live.interfaces import Interface, automatic
from sensor.capture.live.outages import KEPT, Gap, Gaps

PLAIN = {
    "kind": "", "is_up": True, "state": "up", "hardware": 1, "linktype": 1, "mtu": 1500, "promiscuity": 0,
    "driver": "", "speed": None, "offloads": {}, "statistics": {},
}  # fmt: skip
ETH0, ETH1 = {"name": "eth0", "index": 2}, {"name": "eth1", "index": 3}
LO = {"name": "lo", "index": 1, "hardware": 772, "state": "unknown"}


@pytest.mark.parametrize(
    "others, taken",
    [
        ([], "eth0"),
        ([LO], "eth0"),
        ([ETH1], "eth0 eth1"),
        ([ETH1 | {"is_up": False}], "eth0"),
        ([ETH1 | {"state": "down"}], "eth0"),
        ([ETH1 | {"state": "unknown"}], "eth0 eth1"),
        ([ETH1 | {"linktype": None, "hardware": 803}], "eth0"),
        ([ETH1 | {"name": "tun0", "kind": "tun", "hardware": 65534, "linktype": 101, "state": "unknown"}], "eth0 tun0"),
        ([ETH1 | {"master": 4}, {"name": "br0", "index": 4, "kind": "bridge"}], "eth0 br0"),
        ([ETH1 | {"master": 4}, {"name": "br0", "index": 4, "kind": "bridge", "is_up": False}], "eth0 eth1"),
        ([{"name": "eth0.5", "index": 4, "kind": "vlan", "below": 2}], "eth0"),
        ([{"name": "eth9.5", "index": 4, "kind": "vlan", "below": 9}], "eth0 eth9.5"),
        ([ETH1 | {"kind": "veth", "below": 4}, {"name": "v", "index": 4, "kind": "veth", "below": 3}], "eth0 eth1"),
        ([{"name": "v", "index": 4, "kind": "veth", "below": None}], "eth0 v"),
        ([{"name": "vxlan7", "index": 4, "kind": "vxlan"}], "eth0"),
        ([{"name": "ifb0", "index": 4, "kind": "ifb"}], "eth0"),
    ],
)
def test_interfaces_taken_unasked(others, taken):
    interfaces = [Interface(**PLAIN | each) for each in (ETH0, *others)]
    assert " ".join(each.name for each in automatic(interfaces)) == taken


def test_pyroute2_is_not_imported_before_it_is_used():
    names = ("interfaces", "link_watch", "live_capture")
    code = f"import sys, {', '.join(f'sensor.capture.live.{name}' for name in names)};"
    code += "print('pyroute2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"


def test_gaps_are_added_up_and_the_oldest_forgotten():
    gaps = Gaps("eth0")
    gaps.end(5)
    assert not gaps.is_open and (gaps.count, gaps.ns(9)) == (0, 0)
    gaps.begin(10, "down")
    gaps.begin(12, "deleted")
    assert gaps.is_open and (gaps.count, gaps.ns(15)) == (1, 5)
    gaps.end(20)
    gaps.begin(30, "down")
    gaps.end(25)  # the system's clock was set back
    assert list(gaps.kept) == [Gap("eth0", 10, 20, "deleted"), Gap("eth0", 30, 30, "down")] and gaps.ns(99) == 10
    for i in range(KEPT + 1):
        gaps.begin(100 + i, "down")
        gaps.end(101 + i)
    assert len(gaps.kept) == KEPT and gaps.kept[0] == Gap("eth0", 101, 102, "down")
    assert (gaps.count, gaps.ns(0)) == (KEPT + 3, 10 + KEPT + 1)
