"""`sensor status`: nodes in the order that a person would give them, in a table that fits the terminal."""

import json

from click.testing import CliRunner

from sensor.cli.main import group
from tests.cluster.test_processes import started, until
from tests.replaying import on_terminal

NAMES = ["w1", "w2", "w10", "x" * 100]


def test_status_is_sorted_and_fits_and_cuts_no_name(tmp_path):
    bus = f"unix:{tmp_path}/bus"
    with started("manager", "--listen", bus, "--workers", ",".join(reversed(NAMES))):
        until((tmp_path / "bus").exists, "the manager")
        whole = CliRunner().invoke(group, ["status", "--manager", bus])
        as_json = json.loads(CliRunner().invoke(group, ["status", "--manager", bus, "--json"]).stdout)
        narrow = on_terminal(60, "status", "--manager", bus)
    header, *rows, last = whole.stdout.splitlines()
    assert header.split()[:2] == ["node", "state"]
    assert [row.split()[0] for row in rows] == [each["name"] for each in as_json["nodes"]] == NAMES
    assert last.startswith("0 epochs, 0 alerts; ")
    assert max(map(len, narrow)) <= 60
    assert "x" * 100 in "".join(line.split()[0] for line in narrow if line.startswith("x"))
