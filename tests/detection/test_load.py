"""A detection that is written or set wrongly is one clear line that names the nearest right word."""

import dataclasses
import textwrap

import pytest

from sensor.config import configure
from sensor.decode import PORTS_MAX, DecodeOptions
from sensor.detection import DetectionError
from sensor.detection.load import load_installed
from sensor.flows import FlowOptions
from sensor.option_tables import DECODE, FLOWS

GOOD = """
from sensor.detection import Alert, Detection, Option, Stream, SumStat, Unique

class Knocks(Detection):
    hosts = Option(25, min=2, help="hosts")
    failures = Stream("connection_attempt", key=("orig_h", "resp_p"), value="resp_h")
    scan = SumStat(epoch="5m", targets=Unique(failures, keep=10))

    @scan.crosses(targets=hosts)
    def scanned(self, key, seen):
        return Alert("x", same_as=key)
"""


@pytest.fixture
def plugin(tmp_path):
    def write(text: str, name: str = "knocks.py") -> str:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return str(path)

    return write


def complaint(plugins=(), names=(), assignments=()) -> str:
    with pytest.raises(DetectionError) as raised:
        configure(names, plugins, assignments)
    text = str(raised.value)
    assert "\n" not in text
    return text


def test_a_plugin_file_joins_what_is_installed(plugin):
    detections = configure(plugins=[plugin(GOOD)])
    assert [each.name for each in detections.detections] == ["address_scan", "knocks", "port_scan", "random_scan"]


@pytest.mark.parametrize(
    ("right", "wrong", "nearest", "line"),
    [
        ('"connection_attempt"', '"conection_atempt"', "'connection_attempt'", 6),
        ('"orig_h"', '"origin_h"', "'orig_h'", 6),
        ('value="resp_h"', 'value="resp_host"', "'resp_h'", 6),
        ("crosses(targets=", "crosses(target=", "'targets'", 9),
        ('epoch="5m"', 'epoch="5 minutes"', "5m", 7),
        ("Option(25, min=2", "Option(1, min=2", "at least 2", 5),
    ],
)
def test_a_misspelt_word_is_named_with_its_line_and_the_nearest(plugin, right, wrong, nearest, line):
    path = plugin(GOOD.replace(right, wrong))
    text = complaint(plugins=[path])
    assert text.startswith(f"{path}:{line}: ")
    assert nearest in text


def test_an_unknown_name_on_the_command_line_is_met_with_the_nearest():
    assert "'port_scan'" in complaint(names=["portscan"])
    assert "'port_scan'" in complaint(assignments=["port_scn.ports=20"])
    assert "port_scan.ports" in complaint(assignments=["port_scan.port=20"])
    assert "whole number" in complaint(assignments=["port_scan.ports=few"])
    assert "at least 2" in complaint(assignments=["port_scan.ports=1"])
    assert "NAME.OPTION=VALUE" in complaint(assignments=["ports"])


def test_a_file_that_is_no_plugin_says_so(plugin, tmp_path):
    assert "no such file" in complaint(plugins=[str(tmp_path / "absent.py")])
    assert "defines no detection" in complaint(plugins=[plugin("x = 1", "none.py")])
    assert "not a Python file" in complaint(plugins=[plugin("x = 1", "plugin.txt")])
    assert ":2:" in complaint(plugins=[plugin("x = 1\ndef broken(:\n", "syntax.py")])
    assert "ZeroDivisionError" in complaint(plugins=[plugin("1 / 0", "raises.py")])


def test_two_detections_of_one_name_are_refused(plugin):
    assert "two detections" in complaint(plugins=[plugin(GOOD, "a.py"), plugin(GOOD, "b.py")])


def test_settings_reach_the_instance_and_the_definition():
    [detection] = configure(["port_scan"], assignments=["port_scan.ports=20", "port_scan.epoch=1m"]).make()
    assert detection.ports == 20
    definition = detection.sumstats["scan"].define("port_scan", detection.settings)
    assert definition.threshold.levels == {"targets": 20}
    assert (definition.epoch_ns, definition.hop_ns) == (72_000_000_000, 12_000_000_000)


def test_the_waits_of_flows_are_set_like_options():
    settings = configure(assignments=["flows.tcp_attempt=10s", "flows.capacity=100"])
    assert settings.flows == FlowOptions(tcp_attempt=10_000_000_000, capacity=100)
    assert configure().flows == FlowOptions()
    assert set(FLOWS) == {field.name for field in dataclasses.fields(FlowOptions)}
    assert "flows.tcp_attempt" in complaint(assignments=["flows.tcp_atempt=10s"])
    assert "at least 1" in complaint(assignments=["flows.capacity=0"])


def test_the_ports_of_tunnels_are_set_like_options():
    settings = configure(assignments=["decode.vxlan_ports=4789, 9999", "decode.teredo_ports="])
    assert settings.decode == DecodeOptions(vxlan_ports=(4789, 9999), teredo_ports=())
    assert configure().decode == DecodeOptions()
    assert set(DECODE) == {field.name for field in dataclasses.fields(DecodeOptions)}


@pytest.mark.parametrize(
    ("text", "complaint_of_it"),
    [
        ("vxlan_ports=0", "0 is no port"),
        ("vxlan_ports=65536", "65536 is no port"),
        ("vxlan_ports=" + ",".join(map(str, range(1, PORTS_MAX + 2))), "17 ports are too many: at most 16"),
        ("vxlan_ports=vxlan", "'vxlan' is not a list of ports"),
        ("vxlan_ports=4789,6081", "port 6081 is in both vxlan_ports and geneve_ports"),
        ("vxlan_port=1", "did you mean 'decode.vxlan_ports'?"),
        ("vxlan_ports@orig_h:192.0.2.1=1", "only thresholds of detections can differ by key"),
    ],
)
def test_ports_that_cannot_be_are_refused_in_a_line(text, complaint_of_it):
    assert complaint_of_it in complaint(assignments=[f"decode.{text}"])


def test_as_many_ports_as_there_may_be_are_taken():
    ports = tuple(range(65535, 65535 - PORTS_MAX, -1))
    assert configure(assignments=[f"decode.tzsp_ports={','.join(map(str, ports))}"]).decode.tzsp_ports == ports


def test_an_installed_package_brings_its_detections_through_its_entry_points(tmp_path, monkeypatch):
    (tmp_path / "knocking.py").write_text(GOOD)
    info = tmp_path / "knocking-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: knocking\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sensor.plugins]\nknocks = knocking:Knocks\n")
    monkeypatch.syspath_prepend(tmp_path)
    load_installed.cache_clear()
    assert "knocks" in [each.name for each in configure().detections]
    load_installed.cache_clear()
    (info / "entry_points.txt").write_text("[sensor.plugins]\nknocks = knocking:Knock\n")
    assert "the plugin 'knocks' (knocking:Knock) does not load" in complaint()


def test_every_shipped_detection_says_what_it_misses_and_its_technique():
    for detection in configure().detections:
        assert detection.misses().startswith("Misses ")
        assert detection.attack == "T1046"
