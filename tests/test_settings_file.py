"""A settings file says what the command line can say of detections; the command line goes first."""

import json
import subprocess
import sys

import pytest

from sensor.config import configure
from sensor.detection import DetectionError
from tests.replaying import PCAPS, ROOT, replay

PLUGIN = '''
"""One more."""
from sensor.detection import Detection, Option

class OneMore(Detection):
    """One more."""
    limit = Option(3, min=1, help="so many")
'''


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "sensor.toml"
        path.write_text(text)
        return str(path)

    return write


def test_a_file_says_what_the_command_line_can(file):
    kept = file(
        'detections = ["port_scan"]\n[port_scan]\nports = 20\nepoch = "1m"\n"ports@orig_h:192.0.2.0/24" = 40\n'
        '[flows]\ntcp_attempt = "10s"\n[decode]\nvxlan_ports = "4789,9999"\nteredo_ports = ""\ngre_ports = 4755\n'
    )
    assignments = ["port_scan.ports=20", "port_scan.epoch=1m", "port_scan.ports@orig_h:192.0.2.0/24=40"]
    assignments += ["decode.vxlan_ports=4789,9999", "decode.teredo_ports=", "decode.gre_ports=4755"]
    given = configure(["port_scan"], assignments=[*assignments, "flows.tcp_attempt=10s"])
    read = configure(file=kept)
    assert (read.detections, read.flows, read.decode) == (given.detections, given.flows, given.decode)
    assert [str(value) for value in read.values["port_scan"].values()] == [
        str(value) for value in given.values["port_scan"].values()
    ]


def test_the_command_line_goes_first(file):
    kept = file('detections = ["port_scan"]\n[port_scan]\nports = 20\n[flows]\ncapacity = 1000\n')
    read = configure(assignments=["port_scan.ports=30"], file=kept)
    assert read.make()[0].ports == 30 and read.flows.capacity == 1000
    assert [each.name for each in configure(["port_scan", "address_scan"], file=kept).detections] == [
        "address_scan",
        "port_scan",
    ]


def test_plugins_are_looked_for_from_the_files_own_folder_on(file, tmp_path):
    (tmp_path / "one_more.py").write_text(PLUGIN)
    read = configure(file=file('plugins = ["one_more.py"]\n[one_more]\nlimit = 7\n'))
    assert [each.limit for each in read.make() if each.name == "one_more"] == [7]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("detections = 3", "detections is to be a list of texts"),
        ("plugins = [3]", "plugins is to be a list of texts"),
        ("ports = 3", "what is 'ports'? Options are set below the name of their detection"),
        ("[port_scan]\nports = [1]", "port_scan.ports is to be a number, a text, true or false"),
        ("[port_scan]\nports = 0", "too small"),
        ("[port_scan]\nport = 3", "did you mean 'port_scan.ports'"),
        ("[port_scam]\nports = 3", "did you mean 'port_scan'"),
        ("detections = [", "not TOML"),
        ('detections = ["port_scam"]', "did you mean 'port_scan'"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(file, text, said):
    with pytest.raises(DetectionError) as told:
        configure(file=file(text))
    assert said in str(told.value) and "\n" not in str(told.value)


def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path):
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    for path, said in ((tmp_path / "none.toml", "No such file"), (binary, "not UTF-8"), (tmp_path, "directory")):
        command = [sys.executable, "-m", "sensor", "detections", "--settings", str(path)]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert (ran.returncode, said in ran.stderr) == (2, True), ran.stderr


def told(*arguments):
    """How `sensor detections` ends, what it lists, and what it says."""
    ran = subprocess.run(
        [sys.executable, "-m", "sensor", "detections", "--json", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    return ran.returncode, [json.loads(line)["detection"] for line in ran.stdout.splitlines()], ran.stderr


def test_an_empty_list_of_detections_runs_none_and_says_so(file):
    kept = file("detections = []\n")
    assert told("--settings", kept) == (0, [], f"sensor: no detection runs: {kept} has `detections = []`\n")
    assert told("--settings", kept, "--detection", "port_scan")[1:] == (["port_scan"], "")
    assert told("--settings", file(""))[1:] == (["address_scan", "port_scan", "random_scan"], "")
    ran = replay("--settings", file("detections = []\n"), PCAPS / "port-scan-syn.pcap")
    assert (ran.exit_code, ran.alerts, ran.summary["packets_decoded"]) == (0, [], 245)
    assert "no detection runs" in ran.stderr


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_byte_order_mark_is_taken_off(file, mark):
    assert told("--settings", file(f'{mark}detections = ["port_scan"]\n')) == (0, ["port_scan"], "")


def test_a_folder_of_plugins_is_loaded_and_what_was_found_where_is_said(tmp_path):
    folder = tmp_path / "plugins"
    folder.mkdir()
    code, _, said = told("--plugin", str(folder))
    assert (code, said) == (2, f"sensor: {folder}: there is no Python file in this folder\n")
    (folder / "notes.txt").write_text("no plugin")
    (folder / "helper.py").write_text("HELP = 1\n")
    code, _, said = told("--plugin", str(folder))
    assert (code, said) == (2, f"sensor: {folder}: no detection is defined in helper.py\n")
    (folder / "one_more.py").write_text(PLUGIN)
    code, names, said = told("--plugin", str(folder))
    assert (code, said) == (0, f"sensor: {folder}: nothing from helper.py; one_more from one_more.py\n")
    assert "one_more" in names and len(names) == 4
    (folder / "broken.py").write_text("1 +\n")
    code, _, said = told("--plugin", str(folder))
    assert code == 2 and f"{folder}/broken.py:1: " in said
