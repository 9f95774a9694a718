"""Real processes: workers and a manager that are killed at any time lose no alert and double none."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.replaying import PCAPS, ROOT, replay

RANDOM, SYN = PCAPS / "random-scan.pcap", PCAPS / "port-scan-syn.pcap"
PATIENCE_S = 90.0


def start(*arguments, **options):
    command = [sys.executable, "-m", "sensor", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@contextlib.contextmanager
def started(*arguments):
    """A process that is ended, whatever happens."""
    process = start(*arguments)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(condition, what):
    """Wait for what another process does."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        os.sched_yield()
    return found


def told(lines):
    """What alerts say but for who contributed."""
    records = [json.loads(line) for line in lines]
    return [{**each, "workers": None} for each in records if each["event_type"] == "alert"]


def children(pid):
    """The processes that a process has started and that have not ended."""
    with contextlib.suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


@pytest.mark.parametrize("workers", [2, 4])
def test_replay_with_workers_gives_the_same_lines_as_without(workers):
    alone = replay(RANDOM, SYN)
    ran = subprocess.run(
        [sys.executable, "-m", "sensor", "replay", "--json", "--workers", str(workers), str(RANDOM), str(SYN)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    *alerts, summary = ran.stdout.splitlines()
    assert told(alerts) == [{**each, "workers": None} for each in alone.alerts]
    found = json.loads(summary)
    same = ("packets_read", "packets_decoded", "bytes", "flows", "observations", "alerts", "alerts_suppressed")
    assert {name: found[name] for name in same} == {name: alone.summary[name] for name in same}
    assert found["workers"] == [f"worker-{n + 1}" for n in range(workers)]


def test_a_worker_that_is_killed_is_started_anew_and_nothing_is_lost():
    alone = replay(RANDOM)
    with started("replay", "--json", "--workers", 2, RANDOM) as run:
        first = until(lambda: children(run.pid), "a worker")[0]
        with contextlib.suppress(ProcessLookupError):
            os.kill(first, signal.SIGKILL)
        output, errors = run.communicate(timeout=PATIENCE_S)
    assert (run.returncode, errors) == (0, "")
    assert told(output.splitlines()[:-1]) == [{**each, "workers": None} for each in alone.alerts]


def test_a_damaged_capture_is_told_once_and_nobody_is_started_anew(tmp_path):
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(SYN.read_bytes()[:-5])
    alone = replay(cut)
    with started("replay", "--json", "--workers", 3, cut) as run:
        output, errors = run.communicate(timeout=PATIENCE_S)
    assert (run.returncode, errors) == (alone.exit_code, alone.stderr)
    assert told(output.splitlines()[:-1]) == [{**each, "workers": None} for each in alone.alerts]


def test_workers_do_not_outlive_the_run_that_started_them():
    with started("replay", "--json", "--workers", 2, RANDOM) as run:
        workers = until(lambda: len(found := children(run.pid)) == 2 and found, "two workers")
        run.kill()
        run.communicate()
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the workers to end")


def test_a_run_that_is_stopped_ends_with_its_summary():
    with started("replay", "--json", "--workers", 2, RANDOM) as run:
        until(lambda: children(run.pid), "a worker")
        run.send_signal(signal.SIGTERM)
        output, _ = run.communicate(timeout=PATIENCE_S)
    assert json.loads(output.splitlines()[-1])["event_type"] == "summary"


def test_a_folder_that_cannot_be_made_is_one_line():
    with started("manager", "--state", "/proc/none", "--listen", "127.0.0.1:0") as manager:
        _, errors = manager.communicate(timeout=PATIENCE_S)
    assert manager.returncode == 1
    assert errors.count("\n") == 1
    assert "/proc/none" in errors


def test_a_worker_that_always_dies_is_given_up_by_name(tmp_path):
    plugin = tmp_path / "deadly.py"
    plugin.write_text(
        "import os, sys\n"
        "from sensor.detection import Detection, on\n"
        "class Deadly(Detection):\n"
        "    'Dies in workers.'\n"
        "    @on('connection_rejected', 'connection_attempt')\n"
        "    def die(self, batch):\n"
        "        if 'worker' in sys.argv:\n"
        "            os._exit(3)\n"
    )
    with started("replay", "--json", "--workers", 2, "--plugin", plugin, SYN) as run:
        output, errors = run.communicate(timeout=PATIENCE_S)
    assert errors.count("\n") == 1
    assert "died 4 times, and its share is missing" in errors
    assert run.returncode == 1
    summary = json.loads(output.splitlines()[-1])
    assert len(summary["workers"]) == len(summary["damage"]) == 1


def alert_file(state):
    path = state / "alerts.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def test_a_manager_that_is_killed_goes_on_and_doubles_no_alert(tmp_path):
    """Killed when one of two workers has delivered all and the other has yet to begin."""
    state, bus = tmp_path / "state", f"unix:{tmp_path}/bus"
    manager = ("manager", "--listen", bus, "--state", state, "--workers", "a,b", "--until-done", "--json")
    share = ("worker", "--manager", bus, "--replay", RANDOM)
    with started(*manager) as first:
        until((tmp_path / "bus").exists, "the manager's socket")
        with started(*share, "--name", "a", "--share", "1/2") as worker:
            _, errors = worker.communicate(timeout=PATIENCE_S)
            assert (worker.returncode, errors) == (0, "")
        before = alert_file(state)
        first.kill()
        first.communicate()
    with started(*share, "--name", "b", "--share", "2/2") as worker:  # dials until there is a manager
        with started(*manager) as second:
            output, _ = second.communicate(timeout=PATIENCE_S)
            assert second.returncode == 0
        assert worker.wait(PATIENCE_S) == 0
    lines = alert_file(state)
    assert lines[: len(before)] == before
    records = [json.loads(line) for line in lines]
    names = [(each["event_type"], each["id"]) for each in records]
    assert len(names) == len(set(names))
    gone = {each["id"] for each in records if each.get("folded_into") or each.get("state") == "withdrawn"}
    standing = {each["id"] for each in records if each["event_type"] == "alert"} - gone
    assert standing == {each["id"] for each in replay(RANDOM).alerts}
    assert json.loads(output.splitlines()[-1])["alerts"] == sum(kind == "alert" for kind, _ in names)


def test_status_shows_the_nodes(tmp_path):
    bus = f"unix:{tmp_path}/bus"
    with started("manager", "--listen", bus, "--workers", "a,b", "--json"):
        until((tmp_path / "bus").exists, "the manager")
        with started("worker", "--manager", bus, "--replay", SYN, "--name", "a") as worker:
            worker.communicate(timeout=PATIENCE_S)
        with started("status", "--manager", bus, "--json") as status:
            output, _ = status.communicate(timeout=PATIENCE_S)
    nodes = {each["name"]: each for each in json.loads(output)["nodes"]}
    assert (nodes["a"]["state"], nodes["a"]["packets"]) == ("done", 245)
    assert nodes["b"]["state"] == "expected"


def test_status_of_no_manager_is_one_line(tmp_path):
    with started("status", "--manager", f"unix:{tmp_path}/absent") as status:
        output, errors = status.communicate(timeout=PATIENCE_S)
    assert (status.returncode, output) == (1, "")
    assert "cannot be reached" in errors
    assert errors.count("\n") == 1


def test_a_worker_with_other_settings_is_told_so(tmp_path):
    bus = f"unix:{tmp_path}/bus"
    with started("manager", "--listen", bus):
        until((tmp_path / "bus").exists, "the manager")
        with started("worker", "--manager", bus, "--replay", SYN, "--set", "port_scan.ports=16") as worker:
            _, errors = worker.communicate(timeout=PATIENCE_S)
    assert worker.returncode == 1
    assert "other detections or settings" in errors


def test_two_managers_do_not_share_a_folder(tmp_path):
    with started("manager", "--listen", f"unix:{tmp_path}/bus", "--state", tmp_path / "state"):
        until((tmp_path / "bus").exists, "the manager")
        with started("manager", "--listen", f"unix:{tmp_path}/other", "--state", tmp_path / "state") as second:
            _, errors = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 1
    assert "another process" in errors


def test_nothing_listens_off_loopback():
    with started("manager", "--listen", "0.0.0.0:0") as manager:
        _, errors = manager.communicate(timeout=PATIENCE_S)
    assert manager.returncode == 2
    assert "TLS" in errors
    assert errors.count("\n") == 1


def test_a_manager_that_is_told_to_end_closes_with_its_summary(tmp_path):
    with started("manager", "--listen", f"unix:{tmp_path}/bus", "--json") as manager:
        until((tmp_path / "bus").exists, "the manager")
        manager.send_signal(signal.SIGTERM)
        output, _ = manager.communicate(timeout=PATIENCE_S)
    assert manager.returncode == 0
    assert json.loads(output)["event_type"] == "summary"
