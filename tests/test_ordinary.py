"""Ordinary traffic raises a low alert at most, and that where it is stated; the attacks nearest to it are told."""

import json

import pytest

from tests.cluster.clusters import run
from tests.replaying import PCAPS, replay
from tools.derived import DERIVED

FOLDERS = ("ordinary", "attacks")
RECORDED = [
    pytest.param(path, id=path.name.split(".")[0])
    for folder in FOLDERS
    for path in sorted((PCAPS / folder).glob("*.pcap.gz"))
]
MADE = [pytest.param(each, id=each.name) for each in DERIVED]
FACTS = ("detection", "kind", "src", "dst", "port", "severity")


def expected(path):
    return json.loads((path.parent / f"{path.name.split('.')[0]}.alerts.json").read_text())


def facts(alerts, wanted):
    """What is stated of each alert: a kind or severity that is not stated may be any."""
    free = {(each["detection"], name) for each in wanted for name in ("kind", "severity") if each[name] is None}
    stated = [{name: value for name, value in each.items() if (each["detection"], name) not in free} for each in alerts]
    return sorted(stated, key=str)


def told(path):
    """The facts of the alerts of a replay by one worker."""
    return [{name: alert[name] for name in FACTS} for alert in replay(path).alerts]


def told_by_four(path):
    """The same of four workers, in this process, where messages arrive at once."""
    return [{name: text(getattr(alert, name)) for name in FACTS} for alert in run(path, 4).alerts]


def text(value):
    return value if value is None or isinstance(value, int) else str(value)


def rows(folder):
    """The lines of a folder's table: capture, packets, what passes, why, what is right, source."""
    lines = (PCAPS / folder / "README.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines if line.startswith("|")]
    return {each[0]: each for each in cells[2:]}


@pytest.mark.parametrize("path", RECORDED)
def test_a_capture_raises_exactly_the_alerts_beside_it_with_1_and_4_workers(path):
    wanted = expected(path)
    assert facts(told(path), wanted) == facts(wanted, wanted)
    assert facts(told_by_four(path), wanted) == facts(wanted, wanted)


@pytest.mark.parametrize("path", RECORDED)
def test_what_stands_when_alerts_go_out_at_once_is_what_is_told_at_the_end(path):
    assert run(path, 2, early=True, size=50).standing == run(path).standing


@pytest.mark.parametrize("derived", MADE)
def test_a_capture_seen_in_part_or_twice_raises_what_the_whole_one_does(derived, tmp_path):
    path = derived.make(tmp_path / "derived.pcap")
    assert facts(told(path), derived.alerts) == facts(derived.alerts, derived.alerts)
    assert facts(told_by_four(path), derived.alerts) == facts(derived.alerts, derived.alerts)


@pytest.mark.parametrize("derived", MADE)
def test_a_derived_capture_is_the_same_each_time_and_not_empty(derived, tmp_path):
    first, second = derived.make(tmp_path / "first.pcap"), derived.make(tmp_path / "second.pcap")
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size > 24


def test_there_are_at_least_forty_kinds_of_ordinary_traffic_each_with_a_sentence_on_why():
    kinds = rows("ordinary")
    assert len([path for path in (PCAPS / "ordinary").glob("*.pcap.gz")]) >= 40
    assert [name for name, cells in kinds.items() if not is_sentence(cells[3])] == []


def is_sentence(words):
    return len(words.split()) >= 4 and words.endswith(".")


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_table_names_every_capture_and_no_other(folder):
    recorded = {path.name.split(".")[0] for path in (PCAPS / folder).glob("*.pcap.gz")}
    assert set(rows(folder)) == recorded | {each.name for each in DERIVED if each.folder == folder}
    assert {path.name.split(".")[0] for path in (PCAPS / folder).glob("*.alerts.json")} == recorded


def test_ordinary_traffic_is_expected_to_raise_a_low_alert_at_most():
    severities = {alert["severity"] for path in (PCAPS / "ordinary").glob("*.json") for alert in expected(path)}
    assert severities == {"low"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_table_says_what_is_right(folder):
    for name, cells in rows(folder).items():
        path = PCAPS / folder / f"{name}.alerts.json"
        wanted = expected(path) if path.exists() else next(each.alerts for each in DERIVED if each.name == name)
        low = {alert["severity"] for alert in wanted} == {"low"}
        detections = ", ".join(sorted({alert["detection"] for alert in wanted}))
        assert cells[4] == ("low" if low else detections or "none"), name


def test_every_attack_is_expected_to_be_told():
    assert [path.name for path in (PCAPS / "attacks").glob("*.json") if not expected(path)] == []
