"""The package: its name is nobody else's, and what is missing is told by names that can be installed."""

import configparser
import json
import os
import re
import subprocess
import sys

import pytest

from tests.replaying import PCAPS, ROOT

SCAN = PCAPS / "port-scan-syn.pcap"


def settings():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_no_text_has_people_install_the_package_of_that_name_that_is_not_ours():
    assert settings()["metadata"]["name"] == "sumstats-sensor"
    stranger = re.compile(r"(?<!never\n`)pip install (-U |--upgrade )?['\"]?sensor\b")
    paths = [*ROOT.glob("sensor/**/*.py"), *ROOT.glob("plugins/*.py"), *ROOT.glob("tools/*"), *ROOT.glob("*.md")]
    assert [path.name for path in paths if path.is_file() and stranger.search(path.read_text())] == []


def test_an_installation_has_every_package_of_the_tree():
    packages = settings()["options"]["packages"].split()
    found = [".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("sensor/**/__init__.py")]
    assert packages == [*sorted(found), "sensor_plugins"]


@pytest.mark.parametrize(
    ("module", "extra", "arguments"),
    [
        ("zstandard", "zstd", ("replay", "{folder}/packed.pcap.zst")),
        ("scapy", "scapy", ("run", "--source", "scapy", "-i", "lo")),
        ("cryptography", "cluster", ("cluster", "init", "--state", "{folder}")),
    ],
)
def test_what_a_command_lacks_is_named_for_a_checkout_and_for_an_installation(tmp_path, module, extra, arguments):
    (tmp_path / "packed.pcap.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(20))
    program = f"import sys; sys.modules[{module!r}] = None; from sensor.cli.main import main; main()"
    given = [each.format(folder=tmp_path) for each in arguments]
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-c", program, *given]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, env=environment)
    assert ran.returncode == 1 and "Traceback" not in ran.stderr
    assert f"pip install {module} (in a checkout of the sensor: pip install '.[{extra}]')\n" in ran.stderr
    assert module in settings()["options.extras_require"][extra]


def test_an_older_installation_of_another_name_beside_this_one_changes_nothing(tmp_path):
    info = tmp_path / "sensor_of_old-0.0.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sensor_of_old\nVersion: 0.0.9\n")
    entries = settings()["options.entry_points"]["sensor.plugins"].strip()
    (info / "entry_points.txt").write_text(f"[sensor.plugins]\n{entries}\n")
    command = [sys.executable, "-m", "sensor", "detections", "--json"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, env=environment)
    names = [json.loads(line)["detection"] for line in ran.stdout.splitlines()]
    assert names == ["address_scan", "port_scan", "random_scan"], ran.stderr


@pytest.mark.parametrize("package", sorted((ROOT / "sensor").glob("*/__init__.py")), ids=lambda each: each.parent.name)
def test_the_map_of_a_package_names_each_of_its_files_and_no_other(package):
    folder = package.parent
    said = "".join(each.read_text() for each in (package, folder / "README.md") if each.exists())
    files = {each.name for each in folder.glob("*.py")} - {"__init__.py"}
    mapped = {line for line in said.splitlines() if line.startswith("| `")}
    assert {name for line in mapped for name in re.findall(r"`(\w+\.py)`", line)} == files
