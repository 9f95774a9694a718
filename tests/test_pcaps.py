"""Every capture in pcaps/ raises exactly the alerts that are checked in beside it: for many of them, none."""

import json

import pytest

from tests.replaying import PCAPS, replay

NAMES = sorted(path.name for path in PCAPS.glob("*.pcap*") if path.suffix in (".pcap", ".pcapng"))


def key_facts(alert):
    return {name: alert[name] for name in ("detection", "kind", "src", "dst", "port")}


def expected(name):
    return json.loads((PCAPS / f"{name.rsplit('.', 1)[0]}.alerts.json").read_text())


def in_order(alerts):
    return sorted((key_facts(alert) for alert in alerts), key=str)


def test_there_are_captures_that_fire_and_captures_that_must_not():
    assert len(NAMES) >= 8
    assert 3 <= sum(not expected(name) for name in NAMES) < len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_capture_raises_exactly_the_alerts_checked_in_beside_it(name):
    ran = replay(PCAPS / name)
    assert in_order(ran.alerts) == in_order(expected(name))
    assert ran.exit_code == 0


@pytest.mark.parametrize("name", NAMES)
def test_every_packet_of_a_capture_is_accounted_for(name):
    summary = replay(PCAPS / name).summary
    assert summary["packets_read"] > 0
    assert summary["packets_read"] == summary["packets_decoded"] + sum(summary["refused"].values())


def test_the_index_names_every_capture():
    index = (PCAPS / "README.md").read_text()
    assert [name for name in NAMES if name not in index] == []
