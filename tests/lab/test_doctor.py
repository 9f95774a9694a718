"""`sensor doctor` on a real wire: it names what is in the way, and mends only what it is told to."""

import contextlib
import ctypes
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from sensor.capture.live.interfaces import list_interfaces
from sensor.cli.main import group
from sensor.node.doctor import Question, examine
from tests.lab.laboratory import need
from tests.lab.wire import BROADCAST, SENDER, Sender, udp, wait_for, wire
from tests.replaying import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
assert wire  # a fixture
OTHER = bytes.fromhex("020000000002")
_BPF, _PROG_LOAD, _XDP, _SKB_MODE = 321, 5, 6, 2  # bpf(2) on x86-64, <linux/bpf.h>, <linux/if_link.h>


def to_and_fro(number):
    """A UDP packet, and back where the number is odd."""
    return udp(number, swap=number % 2 == 1)


def to_one(number):
    """A frame from one station to another, and back where the number is odd, of a protocol that nobody knows."""
    ends = (OTHER, SENDER) if number % 2 else (SENDER, OTHER)
    return b"".join(ends) + b"\x88\xb5" + bytes(46)


TO_ALL = BROADCAST + SENDER + b"\x88\xb5" + bytes(46)


@contextlib.contextmanager
def sending(wire, make):
    """Frames come without a pause."""
    sender = Sender(wire.sender(), make)
    sender.start()
    try:
        wait_for(lambda: sender.sent)
        yield
    finally:
        sender.finish()


def examined(wire, tmp_path, *names, megabytes=1, patience_s=0.3):
    with wire.host.inside():
        checks = list(examine(Question(names or ("near",), megabytes, None, tmp_path, patience_s)))
    return {(each.name, each.interface): each for each in checks}


def traffic(wire, tmp_path):
    check = examined(wire, tmp_path)["traffic", "near"]
    return str(check.state), check.finding


def doctor(wire, *arguments):
    """The command in this process, inside of the wire's namespace."""
    with wire.host.inside():
        return CliRunner().invoke(group, ["doctor", "-i", "near", "--state", "/nonexistent", *arguments])


def offloads(wire):
    with wire.host.inside():
        return {each.name: each.offloads for each in list_interfaces()}["near"]


@pytest.mark.parametrize(
    ("make", "state", "said"),
    [
        (to_and_fro, "ok", "both directions"),
        (lambda number: udp(number, source=number % 7), "warning", "Flows without a reply: "),
        (to_one, "ok", "both directions"),
        (lambda number: to_one(0), "warning", "Pairs of stations without a reply: 1"),
        (lambda number: TO_ALL, "warning", "only broadcast and multicast"),
    ],
)
def test_traffic_is_looked_at_for_both_directions(wire, tmp_path, make, state, said):
    with sending(wire, make):
        found, finding = traffic(wire, tmp_path)
    assert (found, said in finding) == (state, True), finding


def test_where_nothing_comes_it_is_quiet(wire, tmp_path):
    state, finding = traffic(wire, tmp_path)
    assert (state, finding.startswith("quiet")) == ("warning", True), finding


@contextlib.contextmanager
def dropping(wire):
    """An XDP program at the near end drops all: the interface counts it, and no socket sees it."""
    drop = ctypes.create_string_buffer(struct.pack("<BBhi", 0xB7, 0, 0, 1) + struct.pack("<BBhi", 0x95, 0, 0, 0))
    licence = ctypes.create_string_buffer(b"GPL")
    asked = struct.pack("<IIQQ", _XDP, 2, ctypes.addressof(drop), ctypes.addressof(licence)).ljust(128, b"\0")
    program = ctypes.CDLL(None).syscall(_BPF, _PROG_LOAD, ctypes.create_string_buffer(asked), len(asked))
    if os.uname().machine != "x86_64" or program < 0:
        pytest.skip("no XDP program can be loaded here")

    def attach(descriptor):
        with wire.route() as route:
            attributes = [("IFLA_XDP_FD", descriptor), ("IFLA_XDP_FLAGS", _SKB_MODE)]
            route.link("set", index=route.link_lookup(ifname="near")[0], xdp={"attrs": attributes})

    try:
        attach(program)
        yield
    finally:
        attach(-1)
        os.close(program)


def test_what_is_received_and_not_delivered_is_deafness(wire, tmp_path):
    with dropping(wire), sending(wire, udp):
        state, finding = traffic(wire, tmp_path)
    assert (state, finding.startswith("deaf: it received")) == ("failed", True), finding


def test_offloads_are_named_left_alone_without_fix_and_switched_off_with_it(wire):
    need("ethtool")
    with wire.host.inside():
        subprocess.run(["ethtool", "-K", "near", "gro", "on", "tso", "on"], check=True)
    before = offloads(wire)
    assert before["gro"] and before["tso"] and not before["lro"]
    with sending(wire, to_and_fro):
        told = doctor(wire)
        assert "fix: ethtool -K near gro off tso off\n" in told.stdout
        assert (told.exit_code, offloads(wire)) == (0, before)
        mended = doctor(wire, "--fix")
    assert offloads(wire) == before | {"gro": False, "tso": False}
    assert mended.stderr == "sensor: running: ethtool -K near gro off tso off\n"
    assert (mended.exit_code, "ethtool" in mended.stdout) == (0, False)


def test_an_interface_that_is_down_is_brought_up_with_fix_only(wire):
    need("ip")
    wire.set("near", "down")
    try:
        told = doctor(wire, "--json")
        checks = {each["check"]: each for each in map(json.loads, told.stdout.splitlines())}
        assert (told.exit_code, checks["link"]["state"], checks["link"]["mend"]) == (1, "failed", "ip link set near up")
        assert checks["traffic"]["state"] == "skipped" and checks["ring memory"]["state"] == "skipped"
        with sending(wire, to_and_fro):
            mended = doctor(wire, "--fix", "--json")
        checks = {each["check"]: each for each in map(json.loads, mended.stdout.splitlines())}
        assert (mended.exit_code, checks["link"]["state"], checks["traffic"]["state"]) == (0, "ok", "ok")
        assert mended.stderr.splitlines()[0] == "sensor: running: ip link set near up"
    finally:
        wire.set("near", "up")


def test_a_link_that_takes_its_time_to_come_up_is_waited_for(wire):
    need("ip")
    wire.set("far", "down")
    wire.set("near", "down")
    command = [sys.executable, "-m", "sensor", "doctor", "-i", "near", "--fix", "--json", "--state", "/nonexistent"]
    try:
        with wire.host.inside():
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            assert process.stderr.readline() == "sensor: running: ip link set near up\n"
            wait_for(lambda: {each.name: each.is_up for each in list_interfaces()}["near"])
        wire.set("far", "up")
        with sending(wire, to_and_fro):
            told, _ = process.communicate(timeout=60)
    finally:
        wire.set("near", "up")
        wire.set("far", "up")
    assert {each["check"]: each["state"] for each in map(json.loads, told.splitlines())}["link"] == "ok"


def test_an_interface_without_a_link_has_no_command_that_mends_it(wire, tmp_path):
    wire.set("far", "down")
    try:
        check = examined(wire, tmp_path)["link", "near"]
    finally:
        wire.set("far", "up")
    assert (str(check.state), check.mend, "no link" in check.finding) == ("failed", None, True)


def test_one_absent_interface_hides_nothing_of_the_others(wire, tmp_path):
    with sending(wire, to_and_fro):
        found = examined(wire, tmp_path, "nera", "near")
    assert (str(found["link", "nera"].state), "did you mean near?" in found["link", "nera"].finding) == ("failed", True)
    assert (str(found["link", "near"].state), str(found["traffic", "near"].state)) == ("ok", "ok")


def test_rings_that_memory_has_no_room_for_are_not_made_and_one_that_has_is_named(wire, tmp_path):
    check = examined(wire, tmp_path, megabytes=1 << 30, patience_s=0)["ring memory", None]
    assert str(check.state) == "failed" and check.mend.argv[-2] == "--ring"
    assert 8 * int(check.mend.argv[-1]) << 20 < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_kernel_without_room_for_a_long_filter_is_told_and_one_with_just_enough_is_not(wire, tmp_path):
    def memory(limit):
        wire.host.configure({"core/optmem_max": str(limit)})
        return str(examined(wire, tmp_path, patience_s=0)["filter memory", None].state)

    path = Path("/proc/sys/net/core/optmem_max")
    with wire.host.inside():
        if not path.exists():
            pytest.skip("this kernel has one optmem_max for all namespaces")
        before = path.read_text()
    try:
        assert [memory(limit) for limit in (512 * 8, 512 * 8 + 256)] == ["warning", "ok"]
    finally:
        wire.host.configure({"core/optmem_max": before})


def test_where_none_is_up_auto_finds_no_interface(wire, tmp_path):
    wire.set("near", "down")
    wire.set("far", "down")
    try:
        found = examined(wire, tmp_path, "auto")
    finally:
        wire.set("near", "up")
        wire.set("far", "up")
    assert str(found["link", None].state) == "failed" and ("link", "near") not in found


def without(wire, *arguments, lost="-net_raw"):
    """The command as a process of root's that lacks capabilities."""
    need("setpriv")
    command = ["setpriv", "--bounding-set", lost, "--inh-caps", lost, sys.executable, "-m", "sensor", "doctor"]
    with wire.host.inside():
        return subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_without_the_permission_to_capture_the_rest_is_looked_at_and_77_the_exit_code(wire):
    ran = without(wire, "-i", "near", "--json", "--state", "/nonexistent")
    checks = {each["check"]: each for each in map(json.loads, ran.stdout.splitlines())}
    assert (ran.returncode, checks["permission"]["state"]) == (77, "failed"), ran.stderr
    assert (checks["traffic"]["state"], checks["ring memory"]["state"]) == ("skipped", "ok")
    assert "it takes the permission to capture" in checks["traffic"]["finding"]
    assert "CAP_NET_RAW" in checks["permission"]["finding"] and checks["link"]["state"] == "ok"


def test_a_root_that_cannot_become_another_user_is_told(wire):
    ran = without(wire, "-i", "nera", "--json", "--state", "/nonexistent", lost="-setuid")
    check = json.loads(ran.stdout.splitlines()[0])
    assert (check["check"], check["state"], "CAP_SETUID" in check["finding"]) == ("permission", "failed", True)


def test_what_fails_beside_the_permission_is_a_failure(wire):
    assert without(wire, "-i", "nera", "--state", "/nonexistent").returncode == 1


def test_a_fix_that_is_not_permitted_says_so_and_the_warning_stays(wire):
    need("ethtool")
    with wire.host.inside():
        subprocess.run(["ethtool", "-K", "near", "gro", "on"], check=True)
    before = offloads(wire)
    ran = without(wire, "-i", "near", "--fix", "--state", "/nonexistent", lost="-net_raw,-net_admin")
    assert "ethtool failed: " in ran.stderr and "Operation not permitted" in ran.stderr
    assert ("fix: ethtool -K near gro off" in ran.stdout, offloads(wire)) == (True, before)


def test_a_pipe_gets_plain_text_and_an_address_that_is_none_is_a_usage_error(wire):
    with sending(wire, to_and_fro):
        told = doctor(wire, "--ring", "1")
    assert told.exit_code == 0 and "\x1b" not in told.stdout
    assert told.stdout.splitlines()[-1].startswith(("Ready for live capture", "With --fix"))
    assert doctor(wire, "--manager", "nowhere").exit_code == 2
