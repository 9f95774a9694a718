"""A settings file says what the command line can say of detections; the command line goes first."""

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from sensor.cli.capture_options import Interfaces, interface_options
from sensor.cli.detection_options import detection_options
from sensor.cli.main import group
from sensor.cluster.settings import ClusterSettings
from sensor.config import configure
from sensor.detection import DetectionError
from sensor.flows import FlowOptions
from sensor.option_tables import CLUSTER, RESERVED, TABLES, cluster_settings, written
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
        '[detections]\nrun = ["port_scan"]\n[detections.port_scan]\nports = 20\nepoch = "1m"\n'
        '[[detections.port_scan.overrides]]\nfor = { orig_h = "192.0.2.0/24" }\nports = 40\n'
        '[flows]\ntcp_attempt = "10s"\n[cluster]\ndeadline = "90s"\nsend_in_groups_of = 7\n'
        "[decode]\nvxlan_ports = [4789, 9999]\nteredo_ports = []\ngre_ports = [4755]\n"
    )
    assignments = ["port_scan.ports=20", "port_scan.epoch=1m", "port_scan.ports@orig_h:192.0.2.0/24=40"]
    assignments += ["decode.vxlan_ports=4789,9999", "decode.teredo_ports=", "decode.gre_ports=4755"]
    assignments += ["cluster.deadline=90s", "cluster.send_in_groups_of=7"]
    given = configure(["port_scan"], assignments=[*assignments, "flows.tcp_attempt=10s"])
    read = configure(file=kept)
    assert read == given
    assert read.cluster == ClusterSettings(deadline_s=90.0, cluster_send_in_groups_of=7)


def test_the_options_of_the_cluster_are_those_of_its_settings_by_default():
    assert configure().cluster == ClusterSettings()
    assert cluster_settings({name: option.default for name, option in CLUSTER.items()}) == ClusterSettings()


def test_the_command_line_goes_before_the_file_and_that_before_the_defaults(file):
    kept = file('detections.run = ["port_scan"]\n[detections.port_scan]\nports = 20\n[flows]\ncapacity = 1000\n')
    assert configure(file=kept).make()[0].ports == 20
    read = configure(assignments=["port_scan.ports=30", "flows.contacts=5"], file=kept)
    assert read.make()[0].ports == 30 and (read.flows.capacity, read.flows.contacts) == (1000, 5)
    assert read.flows.tcp_attempt == FlowOptions().tcp_attempt
    assert [each.name for each in configure(["port_scan", "address_scan"], file=kept).detections] == [
        "address_scan",
        "port_scan",
    ]


def test_an_override_of_the_command_line_goes_before_that_of_the_file_for_the_same_keys(file):
    kept = file('[[detections.port_scan.overrides]]\nfor = { orig_h = "192.0.2.0/24" }\nports = 40\n')
    read = configure(["port_scan"], assignments=["port_scan.ports@orig_h:192.0.2.0/24=50"], file=kept)
    assert [(str(each), each.value) for each in read.make()[0].overrides] == [("ports@orig_h:192.0.2.0/24", 50)]


def test_overrides_are_of_several_parts_and_options_and_for_several_networks(file):
    kept = file(
        "[detections.port_scan]\noverrides = [\n"
        '  { for = { orig_h = "10.0.0.0/8", resp_h = "192.0.2.1" }, ports = 40 },\n'
        '  { for = { orig_h = "2001:db8::/32" }, ports = 50 },\n]\n'
    )
    [detection] = configure(["port_scan"], file=kept).make()
    assert [(each.parts, each.value) for each in detection.overrides] == [
        ({"orig_h": "10.0.0.0/8", "resp_h": "192.0.2.1"}, 40),
        ({"orig_h": "2001:db8::/32"}, 50),
    ]


def test_settings_of_a_detection_that_does_not_run_are_checked_and_wait(file):
    kept = file("[detections.port_scan]\nports = 20\n")
    assert configure(["address_scan"], file=kept).values == {"address_scan": {}}
    with pytest.raises(DetectionError, match="too small"):
        configure(["address_scan"], file=file("[detections.port_scan]\nports = 0\n"))


def test_plugins_are_looked_for_from_the_files_own_folder_on(file, tmp_path):
    (tmp_path / "one_more.py").write_text(PLUGIN)
    read = configure(file=file('[detections]\nplugins = ["one_more.py"]\n[detections.one_more]\nlimit = 7\n'))
    assert [each.limit for each in read.make() if each.name == "one_more"] == [7]


def test_a_file_of_nothing_but_defaults_is_no_file(file):
    lines = [
        f"[{table}]\n" + "\n".join(f"{name} = {written(option.default)}" for name, option in options.items())
        for table, options in TABLES.items()
    ]
    read = configure(file=file("\n".join(lines) + "\n"))
    bare = configure()
    assert (read.flows, read.decode, read.cluster) == (bare.flows, bare.decode, bare.cluster)


WRONG = [
    # the old form, with the line that replaces it
    ('detections = ["port_scan"]', 'detections: write detections.run = ["port_scan"], or the same below [detections]'),
    ("detections = []", "detections: write detections.run = [], or"),
    ("detections = 3", 'detections: write detections.run = ["detection"], or'),
    ('plugins = ["a.py"]', 'plugins: write detections.plugins = ["a.py"], or'),
    ("plugins = [3]", 'plugins: write detections.plugins = ["plugin"], or'),
    ("[port_scan]\nports = 3", "[port_scan]: write [detections.port_scan]"),
    ('[decode]\nvxlan_ports = "4789,8472"', 'not the text "4789,8472": write vxlan_ports = [4789, 8472]'),
    ('[decode]\nvxlan_ports = ""', "write vxlan_ports = []"),
    ('[detections.port_scan]\nports = "20"', 'must be a whole number, not the text "20": write ports = 20'),
    (
        '[detections.port_scan]\n"ports@orig_h:10.0.0.0/8" = 40',
        'write overrides = [{ for = { orig_h = "10.0.0.0/8" }, ports = 40 }]',
    ),
    # names that are none
    ("ports = 3", "ports: there is no such key: options stand in tables, such as [flows]"),
    ("[port_scam]\nports = 3", "[port_scam]: there is no such table; did you mean [detections.port_scan]?"),
    ("[flow]\ncapacity = 3", "[flow]: there is no such table; did you mean [flows]?"),
    ("[xyz]", "[xyz]: there is no such table; there are capture, decode, flows, cluster, detections"),
    ("[detections.port_scam]", "[detections.port_scam]: there is no such detection; did you mean 'port_scan'?"),
    ("[detections.port_scan]\nport = 3", "detections.port_scan.port: there is no such key; did you mean 'ports'?"),
    ('detections.run = ["port_scam"]', "detections.run: there is no detection 'port_scam'; did you mean 'port_scan'?"),
    ("[flows]\ncapacty = 3", "flows.capacty: there is no such key; did you mean 'capacity'?"),
    ("[capture]\nrings = 3", "capture.rings: there is no such key; did you mean 'ring'?"),
    ('[cluster]\ndead_line = "3s"', "cluster.dead_line: there is no such key; did you mean 'deadline'?"),
    ("[decode]\nvxlan_port = [1]", "decode.vxlan_port: there is no such key; did you mean 'vxlan_ports'?"),
    *((f"[{name}]", f"[{name}] is reserved: nothing uses it yet") for name in RESERVED),
    ("[[allow]]\nsrc = 1", "[allow] is reserved"),
    # types
    ("flows = 3", "flows: must be a table, [flows], not 3"),
    ("[[flows]]", "flows: must be a table, [flows], not a list"),
    ("[detections]\nport_scan = 3", "detections.port_scan: must be a table, [detections.port_scan], not 3"),
    ("detections.run = 3", 'detections.run: must be a list of texts, such as ["port_scan"], not 3'),
    ("detections.run = [3]", 'detections.run: must be a list of texts, such as ["port_scan"]; 3 is in it'),
    ("[detections.port_scan]\nports = [1]", "detections.port_scan.ports: must be a whole number, not a list"),
    ("[detections.port_scan]\nports = true", "detections.port_scan.ports: must be a whole number, not true"),
    ("[detections.port_scan]\nports = 20.0", "detections.port_scan.ports: must be a whole number, not 20.0"),
    ("[detections.port_scan]\nports = 1979-05-27", "must be a whole number, not a time"),
    ("[detections.port_scan]\nepoch = 60", 'port_scan.epoch: must be a duration in quotes, such as "30s", not 60'),
    ('[flows]\ntcp_attempt = "10"', "flows.tcp_attempt: '10' is not a duration"),
    ("[flows]\nkey = 5", "flows.key: must be a text, not 5"),
    ('[capture]\npromiscuous = "yes"', 'capture.promiscuous: must be true or false, not the text "yes"'),
    ("[capture]\npromiscuous = 1", "capture.promiscuous: must be true or false, not 1"),
    ('[capture]\ninterfaces = "eth1"', 'capture.interfaces: must be a list of texts, such as ["eth1"], not the text'),
    ('[decode]\nvxlan_ports = ["4789"]', "decode.vxlan_ports: must be a list of ports, such as [4789, 8472]; the text"),
    ("[decode]\nvxlan_ports = 4789", "decode.vxlan_ports: must be a list of ports, such as [4789, 8472], not 4789"),
    # ranges
    ("[detections.port_scan]\nports = 0", "detections.port_scan.ports: 0 is too small"),
    ("[flows]\ncapacity = 0", "flows.capacity: 0 is too small: must be at least 1"),
    ("[flows]\ncapacity = 1073741825", "flows.capacity: 1073741825 is too large: must be at most 1073741824"),
    ('[flows]\ntcp_attempt = "0s"', "flows.tcp_attempt: a duration must be longer than 0s"),
    ('[flows]\nkey = "six_tuple"', "flows.key: 'six_tuple' is not five_tuple or network"),
    ("[capture]\nring = 65537", "capture.ring: 65537 is too large: must be at most 65536"),
    ("[capture]\nsnaplen = 63", "capture.snaplen: 63 is too small: must be at least 64"),
    ('[capture]\nsource = "pcap"', "capture.source: 'pcap' is not auto or afpacket or scapy"),
    ('[cluster]\ndeadline = "999ms"', "cluster.deadline: 999ms is too small: must be at least 1s"),
    ('[cluster]\nretry = "601s"', "cluster.retry: 601s is too large: must be at most 600s"),
    ("[cluster]\nwindow_messages = 0", "cluster.window_messages: 0 is too small"),
    ("[decode]\nvxlan_ports = [0]", "decode.vxlan_ports: 0 is no port"),
    ("[decode]\nvxlan_ports = [4789, 6081]", "decode: port 6081 is in both vxlan_ports and geneve_ports"),
    # overrides
    ("[detections.port_scan.overrides]\nports = 3", "write [[detections.port_scan.overrides]], in two brackets"),
    ("[[detections.port_scan.overrides]]\nports = 3", "say which keys it is for, such as for = { orig_h ="),
    ("[[detections.port_scan.overrides]]\nfor = {}\nports = 3", "say which keys it is for"),
    ('[[detections.port_scan.overrides]]\nfor = { orig_h = "a,b:c" }\nports = 3', "say which keys it is for"),
    (
        '[[detections.port_scan.overrides]]\nfor = { orig_h = "192.0.2.1" }\nports = 0',
        "overrides.ports: 0 is too small",
    ),
    ('[[detections.port_scan.overrides]]\nfor = { orig_h = "192.0.2.1" }\nepoch = "3s"', "only thresholds can differ"),
    ('[[detections.port_scan.overrides]]\nfor = { orig_h = "192.0.2" }\nports = 40', "192.0.2"),
    ('[[detections.port_scan.overrides]]\nfor = { origin = "192.0.2.1" }\nports = 40', "did you mean 'orig_h'"),
    # no TOML
    ("detections = [", "not TOML"),
    ("[flows]\n[flows]", "not TOML"),
    ("a = " + "[" * 5000, "not TOML"),
    ("a = " + "1" * 5000, "not TOML"),
    ("[flows]\ncapacity = 0x1" + "0" * 5000, "flows.capacity: is too large a number"),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_cannot_be_is_said_in_a_line(file, text, said):
    kept = file(text)
    ran = CliRunner().invoke(group, ["replay", "--settings", kept, str(PCAPS / "port-scan-syn.pcap")])
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"sensor: {kept}: ") and said in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize("text", ["[capture]\nring = 0", "[outputs]", "[flow]"])
@pytest.mark.parametrize("command", [["run", "-i", "lo"], ["worker", "-i", "lo"], ["manager"], ["detections"]])
def test_every_command_that_takes_settings_refuses_wrong_ones(file, command, text):
    ran = CliRunner().invoke(group, [*command, "--settings", file(text)])
    assert ran.exit_code == 2 and ran.stderr.startswith("sensor: ") and ran.stderr.count("\n") == 1


CAPTURING = """
[capture]
interfaces = ["eth7", "eth8"]
ring = 8
snaplen = 128
promiscuous = false
filter = "tcp"
user = "nobody"
source = "scapy"
"""


def interfaces_of(*arguments):
    """What live capture is asked for by these arguments."""

    @click.command()
    @interface_options
    @detection_options
    def command(interfaces, chosen):
        asked.append(interfaces)

    asked = []
    ran = CliRunner().invoke(command, [str(each) for each in arguments])
    assert ran.exit_code == 0, ran.output
    return asked[0]


def test_capture_is_asked_for_by_flags_before_the_file_and_by_the_file_before_defaults(file):
    kept = file(CAPTURING)
    by_file = interfaces_of("--settings", kept)
    assert by_file == Interfaces(
        names_given=("eth7", "eth8"),
        filter_text="tcp",
        ring=8,
        snaplen=128,
        promiscuous=False,
        user="nobody",
        source="scapy",
    )
    flags = ["-i", "lo", "--ring", "2", "--snaplen", "99", "--promiscuous", "-f", "", "--user", "root"]
    flags += ["--source", "afpacket"]
    by_flags = interfaces_of(*flags)
    assert by_flags == interfaces_of(*flags, "--settings", kept) == interfaces_of("--settings", kept, *flags)
    assert interfaces_of("--settings", file("[capture]\n")) == interfaces_of()
    assert interfaces_of("--settings", kept, "--ring", "64").ring == 64


def test_another_process_is_given_the_same_whatever_the_file_says(file):
    kept = file(CAPTURING)
    for flags in ([], ["-i", "lo", "--promiscuous", "-f", "", "--ring", "64", "--source", "auto"]):
        asked = interfaces_of("--settings", kept, *flags)
        assert interfaces_of("--settings", kept, *asked.options) == asked


@pytest.mark.parametrize("workers", [1, 2])
def test_a_filter_of_the_file_holds_for_files_and_one_of_the_command_line_before_it(file, workers):
    kept, pcap = file('[capture]\nfilter = "udp"\ninterfaces = ["none0"]\n'), PCAPS / "port-scan-syn.pcap"
    ran = replay("--settings", kept, "--workers", workers, pcap)
    assert (ran.exit_code, ran.alerts) == (0, []), ran.stderr
    assert ran.summary["packets_read"] < 245
    ran = replay("--settings", kept, "--workers", workers, "-f", "", pcap)
    assert (len(ran.alerts), ran.summary["packets_read"]) == (1, 245)


@pytest.mark.parametrize("workers", [1, 4])
def test_what_a_file_sets_holds_for_every_worker(file, workers):
    kept = file('detections.run = ["port_scan"]\n[detections.port_scan]\nports = 60\n[cluster]\nwindow_messages = 1\n')
    ran = replay("--settings", kept, "--workers", workers, PCAPS / "port-scan-syn.pcap")
    assert [(each["detection"], each["threshold"]) for each in ran.alerts] == [("port_scan", 60)], ran.stderr
    assert ran.summary["detections"] == ["port_scan"]


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
    kept = file("[detections]\nrun = []\n")
    assert told("--settings", kept) == (0, [], f"sensor: no detection runs: {kept} has `run = []`\n")
    assert told("--settings", kept, "--detection", "port_scan")[1:] == (["port_scan"], "")
    assert told("--settings", file(""))[1:] == (["address_scan", "port_scan", "random_scan"], "")
    ran = replay("--settings", file("[detections]\nrun = []\n"), PCAPS / "port-scan-syn.pcap")
    assert (ran.exit_code, ran.alerts, ran.summary["packets_decoded"]) == (0, [], 245)
    assert "no detection runs" in ran.stderr


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_byte_order_mark_is_taken_off(file, mark):
    assert told("--settings", file(f'{mark}detections.run = ["port_scan"]\n')) == (0, ["port_scan"], "")


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
