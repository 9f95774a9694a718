"""The README's detection is a whole one, short, and does what the text around it says."""

import re
from pathlib import Path

import msgspec
from click.testing import CliRunner

from sensor.cli.main import group
from sensor.config import configure

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def the_plugin() -> str:
    [text] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    return text


def test_the_detection_in_the_readme_is_under_30_lines():
    assert len(the_plugin().splitlines()) < 30


def test_the_detection_in_the_readme_finds_the_refusals_of_a_port_scan(tmp_path):
    plugin = tmp_path / "refused_often.py"
    plugin.write_text(the_plugin())
    arguments = ["replay", "--json", "--detection", "refused_often", "--plugin", str(plugin)]
    ran = CliRunner().invoke(group, [*arguments, str(ROOT / "pcaps" / "port-scan-syn.pcap")])
    assert ran.exit_code == 0, ran.output
    *alerts, summary = [msgspec.json.decode(line) for line in ran.stdout.splitlines()]
    assert [(each["detection"], each["value"], each["threshold"]) for each in alerts] == [("refused_often", 117, 20)]
    assert summary["detections"] == ["refused_often"]


def test_the_settings_in_the_readme_are_taken(tmp_path):
    [text] = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "refused_often.py").write_text(the_plugin())
    kept = tmp_path / "sensor.toml"
    kept.write_text(text)
    settings = configure(file=str(kept))
    assert settings.capture == {"interfaces": ("eth1",), "ring": 256}
    [port_scan] = [each for each in settings.make() if each.name == "port_scan"]
    assert (port_scan.ports, [each.value for each in port_scan.overrides]) == (20, [40])
