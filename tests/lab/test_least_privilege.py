"""The process that decodes has no privilege; the one that opens interfaces has CAP_NET_RAW, and no other."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from sensor.capture import CaptureError
from sensor.capture.bpf.filter import Filter
from sensor.capture.live.af_packet import RingSettings, linktype_of
from sensor.capture.live.fanout import Fanout
from sensor.capture.live.ring_opener import Opener
from sensor.privileges import CAP_NET_RAW, User
from tests.lab.test_run import PATIENCE_S, about, ended, frames_of, listening, play
from tests.lab.wire import ROOMY, balanced, number, take, udp, wait_for, wire
from tests.replaying import ROOT, replay

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
assert wire  # a fixture

NOBODY = User("nobody", 65534, 65534)
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def about_process(pid):
    """Of each of its threads: the users that it is, its capabilities by set, and NoNewPrivileges."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
        sets = {name: int(lines[name], 16) for name in SETS}
        found.append(({int(uid) for uid in lines["Uid"].split()}, sets, int(lines["NoNewPrivs"])))
    return found


def children(pid):
    """The processes that it has started: (pid, command line)."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found[int(child)] = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
    return found


def opener_of(pid):
    (found,) = [child for child, command in children(pid).items() if "sensor.capture.live.ring_opener" in command]
    return found


@contextlib.contextmanager
def opener(wire, *interfaces, **settings):
    """An opener process as nobody, in the wire's namespace: for near, if no others are named."""
    with wire.host.inside():
        each = {"ring": ROOMY, "retire_ms": 5} | settings
        asking = Opener.start([RingSettings(name, **each) for name in interfaces or ["near"]], NOBODY)
    with contextlib.closing(asking):
        yield asking


def test_the_process_that_decodes_has_no_capability_in_any_thread_and_cannot_gain_one(wire):
    with listening(wire, "run", "-i", "near", "--json") as process:
        play(wire, frames_of("port-scan-syn"))
        threads = about_process(process.pid)
        (its,) = about_process(opener_of(process.pid))
        lines, _ = ended(process)
    nothing = dict.fromkeys(SETS, 0)
    assert threads == [({NOBODY.uid}, nothing, 1)] * len(threads)
    raw = 1 << CAP_NET_RAW
    assert its == ({NOBODY.uid}, nothing | {"CapPrm": raw, "CapEff": raw}, 1)
    assert about(lines) == about(replay(ROOT / "pcaps/port-scan-syn.pcap").alerts)


PROBE = """
import os, socket, sys
from sensor.privileges import give_up, successor
if sys.argv[1] == "give-up":
    give_up(successor("nobody"))
for what in ("socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
             "os.setuid(0)", "open('/etc/shadow')", "os.kill(os.getppid(), 0)"):
    try:
        eval(what)
        print("done")
    except PermissionError:
        print("refused")
"""


@pytest.mark.parametrize(("which", "becomes"), [("give-up", "refused"), ("keep", "done")])
def test_what_has_given_up_cannot_open_a_raw_socket_nor_become_root_again(wire, which, becomes):
    with wire.host.inside():
        ran = subprocess.run(
            [sys.executable, "-c", PROBE, which], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S
        )
    assert ran.stdout.split() == [becomes] * 5, ran.stderr


def test_root_may_stay_root_but_keeps_no_capability(wire):
    with listening(wire, "run", "-i", "near", "--user", "root") as process:
        threads = about_process(process.pid)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
    assert threads == [({0}, dict.fromkeys(SETS, 0), 1)] * len(threads)


def test_a_user_that_there_is_not_is_a_usage_error(wire):
    command = [sys.executable, "-m", "sensor", "run", "-i", "near", "--user", "nobody-here"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ran.returncode == 2 and "there is no user nobody-here: make one, or name another with --user" in ran.stderr


def test_an_opener_hands_over_rings_that_work_and_opens_an_interface_made_anew(wire):
    with opener(wire) as asking, wire.live(opener=asking) as live:
        wire.send([udp(i) for i in range(50)])
        blocks = live.blocks()
        while live.counters["packets_read"] < 50:
            next(blocks)
        wire.delete()
        wait_for(lambda: next(blocks) and live.taps[0].ring is None)
        wire.make()
        wait_for(lambda: next(blocks) and live.taps[0].ring is not None)
        wire.send([udp(50)])
        wait_for(lambda: len(next(blocks).frames))
        live.stop()
        assert not any(len(block.frames) for block in blocks)
        assert live.counters["packets_read"] == 51 and live.counters["reopened"] == 1 and balanced(live.counters)


def test_a_filter_and_all_other_settings_arrive_at_the_opener(wire):
    with wire.host.inside():
        program = Filter("udp dst port 53 and ip[8] = 64").program(linktype_of("near"))
    each = {"program": program, "snaplen": 96}
    with opener(wire, **each) as asking, wire.live(opener=asking, **each) as live:
        wire.send([udp(1, swap=True), udp(2, size=400), udp(3, swap=True)])
        found = take(live, 1)
    assert [(number(data), len(data), wirelen) for data, wirelen, *_ in found] == [(2, 96, 400)]


def test_who_is_admitted_shares_the_frames_and_nobody_else_can_be_let_in_by_it(wire):
    shared = Fanout(by="hash")
    with opener(wire, fanout=shared) as asking, contextlib.ExitStack() as stack:
        other = stack.enter_context(contextlib.closing(Opener(asking.admit(), ["near"])))
        lives = [stack.enter_context(wire.live(opener=each, fanout=shared)) for each in (asking, other)]
        assert lives[0].taps[0].settings.fanout.group == lives[1].taps[0].settings.fanout.group
        wire.send([udp(i, source=i) for i in range(200)])
        series = [live.blocks() for live in lives]
        while sum(live.counters["kernel_packets"] for live in lives) < 200:
            assert all(len(next(blocks).frames) >= 0 for blocks in series)
        held = Path(f"/proc/{asking._process.pid}/fd")
        before = len(list(held.iterdir()))
        third = Opener(other.admit(), ["near"])  # it says that it lets someone in, and is cut off
        with contextlib.closing(third), pytest.raises(CaptureError):
            third(RingSettings("near"))
        assert len(list(held.iterdir())) == before - 1  # nor is what it sent kept


@pytest.mark.parametrize("request_", [b"\0", b"admit", bytes(7), bytes(4) + b"\1\0\0\0", bytes(9), b"x" * 100])
def test_what_is_no_request_ends_the_connection_and_harms_no_other(wire, request_):
    with opener(wire) as asking:
        stranger = asking.admit()
        with stranger:
            stranger.settimeout(PATIENCE_S)
            stranger.send(request_)
            assert stranger.recv(4096) == b""
        asking(RingSettings("near")).socket.close()


def test_that_there_is_no_interface_is_told_as_such_and_what_else_is_wrong_in_words(wire):
    with opener(wire, "none0") as asking, pytest.raises(OSError, match="no such interface") as told:
        asking(RingSettings("none0"))
    assert told.value.errno == errno.ENODEV
    huge = replace(ROOMY, blocks=1 << 30)
    with opener(wire, ring=huge) as asking, pytest.raises(CaptureError, match="make it smaller"):
        asking(RingSettings("near"))


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one(wire):
    with opener(wire, "near", "none0") as asking:
        held = Path("/proc/self/fd")
        before = len(list(held.iterdir()))
        asking._asking.settimeout(0.1)
        os.kill(asking._process.pid, signal.SIGSTOP)
        for name in ("near", "none0"):
            with pytest.raises(CaptureError, match="does not answer"):
                asking(RingSettings(name))
        os.kill(asking._process.pid, signal.SIGCONT)
        asking._asking.settimeout(PATIENCE_S)
        for _ in range(2):
            with asking(RingSettings("near")).socket:
                assert len(list(held.iterdir())) == before + 1
            with pytest.raises(OSError, match="no such interface"):
                asking(RingSettings("none0"))


def test_an_opener_may_have_any_number_of_interfaces(wire):
    with opener(wire, *(f"none{number}" for number in range(300)), "near") as asking:
        opened = asking(RingSettings("near")).socket
    with opened:
        assert opened.getsockname()[0] == "near"


def test_an_opener_ends_when_who_asked_is_gone_and_not_by_signals_for_them(wire):
    with opener(wire) as asking:
        process = asking._process
        asking(RingSettings("near")).socket.close()
        for number_ in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(process.pid, number_)
        asking(RingSettings("near")).socket.close()
        kept = asking.admit()
        asking._asking.close()
        with contextlib.closing(Opener(kept, ["near"])) as another:
            another(RingSettings("near")).socket.close()
        assert process.wait(PATIENCE_S) == 0


def test_an_opener_that_was_killed_is_missed_when_it_is_needed(wire):
    with opener(wire) as asking:
        asking._process.kill()
        asking._process.wait()
        with pytest.raises(CaptureError, match="opens interfaces"):
            asking(RingSettings("near"))


@pytest.fixture
def open_folder():
    """A folder that whoever the sensor becomes may enter, as it may not tmp_path."""
    with tempfile.TemporaryDirectory(prefix="sensor-handed-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_the_folders_of_a_live_worker_are_handed_to_the_user_that_it_becomes(wire, open_folder):
    spool = open_folder / "spool"
    command = [sys.executable, "-m", "sensor", "manager", "--listen", "127.0.0.1:0", "--workers", "a"]
    with wire.host.inside():
        manager = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        bus = next(word for word in manager.stderr.readline().split() if word.startswith("127.0.0.1:")).strip(",;:")
        with listening(wire, "worker", "-i", "near", "--manager", bus, "--name", "a", "--spool", spool) as worker:
            assert (spool.owner(), spool.stat().st_mode & 0o777) == ("nobody", 0o700)
            worker.send_signal(signal.SIGTERM)
            worker.communicate(timeout=PATIENCE_S)
        again = [sys.executable, "-m", "sensor", "worker", "-i", "near", "--manager", bus, "--spool", str(open_folder)]
        with wire.host.inside():
            ran = subprocess.run(again, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
        assert ran.returncode == 77 and f"chown -R nobody {open_folder}" in ran.stderr, ran.stderr
    finally:
        manager.kill()
        manager.communicate()
