"""Numbers and their nouns agree, and words are those of the field, wherever a person reads them."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from scapy.layers.inet import IP, TCP

from sensor.cli.main import group
from sensor.words import amount, counted, plural
from tests.replaying import ETHER, ROOT, sensor, write

ONE_OF_MANY = re.compile(r"\b1 (?!s\b|ms\b|ports? of tunnels)[a-z]+s\b(?! \()")
STUMBLED = re.compile(r"\bmends?\b|name the scanners|\bweirds?\b|pass(ed|es)? over|\banew\b", re.IGNORECASE)


@pytest.mark.parametrize(("n", "wanted"), [(0, "0 keys"), (1, "1 key"), (2, "2 keys"), (1234, "1,234 keys")])
def test_an_amount_is_in_words(n, wanted):
    assert amount(n, "key") == wanted
    assert f"{n:,} {plural(n, 'key')}" == wanted
    assert counted(n, "key") == f"{wanted} {'was' if n == 1 else 'were'}"


def test_one_of_anything_is_one(tmp_path):
    syn = ETHER / IP(src="192.0.2.1", dst="192.0.2.2") / TCP(sport=4000, dport=80, flags="S")
    one = write(tmp_path / "one.pcap", [(0, syn)])
    assert "1 packet read" in sensor("replay", one).stdout
    for arguments in (["replay", one], ["replay", "-f", "udp", one], ["replay", "-f", "udp or vlan", one]):
        ran = sensor(*arguments)
        assert ONE_OF_MANY.findall(ran.stdout + ran.stderr) == []


@pytest.mark.parametrize("name", ["", *group.list_commands(None)])
def test_no_help_has_words_that_readers_stumbled_over(name):
    ran = CliRunner().invoke(group, [*([name] if name else []), "--help"])
    assert ran.exit_code == 0
    assert STUMBLED.findall(ran.output) == []


@pytest.mark.parametrize("path", ["README.md", "CHANGELOG.md", "docs/reference.md"])
def test_no_page_has_them_but_as_names_in_json(path):
    text = re.sub(r"`[^`]*`", "", (ROOT / Path(path)).read_text())
    assert STUMBLED.findall(text) == []
