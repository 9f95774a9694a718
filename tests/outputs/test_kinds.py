"""Outputs are opened by the name of their kind, and all take the same records."""

import io
import json

import pytest

from sensor.outputs.kinds import KINDS, open_outputs
from sensor.outputs.outlet import Outlet
from tests.outputs.test_terminal import ALERT, SUMMARY, UPDATE


def written(kind, *, stats=False):
    """The lines that an output writes of an alert, an update and a summary."""
    stream = io.StringIO()
    [output] = open_outputs([kind], Outlet(stream, lambda trouble: None), stats=stats)
    output.alert(ALERT)
    output.update(UPDATE)
    output.summary(SUMMARY)
    return stream.getvalue().splitlines()


def test_json_is_a_record_a_line():
    assert [json.loads(line)["event_type"] for line in written("json")] == ["alert", "alert_update", "summary"]


def test_a_table_has_the_sentences_of_alerts():
    lines = written("table")
    assert any(ALERT.message in line for line in lines) and any(UPDATE.message in line for line in lines)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_line_that_found_no_room_is_counted_and_nothing_is_raised(kind):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    said = []
    outlet = Outlet(Full(), said.append, memory_bytes=1)
    [output] = open_outputs([kind], outlet)
    for _ in range(3):
        output.alert(ALERT)
    output.summary(SUMMARY)
    assert outlet.lost and said == ["No space left on device"]


def test_a_kind_that_there_is_not_is_a_mistake():
    with pytest.raises(KeyError, match="xml"):
        open_outputs(["xml"], Outlet(io.StringIO(), lambda trouble: None))
