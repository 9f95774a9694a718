"""What can be looked at and said: each column once by the command, and all of it in a page made from the code."""

import re
import subprocess
import sys
from dataclasses import fields

import pytest

from sensor.alerts import Alert, AlertRecord, AlertUpdate
from sensor.events import EVENTS, AddressColumn, columns
from tests.replaying import ROOT, sensor

PAGE = (ROOT / "docs" / "reference.md").read_text()
COLUMNS = {name: column for event in EVENTS.values() for name, column in event.columns.items()}


def test_the_command_prints_each_event_and_each_column_once():
    text = sensor("events").stdout
    for name in EVENTS:
        assert len(re.findall(rf"^{name}: ", text, re.MULTILINE)) == 1
    for name, column in COLUMNS.items():
        assert len(re.findall(rf"^ +{name} ", text, re.MULTILINE)) == 1
        assert text.count(column.doc) == sum(each.doc == column.doc for each in COLUMNS.values())


def test_a_column_means_the_same_in_every_event_that_has_it():
    for event in EVENTS.values():
        for name, column in event.columns.items():
            assert column == COLUMNS[name]
            assert [group for events, group in columns().items() if event.name in events and name in group]
    assert sum(map(len, columns().values())) == len(COLUMNS)


def test_the_reference_is_what_the_code_says_now():
    made = subprocess.run([sys.executable, ROOT / "tools" / "reference"], capture_output=True, text=True, check=True)
    assert made.stdout == PAGE, "make it again: tools/reference > docs/reference.md"


def test_no_row_of_the_reference_is_without_words():
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert [row for row in rows if not row.rstrip("| ").rpartition(" | ")[2].strip(" |`")] == []
    assert [row for row in rows if row.endswith("|  |")] == []


@pytest.mark.parametrize(
    "names",
    [
        [each.name for each in fields(Alert)],
        AlertRecord.__struct_fields__,
        AlertUpdate.__struct_fields__,
        [f".{name}" for name in vars(AddressColumn) if not name.startswith("_") and name not in ("hi", "lo")],
    ],
)
def test_every_field_has_a_row_that_says_what_it_is(names):
    rows = dict(re.findall(r"^\| `(\.?\w+)[^|]*\|.*?([^|]*) \|$", PAGE, re.MULTILINE))
    assert [name for name in names if not rows.get(name, "").strip()] == []
    assert ".in_network" in rows
