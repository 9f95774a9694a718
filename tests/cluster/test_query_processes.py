"""Real processes: what workers know is asked for over the bus, while their input goes on."""

import contextlib
import json
import signal
import subprocess

import pytest
from click.testing import CliRunner

from sensor.cli.main import group
from tests.cluster.test_processes import PATIENCE_S, RANDOM, start, started, until
from tests.replaying import on_terminal

PACKETS = 1230  # of RANDOM


def told(*arguments):
    """What `sensor query` writes as JSON lines, and how it ends: from here, as an observer is no other process."""
    ran = CliRunner().invoke(group, ["query", "--json", *arguments])
    return ran.exit_code, [json.loads(line) for line in ran.stdout.splitlines()], ran.stderr


def nodes(bus):
    """The nodes of a manager, by name."""
    ran = CliRunner().invoke(group, ["status", "--manager", bus, "--json"])
    return {each["name"]: each for each in json.loads(ran.stdout)["nodes"]} if ran.stdout else {}


@contextlib.contextmanager
def cluster(folder, n, *options):
    """A manager and so many workers that share a capture whose end has yet to come."""
    bus = f"unix:{folder}/bus{n}"
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            started("manager", "--listen", bus, "--workers", ",".join(map(str, range(1, n + 1))), *options)
        )
        until((folder / f"bus{n}").exists, "the manager")
        workers = []
        for at in range(1, n + 1):
            share = "--share", f"{at}/{n}", "--name", str(at), "--replay", "-"
            workers.append(start("worker", "--manager", bus, *share, *options, stdin=subprocess.PIPE))
            stack.callback(end, workers[-1])
            workers[-1].stdin.buffer.write(RANDOM.read_bytes())
            workers[-1].stdin.buffer.flush()
        until(lambda: sum(each["packets"] for each in nodes(bus).values()) == PACKETS, "all packets")
        yield bus, workers


def end(worker):
    if worker.poll() is None:
        worker.kill()
    worker.communicate()


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("two"), 2) as found:
        yield found


def test_what_is_known_is_told_while_no_packets_come(of_two):
    bus, _ = of_two
    code, (*keys, epoch), errors = told("random_scan.scan", "--manager", bus)
    assert (code, errors) == (0, "")
    assert (epoch["workers"], epoch["complete"], epoch["keys"]) == (["1", "2"], True, len(keys))
    assert keys[0]["value"] == keys[0]["values"]["pairs"]["unique"] >= 50
    host = keys[0]["key"]["orig_h"]
    assert told("random_scan.scan", f"orig_h={host}", "--manager", bus)[1][0] == keys[0]
    assert told("random_scan.scan", f"orig_h:{host}/32", "--top", "1", "--manager", bus)[1][0] == keys[0]


def test_the_same_is_told_by_three_workers_and_one_of_them_ends_when_told_to_though_no_packets_come(of_two, tmp_path):
    bus, _ = of_two
    two = told("random_scan.scan", "--manager", bus)[1]
    with cluster(tmp_path, 3) as (other, workers):
        three = told("random_scan.scan", "--manager", other)[1]
        workers[0].send_signal(signal.SIGTERM)
        assert workers[0].wait(PATIENCE_S) == 0
        assert [nodes(other)[name]["state"] for name in "123"] == ["done", "up", "up"]
    assert three[:-1] == two[:-1]
    assert {**three[-1], "workers": None} == {**two[-1], "workers": None}


def test_the_table_has_the_key_and_its_values(of_two):
    bus, _ = of_two
    ran = CliRunner().invoke(group, ["query", "random_scan.scan", "--manager", bus])
    assert (ran.exit_code, ran.stderr) == (0, "")
    title, head, row, *_ = ran.stdout.splitlines()
    assert "of 1, 2: 1 key" in title
    assert head.split()[:4] == ["orig_h", "pairs", "hosts", "ports"]
    assert row.split()[1] == str(int(told("random_scan.scan", "--manager", bus)[1][0]["value"]))


LOADS = '''
"""Loads."""
from sensor.detection import Average, Detection, StdDev, Stream, SumStat, Variance

class Loads(Detection):
    """How much connections carry."""
    ports = Stream("connection_attempt", "connection_rejected", key="orig_h", value="resp_p")
    load = SumStat(hops=0, epoch="1h", avg=Average(ports), sd=StdDev(ports), var=Variance(ports))
'''


def test_the_table_shows_the_statistic_that_was_asked_for_and_all_of_it_in_a_pipe(tmp_path):
    plugin = tmp_path / "loads.py"
    plugin.write_text(LOADS)
    with cluster(tmp_path, 2, "--plugin", str(plugin), "--detection", "loads") as (bus, _):
        [key, _] = told("loads.load", "--manager", bus)[1]
        ran = CliRunner().invoke(group, ["query", "loads.load", "--manager", bus])
        narrow = on_terminal(60, "query", "loads.load", "--manager", bus)
    _, head, row, *_ = ran.stdout.splitlines()
    shown = dict(zip(head.split(), row.split(), strict=False))
    assert shown["orig_h"] == key["key"]["orig_h"]
    of_sd = key["values"]["sd"]
    wanted = {"avg": of_sd["average"], "sd": of_sd["std_dev"], "var": of_sd["variance"]}
    assert {name: float(shown[name].replace(",", "")) for name in wanted} == pytest.approx(wanted, rel=1e-2)
    assert key["figures"] == pytest.approx(wanted)
    assert len(set(wanted.values())) == 3
    assert max(map(len, narrow)) <= 60
    assert key["key"]["orig_h"] in " ".join(narrow)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["random_scan.scn"], "did you mean 'random_scan.scan'?"),
        (["random_scan.scan", "orig=10.0.0.1"], "did you mean 'orig_h'?"),
        (["random_scan.scan", "orig_h=ten"], "'ten'"),
        (["random_scan.scan", "ten"], "PART=VALUE"),
        (["random_scan.scan", "orig_h=10.0.0.1,orig_h=10.0.0.2"], "once"),
        (["random_scan.scan", "--by", "pair"], "did you mean 'pairs'?"),
        (["random_scan.scan", "--top", "0"], "from 1 to 1000"),
    ],
)
def test_a_mistake_is_one_line_that_names_what_is_meant(of_two, arguments, said):
    code, lines, errors = told(*arguments, "--manager", of_two[0])
    assert (code, lines) == (2, [])
    assert said in errors
    assert errors.count("\n") == 1


def test_no_manager_is_one_line(tmp_path):
    code, lines, errors = told("random_scan.scan", "--manager", f"unix:{tmp_path}/absent")
    assert (code, lines) == (1, [])
    assert "cannot be reached" in errors
    assert errors.count("\n") == 1
