"""The doctor judges the facts of a machine, each on both sides of its line, and names the command that mends it."""

import errno
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from sensor.capture.live.interfaces import Interface
from sensor.node.doctor import State, clock, filters, kernels, links, manager, permission, python, rings, traffic
from sensor.node.doctor.check import Mend, sensor_command
from tests.replaying import ROOT

OK, WARNING, FAILED, SKIPPED = State.OK, State.WARNING, State.FAILED, State.SKIPPED
ETH1 = Interface("eth1", 3, "", True, "up", 1, 1, 1500, 0, "e1000", 1000, {}, {})
OFF = {"gro": False, "lro": False, "tso": False, "rx-vlan": False}


def argv(check):
    return None if check.mend is None else shlex.join(check.mend.argv)


@pytest.mark.parametrize(
    ("error", "is_root", "state", "is_forbidden", "said"),
    [
        (0, False, OK, False, "packets may be captured"),
        (errno.EPERM, False, FAILED, True, "AmbientCapabilities=CAP_NET_RAW"),
        (errno.EPERM, True, FAILED, True, "--cap-add NET_RAW"),
        (errno.EAFNOSUPPORT, True, FAILED, False, "Address family not supported"),
    ],
)
def test_permission_is_what_the_kernel_says(error, is_root, state, is_forbidden, said):
    check = permission.judge(permission.Permission(error, is_root), ["eth1", "eth2"])
    assert (check.state, check.is_forbidden, said in check.finding) == (state, is_forbidden, True)


@pytest.mark.parametrize(
    ("heir", "may_become", "state", "is_forbidden", "mend"),
    [
        ("nobody", True, OK, False, None),
        ("nobody", False, FAILED, True, None),
        ("", True, FAILED, False, "useradd --system --no-create-home --shell /usr/sbin/nologin sensor"),
    ],
)
def test_root_must_be_able_to_become_somebody_else(heir, may_become, state, is_forbidden, mend):
    check = permission.judge(permission.Permission(0, True, heir, may_become), ["eth1"])
    assert (check.state, check.is_forbidden, argv(check), heir in check.finding) == (state, is_forbidden, mend, True)


@pytest.mark.parametrize(
    ("heir", "closed", "state", "said"),
    [
        ("", "", SKIPPED, "by this user"),
        ("nobody", "", OK, "can be read by nobody"),
        ("nobody", "/root", WARNING, "nobody, who decodes, cannot read /root"),
    ],
)
def test_whom_root_becomes_must_be_able_to_read_python(heir, closed, state, said):
    check = python.judge(python.Python(heir, closed))
    assert (check.state, said in check.finding) == (state, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(("mode", "is_closed"), [(0o755, False), (0o711, True), (0o744, True), (0o700, True)])
def test_a_sensor_in_a_folder_that_is_not_for_all_is_found_by_the_doctor(mode, is_closed):
    folder = Path(tempfile.mkdtemp())  # pytest's are for one user alone
    try:
        shutil.copytree(ROOT / "sensor", folder / "sensor", ignore=shutil.ignore_patterns("__pycache__"))
        folder.chmod(mode)
        code = "from sensor.node.doctor import python; check = python.judge(python.Python.find()); print(check)"
        command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); {code}"]
        said = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True).stdout
    finally:
        shutil.rmtree(folder)
    assert (f"cannot read {folder}," in said) is is_closed, said


def test_who_may_not_capture_is_told_to_run_this_very_sensor_as_root():
    check = permission.judge(permission.Permission(errno.EPERM, False), ["eth1", "eth2"])
    assert argv(check) == shlex.join(sensor_command("run", "-i", "eth1", "-i", "eth2"))
    assert os.access(check.mend.argv[0], os.X_OK) and check.mend.needs_root


def test_a_command_that_needs_root_is_written_with_sudo_for_all_others(monkeypatch):
    mends = Mend(("ip", "link", "set", "a b", "up")), Mend(("unset", "X"), needs_root=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert [str(each) for each in mends] == ["sudo ip link set 'a b' up", "unset X"]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert [str(each) for each in mends] == ["ip link set 'a b' up", "unset X"]


@pytest.mark.parametrize(
    ("found", "state", "mend"),
    [
        (kernels.Kernels(True, "/x"), OK, None),
        (kernels.Kernels(True, "/x", 66), OK, None),
        (kernels.Kernels(True, None), WARNING, "install -d "),
        (kernels.Kernels(False, is_disabled=True), FAILED, "unset NUMBA_DISABLE_JIT"),
        (kernels.Kernels(False, has_numba=False), FAILED, "-m pip install numba"),
        (kernels.Kernels(False), FAILED, None),
    ],
)
def test_kernels_are_compiled_and_kept(found, state, mend):
    check = kernels.judge(found)
    assert check.state is state
    assert mend in argv(check) if mend else check.mend is None
    assert ("just now" in check.finding) == (found.compiled > 0)


def test_this_machine_compiles_kernels_where_the_tests_do():
    found = kernels.Kernels.find()
    assert found.is_compiled == kernels.COMPILED and (found.folder is not None) == found.is_compiled


@pytest.mark.parametrize(
    ("installer", "mend"),
    [("apt", "apt install libpcap0.8"), ("dnf", "dnf install libpcap"), ("pacman", "pacman -S libpcap")],
)
def test_without_libpcap_there_is_a_warning_with_the_package(installer, mend):
    check = filters.judge_libpcap(filters.Libpcap("filters are compiled by libpcap", installer))
    assert (check.state, argv(check)) == (WARNING, mend)
    assert filters.judge_libpcap(filters.Libpcap()).state is OK


@pytest.mark.parametrize(("longest", "state"), [(4093, OK), (512, OK), (511, WARNING), (0, WARNING)])
def test_filters_of_a_hundred_hosts_fit_into_the_memory_of_sockets(longest, state):
    check = filters.judge_memory(filters.FilterMemory(longest, 4096))
    assert (check.state, "4,096" in check.finding) == (state, True)
    assert argv(check) == (None if state is OK else "sysctl -w net.core.optmem_max=131072")


@pytest.mark.parametrize(
    ("found", "state", "mend"),
    [
        (clock.Clock(True, 12.3), OK, None),
        (clock.Clock(False, 16000.0), WARNING, "timedatectl set-ntp true"),
        (clock.Clock(False, failure="Operation not permitted"), SKIPPED, None),
    ],
)
def test_a_clock_is_kept_right_by_something(found, state, mend):
    check = clock.judge(found)
    assert (check.state, argv(check)) == (state, mend)


@pytest.mark.parametrize(
    ("names", "megabytes", "available", "options", "state", "size"),
    [
        ("eth1", 64, 64, {"is_tried": True}, OK, None),
        ("eth1", 64, 63, {}, FAILED, 4),
        ("eth1 eth2", 64, 128, {}, OK, None),
        ("eth1 eth2", 64, 127, {}, FAILED, 4),
        ("eth1", 8192, 9000, {"is_tried": True, "refusal": "no memory"}, FAILED, 1024),
        ("eth1", 2, 9000, {"is_tried": True, "refusal": "no memory"}, FAILED, 1),
        ("eth1", 1, 9000, {"is_tried": True, "refusal": "no memory"}, FAILED, None),
        ("", 64, 1, {}, SKIPPED, None),
    ],
)
def test_there_is_memory_for_a_ring_of_each_interface(names, megabytes, available, options, state, size):
    check = rings.judge(rings.Rings(tuple(names.split()), megabytes, available, **options))
    assert check.state is state
    assert (None if check.mend is None else check.mend.argv[-1]) == (None if size is None else str(size))


def test_rings_that_were_not_tried_say_so():
    assert "not tried" in rings.judge(rings.Rings(("eth1",), 1, 9)).finding
    assert "could be made" in rings.judge(rings.Rings(("eth1",), 1, 9, True)).finding


def test_nothing_is_tried_that_memory_is_too_small_for():
    assert not rings.Rings.find(["no such interface"], 1 << 30, may_capture=True).is_tried


@pytest.mark.parametrize(
    ("changes", "state", "mend", "said"),
    [
        ({}, OK, None, "up, 1,000 Mbit/s, MTU 1,500"),
        ({"state": "unknown", "speed": None}, OK, None, "up, MTU 1,500"),
        ({"is_up": False, "state": "down"}, FAILED, "ip link set eth1 up", "it is down"),
        ({"state": "down"}, FAILED, None, "no link (down)"),
        ({"state": "lowerlayerdown"}, FAILED, None, "no link (lowerlayerdown)"),
        ({"linktype": None, "hardware": 803}, FAILED, None, "not read"),
    ],
)
def test_an_interface_is_up_and_can_be_captured_from(changes, state, mend, said):
    check = links.judge_link("eth1", replace(ETH1, **changes))
    assert (check.state, argv(check), check.interface, said in check.finding) == (state, mend, "eth1", True)
    assert mend is None or check.mend.is_safe


def test_an_absent_interface_is_told_with_the_nearest_name():
    assert "did you mean eth1?" in links.judge_link("eht1", None, ["lo", "eth1"]).finding
    assert "there are lo, eth1" in links.judge_link("wlan0", None, ["lo", "eth1"]).finding


@pytest.mark.parametrize(
    ("offloads", "state", "mend", "said"),
    [
        (OFF, OK, None, "off"),
        (OFF | {"rx-vlan": True}, OK, None, "off"),
        (OFF | {"gro": True}, WARNING, "ethtool -K eth1 gro off", "GRO is on"),
        (OFF | {"gro": True, "tso": True}, WARNING, "ethtool -K eth1 gro off tso off", "GRO and TSO are on"),
        (dict.fromkeys(OFF, True), WARNING, "ethtool -K eth1 gro off lro off tso off", "GRO, LRO and TSO are on"),
        ({}, SKIPPED, None, "does not tell"),
    ],
)
def test_offloads_that_are_on_are_named_and_only_those_switched_off(offloads, state, mend, said):
    check = links.judge_offloads(replace(ETH1, offloads=offloads))
    assert (check.state, argv(check), said in check.finding) == (state, mend, True)
    assert mend is None or check.mend.is_safe


def test_loopback_has_no_wire_to_be_unlike():
    assert links.judge_offloads(replace(ETH1, hardware=772, offloads=dict.fromkeys(OFF, True))).state is OK


def test_auto_stands_for_what_is_taken_unasked_and_each_is_named_once():
    present = [ETH1, replace(ETH1, name="eth2", index=4), replace(ETH1, name="eth3", index=5, is_up=False)]
    assert links.named(["auto"], present) == ["eth1", "eth2"]
    assert links.named(["eth3", "auto", "eth1", "eth3"], present) == ["eth3", "eth1", "eth2"]


def seen(frames, received=0, flows=(), stations=()):
    found = traffic.InterfaceTraffic(3.0, frames, received)
    found.flows.add(flows)
    found.stations.add(stations)
    return found


@pytest.mark.parametrize(
    ("found", "state", "said"),
    [
        (seen(0), WARNING, "quiet"),
        (seen(0, received=1), FAILED, "deaf: it received 1 packet within"),
        (seen(1, received=1), WARNING, "only broadcast and multicast"),
        (seen(2, flows=["ab", "ba"]), OK, "both directions"),
        (seen(2, flows=["ab", "cb"]), WARNING, "Flows without a reply: 2"),
        (seen(2, stations=["xy", "yx"]), OK, "both directions"),
        (seen(2, stations=["xy"]), WARNING, "Pairs of stations without a reply: 1"),
        (seen(2, flows=["ab"], stations=["xy", "yx"]), WARNING, "Flows without a reply: 1"),
        ("it takes the permission to capture", SKIPPED, "not looked at: it takes"),
    ],
)
def test_traffic_is_told_by_its_directions(found, state, said):
    check = traffic.judge("eth1", found)
    assert (check.state, said in check.finding, check.interface) == (state, True, "eth1"), check.finding


def test_one_that_speaks_to_itself_speaks_in_no_direction():
    pairs = traffic.Pairs()
    pairs.add(["aa", "aa"])
    assert (pairs.spoken, pairs.both) == (set(), False)


def test_pairs_are_remembered_up_to_a_cap_and_replies_to_those_are_still_seen():
    pairs = traffic.Pairs()
    pairs.add((number, -1) for number in range(traffic.PAIRS_MAX + 1))
    assert len(pairs.spoken) == traffic.PAIRS_MAX
    pairs.add([(-1, traffic.PAIRS_MAX)])
    assert not pairs.both
    pairs.add([(-1, traffic.PAIRS_MAX - 1)])
    assert pairs.both


@pytest.mark.parametrize(
    ("found", "state", "said"),
    [
        (manager.Answer(), SKIPPED, "joined no cluster"),
        (manager.Answer("a:1", "1.0"), OK, "reached at a:1"),
        (manager.Answer("a:1", "0.9"), WARNING, "of version 0.9"),
        (manager.Answer("a:1", failure="the certificate is of worker w, not of observer w"), OK, "takes this host's"),
        (manager.Answer("a:1", failure="revoked"), FAILED, "a:1: revoked"),
        (manager.Answer("a:1"), FAILED, "does not answer"),
        (manager.Answer("a:1", failure="x may not be read", is_forbidden=True), SKIPPED, "may not be read"),
    ],
)
def test_a_manager_is_reached_or_not(found, state, said):
    check = manager.judge(found, "1.0")
    assert (check.state, said in check.finding) == (state, True)
